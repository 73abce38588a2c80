package approve

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// scene is what the golden files show: one ordinary write, one with hazards, one
// soon over, one denied.
func scene(t *testing.T) (*rig, []guard.Approval) {
	r := newRig(t)
	s := r.session()
	var list []guard.Approval
	list = append(list, r.pending(s, 1))
	r.clock.Advance(time.Second)
	list = append(list, r.pending(s, 2, func(a *guard.Approval) {
		a.Tier = guard.T2IrreversibleWrite
		a.Tool = "delete_file"
		a.Preview.Summary = "delete config/production/database.yaml, which is not under version control and long"
		a.Preview.SideEffects = []guard.SideEffect{{Text: "NOT reversible"}, {Text: "file is outside version control"}}
		a.Preview.Hazards = []guard.Hazard{{Kind: "bidi_control", Text: "1 character that reorders text, on line 3"}, {Kind: "coarse_diff", Text: "the diff is coarse"}}
		a.Claim = "clean up"
		a.Box.TTL = 3 * time.Minute
	}))
	r.clock.Advance(time.Second)
	list = append(list, r.pending(s, 3))
	if code, _, stderr := r.run(pipe, "deny", string(list[2].ID), "--reason", "wrong branch: use feature/tax"); code != 0 {
		t.Fatal(stderr)
	}
	r.clock.Advance(150 * time.Second)
	return r, list
}

func TestGolden(t *testing.T) {
	r, list := scene(t)
	one, two, denied := string(list[0].ID), string(list[1].ID), string(list[2].ID)
	for name, c := range map[string]struct {
		mode mode
		args []string
	}{
		"list-100":        {terminal, []string{"--list"}},
		"list-60":         {mode{terminal: true, width: 60}, []string{"--list"}},
		"list-colour":     {coloured, []string{"--list", "--status", "all"}},
		"list-ascii":      {mode{terminal: true, width: 100, ascii: true}, []string{"--list"}},
		"list-pipe":       {pipe, []string{"--list", "--status", "all"}},
		"list-none":       {terminal, []string{"--list", "--status", "lapsed"}},
		"list-json":       {pipe, []string{"--list", "--json=id,status,tier,bucket,server,tool,tenant,environment,runId,summary,sideEffects,hazards,requestedAt,expiresAt,digest"}},
		"list-json-term":  {terminal, []string{"--list", "--json=status,id"}},
		"show":            {terminal, []string{"show", one}},
		"show-colour":     {coloured, []string{"show", two}},
		"show-denied":     {terminal, []string{"show", denied[23:]}},
		"show-diff":       {pipe, []string{"show", one, "--diff"}},
		"show-diff-color": {coloured, []string{"show", one, "--diff"}},
		"show-json":       {pipe, []string{"show", two, "--json=id,arguments,diff,decisions,receipt,requestedBy"}},
		"home":            {terminal, nil},
		"stats":           {terminal, []string{"stats"}},
		"help":            {terminal, []string{"--help"}},
		"help-allow":      {terminal, []string{"allow", "--help"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := r.run(c.mode, c.args...)
			if code != exitDone || stderr != "" {
				t.Errorf("exit %d, stderr %q", code, stderr)
			}
			golden(t, name, stdout)
		})
	}
}

// TestHazardBadge: the badge names the approval that is in conflict.
func TestHazardBadge(t *testing.T) {
	other := client.Hazard{Kind: client.Contested, Text: "another open approval changes the same file or record: appr_01m7ys8d13f7krn10qjd1emv5d"}
	for want, hazards := range map[string][]client.Hazard{
		"[1 hazard] ":                          {{Kind: "x", Text: "y"}},
		"[2 hazards] ":                         {{Kind: "x", Text: "y"}, {Kind: "z"}},
		"[conflicts with jd1emv5d] ":           {other},
		"[conflicts with jd1emv5d, 1 hazard] ": {{Kind: "x", Text: "y"}, other},
		"[conflicts with ] ":                   {{Kind: client.Contested}},
	} {
		if got := hazardBadge(hazards); got != want {
			t.Errorf("%+v: got %q, want %q", hazards, got, want)
		}
	}
}

