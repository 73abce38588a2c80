package approve

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/localapi"
	"github.com/mcpguard/mcpguard/internal/safetext/hostile"
	"github.com/mcpguard/mcpguard/internal/store"
)

// poisoned is a store that has one text in every field that holds text.
type poisoned struct {
	*store.Store
	text string
}

func (p poisoned) approval(kind guard.ChangeType) guard.Approval {
	s := p.text
	quoted, _ := json.Marshal(s)
	return guard.Approval{
		ID: id(1), Status: guard.Pending, Tenant: s, Environment: s, Workflow: s, Server: s, Tool: s, ServerVersion: s, CorrelationID: s,
		RunID: guard.RunID(s), SessionID: guard.SessionID(s), CallID: guard.CallID(s), Tier: guard.T2IrreversibleWrite, PolicyHash: s, Rule: guard.Rule(s), Digest: digest.Sum([]byte(s)),
		Args: append(append([]byte(`{"x":`), quoted...), '}'), Claim: s, Why: s, Replaces: guard.ApprovalID(s), ReplacedBy: guard.ApprovalID(s),
		RequestedBy: guard.Origin{Client: s, Version: s, Executable: s, Folder: s, User: s},
		Preview: guard.Preview{
			Summary: s, SideEffects: []guard.SideEffect{{Text: s}}, Hazards: []guard.Hazard{{Kind: s, Text: s}},
			Change:  guard.Change{Type: kind, Text: s, Patch: quoted, Preview: []byte(`[{"op":"replace","path":` + string(quoted) + `,"from":` + string(quoted) + `,"to":` + string(quoted) + `}]`)},
			Effects: []guard.Effect{{Kind: s, Resource: guard.Target{Kind: s, Key: s, Path: s, Root: s}, Dest: &guard.Target{Key: s}, Before: guard.State{Kind: s}}},
		},
		Signoffs: []guard.Signoff{{Reason: s, By: guard.Approver{User: s, Name: s, Executable: s, Terminal: s, Key: s}}},
		Receipt:  &guard.Receipt{Outcome: guard.Outcome(s), ReadBack: guard.ReadBack(s), Detail: s, Reconciled: true},
	}
}

func (p poisoned) Approval(id guard.ApprovalID) (guard.Approval, error) {
	kinds := map[byte]guard.ChangeType{'1': guard.ChangeUnified, '2': guard.ChangeOpaque, '3': guard.ChangeJSONPatch}
	return p.approval(kinds[id[len(id)-1]]), nil
}

func (p poisoned) Approvals(f store.Filter) ([]guard.Approval, error) {
	if f.After != "" {
		return nil, nil
	}
	return []guard.Approval{p.approval(guard.ChangeUnified)}, nil
}

func (p poisoned) Count(store.Filter) (int, error) { return 1, nil }

func (p poisoned) Alerts(bool) ([]store.Alert, error) {
	return []store.Alert{{ID: "evt_1", Kind: p.text, Text: p.text, Detail: p.text, Status: store.AlertRaised, By: guard.Approver{Name: p.text}}}, nil
}

func (p poisoned) Switches() []guard.Switch {
	return []guard.Switch{{Scope: p.text, Reason: p.text, By: guard.Approver{Name: p.text}}}
}

func (p poisoned) Events(store.EventFilter) ([]store.Record, error) {
	s := p.text
	e := audit.New(audit.ApprovalDecided, start)
	e.Reason, e.Rule, e.Status, e.TenantID = s, guard.Rule(s), audit.Status(s), s
	e.Tool = audit.Tool{Server: s, Name: s, Version: s}
	e.Origin = audit.Origin{Client: s, Executable: s, Folder: s}
	e.Gates.ApprovalID, e.RunID = guard.ApprovalID(s), guard.RunID(s)
	raw, err := e.Encode()
	if err != nil { // a status that is no word: the log refuses it, and so the reader sees a damaged record
		raw, _ = json.Marshal(map[string]string{"event": s, "reason": s})
	}
	return []store.Record{{Index: 0, Raw: raw, Event: e}}, nil
}

// failing answers every decision with an error that quotes the text.
type failing struct {
	localapi.Decider
	text string
}

func (failing) Rivals() map[guard.ApprovalID]guard.ApprovalID { return nil }

func (f failing) Decide(_ context.Context, id guard.ApprovalID, _ guard.Signoff) (guard.Approval, error) {
	return guard.Approval{}, &store.StateError{ID: id, Status: guard.Denied, Why: f.text}
}

