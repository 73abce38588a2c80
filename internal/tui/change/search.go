package change

import (
	"strings"
)

// search is the state of a search.
type search struct {
	pattern string
	fold    bool     // ignores case
	lines   []uint32 // that match, in order
	current int      // index into lines, -1 before the first move
}

// Search looks for pattern in every line and returns how many lines contain
// it. A pattern without capitals ignores the case of A to Z. Signs and numbers
// before the lines are not searched. The window does not move; an empty
// pattern ends the search.
func (v *View) Search(pattern string) (matches int) {
	v.ready()
	v.search = search{pattern: pattern, fold: strings.ToLower(pattern) == pattern, current: -1}
	if pattern == "" || strings.Contains(pattern, "\n") {
		return 0
	}
	s := &v.search
	d := v.doc
	line, at := 0, 0
	find := s.in(d.text)
	for {
		if at = find.next(at); at < 0 {
			return len(s.lines)
		}
		line = d.lineAt(line, at)
		if start, end := v.searched(line); at >= start && at+len(pattern) <= end {
			s.lines = append(s.lines, uint32(line))
			at = end
		} else {
			at++
		}
	}
}

// lineAt returns the line that holds the byte at. It is from or a later one.
func (d *doc) lineAt(from, at int) int {
	step := 1
	for from+step < len(d.off) && int(d.off[from+step]) <= at {
		from += step
		step *= 2
	}
	for ; step > 0; step /= 2 {
		if from+step < len(d.off) && int(d.off[from+step]) <= at {
			from += step
		}
	}
	return from
}

// searched returns which bytes of the text are searched for a line.
func (v *View) searched(line int) (start, end int) {
	seg := v.doc.segmentOf(line)
	if v.doc.segs[seg].kind == kindHidden && !v.o.Raw {
		return 0, 0
	}
	if _, ok := v.doc.respelt[uint32(line)]; ok && !v.o.Raw {
		return 0, 0 // what is shown is not in the text
	}
	text := v.text(seg, line)
	start = int(v.doc.off[line]) + v.offset(seg, line)
	return start, start + len(text)
}

// rarity orders letters and signs by how rare they are in source text.
const rarity = "qzj~^@%$?!&|xkwvQZXJKVW+*<>{}[]\\9876y5b43gfHYBGUM'#`/:;=\",()20PFDO1LAhuNRISECTpmdclsonaritme_-. "

// index returns the first match in text, -1 if there is none.
func (s *search) index(text string) int { return s.in(text).next(0) }

// in returns a finder for the matches in text.
func (s *search) in(text string) *finder {
	f := &finder{search: s, text: text, nextLower: -1, nextUpper: -1}
	if !s.fold {
		return f
	}
	best := len(rarity)
	for i := range len(s.pattern) {
		if r := strings.IndexByte(rarity, s.pattern[i]); r < best {
			f.rare, best = i, r
		}
	}
	f.lower = s.pattern[f.rare]
	f.upper = f.lower
	if 'a' <= f.lower && f.lower <= 'z' {
		f.upper -= 0x20
	}
	return f
}

// finder finds a pattern in one pass over a text: it looks for the pattern's
// rarest byte, in both cases.
type finder struct {
	*search
	text                 string
	rare                 int // index of that byte in the pattern
	lower, upper         byte
	nextLower, nextUpper int // their next places, where known
}

// next returns the first match at or after from, -1 if there is none. from
// must not decrease from call to call.
func (f *finder) next(from int) int {
	if !f.fold {
		if i := strings.Index(f.text[from:], f.pattern); i >= 0 {
			return from + i
		}
		return -1
	}
	n := len(f.pattern)
	for at := from + f.rare; at < len(f.text); {
		f.nextLower = following(f.text, f.lower, at, f.nextLower)
		i := f.nextLower
		if f.upper != f.lower {
			f.nextUpper = following(f.text, f.upper, at, f.nextUpper)
			i = min(i, f.nextUpper)
		}
		start := i - f.rare
		if i == len(f.text) || start+n > len(f.text) {
			return -1
		}
		if equalFold(f.text[start:start+n], f.pattern) {
			return start
		}
		at = i + 1
	}
	return -1
}

