package effect

import (
	"context"
	"fmt"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// Work is what a call asks for, ready to be carried out: the same computation as a
// plan, without its presentation. The built-in server executes it, so it cannot do
// anything other than what was shown.
type Work struct {
	Op     WorkOp
	Target guard.Target
	Before guard.State // of Target; for a move, of its source
	// Content is the whole new content for WriteContent; Mode holds its permission
	// bits.
	Content []byte
	Mode    uint32
	Dest    guard.Target   // of Rename
	Folders []guard.Target // to be created, outermost first
}

// WorkOp is an operation on the disk.
type WorkOp int

// Operations of the built-in server.
const (
	WriteContent WorkOp = iota + 1
	Rename
	Remove
	MakeFolders
)

// worker is a kind that the built-in server can carry out. Binding.Work sets the
// target.
type worker interface {
	work(ctx context.Context, b *Binding, in Input, at resolved) (Work, error)
}

// Work resolves and computes a call of the built-in server. It refuses exactly what
// Plan refuses.
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

// State returns the current state of a target, in the form of Before and After
// states. If shallow is set, a folder is only checked to exist.
func State(ctx context.Context, t guard.Target, shallow bool) (guard.State, error) {
	p, err := resolvedPathOf(t)
	if err != nil {
		return guard.State{}, err
	}
	s, _, err := p.state(ctx, shallow)
	return s, err
}

// Matches reports whether a state is the expected one. What was not predicted may
// be anything.
func Matches(now, want guard.State) bool { return want.Computed && matches(now, want) }