// TestPromise7_HostileTextStaysText puts every case of the corpus into every
// field and checks every byte that the commands print.
func TestPromise7_HostileTextStaysText(t *testing.T) {
	for _, c := range hostile.Corpus() {
		t.Run(c.Name, func(t *testing.T) {
			r := newRig(t)
			r.stop()
			r.status.PolicyProblem, r.status.StoreProblem, r.status.Level = c.Text, c.Text, c.Text
			r.openPoisoned(c.Text)
			for _, args := range [][]string{
				{"--list"}, {"--list", "--status", "all"}, nil, {"stats"}, {"log"}, {"ack"}, {"pause", "--reason=looking into it"},
				{"show", string(id(1))}, {"show", string(id(2))}, {"show", string(id(3))}, {"show", string(id(1)), "--diff"},
				{"deny", string(id(1)), "--reason=not this one"}, {"__complete", "show", ""}, {"__complete", "resume", ""},
				{"show", c.Text}, {"deny", c.Text, "--reason=not this one"}, {c.Text}, {"--list", "--status", c.Text}, {"--list", "--json=" + c.Text}, {"log", "--since", c.Text}, {"pause", c.Text, "--reason=x y z"}, {"--" + c.Text}, {"ack", c.Text},
			} {
				for name, m := range map[string]mode{"coloured": coloured, "ascii": {terminal: true, ascii: true, width: 80}, "pipe": pipe} {
					_, stdout, stderr := r.run(m, args...)
					if name == "pipe" || len(args) > 0 && args[0] == "__complete" {
						stdout = tabs(t, args, stdout)
					}
					if err := hostile.Check([]byte(stdout), m.colours); err != nil {
						t.Errorf("approve %q, %s, stdout: %v in %q", args, name, err, stdout)
					}
					if err := hostile.Check([]byte(stderr), false); err != nil {
						t.Errorf("approve %q, %s, stderr: %v in %q", args, name, err, stderr)
					}
				}
			}
			for _, args := range [][]string{{"--list", "--json"}, {"--list", "--json=summary,server"}, {"show", string(id(1)), "--json"}, {"log", "--json"}, {"stats", "--json"}} {
				for _, m := range []mode{coloured, pipe} {
					_, stdout, stderr := r.run(m, args...)
					if err := hostile.Check([]byte(stdout), false); err != nil {
						t.Errorf("approve %q: %v in %q", args, err, stdout)
					}
					if strings.Contains(c.Text, "\x00") && args[0] == "stats" && strings.Contains(stderr, "nul in name") {
						continue // a name of such a server is refused as the daemon's answer is read
					}
					if !json.Valid([]byte(stdout)) {
						t.Errorf("approve %q: not JSON: %q, stderr %q", args, stdout, stderr)
					}
				}
			}
			_, stdout, _ := r.run(pipe, "--list", "--json=summary")
			var back []struct{ Summary string }
			if err := json.Unmarshal([]byte(stdout), &back); err != nil || len(back) != 1 || back[0].Summary != strings.ToValidUTF8(c.Text, "\ufffd") && !strings.Contains(back[0].Summary, "\ufffd") {
				t.Errorf("the summary comes back as %q: %v", back, err)
			}
		})
	}
}

// tabs takes the program's own tabs out of its output, after counting them.
func tabs(t *testing.T, args []string, out string) string {
	t.Helper()
	if len(args) == 1 && args[0] == "--list" {
		for line := range strings.Lines(out) {
			if n := strings.Count(line, "\t"); n != 8 {
				t.Errorf("%q: %d tabs in %q, want 8", args, n, line)
			}
		}
	}
	return strings.ReplaceAll(out, "\t", " ")
}

// openPoisoned serves the text in every field.
func (r *rig) openPoisoned(text string) {
	r.t.Helper()
	var err error
	r.store, err = store.Open(store.Options{Path: r.paths.DB(), Clock: r.clock})
	if err != nil {
		r.t.Fatal(err)
	}
	r.shown = poisoned{r.store, text}
	r.decider = failing{text: text}
	r.serve()
}

// TestTerminal asks a real terminal, with the settings that turn colours off.
func TestTerminal(t *testing.T) {
	control, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	defer tty.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 77}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		environ []string
		colours bool
		width   int
	}{
		{[]string{"HOME=/home/me", "TERM=xterm-256color"}, true, 77},
		{[]string{"HOME=/home/me", "TERM=xterm", "COLUMNS=120"}, true, 120},
		{[]string{"HOME=/home/me", "TERM=xterm", "NO_COLOR=1"}, false, 77},
		{[]string{"HOME=/home/me", "TERM=xterm", "NO_COLOR=please"}, false, 77},
		{[]string{"HOME=/home/me", "TERM=xterm", "NO_COLOR="}, true, 77},
		{[]string{"HOME=/home/me", "TERM=dumb", "COLORTERM=truecolor"}, false, 77},
		{[]string{"HOME=/home/me"}, false, 77},
	} {
		a, err := newApp(nil, tty, os.Stderr, c.environ)
		if err != nil || !a.terminal || a.colours != c.colours || a.width != c.width {
			t.Errorf("%v: terminal %v, colours %v, width %d, %v", c.environ, a.terminal, a.colours, a.width, err)
		}
	}
}
