package jsonvalue

import (
	"slices"

	"github.com/mcpguard/mcpguard/internal/diff"
)

// array compares two arrays and aligns equal elements like lines. now is the index
// in the array as patched so far; everything before it is final.
func (c *comparison) array(at location, a, b Value, ta, tb tree) {
	now, i := 0, 0
	for _, k := range c.alignKeys(contents(ta.kids), contents(tb.kids)) {
		now += k.A0 - i
		now = c.elements(at, now, k, a, b, ta, tb)
		i = k.A1
	}
}

// elements handles one block of an array. Objects with the same identity are paired
// first, and what lies between pairs is paired by position. Unpaired elements are
// removed or added. It returns the index after the block.
func (c *comparison) elements(at location, now int, k diff.Block, a, b Value, ta, tb tree) int {
	inner := []diff.Block{k}
	if k.A1 > k.A0 && k.B1 > k.B0 {
		inner = c.alignKeys(identities(a, ta, k.A0, k.A1, sideBefore), identities(b, tb, k.B0, k.B1, sideAfter))
		for n := range inner {
			m := &inner[n]
			m.A0, m.A1, m.B0, m.B1 = m.A0+k.A0, m.A1+k.A0, m.B0+k.B0, m.B1+k.B0
		}
	}
	i, j := k.A0, k.B0
	pair := func(whole bool) {
		here := at.element(now, i, j)
		if whole {
			c.replace(here, a.node.vals[i], b.node.vals[j])
		} else {
			c.value(here, a.node.vals[i], b.node.vals[j], ta.kids[i], tb.kids[j])
		}
		i, j, now = i+1, j+1, now+1
	}
	for _, m := range append(inner, diff.Block{A0: k.A1, A1: k.A1, B0: k.B1, B1: k.B1}) {
		for i < m.A0 {
			pair(false)
		}
		for i < m.A1 && j < m.B1 {
			pair(!alike(a.node.vals[i], b.node.vals[j], ta.kids[i], tb.kids[j]))
		}
		for ; i < m.A1; i++ {
			here := at.element(now, i, j)
			c.remove(here.now, here.old, a.node.vals[i])
		}
		for ; j < m.B1; j, now = j+1, now+1 {
			here := at.element(now, i, j)
			c.add(here.now, here.new, b.node.vals[j])
		}
	}
	return now
}

// alignKeys aligns two sequences of keys. Its share of the budget is their share of
// the documents, so that all arrays together stay within it.
func (c *comparison) alignKeys(a, b []uint64) []diff.Block {
	const least = 1 << 12 // steps; enough for a small array in a large document
	share := int(int64(c.budget) / int64(c.nodes) * int64(len(a)+len(b)))
	names := map[uint64]int32{}
	dense := func(keys []uint64) []int32 {
		ids := make([]int32, len(keys))
		for i, k := range keys {
			id, ok := names[k]
			if !ok {
				id = int32(len(names))
				names[k] = id
			}
			ids[i] = id
		}
		return ids
	}
	blocks, coarse := diff.Align(dense(a), dense(b), len(names), max(share, least))
	c.coarse = c.coarse || coarse
	return blocks
}

func contents(kids []tree) []uint64 {
	keys := make([]uint64, len(kids))
	for i, k := range kids {
		keys[i] = uint64(k.id)
	}
	return keys
}

// identifying lists the members by which lists commonly identify their entries, the
// most specific first.
var identifying = [...]string{"id", "_id", "uid", "uuid", "key", "name", "path"}

// Sides, which keep elements without identity apart.
const (
	sideBefore = 1 << 62
	sideAfter  = 1 << 63
)

// identities returns a key for each of the elements from to to-1: that of its
// identifying member, or a unique one.
func identities(v Value, t tree, from, to int, side uint64) []uint64 {
	keys := make([]uint64, 0, to-from)
	for i := from; i < to; i++ {
		key, ok := identity(v.node.vals[i], t.kids[i])
		if !ok {
			key = side | uint64(i)
		}
		keys = append(keys, key)
	}
	return keys
}

// identity returns the key of the first identifying member that holds text or a
// number.
func identity(v Value, t tree) (key uint64, ok bool) {
	if v.typ != TypeObject {
		return 0, false
	}
	for n, name := range identifying {
		i := slices.Index(v.node.names, name)
		if i >= 0 && (v.node.vals[i].typ == TypeString || v.node.vals[i].typ == TypeNumber) {
			return uint64(t.kids[i].id)*uint64(len(identifying)) + uint64(n), true
		}
	}
	return 0, false
}

// alike reports whether b reads better as a change to a than as its replacement.
func alike(a, b Value, ta, tb tree) bool {
	if a.typ != b.typ || a.node == nil {
		return false
	}
	if a.typ == TypeArray {
		return true
	}
	at := b.index()
	named, same := 0, 0
	for i, name := range a.node.names {
		if j, ok := at[name]; ok {
			named++
			if ta.kids[i].id == tb.kids[j].id {
				same++
			}
		}
	}
	keyA, okA := identity(a, ta)
	keyB, okB := identity(b, tb)
	if okA && okB && keyA != keyB {
		return 2*same >= max(a.Len(), b.Len())
	}
	return named > 0
}
