package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
)

const write = "tier: T1_REVERSIBLE_WRITE\neffect: {file.write: {path: args.path, content: args.content}}\n"

// TestPromise1_DefaultDeny: what no policy names, what is not accepted and what
// cannot be computed is denied, each by its own rule and in this order.
func TestPromise1_DefaultDeny(t *testing.T) {
	src := file("src/a.go")
	args := `{"path":"src/a.go","content":"x"}`
	for _, c := range []struct {
		name, body string
		change     func(*Request)
		want       guard.Rule
	}{
		{"admitted", write, func(*Request) {}, guard.RuleTierDefault},
		{"never", "tier: NEVER\nsays: use the console\n", func(*Request) {}, guard.RuleNever},
		{"switch for all", write, func(r *Request) { r.Snapshot.Switches = []guard.Switch{{}} }, guard.RuleSwitch},
		{"switch for the server", write, func(r *Request) { r.Snapshot.Switches = []guard.Switch{{Scope: "s"}} }, guard.RuleSwitch},
		{"switch for the tool", write, func(r *Request) { r.Snapshot.Switches = []guard.Switch{{Scope: "s/t"}} }, guard.RuleSwitch},
		{"switch for another", write, func(r *Request) { r.Snapshot.Switches = []guard.Switch{{Scope: "s/u"}, {Scope: "x"}} }, guard.RuleTierDefault},
		{"tenant", write, func(r *Request) { r.Call.Session.Tenant = "rival" }, guard.RuleTenant},
		{"no tenant", write, func(r *Request) { r.Call.Session.Tenant = "" }, guard.RuleTenant},
		{"environment", write, func(r *Request) { r.Call.Session.Environment = "staging" }, guard.RuleEnvironment},
		{"definition changed", write, func(r *Request) { r.Definition = definitionOf("t", `{"type":"object"}`) }, guard.RulePinChanged},
		{"definition missing", write, func(r *Request) { r.Definition = nil }, guard.RuleUnlisted},
		{"definition of two minds", write, func(r *Request) { r.Definition = []byte(`{"name":"t","name":"t"}`) }, guard.RulePinChanged},
		{"digest of another definition", write, func(r *Request) { r.Call.Definition = digest.Sum([]byte("x")) }, guard.RulePinChanged},
		{"unknown member", write, func(r *Request) { r.Call.Args = []byte(`{"path":"a","content":"x","mode":1}`) }, guard.RuleSchema},
		{"wrong type", write, func(r *Request) { r.Call.Args = []byte(`{"path":1}`) }, guard.RuleSchema},
		{"not an object", write, func(r *Request) { r.Call.Args = []byte(`[]`) }, guard.RuleSchema},
		{"long number", write, func(r *Request) { r.Call.Args = []byte(`{"n":` + strings.Repeat("1", 65) + `}`) }, guard.RuleSchema},
		{"huge exponent", write, func(r *Request) { r.Call.Args = []byte(`{"n":1e9999}`) }, guard.RuleSchema},
		{"outside", write, func(r *Request) { r.Targets[0].Key = "/w2/a" }, guard.RulePath},
		{"climbing", write, func(r *Request) { r.Targets[0].Path = "../a" }, guard.RulePath},
		{"no target", write, func(r *Request) { r.Targets = nil }, guard.RulePath},
		{"calls per run", write + "limits: {calls_per_run: 3}\n", func(r *Request) { r.Snapshot.CallsInRun = 3 }, guard.RuleLimitCalls},
		{"one call left", write + "limits: {calls_per_run: 3}\n", func(r *Request) { r.Snapshot.CallsInRun = 2 }, guard.RuleTierDefault},
		{"rate", write, func(r *Request) { r.Snapshot.RateOK = false }, guard.RuleLimitRate},
		{"concurrency", write + "limits: {concurrency: 1}\n", func(r *Request) { r.Snapshot.InFlight = 1 }, guard.RuleLimitConcurrency},
		{"T3 without sandbox", "tier: T3_EXECUTE\neffect: opaque\n", func(r *Request) { r.Targets = nil }, guard.RuleSandboxMissing},
		{"T3 with sandbox: none", "tier: T3_EXECUTE\neffect: opaque\nsandbox: none\n", func(r *Request) { r.Targets = nil }, guard.RuleTierDefault},
		{"T4 without signer", "tier: T4_IDENTITY_MONEY_OUTBOUND\neffect: opaque\n", func(r *Request) { r.Targets = nil }, guard.RuleSignerMissing},
		{"T4 with signed: no", "tier: T4_IDENTITY_MONEY_OUTBOUND\neffect: opaque\nsigned: no\n", func(r *Request) { r.Targets = nil }, guard.RuleTierDefault},
		{"deny", write + "deny: [{when: \"under(target.path, 'src')\", says: no src}]\n", func(*Request) {}, "servers.s.tools.t.deny[0]"},
		{"deny of another folder", write + "deny: [{when: \"under(target.path, 'sr')\"}]\n", func(*Request) {}, guard.RuleTierDefault},
		{"deny on the second target", write + "deny: [{when: git_path(target.path)}]\n", func(r *Request) { r.Targets = append(r.Targets, file(".git/config")) }, "servers.s.tools.t.deny[0]"},
		{"deny that fails", write + "deny: [{when: args.gone == 1}]\n", func(*Request) {}, guard.RuleExpression},
		{"no allow holds", write + "allow: [{when: args.content == 'y'}, {when: args.content == 'z'}]\n", func(*Request) {}, "servers.s.tools.t.allow[0]"},
		{"one allow holds", write + "allow: [{when: args.content == 'y'}, {when: args.content == 'x'}]\n", func(*Request) {}, guard.RuleTierDefault},
		{"allow holds for one target of two", write + "allow: [{when: \"under(target.path, 'src')\"}]\n", func(r *Request) { r.Targets = append(r.Targets, file("lib/b")) }, "servers.s.tools.t.allow[0]"},
		{"allow that fails", write + "allow: [{when: args.gone == 1}, {when: 'true'}]\n", func(*Request) {}, guard.RuleExpression},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := request(args, src)
			c.change(&req)
			d := one(t, c.body).Admit(req)
			if d.Rule != c.want || (d.Verdict == guard.Allow) != (c.want == guard.RuleTierDefault) {
				t.Fatalf("got %+v, want rule %s", d, c.want)
			}
			if d.Verdict == guard.Deny && (d.Reason == "" || d.Repair == "") {
				t.Errorf("a refusal without help: %+v", d)
			}
			if d.Verdict == guard.Deny && strings.Contains(d.Reason+d.Repair, "args.") {
				t.Errorf("the refusal shows the policy: %+v", d)
			}
		})
	}
	var none *Tool
	if d := none.Admit(request("{}")); d.Verdict != guard.Deny || d.Rule != guard.RuleNotListed {
		t.Errorf("no tool: %+v", d)
	}
	if v := none.Decide(request("{}"), guard.Preview{}); v.Verdict != guard.Deny {
		t.Errorf("no tool: %+v", v)
	}
	set := compile(t, tool(write)) // nothing accepted
	sv, _ := set.Server("s")
	x, _ := sv.Tool("t")
	if d := x.Admit(request(args, src)); d.Rule != guard.RulePinMissing {
		t.Errorf("not accepted: %+v", d)
	}
	if _, ok := sv.Tool("T"); ok {
		t.Error("names are matched by case folding")
	}
	if x.Listed(request("").Call.Session, definitionOf("t", anySchema)) {
		t.Error("a tool that nobody accepted is listed")
	}
}

