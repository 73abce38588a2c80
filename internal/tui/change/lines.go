package change

import (
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/safetext"
)

const (
	// longLine is the length in bytes from which a line is wrapped chunk by
	// chunk, so that any part of it is reached without reading all of it.
	longLine = 8192
	chunk    = 4096
)

// chunksOf returns how many chunks a line is wrapped in.
func chunksOf(s string) int {
	if len(s) <= longLine {
		return 1
	}
	return (len(s) + chunk - 1) / chunk
}

// chunkAt returns where chunk k of a line begins and ends.
func chunkAt(s string, k int) (from, to int) {
	if len(s) <= longLine {
		return 0, len(s)
	}
	edge := func(k int) int {
		if k <= 0 {
			return 0
		}
		if k*chunk >= len(s) {
			return len(s)
		}
		return breakable(s, k*chunk)
	}
	return edge(k), edge(k + 1)
}

// text returns a line as shown: without its sign if that has a column of its
// own.
func (v *View) text(seg, line int) string {
	s := v.doc.segs[seg]
	switch {
	case v.o.Raw:
		return v.doc.content(line)
	case signed(s.kind):
		return v.doc.body(line)
	case s.kind == kindFile:
		return fileName(v.doc.spelt(line))
	}
	return v.doc.spelt(line)
}

// offset returns how many bytes of a line precede its text.
func (v *View) offset(seg, line int) int {
	s := v.doc.segs[seg]
	switch {
	case v.o.Raw:
	case signed(s.kind):
		return min(1, len(v.doc.content(line)))
	case s.kind == kindFile:
		return len("diff --git a/")
	}
	return 0
}

// fileName returns the name in "diff --git a/name b/name".
func fileName(s string) string {
	rest := s[min(len(s), len("diff --git ")):]
	if name := sameName(rest); name != "" {
		return name
	}
	return s
}

// countRows returns how many rows a chunk of a line wraps to.
func (v *View) countRows(seg, line, k, cols int) int {
	text := v.text(seg, line)
	from, to := chunkAt(text, k)
	if from >= to && k > 0 {
		return 0
	}
	cols = max(2, cols)
	s := text[from:to]
	own := v.doc.segs[seg].kind == kindRow || v.doc.unfinished(line)
	if !own && len(s) <= 4*cols && !v.o.ASCII && printable(s) {
		return max(1, (len(s)+cols-1)/cols)
	}
	return len(v.lineRows(seg, line, k, cols))
}

func printable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// lineRows returns the rows of a chunk of a line in cols columns: one row if
// lines are not wrapped.
func (v *View) lineRows(seg, line, k, cols int) []row {
	text := v.text(seg, line)
	if v.o.Wrap {
		from, to := chunkAt(text, k)
		if from >= to && k > 0 {
			return nil
		}
		w := wrapper{cols: max(2, cols)}
		v.spell(seg, line, text, from, to, w.put)
		if len(w.rows) == 0 {
			w.rows = []row{{}}
		}
		w.rows[len(w.rows)-1].to = max(w.rows[len(w.rows)-1].to, to)
		return w.rows
	}
	win := v.windowOf(seg, line, text, cols)
	right := ours
	switch rest := min(win.to, len(text)); {
	case !win.after:
	case hazardous(text[rest:]):
		right = hazard
	case v.changedAfter(seg, line, rest):
		right = word
	}
	return []row{win.end(v.ellipsis(), right)}
}

// windowOf fills the window of an unwrapped line. It reads a few bytes of the
// line for each column, and more only if they do not fill the window.
func (v *View) windowOf(seg, line int, text string, cols int) window {
	start := window{skip: v.pan, cols: cols}
	if v.pan > 0 {
		start.skip, start.cols = v.pan+1, cols-1
	}
	from := v.panned(seg, text)
	if from > 0 {
		start.col, start.before = from, true
		start.from, start.to = from, from
	}
	for each := 3; ; each *= 4 {
		to := len(text)
		if enough := from + (start.skip-from+cols+2)*each + maxUnit; enough < to {
			to = breakable(text, enough)
		}
		win := start
		v.spell(seg, line, text, from, to, win.put)
		if win.after || to == len(text) || each > maxUnit {
			win.after = win.after || to < len(text)
			return win
		}
	}
}

// panned returns the byte at which a long line's window begins, if that is
// known without converting what precedes it; else 0.
func (v *View) panned(seg int, text string) int {
	at := v.pan + 1
	if v.pan == 0 || len(text) <= max(maxColoured, at) || v.doc.segs[seg].kind == kindRow || v.o.ASCII ||
		!printable(text[:at]) || joins(text[at:]) {
		return 0
	}
	return at
}

// changedAfter reports whether a line differs from its pair's line after a
// byte of its text.
func (v *View) changedAfter(seg, line, at int) bool {
	s := v.doc.segs[seg]
	if s.kind != kindChange || v.o.Raw {
		return false
	}
	spans := v.pairs.of(v.doc, s, line)
	return len(spans) > 0 && spans[len(spans)-1].End > at
}

// ellipsis returns the sign for omitted text.
func (v *View) ellipsis() safetext.Line { return v.sign("…", "~") }

