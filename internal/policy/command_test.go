package policy

import (
	"slices"
	"testing"

	"github.com/mcpguard/mcpguard/internal/commands"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// ran returns the tool that runs commands beside one that reads files, and the
// preview of a command that changed nothing.
func ran(t *testing.T, read string) (*Tool, *Tool, guard.Preview) {
	t.Helper()
	src := head + "  s:\n    command: /bin/x\n    tenants: [acme]\n    environments: [dev]\n    tools:\n      t: {tier: T3_EXECUTE, sandbox: none, effect: {exec: {command: args.content}}}\n      r: {tier: T0_READ, effect: {file.read: {path: args.path}}" + read + "}\n"
	sv, _ := compile(t, src, definitionOf("t", anySchema), definitionOf("r", anySchema)).Server("s")
	command, _ := sv.Tool("t")
	reader, _ := sv.Tool("r")
	if command == nil || reader == nil {
		t.Fatal("the tools are not there")
	}
	return command, reader, guard.Preview{Effects: []guard.Effect{}, Change: guard.Change{Type: guard.ChangeExec, Facts: guard.Facts{Exec: &guard.ExecFacts{Line: "cat x", Parsed: true, Run: &guard.ExecRun{}}}}}
}

// TestCommandThatPassesIsHeldToTheRulesOfReads decides on a command that changed
// nothing as the same server's reading tool is decided on, for a file that the rule
// of that tool is about: the command may have read it.
func TestCommandThatPassesIsHeldToTheRulesOfReads(t *testing.T) {
	const hr = "under(target.path, 'hr')"
	for _, c := range []struct {
		name, read string
		verdict    guard.Verdict
		sensitive  bool
	}{
		{"no rules", "", guard.Allow, false},
		{"a label alone", ", labels: [private]", guard.Allow, false},
		{"sensitive", ", sensitive: true", guard.Allow, true},
		{"sensitive by its path", `, sensitive: [{when: "` + hr + `"}]`, guard.Allow, true},
		{"sensitive, and asked", `, sensitive: [{when: "` + hr + `"}], approval: {required: true}`, guard.Ask, true},
		{"every read is asked", ", approval: {required: true}", guard.Ask, false},
		{"denied by its path", `, deny: [{when: "` + hr + `"}]`, guard.Ask, false},
		{"allowed by its path", `, allow: [{when: "!` + hr + `"}]`, guard.Ask, false},
		{"what is closed in the sandbox", `, sensitive: [{when: secret_path(target.path)}], deny: [{when: secret_path(target.path)}], approval: {required: true}`, guard.Allow, false},
	} {
		command, reader, p := ran(t, c.read)
		req := request(`{"content":"cat hr/pay"}`)
		req.Definition = definitionOf("t", anySchema)
		got := command.Decide(req, p)
		if got.Verdict != c.verdict || got.Sensitive != c.sensitive || got.Tier != guard.T0Read {
			t.Errorf("%s: %s %v sensitive %v, want %s, sensitive %v", c.name, got.Verdict, got.Decision, got.Sensitive, c.verdict, c.sensitive)
		}
		if c.sensitive != (got.Output == SensitiveOutput) {
			t.Errorf("%s: its answer may have %d bytes", c.name, got.Output)
		}
		// The reading tool itself, on that file.
		req = request(`{"path":"hr/pay"}`, guard.Target{Kind: "file", Key: "/w/hr/pay", Path: "hr/pay", Root: "/w"})
		req.Call.Tool, req.Definition = "r", definitionOf("r", anySchema)
		read := reader.Decide(req, guard.Preview{})
		if read.Sensitive != got.Sensitive || read.Output != got.Output || (read.Verdict == guard.Allow) != (got.Verdict == guard.Allow) {
			t.Errorf("%s: the read is %s, sensitive %v, %d bytes; the command %s, sensitive %v, %d bytes", c.name, read.Verdict, read.Sensitive, read.Output, got.Verdict, got.Sensitive, got.Output)
		}
	}
}

// TestNoVerdictOnAPartOfARun has a run that wanted something passed as contained.
func TestNoVerdictOnAPartOfARun(t *testing.T) {
	for name, run := range map[string]guard.ExecRun{
		"wanted": {Wanted: []guard.ExecWant{{Kind: "host", What: "x"}}}, "stopped": {Stopped: "time"}, "left": {Left: []string{"sleep"}},
		"cut": {Cut: true}, "failed": {Failed: []string{"EXDEV"}},
	} {
		command, _, p := ran(t, "")
		p.Change.Exec.Run = &run
		if v := command.Decide(request(`{"content":"x"}`), p); v.Verdict != guard.Deny || v.Rule != guard.RuleNotContained {
			t.Errorf("%s: %s by %s", name, v.Verdict, v.Rule)
		}
	}
}

// TestUnchangedIsAskedAboutWhereThePolicyWantsIt decides on a command that changed
// nothing: it passes, but never in prod, nor where the configuration asks.
func TestUnchangedIsAskedAboutWhereThePolicyWantsIt(t *testing.T) {
	for name, c := range map[string]struct {
		environment string
		settings    string
		times       bool
		want        guard.Verdict
	}{
		"in dev":                      {"dev", "", false, guard.Allow},
		"in prod":                     {"prod", "", false, guard.Ask},
		"in prod, allowed":            {"prod", "unchanged: allow", false, guard.Ask},
		"in dev, asked":               {"dev", "unchanged: ask", false, guard.Ask},
		"only times, in dev":          {"dev", "", true, guard.Allow},
		"only times, in prod":         {"prod", "", true, guard.Ask},
		"only times, in dev, asked":   {"dev", "unchanged: ask", true, guard.Ask},
		"in dev, allowed by the file": {"dev", "unchanged: allow", false, guard.Allow},
	} {
		src := head + "  s:\n    command: /bin/x\n    tenants: [acme]\n    environments: [dev, prod]\n    tools:\n      t: {tier: T3_EXECUTE, sandbox: none, effect: {exec: {command: args.content}}}\n"
		if c.settings != "" {
			src += "commands: {" + c.settings + "}\n"
		}
		sv, _ := compile(t, src, definitionOf("t", anySchema)).Server("s")
		command, _ := sv.Tool("t")
		req := request(`{"content":"cat x"}`)
		req.Definition, req.Call.Session.Environment = definitionOf("t", anySchema), c.environment
		p := guard.Preview{Effects: []guard.Effect{}, Change: guard.Change{Type: guard.ChangeExec, Facts: guard.Facts{Exec: &guard.ExecFacts{Line: "cat x", Parsed: true, Run: &guard.ExecRun{}}}}}
		if c.times {
			p.Change.Exec.Run.Files, p.Change.Exec.Run.Times = 1, true
		}
		if v := command.Decide(req, p); v.Verdict != c.want {
			t.Errorf("%s: %s by %s, want %s", name, v.Verdict, v.Rule, c.want)
		}
	}
}

// TestTierGoesByWhatACommandChanged: files are T1, what undo does not bring back or
// what makes other programs run is T2.
func TestTierGoesByWhatACommandChanged(t *testing.T) {
	for kind, want := range map[string]guard.Tier{
		"": guard.T1ReversibleWrite, commands.HazardNotLanded: guard.T1ReversibleWrite,
		commands.HazardGitLoses: guard.T2IrreversibleWrite, commands.HazardGitPrograms: guard.T2IrreversibleWrite, commands.HazardGitDamaged: guard.T2IrreversibleWrite,
		commands.HazardGitUnread: guard.T2IrreversibleWrite, commands.HazardSetID: guard.T2IrreversibleWrite, commands.HazardNotShown: guard.T2IrreversibleWrite,
		commands.HazardStartup: guard.T2IrreversibleWrite,
	} {
		command, _, p := ran(t, "")
		p.Change.Exec.Run.Files = 1
		if kind != "" {
			p.Hazards = []guard.Hazard{{Kind: kind}}
		}
		req := request(`{"content":"x"}`)
		req.Definition = definitionOf("t", anySchema)
		v := command.Decide(req, p)
		if v.Tier != want || v.Verdict != guard.Ask {
			t.Errorf("%q: %s by %s, %s, want to be asked as %s", kind, v.Verdict, v.Rule, v.Tier, want)
		}
		if final := slices.Contains(v.SideEffects, guard.SideEffect{Text: notReversible}); final != (want == guard.T2IrreversibleWrite) {
			t.Errorf("%q: as %s it is said to be final: %v", kind, v.Tier, final)
		}
	}
}

// TestLandedChangesAreNotFinal: what undo takes back is not called irreversible,
// in whatever tier a condition of the policy has it.
func TestLandedChangesAreNotFinal(t *testing.T) {
	src := head + "  s:\n    command: /bin/x\n    tenants: [acme]\n    environments: [dev]\n    tools:\n      t:\n        tier: T3_EXECUTE\n        sandbox: none\n        effect: {exec: {command: args.content}}\n        tiers_when: [{when: 'true', tier: T2_IRREVERSIBLE_WRITE}]\n"
	sv, _ := compile(t, src, definitionOf("t", anySchema)).Server("s")
	command, _ := sv.Tool("t")
	for _, wanted := range []string{"", "network"} {
		p := guard.Preview{Effects: []guard.Effect{}, Change: guard.Change{Type: guard.ChangeExec, Facts: guard.Facts{Exec: &guard.ExecFacts{Line: "x", Parsed: true, Run: &guard.ExecRun{Files: 1}}}}}
		if wanted != "" {
			p.Change.Exec.Run.Wanted = []guard.ExecWant{{Kind: wanted}}
		}
		req := request(`{"content":"x"}`)
		req.Definition = definitionOf("t", anySchema)
		v := command.Decide(req, p)
		if final := slices.Contains(v.SideEffects, guard.SideEffect{Text: notReversible}); final != (wanted != "") || v.Tier < guard.T2IrreversibleWrite {
			t.Errorf("having wanted %q, as %s: said to be final: %v", wanted, v.Tier, final)
		}
	}
}
