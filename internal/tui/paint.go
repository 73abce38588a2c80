package tui

import (
	"fmt"
	"strings"

	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// seg is a piece of one row.
type seg struct {
	style theme.Style
	text  safetext.Line
}

// row is one row of the screen, from left to right.
type row []seg

func (r row) width() int {
	n := 0
	for _, s := range r {
		n += s.text.Width()
	}
	return n
}

// fit paints exactly cols cells.
func (r row) fit(cols int) string { return r.fitOn(cols, theme.Style{}) }

// fitOn paints exactly cols cells over a style, such as that of the selection.
func (r row) fitOn(cols int, below theme.Style) string {
	var b strings.Builder
	b.Grow(cols + 32*len(r))
	plain := below.IsZero()
	left := cols
	for _, s := range r {
		if left <= 0 {
			break
		}
		t := s.text.Truncate(left)
		left -= t.Width()
		st := s.style
		if !plain {
			st = st.On(below)
		}
		st.Paint(&b, t)
	}
	if left > 0 {
		below.Paint(&b, safetext.Line{}.Pad(left))
	}
	return b.String()
}

// ends aligns right at the right end of cols cells; left is shortened if
// necessary.
func ends(left, right row, cols int) row {
	w := right.width()
	if w >= cols {
		return right
	}
	out := row{}
	room := cols - w
	for _, s := range left {
		t := s.text.Truncate(room)
		if t.Width() == 0 && s.text.Width() > 0 {
			break
		}
		room -= t.Width()
		out = append(out, seg{s.style, t})
	}
	out = append(out, seg{theme.Style{}, safetext.Line{}.Pad(room)})
	return append(out, right...)
}

// pen makes lines of text; everything that is shown passes through it. Most of
// a frame was already in the frame before, so a pen caches lines. Only the
// program's loop uses it. The zero pen caches nothing.
type pen struct {
	safe         safetext.Style
	texts, names map[string]safetext.Line // cached short texts
	rules        map[int]safetext.Line    // by length
}

const (
	memorable = 96   // longest text in the cache, in bytes
	memories  = 4096 // entries before the cache is cleared
)

func newPen(ascii bool) pen {
	return pen{safetext.Style{ASCII: ascii}, map[string]safetext.Line{}, map[string]safetext.Line{}, map[int]safetext.Line{}}
}

func recall(known map[string]safetext.Line, s string, read func(string) safetext.Line) safetext.Line {
	if len(s) > memorable || known == nil {
		return read(s)
	}
	l, ok := known[s]
	if !ok {
		if len(known) >= memories {
			clear(known)
		}
		l = read(s)
		known[strings.Clone(s)] = l // keeps no longer string alive
	}
	return l
}

// text makes any text safe.
func (p pen) text(s string) safetext.Line { return recall(p.texts, s, p.safe.Text) }

// rule returns n signs of a rule.
func (p pen) rule(sign string, n int) safetext.Line {
	l, ok := p.rules[n]
	if !ok {
		l = p.safe.Text(strings.Repeat(sign, n))
		p.rules[n] = l
	}
	return l
}

// name makes an identifier safe: tool, path, tenant, server.
func (p pen) name(s string) safetext.Line { return recall(p.names, s, p.safe.Identity) }

// wrap breaks a text into lines of at most cols columns, between words if
// possible. It drops only the space at which a line breaks.
func (p pen) wrap(s string, cols int) []safetext.Line {
	if all := p.text(s); all.Width() <= cols {
		return []safetext.Line{all}
	}
	var out []safetext.Line
	var line safetext.Line
	space := p.text(" ")
	for i, w := range strings.Split(s, " ") {
		word := p.text(w)
		if i > 0 && line.Width()+1+word.Width() <= cols {
			line = safetext.Concat(line, space, word)
			continue
		}
		if i > 0 {
			out = append(out, line)
		}
		parts := word.Wrap(cols)
		out, line = append(out, parts[:len(parts)-1]...), parts[len(parts)-1]
	}
	return append(out, line)
}

// say formats the program's own text and makes the arguments safe.
func (p pen) say(format string, args ...any) safetext.Line {
	return p.text(fmt.Sprintf(format, args...))
}

// marks are the symbols that the console draws.
type marks struct {
	rule, bar, stroke, cursor, dot, arrow, bullet, hazard, live, check, cross, mark, ellipsis string
	ticks                                                                                     []string // of small charts, from low to high
}

func marksFor(ascii bool) marks {
	if ascii {
		return marks{"-", "|", "=", ">", "-", "->", "*", "!", "*", "ok", "x", "+", "...", []string{" ", ".", ":", "-", "=", "+", "*", "#"}}
	}
	return marks{"─", "│", "━", "▌", "·", "→", "•", "!", "●", "✓", "✗", "◆", "…", []string{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}}
}

// rule is a line across cols cells with a title in it.
func (m *Model) rule(title row, right row, cols int) string {
	if cols <= 0 {
		return ""
	}
	r := row{}
	if len(title) > 0 {
		r = append(r, seg{m.th.Border, m.pen.text(m.sign.rule + " ")})
		r = append(r, title...)
		r = append(r, seg{m.th.Border, m.pen.text(" ")})
	}
	w := 0
	if len(right) > 0 {
		w = right.width() + 3
	}
	if gap := cols - r.width() - w; gap > 0 {
		r = append(r, seg{m.th.Border, m.pen.rule(m.sign.rule, gap)})
	}
	if len(right) > 0 {
		r = append(r, seg{m.th.Border, m.pen.text(" ")})
		r = append(r, right...)
		r = append(r, seg{m.th.Border, m.pen.text(" " + m.sign.rule)})
	}
	return r.fit(cols)
}

// block pads or cuts rows to exactly h, each of w cells already.
func block(rows []string, w, h int) []string {
	if h <= 0 {
		return nil
	}
	for len(rows) < h {
		rows = append(rows, row(nil).fit(w))
	}
	return rows[:h]
}

// plural counts a noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