// spell yields the pieces of the bytes [from, to) of a line's text.
func (v *View) spell(seg, line int, text string, from, to int, yield func(piece) bool) {
	s := v.doc.segs[seg]
	part := text[from:to]
	classes := v.classify(seg, line, text, from, to)
	ends := to == len(text)
	stopped := false
	each := func(p piece) bool {
		if !yield(p) {
			stopped = true
		}
		return !stopped
	}
	own := func(l safetext.Line) { each(piece{line: l, class: ours, from: to, to: to}) }
	c, ok := v.doc.cutOf(line)
	sp := v.safe
	if sp.identity = v.identity(seg, line); sp.identity {
		sp.doubt = doubtful(text, v.doc.segs[seg].kind)
	}
	if ok && s.kind == kindRow && !v.o.Raw && from == 0 {
		v.spellRow(c, part, classes, each, &stopped)
	} else {
		sp.spell(part, classes, from, from*min(v.pan, 1), ends, each)
	}
	if !stopped && ends && v.doc.unfinished(line) {
		own(v.safe.st.Text(` \ no newline at the end`))
	}
}

// identity reports whether a line is a name.
func (v *View) identity(seg, line int) bool {
	c, _ := v.doc.cutOf(line)
	k := v.doc.segs[seg].kind
	return c.identity || k == kindFile || k == kindEntry || k == kindMeta || k == kindHidden
}

// arrow separates a link from its target, as the program writes it.
const arrow = " → "

// doubtful returns a function that reports whether bytes of a name belong to
// deceptive letters.
func doubtful(name string, k kind) func(from, to int) bool {
	var marked []bool
	parts := []string{name}
	if k == kindEntry {
		parts = strings.Split(name, arrow)
	}
	for i, part := range parts {
		if i > 0 {
			marked = append(marked, make([]bool, len(arrow))...)
		}
		marked = append(marked, safetext.Deceptive(part)...)
	}
	return func(from, to int) bool { return slices.Contains(marked[from:to], true) }
}

// hazardous reports whether a line's rows start with the hazard sign.
func (v *View) hazardous(seg, line int, text string) bool {
	return hazardous(text) || v.identity(seg, line) && !plainASCII(text) && doubtful(text, v.doc.segs[seg].kind)(0, len(text))
}

// spellRow yields a row of a patch: path, old and new value, with signs between.
func (v *View) spellRow(c cut, text string, classes []class, yield func(piece) bool, stopped *bool) {
	a, b := min(int(c.label), len(text)), min(int(c.value), len(text))
	col := 0
	counted := func(p piece) bool {
		col += p.line.Width()
		return yield(p)
	}
	sub := func(from, to int) {
		if !*stopped {
			v.safe.spell(text[from:to], classes[from:to], from, col, to == len(text), counted)
		}
	}
	own := func(at int, l safetext.Line) {
		if !*stopped {
			counted(piece{line: l, class: ours, from: at, to: at})
		}
	}
	sub(0, a)
	own(a, v.safe.st.Text("  "))
	sub(a, b)
	if a < b && b < len(text) {
		own(b, v.sign(" → ", " -> "))
	}
	sub(b, len(text))
}

// classify returns the class of each byte in [from, to) of a line's text. The
// slice is valid until the next call.
func (v *View) classify(seg, line int, text string, from, to int) []class {
	s := v.doc.segs[seg]
	part := text[from:to]
	if cap(v.buf) < len(part) {
		v.buf = make([]class, max(256, 2*len(part)))
	}
	classes := v.buf[:len(part)]
	clear(classes)
	if c, ok := v.doc.cutOf(line); ok && !v.o.Raw {
		paint(classes, -from, int(c.label)-from, label)
		if s.kind == kindRow {
			paint(classes, int(c.label)-from, int(c.value)-from, oldValue)
			paint(classes, int(c.value)-from, len(text)-from, newValue)
		}
	}
	body := signed(s.kind) || s.kind == kindText || s.kind == kindMore
	if body && !v.o.Raw {
		if from == 0 && len(part) <= maxColoured {
			overlaySyntax(part, v.languageOf(line), classes)
		}
		if s.kind == kindChange {
			for _, sp := range v.pairs.of(v.doc, s, line) {
				paint(classes, sp.Start-from, sp.End-from, word)
			}
		}
	}
	if body && !v.o.Raw && to == len(text) {
		sign := 0
		if v.doc.nested && from == 0 {
			sign = min(1, len(part))
		}
		overlayTrailing(part[sign:], classes[sign:])
	}
	if v.doc.isJSON(line) {
		overlayEscapes(part, classes)
	}
	v.search.overlay(part, classes, line)
	if !plainASCII(part) {
		overlayHazards(part, classes)
	}
	return classes
}

func (v *View) languageOf(line int) language {
	if h := v.doc.hunkOf(line); h >= 0 {
		return v.doc.hunks[h].lang
	}
	return v.doc.lang
}

// isJSON reports whether a backslash in a line begins a JSON escape.
func (d *doc) isJSON(line int) bool {
	if !d.json || line >= d.made {
		return false
	}
	h := d.hunkOf(line)
	return h < 0 || !d.hunks[h].asText
}

// unfinished reports whether a line ends its file without a newline.
func (d *doc) unfinished(line int) bool {
	_, ok := d.noEOL[uint32(line)]
	return ok
}

// cutOf returns where the parts of a line end.
func (d *doc) cutOf(line int) (cut, bool) {
	lo, hi := 0, len(d.cuts)
	for lo < hi {
		if mid := (lo + hi) / 2; int(d.cuts[mid].line) < line {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(d.cuts) && int(d.cuts[lo].line) == line {
		return d.cuts[lo], true
	}
	return cut{}, false
}
