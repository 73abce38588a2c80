package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// scope returns an environment with one more variable. If it cannot be built, it
// returns the plain one, in which no expression with that variable compiles.
func (c *compiler) scope(of func() (*expr.Env, error)) *expr.Env {
	env, err := of()
	if err != nil {
		return c.env // fail closed: the expression is reported where it stands
	}
	return env
}

// recordSpec says how a record is read; nil after a problem.
func (c *compiler) recordSpec(r *config.Record) *effect.RecordSpec {
	spec := &effect.RecordSpec{
		Tool: r.Read.Tool, File: string(r.Read.File), At: r.At, Shape: jsonvalue.Shape{Ignore: r.Ignore, Keys: r.Keys},
		Allow: r.Paths.Allow, Ask: r.Paths.Ask, Deny: r.Paths.Deny, Create: r.Missing == "create", Path: r.Path,
		Args: map[string]string{},
	}
	if spec.File != "" && c.expression(r.Path+".read.file", spec.File, expr.String) == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(r.Read.Args)) {
		spec.Args[name] = string(r.Read.Args[name])
		if c.expression(r.Path+".read.args."+name, spec.Args[name], expr.Dyn) == nil {
			return nil
		}
	}
	return spec
}

// receipt is one expression over a call's result.
type receipt struct {
	kind string
	prog *expr.Program
}

func (c *compiler) receipts(t *Tool, tc *config.Tool) {
	env := c.scope(c.env.Answer)
	for _, kind := range slices.Sorted(maps.Keys(tc.Receipts)) {
		path := tc.Path + ".receipts." + kind
		p := c.expressionIn(env, path, string(tc.Receipts[kind]), expr.StringList)
		if p == nil {
			continue
		}
		c.known(t, path, p)
		t.receipts = append(t.receipts, receipt{kind, p})
	}
}

// Limits on what is kept of a result.
const (
	maxTouched   = 100
	maxTouchedID = 500 // bytes
)

// KeepsReceipts reports whether Touched can return anything.
func (t *Tool) KeepsReceipts() bool { return t != nil && len(t.receipts) > 0 }

// Touched returns what the result of a call says was touched. It is only the
// server's claim: what an expression does not find, or what is too long, is left
// out.
func (t *Tool) Touched(vars *expr.Vars, answer jsonvalue.Value) []guard.Touched {
	if !t.KeepsReceipts() || vars == nil {
		return nil
	}
	doc, err := effect.Plain(answer)
	if err != nil {
		return nil
	}
	over := *vars
	over.Answer = &doc
	var out []guard.Touched
	for _, r := range t.receipts {
		ids, err := r.prog.Strings(&over)
		if err != nil {
			continue
		}
		for _, id := range ids {
			if id != "" && len(id) <= maxTouchedID && len(out) < maxTouched {
				out = append(out, guard.Touched{Kind: r.kind, ID: id})
			}
		}
	}
	return out
}

func (c *compiler) undo(t *Tool, tc *config.Tool) {
	env := c.scope(c.env.Record)
	if when := string(tc.Undo.When); when != "" {
		t.undoWhen = c.expressionIn(env, tc.Path+".undo.when", when, expr.Bool)
		c.known(t, tc.Path+".undo.when", t.undoWhen)
	}
	for _, name := range slices.Sorted(maps.Keys(tc.Undo.Args)) {
		path := tc.Path + ".undo.args." + name
		p := c.expressionIn(env, path, string(tc.Undo.Args[name]), expr.Dyn)
		if p == nil {
			continue
		}
		c.known(t, path, p)
		if t.undo == nil {
			t.undo = map[string]*expr.Program{}
		}
		t.undo[name] = p
	}
}

// ErrNoUndo means that the condition of a tool's undo does not hold.
var ErrNoUndo = errors.New("by the condition of its `undo` there is no way back from this change")

// Undo returns the call of the tool's own server that the policy names to undo a
// change: the tool's name and its arguments. args are those of the call that made
// the change; before is the record as it was, absent if there was none. If the
// policy names no such call, the name is empty.
func (t *Tool) Undo(session guard.Session, args json.RawMessage, before jsonvalue.Value) (tool string, with json.RawMessage, err error) {
	if !t.Config.Undo.Set() {
		return "", nil, nil
	}
	vars, err := t.Vars(Request{Call: guard.ToolCall{Tool: t.Name, Args: args, Session: session}})
	if err != nil {
		return "", nil, fmt.Errorf("reading the arguments of the change: %w", err)
	}
	var doc any
	if before.Present() {
		if doc, err = effect.Plain(before); err != nil {
			return "", nil, fmt.Errorf("reading the record before the change: %w", err)
		}
	}
	vars.Record = &doc
	if t.undoWhen != nil {
		switch holds, err := t.undoWhen.Bool(vars); {
		case err != nil:
			return "", nil, fmt.Errorf("undo, when: %w", err)
		case !holds:
			return "", nil, ErrNoUndo
		}
	}
	values := map[string]any{}
	for name, p := range t.undo {
		if values[name], err = p.Any(vars); err != nil {
			return "", nil, fmt.Errorf("undo, %s: %w", name, err)
		}
	}
	with, err = json.Marshal(values)
	return t.Config.Undo.Tool, with, err
}
