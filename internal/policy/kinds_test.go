package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// TestHazardsAreNotShownAfterwards: a call with something that a reviewer must not miss is
// not shown afterwards.
func TestHazardsAreNotShownAfterwards(t *testing.T) {
	at := file("src/a.go")
	p := preview("file.write", at)
	p.Hazards = []guard.Hazard{{Kind: "executable", Text: "changes an executable file"}}
	v := one(t, write+"approval: {mode: post}\n").Decide(request(`{"path":"src/a.go","content":"x"}`, at), p)
	if v.Verdict != guard.Ask || v.Post {
		t.Errorf("%+v", v)
	}
}

// TestOnlyReversibleWritesAreShownAfterwards: what is sent, run or not computed
// needs approval in every mode, and so does a call without a known effect.
func TestOnlyReversibleWritesAreShownAfterwards(t *testing.T) {
	at := file("src/a.go")
	for name, spoil := range map[string]func(*guard.Preview){
		"not computed":        func(p *guard.Preview) { p.Effects[0].After.Computed = false },
		"before not computed": func(p *guard.Preview) { p.Effects[0].Before.Computed = false },
		"one of two":          func(p *guard.Preview) { p.Effects = append(p.Effects, guard.Effect{Kind: "http"}) },
		"said to be final":    func(p *guard.Preview) { p.SideEffects = []guard.SideEffect{{Text: "NOT reversible"}} },
		"paths ask":           func(p *guard.Preview) { p.Paths = guard.PathsAsk },
	} {
		p := preview("file.write", at)
		spoil(&p)
		v := one(t, write+"approval: {mode: post}\n").Decide(request(`{"path":"src/a.go","content":"x"}`, at), p)
		if v.Verdict != guard.Ask || v.Post {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// TestWritingSQLIsNotARead: a condition may let reads run, but not SQL that writes
// or cannot be parsed.
func TestWritingSQLIsNotARead(t *testing.T) {
	const body = "tier: T2_IRREVERSIBLE_WRITE\neffect: {sql: {statement: args.content, dialect: \"'sqlite'\"}}\n"
	target := guard.Target{Kind: "opaque", Key: "sql:s:", Write: true}
	for _, c := range []struct {
		name, when string
		facts      guard.SQLFacts
		verdict    guard.Verdict
		tier       guard.Tier
	}{
		{"a read", "!effect.writes", guard.SQLFacts{Understood: true}, guard.Allow, guard.T0Read},
		{"a write", "!effect.writes", guard.SQLFacts{Understood: true, Writes: true}, guard.Ask, guard.T2IrreversibleWrite},
		{"not understood", "!effect.writes", guard.SQLFacts{Writes: true}, guard.Ask, guard.T2IrreversibleWrite},
		{"a careless condition", "true", guard.SQLFacts{Understood: true, Writes: true}, guard.Ask, guard.T2IrreversibleWrite},
		{"a careless condition, not understood", "true", guard.SQLFacts{}, guard.Ask, guard.T2IrreversibleWrite},
		{"by table", "!effect.writes && effect.tables.all(t, t == 'users')", guard.SQLFacts{Understood: true,
			Statements: []guard.SQLStatement{{Verb: "SELECT", Reads: []string{"users"}}}}, guard.Allow, guard.T0Read},
		{"by another table", "!effect.writes && effect.tables.all(t, t == 'users')", guard.SQLFacts{Understood: true,
			Statements: []guard.SQLStatement{{Verb: "SELECT", Reads: []string{"users", "keys"}}}}, guard.Ask, guard.T2IrreversibleWrite},
	} {
		p := guard.Preview{
			Effects: []guard.Effect{{Kind: "sql", Resource: target}},
			Change:  guard.Change{Type: guard.ChangeSQL, Text: "x", Facts: guard.Facts{SQL: &c.facts}},
		}
		tool := one(t, body+"tiers_when: [{when: \""+c.when+"\", tier: T0_READ}]\n")
		v := tool.Decide(request(`{"path":"a","content":"SELECT 1"}`, target), p)
		if v.Verdict != c.verdict || v.Tier != c.tier {
			t.Errorf("%s: %s %s (%s)", c.name, v.Verdict, v.Tier, v.Reason)
		}
	}
}

// TestRulesSeeFacts: conditions can refer to recipients, domains, hosts and
// programs.
func TestRulesSeeFacts(t *testing.T) {
	target := guard.Target{Kind: "opaque", Key: "x", Write: true}
	for _, c := range []struct {
		effect, when string
		facts        guard.Facts
	}{
		{"message: {to: args.content}", "effect.domains.exists(d, d != 'mine.example') && size(effect.recipients) == 1",
			guard.Facts{Message: &guard.MessageFacts{To: []guard.Recipient{{Address: "a@x.example"}}, Domains: []guard.DomainCount{{Domain: "x.example", Count: 1}}}}},
		{"http: {url: args.content}", "effect.host == 'x.example' && effect.method == 'POST'", guard.Facts{HTTP: &guard.HTTPFacts{Host: "x.example", Method: "POST"}}},
		{"exec: {command: args.content}", "'rm' in effect.programs", guard.Facts{Exec: &guard.ExecFacts{Programs: []string{"/bin/rm"}}}},
	} {
		tool := one(t, "tier: T2_IRREVERSIBLE_WRITE\neffect: {"+c.effect+"}\ndeny: [{when: \""+c.when+"\", says: no}]\n")
		p := guard.Preview{Effects: []guard.Effect{{Kind: "x", Resource: target}}, Change: guard.Change{Text: "x", Facts: c.facts},
			SideEffects: []guard.SideEffect{{Text: "NOT reversible"}}}
		if v := tool.Decide(request(`{"path":"a","content":"x"}`, target), p); v.Verdict != guard.Deny {
			t.Errorf("%s: %+v", c.when, v)
		}
		p.Change.Facts = guard.Facts{}
		v := tool.Decide(request(`{"path":"a","content":"x"}`, target), p)
		if v.Verdict != guard.Ask || slices.Contains(v.SideEffects, p.SideEffects[0]) {
			t.Errorf("%s, of nothing: %+v", c.when, v)
		}
	}
}

// TestUndoComputesTheCall computes the call that undoes a change, from the
// original call and the record before it.
func TestUndoComputesTheCall(t *testing.T) {
	decode := func(s string) jsonvalue.Value {
		v, err := jsonvalue.Decode([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	const merge = "tier: T1_REVERSIBLE_WRITE\neffect: {json.merge: {read: {file: args.path}, merge: \"{'n': args.n}\"}}\n"
	session := request(`{}`).Call.Session
	for name, c := range map[string]struct {
		undo, before string
		tool, args   string
		err          string
	}{
		"none":              {"", `{"n":1}`, "", "", ""},
		"a way back":        {`undo: {tool: t, args: {path: args.path, n: record.n}}`, `{"n":1}`, "t", `{"n":1,"path":"a"}`, ""},
		"it was not":        {`undo: {tool: t, args: {path: args.path, n: "record == null ? 0 : 1"}}`, "", "t", `{"n":0,"path":"a"}`, ""},
		"under a condition": {`undo: {tool: t, when: "record.n > 1", args: {n: record.n}}`, `{"n":2}`, "t", `{"n":2}`, ""},
		"not now":           {`undo: {tool: t, when: "record.n > 1", args: {n: record.n}}`, `{"n":1}`, "", "", "no way back"},
		"not at all":        {`undo: {tool: t, args: {n: record.m}}`, `{"n":1}`, "", "", "undo, n"},
		"rounded":           {`undo: {tool: t, args: {n: record.n}}`, `{"n":123456789012345678901234567890}`, "", "", "would be rounded"},
	} {
		var before jsonvalue.Value
		if c.before != "" {
			before = decode(c.before)
		}
		tool, args, err := one(t, merge+c.undo+"\n").Undo(session, []byte(`{"path":"a","n":7}`), before)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %s", name, err, c.err)
			}
			continue
		}
		if err != nil || tool != c.tool || string(args) != c.args {
			t.Errorf("%s: %s %s %v, want %s %s", name, tool, args, err, c.tool, c.args)
		}
	}
	if _, err := tryCompile(t, tool(merge+"undo: {tool: t, args: {n: recrd.n}}\n"), definitionOf("t", anySchema)); err == nil || !strings.Contains(err.Error(), "does not compile") {
		t.Errorf("a variable that is not there: %v", err)
	}
}

// TestClaimIsShownAndDecidesNothing: the agent's stated reason is kept, with a size
// limit, and an unreadable one counts as none.
func TestClaimIsShownAndDecidesNothing(t *testing.T) {
	at := file("src/a.go")
	for _, c := range []struct{ claim, args, want string }{
		{"args.content", `{"path":"src/a.go","content":"because"}`, "because"},
		{"args.content", `{"path":"src/a.go","content":"` + strings.Repeat("é", 600) + `"}`, strings.Repeat("é", 500) + " …"},
		{"has(args.why) ? args.why : ''", `{"path":"src/a.go","content":"x"}`, ""},
		{"args.why", `{"path":"src/a.go","content":"x"}`, ""},
	} {
		v := one(t, write+"claim: \""+c.claim+"\"\n").Decide(request(c.args, at), preview("file.write", at))
		if v.Claim != c.want || v.Verdict != guard.Ask {
			t.Errorf("%s of %s: %q, %s (%s)", c.claim, c.args, v.Claim, v.Verdict, v.Reason)
		}
	}
}
