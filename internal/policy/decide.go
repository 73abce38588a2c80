package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Verdict is the decision on a call whose effect is known.
type Verdict struct {
	guard.Decision
	Tier        guard.Tier // with conditions applied
	Box         guard.TimeBox
	Sensitive   bool
	SideEffects []guard.SideEffect
	Hazards     []guard.Hazard
	Claim       string // the agent's stated reason; no decision depends on it
	// Post says that the call runs first and is shown afterwards.
	Post bool
	// Output bounds the result that is passed on, in bytes; 0 means no limit.
	Output int64
}

// SensitiveOutput bounds the result of a sensitive read, in bytes.
const SensitiveOutput = 64 << 10

// Hazards that the policy adds.
const (
	HazardProduction = "production"
	HazardNoSandbox  = "no_sandbox"
	HazardUnsigned   = "unsigned"
)

// notReversible marks what cannot be undone; effects use the same text.
const notReversible = "NOT reversible"

// maxSideEffects bounds the side effects listed for one call.
const maxSideEffects = 32

// Decide decides deny, ask or allow for an admitted call with its preview. Every
// rule is evaluated again, since targets may have moved. A nil tool denies.
func (t *Tool) Decide(req Request, p guard.Preview) Verdict {
	no := func(d guard.Decision) Verdict { return Verdict{Decision: d} }
	if t == nil {
		return no(NotListed())
	}
	if d, ok := t.standing(req); !ok {
		return no(d)
	}
	vars, err := t.Vars(req)
	if err != nil {
		return no(t.broken())
	}
	if d, ok := t.inJail(req); !ok {
		return no(d)
	}
	trial, err := t.trial(req, vars, p)
	if err != nil {
		return no(t.deny(guard.RulePreviewFailed, "what this call would change could not be computed", "check the arguments, read the target again"))
	}
	list := views(vars, &p)
	if d, ok := t.evaluate(list, !trial); !ok {
		return no(d)
	}
	v := Verdict{Tier: t.Tier, Output: t.Limits.Output}
	run := effect.Ran(p)
	if trial {
		v.Tier = guard.T0Read
	} else if run != nil {
		v.Tier, err = t.contained(list, run, p)
	} else {
		v.Tier, err = t.tier(list, t.Tier)
	}
	if err != nil {
		return no(t.broken())
	}
	v.Tier = atLeast(v.Tier, t.Tier, p)
	if v.Tier == guard.Never {
		return no(t.never(t.Config.Says))
	}
	if d, ok := t.configured(v.Tier); !ok {
		return no(d)
	}
	if v.Sensitive, err = t.sensitive(list); err != nil {
		return no(t.broken())
	}
	if run != nil && t.reads().sensitive {
		v.Sensitive = true
	}
	if !trial {
		if v.SideEffects, err = t.sideEffects(list, v.Tier, req.Snapshot, p); err != nil {
			return no(t.broken())
		}
		v.Claim = t.claimed(list)
	}
	if v.Sensitive && v.Tier == guard.T0Read && (v.Output == 0 || v.Output > SensitiveOutput) {
		v.Output = SensitiveOutput
	}
	v.Box = t.boxes[v.Tier]
	v.Decision = t.verdict(&v, p.Paths, req.Call.Session.Environment)
	if run != nil {
		t.commandVerdict(&v, run, req.Call.Session.Environment)
	}
	v.Hazards = t.hazards(&v, req.Call.Session.Environment)
	if v.Verdict == guard.Ask && t.shownAfterwards(&v, req.Call.Session.Environment, p) {
		v.Post, v.Verdict, v.Rule, v.Reason = true, guard.Allow, guard.RulePost, "the policy shows this change after it ran"
	}
	return v
}