// TestDiffRestores pipes the JSON's text into what a program would read.
func TestDiffRestores(t *testing.T) {
	r := newRig(t)
	var want string
	a := r.pending(r.session(), 1, func(a *guard.Approval) {
		a.Preview.Change.Text += "\u202e\x1b[2J\u00fc\U000e0041\n"
		want = a.Preview.Change.Text
	})
	_, stdout, _ := r.run(pipe, "show", string(a.ID), "--json=diff")
	var v struct{ Diff struct{ Text string } }
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || v.Diff.Text != want {
		t.Errorf("%v: got %q, want %q", err, v.Diff.Text, want)
	}
	if !strings.Contains(stdout, "ü") || !strings.Contains(stdout, `\u202e`) || !strings.Contains(stdout, `\udb40\udc41`) {
		t.Errorf("escaped as %q", stdout)
	}
}

// TestExitCodes is the table of the documentation.
func TestExitCodes(t *testing.T) {
	r := newRig(t)
	s := r.session()
	a, b, late := r.pending(s, 1), r.pending(s, 2), r.pending(s, 3)
	digest := a.Digest.String()
	const reason = "--reason=as discussed"
	steps := []struct {
		want   int
		stderr string // part of it
		args   []string
	}{
		{exitDone, "", []string{"--list"}},
		{exitPending, "", []string{"--list", "--exit-status"}},
		{exitPending, "", []string{"--list", "--exit-status", "--status", "denied"}},
		{exitPending, "", []string{"--list", "--exit-status", "--count"}},
		{exitPending, "", []string{"--count", "--exit-status"}},
		{exitDone, "", []string{"--count"}},
		{exitUsage, "--count", []string{"--count", "--watch"}},
		{exitUsage, "not a status", []string{"--count", "--status", "open"}},
		{exitUsage, "no command", []string{"allwo"}},
		{exitUsage, "did you mean", []string{"shwo"}},
		{exitUsage, "did you mean \"approve --list\"?", []string{"list"}},
		{exitUsage, "unknown flag", []string{"--lst"}},
		{exitUsage, "belongs to --list", []string{"--json"}},
		{exitUsage, "not a status", []string{"--list", "--status", "open"}},
		{exitUsage, "the fields are", []string{"--list", "--json=id,colour"}},
		{exitUsage, "arguments", []string{"--list", "--json=arguments"}},
		{exitUsage, "--count", []string{"--list", "--count", "--json"}},
		{exitUsage, "--watch", []string{"--list", "--watch", "--exit-status"}},
		{exitUsage, "run_", []string{"--list", "--run", "x"}},
		{exitUsage, "ID", []string{"show"}},
		{exitUsage, "ID", []string{"show", "a", "b"}},
		{exitUsage, "choose one", []string{"show", string(a.ID), "--json", "--diff"}},
		{exitUsage, "at least 4", []string{"show", "x"}},
		{exitUsage, "3 approvals fit", []string{"deny", "appr_01kjx0000000", reason}},
		{exitUsage, "--digest is required", []string{"allow", string(a.ID), reason}},
		{exitUsage, "a reason is required", []string{"allow", string(a.ID), "--digest", digest}},
		{exitUsage, "at least 3", []string{"deny", string(a.ID), "--reason", " x "}},
		{exitUsage, "12", []string{"allow", string(a.ID), reason, "--digest", digest[:7+11]}},
		{exitUsage, "12", []string{"allow", string(a.ID), reason, "--digest", "sha256:zzzzzzzzzzzz"}},
		{exitUsage, "--since", []string{"log", "--since", "yesterday"}},
		{exitUsage, "tool_call_requested", []string{"log", "--type", "x"}},
		{exitUsage, "--reason", []string{"pause"}},
		{exitUsage, "no server", []string{"pause", "fils", reason}},
		{exitError, "nothing is paused", []string{"resume", "files"}},
		{exitError, "no open alert", []string{"ack", "abcdefgh"}},
		{exitNotFound, "no approval fits", []string{"show", "zzzzzzzz"}},
		{exitNotFound, "no approval", []string{"deny", string(guard.NewApprovalID()), reason}},
		{exitRefused, "the digest differs", []string{"allow", string(a.ID), reason, "--digest", b.Digest.String()}},
		{exitRefused, "the digest differs", []string{"deny", string(a.ID), reason, "--digest", b.Digest.String()[7:20]}},
		{exitDone, "", []string{"allow", string(a.ID)[23:], reason, "--digest", digest[7 : 7+12]}},
		{exitRefused, "already", []string{"allow", string(a.ID), reason, "--digest", digest}},
		{exitRefused, "approve show", []string{"deny", string(a.ID), reason}},
		{exitDone, "", []string{"deny", string(b.ID)[24:], reason, "--json=status"}},
		{exitPending, "", []string{"--list", "--exit-status"}},
		{exitDone, "", []string{"deny", string(late.ID), reason}},
		{exitDone, "", []string{"--list", "--exit-status", "--status", "all"}},
		{exitDone, "", []string{"pause", "files/write_file", reason}},
		{exitDone, "", []string{"resume", "files/write_file"}},
		{exitDone, "", []string{"log", "--approval", string(a.ID)[23:], "--json"}},
		{exitDone, "", []string{"completion", "bash"}},
		{exitDone, "", []string{"--version"}},
	}
	for _, c := range steps {
		code, stdout, stderr := r.run(pipe, c.args...)
		if code != c.want || !strings.Contains(stderr, c.stderr) || (c.stderr == "") != (stderr == "") {
			t.Errorf("approve %q: exit %d, stderr %q; want %d, %q", c.args, code, stderr, c.want, c.stderr)
		}
		if code != exitDone && code != exitPending && stdout != "" {
			t.Errorf("approve %q: fails and prints %q", c.args, stdout)
		}
		if stderr != "" && lines(stderr) < 2 {
			t.Errorf("approve %q: does not say what to do: %q", c.args, stderr)
		}
	}
	// Expired, not permitted, not reachable.
	c := r.pending(s, 4)
	r.clock.Advance(16 * time.Minute)
	if code, _, stderr := r.run(pipe, "allow", string(c.ID), reason, "--digest", c.Digest.String()); code != exitRefused || !strings.Contains(stderr, "expired") {
		t.Errorf("expired: exit %d, %q", code, stderr)
	}
	d := r.pending(s, 5)
	r.unsigned = "never"
	for _, args := range [][]string{{"allow", string(d.ID), "--digest", d.Digest.String(), reason}, {"deny", string(d.ID), reason}, {"pause", reason}} {
		if code, _, stderr := r.run(pipe, args...); code != exitRefused || !strings.Contains(stderr, client.CodeSignature) || !strings.Contains(stderr, "approvers.unsigned: never") {
			t.Errorf("%s when not permitted: exit %d, %q", args[0], code, stderr)
		}
	}
	r.stop()
	for _, args := range [][]string{nil, {"--list"}, {"--list", "--watch"}, {"show", string(d.ID)}, {"deny", string(d.ID), reason}, {"log"}, {"stats"}, {"ack"}, {"ack", "log"}, {"pause", reason}} {
		if code, stdout, stderr := r.run(pipe, args...); code != exitUnreachable || stdout != "" || !strings.Contains(stderr, "mcpguardd serve") {
			t.Errorf("approve %q without a daemon: exit %d, %q, %q", args, code, stdout, stderr)
		}
	}
}

