package safetext

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"
)

// LongLine is the length in bytes from which a line is a hazard: what stands far
// to the right is not seen.
const LongLine = 1000

// Kind names a hazard of text. Its value is stable and fit for records.
type Kind string

// The hazards that Scan looks for.
const (
	BidiControl       Kind = "bidi_control"       // reorders the text around it
	Control           Kind = "control"            // control characters other than tab, newline, CR before newline
	EscapeSequence    Kind = "escape_sequence"    // ESC, or a C1 control that begins a sequence
	InvalidUTF8       Kind = "invalid_utf8"       // counted in bytes
	Invisible         Kind = "invisible"          // default-ignorable, format and blank-looking runes
	TagCharacter      Kind = "tag_character"      // invisible ASCII, U+E0000…
	VariationSelector Kind = "variation_selector" // other than one after a symbol
	Unprintable       Kind = "unprintable"        // private use and unassigned runes
	CombiningMarks    Kind = "combining_marks"    // stacks, overlays, marks without a letter
	Homoglyph         Kind = "homoglyph"          // words that mix scripts or mimic Latin
	MixedDirection    Kind = "mixed_direction"    // lines with right-to-left and Latin letters
	LongLines         Kind = "long_line"          // lines over LongLine bytes
)

// sentences say what each kind is, in the order in which Scan reports.
var sentences = []struct {
	kind      Kind
	one, many string
}{
	{BidiControl, "character that reorders text", "characters that reorder text"},
	{EscapeSequence, "terminal escape", "terminal escapes"},
	{Control, "control character", "control characters"},
	{TagCharacter, "invisible tag character", "invisible tag characters"},
	{VariationSelector, "stray variation selector", "stray variation selectors"},
	{Invisible, "invisible or blank-looking character", "invisible or blank-looking characters"},
	{Homoglyph, "word with look-alike letters of another script", "words with look-alike letters of other scripts"},
	{MixedDirection, "line that mixes writing directions", "lines that mix writing directions"},
	{CombiningMarks, "misplaced or stacked combining mark", "misplaced or stacked combining marks"},
	{InvalidUTF8, "byte that is not UTF-8", "bytes that are not UTF-8"},
	{Unprintable, "private or unassigned character", "private or unassigned characters"},
	{LongLines, "very long line", "very long lines"},
}

// Finding is a hazard of one kind in a payload.
type Finding struct {
	Kind   Kind
	Count  int
	Offset int // of the first, in bytes; for a line, of its start
	Line   int // of the first, from 1
}

// String returns a sentence about the finding, without any of the text.
func (f Finding) String() string {
	for _, s := range sentences {
		if s.kind != f.Kind {
			continue
		}
		if f.Count == 1 {
			return fmt.Sprintf("1 %s, on line %d", s.one, f.Line)
		}
		return fmt.Sprintf("%d %s, the first on line %d", f.Count, s.many, f.Line)
	}
	return fmt.Sprintf("%d × %s, the first on line %d", f.Count, f.Kind, f.Line)
}

// Scan returns the hazards of a whole payload, one Finding for each kind, most
// dangerous first; none for ordinary text. It is linear in b.
func Scan(b []byte) []Finding {
	var s scan
	for at, line := 0, 1; at < len(b); line++ {
		end := len(b)
		if i := bytes.IndexByte(b[at:], '\n'); i >= 0 {
			end = at + i
		}
		s.line = line
		s.scanLine(b[at:end], at, end < len(b))
		at = end + 1
	}
	slices.SortFunc(s.found, func(a, b Finding) int { return cmp.Compare(danger(a.Kind), danger(b.Kind)) })
	return s.found
}

func danger(k Kind) int {
	for i, s := range sentences {
		if s.kind == k {
			return i
		}
	}
	return len(sentences)
}

type scan struct {
	found []Finding
	line  int
}

func (s *scan) add(k Kind, offset int) {
	for i := range s.found {
		if s.found[i].Kind == k {
			s.found[i].Count++
			return
		}
	}
	s.found = append(s.found, Finding{Kind: k, Count: 1, Offset: offset, Line: s.line})
}

// scanLine scans a line, which begins at offset at of the payload. ended says
// that a newline follows.
func (s *scan) scanLine(b []byte, at int, ended bool) {
	if len(b) > LongLine {
		s.add(LongLines, at)
	}
	body := b
	if ended && len(b) > 0 && b[len(b)-1] == '\r' {
		body = b[:len(b)-1]
	}
	ascii := true
	for i, c := range body {
		switch {
		case c >= utf8.RuneSelf:
			ascii = false
		case c == 0x1b:
			s.add(EscapeSequence, at+i)
		case c < 0x20 && c != '\t' || c == 0x7f:
			s.add(Control, at+i)
		}
	}
	if !ascii {
		s.scanRunes(body, at)
	}
}

// scanRunes looks at what is not ASCII.
func (s *scan) scanRunes(b []byte, at int) {
	var (
		prev    rune
		joined  cluster
		words   wordScan
		rtl     = -1
		anyLTR  bool
		badRune bool
	)
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		badRune = r == utf8.RuneError && n == 1
		switch {
		case badRune:
			s.add(InvalidUTF8, at+i)
		case r < utf8.RuneSelf:
			anyLTR = anyLTR || asciiLetter(r)
		default:
			s.rune(r, prev, at+i)
			if rtl < 0 && rightToLeft(r) && unicode.IsLetter(r) {
				rtl = i
			}
		}
		joined = s.follow(joined, r, badRune, at+i)
		words.rune(r, at+i, badRune)
		prev = r
		i += n
	}
	if rtl >= 0 && anyLTR {
		s.add(MixedDirection, at)
	}
	words.end()
	for _, o := range words.mixed {
		s.add(Homoglyph, o)
	}
	if !words.clear && words.latin {
		for _, o := range words.mimics {
			s.add(Homoglyph, o)
		}
	}
}

// follow keeps track of combining marks as a writer does, and adds those that it
// would mark.
func (s *scan) follow(c cluster, r rune, bad bool, offset int) cluster {
	switch {
	case bad, r >= utf8.RuneSelf && !shown(r), r < 0x20:
		return cluster{}
	case r < utf8.RuneSelf:
		return cluster{letter: asciiLetter(r)}
	case isMark(r) && !c.takesMark(r):
		s.add(CombiningMarks, offset)
		return cluster{}
	}
	c.add(r)
	return c
}

// rune adds what a single valid rune beyond ASCII is by itself.
func (s *scan) rune(r, prev rune, offset int) {
	switch {
	case r == 0x9b || r == 0x9d || r == 0x90 || r == 0x9e || r == 0x9f || r == 0x98:
		s.add(EscapeSequence, offset)
	case r < 0xa0:
		s.add(Control, offset)
	case bidiControl(r):
		s.add(BidiControl, offset)
	case tagCharacter(r):
		s.add(TagCharacter, offset)
	case variationSelector(r):
		// One after a symbol picks text or emoji style, as most writers of emoji do.
		if r != 0xfe0e && r != 0xfe0f || !(unicode.Is(unicode.S, prev) || prev >= 0x203c && unicode.Is(unicode.P, prev)) {
			s.add(VariationSelector, offset)
		}
	case invisible(r):
		s.add(Invisible, offset)
	case !unicode.IsPrint(r):
		s.add(Unprintable, offset)
	case isMark(r) && !shown(r):
		s.add(CombiningMarks, offset)
	}
}

func asciiLetter(r rune) bool { return 'a' <= r|0x20 && r|0x20 <= 'z' }
