package effect

import (
	"context"

	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// ExecUndo undoes the changes of a landed command. Only the guard uses it: the
// reviewer's console makes the call, and no server has a tool for it.
const ExecUndo = "exec.undo"

// UndoCommand is the tool of the built-in server for ExecUndo.
const UndoCommand = "undo_command"

type execUndo struct{ execKind }

func (execUndo) about() About {
	return About{Name: ExecUndo, params: []param{{name: "record", want: expr.String}}}
}

func (execUndo) resolve(_ context.Context, _ *Binding, in Input) (resolved, error) {
	return resolved{targets: []guard.Target{runTarget(ExecUndo, in)}}, nil
}

func (execUndo) plan(ctx context.Context, b *Binding, in Input, _ resolved) (guard.Preview, error) {
	if in.Commands == nil {
		return guard.Preview{}, refusePlan(byHand, "what commands have changed cannot be taken back on this machine")
	}
	record, err := b.text(in, "record")
	if err != nil {
		return guard.Preview{}, err
	}
	p, err := in.Commands.Reverse(ctx, in.Call.ID, record)
	if err != nil {
		return guard.Preview{}, refusePlan(byHand, "it cannot be taken back: %v", err)
	}
	p.Summary = "take back " + p.Summary
	return p, nil
}