// TestAutostart starts the daemon on demand, once.
func TestAutostart(t *testing.T) {
	r := newRig(t)
	r.stop()
	starts := 0
	run := func(args ...string) int {
		a := r.app(pipe)
		a.out, a.err = io.Discard, io.Discard
		a.start = func(context.Context) error { starts++; r.open(); return nil }
		return a.run(ctx, args)
	}
	if code := run("--list", "--no-autostart"); code != exitUnreachable || starts != 0 {
		t.Errorf("--no-autostart: exit %d, %d starts", code, starts)
	}
	if run("__complete", "show", ""); starts != 0 {
		t.Error("completion starts a daemon")
	}
	if code := run("--list"); code != exitDone || starts != 1 {
		t.Errorf("exit %d, %d starts, want one", code, starts)
	}
	if code := run("--list"); code != exitDone || starts != 1 {
		t.Errorf("exit %d, %d starts, want one", code, starts)
	}
}

// lineWriter passes on each line as it is written.
type lineWriter struct {
	mu  sync.Mutex
	buf bytes.Buffer
	got chan string
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(b)
	for {
		line, err := w.buf.ReadString('\n')
		if err != nil {
			w.buf.Reset()
			w.buf.WriteString(line)
			return len(b), nil
		}
		w.got <- strings.TrimSuffix(line, "\n")
	}
}

