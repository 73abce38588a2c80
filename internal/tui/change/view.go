package change

import (
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// MinSplit is the least width in columns at which a View shows two columns if
// asked to; a narrower pane shows one.
const MinSplit = 80

// Options says how to show a change. The zero value is one column, lines cut
// at the right edge, tabs every four columns, no styles.
type Options struct {
	Theme    theme.Theme
	ASCII    bool // the terminal shows only ASCII
	Wrap     bool // break long lines instead of cutting them
	Split    bool // old and new side by side, see MinSplit
	Raw      bool // the text as it is, without numbers, highlights and folds
	Document bool // the text of the change instead of the rows of a patch
	TabWidth int  // columns; 0 means 4
}

// The texts that a View can show.
const (
	docShown    = iota // made for reading
	docDocument        // the text alone
	docRaw             // everything, as it came
	docs
)

// View shows one change. New makes it.
type View struct {
	build func(which int) *doc // makes a text when it is first needed
	plain bool                 // there is only one text
	o     Options
	w, h  int

	doc    *doc
	which  int
	made   [docs]*doc
	seen   [docs]*seenCounts
	lay    layout
	top    scrollPos
	bottom *scrollPos // the last place to scroll to, once known
	pan    int        // columns scrolled off to the left

	safe   speller
	looks  [bases][classes]*theme.Style
	pairs  pairs
	search search
	buf    []class
}

// scrollPos is where the window begins: a row of a chunk of an item.
type scrollPos struct{ item, chunk, row int }

func (p scrollPos) before(q scrollPos) bool {
	switch {
	case p.item != q.item:
		return p.item < q.item
	case p.chunk != q.chunk:
		return p.chunk < q.chunk
	}
	return p.row < q.row
}

// New returns a view of the change in d. It keeps d, whose bytes must not
// change afterwards. The text is read when first needed, in time linear in its
// length; nothing is styled at that point.
func New(d client.Detail, o Options) *View {
	v := &View{plain: plainDiff(d.Diff), build: func(which int) *doc { return build(d, which) }}
	v.start(o)
	return v
}

func (v *View) start(o Options) {
	v.pairs = pairs{}
	v.SetOptions(o)
}

// SetOptions changes how the change is shown. The top line stays at the top,
// unless another text is shown.
func (v *View) SetOptions(o Options) {
	if o.TabWidth <= 0 {
		o.TabWidth = 4
	}
	o.TabWidth = min(o.TabWidth, 16)
	v.o = o
	v.safe = speller{st: safetext.Style{ASCII: o.ASCII}, tab: o.TabWidth}
	v.looks = [bases][classes]*theme.Style{}
	if v.doc != nil {
		v.show()
	}
}

// SetSize sets the size of the pane in cells. The top line stays at the top.
func (v *View) SetSize(w, h int) {
	w, h = max(0, w), max(0, h)
	if w == v.w && h == v.h {
		return
	}
	v.w, v.h = w, h
	if v.doc != nil {
		v.show()
	}
}

// ready makes sure that the text has been read.
func (v *View) ready() {
	if v.doc == nil {
		v.show()
	}
}

// show lays out the text that the options select.
func (v *View) show() {
	which := docShown
	switch {
	case v.o.Raw:
		which = docRaw
	case v.o.Document:
		which = docDocument
	}
	which = v.kept(which)
	line := 0
	if v.doc != nil && v.which == which {
		line = v.lay.lineOf(v.top.item)
	}
	fresh := v.doc == nil || v.which != which
	for _, w := range [...]int{docShown, which} { // the first one records what was seen
		if v.made[w] == nil {
			v.made[w] = v.build(w)
			v.seen[w] = newSeenCounts(v.made[w])
		}
	}
	v.which, v.doc = which, v.made[which]
	if fresh {
		clear(v.pairs)
		v.pan = 0
	}
	if v.search.pattern != "" && (fresh || v.lay.raw != v.o.Raw) {
		v.Search(v.search.pattern)
	}
	v.relay()
	v.top = scrollPos{item: v.lay.itemOf(line)}
	v.clamp()
}

// kept returns the number of the text under which it is kept: a diff without
// anything beside it is one text, however it is shown.
func (v *View) kept(which int) int {
	if v.plain {
		return docShown
	}
	return which
}

func (v *View) relay() {
	v.lay = newLayout(v.doc, v.split(), v.o.Raw)
	v.bottom = nil
}

// split reports whether two columns are shown.
func (v *View) split() bool { return v.o.Split && !v.o.Raw && v.w >= MinSplit }

// Lines returns how many lines the text has.
func (v *View) Lines() int {
	v.ready()
	return v.doc.lines()
}

// Position returns the number of the last line in the window, from 1, and how
// many lines there are.
func (v *View) Position() (line, total int) {
	v.ready()
	total = v.doc.lines()
	if v.lay.total == 0 {
		return 0, total
	}
	p, more := v.lowest()
	if !more {
		return total, total
	}
	it := v.lay.at(p.item)
	return max(it.left, it.right) + 1, total
}

// AtEnd reports whether the end of the change is in the window.
func (v *View) AtEnd() bool {
	v.ready()
	_, more := v.lowest()
	return !more
}

// lowest returns the last row of the window, and whether there are more below.
func (v *View) lowest() (p scrollPos, more bool) {
	p = v.top
	if v.lay.total == 0 {
		return p, false
	}
	for range v.h - 1 {
		next, ok := v.down(p)
		if !ok {
			return p, false
		}
		p = next
	}
	_, more = v.down(p)
	return p, more
}

// Scroll moves the window by rows, down if delta is positive.
func (v *View) Scroll(delta int) {
	v.ready()
	if !v.o.Wrap {
		v.top = scrollPos{item: max(0, v.top.item+delta)}
		v.clamp()
		return
	}
	for ; delta < 0; delta++ {
		p, ok := v.up(v.top)
		if !ok {
			return
		}
		v.top = p
	}
	for ; delta > 0; delta-- {
		p, ok := v.down(v.top)
		if !ok || v.last().before(p) {
			return
		}
		v.top = p
	}
}

// Page moves the window by its height, less one row of overlap.
func (v *View) Page(delta int) { v.Scroll(delta * max(1, v.h-1)) }

// Top moves the window to the beginning.
func (v *View) Top() {
	v.ready()
	v.top = scrollPos{}
}

// Bottom moves the window to the end.
func (v *View) Bottom() {
	v.ready()
	v.top = v.last()
}

// Pan moves the window by columns, to the right if delta is positive, unless
// lines are wrapped. It stops at maxPan columns; with wrapping, a line of any
// length can be read.
func (v *View) Pan(delta int) {
	if !v.o.Wrap {
		v.pan = min(max(0, v.pan+delta), maxPan)
	}
}

const maxPan = 20_000

// NextHunk moves the next hunk to the top.
func (v *View) NextHunk() {
	v.ready()
	if h := v.doc.hunkOf(v.lay.lineOf(v.top.item)) + 1; h < len(v.doc.hunks) {
		v.goTo(int(v.doc.hunks[h].line), 0)
	}
}

// PrevHunk moves the beginning of this hunk to the top, or that of the one
// before.
func (v *View) PrevHunk() {
	v.ready()
	line := v.lay.lineOf(v.top.item)
	h := v.doc.hunkOf(line)
	if h >= 0 && v.lay.itemOf(int(v.doc.hunks[h].line)) == v.top.item && v.top.chunk == 0 && v.top.row == 0 {
		h--
	}
	if h < 0 {
		v.Top()
		return
	}
	v.goTo(int(v.doc.hunks[h].line), 0)
}

// goTo moves a line into the window, above rows below the top.
func (v *View) goTo(line, above int) {
	v.top = scrollPos{item: v.lay.itemOf(line)}
	for range above {
		p, ok := v.up(v.top)
		if !ok {
			break
		}
		v.top = p
	}
	v.clamp()
}

// ToggleFold opens the first fold in the window, or closes the first one that
// was opened.
func (v *View) ToggleFold() {
	v.ready()
	open := -1
	p := v.top
	for range v.h {
		if p.item >= v.lay.total {
			break
		}
		seg := v.lay.at(p.item).seg
		if s := v.doc.segs[seg]; s.fold {
			v.fold(seg, false)
			return
		} else if s.foldable && open < 0 {
			open = seg
		}
		next, ok := v.down(p)
		if !ok {
			break
		}
		p = next
	}
	if open >= 0 {
		v.fold(open, true)
	}
}

// UnfoldAll opens all folds.
func (v *View) UnfoldAll() {
	v.ready()
	v.refold(func() {
		for i := range v.doc.segs {
			v.doc.segs[i].fold = false
		}
	})
}

func (v *View) fold(seg int, closed bool) { v.refold(func() { v.doc.segs[seg].fold = closed }) }

func (v *View) refold(change func()) {
	line := v.lay.lineOf(v.top.item)
	change()
	v.relay()
	v.top = scrollPos{item: v.lay.itemOf(line)}
	v.clamp()
}

// clamp keeps the window within the text.
func (v *View) clamp() {
	if last := v.last(); last.before(v.top) {
		v.top = last
	}
}

// last returns the last place at which the window is full.
func (v *View) last() scrollPos {
	if v.bottom != nil {
		return *v.bottom
	}
	p := scrollPos{item: max(0, v.lay.total-v.h)}
	if v.o.Wrap && v.lay.total > 0 {
		p = v.end(v.lay.total - 1)
		for range v.h - 1 {
			q, ok := v.up(p)
			if !ok {
				break
			}
			p = q
		}
	}
	v.bottom = &p
	return p
}

// end returns the last row of an item.
func (v *View) end(i int) scrollPos {
	if !v.o.Wrap {
		return scrollPos{item: i}
	}
	chunk := v.chunks(i) - 1
	return scrollPos{item: i, chunk: chunk, row: v.rows(i, chunk) - 1}
}

func (v *View) down(p scrollPos) (scrollPos, bool) {
	switch {
	case v.o.Wrap && p.row+1 < v.rows(p.item, p.chunk):
		p.row++
		return p, true
	case v.o.Wrap && p.chunk+1 < v.chunks(p.item):
		return scrollPos{item: p.item, chunk: p.chunk + 1}, true
	case p.item+1 < v.lay.total:
		return scrollPos{item: p.item + 1}, true
	}
	return p, false
}

func (v *View) up(p scrollPos) (scrollPos, bool) {
	switch {
	case p.row > 0:
		p.row--
		return p, true
	case p.chunk > 0:
		return scrollPos{item: p.item, chunk: p.chunk - 1, row: v.rows(p.item, p.chunk-1) - 1}, true
	case p.item > 0:
		return v.end(p.item - 1), true
	}
	return p, false
}
