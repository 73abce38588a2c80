package effect

import (
	"context"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Opaque effects are not computed; the arguments are what is approved.
const Opaque = "opaque"

type opaque struct{ notPredicted }

func (opaque) about() About {
	return About{
		Name: Opaque, MayRead: true, Bare: true, blind: true,
		params: []param{{"path", expr.StringList, true}, dryRun}, paths: []string{"path"},
	}
}

func (opaque) resolve(ctx context.Context, b *Binding, in Input) (resolved, error) {
	places, err := b.resolvedPaths(ctx, in, naming{
		paths: []string{"path"}, whole: true, slash: true, follow: followsAlways, optional: !b.has("path"),
	})
	if err != nil {
		return resolved{}, err
	}
	return resolved{places: places, targets: append(targetsOf(places, true), opaqueTarget(b, in))}, nil
}

// opaqueTarget stands for everything else that an opaque call may touch.
func opaqueTarget(b *Binding, in Input) guard.Target {
	if b.dialect == DialectClaude {
		// A client tool can contain other calls, such as a skill that runs as an
		// agent, and those must not wait for it to end.
		return runTarget(Opaque, in)
	}
	// What an opaque call touches is unknown, so only one runs at a time per
	// server.
	return guard.Target{Kind: TargetOpaque, Key: in.Call.Session.Server, Write: true}
}

// plan shows the arguments, since nothing else is known.
func (opaque) plan(_ context.Context, b *Binding, in Input, at resolved) (guard.Preview, error) {
	text, err := prettyArgs(in)
	if err != nil {
		return guard.Preview{}, err
	}
	hazards := []guard.Hazard{{Kind: HazardOpaque, Text: "effect not computed; you approve the arguments"}}
	if b.unproven {
		hazards = append(hazards, guard.Hazard{Kind: HazardUnproven, Text: "this version of the server was not compared with what the guard knows of it"})
	}
	effects := make([]guard.Effect, len(at.targets))
	for i, t := range at.targets {
		effects[i] = guard.Effect{Kind: Opaque, Resource: t, Diff: digest.Sum([]byte(text))}
	}
	return guard.Preview{
		Effects: effects,
		Change:  guard.Change{Type: guard.ChangeOpaque, Text: text},
		Hazards: append(hazards, textHazards([]byte(text))...),
		Summary: "call " + in.Call.Tool + pathList(at.places),
	}, nil
}