// watching runs a command that does not end by itself.
func (r *rig) watching(m mode, args ...string) (got <-chan string, stop func() int) {
	r.t.Helper()
	w := &lineWriter{got: make(chan string, 100)}
	a := r.app(m)
	a.out, a.err = w, io.Discard
	cancelled, cancel := context.WithCancel(ctx)
	code := make(chan int, 1)
	go func() { code <- a.run(cancelled, args) }() // ends in stop
	return w.got, sync.OnceValue(func() int { cancel(); return <-code })
}

func expect(t *testing.T, got <-chan string, parts ...string) string {
	t.Helper()
	select {
	case line := <-got:
		for _, p := range parts {
			if !strings.Contains(line, p) {
				t.Errorf("got %q, want a line with %q", line, p)
			}
		}
		return line
	case <-time.After(20 * time.Second):
		t.Fatalf("no line came; want one with %q", parts)
		return ""
	}
}

func TestWatch(t *testing.T) {
	r := newRig(t)
	s := r.session()
	a := r.pending(s, 1)
	all, stopAll := r.watching(pipe, "--list", "--watch", "--json=id,status")
	defer stopAll()
	expect(t, all, string(a.ID), `"pending"`)
	denied, stopDenied := r.watching(terminal, "--list", "--watch", "--status", "denied")
	defer stopDenied()

	b := r.pending(s, 2)
	expect(t, all, string(b.ID), `"pending"`)
	if code, _, stderr := r.run(pipe, "deny", string(a.ID), "--reason", "not this one"); code != 0 {
		t.Fatal(stderr)
	}
	expect(t, all, string(a.ID), `"denied"`)
	expect(t, denied, shortID(string(a.ID)), "denied")

	r.stop() // the daemon restarts; what it held for a call is cancelled
	r.open()
	line := expect(t, all, string(b.ID))
	for !strings.Contains(line, `"cancelled"`) { // it may be told first that it still waits
		line = expect(t, all, string(b.ID))
	}
	if a, b := stopAll(), stopDenied(); a != exitDone || b != exitDone {
		t.Errorf("ended with %d and %d", a, b)
	}
}

func TestLog(t *testing.T) {
	r := newRig(t)
	s := r.session()
	a := r.pending(s, 1)
	follow, stop := r.watching(pipe, "log", "--follow", "--type", "approval_decided,approval_requested")
	defer stop()
	expect(t, follow, "approval_requested", string(a.ID))
	if code, _, stderr := r.run(pipe, "deny", string(a.ID), "--reason", "not\tthis one"); code != 0 {
		t.Fatal(stderr)
	}
	line := expect(t, follow, "approval_decided", "deny", "not⇥")
	if got := len(strings.Split(line, "\t")); got != 11 {
		t.Errorf("%d columns, want 11: %q", got, line)
	}
	if code := stop(); code != exitDone {
		t.Errorf("ended with %d", code)
	}
	_, stdout, _ := r.run(pipe, "log", "--approval", string(a.ID)[23:], "--json")
	var records []client.Record
	if err := json.Unmarshal([]byte(stdout), &records); err != nil || len(records) < 2 {
		t.Errorf("%v: %s", err, stdout)
	}
	if !slices.IsSortedFunc(records, func(a, b client.Record) int { return int(a.Index - b.Index) }) {
		t.Errorf("not in order: %s", stdout)
	}
	_, stdout, _ = r.run(pipe, "log", "-n", "1")
	if lines(stdout) != 1 {
		t.Errorf("-n 1 prints %q", stdout)
	}
	if _, stdout, _ := r.run(terminal, "log", "--verdict", "deny"); lines(stdout) != 1 || !strings.Contains(stdout, "deny") {
		t.Errorf("denials: %q", stdout)
	}
}

