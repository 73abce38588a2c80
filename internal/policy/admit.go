package policy

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Request is one call with everything that a decision may depend on.
type Request struct {
	Call       guard.ToolCall
	Definition []byte         // raw, as the upstream lists the tool in this session
	Targets    []guard.Target // resolved by the tool's binding
	Snapshot   Snapshot
	// Args are the arguments of Call as returned by expr.DecodeArgs, if the caller
	// has them already; otherwise they are decoded here.
	Args expr.Args
}

// Snapshot is the external state that a decision may depend on, read once.
type Snapshot struct {
	CallsInRun     int  // of this tool in this run, not counting this call
	RateOK         bool // a call fits into the rate now
	InFlight       int  // other calls of this tool that have not ended
	ServerInFlight int  // other calls of this server that have not ended
	Switches       []guard.Switch
	Now            time.Time
	LastIdentical  time.Time // when the identical call last ran; zero if never
}

// deny builds a refusal. The sentences are fixed; `says` in the configuration is
// the only part of a policy that an agent ever reads.
func (t *Tool) deny(rule guard.Rule, reason, repair string) guard.Decision {
	return guard.Decision{Verdict: guard.Deny, Rule: rule, Reason: reason, Repair: repair, PolicyHash: t.Hash}
}

const (
	askUser = "ask the user"
	goOn    = "go on without this call, or ask the user"
)

// Admit decides whether a call may proceed to its preview: Allow, or Deny with the
// rule. It checks everything except the effect. A nil tool denies.
func (t *Tool) Admit(req Request) guard.Decision {
	if t == nil {
		return NotListed()
	}
	if d, ok := t.standing(req); !ok {
		return d
	}
	def, d, ok := t.pinCheck(req)
	if !ok {
		return d
	}
	vars, d, ok := t.arguments(req, def)
	if !ok {
		return d
	}
	if d, ok := t.inJail(req); !ok {
		return d
	}
	if d, ok := t.withinLimits(req.Snapshot); !ok {
		return d
	}
	if d, ok := t.configured(t.Tier); !ok {
		return d
	}
	if d, ok := t.evaluate(views(vars, nil), false); !ok {
		return d
	}
	return guard.Decision{Verdict: guard.Allow, Rule: guard.RuleTierDefault, PolicyHash: t.Hash}
}

// Listed reports whether clients of a session may see the tool as its server
// describes it.
func (t *Tool) Listed(s guard.Session, raw []byte) bool {
	if t == nil {
		return false
	}
	req := Request{Call: guard.ToolCall{Session: s}, Definition: raw}
	if _, ok := t.standing(req); !ok {
		return false
	}
	_, _, ok := t.pinCheck(req)
	return ok
}

// standing checks everything that does not depend on arguments.
func (t *Tool) standing(req Request) (guard.Decision, bool) {
	if !t.Tier.Valid() {
		// fail closed: a tier that is not named is no tier
		return t.deny(guard.RuleNotListed, NotListed().Reason, NotListed().Repair), false
	}
	if t.Tier == guard.Never {
		return t.never(t.Config.Says), false
	}
	for _, s := range req.Snapshot.Switches {
		if s.Stops(t.Server, t.Name) {
			return t.deny(guard.RuleSwitch, "a person has paused this tool", "wait until it is resumed; do not try again in a loop"), false
		}
	}
	ses := req.Call.Session
	if d, ok := t.of.open(ses); !ok {
		d.PolicyHash = t.Hash
		return d, false
	}
	if !contains(t.Config.Tenants, ses.Tenant) {
		return t.deny(guard.RuleTenant, "this tool is not open to the tenant that the work is done for", goOn), false
	}
	if !contains(t.Config.Environments, ses.Environment) {
		return t.deny(guard.RuleEnvironment, "this tool is not open in the environment that the work is done in", goOn), false
	}
	if !inWorkflow(t.Config.Workflows, ses.Workflow) {
		return t.deny(guard.RuleWorkflow, "this tool is not open in the workflow that the work belongs to", goOn), false
	}
	return guard.Decision{}, true
}

func (t *Tool) never(says string) guard.Decision {
	if says == "" {
		says = "this tool is never called through the guard"
	}
	return t.deny(guard.RuleNever, says, "do not try again; no approval is offered for it")
}

