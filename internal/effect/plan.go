package effect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Plan computes what the call would do to what is on disk now. targets are those
// that Resolve returned; if the names resolve differently now, the call is refused.
// The result depends on the input, the disk and, for a record, on what its server
// returns.
func (b *Binding) Plan(ctx context.Context, in Input, targets []guard.Target) (guard.Preview, error) {
	at, err := b.resolve(ctx, in)
	if err != nil {
		return guard.Preview{}, err
	}
	if len(at.targets) == 0 || !slices.Equal(at.targets, targets) {
		// fail closed: rules were applied to other names
		return guard.Preview{}, refusePath(readAgain, "the call leads elsewhere than it did a moment ago")
	}
	changes, err := b.Changes(in)
	if err != nil {
		return guard.Preview{}, err
	}
	k := b.inForce()
	var p guard.Preview
	if changes {
		p, err = k.plan(ctx, b, in, at)
	} else {
		p, err = b.planNothing(in, at.places)
	}
	if err != nil {
		return guard.Preview{}, err
	}
	p.Hazards = append(p.Hazards, nameHazards(at.places)...)
	for _, pl := range at.places {
		if pl.linked && !b.about.ReadOnly {
			p.Hazards = append(p.Hazards, guard.Hazard{Kind: HazardLink, Text: fmt.Sprintf("the path leads through a symbolic link to %q", pl.rel())})
		}
	}
	if p.Paths == guard.PathsAllow && len(p.Hazards) > 0 {
		p.Paths = guard.PathsAsk // fail closed: a rule about a place does not speak of what stands out there
	}
	return p, nil
}

// planNothing previews a read or a dry run.
func (b *Binding) planNothing(in Input, places []resolvedPath) (guard.Preview, error) {
	text, err := prettyArgs(in)
	if err != nil {
		return guard.Preview{}, err
	}
	verb := "read"
	if !b.about.ReadOnly {
		verb = "trial run of " + in.Call.Tool + " on"
	}
	return guard.Preview{
		Effects: []guard.Effect{},
		Change:  guard.Change{Type: guard.ChangeOpaque, Text: text},
		Summary: verb + pathList(places),
	}, nil
}

func prettyArgs(in Input) (string, error) {
	var out bytes.Buffer
	if err := json.Indent(&out, in.Call.ArgsCanonical, "", "  "); err != nil {
		return "", fmt.Errorf("showing the arguments: %w", err)
	}
	return out.String() + "\n", nil
}

// pathList joins the paths for a summary.
func pathList(places []resolvedPath) string {
	switch len(places) {
	case 0:
		return ""
	case 1:
		return " " + places[0].shown()
	}
	return fmt.Sprintf(" %s and %d more", places[0].shown(), len(places)-1)
}

// counts returns "(+3 −1)", with a real minus sign.
func counts(r diff.Result) string {
	if r.Binary {
		return " (binary)"
	}
	return fmt.Sprintf(" (+%d −%d)", r.Added, r.Removed)
}
