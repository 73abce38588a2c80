package jsonvalue

import (
	"errors"
	"fmt"
)

// Reasons why a patch does not apply, for errors.Is; ErrNoSuchValue is another.
var (
	// ErrTestFailed means that a test operation found another value.
	ErrTestFailed = errors.New("the value differs from the one tested for")
	// ErrTooExpensive means that a patch would take more work, or grow the document
	// more, than any legitimate one.
	ErrTooExpensive = errors.New("the patch takes too much work")
)

const (
	// applySteps bounds the work of one patch: children visited or moved.
	applySteps = 1 << 27
	// applyGrowth bounds the bytes that copy operations add to a document.
	applyGrowth = 64 << 20
)

// PatchError says which operation of a patch failed. A patch that fails has no
// effect at all.
type PatchError struct {
	Index    int
	Op, Path string
	Err      error
}

// Error returns the operation and the reason.
func (e *PatchError) Error() string {
	return fmt.Sprintf("applying JSON Patch: operation %d, %s at %.200q: %v", e.Index, e.Op, e.Path, e.Err)
}

// Unwrap returns the reason.
func (e *PatchError) Unwrap() error { return e.Err }

// Apply returns doc with the patch applied. doc itself never changes. All errors
// are of type *PatchError. Beyond RFC 6902, removing the whole document is refused,
// as is a result nested deeper than 100.
func (p Patch) Apply(doc Value) (Value, error) {
	a := applier{root: cell{v: doc}, steps: applySteps, growth: applyGrowth}
	for i, o := range p {
		if err := a.apply(o); err != nil {
			return Value{}, &PatchError{Index: i, Op: o.Op, Path: o.Path, Err: err}
		}
	}
	return a.freeze(&a.root), nil
}

// applier holds a document while it is changed. Containers on the way to a change
// are converted once to a mutable form, and back at the end, so that the cost of an
// operation does not depend on the size of the document.
type applier struct {
	root          cell
	steps, growth int
}

// cell is a value while it is changed: v, unless arr or obj holds its mutable form.
type cell struct {
	v   Value
	arr *gapArray
	obj *openObject
}

func (a *applier) spend(n int) error {
	if a.steps -= n; a.steps < 0 {
		return ErrTooExpensive // fail closed: a patch this costly is not applied at all
	}
	return nil
}

func (a *applier) apply(o Op) error {
	path, from, err := o.pointers()
	if err != nil {
		return err
	}
	switch o.Op {
	case OpAdd:
		return a.add(path, cell{v: o.Value})
	case OpRemove:
		_, err := a.remove(path)
		return err
	case OpReplace:
		c, err := a.find(path)
		if err != nil {
			return err
		}
		if len(path)+o.Value.depth() > MaxDepth {
			return ErrDepth
		}
		*c = cell{v: o.Value}
		return nil
	case OpMove:
		if o.Path == o.From {
			_, err := a.find(path)
			return err
		}
		c, err := a.remove(from)
		if err != nil {
			return fmt.Errorf("from: %w", err)
		}
		return a.add(path, c)
	case OpCopy:
		c, err := a.find(from)
		if err != nil {
			return fmt.Errorf("from: %w", err)
		}
		v := a.freeze(c)
		*c = cell{v: v}
		if a.growth -= min(v.Weight(), applyGrowth+1); a.growth < 0 {
			return ErrTooExpensive // fail closed: repeated copies grow without end
		}
		if err := a.spend(0); err != nil {
			return err
		}
		return a.add(path, cell{v: v})
	}
	c, err := a.find(path) // test
	if err != nil {
		return err
	}
	if !a.equal(c, o.Value) {
		return ErrTestFailed
	}
	return a.spend(0)
}

// open converts a container to its mutable form.
func (a *applier) open(c *cell) error {
	if c.arr != nil || c.obj != nil || c.v.node == nil {
		return nil
	}
	if err := a.spend(c.v.Len()); err != nil {
		return err
	}
	if c.v.typ == TypeArray {
		c.arr = newGapArray(c.v.node.vals)
	} else {
		c.obj = newOpenObject(c.v)
	}
	c.v = Value{}
	return nil
}

// freeze returns the value of c, which stays open.
func (a *applier) freeze(c *cell) Value {
	switch {
	case c.arr != nil:
		vals := make([]Value, c.arr.len())
		a.steps -= len(vals)
		for i := range vals {
			vals[i] = a.freeze(c.arr.at(i))
		}
		return Value{typ: TypeArray, node: newNode(nil, vals)}
	case c.obj != nil:
		names, vals := make([]string, 0, len(c.obj.place)), make([]Value, 0, len(c.obj.place))
		a.steps -= len(c.obj.entries)
		for i := range c.obj.entries {
			if e := &c.obj.entries[i]; !e.removed {
				names, vals = append(names, e.name), append(vals, a.freeze(&e.cell))
			}
		}
		return Value{typ: TypeObject, node: newNode(names, vals)}
	}
	return c.v
}

