package jsonvalue

import (
	"encoding/binary"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/mcpguard/mcpguard/internal/diff"
)

// Change is one row of a patch for display: what was at a path and what is there
// afterwards.
type Change struct {
	Op string // add, replace, remove or move
	// Path is a JSON Pointer: for add and move into the document after the change,
	// for replace and remove into the document before it. Unlike the paths of a
	// Patch, it does not depend on earlier rows.
	Path string
	// FromPath is the path of a moved value in the document before.
	FromPath string
	// From and To are the old and the new value. From is absent for add, To for
	// remove. A move has both, and they are equal.
	From, To Value
}

// MarshalJSON returns {op, path, from, to} without absent values, and fromPath for
// a move.
func (c Change) MarshalJSON() ([]byte, error) {
	row := struct {
		Op       string `json:"op"`
		Path     string `json:"path"`
		FromPath string `json:"fromPath,omitempty"`
		From     *Value `json:"from,omitempty"`
		To       *Value `json:"to,omitempty"`
	}{Op: c.Op, Path: c.Path, FromPath: c.FromPath}
	if c.From.Present() {
		row.From = &c.From
	}
	if c.To.Present() {
		row.To = &c.To
	}
	return json.Marshal(row)
}

// MakePatch returns a patch that turns before into after. Each remove, replace and
// move is preceded by a test for the value that it removes, so the patch applies
// only to the document that it was made from. Members are visited in byte order of
// their names, and array elements are aligned like lines: equal inputs give equal
// patches. Equal numbers with and without a fraction, 1 and 1.0, count as
// different, since many parsers distinguish them.
//
// The patch is empty exactly if nothing differs. An object or array that was
// renamed within its object is moved; everything else is added and removed.
func MakePatch(before, after Value) Patch {
	p, _ := makePatchWith(before, after, 0)
	return p
}

// makePatchWith is MakePatch with a step budget. coarse says that the budget was
// too small for minimal changes to arrays; the patch is still correct.
func makePatchWith(before, after Value, budget int) (p Patch, coarse bool) {
	c := compareValues(before, after, budget)
	return c.patch, c.coarse
}

// Preview returns the rows of the same comparison as MakePatch. The result is never
// nil, so that it encodes as an array.
func Preview(before, after Value) []Change {
	return append([]Change{}, compareValues(before, after, 0).changes...)
}

func compareValues(before, after Value, budget int) *comparison {
	t := newTreeTable(max(before.count(), after.count()))
	a := t.tree(before, Value{}, tree{})
	b := t.tree(after, before, a)
	c := &comparison{nodes: min(addWeight(before.count(), after.count()), maxCounted), budget: budget}
	if c.budget <= 0 {
		c.budget = diff.BaseBudget + diff.BudgetPerElement*c.nodes
	}
	switch {
	case a.id == b.id:
	case !before.Present():
		c.add("", "", after)
	case !after.Present():
		c.remove("", "", before)
	default:
		c.value(location{}, before, after, a, b)
	}
	return c
}

// maxCounted bounds the number of values that budgets grow with: shared parts are
// counted each time.
const maxCounted = 1 << 28

// tree mirrors a value. Equal subtrees of both documents have equal numbers.
type tree struct {
	id   uint32
	kids []tree
}

// treeTable numbers subtrees bottom-up, by type and the numbers of the children, so
// that comparing two subtrees later takes one step.
type treeTable struct {
	ids   *numbering        // of numbers, literals and containers, by a key that starts with the type
	texts *numbering        // of strings
	names map[string]uint32 // of members, which are compared only with each other
	done  map[*node]tree    // large containers that both documents share
	next  uint32

	// Scratch space for one subtree, whose children are already numbered.
	key    []byte
	pairs  []uint64
	recent [8]nameIDs // of the previous objects
	latest int        // the index in recent to replace next
	slab   []tree     // room for children
}

// nameIDs are the names of an object with their numbers.
type nameIDs struct {
	names []string
	ids   []uint32
}

