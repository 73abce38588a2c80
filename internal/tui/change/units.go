package change

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/safetext"
)

// class says what a stretch of a line is. A later class wins over an earlier one
// where both apply.
type class uint8

const (
	plain class = iota
	keyword
	name
	str
	number
	comment
	label    // path or name of a value
	oldValue // of a row with both
	newValue
	ours     // a sign of our own: tab, end of a file
	word     // differs from the other line of the pair
	trailing // trailing blanks
	match
	currentMatch
	hazard
	classes
)

// piece is safe text of one class. It represents the bytes [from, to) of its
// line; a piece that represents none is our own text.
type piece struct {
	line     safetext.Line
	class    class
	from, to int
	// splits says that the text is ASCII without markers, with one column per
	// byte, so that the piece can be cut anywhere.
	splits bool
}

// plainASCII reports whether s is printable ASCII and tabs.
func plainASCII(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// marked reports whether safetext marks anything in s other than tabs.
func marked(s string) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c == '\t' || ' ' <= c && c < 0x7f && !joins(s[i+1:]) {
			i++
			continue
		}
		u := unit(s[i:])
		if markedUnit(s[i : i+u]) {
			return true
		}
		i += u
	}
	return false
}

// markedUnit reports whether safetext marks a unit on any terminal.
func markedUnit(u string) bool { return safetext.Text(u).String() != u }

// joins reports whether s begins with a combining mark.
func joins(s string) bool {
	if s == "" || s[0] < utf8.RuneSelf {
		return false
	}
	r, _ := utf8.DecodeRuneInString(s)
	return joining(r)
}

// joining reports whether r shares a cell with the rune before it.
func joining(r rune) bool {
	return r >= 0x300 && (unicode.Is(unicode.M, r) || r == 0x0e33 || r == 0x0eb3)
}

// ties reports whether r, a mark, joins the next letter to its own.
func ties(r rune) bool {
	switch r {
	case 0x094d, 0x09cd, 0x0acd, 0x0b4d, 0x0c4d, 0x0d4d:
		return true
	}
	return false
}

// maxUnit bounds the bytes of a unit. Ordinary units are much shorter; the
// remaining marks of a longer one form another unit, which safetext marks.
const maxUnit = 48

// unit returns the length of the prefix of s that must stay together: a rune
// with its marks, and letters that these join to it.
func unit(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	tied := false
	for n < len(s) && n < maxUnit {
		if s[n] < utf8.RuneSelf {
			break
		}
		r, size := utf8.DecodeRuneInString(s[n:])
		switch {
		case joining(r):
			tied = ties(r)
		case tied && unicode.IsLetter(r):
			tied = false
		default:
			return n
		}
		n += size
	}
	return n
}

// maxRun bounds the bytes of a piece, and so the cost of cutting one.
const maxRun = 256

// breakable returns the next position from i at which s can be cut without
// splitting a unit; it looks only a short way ahead.
func breakable(s string, i int) int {
	const way = maxUnit
	for j := i; j < min(len(s), i+way); j++ {
		if s[j] < utf8.RuneSelf || utf8.RuneStart(s[j]) && !joins(s[j:]) {
			return j
		}
	}
	return min(i, len(s))
}

// speller turns a line into pieces.
type speller struct {
	st       safetext.Style
	tab      int                     // columns
	identity bool                    // the text names something
	doubt    func(from, to int) bool // of a name: bytes [from, to) of its line could deceive
}

// spell yields the pieces of s in order, until yield returns false. classes
// holds the class of each byte. base is the offset of s in its line and col the
// column at which it begins. ends says that s ends its line.
func (sp speller) spell(s string, classes []class, base, col int, ends bool, yield func(piece) bool) {
	emit := func(l safetext.Line, c class, from, to int, splits bool) bool {
		col += l.Width()
		return yield(piece{line: l, class: c, from: base + from, to: base + to, splits: splits})
	}
	for i := 0; i < len(s); {
		c, cls := s[i], classes[i]
		switch {
		case c == '\t':
			if !emit(sp.tabAt(col), max(ours, cls), i, i+1, false) {
				return
			}
			i++
		case ' ' <= c && c < 0x7f && !joins(s[i+1:]):
			j := i + sp.run(s[i:], classes[i:])
			l := sp.st.Text(s[i:j])
			if l.Width() != j-i { // a "<" that would begin a marker
				j = i + 1
				l = sp.st.Text(s[i:j])
			}
			if !emit(l, cls, i, j, l.Width() == j-i && !(sp.st.ASCII && c == '<')) {
				return
			}
			i = j
		default:
			n := unit(s[i:])
			u := s[i : i+n]
			l := sp.st.Text(u)
			if sp.identity && (c < ' ' || sp.doubt(base+i, base+i+n)) {
				l = sp.st.Marked(u)
			}
			switch {
			case c == '\r' && ends && i+1 == len(s):
				cls = max(ours, cls)
			case l.String() != u && (!sp.st.ASCII || markedUnit(u) || sp.identity && sp.doubt(base+i, base+i+n)):
				cls = hazard
			}
			if !emit(l, cls, i, i+n, false) {
				return
			}
			i += n
		}
	}
}