// following returns the first c at or after at, given the last answer.
func following(text string, c byte, at, known int) int {
	if known >= at {
		return known
	}
	if i := strings.IndexByte(text[at:], c); i >= 0 {
		return at + i
	}
	return len(text)
}

// equalFold compares text with a pattern in lower case, ASCII letters in any.
func equalFold(text, pattern string) bool {
	for i := range len(pattern) {
		c := text[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != pattern[i] {
			return false
		}
	}
	return true
}

// overlay marks the matches in part of a line.
func (s *search) overlay(part string, classes []class, line int) {
	if s.pattern == "" || len(s.lines) == 0 {
		return
	}
	c := match
	if s.current >= 0 && int(s.lines[s.current]) == line {
		c = currentMatch
	}
	find := s.in(part)
	for at := find.next(0); at >= 0; at = find.next(at) {
		paint(classes, at, at+len(s.pattern), c)
		at += len(s.pattern)
	}
}

// NextMatch moves to the next matching line, wrapping around, and returns its
// number from 1; 0 if nothing matches.
func (v *View) NextMatch() int { return v.step(1) }

// PrevMatch moves to the previous matching line, wrapping around, and returns
// its number from 1; 0 if nothing matches.
func (v *View) PrevMatch() int { return v.step(-1) }

func (v *View) step(by int) int {
	v.ready()
	s := &v.search
	n := len(s.lines)
	if n == 0 {
		return 0
	}
	if s.current < 0 { // from the top of the window on
		s.current = s.from(v.lay.lineOf(v.top.item))
		if by < 0 {
			s.current--
		}
	} else {
		s.current += by
	}
	s.current = (s.current + n) % n
	v.reveal(int(s.lines[s.current]))
	return s.current + 1
}

// from returns the index of the first match at or after a line.
func (s *search) from(line int) int {
	lo, hi := 0, len(s.lines)
	for lo < hi {
		if mid := (lo + hi) / 2; int(s.lines[mid]) < line {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// reveal scrolls the first match of a line to a third of the window's height,
// and opens the fold that contains it.
func (v *View) reveal(line int) {
	seg := v.doc.segmentOf(line)
	if v.doc.segs[seg].fold {
		v.fold(seg, false)
	}
	text := v.text(seg, line)
	at := max(0, v.search.index(text))
	if v.o.Wrap {
		v.goTo(line, 0)
		p := v.scrollPosOf(v.lay.itemOf(line), at, text)
		for range v.h / 3 {
			q, ok := v.up(p)
			if !ok {
				break
			}
			p = q
		}
		v.top = p
		v.clamp()
		return
	}
	v.goTo(line, v.h/3)
	v.pan = 0
	if cols := v.safe.columns(text[:min(at, 4*maxPan)]); cols+len(v.search.pattern) > v.w/2-8 {
		v.pan = min(max(0, cols-v.w/4), maxPan)
	}
}

// columns returns the width of a text.
func (sp speller) columns(s string) int {
	n := 0
	sp.spell(s, make([]class, len(s)), 0, 0, false, func(p piece) bool {
		n += p.line.Width()
		return true
	})
	return n
}

// scrollPosOf returns the row of an item that shows byte at of a line's text.
func (v *View) scrollPosOf(i, at int, text string) scrollPos {
	p := scrollPos{item: i}
	for p.chunk+1 < v.chunks(i) {
		if from, _ := chunkAt(text, p.chunk+1); from > at {
			break
		}
		p.chunk++
	}
	it := v.lay.at(i)
	line, cols := it.left, v.w-v.gutter(it.seg)
	if it.side {
		l, r := v.halves()
		cols = l - v.halfGutter()
		if line < 0 || v.text(it.seg, line) != text {
			line, cols = it.right, r-v.halfGutter()
		}
	}
	if line < 0 {
		return p
	}
	for k, r := range v.lineRows(it.seg, line, p.chunk, cols) {
		if r.from <= at {
			p.row = k
		}
	}
	return p
}

// ClearSearch ends the search.
func (v *View) ClearSearch() { v.search = search{} }