// worthNumbering is the weight from which the numbers of a container are cached.
// Numbering a smaller one again costs less than a map of all of them.
const worthNumbering = 1 << 10

// newTreeTable makes room for about n values, many of them equal.
func newTreeTable(n int) *treeTable {
	n = min(n, 1<<20)
	return &treeTable{ids: newNumbering(n / 2), texts: newNumbering(n / 8), names: map[string]uint32{}, done: map[*node]tree{}}
}

func (t *treeTable) number(key []byte) uint32 {
	return t.counted(t.ids.ofBytes(key, t.next+1))
}

func (t *treeTable) counted(id uint32, fresh bool) uint32 {
	if fresh {
		t.next = id
	}
	return id
}

func (t *treeTable) text(s string) uint32 {
	return t.counted(t.texts.ofText(s, t.next+1))
}

func (t *treeTable) name(s string) uint32 {
	id, ok := t.names[s]
	if !ok {
		id = uint32(len(t.names))
		t.names[s] = id
	}
	return id
}

// nameIDs numbers the names of an object. The result is valid until the next call.
// Objects often share their names with a recent one.
func (t *treeTable) nameIDs(names []string) []uint32 {
	if len(names) == 0 {
		return nil
	}
	for i := range t.recent {
		if r := &t.recent[i]; len(r.names) == len(names) && &r.names[0] == &names[0] {
			return r.ids
		}
	}
	r := &t.recent[t.latest%len(t.recent)]
	t.latest++
	r.names, r.ids = names, r.ids[:0]
	for _, name := range names {
		r.ids = append(r.ids, t.name(name))
	}
	return r.ids
}

// kids returns room for n children.
func (t *treeTable) kids(n int) []tree {
	const slab = 1 << 12
	if n > len(t.slab) {
		if n >= slab/4 {
			return make([]tree, n)
		}
		t.slab = make([]tree, slab)
	}
	out := t.slab[:n:n]
	t.slab = t.slab[n:]
	return out
}

// tree numbers v. like is a value at the same position in the other document, and
// twin its tree: containers that the two share are numbered once.
func (t *treeTable) tree(v, like Value, twin tree) tree {
	if v.node == like.node && (v.node != nil || v.typ == like.typ && v.text == like.text && v.Present()) {
		return twin
	}
	switch v.typ {
	case TypeString:
		return tree{id: t.text(v.text)}
	case TypeNumber:
		d := decimalOf(v.text)
		t.key = strconv.AppendBool(strconv.AppendBool(append(t.key[:0], byte(v.typ)), d.negative), HasFraction(v.text))
		t.key = append(strconv.AppendInt(t.key, d.exp, 10), ' ')
		t.key = append(t.key, d.digits...)
		return tree{id: t.number(t.key)}
	case TypeArray, TypeObject:
	default:
		t.key = append(append(t.key[:0], byte(v.typ)), v.text...)
		return tree{id: t.number(t.key)}
	}
	if v.node.weight >= worthNumbering {
		if kept, ok := t.done[v.node]; ok {
			return kept
		}
	}
	kids := t.kids(v.Len())
	beside := neighbours{v: like}
	same := like.node != nil && like.typ == v.typ && like.Len() == v.Len()
	for i, e := range v.node.vals {
		if j := beside.of(v, i); j >= 0 {
			kids[i] = t.tree(e, like.node.vals[j], twin.kids[j])
			same = same && j == i && kids[i].id == twin.kids[j].id
		} else {
			kids[i] = t.tree(e, Value{}, tree{})
			same = false
		}
	}
	if same {
		return twin // equal text has the same number already
	}
	t.key = append(t.key[:0], byte(v.typ))
	if v.typ == TypeArray {
		for _, k := range kids {
			t.key = binary.BigEndian.AppendUint32(t.key, k.id)
		}
	} else {
		t.pairs = t.pairs[:0]
		for i, id := range t.nameIDs(v.node.names) {
			t.pairs = append(t.pairs, uint64(id)<<32|uint64(kids[i].id))
		}
		slices.Sort(t.pairs)
		for _, p := range t.pairs {
			t.key = binary.BigEndian.AppendUint64(t.key, p)
		}
	}
	out := tree{t.number(t.key), kids}
	if v.node.weight >= worthNumbering {
		t.done[v.node] = out
	}
	return out
}

