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
	Kind   string
	Target guard.Target
	Before guard.State // of Target; of a move, of its source
	// Content is the whole new content, with Mode as its permission bits, for
	// every kind that writes one file.
	Content []byte
	Mode    uint32
	Dest    guard.Target   // of a move
	Folders []guard.Target // to be created, outermost first
}

// Work resolves and computes a call of the built-in server. It refuses exactly
// what Plan refuses.
func (b *Binding) Work(ctx context.Context, in Input) (Work, error) {
	if b.dialect != DialectWorkspace {
		return Work{}, fmt.Errorf("effect %s is not one of the built-in server", b.kind)
	}
	places, err := b.places(ctx, in)
	if err != nil {
		return Work{}, err
	}
	p := places[0]
	w := Work{Kind: b.kind, Target: p.target(true)}
	switch b.kind {
	case FileMove:
		if err := checkMove(p, places[1]); err != nil {
			return Work{}, err
		}
		w.Dest = places[1].target(true)
		w.Before, _, err = p.state(ctx, false)
	case FileDelete:
		w.Before, err = checkDelete(ctx, p)
	case DirCreate:
		err = checkFolder(p)
		for _, f := range p.missingFolders() {
			w.Folders = append(w.Folders, f.target(true))
		}
	default:
		var c content
		c, err = b.contentOf(in, p)
		w.Before, w.Content, w.Mode = c.stateBefore(), c.after, c.mode
	}
	if err != nil {
		return Work{}, err
	}
	return w, nil
}

// State returns what is at a target now, as Before and After states describe
// it. Of a folder only that it is there, if shallow is set.
func State(ctx context.Context, t guard.Target, shallow bool) (guard.State, error) {
	p, err := placeOf(t)
	if err != nil {
		return guard.State{}, err
	}
	s, _, err := p.state(ctx, shallow)
	return s, err
}

// Matches reports whether a state is one that was expected. What was not
// predicted is free.
func Matches(now, want guard.State) bool { return want.Computed && matches(now, want) }
