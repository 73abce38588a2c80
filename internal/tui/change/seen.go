package change

import "slices"

// seenCounts records what was painted of one text.
type seenCounts struct {
	doc       *doc
	bits      []uint64
	parts     map[uint32]partial // lines that were only partly painted
	hunks     []uint32           // lines of each hunk that are still to be painted
	seenHunks int
	total     int // weight of the lines that must be read
	seen      int // weight of those that were painted
	partly    int // weight of what was painted of lines in parts
}

// A line of up to usual bytes counts once. A longer one counts once for each
// row of that length that it would take, so that the end of a long command is
// not its smallest part.
const (
	usual = 80
	whole = 1000
)

// weight returns how much line i counts among those that must be read; 0 if it
// need not be read.
func (t *seenCounts) weight(i int) int {
	if s := t.doc.segs[t.doc.segmentOf(i)]; s.kind == kindHidden || s.foldable {
		return 0
	}
	return weigh(t.doc, i)
}

func weigh(d *doc, i int) int {
	end := len(d.text)
	if i+1 < len(d.off) {
		end = int(d.off[i+1])
	}
	return whole * (1 + max(0, end-int(d.off[i])-1)/usual)
}

// reach is a range of bytes [from, to) of a line.
type reach struct{ from, to int }

// partial is what was painted of a line of length n, in order, and its weight.
type partial struct {
	n       int
	painted []reach
	weight  int
}

func newSeenCounts(d *doc) *seenCounts {
	t := &seenCounts{doc: d, bits: make([]uint64, (d.lines()+63)/64), parts: map[uint32]partial{}, hunks: make([]uint32, len(d.hunks))}
	for i, h := range d.hunks {
		t.hunks[i] = h.lines
		if h.lines == 0 {
			t.seenHunks++
		}
	}
	t.total = whole * d.unread
	for _, s := range d.segs {
		if s.kind != kindHidden && !s.foldable {
			for i := range s.lines() {
				t.total += weigh(d, int(s.line)+i)
			}
		}
	}
	return t
}

// paint notes that the bytes [from, to) of a line of length n were painted.
func (t *seenCounts) paint(line, n, from, to int) {
	if t.bits[line/64]&(1<<(line%64)) != 0 {
		return
	}
	if from > 0 || to < n {
		if !t.part(uint32(line), n, reach{from, to}) {
			return
		}
	} else {
		t.partly -= t.parts[uint32(line)].weight
		delete(t.parts, uint32(line))
	}
	t.bits[line/64] |= 1 << (line % 64)
	weight := t.weight(line)
	if weight == 0 {
		return
	}
	t.seen += weight
	h := max(0, t.doc.hunkOf(line))
	if t.hunks[h]--; t.hunks[h] == 0 {
		t.seenHunks++
	}
}

// part adds a range to what was painted of a line and reports whether the line
// is now complete.
func (t *seenCounts) part(line uint32, n int, r reach) bool {
	if r.from >= r.to {
		return false
	}
	before := t.parts[line]
	all := []reach{r}
	if before.n == n {
		all = append(before.painted, r)
	} // else it is shown otherwise now, and its bytes are others
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
		t.partly -= before.weight
		delete(t.parts, line)
		return true
	}
	now := partial{n, joined, share(joined, n, t.weight(int(line)))}
	if now.weight < before.weight { // as far as in the way that showed most
		return false
	}
	t.parts[line] = now
	t.partly += now.weight - before.weight
	return false
}

// share returns the weight of a line's painted parts, rounded down: less than
// the weight of the line, and 0 for one that need not be read.
func share(parts []reach, n, weight int) int {
	covered := 0
	for _, r := range parts {
		covered += r.to - r.from
	}
	if n == 0 || weight == 0 {
		return 0
	}
	return min(weight-1, int(int64(weight)*int64(covered)/int64(n)))
}

// percent returns how much was painted; 100 only for everything.
func (t *seenCounts) percent() int {
	if t.total == 0 {
		return 100
	}
	return int(int64(t.seen+t.partly) * 100 / int64(t.total))
}

func (t *seenCounts) last() bool { return len(t.hunks) == 0 || t.hunks[len(t.hunks)-1] == 0 }

// Seen returns how much of the change Render has painted so far, row by row:
// the hunks painted from their first to their last line, the number of hunks,
// the share of the text in percent, rounded down, and whether the last hunk
// was painted. Lines of up to 80 bytes count alike, longer ones by length; a
// line cut at the edge of the pane counts by its painted part. Unchanged lines
// and folded output never count. Files that are shown only by a line for their
// folder stay unread, one line for each folder.
//
// If the text for reading includes the whole text of the change, everything is
// counted there: both the rows of values and the lines must be painted, and a
// line counts whichever way it was shown. Otherwise the result is that of the
// way that showed most of the change.
//
// Before the first Render nothing was seen.
func (v *View) Seen() (hunksSeen, hunks, percent int, last bool) {
	v.ready()
	best := v.seen[docShown]
	if best.doc.whole < 0 {
		for _, t := range v.seen {
			if t != nil && !t.doc.aside && t.percent() > best.percent() {
				best = t
			}
		}
	}
	return best.seenHunks, len(best.hunks), best.percent(), best.last()
}

// note counts a painted part of a line.
func (v *View) note(p part) {
	line, ok := p.line, true
	t := v.seen[docShown]
	if t.doc.whole < 0 {
		t = v.seen[v.which]
	} else if v.doc != t.doc {
		line, ok = t.doc.sameLine(v.doc, line)
	}
	if ok {
		t.paint(line, p.n, p.from, p.to)
	}
}

// sameLine returns the line of the whole text that is line i of another text
// containing it.
func (d *doc) sameLine(other *doc, i int) (int, bool) {
	if other.whole < 0 || int(other.off[i]) < other.whole {
		return 0, false
	}
	return slices.BinarySearch(d.off, uint32(int(other.off[i])-other.whole+d.whole))
}