// child returns the child of c with the given token.
func (a *applier) child(c *cell, token string) (*cell, error) {
	if err := a.open(c); err != nil {
		return nil, err
	}
	if err := a.spend(1); err != nil {
		return nil, err
	}
	switch {
	case c.arr != nil:
		i, err := arrayIndex(token)
		if err != nil {
			return nil, err
		}
		if i >= c.arr.len() {
			return nil, ErrNoSuchValue
		}
		return c.arr.at(i), nil
	case c.obj != nil:
		if i, ok := c.obj.place[token]; ok {
			return &c.obj.entries[i].cell, nil
		}
	}
	return nil, ErrNoSuchValue
}

// find returns the cell at path; it is valid until the next change.
func (a *applier) find(path []string) (*cell, error) {
	c := &a.root
	for _, token := range path {
		var err error
		if c, err = a.child(c, token); err != nil {
			return nil, err
		}
	}
	if path == nil && c.arr == nil && c.obj == nil && !c.v.Present() {
		return nil, ErrNoSuchValue
	}
	return c, nil
}

func (a *applier) add(path []string, c cell) error {
	depth, err := a.depth(&c)
	if err != nil {
		return err
	}
	if len(path)+depth > MaxDepth {
		return ErrDepth
	}
	if len(path) == 0 {
		a.root = c
		return nil
	}
	parent, err := a.find(path[:len(path)-1])
	if err != nil {
		return err
	}
	if err := a.open(parent); err != nil {
		return err
	}
	last := path[len(path)-1]
	switch {
	case parent.arr != nil:
		i := parent.arr.len()
		if last != "-" {
			if i, err = arrayIndex(last); err != nil {
				return err
			}
		}
		if i > parent.arr.len() {
			return ErrNoSuchValue
		}
		return a.spend(parent.arr.insert(i, c))
	case parent.obj != nil:
		parent.obj.set(last, c)
		return nil
	}
	return fmt.Errorf("%w: its parent is neither array nor object", ErrNoSuchValue)
}

func (a *applier) remove(path []string) (cell, error) {
	if len(path) == 0 {
		return cell{}, errors.New("the whole document cannot be removed")
	}
	parent, err := a.find(path[:len(path)-1])
	if err != nil {
		return cell{}, err
	}
	last := path[len(path)-1]
	c, err := a.child(parent, last)
	if err != nil {
		return cell{}, err
	}
	removed := *c
	if parent.obj != nil {
		parent.obj.remove(last)
		return removed, nil
	}
	i, err := arrayIndex(last)
	if err != nil {
		return cell{}, err
	}
	return removed, a.spend(parent.arr.remove(i))
}

// depth returns how deeply c nests.
func (a *applier) depth(c *cell) (int, error) {
	deepest := 0
	visit := func(child *cell) error {
		d, err := a.depth(child)
		deepest = max(deepest, d)
		return err
	}
	switch {
	case c.arr != nil:
		if err := a.spend(c.arr.len()); err != nil {
			return 0, err
		}
		for i := range c.arr.len() {
			if err := visit(c.arr.at(i)); err != nil {
				return 0, err
			}
		}
	case c.obj != nil:
		if err := a.spend(len(c.obj.entries)); err != nil {
			return 0, err
		}
		for i := range c.obj.entries {
			if e := &c.obj.entries[i]; !e.removed {
				if err := visit(&e.cell); err != nil {
					return 0, err
				}
			}
		}
	default:
		return c.v.depth(), nil
	}
	return deepest + 1, nil
}

// equal compares an open or closed cell with a value.
func (a *applier) equal(c *cell, v Value) bool {
	switch {
	case c.arr != nil:
		if v.typ != TypeArray || v.Len() != c.arr.len() {
			return false
		}
		a.steps -= v.Len()
		for i, e := range v.node.vals {
			if !a.equal(c.arr.at(i), e) {
				return false
			}
		}
		return true
	case c.obj != nil:
		if v.typ != TypeObject || v.Len() != len(c.obj.place) {
			return false
		}
		a.steps -= v.Len()
		for i, name := range v.node.names {
			at, ok := c.obj.place[name]
			if !ok || !a.equal(&c.obj.entries[at].cell, v.node.vals[i]) {
				return false
			}
		}
		return true
	}
	return c.v.Equal(v)
}
