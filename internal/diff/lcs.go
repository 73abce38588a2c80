package diff

// Default step budget: a fixed part, and a part that grows with the input so
// that a large file is not penalised for its size. One step is one diagonal
// visited or one element compared; a step takes a few nanoseconds.
const (
	BaseBudget       = 32 << 20
	BudgetPerElement = 64
)

// Block is one change: a[A0:A1] is replaced by b[B0:B1]. One of the two may be
// empty, never both.
type Block struct{ A0, A1, B0, B1 int }

// region is a part of both sequences still to be compared.
type region struct{ a0, a1, b0, b1 int }

func (r region) size() int { return r.a1 - r.a0 + r.b1 - r.b0 }

// Align compares two sequences of interned elements numbered below ids and
// returns the changes in order, and whether the step budget forced a result
// that may not be minimal. budget 0 or less means the default.
//
// Elements that only one side has cannot match; they are set aside first,
// which keeps the result minimal and makes unrelated inputs cheap. What is left
// is solved by Myers' linear-space algorithm. A region that exceeds its share
// of the budget is divided at elements unique to both sides (patience), then by
// greedy cuts, and is replaced as a whole when nothing else is affordable.
func Align(a, b []int32, ids, budget int) (blocks []Block, coarse bool) {
	keptA, keptB := shared(a, b, ids)
	s := newSolver(pick(a, keptA), pick(b, keptB), ids, budget)
	s.run()
	changedA, changedB := allTrue(len(a)), allTrue(len(b))
	for i, at := range keptA {
		changedA[at] = s.changedA[i]
	}
	for i, at := range keptB {
		changedB[at] = s.changedB[i]
	}
	return toBlocks(changedA, changedB), s.coarse
}

// shared returns the positions in a and in b of elements that the other side
// has as well.
func shared(a, b []int32, ids int) (keptA, keptB []int32) {
	const inA, inB = 1, 2
	seen := make([]uint8, ids)
	for _, id := range a {
		seen[id] |= inA
	}
	for _, id := range b {
		seen[id] |= inB
	}
	positions := func(s []int32) []int32 {
		var kept []int32
		for i, id := range s {
			if seen[id] == inA|inB {
				kept = append(kept, int32(i))
			}
		}
		return kept
	}
	return positions(a), positions(b)
}

func pick(s, positions []int32) []int32 {
	out := make([]int32, len(positions))
	for i, at := range positions {
		out[i] = s[at]
	}
	return out
}

func allTrue(n int) []bool {
	s := make([]bool, n)
	for i := range s {
		s[i] = true
	}
	return s
}

// toBlocks turns marks of deleted and inserted elements into ordered blocks.
func toBlocks(changedA, changedB []bool) []Block {
	var blocks []Block
	i, j := 0, 0
	for i < len(changedA) || j < len(changedB) {
		k := Block{A0: i, B0: j}
		for i < len(changedA) && changedA[i] {
			i++
		}
		for j < len(changedB) && changedB[j] {
			j++
		}
		if k.A1, k.B1 = i, j; k.A1 > k.A0 || k.B1 > k.B0 {
			blocks = append(blocks, k)
			continue
		}
		i++
		j++
	}
	return blocks
}

// solver holds the state of one comparison.
type solver struct {
	a, b               []int32
	ids                int
	changedA, changedB []bool
	forward, backward  []int32 // furthest x by diagonal x-y, offset by origin
	origin             int
	exactPool          int // steps left for the minimal solution
	anchorPool         int // steps shared out between the parts of a patience division
	cutPool            int // steps left for greedy cuts
	coarse             bool
	countA, countB     []int32 // scratch of anchors, by id, zero between calls
}

func newSolver(a, b []int32, ids, budget int) *solver {
	if budget <= 0 {
		budget = BaseBudget + BudgetPerElement*(len(a)+len(b))
	}
	return &solver{
		a: a, b: b, ids: ids,
		changedA: make([]bool, len(a)), changedB: make([]bool, len(b)),
		exactPool: budget / 2, anchorPool: budget / 4, cutPool: budget / 4,
	}
}

