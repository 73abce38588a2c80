package jsonvalue

import (
	"errors"
	"slices"
)

// ErrNoInverse means that a patch does not contain the values that it removes.
var ErrNoInverse = errors.New("the patch does not say what was there before")

// Invert returns the patch that undoes p: applied to the result of p it gives the
// original document. It needs the tests that [MakePatch] puts before each remove
// and replace, and assumes that add never replaces a value, as is so there. A patch
// without the tests, or with copy operations, gives ErrNoInverse.
func (p Patch) Invert() (Patch, error) {
	out := make(Patch, 0, len(p))
	var test *Op
	for i := range p {
		op := p[i]
		was := test
		test = nil
		switch op.Op {
		case OpTest:
			test = &p[i]
		case OpAdd:
			out = append(out, Op{Op: OpRemove, Path: op.Path})
		case OpRemove, OpReplace:
			if was == nil || was.Path != op.Path {
				return nil, ErrNoInverse
			}
			back := Op{Op: OpReplace, Path: op.Path, Value: was.Value}
			if op.Op == OpRemove {
				back.Op = OpAdd
			}
			out = append(out, back)
		case OpMove:
			out = append(out, Op{Op: OpMove, From: op.Path, Path: op.From})
		default:
			return nil, ErrNoInverse
		}
	}
	slices.Reverse(out)
	return out, nil
}