func TestAdmitAgainstTheSecondDefinition(t *testing.T) {
	x := one(t, write)
	req := request(`{"path":"a","content":"x"}`, file("a"))
	if !x.Listed(req.Call.Session, req.Definition) {
		t.Error("not listed")
	}
	req.Definition = []byte("{ \"inputSchema\": " + anySchema + ", \"description\": \"d\",\n \"name\": \"\\u0074\" }")
	if d := x.Admit(req); d.Verdict != guard.Allow {
		t.Errorf("the same definition in other bytes: %+v", d)
	}
}

func TestDecide(t *testing.T) {
	at := file("src/a.go")
	for _, c := range []struct {
		name, body string
		env        string
		preview    *guard.Preview
		verdict    guard.Verdict
		rule       guard.Rule
		tier       guard.Tier
		hazard     string
	}{
		{name: "T1 asks", body: write, verdict: guard.Ask, rule: guard.RuleTierDefault, tier: guard.T1ReversibleWrite},
		{name: "T1 without approval", body: write + "approval: {required: false}\n", verdict: guard.Allow, rule: guard.RuleApprovalOptional, tier: guard.T1ReversibleWrite},
		{name: "shown afterwards", body: write + "approval: {mode: post}\n", verdict: guard.Allow, rule: guard.RulePost, tier: guard.T1ReversibleWrite},
		{name: "not afterwards in prod", body: write + "approval: {mode: post}\n", env: "prod", verdict: guard.Ask, rule: guard.RuleTierDefault, tier: guard.T1ReversibleWrite, hazard: HazardProduction},
		{name: "not afterwards if raised", body: write + "approval: {mode: post}\ntiers_when: [{when: 'true', tier: T2_IRREVERSIBLE_WRITE}]\n", verdict: guard.Ask, rule: guard.RuleTierDefault, tier: guard.T2IrreversibleWrite},
		{name: "not honoured in prod", body: write + "approval: {required: false}\n", env: "prod", verdict: guard.Ask, rule: guard.RuleTierDefault, tier: guard.T1ReversibleWrite, hazard: HazardProduction},
		{name: "raised by a condition", body: write + "approval: {required: true}\ntiers_when: [{when: \"under(target.path, 'src')\", tier: T2_IRREVERSIBLE_WRITE}]\n", verdict: guard.Ask, rule: guard.RuleTierDefault, tier: guard.T2IrreversibleWrite},
		{name: "the first condition wins", body: write + "tiers_when: [{when: 'true', tier: T1_REVERSIBLE_WRITE}, {when: 'true', tier: NEVER}]\n", verdict: guard.Ask, rule: guard.RuleTierDefault, tier: guard.T1ReversibleWrite},
		{name: "never by a condition", body: write + "tiers_when: [{when: effect.size_after > 11, tier: NEVER}]\n", verdict: guard.Deny, rule: guard.RuleNever},
		{name: "execute by a condition", body: write + "tiers_when: [{when: 'true', tier: T3_EXECUTE}]\n", verdict: guard.Deny, rule: guard.RuleSandboxMissing},
		{name: "execute accepted", body: write + "sandbox: none\ntiers_when: [{when: 'true', tier: T3_EXECUTE}]\n", verdict: guard.Ask, rule: guard.RuleTierDefault, tier: guard.T3Execute, hazard: HazardNoSandbox},
		{name: "unsigned accepted", body: "tier: T4_IDENTITY_MONEY_OUTBOUND\neffect: {file.write: {path: args.path, content: args.content}}\nsigned: no\n", verdict: guard.Ask, rule: guard.RuleTierDefault, tier: guard.T4IdentityMoneyOutbound, hazard: HazardUnsigned},
		{name: "a failing condition", body: write + "tiers_when: [{when: args.gone, tier: T2_IRREVERSIBLE_WRITE}]\n", verdict: guard.Deny, rule: guard.RuleExpression},
		{name: "denied by its effect", body: write + "deny: [{when: effect.added > 1, says: too much}]\n", verdict: guard.Deny, rule: "servers.s.tools.t.deny[0]"},
		{name: "allowed by its effect", body: write + "allow: [{when: effect.added < 3}]\n", verdict: guard.Ask, rule: guard.RuleTierDefault, tier: guard.T1ReversibleWrite},
		{name: "not allowed by its effect", body: write + "allow: [{when: effect.added < 2}]\n", verdict: guard.Deny, rule: "servers.s.tools.t.allow[0]"},
		{name: "a failing side effect", body: write + "side_effects: [{says: 'about {args.gone}'}]\n", verdict: guard.Deny, rule: guard.RuleExpression},
		{name: "no effect computed", body: write, preview: &guard.Preview{}, verdict: guard.Deny, rule: guard.RulePreviewFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := request(`{"path":"src/a.go","content":"x"}`, at)
			if c.env != "" {
				req.Call.Session.Environment = c.env
			}
			p := preview("file.write", at)
			if c.preview != nil {
				p = *c.preview
			}
			v := one(t, c.body).Decide(req, p)
			if v.Verdict != c.verdict || v.Rule != c.rule || v.Tier != c.tier {
				t.Fatalf("got %+v", v)
			}
			found := c.hazard == "" && len(v.Hazards) == 0
			for _, h := range v.Hazards {
				found = found || h.Kind == c.hazard
			}
			if !found {
				t.Errorf("hazards %+v, want %q", v.Hazards, c.hazard)
			}
			if v.Verdict != guard.Deny && v.Box.TTL == 0 {
				t.Error("no time box")
			}
		})
	}
}

