package jsonvalue

// gapArray is an array while it is changed. The gap is where the last change was,
// so neighbouring changes move nothing.
type gapArray struct {
	cells  []cell
	lo, hi int // the gap is cells[lo:hi]
}

func newGapArray(vals []Value) *gapArray {
	g := &gapArray{cells: make([]cell, len(vals)), lo: len(vals), hi: len(vals)}
	for i, v := range vals {
		g.cells[i].v = v
	}
	return g
}

func (g *gapArray) len() int { return len(g.cells) - (g.hi - g.lo) }

// at returns element i, which must exist.
func (g *gapArray) at(i int) *cell {
	if i >= g.lo {
		i += g.hi - g.lo
	}
	return &g.cells[i]
}

// seek moves the gap before element i and returns how many elements moved.
func (g *gapArray) seek(i int) int {
	moved := i - g.lo
	if moved >= 0 {
		copy(g.cells[g.lo:], g.cells[g.hi:g.hi+moved])
	} else {
		moved = -moved
		copy(g.cells[g.hi-moved:g.hi], g.cells[i:g.lo])
	}
	g.hi += i - g.lo
	g.lo = i
	return moved
}

// insert inserts c before element i and returns the number of steps taken.
func (g *gapArray) insert(i int, c cell) int {
	steps := 1
	if g.lo == g.hi {
		room := len(g.cells) + 8
		grown := make([]cell, len(g.cells)+room)
		copy(grown, g.cells[:g.lo])
		copy(grown[g.hi+room:], g.cells[g.hi:])
		steps += len(g.cells)
		g.cells, g.hi = grown, g.hi+room
	}
	steps += g.seek(i)
	g.cells[g.lo] = c
	g.lo++
	return steps
}

// remove deletes element i and returns the number of steps taken.
func (g *gapArray) remove(i int) int {
	steps := 1 + g.seek(i)
	g.cells[g.hi] = cell{}
	g.hi++
	return steps
}

// openObject is an object while it is changed. Removed members keep their entry
// until the object is closed.
type openObject struct {
	entries []entry
	place   map[string]int
}

type entry struct {
	name    string
	cell    cell
	removed bool
}

func newOpenObject(v Value) *openObject {
	o := &openObject{entries: make([]entry, v.Len()), place: v.index()}
	for i, name := range v.node.names {
		o.entries[i] = entry{name: name, cell: cell{v: v.node.vals[i]}}
	}
	return o
}

// set replaces the member or appends it.
func (o *openObject) set(name string, c cell) {
	if i, ok := o.place[name]; ok {
		o.entries[i].cell = c
		return
	}
	o.place[name] = len(o.entries)
	o.entries = append(o.entries, entry{name: name, cell: c})
}

func (o *openObject) remove(name string) {
	i := o.place[name]
	delete(o.place, name)
	o.entries[i] = entry{removed: true}
}