func TestPauseAndResume(t *testing.T) {
	r := newRig(t)
	if _, stdout, _ := r.run(terminal, "pause", "--reason", "looking into it"); !strings.Contains(stdout, "everything") || !r.store.Switches()[0].Stops("files", "x") {
		t.Errorf("paused: %q", stdout)
	}
	if _, stdout, _ := r.run(terminal); !strings.Contains(stdout, "paused") {
		t.Errorf("the overview does not tell: %q", stdout)
	}
	if _, stdout, _ := r.run(terminal, "resume"); !strings.Contains(stdout, "resumed  everything\nnothing is paused") || len(r.store.Switches()) != 0 {
		t.Errorf("resumed: %q", stdout)
	}
}

func TestCompletion(t *testing.T) {
	r := newRig(t)
	r.pending(r.session(), 1, func(a *guard.Approval) { a.Preview.Summary = "edit\x1b[2J\tx\ny" })
	code, stdout, _ := r.run(pipe, "__complete", "allow", "")
	if code != 0 || !strings.HasPrefix(stdout, "4x7k2mq1\tfiles/write_file: edit⟨ESC⟩[2J") || strings.Contains(stdout, "\x1b") {
		t.Errorf("exit %d, %q", code, stdout)
	}
	if _, stdout, _ := r.run(pipe, "__complete", "pause", "f"); !strings.Contains(stdout, "files/write_file") {
		t.Errorf("scopes: %q", stdout)
	}
	if _, stdout, _ := r.run(pipe, "__complete", "--status", ""); !strings.Contains(stdout, "pending") {
		t.Errorf("statuses: %q", stdout)
	}
}

// TestEnvironment reads what a terminal is from the environment.
func TestEnvironment(t *testing.T) {
	for _, c := range []struct {
		environ []string
		ascii   bool
	}{
		{[]string{"HOME=/home/me", "LANG=C"}, true},
		{[]string{"HOME=/home/me", "LANG=C", "LC_ALL=en_US.UTF-8"}, false},
		{[]string{"HOME=/home/me"}, false},
	} {
		a, err := newApp(nil, io.Discard, io.Discard, c.environ)
		if err != nil || a.terminal || a.colours || a.safe.ASCII != c.ascii {
			t.Errorf("%v: %+v, %v", c.environ, a, err)
		}
	}
}

func TestSpelling(t *testing.T) {
	for in, want := range map[int]string{0: "0:00", 59: "0:59", 252: "4:12", 7500: "2h 5m"} {
		if got := left(in); got != want {
			t.Errorf("left(%d) = %q, want %q", in, got, want)
		}
	}
	ids := []string{"appr_00000000000000000aaaaaaaaa", "appr_00000000000000000baaaaaaaa"}
	if got := distinct(ids, 0); got != "aaaaaaaaa" {
		t.Errorf("distinct = %q", got)
	}
	for header, want := range map[string][2]int{"@@ -1,2 +3 @@ x": {2, 1}, "@@ -0,0 +1,12 @@": {0, 12}, "@@ -": {0, 0}, "@@ -1,x +1,y @@": {0, 0}} {
		if old, fresh := hunkCounts(header); [2]int{old, fresh} != want {
			t.Errorf("%q has %d and %d lines, want %v", header, old, fresh, want)
		}
	}
}
