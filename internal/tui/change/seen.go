package change

import "slices"

// tally keeps account of what was painted of one text.
type tally struct {
	doc       *doc
	bits      []uint64
	parts     map[uint32][]reach // of lines of which only a part was painted
	hunks     []uint32           // lines of each hunk that are still to be painted
	seenHunks int
	lines     int // that must be read
	seenLines int
}

// reach is a range of bytes [from, to) of a line.
type reach struct{ from, to int }

func newTally(d *doc) *tally {
	t := &tally{doc: d, bits: make([]uint64, (d.lines()+63)/64), parts: map[uint32][]reach{}, hunks: make([]uint32, len(d.hunks))}
	for i, h := range d.hunks {
		t.hunks[i] = h.lines
		if h.lines == 0 {
			t.seenHunks++
		}
	}
	for _, s := range d.segs {
		if s.kind != kindHidden && !s.foldable {
			t.lines += s.lines()
		}
	}
	return t
}

// paint notes that the bytes [from, to) of a line of length n were painted.
func (t *tally) paint(line, n, from, to int) {
	if t.bits[line/64]&(1<<(line%64)) != 0 {
		return
	}
	if from > 0 || to < n {
		if !t.part(uint32(line), n, reach{from, to}) {
			return
		}
	}
	t.bits[line/64] |= 1 << (line % 64)
	if s := t.doc.segs[t.doc.segmentOf(line)]; s.kind == kindHidden || s.foldable {
		return
	}
	t.seenLines++
	h := max(0, t.doc.hunkOf(line))
	if t.hunks[h]--; t.hunks[h] == 0 {
		t.seenHunks++
	}
}

// part adds a range to what was painted of a line and reports whether that is
// the whole now.
func (t *tally) part(line uint32, n int, r reach) bool {
	if r.from >= r.to {
		return false
	}
	all := append(t.parts[line], r)
	slices.SortFunc(all, func(a, b reach) int { return a.from - b.from })
	joined := all[:1]
	for _, next := range all[1:] {
		if last := &joined[len(joined)-1]; next.from <= last.to {
			last.to = max(last.to, next.to)
		} else {
			joined = append(joined, next)
		}
	}
	if len(joined) == 1 && joined[0].from == 0 && joined[0].to >= n {
		delete(t.parts, line)
		return true
	}
	t.parts[line] = joined
	return false
}

// percent returns how much of the lines was painted, 100 only for all of them.
func (t *tally) percent() int {
	if t.lines == 0 {
		return 100
	}
	return int(int64(t.seenLines) * 100 / int64(t.lines))
}

func (t *tally) last() bool { return len(t.hunks) == 0 || t.hunks[len(t.hunks)-1] == 0 }

// Seen returns how much of the change Render has painted so far, row by row: the
// hunks that were painted from their first to their last line, how many there
// are, the share of all lines, rounded down, and whether the last hunk is among
// those painted. A line that was cut at the edge of the pane counts once all of
// its parts were painted; unchanged lines in a fold never count. A text that can
// be shown in several ways was seen as far as in the one that was seen most.
//
// Before the first Render nothing was seen.
func (v *View) Seen() (hunksSeen, hunks, percent int, last bool) {
	v.ready()
	best := v.seen[v.which]
	for _, t := range v.seen {
		if t != nil && !t.doc.empty && t.percent() > best.percent() {
			best = t
		}
	}
	return best.seenHunks, len(best.hunks), best.percent(), best.last()
}