func (s *solver) whole() region { return region{0, len(s.a), 0, len(s.b)} }

func (s *solver) run() {
	whole := s.trim(s.whole())
	if s.trivial(whole) {
		return
	}
	if found, exact := s.anchors(whole); exact {
		s.keep(whole, found)
		return
	}
	diagonals := len(s.a) + len(s.b) + 3
	s.forward, s.backward = make([]int32, diagonals), make([]int32, diagonals)
	s.origin = len(s.b) + 1
	s.exact(whole)
}

// trim shrinks r by what its two sides share at the front and at the back.
func (s *solver) trim(r region) region {
	for r.a0 < r.a1 && r.b0 < r.b1 && s.a[r.a0] == s.b[r.b0] {
		r.a0++
		r.b0++
	}
	for r.a0 < r.a1 && r.b0 < r.b1 && s.a[r.a1-1] == s.b[r.b1-1] {
		r.a1--
		r.b1--
	}
	return r
}

// trivial settles r if one side of it is empty.
func (s *solver) trivial(r region) bool {
	if r.a0 < r.a1 && r.b0 < r.b1 {
		return false
	}
	s.replace(r)
	return true
}

// replace marks all of r as changed.
func (s *solver) replace(r region) {
	for i := r.a0; i < r.a1; i++ {
		s.changedA[i] = true
	}
	for j := r.b0; j < r.b1; j++ {
		s.changedB[j] = true
	}
}

// exact solves r minimally as long as the pool lasts.
func (s *solver) exact(r region) {
	for {
		if r = s.trim(r); s.trivial(r) {
			return
		}
		x, y, found := s.middle(r, r.size(), &s.exactPool)
		if !found {
			s.divide(r)
			return
		}
		s.exact(region{r.a0, x, r.b0, y})
		r = region{x, r.a1, y, r.b1}
	}
}

// divide solves r, which was too expensive for an exact solution, between
// elements that are unique on both sides.
func (s *solver) divide(r region) {
	found, exact := s.anchors(r)
	if exact {
		s.keep(r, found)
		return
	}
	s.coarse = true
	if len(found) == 0 {
		s.cut(r)
		return
	}
	share := int64(s.anchorPool) * int64(r.size()) / int64(s.whole().size())
	part := func(p region) {
		pool := int(share * int64(p.size()) / int64(r.size()))
		s.between(p, &pool)
	}
	from := region{a0: r.a0, b0: r.b0}
	for _, p := range found {
		part(region{from.a0, p.x, from.b0, p.y})
		from.a0, from.b0 = p.x+1, p.y+1
	}
	part(region{from.a0, r.a1, from.b0, r.b1})
}

// between solves a part between two anchors with its own pool.
func (s *solver) between(r region, pool *int) {
	for {
		if r = s.trim(r); s.trivial(r) {
			return
		}
		x, y, found := s.middle(r, r.size(), pool)
		if !found {
			s.cut(r)
			return
		}
		s.between(region{r.a0, x, r.b0, y}, pool)
		r = region{x, r.a1, y, r.b1}
	}
}

// minCutCost is the edit distance below which a greedy cut finds too little to
// be worth its steps.
const minCutCost = 8

// cut divides r where a forward search of limited cost came furthest, again and
// again. Each cut advances by at least the cost, so the work is linear in the
// size of r. When the pool runs dry the rest is replaced as a whole.
func (s *solver) cut(r region) {
	for {
		if r = s.trim(r); s.trivial(r) {
			return
		}
		cost := min(s.cutPool/(2*r.size()), 2048)
		if cost < minCutCost && s.cutPool < 4*minCutCost*minCutCost {
			s.replace(r)
			return
		}
		x, y, _ := s.middle(r, max(cost, minCutCost), &s.cutPool)
		if x == r.a0 && y == r.b0 {
			s.replace(r)
			return
		}
		if x == r.a1 && y == r.b1 {
			s.replace(r)
			return
		}
		s.cut(region{r.a0, x, r.b0, y})
		r = region{x, r.a1, y, r.b1}
	}
}
