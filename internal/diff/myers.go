package diff

import "math"

// middle finds a point that divides r, which must be trimmed and non-empty on
// both sides, into two easier regions. It searches from both ends for the
// middle snake of a shortest edit script (Myers 1986, section 4b) up to maxCost
// edits from each end, taking its steps from pool.
//
// found says that (x, y) lies on a shortest path, strictly inside r. Otherwise
// (x, y) is the point at which the forward search came furthest; it is reachable
// by at most maxCost edits and equals the start of r if the pool was empty.
func (s *solver) middle(r region, maxCost int, pool *int) (x, y int, found bool) {
	q := search{region: r, start: r.a0 - r.b0, end: r.a1 - r.b1, lowest: r.a0 - r.b1, highest: r.a1 - r.b0, left: *pool}
	q.fmin, q.fmax, q.gmin, q.gmax = q.start, q.start, q.end, q.end
	f, g := s.forward[s.origin+q.start-1:], s.backward[s.origin+q.end-1:]
	f[0], f[1], f[2] = unset, int32(r.a0), unset
	g[0], g[1], g[2] = unsetBack, int32(r.a1), unsetBack
	defer func() { *pool = max(q.left, 0) }()

	for cost := 1; cost <= maxCost && q.left > 0; cost++ {
		if x, y, found = s.advance(&q); found {
			return x, y, true
		}
		if x, y, found = s.retreat(&q); found {
			return x, y, true
		}
	}
	x, y = s.furthest(r, q.fmin, q.fmax)
	return x, y, false
}

// What a diagonal holds that the search has not reached.
const (
	unset     = -1
	unsetBack = math.MaxInt32
)

// search is how far the search for a middle snake has come: from the first
// corner of the region on the diagonals fmin to fmax, from the last one on gmin
// to gmax. left is how many steps it may still take.
type search struct {
	region
	start, end             int // diagonals of the corners
	lowest, highest        int // diagonals that the region has
	fmin, fmax, gmin, gmax int
	left                   int
}

// odd says that the length of every edit script is odd: then it is the forward
// search that meets the other, else the backward one.
func (q *search) odd() bool { return (q.start-q.end)&1 != 0 }

// advance takes the forward search one edit further. ok says that it has met
// the backward one at (x, y).
func (s *solver) advance(q *search) (x, y int, ok bool) {
	a, b, f, g, o, r := s.a, s.b, s.forward, s.backward, s.origin, q.region
	odd, gmin, gmax := q.odd(), q.gmin, q.gmax
	if q.fmin > q.lowest {
		q.fmin--
		f[o+q.fmin-1] = unset
	} else {
		q.fmin++
	}
	if q.fmax < q.highest {
		q.fmax++
		f[o+q.fmax+1] = unset
	} else {
		q.fmax--
	}
	left := q.left
	for d, last := q.fmax, q.fmin; d >= last && left > 0; d -= 2 {
		x := unset
		if v := int(f[o+d+1]); v >= 0 && v-d <= r.b1 {
			x = v
		}
		if v := int(f[o+d-1]); v >= 0 && v < r.a1 && v+1 > x {
			x = v + 1
		}
		if x < 0 {
			f[o+d] = unset
			continue
		}
		y, from := x-d, x
		for x < r.a1 && y < r.b1 && a[x] == b[y] {
			x++
			y++
		}
		left -= 1 + x - from
		f[o+d] = int32(x)
		if odd && gmin <= d && d <= gmax && int(g[o+d]) <= x {
			q.left = left
			return x, y, true
		}
	}
	q.left = left
	return 0, 0, false
}