// trial reports whether the call asks for a dry run and so changes nothing. The
// binding and the preview must agree.
func (t *Tool) trial(req Request, vars *expr.Vars, p guard.Preview) (bool, error) {
	if t.Binding == nil || t.Binding.ReadOnly() || effect.Ran(p) != nil {
		return false, nil // a command that changes nothing is not a dry run: it has run
	}
	changes, err := t.Binding.Changes(effect.Input{Call: req.Call, Vars: vars})
	if err != nil {
		return false, err
	}
	if changes == (len(p.Effects) == 0) {
		// fail closed: a change without an effect, or an effect without a change
		return false, fmt.Errorf("the preview does not say what the binding says")
	}
	return !changes, nil
}

// tier applies the conditions. For each view the first condition that holds wins,
// or base if none does; the call gets the highest tier of its views.
func (t *Tool) tier(list []view, base guard.Tier) (guard.Tier, error) {
	highest := guard.Tier(0)
	for i := range list {
		tier := base
		for _, w := range t.rules.tiers {
			hit, err := w.prog.Bool(&list[i].vars)
			if err != nil {
				return 0, err
			}
			if hit {
				tier = w.tier
				break
			}
		}
		highest = max(highest, tier)
	}
	return highest, nil
}

// atLeast raises the tier of a call that a condition of the policy took for a read
// but that is not one: SQL that writes or cannot be parsed keeps the tier of its
// tool.
func atLeast(tier, tool guard.Tier, p guard.Preview) guard.Tier {
	if sql := p.Change.SQL; sql != nil && (sql.Writes || !sql.Understood) && tier == guard.T0Read {
		return max(tool, guard.T1ReversibleWrite)
	}
	return tier
}

func (t *Tool) sensitive(list []view) (bool, error) {
	if t.Config.Sensitive.Always {
		return true, nil
	}
	for _, r := range t.rules.sensitive {
		for i := range list {
			hit, err := r.prog.Bool(&list[i].vars)
			if err != nil {
				return false, err
			}
			if hit {
				return true, nil
			}
		}
	}
	return false, nil
}

// sideEffects lists the policy's sentences and those that the guard adds to every
// call, without those already in the preview.
func (t *Tool) sideEffects(list []view, tier guard.Tier, s Snapshot, p guard.Preview) ([]guard.SideEffect, error) {
	var out []guard.SideEffect
	seen := map[string]bool{}
	for _, e := range p.SideEffects {
		seen[e.Text] = true
	}
	add := func(text string) {
		if !seen[text] && len(out) < maxSideEffects {
			seen[text] = true
			out = append(out, guard.SideEffect{Text: text})
		}
	}
	if run := effect.Ran(p); tier >= guard.T2IrreversibleWrite && (run == nil || !run.Whole() || !takenBack(p)) {
		add(notReversible)
	}
	for _, e := range t.rules.effects {
		for i := range list {
			if e.prog != nil {
				hit, err := e.prog.Bool(&list[i].vars)
				if err != nil {
					return nil, err
				}
				if !hit {
					continue
				}
			}
			text, err := e.says.render(&list[i].vars)
			if err != nil {
				return nil, err
			}
			add(text)
		}
	}
	if ago := s.Now.Sub(s.LastIdentical); !s.LastIdentical.IsZero() && ago >= 0 && tier != guard.T0Read {
		add("identical call ran " + spoken(ago) + " ago")
	}
	return out, nil
}

// maxClaim bounds the stored part of an agent's claim, in bytes.
const maxClaim = 1000

