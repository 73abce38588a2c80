package approve

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/store"
)

// TestPromise5_RolledBackLogIsNoticed restores an old copy of the database, as
// someone would who wants to hide a decision or a call.
func TestPromise5_RolledBackLogIsNoticed(t *testing.T) {
	r := newRig(t)
	s := r.session()
	a := r.pending(s, 1)
	if code, _, stderr := r.run(pipe, "--list"); code != exitDone || stderr != "" {
		t.Fatalf("exit %d, %q", code, stderr)
	}
	r.stop()
	old := map[string][]byte{}
	for _, suffix := range []string{"", ".key", ".head"} {
		b, err := os.ReadFile(r.paths.DB() + suffix)
		if err != nil {
			t.Fatal(err)
		}
		old[suffix] = b
	}
	r.open()
	r.pending(s, 2)
	if code, _, stderr := r.run(pipe, "--list"); code != exitDone || stderr != "" {
		t.Fatalf("exit %d, %q", code, stderr)
	}
	r.stop()
	for suffix, b := range old {
		if err := os.WriteFile(r.paths.DB()+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.open()

	const reason = "--reason=as discussed"
	code, stdout, stderr := r.run(pipe, "--list")
	if code != exitError || !strings.Contains(stderr, "ALARM") || !strings.Contains(stderr, "approve ack log") {
		t.Errorf("list: exit %d, %q, %q", code, stdout, stderr)
	}
	if code, _, stderr := r.run(pipe, "allow", string(a.ID), "--digest", a.Digest.String(), reason); code != exitRefused || !strings.Contains(stderr, "nothing can be approved") {
		t.Errorf("allow: exit %d, %q", code, stderr)
	}
	if code, _, stderr := r.run(pipe, "ack", "log"); code != exitDone {
		t.Errorf("ack log: exit %d, %q", code, stderr)
	}
	if code, _, stderr := r.run(pipe, "stats"); code != exitDone || strings.Contains(stderr, "ALARM") {
		t.Errorf("after ack log: exit %d, %q", code, stderr)
	}
	// An unreadable pin does not count as a first visit, and does not prevent
	// a denial.
	if err := os.WriteFile(r.app(pipe).pinPath(), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := r.pending(s, 3)
	if code, _, _ := r.run(pipe, "allow", string(b.ID), "--digest", b.Digest.String(), reason); code != exitRefused {
		t.Errorf("allow with a damaged pin: exit %d", code)
	}
	if code, _, stderr := r.run(pipe, "deny", string(b.ID), reason); code != exitDone || !strings.Contains(stderr, "ALARM") {
		t.Errorf("deny with a damaged pin: exit %d, %q", code, stderr)
	}
}

// TestAlertsAreShownUntilAcknowledged follows one alert.
func TestAlertsAreShownUntilAcknowledged(t *testing.T) {
	r := newRig(t)
	err := r.store.RaiseAlert(ctx, store.Alert{Kind: "policy_widened", Key: "x", Text: "the policy allows more than before", Detail: "files: delete_file is allowed now"})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []mode{terminal, pipe} {
		code, stdout, stderr := r.run(m, "--list")
		if code != exitDone || !strings.Contains(stderr, "allows more than before") || !strings.Contains(stderr, "delete_file") || !strings.Contains(stderr, "approve ack ") || strings.Contains(stdout, "ALERT") {
			t.Fatalf("exit %d, %q, %q", code, stdout, stderr)
		}
	}
	_, stdout, _ := r.run(pipe, "ack")
	ref, _, _ := strings.Cut(stdout, "\t")
	if code, stdout, stderr := r.run(terminal, "ack", shortID(ref)); code != exitDone || !strings.Contains(stdout, "acknowledged") {
		t.Fatalf("exit %d, %q, %q", code, stdout, stderr)
	}
	if _, _, stderr := r.run(terminal, "--list"); stderr != "" {
		t.Errorf("still shown: %q", stderr)
	}
	r.status.PolicyProblem = "config.yaml:3:1: unknown key"
	if _, _, stderr := r.run(terminal, "--list"); !strings.Contains(stderr, "config.yaml:3:1") {
		t.Errorf("a configuration that does not load is not told: %q", stderr)
	}
}

// TestAlertsAboveListAreBounded: alerts that only inform come last, and only
// the first of many are shown.
func TestAlertsAboveListAreBounded(t *testing.T) {
	r := newRig(t)
	for i := range 8 {
		r.clock.Advance(time.Minute)
		kind := client.AlertRanUnasked
		if i == 0 {
			kind = "diverged"
		}
		if err := r.store.RaiseAlert(ctx, store.Alert{Kind: kind, Key: fmt.Sprint(i), Text: fmt.Sprintf("%s number %d", kind, i)}); err != nil {
			t.Fatal(err)
		}
	}
	_, _, stderr := r.run(pipe, "--list")
	first, _, _ := strings.Cut(stderr, "\n")
	if !strings.Contains(first, "diverged number 0") || strings.Count(stderr, "ALERT") != maxNotices || !strings.Contains(stderr, "and 3 alerts more") {
		t.Errorf("%s", stderr)
	}
	code, stdout, _ := r.run(pipe, "ack", client.AlertRanUnasked)
	if code != exitDone || strings.Count(stdout, "acknowledged") != 7 {
		t.Errorf("exit %d, %s", code, stdout)
	}
	if _, _, stderr := r.run(pipe, "--list"); strings.Count(stderr, "ALERT") != 1 {
		t.Errorf("left over: %s", stderr)
	}
}

// TestListsNameUnacceptedTools: above each list it says which tools no client
// sees until a person accepts them.
func TestListsNameUnacceptedTools(t *testing.T) {
	r := newRig(t)
	r.servers = []client.Server{
		{Name: "github", Tools: []client.ServerTool{{Name: "search", Accepted: true}, {Name: "merge"}, {Name: "wipe", Tier: "NEVER"}},
			Waiting: []client.DefinitionDiff{{Tool: "merge", Change: "changed"}, {Tool: "star", Change: "new"}}},
		{Name: "notes", Tools: []client.ServerTool{{Name: "write"}}},
		{Name: "done", Tools: []client.ServerTool{{Name: "read", Accepted: true}}},
	}
	want := "approve: 2 tools of 2 servers wait for acceptance\n  github (1)\n  notes (1)\n  look at them with `mcpguardd accept NAME --show`\n" +
		"approve: 1 tool of github is not named by the policy\n  `mcpguardd accept github` lists what there is\n"
	for _, args := range [][]string{{"--list"}, {}} {
		if _, out, stderr := r.run(mode{}, args...); stderr != want || strings.Contains(out, "github") {
			t.Errorf("approve %v: got %q and %q, want %q", args, out, stderr, want)
		}
	}
}
