package diff

import "bytes"

// maxSlide is how many lines a change may be moved to a better place. It bounds
// the work on repetitive files.
const maxSlide = 100

// slide moves pure insertions and pure deletions, where equal lines around them
// leave a choice, to the place that reads best: whole blocks after a blank line
// rather than the end of one function and the head of the next. The idea is
// that of git's indent heuristic. It never changes how many lines differ.
func slide(blocks []Block, a, b [][]byte, ida, idb []int32) {
	for i := range blocks {
		k := &blocks[i]
		// Lines of equal text that separate this change from its neighbours;
		// one of them must remain.
		before, after := k.A0, len(a)-k.A1
		if i > 0 {
			before = k.A0 - blocks[i-1].A1 - 1
		}
		if i+1 < len(blocks) {
			after = blocks[i+1].A0 - k.A1 - 1
		}
		before, after = min(before, maxSlide), min(after, maxSlide)
		var by int
		switch {
		case k.A0 == k.A1:
			by = bestSlide(b, idb, k.B0, k.B1, before, after)
		case k.B0 == k.B1:
			by = bestSlide(a, ida, k.A0, k.A1, before, after)
		}
		k.A0, k.A1, k.B0, k.B1 = k.A0+by, k.A1+by, k.B0+by, k.B1+by
	}
}

// bestSlide returns by how many lines the change lines[from:to] should move,
// at most before lines up and after lines down.
func bestSlide(lines [][]byte, ids []int32, from, to, before, after int) int {
	up, down := 0, 0
	for up < before && ids[from-up-1] == ids[to-up-1] {
		up++
	}
	for down < after && ids[from+down] == ids[to+down] {
		down++
	}
	if up == 0 && down == 0 {
		return 0
	}
	best, bestCost := 0, 0
	for by := down; by >= -up; by-- {
		indent, cost := cutCost(lines, from+by)
		indentEnd, costEnd := cutCost(lines, to+by)
		total := 60*(indent+indentEnd) + cost + costEnd
		if by == down || total < bestCost {
			best, bestCost = by, total
		}
	}
	return best
}

// cutCost says how badly a reader would take a change that begins or ends
// between lines[at-1] and lines[at]: the indentation there, and a penalty that
// favours blank lines before the cut and disfavours cutting off a closing line.
func cutCost(lines [][]byte, at int) (indent, penalty int) {
	const look = 20 // blank lines to look past
	next, nextBlank := -1, 0
	for i := at; i < len(lines) && i < at+look; i++ {
		if next = indentOf(lines[i]); next >= 0 {
			break
		}
		nextBlank++
	}
	previous, previousBlank := -1, 0
	for i := at - 1; i >= 0 && i >= at-look; i-- {
		if previous = indentOf(lines[i]); previous >= 0 {
			break
		}
		previousBlank++
	}
	if at == 0 || previousBlank > 0 {
		penalty -= 30
	}
	if nextBlank > 0 {
		penalty += 6
	}
	if next < 0 { // the end of the file, or blank lines only
		return 0, penalty
	}
	if previous > next && nextBlank == 0 && previousBlank == 0 {
		penalty += 23
	}
	return next, penalty
}

// indentOf returns the width of a line's leading white space with tab stops of
// eight, at most 200, or -1 for a blank line.
func indentOf(line []byte) int {
	const most = 200
	if len(bytes.TrimSpace(line[:min(len(line), most)])) == 0 && len(line) <= most {
		return -1
	}
	width := 0
	for _, c := range line {
		switch {
		case width >= most:
			return most
		case c == ' ':
			width++
		case c == '\t':
			width += 8 - width%8
		default:
			return width
		}
	}
	return width
}