// claimed returns the agent's stated reason. An unreadable one counts as none,
// since nothing depends on it.
func (t *Tool) claimed(list []view) string {
	if t.rules.claim == nil || len(list) == 0 {
		return ""
	}
	s, err := t.rules.claim.String(&list[0].vars)
	if err != nil {
		return ""
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > maxClaim {
		s = strings.ToValidUTF8(s[:maxClaim], "") + " …"
	}
	return s
}

// spoken rounds a duration to one unit.
func spoken(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// verdict applies the tier's default and what the policy says about approval and
// about the changed paths.
func (t *Tool) verdict(v *Verdict, paths guard.PathVerdict, environment string) guard.Decision {
	d := guard.Decision{Verdict: guard.Ask, Rule: guard.RuleTierDefault, PolicyHash: t.Hash}
	required := t.Config.Approval.Required
	switch v.Tier {
	case guard.T0Read:
		marked := t.Config.Sensitive.Set()
		if required != nil && *required && (v.Sensitive || !marked) {
			d.Reason = "the policy asks before this read"
			return d
		}
		d.Verdict, d.Reason = guard.Allow, "reads are allowed"
		return d
	case guard.T1ReversibleWrite:
		switch {
		case environment == "prod", required != nil && *required: // it waits, whatever it changes
		case paths == guard.PathsAllow:
			d.Verdict, d.Rule, d.Reason = guard.Allow, guard.RulePathsAllowed, "the policy allows all that changes"
			return d
		case paths == guard.PathsAsk: // required: false does not cover single paths
		case required != nil && !*required:
			d.Verdict, d.Rule, d.Reason = guard.Allow, guard.RuleApprovalOptional, "the policy does not ask for an approval"
			return d
		}
		d.Reason = "writes wait for an approval"
		return d
	case guard.T2IrreversibleWrite, guard.T3Execute, guard.T4IdentityMoneyOutbound:
		d.Reason = "calls of this tier always wait for an approval"
		return d
	}
	// fail closed: no other tier is callable
	return t.never("")
}

// shownAfterwards reports whether a write runs first and is shown afterwards: it
// can be undone, is not in production, has nothing that a reviewer must not miss,
// and needs approval only because of its tier.
func (t *Tool) shownAfterwards(v *Verdict, environment string, p guard.Preview) bool {
	return t.Config.Approval.Mode == "post" && v.Tier == guard.T1ReversibleWrite && v.Rule == guard.RuleTierDefault &&
		p.Paths != guard.PathsAsk && environment != "prod" && len(p.Hazards) == 0 && len(v.Hazards) == 0 && restorable(p)
}

// restorable reports whether a preview knows everything that changes, both before
// and after. What is sent, run or not computed cannot be undone.
func restorable(p guard.Preview) bool {
	for _, e := range p.Effects {
		if !e.Before.Computed || !e.After.Computed {
			return false
		}
	}
	return len(p.Effects) > 0 && !slices.Contains(p.SideEffects, guard.SideEffect{Text: notReversible})
}

// AskFirst makes an allowed write wait for a human.
func (v *Verdict) AskFirst(reason string) {
	if v.Verdict == guard.Allow && v.Tier != guard.T0Read {
		v.Post, v.Verdict, v.Rule, v.Reason = false, guard.Ask, guard.RuleTierDefault, reason
	}
}

// AskPerson makes any allowed call wait for a human, reads included.
func (v *Verdict) AskPerson(reason string) {
	if v.Verdict == guard.Allow {
		v.Post, v.Verdict, v.Rule, v.Reason = false, guard.Ask, guard.RuleTierDefault, reason
	}
}

func (t *Tool) hazards(v *Verdict, environment string) []guard.Hazard {
	var out []guard.Hazard
	if environment == "prod" && (v.Tier != guard.T0Read || v.Verdict == guard.Ask) {
		out = append(out, guard.Hazard{Kind: HazardProduction, Text: "production environment"})
	}
	if v.Tier == guard.T3Execute && !(t.Config.Sandbox == "client" && t.Server == config.NativeServer) { // its effect says if it is off
		out = append(out, guard.Hazard{Kind: HazardNoSandbox, Text: "runs without a sandbox (sandbox: none)"})
	}
	if v.Tier == guard.T4IdentityMoneyOutbound {
		out = append(out, guard.Hazard{Kind: HazardUnsigned, Text: "the decision is not signed (signed: no)"})
	}
	return out
}