func TestDecideEachDestination(t *testing.T) {
	x := one(t, "tier: T1_REVERSIBLE_WRITE\neffect: {file.move: {source: args.path, destination: args.content}}\ndeny: [{when: git_path(target.path), says: hands off}]\n")
	from, to := file("a"), file(".git/hooks/post-commit")
	req := request(`{"path":"a","content":".git/hooks/post-commit"}`, from)
	p := preview("file.move", from)
	p.Effects[0].Dest = &to
	if v := x.Decide(req, p); v.Rule != "servers.s.tools.t.deny[0]" || v.Reason != "hands off" {
		t.Errorf("a destination was not looked at: %+v", v)
	}
}

// TestDryRunIsARead: a dry run changes nothing and is a read; if binding and preview
// disagree, it is denied.
func TestDryRunIsARead(t *testing.T) {
	x := one(t, "tier: T1_REVERSIBLE_WRITE\neffect: {file.write: {path: args.path, content: args.content, dry_run: has(args.dry) && args.dry}}\nside_effects: [{says: 'adds {effect.added} lines'}]\n")
	at := file("a")
	dry, wet := request(`{"path":"a","content":"x","dry":true}`, at), request(`{"path":"a","content":"x"}`, at)
	none := guard.Preview{Effects: []guard.Effect{}}
	if v := x.Decide(dry, none); v.Verdict != guard.Allow || v.Tier != guard.T0Read {
		t.Errorf("trial run: %+v", v)
	}
	if v := x.Decide(wet, none); v.Verdict != guard.Deny {
		t.Errorf("a write without an effect: %+v", v)
	}
	if v := x.Decide(dry, preview("file.write", at)); v.Verdict != guard.Deny {
		t.Errorf("a trial run with an effect: %+v", v)
	}
	if v := x.Decide(wet, preview("file.write", at)); v.Verdict != guard.Ask || len(v.SideEffects) != 1 || v.SideEffects[0].Text != "adds 2 lines" {
		t.Errorf("a write: %+v", v)
	}
}

