package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Change is one difference between two policies, as a sentence.
type Change struct {
	Text   string
	Widens bool // something is, or may be, newly permitted
}

// Changes lists the differences. A difference counts as widening unless it is known
// to narrow.
func Changes(old, new *Set) []Change {
	d := &differ{}
	d.profiles(old.cfg, new.cfg)
	d.global(old.cfg, new.cfg)
	for _, name := range union(old.servers, new.servers) {
		a, b := old.servers[name], new.servers[name]
		switch {
		case a == nil:
			d.add(true, "server %s is new, with %d tools", name, len(b.tools))
		case b == nil:
			d.add(false, "server %s is gone", name)
		default:
			d.server(a, b)
		}
	}
	d.pins(old, new)
	if len(d.list) == 0 && old.hash != new.hash {
		d.add(true, "the policy changed in a way that is not described")
	}
	return d.list
}

type differ struct{ list []Change }

func (d *differ) add(widens bool, format string, args ...any) {
	d.list = append(d.list, Change{fmt.Sprintf(format, args...), widens})
}

func union[T any](a, b map[string]T) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]T{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// same compares two values by their encoding, which covers every field.
func same(a, b any) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}

func show(v any) string { return clipText(text(v)) }

// text is the full encoding of a value.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil || string(b) == "null" {
		return "none"
	}
	return string(b)
}

// words compares two lists of permissions: an addition widens.
func (d *differ) words(what string, old, new []string) {
	for _, w := range new {
		if !slices.Contains(old, w) {
			d.add(true, "%s: %s added", what, w)
		}
	}
	for _, w := range old {
		if !slices.Contains(new, w) {
			d.add(false, "%s: %s removed", what, w)
		}
	}
}

// open compares two lists of whom something is open to. An empty list means
// everyone that other settings allow.
func (d *differ) open(what string, old, new []string) {
	switch {
	case old == nil && new != nil:
		d.add(false, "%s: only %s", what, strings.Join(new, " "))
	case old != nil && new == nil:
		d.add(true, "%s: no longer limited to %s", what, strings.Join(old, " "))
	default:
		d.words(what, old, new)
	}
}

func (d *differ) rate(what string, old, new config.Rate) {
	if old != new {
		d.add(new.Count == 0 || old.Count == 0 || float64(new.Count)/new.Per.Seconds() > float64(old.Count)/old.Per.Seconds() || new.Per > old.Per,
			"%s: %s → %s", what, old, new)
	}
}

// limit compares two limits; 0 means no limit.
func (d *differ) limit(what string, old, new int64, text func(int64) string) {
	if old == new {
		return
	}
	d.add(new == 0 || (old != 0 && new > old), "%s: %s → %s", what, text(old), text(new))
}

func count(n int64) string {
	if n == 0 {
		return "no limit"
	}
	return fmt.Sprint(n)
}

func span(n int64) string {
	if n == 0 {
		return "default"
	}
	return time.Duration(n).String()
}

