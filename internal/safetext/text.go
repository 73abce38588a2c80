package safetext

import (
	"bytes"
	"math/bits"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

const tabStop = 4

// Style says what a terminal can show. The zero value is for terminals with
// Unicode.
type Style struct {
	ASCII bool // only ASCII in the output
}

// Text returns s as one line; newlines and tabs in it become signs. It is linear
// in s.
func Text(s string) Line { return Style{}.Text(s) }

// Bytes returns b as one line, like Text.
func Bytes(b []byte) Line { return Style{}.Text(string(b)) }

// Lines splits b at newlines and returns each line like Text. A newline at the
// end does not begin another line; empty input has no lines.
func Lines(b []byte) []Line { return Style{}.Lines(b) }

// Text is like the function, in this style.
func (st Style) Text(s string) Line {
	if st.plain(s) {
		return Line{s: s, width: len(s), ascii: st.ASCII}
	}
	w := writer{st: st, out: make([]byte, 0, len(s)+len(s)/4+16)}
	w.text(s)
	return w.line()
}

// Bytes is like the function, in this style.
func (st Style) Bytes(b []byte) Line { return st.Text(string(b)) }

// Lines is like the function, in this style.
func (st Style) Lines(b []byte) []Line {
	if len(b) == 0 {
		return nil
	}
	lines := make([]Line, 0, bytes.Count(b, []byte{'\n'})+1)
	for len(b) > 0 {
		line, rest, _ := bytes.Cut(b, []byte{'\n'})
		lines = append(lines, st.Text(string(line)))
		b = rest
	}
	return lines
}

// plain reports whether s is shown as it is and is ASCII.
func (st Style) plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '<' && st.ASCII {
			return false
		}
	}
	return true
}

// writer builds one line.
type writer struct {
	st  Style
	out []byte

	cluster

	// The width of out[:measured] is width.
	measured, width int
}

func (w *writer) text(s string) {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			w.asciiByte(c, s[i+1:])
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			w.badByte(s[i])
		} else {
			w.rune(r, s[i:i+n])
		}
		i += n
	}
}

func (w *writer) asciiByte(c byte, rest string) {
	switch {
	case c == '\t':
		w.tab()
	case c == '\n' && !w.st.ASCII:
		w.sign("⏎")
	case c < 0x20, c == 0x7f, c == '<' && w.st.ASCII && startsMarker(rest):
		w.mark(rune(c))
	default:
		w.out = append(w.out, c)
		w.cluster = cluster{letter: asciiLetter(rune(c))}
	}
}

func (w *writer) rune(r rune, raw string) {
	if w.st.ASCII || !shown(r) || isMark(r) && !w.takesMark(r) {
		// A marker ends the letter: the marks after it are marked as well.
		w.mark(r)
		return
	}
	w.out = append(w.out, raw...)
	w.add(r)
}

// cluster is the state of what combining marks may join.
type cluster struct {
	letter bool // the last thing shown is a letter that may take a mark
	marks  int  // marks it has
	linked bool // the last mark is a virama
	links  int  // letters tied together
}

// takesMark reports whether the mark r may follow.
func (c *cluster) takesMark(r rune) bool {
	return c.letter && c.marks < maxMarks && !unicode.Is(unicode.Me, r) && !(virama(r) && c.links == maxLinks)
}

// add follows a rune beyond ASCII that is shown.
func (c *cluster) add(r rune) {
	if isMark(r) {
		c.marks++
		if virama(r) {
			c.linked = true
			c.links++
		}
		return
	}
	if !c.linked {
		c.links = 0
	}
	c.letter, c.marks, c.linked = unicode.IsLetter(r), 0, false
}

// sign writes one of the signs, which are never shown for themselves.
func (w *writer) sign(s string) {
	w.measure()
	w.out = append(w.out, s...)
	w.width++
	w.measured = len(w.out)
	w.cluster = cluster{}
}

func (w *writer) tab() {
	if w.st.ASCII {
		w.mark('\t')
	} else {
		w.sign("⇥")
	}
	for w.measure()%tabStop != 0 {
		w.out = append(w.out, ' ')
	}
}

func (w *writer) mark(r rune) {
	w.open()
	if name := controlName(r); name != "" {
		w.out = append(w.out, name...)
	} else {
		w.out = append(w.out, "U+"...)
		w.hex(uint32(r), max(4, (bits.Len32(uint32(r))+3)/4))
	}
	w.close()
}

func (w *writer) badByte(c byte) {
	const hex = "0123456789abcdef"
	w.open()
	w.out = append(w.out, '0', 'x', hex[c>>4], hex[c&15])
	w.close()
}

func (w *writer) hex(v uint32, digits int) {
	const hex = "0123456789ABCDEF"
	for d := digits - 1; d >= 0; d-- {
		w.out = append(w.out, hex[v>>(4*d)&15])
	}
}

// open begins a marker. What stands before it is measured at once, the marker
// itself by close, so that only stretches of shown text cost a measurement.
func (w *writer) open() {
	w.measure()
	if w.st.ASCII {
		w.out = append(w.out, '<')
	} else {
		w.out = append(w.out, "⟨"...)
	}
	w.cluster = cluster{}
}

func (w *writer) close() {
	if w.st.ASCII {
		w.out = append(w.out, '>')
	} else {
		w.out = append(w.out, "⟩"...)
	}
	w.width += utf8.RuneCount(w.out[w.measured:])
	w.measured = len(w.out)
}

// measure returns the width of what was written. It may be called only where a
// cluster ends.
func (w *writer) measure() int {
	w.width += width(w.out[w.measured:])
	w.measured = len(w.out)
	return w.width
}

func (w *writer) line() Line {
	n := w.measure()
	return Line{s: string(w.out), width: n, ascii: w.st.ASCII}
}

// width returns the columns of safe text.
func width[T string | []byte](s T) int {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			i = max(0, i-1) // a mark belongs to the letter before it
			return i + ansi.StringWidth(string(s[i:]))
		}
	}
	return len(s)
}

// startsMarker reports whether "<" before rest would read as the start of an
// ASCII marker. At the end of a text it would, once another text follows.
func startsMarker(rest string) bool {
	if rest == "" || strings.HasPrefix(rest, "U+") || strings.HasPrefix(rest, "0x") || strings.HasPrefix(rest, "DEL>") {
		return true
	}
	if rest[0] < 'A' || rest[0] > 'Z' {
		return false
	}
	for r := range rune(0x20) {
		if tail, ok := strings.CutPrefix(rest, controlName(r)); ok && (tail == "" || tail[0] == '>') {
			return true
		}
	}
	return false
}