// TestDryRunOfAnOpaqueToolIsARead: what the policy calls a dry run is a read, even if
// the effect is not computed. Any other call waits, and one that is ambiguous does
// not run.
func TestDryRunOfAnOpaqueToolIsARead(t *testing.T) {
	x := one(t, "tier: T2_IRREVERSIBLE_WRITE\neffect: {opaque: {dry_run: has(args.dry) && args.dry}}\ndeny: [{when: has(args.force) && args.force, says: not by force}]\n")
	for args, c := range map[string]struct {
		verdict guard.Verdict
		tier    guard.Tier
	}{
		`{"dry":true}`:              {guard.Allow, guard.T0Read},
		`{"dry":false}`:             {guard.Ask, guard.T2IrreversibleWrite},
		`{}`:                        {guard.Ask, guard.T2IrreversibleWrite},
		`{"dry":true,"force":true}`: {guard.Deny, 0},
	} {
		req := request(args)
		vars, err := x.Vars(req)
		if err != nil {
			t.Fatal(err)
		}
		in := effect.Input{Call: req.Call, Vars: vars}
		if req.Targets, err = x.Binding.Resolve(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		p, err := x.Binding.Plan(t.Context(), in, req.Targets)
		if err != nil {
			t.Fatal(err)
		}
		if v := x.Decide(req, p); v.Verdict != c.verdict || c.tier != 0 && v.Tier != c.tier {
			t.Errorf("%s: %v, %v by %s, want %v, %v", args, v.Verdict, v.Tier, v.Rule, c.verdict, c.tier)
		}
	}
	req := request(`{"dry":"yes"}`)
	vars, err := x.Vars(req)
	if err != nil {
		t.Fatal(err)
	}
	in := effect.Input{Call: req.Call, Vars: vars}
	if req.Targets, err = x.Binding.Resolve(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if p, err := x.Binding.Plan(t.Context(), in, req.Targets); err == nil {
		t.Errorf("a trial run that is no boolean has a preview: %+v", p)
	}
}

func TestSensitiveReads(t *testing.T) {
	read := "tier: T0_READ\neffect: {file.read: {path: args.path}}\n"
	for _, c := range []struct {
		name, body, path string
		verdict          guard.Verdict
		sensitive        bool
		output           int64
	}{
		{"plain", read, "a", guard.Allow, false, 0},
		{"marked", read + "sensitive: true\n", "a", guard.Allow, true, SensitiveOutput},
		{"smaller output", read + "sensitive: true\nlimits: {output: 1KiB}\n", "a", guard.Allow, true, 1024},
		{"condition holds", read + "sensitive: [{when: secret_path(target.path)}]\n", ".env", guard.Allow, true, SensitiveOutput},
		{"condition does not hold", read + "sensitive: [{when: secret_path(target.path)}]\n", "env", guard.Allow, false, 0},
		{"confirmed", read + "sensitive: [{when: secret_path(target.path)}]\napproval: {required: true}\n", ".env", guard.Ask, true, SensitiveOutput},
		{"confirmed where it is sensitive", read + "sensitive: [{when: secret_path(target.path)}]\napproval: {required: true}\n", "env", guard.Allow, false, 0},
		{"always confirmed", read + "approval: {required: true}\n", "a", guard.Ask, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := file(c.path)
			at.Write = false
			v := one(t, c.body).Decide(request(`{"path":"`+c.path+`"}`, at), guard.Preview{})
			if v.Verdict != c.verdict || v.Sensitive != c.sensitive || v.Output != c.output || v.Tier != guard.T0Read {
				t.Errorf("got %+v", v)
			}
		})
	}
}

func TestSideEffects(t *testing.T) {
	at := file("db/1.sql")
	x := one(t, `tier: T2_IRREVERSIBLE_WRITE
effect: {file.write: {path: args.path, content: args.content}}
side_effects:
  - {when: "target.path.endsWith('.sql')", says: "runs {target.path} for {size(args.list)} hosts {{ok}}"}
  - {when: "target.path.endsWith('.go')", says: "compiles"}
  - {says: "list: {args.list}"}
`)
	req := request(`{"path":"db/1.sql","content":"x","list":["a","b"]}`, at)
	req.Snapshot.LastIdentical = req.Snapshot.Now.Add(-150 * time.Second)
	v := x.Decide(req, preview("file.write", at))
	want := []string{"NOT reversible", "runs db/1.sql for 2 hosts {ok}", "list: 2 items", "identical call ran 2 min ago"}
	var got []string
	for _, s := range v.SideEffects {
		got = append(got, s.Text)
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTimeBoxes(t *testing.T) {
	at := file("a")
	req := request(`{"path":"a","content":"x"}`, at)
	box := func(body, extra string) guard.TimeBox {
		s := compile(t, tool(body)+extra, definitionOf("t", anySchema))
		sv, _ := s.Server("s")
		x, _ := sv.Tool("t")
		return x.Decide(req, preview("file.write", at)).Box
	}
	for _, c := range []struct {
		body, extra string
		ttl, use    time.Duration
	}{
		{write, "", 15 * time.Minute, 2 * time.Minute},
		{write + "tiers_when: [{when: 'true', tier: T2_IRREVERSIBLE_WRITE}]\n", "", 5 * time.Minute, 2 * time.Minute},
		{write, "time_boxes: {T1_REVERSIBLE_WRITE: {ttl: 1m}}\n", time.Minute, 2 * time.Minute},
		{write + "approval: {ttl: 30s, use_within: 10s}\n", "time_boxes: {T1_REVERSIBLE_WRITE: {ttl: 1m}}\n", 30 * time.Second, 10 * time.Second},
	} {
		if got := box(c.body, c.extra); got.TTL != c.ttl || got.UseWithin != c.use {
			t.Errorf("%s%s: %+v", c.body, c.extra, got)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{write + "deny: [{when: \"target.pth == 'x'\"}]\n", "config.yaml:15:30: this expression does not compile: undefined field 'pth'"},
		{write + "deny: [{when: target.path}]\n", "yields string; true or false is needed"},
		{write + "side_effects: [{says: 'a {b'}]\n", "the braces of this sentence do not match"},
		{write + "side_effects: [{says: 'a {nope}'}]\n", "undeclared reference"},
		{"tier: T1_REVERSIBLE_WRITE\neffect: {file.write: {path: args.path}}\n", `needs "content"`},
		{"tier: T1_REVERSIBLE_WRITE\neffect: {file.write: {path: args.path, content: args.c, encoding: args.e}}\n", `no parameter "encoding"`},
		{"tier: T1_REVERSIBLE_WRITE\neffect: {file.write: {path: arg.path, content: args.c}}\n", "config.yaml:14:37: this expression does not compile: undeclared reference"},
		{write + "deny: [{when: \"args.path ==\"}]\n", "mismatched input '<EOF>' – it ends too early; complete it"},
		{write + "deny: [{when: \"pth == 'x'\"}]\n", "names are args, target"},
		{"tier: T1_REVERSIBLE_WRITE\neffect: opaque\ndeny: [{when: target.path == 'a'}]\n", "names no path"},
		{"tier: T0_READ\ndeny: [{when: effect.added > 0}]\n", "only reads"},
	} {
		_, err := tryCompile(t, tool(c.body))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot  %v\nwant %s", c.body, err, c.want)
		}
	}
}

func TestProfileFor(t *testing.T) {
	s := compile(t, "version: 1\nprofiles:\n  a: {roots: [/src], tenant: x, environment: dev}\n  b: {roots: [/src/live], tenant: x, environment: prod}\nservers: {}\n")
	for folder, want := range map[string]string{
		"/src": "a", "/src/shop": "a", "/src/live": "b", "/src/live/x": "b", "/src/liver": "a", "/srcs": "", "/": "", "src": "", "/src/../etc": "",
	} {
		p, ok := s.ProfileFor(folder)
		if p.Name != want || ok != (want != "") {
			t.Errorf("%s: %+v %v, want %q", folder, p, ok, want)
		}
	}
}

func TestHold(t *testing.T) {
	s := compile(t, tool(write)+"hold: {default: 20s, clients: {slow: 90s, patient: wait}}\n")
	for client, want := range map[string]time.Duration{"claude-code": 0, "patient": 0, "slow": 90 * time.Second, "": 20 * time.Second, "x": 20 * time.Second} {
		if got := s.Hold(client); got != want {
			t.Errorf("%q: %s, want %s", client, got, want)
		}
	}
}

// TestToolHashCoversExactlyWhatIsInForce: the hash of a tool changes with
// everything in force for it and with nothing else.
func TestToolHashCoversExactlyWhatIsInForce(t *testing.T) {
	base := one(t, write).Hash
	for _, body := range []string{
		write + "deny: [{when: 'false'}]\n", write + "limits: {rate: 5/m}\n", write + "approval: {ttl: 1m}\n", write + "side_effects: [{says: x}]\n",
		"tier: T2_IRREVERSIBLE_WRITE\neffect: {file.write: {path: args.path, content: args.content}}\n", write + "schema: {extra_members: allow}\n",
	} {
		if one(t, body).Hash == base {
			t.Errorf("the hash does not cover:\n%s", body)
		}
	}
	if one(t, "# a comment\n"+write+"\n\n").Hash != base {
		t.Error("the hash depends on where things stand")
	}
	a, b := compile(t, tool(write)), compile(t, tool(write), definitionOf("t", anySchema))
	if a.Hash() == b.Hash() {
		t.Error("the hash of the set does not cover what was accepted")
	}
	if compile(t, tool(write)).Hash() != a.Hash() {
		t.Error("the hash of the set is not stable")
	}
}