// contains reports membership; the empty string is never a member.
func contains(list []string, s string) bool {
	if s == "" {
		return false
	}
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// pinCheck compares the definition with the accepted one.
func (t *Tool) pinCheck(req Request) (*definition, guard.Decision, bool) {
	repair := fmt.Sprintf("ask the user to look at it: mcpguardd accept %s/%s", t.Server, t.Name)
	if !t.pinned {
		return nil, t.deny(guard.RulePinMissing, "nobody has accepted the definition of this tool yet", repair), false
	}
	if req.Definition == nil {
		// fail closed: nobody knows what would be called
		return nil, t.deny(guard.RuleUnlisted, "the server's list does not have this tool, or has it twice",
			"list the tools again and use one of them; ask the user to look at the server"), false
	}
	def, err := t.schemas.look(req.Definition)
	if err != nil || def.hash != t.pin.SHA256 || (!req.Call.Definition.IsZero() && req.Call.Definition != def.hash) {
		// fail closed: what cannot be read is not what was accepted
		return nil, t.deny(guard.RulePinChanged, "the server describes this tool otherwise than what was accepted", repair), false
	}
	return def, guard.Decision{}, true
}

// arguments checks the arguments against the tool's own schema.
func (t *Tool) arguments(req Request, def *definition) (*expr.Vars, guard.Decision, bool) {
	no := func(reason, repair string) (*expr.Vars, guard.Decision, bool) {
		return nil, t.deny(guard.RuleSchema, reason, repair), false
	}
	const again = "read the tool's schema and send arguments that fit"
	vars, err := t.Vars(req)
	if err != nil {
		return no("the arguments could not be read as an object", again)
	}
	if def.err != nil {
		// fail closed: without a schema nothing can be checked
		return no("the tool's schema cannot be used to check arguments", askUser+" to look at the tool's definition: `mcpguardd accept` says what is wrong with it")
	}
	if err := def.schema.check(vars.Args.Plain, t.strict); err != nil {
		var f *fault
		if errors.As(err, &f) && f.extra {
			return no(err.Error(), again+"; the user can allow other members: schema: {extra_members: allow} at this tool in config.yaml")
		}
		return no(err.Error(), again)
	}
	return vars, guard.Decision{}, true
}

// Vars returns what expressions may see of a call. The result may be shared.
func (t *Tool) Vars(req Request) (*expr.Vars, error) {
	args := req.Args
	if args.Plain == nil {
		raw := req.Call.Args
		if len(raw) == 0 {
			raw = []byte("{}")
		}
		var err error
		if args, err = expr.DecodeArgs(raw); err != nil {
			return nil, err
		}
	}
	v := &expr.Vars{
		Args: args, Targets: req.Targets, Tool: t.Name, Server: t.Server,
		Session: &req.Call.Session, Calls: req.Snapshot.CallsInRun,
	}
	if v.Targets == nil {
		v.Targets = []guard.Target{}
	}
	return v, nil
}

// inJail checks that every file target lies in the root that it claims.
func (t *Tool) inJail(req Request) (guard.Decision, bool) {
	named := 0
	for _, x := range req.Targets {
		if x.Kind == effect.TargetOpaque {
			continue
		}
		named++
		if x.Kind == effect.TargetRecord && x.Key != "" && x.Root == "" {
			continue // it is on the server, not in a folder
		}
		if x.Root == "" || x.Key == "" || !expr.Under(x.Key, x.Root) || !expr.Under(x.Path, ".") {
			return t.deny(guard.RulePath, "the path is outside of the workspace", "use a path inside the workspace"), false
		}
	}
	if named == 0 && t.namesPaths() && !t.lands() {
		// fail closed: a tool that is bound to paths was given none
		return t.deny(guard.RulePath, "the call names no path", "give a path inside the workspace"), false
	}
	return guard.Decision{}, true
}

func (t *Tool) withinLimits(s Snapshot) (guard.Decision, bool) {
	switch {
	case t.Limits.CallsPerRun > 0 && s.CallsInRun >= t.Limits.CallsPerRun:
		return t.deny(guard.RuleLimitCalls, fmt.Sprintf("this tool may be called %d times in one run, and was", t.Limits.CallsPerRun), goOn), false
	case t.Limits.Rate.Count > 0 && !s.RateOK:
		return t.deny(guard.RuleLimitRate, fmt.Sprintf("this tool may be called at most %s", t.Limits.Rate), "wait and try again later"), false
	case t.Limits.Concurrency > 0 && s.InFlight >= t.Limits.Concurrency,
		t.serverMax > 0 && s.ServerInFlight >= t.serverMax:
		return t.deny(guard.RuleLimitConcurrency, "too many calls of this tool are running", "wait for their answers, then try again"), false
	}
	return guard.Decision{}, true
}

// Unconfigured names the missing setting without which every call of the tool at
// its own tier is refused, such as "sandbox: none"; "" if none is missing.
func (t *Tool) Unconfigured() string {
	if _, ok := t.configured(t.Tier); ok {
		return ""
	}
	if t.Tier == guard.T3Execute {
		return "sandbox: none"
	}
	return "signed: no"
}

// configured checks that the settings that a tier requires are present.
func (t *Tool) configured(tier guard.Tier) (guard.Decision, bool) {
	switch {
	case tier == guard.T3Execute && !t.sandbox:
		return t.deny(guard.RuleSandboxMissing, "tools that execute need a sandbox, and none is configured", askUser+" to configure the tool"), false
	case tier == guard.T4IdentityMoneyOutbound && !t.unsigned:
		return t.deny(guard.RuleSignerMissing, "tools of this tier need signed decisions, and no signer is configured", askUser+" to configure the tool"), false
	}
	return guard.Decision{}, true
}

// view is one way to look at a call: one of its targets, and one of its effects
// once they are known. A rule about a target or an effect is evaluated for each
// view.
type view struct{ vars expr.Vars }

func views(v *expr.Vars, p *guard.Preview) []view {
	var out []view
	add := func(target *guard.Target, e *guard.Effect) {
		x := view{*v}
		x.vars.Target, x.vars.Effect, x.vars.Preview = target, e, p
		out = append(out, x)
	}
	named := func(x guard.Target) bool { return x.Path != "" }
	seen := func(x guard.Target) bool {
		return slices.ContainsFunc(out, func(v view) bool {
			return v.vars.Target != nil && v.vars.Target.Kind == x.Kind && v.vars.Target.Key == x.Key
		})
	}
	if p != nil {
		for i := range p.Effects {
			e := &p.Effects[i]
			if len(p.Effects) > 1 && !named(e.Resource) && e.Dest == nil {
				continue // the server as a whole, besides the named files
			}
			add(&e.Resource, e)
			if e.Dest != nil {
				add(e.Dest, e)
			}
		}
	}
	for i := range v.Targets {
		if named(v.Targets[i]) && !seen(v.Targets[i]) {
			add(&v.Targets[i], firstEffect(p))
		}
	}
	if len(out) == 0 {
		var target *guard.Target
		if len(v.Targets) > 0 {
			target = &v.Targets[0]
		}
		add(target, firstEffect(p))
	}
	return out
}

func firstEffect(p *guard.Preview) *guard.Effect {
	if p == nil || len(p.Effects) == 0 {
		return nil
	}
	return &p.Effects[0]
}

// broken is the decision when an expression cannot be evaluated. It says neither
// which one nor why, as that would tell the agent what the policy checks.
func (t *Tool) broken() guard.Decision {
	return t.deny(guard.RuleExpression, "a rule of this tool's policy could not be evaluated for this call", "check that all arguments are given, or ask the user")
}

// evaluate applies deny and allow rules. Rules about the effect wait until it is
// known.
func (t *Tool) evaluate(list []view, withEffect bool) (guard.Decision, bool) {
	for _, r := range t.rules.deny {
		if !withEffect && r.prog.Uses("effect") {
			continue
		}
		for i := range list {
			hit, err := r.prog.Bool(&list[i].vars)
			if err != nil {
				return t.broken(), false
			}
			if hit {
				return t.ruled(r), false
			}
		}
	}
	if len(t.rules.allow) == 0 {
		return guard.Decision{}, true
	}
	for i := range list {
		ok, later, err := t.allowed(&list[i].vars, withEffect)
		switch {
		case err != nil:
			return t.broken(), false
		case !ok && !later:
			return t.ruled(t.rules.allow[0]), false
		}
	}
	return guard.Decision{}, true
}

// allowed reports whether some allow rule holds, or may hold later.
func (t *Tool) allowed(v *expr.Vars, withEffect bool) (ok, later bool, err error) {
	for _, r := range t.rules.allow {
		if !withEffect && r.prog.Uses("effect") {
			later = true
			continue
		}
		hit, err := r.prog.Bool(v)
		if err != nil {
			return false, false, err
		}
		if hit {
			return true, false, nil
		}
	}
	return false, later, nil
}

func (t *Tool) ruled(r rule) guard.Decision {
	says := r.says
	if says == "" {
		says = "the policy of this tool does not allow this call"
	}
	return t.deny(r.name, says, "change the call so that the rule is kept, or ask the user")
}