// location is the position of a value: in the document as patched so far, and in
// the documents before and after.
type location struct{ now, old, new string }

func (p location) member(name string) location {
	step := "/" + escapeToken(name)
	return location{p.now + step, p.old + step, p.new + step}
}

func (p location) element(now, old, new int) location {
	return location{p.now + "/" + strconv.Itoa(now), p.old + "/" + strconv.Itoa(old), p.new + "/" + strconv.Itoa(new)}
}

// comparison collects the patch and the rows of a comparison.
type comparison struct {
	patch         Patch
	changes       []Change
	coarse        bool
	nodes, budget int
}

func (c *comparison) add(now, new string, v Value) {
	c.patch = append(c.patch, Op{Op: OpAdd, Path: now, Value: v})
	c.changes = append(c.changes, Change{Op: OpAdd, Path: new, To: v})
}

func (c *comparison) remove(now, old string, v Value) {
	c.patch = append(c.patch, Op{Op: OpTest, Path: now, Value: v}, Op{Op: OpRemove, Path: now})
	c.changes = append(c.changes, Change{Op: OpRemove, Path: old, From: v})
}

func (c *comparison) replace(at location, a, b Value) {
	c.patch = append(c.patch, Op{Op: OpTest, Path: at.now, Value: a}, Op{Op: OpReplace, Path: at.now, Value: b})
	c.changes = append(c.changes, Change{Op: OpReplace, Path: at.old, From: a, To: b})
}

func (c *comparison) move(from, to location, v Value) {
	c.patch = append(c.patch, Op{Op: OpTest, Path: from.now, Value: v}, Op{Op: OpMove, From: from.now, Path: to.now})
	c.changes = append(c.changes, Change{Op: OpMove, Path: to.new, FromPath: from.old, From: v, To: v})
}

// value compares two values at one location.
func (c *comparison) value(at location, a, b Value, ta, tb tree) {
	switch {
	case ta.id == tb.id:
	case a.typ == TypeObject && b.typ == TypeObject:
		c.object(at, a, b, ta, tb)
	case a.typ == TypeArray && b.typ == TypeArray:
		c.array(at, a, b, ta, tb)
	default:
		c.replace(at, a, b)
	}
}

func (c *comparison) object(at location, a, b Value, ta, tb tree) {
	inA, inB := a.index(), b.index()
	names := slices.Concat(a.node.names, b.node.names)
	slices.Sort(names)
	names = slices.Compact(names)

	// Containers that vanish under one name and appear under another have moved.
	// Scalars are not paired: true removed here and true added there are two facts.
	vanished := map[uint32][]string{}
	for _, name := range names {
		if _, stays := inB[name]; !stays {
			if i := inA[name]; a.node.vals[i].Len() > 0 {
				vanished[ta.kids[i].id] = append(vanished[ta.kids[i].id], name)
			}
		}
	}
	movedFrom, movedTo := map[string]bool{}, map[string]string{}
	for _, name := range names {
		if _, was := inA[name]; !was {
			if from := vanished[tb.kids[inB[name]].id]; len(from) > 0 {
				vanished[tb.kids[inB[name]].id] = from[1:]
				movedTo[name], movedFrom[from[0]] = from[0], true
			}
		}
	}
	for _, name := range names {
		here := at.member(name)
		i, was := inA[name]
		j, is := inB[name]
		switch from, moved := movedTo[name]; {
		case was && is:
			c.value(here, a.node.vals[i], b.node.vals[j], ta.kids[i], tb.kids[j])
		case moved:
			c.move(at.member(from), here, b.node.vals[j])
		case is:
			c.add(here.now, here.new, b.node.vals[j])
		case !movedFrom[name]:
			c.remove(here.now, here.old, a.node.vals[i])
		}
	}
}
