package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

func (c *compiler) tool(s *config.Server, tc *config.Tool) *Tool {
	t := &Tool{
		Server: s.Name, Name: tc.Name, Tier: tc.Tier, Config: tc,
		Limits: Limits{
			CallsPerRun: tc.Limits.CallsPerRun, Rate: tc.Limits.Rate, Timeout: time.Duration(tc.Limits.Timeout),
			Concurrency: tc.Limits.Concurrency, Output: int64(tc.Limits.Output),
		},
		sandbox: tc.Sandbox != "", askUnchanged: c.cfg.Commands.Unchanged == "ask", unsigned: bool(tc.Signed), strict: tc.Schema.ExtraMembers != "allow",
		boxes: map[guard.Tier]guard.TimeBox{}, schemas: newSchemaCache(),
		proven: s.Proven(), serverMax: s.Limits.Concurrency,
	}
	if t.Limits.Rate.Count == 0 {
		t.Limits.Rate = defaultWriteRate
		if t.Tier == guard.T0Read {
			t.Limits.Rate = defaultReadRate
		}
	}
	t.pin, t.pinned = c.lock.Pin(s.Name, tc.Name)
	t.effect = tc.Effect
	if t.effect.Kind == "" && t.Tier != guard.T0Read && t.Tier != guard.Never {
		t.effect.Kind = effect.Opaque
	}
	for tier := guard.T0Read; tier < guard.Never; tier++ {
		box := c.cfg.Box(tier)
		if tc.Approval.TTL > 0 {
			box.TTL = time.Duration(tc.Approval.TTL)
		}
		if tc.Approval.UseWithin > 0 {
			box.UseWithin = time.Duration(tc.Approval.UseWithin)
		}
		t.boxes[tier] = box
	}
	c.binding(t, s, tc)
	c.rules(t, tc)
	c.receipts(t, tc)
	c.undo(t, tc)
	hash, err := toolHash(c.cfg, s, t)
	if err != nil {
		c.problem(c.cfg.Pos(tc.Path), "the policy of this tool has no hash: "+err.Error(), "")
	}
	t.Hash = hash
	return t
}

func (c *compiler) binding(t *Tool, s *config.Server, tc *config.Tool) {
	if t.effect.Kind == "" || t.Tier == guard.Never {
		return
	}
	path := tc.Path + ".effect"
	for _, p := range slices.Sorted(maps.Keys(t.effect.Params)) {
		// Compiled with its location in the file; effect.Compile checks the type.
		env := c.env
		if t.effect.Record != nil && p != "dry_run" {
			env = c.scope(c.env.Record)
		}
		if c.expressionIn(env, path+"."+t.effect.Kind+"."+p, t.effect.Params[p], expr.Dyn) == nil {
			return
		}
	}
	spec := effect.Spec{Kind: t.effect.Kind, Params: t.effect.Params, Dialect: s.Dialect, Proven: t.proven}
	if r := t.effect.Record; r != nil {
		if spec.Record = c.recordSpec(r); spec.Record == nil {
			return
		}
	}
	b, err := effect.Compile(c.env, spec)
	if err != nil {
		pos, suggestion := c.cfg.Pos(path), ""
		if required, optional := effect.Params(t.effect.Kind); len(required) > 0 {
			suggestion = fmt.Sprintf("parameters: %v, optional: %v", required, optional)
		}
		var e *expr.Error
		if errors.As(err, &e) {
			suggestion = ""
		}
		c.problem(pos, err.Error(), suggestion)
		return
	}
	t.Binding = b
}

// lands reports whether the files that a call changes are known only after a trial
// run, so that it need not name any.
func (t *Tool) lands() bool {
	about, ok := effect.Lookup(t.effect.Kind)
	return ok && about.Lands
}

// namesPaths reports whether the effect names paths, so that rules may refer to a
// target.
func (t *Tool) namesPaths() bool {
	about, ok := effect.Lookup(t.effect.Kind)
	return ok && about.NamesTargets(t.effect.Params)
}

func (c *compiler) rules(t *Tool, tc *config.Tool) {
	condition := func(path, src string) *expr.Program {
		p := c.expression(path, src, expr.Bool)
		c.known(t, path, p)
		return p
	}
	list := func(rules []config.Rule) []rule {
		out := make([]rule, len(rules))
		for i, r := range rules {
			out[i] = rule{name: guard.Rule(r.Path), prog: condition(r.Path+".when", r.When), says: r.Says}
		}
		return out
	}
	t.rules.deny, t.rules.allow, t.rules.sensitive = list(tc.Deny), list(tc.Allow), list(tc.Sensitive.When)
	for _, w := range tc.TiersWhen {
		t.rules.tiers = append(t.rules.tiers, tierWhen{condition(w.Path+".when", w.When), w.Tier})
	}
	if tc.Claim != "" {
		t.rules.claim = c.expression(tc.Path+".claim", string(tc.Claim), expr.String)
		c.known(t, tc.Path+".claim", t.rules.claim)
	}
	for _, s := range tc.SideEffects {
		e := sideEffect{says: c.template(t, s.Path+".says", s.Says)}
		if s.When != "" {
			e.prog = condition(s.Path+".when", s.When)
		}
		t.rules.effects = append(t.rules.effects, e)
	}
}

// known reports an expression about something that a call of this tool never has.
// Otherwise the tool would load and then deny every call.
func (c *compiler) known(t *Tool, path string, p *expr.Program) {
	if p == nil || t.Tier == guard.Never {
		return
	}
	if (p.Uses("target") || p.Uses("targets")) && !t.namesPaths() {
		c.problem(c.cfg.Pos(path), fmt.Sprintf("the effect of %q names no path, so there is no target to speak of", t.Name),
			"bind the argument that names the path: {file.read: {path: args.path}}, or {opaque: {path: args.path}}")
	}
	if p.Uses("effect") && t.Tier == guard.T0Read {
		c.problem(c.cfg.Pos(path), fmt.Sprintf("%q only reads, so there is no effect to speak of", t.Name), "")
	}
}