// run returns how many bytes at the start of s, which begins with printable
// ASCII, are more of it and of one class. Where a "<" can begin a marker it
// begins a short run of its own, long enough to tell.
func (sp speller) run(s string, classes []class) int {
	most := min(len(s), maxRun)
	if sp.st.ASCII && s[0] == '<' {
		most = min(len(s), 8)
	}
	n := 1
	for n < most && ' ' <= s[n] && s[n] < 0x7f && classes[n] == classes[0] && !(sp.st.ASCII && s[n] == '<') {
		n++
	}
	if n > 1 && joins(s[n:]) {
		n-- // the mark belongs to the last letter
	}
	return n
}

// tabAt returns the sign for a tab at a column, up to the next stop.
func (sp speller) tabAt(col int) safetext.Line {
	sign := sp.st.Text("\t")
	if sp.st.ASCII {
		sign = sign.Wrap(len("<TAB>"))[0]
	} else {
		sign = sign.Wrap(1)[0]
	}
	end := col + sign.Width()
	return sign.Pad(sign.Width() + (sp.tab-end%sp.tab)%sp.tab)
}

// overlayHazards marks look-alike words and letters, and what changes the
// direction of text.
func overlayHazards(s string, classes []class) {
	if hasHomoglyph(s) {
		for i := 0; i < len(s); {
			end := wordEnd(s, i)
			// Beside Latin text, as it stands here, a word of look-alikes is one, too.
			if w := s[i:end]; !plainASCII(w) && hasHomoglyph("a "+w) {
				paint(classes, i, end, hazard)
			}
			i = end
		}
	}
	for i, r := range s {
		if rightToLeft(r) {
			paint(classes, i, i+utf8.RuneLen(r), hazard)
		}
	}
}

func hasHomoglyph(s string) bool {
	for _, f := range safetext.Scan([]byte(s)) {
		if f.Kind == safetext.Homoglyph {
			return true
		}
	}
	return false
}

// wordEnd returns the end of the word that starts at from; anything outside
// words is a word by itself.
func wordEnd(s string, from int) int {
	for i, r := range s[from:] {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && !unicode.Is(unicode.M, r) {
			return from + max(i, 1)
		}
	}
	return len(s)
}

// rightToLeft reports whether terminals may reorder a text with r.
func rightToLeft(r rune) bool {
	return r >= 0x590 && unicode.In(r, unicode.Hebrew, unicode.Arabic, unicode.Syriac, unicode.Thaana, unicode.Nko,
		unicode.Samaritan, unicode.Mandaic, unicode.Adlam)
}

// paint gives the bytes [from, to) a class, where they have no stronger one.
func paint(classes []class, from, to int, c class) {
	for i := max(0, from); i < min(to, len(classes)); i++ {
		classes[i] = max(classes[i], c)
	}
}

// overlayTrailing marks blanks at the end of a line, also before a carriage
// return.
func overlayTrailing(s string, classes []class) {
	end := len(strings.TrimSuffix(s, "\r"))
	paint(classes, len(strings.TrimRight(s[:end], " \t")), end, trailing)
}

// overlayEscapes marks JSON escapes of characters that would themselves be
// marked.
func overlayEscapes(s string, classes []class) {
	for i := 0; i+1 < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		if s[i+1] == 'u' || s[i+1] == 'b' || s[i+1] == 'f' {
			n := 2
			if s[i+1] == 'u' {
				n = 6
			}
			paint(classes, i, i+n, hazard)
		}
		i++
	}
}
