package jsonvalue

import (
	"errors"
	"slices"
)

// ErrNoInverse means that a patch does not hold what it takes away.
var ErrNoInverse = errors.New("the patch does not say what was there before")

// Invert returns the patch that takes p back: applied to what p made of a
// document it gives the document. It needs the tests that [MakePatch] puts before
// each remove and replace, and relies on add making something new at a
// place that it names, as it does there. A patch that lacks them or that copies is
// ErrNoInverse.
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
