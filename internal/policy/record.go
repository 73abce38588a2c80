package policy

import (
	"maps"
	"slices"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// scope returns an environment with one variable more; the plain one where it
// cannot be built, in which nothing that speaks of it compiles.
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
		Tool: r.Read.Tool, File: string(r.Read.File), At: r.At, Shape: diff.Shape{Ignore: r.Ignore, Keys: r.Keys},
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

// receipt is one expression over a call's answer.
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

// Bounds of what is kept of an answer.
const (
	maxTouched   = 100
	maxTouchedID = 500 // bytes
)

// KeepsReceipts reports whether Touched may find anything.
func (t *Tool) KeepsReceipts() bool { return t != nil && len(t.receipts) > 0 }

// Touched returns what the answer of a call says was touched. It is the
// server's own word: what an expression does not find, or finds too long, is
// left out.
func (t *Tool) Touched(vars *expr.Vars, answer diff.Value) []guard.Touched {
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