// access compares two settings; only `allow` permits.
func (d *differ) access(what string, old, new config.Access) {
	if old != new {
		d.add(new != config.AccessDeny, "%s: %s → %s", what, orNone(string(old)), orNone(string(new)))
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (d *differ) profiles(old, new *config.Config) {
	for _, name := range union(old.Profiles, new.Profiles) {
		a, had := old.Profiles[name]
		b, has := new.Profiles[name]
		switch {
		case !had:
			d.add(true, "profile %s is new: %s, %s, in %s", name, b.Tenant, b.Environment, strings.Join(b.Roots, " "))
		case !has:
			// A folder that loses its profile may get another one from a folder
			// above it.
			d.add(len(new.Profiles) > 0, "profile %s is gone", name)
		default:
			d.words("roots of profile "+name, a.Roots, b.Roots)
			a.Roots, b.Roots, a.Path, b.Path = nil, nil, "", ""
			if !same(a, b) {
				d.add(true, "profile %s: %s → %s", name, show(a), show(b))
			}
		}
	}
}

func (d *differ) global(old, new *config.Config) {
	if old.Audit.Reads != new.Audit.Reads {
		d.add(new.Audit.Reads != "strict", "audit.reads: %s → %s", old.Audit.Reads, new.Audit.Reads)
	}
	if old.Approvers.Unsigned != new.Approvers.Unsigned {
		d.add(WidensApprovers(old.Approvers.Unsigned, new.Approvers.Unsigned), "approvers.unsigned: %s → %s", old.Approvers.Unsigned, new.Approvers.Unsigned)
	}
	for tier := guard.T0Read; tier < guard.Never; tier++ {
		d.box("time box of "+tier.String(), old.Box(tier), new.Box(tier))
	}
	if !same(old.Hold, new.Hold) {
		d.add(false, "hold: %s → %s", show(old.Hold), show(new.Hold))
	}
	d.limit("quotas.held", int64(old.Quotas.Held), int64(new.Quotas.Held), count)
	d.limit("quotas.held_calls", int64(old.Quotas.HeldCalls), int64(new.Quotas.HeldCalls), count)
	d.limit("quotas.sessions", int64(old.Quotas.Sessions), int64(new.Quotas.Sessions), count)
	if before, now := old.Retention.Keep(), new.Retention.Keep(); before != now {
		d.add(false, "retention: %s → %s", before, now)
	}
}

// WidensApprovers reports whether a change of approvers.unsigned lets more
// approvers decide. An unknown value counts as the widest, both before and after.
func WidensApprovers(from, to string) bool {
	rank := map[string]int{"never": 1, "terminal": 2, "any": 3}
	x, known := rank[from]
	y, ok := rank[to]
	return from != to && (!known || !ok || y > x) // fail closed: it waits for a human
}

func (d *differ) box(what string, old, new guard.TimeBox) {
	d.limit(what+", ttl", int64(old.TTL), int64(new.TTL), span)
	d.limit(what+", use_within", int64(old.UseWithin), int64(new.UseWithin), span)
}

func (d *differ) server(old, new *Server) {
	a, b, name := old.Config, new.Config, "server "+new.Name
	d.access(name+", prompts", a.Prompts, b.Prompts)
	d.access(name+", resources", a.Resources, b.Resources)
	d.access(name+", sampling", a.Sampling, b.Sampling)
	d.access(name+", elicitation", a.Elicitation, b.Elicitation)
	d.open(name+", tenants", a.Tenants, b.Tenants)
	d.open(name+", environments", a.Environments, b.Environments)
	d.open(name+", workflows", a.Workflows, b.Workflows)
	d.words(name+", hosts of resources", a.Hosts, b.Hosts)
	for _, m := range union(a.Methods, b.Methods) {
		d.access(name+", method "+m, a.Methods[m], b.Methods[m])
	}
	d.words(name+", workspaces", a.Workspaces, b.Workspaces)
	d.words(name+", environment variables", a.Env, b.Env)
	d.words(name+", secrets", slices.Sorted(maps.Keys(a.Secrets)), slices.Sorted(maps.Keys(b.Secrets)))
	d.limit(name+", concurrency", int64(a.Limits.Concurrency), int64(b.Limits.Concurrency), count)
	d.rate(name+", rate", old.RequestRate(), new.RequestRate())
	d.limit(name+", output", int64(a.Limits.Output), int64(b.Limits.Output), count)
	if a.Proven() && !b.Proven() {
		d.add(false, "%s: version %q of %s is not proven", name, b.Detected.Version, b.Package)
	}
	for _, t := range union(old.tools, new.tools) {
		x, y := old.tools[t], new.tools[t]
		switch {
		case x == nil && y.Tier == guard.Never:
			d.add(false, "tool %s/%s is new: NEVER", new.Name, t)
		case x == nil:
			d.add(true, "tool %s/%s is new: %s", new.Name, t, y.Tier)
		case y == nil:
			d.add(false, "tool %s/%s is gone", new.Name, t)
		case x.Hash != y.Hash:
			d.tool(x, y)
		}
	}
	// Anything that differs beyond what was described.
	if x, y := rest(*a), rest(*b); !same(x, y) {
		before, after := apart(text(x), text(y))
		d.add(true, "%s: command or settings changed: %s → %s", name, before, after)
	}
}

func rest(s config.Server) config.Server {
	s.Prompts, s.Resources, s.Sampling, s.Elicitation, s.Methods = "", "", "", "", nil
	s.Workspaces, s.Env, s.Tools, s.Limits = nil, nil, nil, config.ServerLimits{}
	s.Tenants, s.Environments, s.Workflows, s.Hosts = nil, nil, nil, nil
	s.About, s.Basis, s.Versions, s.Package, s.Also, s.Detected = "", "", nil, "", nil, config.Package{}
	return s
}

func (d *differ) tool(old, new *Tool) {
	name := fmt.Sprintf("tool %s/%s", new.Server, new.Name)
	a, b := *old.Config, *new.Config
	if a.Tier != b.Tier {
		d.add(b.Tier < a.Tier, "%s: tier %s → %s", name, a.Tier, b.Tier)
	}
	if b.Tier == guard.Never {
		return // nothing else about it matters
	}
	d.words(name+", tenants", a.Tenants, b.Tenants)
	d.words(name+", environments", a.Environments, b.Environments)
	d.open(name+", workflows", a.Workflows, b.Workflows)
	d.ruleList(name+", deny", a.Deny, b.Deny, false)
	d.allowList(name, a.Allow, b.Allow)
	if !same(a.Sensitive, b.Sensitive) {
		d.add(!b.Sensitive.Always, "%s: sensitive %s → %s", name, show(a.Sensitive), show(b.Sensitive))
	}
	d.approval(name, old, new)
	d.limit(name+", calls_per_run", int64(old.Limits.CallsPerRun), int64(new.Limits.CallsPerRun), count)
	d.limit(name+", concurrency", int64(old.Limits.Concurrency), int64(new.Limits.Concurrency), count)
	d.limit(name+", timeout", int64(old.Limits.Timeout), int64(new.Limits.Timeout), span)
	d.limit(name+", output", old.Limits.Output, new.Limits.Output, count)
	d.rate(name+", rate", old.Limits.Rate, new.Limits.Rate)
	if old.strict != new.strict {
		d.add(!new.strict, "%s: members that its schema does not name are %s", name, map[bool]string{true: "refused", false: "accepted"}[new.strict])
	}
	if old.sandbox != new.sandbox {
		d.add(new.sandbox, "%s: sandbox %q → %q", name, a.Sandbox, b.Sandbox)
	}
	if old.unsigned != new.unsigned {
		d.add(new.unsigned, "%s: unsigned decisions %s", name, map[bool]string{true: "accepted", false: "refused"}[new.unsigned])
	}
	d.effect(name, old.effect, new.effect)
	if !same(a.TiersWhen, b.TiersWhen) {
		x, y := apart(text(a.TiersWhen), text(b.TiersWhen))
		d.add(true, "%s: tiers_when %s → %s", name, x, y)
	}
	if !same(a.SideEffects, b.SideEffects) {
		d.add(false, "%s: side effects changed", name)
	}
	for _, l := range a.Labels {
		if !slices.Contains(b.Labels, l) {
			d.add(false, "%s: no longer labelled %s", name, l)
		}
	}
	for _, l := range b.Labels {
		if !slices.Contains(a.Labels, l) {
			d.add(false, "%s: labelled %s", name, l)
		}
	}
	if a.Claim != b.Claim {
		d.add(false, "%s: claim %s → %s", name, show(a.Claim), show(b.Claim))
	}
	if !same(a.Receipts, b.Receipts) {
		d.add(false, "%s: receipts %s → %s", name, show(a.Receipts), show(b.Receipts))
	}
	if !same(a.Undo, b.Undo) {
		d.add(false, "%s: undo %s → %s", name, show(a.Undo), show(b.Undo))
	}
	if a.Says != b.Says {
		d.add(false, "%s: says %q → %q", name, a.Says, b.Says)
	}
	if x, y := undescribed(a), undescribed(b); !same(x, y) {
		d.add(true, "%s: settings changed: %s → %s", name, show(x), show(y))
	}
}

// undescribed returns the part of a tool's settings that the differ does not
// describe. Today that is empty; a new setting counts as widening until it is
// described.
func undescribed(t config.Tool) config.Tool {
	t.Name, t.Tier, t.TiersWhen, t.Effect, t.Deny, t.Allow = "", guard.Never, nil, config.Effect{}, nil, nil
	t.Tenants, t.Environments, t.Workflows, t.Approval, t.Limits = nil, nil, nil, config.Approval{}, config.Limits{}
	t.SideEffects, t.Sensitive, t.Schema, t.Sandbox, t.Signed, t.Says = nil, config.Sensitive{}, config.Schema{}, "", false, ""
	t.Labels, t.Receipts, t.Undo, t.Claim = nil, nil, config.Undo{}, ""
	return t
}

func (d *differ) ruleList(what string, old, new []config.Rule, addingWidens bool) {
	index := func(list []config.Rule) map[string]bool {
		m := map[string]bool{}
		for _, r := range list {
			m[r.When] = true
		}
		return m
	}
	a, b := index(old), index(new)
	for _, r := range new {
		if !a[r.When] {
			d.add(addingWidens, "%s: added: %s", what, clipText(r.When))
		}
	}
	for _, r := range old {
		if !b[r.When] {
			d.add(!addingWidens, "%s: removed: %s", what, clipText(r.When))
		}
	}
}

// allowList compares allow rules: the first one narrows, a further one widens, and
// removing the last one widens.
func (d *differ) allowList(name string, old, new []config.Rule) {
	switch {
	case same(old, new):
	case len(old) == 0:
		d.add(false, "%s: allowed only under %d conditions", name, len(new))
	case len(new) == 0:
		d.add(true, "%s: no longer limited to its allow conditions", name)
	default:
		d.ruleList(name+", allow", old, new, true)
	}
}

func (d *differ) approval(name string, old, new *Tool) {
	required := func(t *Tool) bool {
		if r := t.Config.Approval.Required; r != nil {
			return *r
		}
		return t.Tier != guard.T0Read
	}
	if x, y := required(old), required(new); x != y {
		d.add(!y, "%s: approval required: %v → %v", name, x, y)
	}
	if x, y := old.Config.Approval.Mode == "post", new.Config.Approval.Mode == "post"; x != y {
		d.add(y, "%s: %s", name, map[bool]string{true: "runs first and is shown afterwards", false: "no longer runs before it is shown"}[y])
	}
	if same(old.Config.Approval, new.Config.Approval) {
		return // a change to the tier's time box is described once
	}
	for tier := guard.T0Read; tier < guard.Never; tier++ {
		if tier == new.Tier {
			d.box(name+", time box", old.boxes[tier], new.boxes[tier])
		}
	}
}

func (d *differ) pins(old, new *Set) {
	for _, p := range new.lock.Pins() {
		before, had := old.lock.Pin(p.Server, p.Tool)
		switch {
		case !had:
			d.add(true, "definition of %s/%s accepted", p.Server, p.Tool)
		case before.SHA256 != p.SHA256:
			d.add(true, "another definition of %s/%s accepted", p.Server, p.Tool)
		}
	}
	for _, p := range old.lock.Pins() {
		if _, has := new.lock.Pin(p.Server, p.Tool); !has {
			d.add(false, "definition of %s/%s no longer accepted", p.Server, p.Tool)
		}
	}
}
