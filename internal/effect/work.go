package effect

import (
	"context"
	"fmt"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// Work is what a call asks for, ready to be carried out: the same computation
// as a plan, without its presentation. The built-in server works from it, so
// that it cannot do anything else than what was shown.
type Work struct {
	Op     WorkOp
	Target guard.Target
	Before guard.State // of Target; of a move, of its source
	// Content is the whole new content of WriteContent, with Mode as its
	// permission bits.
	Content []byte
	Mode    uint32
	Dest    guard.Target   // of Rename
	Folders []guard.Target // to be created, outermost first
}

// WorkOp is what is done to the disk.
type WorkOp int

// The operations of the built-in server.
const (
	WriteContent WorkOp = iota + 1
	Rename
	Remove
	MakeFolders
)

// worker is a kind that the built-in server can carry out. The target is filled
// in by Binding.Work.
type worker interface {
	work(ctx context.Context, b *Binding, in Input, at resolved) (Work, error)
}

// Work resolves and computes a call of the built-in server. It refuses exactly
// what Plan refuses.
func (b *Binding) Work(ctx context.Context, in Input) (Work, error) {
	k, ok := b.kind.(worker)
	if !ok || b.dialect != DialectWorkspace {
		// fail closed: how it is carried out is not known
		return Work{}, fmt.Errorf("effect %s is not one of the built-in server", b.about.Name)
	}
	at, err := b.resolve(ctx, in)
	if err != nil {
		return Work{}, err
	}
	w, err := k.work(ctx, b, in, at)
	if err != nil {
		return Work{}, err
	}
	w.Target = at.places[0].target(true)
	return w, nil
}

// State returns what is at a target now, as Before and After states describe
// it. Of a folder only that it is there, if shallow is set.
func State(ctx context.Context, t guard.Target, shallow bool) (guard.State, error) {
	p, err := resolvedPathOf(t)
	if err != nil {
		return guard.State{}, err
	}
	s, _, err := p.state(ctx, shallow)
	return s, err
}

// Matches reports whether a state is one that was expected. What was not
// predicted is free.
func Matches(now, want guard.State) bool { return want.Computed && matches(now, want) }
