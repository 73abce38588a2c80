package sandbox

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Landing carries changes out on the real folders: exactly these, or none. The
// zero Context of a path is its state before: where one is not as Before says,
// nothing is changed.
type Landing struct {
	// ID is unique among landings and a legal file name; the temporary names
	// that the landing uses begin with it. The same ID finds them after a crash.
	ID      string
	Changes []Change
	Names   map[uint64][]Name
	// Contents holds what Entry.At of After points into.
	Contents *os.File
	// Kept receives the contents that the landing takes away, so that it can be
	// taken back; it may be nil.
	Kept *os.File
	// Alike reports whether a file says the same as the one with a hash although its
	// bytes differ; it may be nil. Files of up to 64 MiB are asked about.
	Alike func(sum string, now []byte) bool
	// Begins is told, before the first change, where in Kept each content begins. An
	// error of it ends the landing. It may be nil.
	Begins func(kept map[Name]int64) error
}

// MovedError says that a path is not as it was before the run.
type MovedError struct {
	Path string // in full
	What string // what is different
}

// Error says which path is different, and how.
func (e *MovedError) Error() string { return fmt.Sprintf("%s changed meanwhile: %s", e.Path, e.What) }

// ErrHalfway means that a landing neither could be finished nor taken back
// whole: somebody else changed a path at the same moment. The error that wraps
// it says which.
var ErrHalfway = errors.New("the change could neither be finished nor taken back")

// Progress says how far a landing has come.
type Progress int

// The zero Progress says that nothing is known.
const (
	Elsewhere Progress = iota // a path is neither as before nor as after
	NotBegun                  // every path is as before
	Partly                    // each path is as before or as after
	Landed                    // every path is as after
)

// node is a change and what lies below it.
type node struct {
	tree string
	path string // of the tree; "" for the tree itself
	// before is gone or replaced, after comes in its place.
	before, after *Entry
	kids          []*node // by path; only of added or removed folders, or on the way down
	touch         bool
	index         int // among steps, for the temporary name
}

// steps groups the changes by what is carried out at once: the topmost added or
// removed folder with all that is in it, and every other path by itself. Folders
// that only change their mode come last, the inner ones first.
func (l *Landing) steps() ([]*node, error) {
	byPath := map[Name]*node{}
	var order []*node
	for _, c := range l.Changes {
		if !cleanPath(c.Path) {
			return nil, fmt.Errorf("sandbox: the path %q is not clean", c.Path)
		}
		at := Name{c.Tree, c.Path}
		n := byPath[at]
		if n == nil {
			n = &node{tree: c.Tree, path: c.Path}
			byPath[at] = n
			order = append(order, n)
		}
		switch c.Op {
		case OpAdd:
			n.after = c.After
		case OpDelete:
			n.before = c.Before
		case OpModify, OpTouch:
			n.before, n.after, n.touch = c.Before, c.After, c.Op == OpTouch
		default:
			return nil, fmt.Errorf("sandbox: the change %q is not known", c.Op)
		}
	}
	var steps []*node
	for _, n := range order {
		if p := byPath[Name{n.tree, parentOf(n.path)}]; p != nil && n.path != "" && p.swallows(n) {
			p.kids = append(p.kids, n)
			continue
		}
		steps = append(steps, n)
	}
	slices.SortStableFunc(steps, func(a, b *node) int {
		if a.inPlace() != b.inPlace() {
			if a.inPlace() {
				return 1
			}
			return -1
		}
		if a.inPlace() {
			return strings.Count(b.path, "/") - strings.Count(a.path, "/")
		}
		return 0
	})
	for i, n := range steps {
		n.index = i
	}
	return steps, nil
}

// swallows reports whether a change below n is carried out with n.
func (n *node) swallows(kid *node) bool {
	replaced := n.before == nil || n.after == nil || n.before.Type != n.after.Type
	return replaced
}

// inPlace reports whether a folder stays and only its own attributes change.
func (n *node) inPlace() bool {
	return n.before != nil && n.after != nil && n.before.Type == 'd' && n.after.Type == 'd'
}

func parentOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return ""
}

// cleanPath reports whether a path stays below the tree that it belongs to.
func cleanPath(path string) bool {
	if path == "" {
		return true
	}
	for step := range strings.SplitSeq(path, "/") {
		if step == "" || step == "." || step == ".." || strings.ContainsRune(step, 0) {
			return false
		}
	}
	return true
}

// Reversed returns the changes that take these back, the contents of which a
// landing put into Kept. kept has, for each change with a Before that is a file,
// where its content begins there.
func Reversed(changes []Change, kept map[Name]int64) []Change {
	out := make([]Change, 0, len(changes))
	one := oneBefore(changes)
	for _, c := range slices.Backward(changes) {
		r := Change{Tree: c.Tree, Path: c.Path, Op: c.Op, Before: c.After, After: c.Before}
		switch c.Op {
		case OpAdd:
			r.Op = OpDelete
		case OpDelete:
			r.Op = OpAdd
		}
		if r.After != nil && r.After.Type == 'f' {
			e := *r.After
			e.At, e.Inode = kept[Name{c.Tree, c.Path}], 0
			if c.After != nil && one[c.After.Inode] {
				e.Inode = c.After.Inode
			}
			r.After = &e
		}
		out = append(out, r)
	}
	return out
}

// oneBefore returns which files with several names were one before the changes, too:
// all of its names have changed, each from the same state, and that state had as many
// names. Whatever is not so comes back as files of their own.
func oneBefore(changes []Change) map[uint64]bool {
	names, one := map[uint64][]*Entry{}, map[uint64]bool{}
	for _, c := range changes {
		if c.After != nil && c.After.Inode != 0 {
			names[c.After.Inode] = append(names[c.After.Inode], c.Before)
		}
	}
	for inode, before := range names {
		first := before[0]
		one[inode] = !slices.ContainsFunc(before, func(e *Entry) bool {
			return e == nil || e.Type != 'f' || e.Links != len(before) || e.Sum != first.Sum || e.Mode != first.Mode || e.MTime != first.MTime
		})
	}
	return one
}