// retreat is advance for the backward search.
func (s *solver) retreat(q *search) (x, y int, ok bool) {
	a, b, f, g, o, r := s.a, s.b, s.forward, s.backward, s.origin, q.region
	odd, fmin, fmax := q.odd(), q.fmin, q.fmax
	if q.gmin > q.lowest {
		q.gmin--
		g[o+q.gmin-1] = unsetBack
	} else {
		q.gmin++
	}
	if q.gmax < q.highest {
		q.gmax++
		g[o+q.gmax+1] = unsetBack
	} else {
		q.gmax--
	}
	left := q.left
	for d, last := q.gmax, q.gmin; d >= last && left > 0; d -= 2 {
		x := unsetBack
		if v := int(g[o+d-1]); v != unsetBack && v-d >= r.b0 {
			x = v
		}
		if v := int(g[o+d+1]); v != unsetBack && v > r.a0 && v-1 < x {
			x = v - 1
		}
		if x == unsetBack {
			g[o+d] = unsetBack
			continue
		}
		y, from := x-d, x
		for x > r.a0 && y > r.b0 && a[x-1] == b[y-1] {
			x--
			y--
		}
		left -= 1 + from - x
		g[o+d] = int32(x)
		if !odd && fmin <= d && d <= fmax && x <= int(f[o+d]) {
			q.left = left
			return x, y, true
		}
	}
	q.left = left
	return 0, 0, false
}

// furthest returns the point with the largest x+y that the forward search
// reached on the diagonals fmin to fmax; the lowest diagonal wins a tie.
func (s *solver) furthest(r region, fmin, fmax int) (x, y int) {
	x, y = r.a0, r.b0
	for d := fmin; d <= fmax; d++ {
		if v := int(s.forward[s.origin+d]); v >= 0 && v+v-d > x+y {
			x, y = v, v-d
		}
	}
	return x, y
}

// point is a pair of equal elements a[x] and b[y].
type point struct{ x, y int }

// anchors returns the longest chain of elements that occur exactly once on each
// side of r, in order. exact says that no element of r occurs twice on a side:
// then the chain is a longest common subsequence of r.
func (s *solver) anchors(r region) (chain []point, exact bool) {
	if s.countA == nil {
		s.countA, s.countB = make([]int32, s.ids), make([]int32, s.ids)
	}
	exact = true
	for _, id := range s.a[r.a0:r.a1] {
		s.countA[id]++
		exact = exact && s.countA[id] == 1
	}
	// For the second side keep count and place together: -1 stands for "more
	// than once", otherwise the place plus one.
	for i, id := range s.b[r.b0:r.b1] {
		if s.countB[id] == 0 {
			s.countB[id] = int32(r.b0 + i + 1)
		} else {
			s.countB[id] = -1
			exact = false
		}
	}
	var pairs []point
	for i, id := range s.a[r.a0:r.a1] {
		if s.countA[id] == 1 && s.countB[id] > 0 {
			pairs = append(pairs, point{r.a0 + i, int(s.countB[id]) - 1})
		}
	}
	for _, id := range s.a[r.a0:r.a1] {
		s.countA[id] = 0
	}
	for _, id := range s.b[r.b0:r.b1] {
		s.countB[id] = 0
	}
	return longestChain(pairs), exact
}

// longestChain returns the longest subsequence of pairs, which are ordered by x,
// whose y rise as well.
func longestChain(pairs []point) []point {
	previous := make([]int32, len(pairs))
	var tails []int32 // tails[n] ends the chain of length n+1 with the smallest y
	for i, p := range pairs {
		lo, hi := 0, len(tails)
		for lo < hi {
			mid := (lo + hi) / 2
			if pairs[tails[mid]].y < p.y {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		previous[i] = -1
		if lo > 0 {
			previous[i] = tails[lo-1]
		}
		if lo == len(tails) {
			tails = append(tails, int32(i))
		} else {
			tails[lo] = int32(i)
		}
	}
	if len(tails) == 0 {
		return nil
	}
	chain := make([]point, len(tails))
	for n, i := len(tails)-1, tails[len(tails)-1]; n >= 0; n-- {
		chain[n] = pairs[i]
		i = previous[i]
	}
	return chain
}

// keep marks all of r as changed except the chain.
func (s *solver) keep(r region, chain []point) {
	s.replace(r)
	for _, p := range chain {
		s.changedA[p.x], s.changedB[p.y] = false, false
	}
}
