package safetext

import (
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// Line is one line of text that is safe to write to a terminal: it holds neither
// a control character nor a newline nor anything that hides or reorders. Only
// this package makes Lines from text. The zero Line is empty. Lines are values,
// comparable and safe for concurrent use.
type Line struct {
	s     string
	width int
	ascii bool
}

// String returns the text.
func (l Line) String() string { return l.s }

// Width returns the width in terminal columns, wide runes counting two.
func (l Line) Width() int { return l.width }

// Concat joins lines without anything between them.
func Concat(lines ...Line) Line {
	if len(lines) == 0 {
		return Line{}
	}
	var b strings.Builder
	out := Line{ascii: lines[0].ascii}
	for _, l := range lines {
		b.WriteString(l.s)
		out.width += l.width
		out.ascii = out.ascii && l.ascii
	}
	out.s = b.String()
	return out
}

// Truncate returns the line cut to at most cols columns, the last of them an
// ellipsis ("…", "~" in ASCII) when something was cut off. A marker is never cut
// in two.
func (l Line) Truncate(cols int) Line {
	if l.width <= cols {
		return l
	}
	if cols <= 0 {
		return Line{ascii: l.ascii}
	}
	i, w := l.advance(0, cols-1)
	tail := "…"
	if l.ascii {
		tail = "~"
	}
	return Line{s: l.s[:i] + tail, width: w + 1, ascii: l.ascii}
}

// advance returns the index after the units from i on that fit into cols
// columns, and their width.
func (l Line) advance(i, cols int) (end, w int) {
	for i < len(l.s) {
		n, uw := l.unit(i)
		if w+uw > cols {
			break
		}
		i, w = i+n, w+uw
	}
	return i, w
}

// unit returns the length in bytes and the width of what stands together at i: a
// marker, or a letter with its marks.
func (l Line) unit(i int) (n, w int) {
	s := l.s[i:]
	if end, ok := markerLen(s, l.ascii); ok {
		return end, width(s[:end])
	}
	if c := s[0]; c < utf8.RuneSelf && (len(s) == 1 || s[1] < utf8.RuneSelf) {
		return 1, 1
	}
	cluster, w := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
	return len(cluster), w
}

func markerLen(s string, ascii bool) (int, bool) {
	closing := "⟩"
	if ascii {
		if s[0] != '<' || len(s) == 1 || !startsMarker(s[1:]) {
			return 0, false
		}
		closing = ">"
	} else if !strings.HasPrefix(s, "⟨") {
		return 0, false
	}
	i := strings.Index(s, closing)
	return i + len(closing), i > 0
}

// Pad returns the line with spaces at the right up to cols columns. A wider line
// stays as it is.
func (l Line) Pad(cols int) Line {
	if n := cols - l.width; n > 0 {
		return Line{s: l.s + strings.Repeat(" ", n), width: cols, ascii: l.ascii}
	}
	return l
}

// PadLeft returns the line with spaces at the left up to cols columns. A wider
// line stays as it is.
func (l Line) PadLeft(cols int) Line {
	if n := cols - l.width; n > 0 {
		return Line{s: strings.Repeat(" ", n) + l.s, width: cols, ascii: l.ascii}
	}
	return l
}

// Fit returns the line truncated and padded to exactly cols columns.
func (l Line) Fit(cols int) Line { return l.Truncate(cols).Pad(cols) }

// Skip returns the line without its first cols columns, for scrolling sideways.
// A marker or wide rune that begins before that column goes as a whole; spaces
// stand in for the columns of it that would still show.
func (l Line) Skip(cols int) Line {
	i, w := l.advance(0, cols)
	if w < cols && i < len(l.s) {
		n, uw := l.unit(i)
		i, w = i+n, w+uw
	}
	gap := max(0, w-cols)
	return Line{s: strings.Repeat(" ", gap) + l.s[i:], width: max(0, l.width-w) + gap, ascii: l.ascii}
}

// Wrap cuts the line into lines of at most cols columns (at least one). Markers
// stay whole where they fit into a line at all. An empty line wraps to itself.
func (l Line) Wrap(cols int) []Line {
	cols = max(1, cols)
	if l.width <= cols {
		return []Line{l}
	}
	out := make([]Line, 0, l.width/cols+1)
	for i := 0; i < len(l.s); {
		end, w := l.advance(i, cols)
		if end == i { // one unit wider than the line
			end, w = l.split(i, cols)
		}
		out = append(out, Line{s: l.s[i:end], width: w, ascii: l.ascii})
		i = end
	}
	return out
}

// split cuts a unit that is wider than cols columns.
func (l Line) split(i, cols int) (end, w int) {
	for i < len(l.s) {
		cluster, cw := ansi.FirstGraphemeCluster(l.s[i:], ansi.GraphemeWidth)
		if w > 0 && w+cw > cols {
			break
		}
		i, w = i+len(cluster), w+cw
		if w >= cols {
			break
		}
	}
	return i, w
}
