package change

// item is one entry of the scrolled list: a line across the pane, or a line on
// each side.
type item struct {
	seg         int // index
	left, right int // lines, -1 for none; a line across is in left
	side        bool
	fold        bool // stands for the whole segment
}

// layout numbers the items of a document.
type layout struct {
	doc   *doc
	split bool
	raw   bool
	start []uint32 // first item of each segment
	total int
}

func newLayout(d *doc, split, raw bool) layout {
	l := layout{doc: d, split: split && !raw, raw: raw, start: make([]uint32, len(d.segs))}
	for i, s := range d.segs {
		l.start[i] = uint32(l.total)
		l.total += l.items(s)
	}
	return l
}

// items returns how many items a segment has.
func (l *layout) items(s segment) int {
	switch {
	case l.raw:
		return s.lines()
	case s.kind == kindHidden:
		return 0
	case s.fold:
		return 1
	case s.kind == kindChange && l.split:
		return int(max(s.n, s.ins))
	}
	return s.lines()
}

// at returns item i, which must exist.
func (l *layout) at(i int) item {
	lo, hi := 0, len(l.start)
	for lo < hi {
		if mid := (lo + hi) / 2; int(l.start[mid]) <= i {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	seg := lo - 1
	s := l.doc.segs[seg]
	k := i - int(l.start[seg])
	first := int(s.line)
	it := item{seg: seg, left: first + k, right: -1}
	switch {
	case l.raw:
	case s.fold:
		it.fold = true
	case !l.split:
	case s.kind == kindContext:
		it.right, it.side = it.left, true
	case s.kind == kindChange:
		it.side, it.left = true, -1
		if k < int(s.n) {
			it.left = first + k
		}
		if k < int(s.ins) {
			it.right = first + int(s.n) + k
		}
	}
	return it
}

// itemOf returns the item that shows a line, or the next one if none does.
func (l *layout) itemOf(line int) int {
	if len(l.doc.segs) == 0 {
		return 0
	}
	seg := max(0, l.doc.segmentOf(line))
	s := l.doc.segs[seg]
	k := line - int(s.line)
	switch {
	case l.raw:
	case s.kind == kindHidden, s.fold:
		k = 0
	case l.split && s.kind == kindChange && k >= int(s.n):
		k -= int(s.n)
	}
	return min(int(l.start[seg])+k, max(0, l.total-1))
}

// lineOf returns a line that item i shows.
func (l *layout) lineOf(i int) int {
	if l.total == 0 {
		return 0
	}
	it := l.at(min(i, l.total-1))
	if it.left < 0 {
		return it.right
	}
	return it.left
}
