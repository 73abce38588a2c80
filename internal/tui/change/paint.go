package change

import (
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// base is the style of a whole row.
type base uint8

const (
	baseContext base = iota
	baseAdd
	baseRemove
	baseFile
	baseMeta
	baseHunk
	baseTitle
	baseNote
	baseWarn
	baseFold
	bases
)

// style returns the style of a class in a row. Each is made when first needed.
func (v *View) style(b base, c class) theme.Style {
	st := v.looks[b][c]
	if st == nil {
		made := v.newStyle(b, c)
		st = &made
		v.looks[b][c] = st
	}
	return *st
}

func (v *View) newStyle(b base, c class) theme.Style {
	t := &v.o.Theme
	below := [bases]theme.Style{
		baseContext: t.Context, baseAdd: t.Add, baseRemove: t.Remove, baseFile: t.FileHeader, baseMeta: t.Context,
		baseHunk: t.HunkHeader, baseTitle: t.Title, baseNote: t.Note, baseWarn: t.Warn, baseFold: t.Fold,
	}[b]
	changed := t.Selected
	switch b {
	case baseAdd:
		changed = t.AddWord
	case baseRemove:
		changed = t.RemoveWord
	}
	switch c {
	case keyword:
		return t.Keyword.On(below)
	case name:
		return t.Name.On(below)
	case str:
		return t.String.On(below)
	case number:
		return t.Number.On(below)
	case comment:
		return t.Comment.On(below)
	case label:
		return t.Path.On(below)
	case oldValue:
		return t.OldValue
	case newValue:
		return t.NewValue
	case ours:
		return t.Dim.On(below)
	case word, trailing:
		return changed
	case match:
		return t.Match
	case currentMatch:
		return t.CurrentMatch
	case hazard:
		return t.Hazard
	}
	return below
}

// painted is a finished row, and the parts of lines that it shows.
type painted struct {
	text  string
	parts [2]part
}

// part is a range of bytes of a line of n bytes, valid if shown is set.
type part struct {
	line, n, from, to int
	shown             bool
}

// Render returns the rows of the window: exactly as many as the pane is high,
// none wider than the pane.
func (v *View) Render() []string {
	v.ready()
	out := make([]string, 0, v.h)
	for p := v.top; len(out) < v.h && p.item < v.lay.total && v.w > 0; {
		rows := v.paint(p.item, p.chunk)
		for _, r := range rows[min(p.row, len(rows)):] {
			if len(out) == v.h {
				break
			}
			out = append(out, r.text)
			for _, s := range r.parts {
				if s.shown {
					v.note(s)
				}
			}
		}
		if p.chunk+1 < v.chunks(p.item) {
			p = scrollPos{item: p.item, chunk: p.chunk + 1}
		} else {
			p = scrollPos{item: p.item + 1}
		}
	}
	for len(out) < v.h {
		out = append(out, "")
	}
	return out
}

// chunks returns in how many parts an item is wrapped.
func (v *View) chunks(i int) int {
	if !v.o.Wrap {
		return 1
	}
	it := v.lay.at(i)
	if it.fold {
		return 1
	}
	n := 1
	for _, line := range [...]int{it.left, it.right} {
		if line >= 0 {
			n = max(n, chunksOf(v.text(it.seg, line)))
		}
	}
	return n
}

// rows returns how many rows a chunk of an item takes.
func (v *View) rows(i, chunk int) int {
	it := v.lay.at(i)
	if !v.o.Wrap || it.fold {
		return 1
	}
	if !it.side {
		return max(1, v.countRows(it.seg, it.left, chunk, v.w-v.gutter(it.seg)))
	}
	n := 1
	l, r := v.halves()
	if it.left >= 0 {
		n = max(n, v.countRows(it.seg, it.left, chunk, l-v.halfGutter()))
	}
	if it.right >= 0 {
		n = max(n, v.countRows(it.seg, it.right, chunk, r-v.halfGutter()))
	}
	return n
}

// halves returns the widths of the two columns; one more is between them.
func (v *View) halves() (left, right int) { return (v.w - 1) / 2, v.w - 1 - (v.w-1)/2 }

// paint returns the rows of a chunk of an item.
func (v *View) paint(i, chunk int) []painted {
	it := v.lay.at(i)
	if it.fold {
		return []painted{{text: v.foldRow(v.doc.segs[it.seg])}}
	}
	if !it.side {
		return v.paintAcross(it, chunk)
	}
	l, r := v.halves()
	left, right := v.paintHalf(it.seg, it.left, chunk, l, true), v.paintHalf(it.seg, it.right, chunk, r, false)
	separator := v.paintWords(v.o.Theme.Border, v.sign("│", "|"))
	out := make([]painted, max(1, len(left), len(right)))
	blank := painted{text: strings.Repeat(" ", l)}
	for k := range out {
		a, b := blank, painted{}
		if k < len(left) {
			a = left[k]
		}
		if k < len(right) {
			b = right[k]
		}
		out[k] = painted{text: a.text + separator + b.text, parts: [2]part{a.parts[0], b.parts[0]}}
	}
	return out
}

// sign returns one of our own signs in a form that the terminal can show.
func (v *View) sign(unicode, ascii string) safetext.Line {
	if v.o.ASCII {
		return v.safe.st.Text(ascii)
	}
	return v.safe.st.Text(unicode)
}

func (v *View) paintWords(st theme.Style, l safetext.Line) string {
	return st.Render(l.Truncate(v.w))
}

func (v *View) foldRow(s segment) string {
	words := " unchanged lines"
	if s.n == 1 {
		words = " unchanged line"
	}
	if s.kind == kindText {
		words = " lines that it printed, folded"
		if s.n == 1 {
			words = " line that it printed, folded"
		}
	}
	dots := v.sign("⋯ ", "... ")
	l := safetext.Concat(safetext.Line{}.Pad(v.gutter(-1)), dots, v.safe.st.Text(strconv.Itoa(int(s.n))+words))
	return v.paintWords(v.o.Theme.Fold, l)
}

// numbered reports whether there is room for line numbers.
func (v *View) numbered(width, columns int) bool {
	return v.doc.digits > 0 && !v.o.Raw && width >= columns*(v.doc.digits+1)+20
}

// gutter returns the columns before the text of a segment's lines; -1 stands for
// changed lines.
func (v *View) gutter(seg int) int {
	n := 1
	if seg < 0 || !v.o.Raw && signed(v.doc.segs[seg].kind) {
		n = 2
		if v.numbered(v.w, 2) {
			n += 2 * (v.doc.digits + 1)
		}
	} else if k := v.doc.segs[seg].kind; !v.o.Raw && (k == kindText || k == kindMore || k == kindField) {
		n = 2
	}
	if v.w-n < 4 {
		return 0
	}
	return n
}

func (v *View) halfGutter() int {
	if l, _ := v.halves(); v.numbered(l, 1) {
		return v.doc.digits + 3
	}
	return 2
}

func signed(k kind) bool { return k == kindContext || k == kindChange }

// base returns the base style of a line, and its sign.
func (v *View) base(s segment, line int) (base, byte) {
	switch s.kind {
	case kindChange:
		if uint32(line)-s.line < s.n {
			return baseRemove, '-'
		}
		return baseAdd, '+'
	case kindFile:
		return baseFile, ' '
	case kindEntry:
		if strings.HasPrefix(v.doc.content(line), gitFile) { // what they mean stands above
			return baseMeta, ' '
		}
		return baseFile, ' '
	case kindMeta, kindHidden:
		return baseMeta, ' '
	case kindHunk:
		return baseHunk, ' '
	case kindTitle:
		return baseTitle, ' '
	case kindNote:
		return baseNote, ' '
	case kindWarn:
		return baseWarn, ' '
	}
	return baseContext, ' '
}

// paintAcross returns the rows of a line across the pane.
func (v *View) paintAcross(it item, chunk int) []painted {
	s := v.doc.segs[it.seg]
	b, sign := v.base(s, it.left)
	width := v.gutter(it.seg)
	text := v.text(it.seg, it.left)
	rows := v.lineRows(it.seg, it.left, chunk, v.w-width)
	out := make([]painted, len(rows))
	for k, r := range rows {
		g := gutterRow{base: b, sign: sign, more: k > 0 || chunk > 0, hazard: k == 0 && chunk == 0 && v.hazardous(it.seg, it.left, text)}
		g.sign, g.joined = sign, s.kind == kindMore
		if v.numbered(v.w, 2) && signed(s.kind) && s.old+s.new > 0 {
			g.numbers[0], g.numbers[1] = numbersOf(s, it.left)
		}
		out[k] = v.finish(v.gutterText(g, width, 2), r, it.left, len(text), b, v.w-width)
	}
	return out
}

// paintHalf returns the rows of a line in one column of two.
func (v *View) paintHalf(seg, line, chunk, width int, left bool) []painted {
	if line < 0 {
		return nil
	}
	s := v.doc.segs[seg]
	b, sign := v.base(s, line)
	gutter := v.halfGutter()
	text := v.text(seg, line)
	rows := v.lineRows(seg, line, chunk, width-gutter)
	out := make([]painted, len(rows))
	old, new := numbersOf(s, line)
	if !left {
		old = new
	}
	for k, r := range rows {
		g := gutterRow{base: b, sign: sign, more: k > 0 || chunk > 0, hazard: k == 0 && chunk == 0 && v.hazardous(seg, line, text)}
		g.numbers[0] = old
		r.pieces = append(r.pieces, piece{line: safetext.Line{}.Pad(max(0, width-gutter-r.width))})
		r.width = max(r.width, width-gutter)
		out[k] = v.finish(v.gutterText(g, gutter, 1), r, line, len(text), b, width-gutter)
	}
	return out
}

// numbersOf returns the numbers of a line before and after, 0 for none.
func numbersOf(s segment, line int) (old, new uint32) {
	k := uint32(line) - s.line
	switch {
	case s.kind == kindContext && s.old > 0:
		return s.old + k, s.new + k
	case s.kind == kindChange && k < s.n && s.old > 0:
		return s.old + k, 0
	case s.kind == kindChange && k >= s.n && s.new > 0:
		return 0, s.new + k - s.n
	}
	return 0, 0
}

// gutterRow is what precedes a row.
type gutterRow struct {
	base    base
	numbers [2]uint32
	sign    byte
	more    bool // the row continues a line
	joined  bool // the line continues the text above it
	hazard  bool
}

func (v *View) gutterText(g gutterRow, width, columns int) string {
	if width == 0 {
		return ""
	}
	var b strings.Builder
	t := &v.o.Theme
	st := v.style(g.base, plain)
	if width > 2 { // with numbers
		num := t.LineNumber
		switch g.base {
		case baseAdd:
			num = t.AddNumber
		case baseRemove:
			num = t.RemoveNumber
		}
		l := safetext.Line{}
		for _, n := range g.numbers[:columns] {
			field := safetext.Line{}
			if n > 0 && !g.more {
				field = v.safe.st.Text(strconv.Itoa(int(n)))
			}
			l = safetext.Concat(l, field.PadLeft(v.doc.digits), safetext.Line{}.Pad(1))
		}
		// The last blank is the column of the hazard's sign.
		b.WriteString(num.Render(l))
	}
	switch {
	case g.hazard:
		b.WriteString(t.Hazard.Render(v.safe.st.Text("!")))
	case g.more && width == 1:
		b.WriteString(v.style(g.base, ours).Render(v.sign("↳", ">")))
	default:
		b.WriteString(st.Render(safetext.Line{}.Pad(1)))
	}
	if width < 2 {
		return b.String()
	}
	switch {
	case g.more:
		b.WriteString(v.style(g.base, ours).Render(v.sign("↳", ">")))
	case g.joined:
		b.WriteString(t.Border.Render(v.sign("│", "|")))
	default:
		b.WriteString(st.Render(v.safe.st.Text(string(g.sign))))
	}
	return b.String()
}

// finish joins a row to its gutter.
func (v *View) finish(gutter string, r row, line, n int, b base, cols int) painted {
	var sb strings.Builder
	sb.Grow(len(gutter) + r.width + 64)
	sb.WriteString(gutter)
	width, whole := 0, true
	for i := 0; i < len(r.pieces); {
		c := r.pieces[i].class
		first := i
		for i < len(r.pieces) && r.pieces[i].class == c && width+r.pieces[i].line.Width() <= cols {
			width += r.pieces[i].line.Width()
			i++
		}
		switch {
		case i == first: // wider than the pane
			whole, i = false, len(r.pieces)
		case i == first+1:
			sb.WriteString(v.style(b, c).Render(r.pieces[first].line))
		default:
			sb.WriteString(v.style(b, c).Render(concat(r.pieces[first:i])))
		}
	}
	if (b == baseAdd || b == baseRemove) && width < cols {
		sb.WriteString(v.style(b, plain).Render(safetext.Line{}.Pad(cols - width)))
	}
	out := painted{text: sb.String()}
	if whole {
		out.parts[0] = part{line: line, n: n, from: r.from, to: r.to, shown: true}
	}
	return out
}

func concat(pieces []piece) safetext.Line {
	lines := make([]safetext.Line, len(pieces))
	for i, p := range pieces {
		lines[i] = p.line
	}
	return safetext.Concat(lines...)
}
