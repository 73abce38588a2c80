package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
)

// longHold is how long a write is held in the test that takes its time:
// MCPGUARD_LONG=1 runs it with the clients' own timeouts.
func longHold() time.Duration {
	if os.Getenv("MCPGUARD_LONG") != "" {
		return 90 * time.Second
	}
	return 0
}

// holding is a guard around the real filesystem server, with one file.
func holding(t *testing.T, settings string) (g *guard, path string) {
	t.Helper()
	node(t, filesystemServer)
	g = newGuard(t, settings)
	path = g.write("a.txt", "one\n")
	g.addFiles("files")
	return g, path
}

// landedOnce checks that a write was approved and happened exactly once.
func landedOnce(t *testing.T, g *guard, id, file, want string) {
	t.Helper()
	if got := g.read(file); got != want {
		t.Errorf("%s holds %q, want %q", file, got, want)
	}
	d := g.show(id)
	if d.Status != client.Executed || d.Receipt == nil || d.Receipt.Outcome != "ok" || d.Receipt.ReadBack != "verified" {
		t.Errorf("approval %s is %s with receipt %+v, want executed and verified", id, d.Status, d.Receipt)
	}
	if all := g.list("all"); len(all) != 1 {
		t.Errorf("there are %d approvals, want 1: %s", len(all), statuses(all))
	}
	authorized, done := 0, 0
	for _, r := range g.audited() {
		if r.Tool.Name != "edit_file" {
			continue
		}
		switch {
		case r.Event == "tool_call_authorized":
			authorized++
		case r.Event == "tool_call_completed" && r.Status == "ok":
			done++
		}
	}
	if authorized != 1 || done != 1 {
		t.Errorf("the audit log has %d executions begun and %d completed, want 1 and 1", authorized, done)
	}
}

func edit(path, old, new string) map[string]any {
	return map[string]any{"path": path, "edits": []any{map[string]any{"oldText": old, "newText": new}}}
}

// TestHeldWriteLandsByTheSecondCall: the SDK gives up after 60 s by default, so
// the guard answers before that; the same call made again waits on, and lands.
// An edit that ran twice would insert its line twice.
func TestHeldWriteLandsByTheSecondCall(t *testing.T) {
	t.Parallel()
	hold, timeout := "hold: {default: 1s}\n", options{Timeout: 30000}
	if longHold() > 0 {
		hold, timeout = "", options{}
	}
	g, path := holding(t, hold)
	c := g.sdk("impatient", "files")
	args := edit(path, "one\n", "one\ntwo\n")
	began := time.Now()

	first := c.startCall("edit_file", args, timeout)
	waiting := g.one()
	w := c.answer(first).word()
	if w.Status != "blocked_pending_approval" || w.ApprovalID != waiting.ID || !strings.Contains(w.Next, "same call again") {
		t.Fatalf("the first call was answered %+v", w)
	}
	second := c.startCall("edit_file", args, timeout)
	if again := g.one(); again.ID != waiting.ID {
		t.Fatalf("the second call made approval %s, want to join %s", again.ID, waiting.ID)
	}
	if g.read("a.txt") != "one\n" {
		t.Fatal("the file changed before the decision")
	}
	time.Sleep(time.Until(began.Add(longHold()))) // the 90 s that the test is about; none in the short form
	g.allow(waiting)
	if r := c.answer(second); !r.ok() {
		t.Fatalf("the second call was answered %s", r.raw)
	}
	landedOnce(t, g, waiting.ID, "a.txt", "one\ntwo\n")
}

// TestHeldWriteLandsByTheFirstCall: a client that waits as long as it hears of
// progress gets the answer by its first call.
func TestHeldWriteLandsByTheFirstCall(t *testing.T) {
	t.Parallel()
	g, path := holding(t, "hold: {default: 1s, clients: {patient: wait}}\n")
	c := g.sdk("patient", "files")
	began := time.Now()
	call := c.startCall("edit_file", edit(path, "one\n", "one\ntwo\n"), options{Timeout: 25000, ResetTimeoutOnProgress: true})
	waiting := g.one()
	seen := 0
	c.event("progress a second time", func(e sdkEvent) bool { // eight seconds, far beyond the hold of others
		if e.Progress != nil && strings.Contains(e.Progress.Message, waiting.ID) && e.Progress.Progress < 0 {
			seen++
		}
		return seen == 2
	})
	time.Sleep(time.Until(began.Add(longHold()))) // the 90 s that the test is about; none in the short form
	g.allow(waiting)
	if r := c.answer(call); !r.ok() {
		t.Fatalf("the call was answered %s", r.raw)
	}
	landedOnce(t, g, waiting.ID, "a.txt", "one\ntwo\n")
}

// TestDeniedWrite: the agent reads the reviewer's words, the file stays.
func TestDeniedWrite(t *testing.T) {
	t.Parallel()
	g, path := holding(t, "")
	c := g.sdk("agent", "files")
	call := c.startCall("write_file", map[string]any{"path": path, "content": "two\n"}, options{})
	a := g.one()
	g.deny(a, "not before the release, ask Kim")
	w := c.answer(call).word()
	if w.Status != "denied" || w.Reason != "not before the release, ask Kim" {
		t.Errorf("the agent reads %+v", w)
	}
	if d := g.show(a.ID); d.Status != client.Denied || d.Receipt != nil || len(d.Decisions) != 1 {
		t.Errorf("the approval is %s with receipt %+v", d.Status, d.Receipt)
	}
	if g.read("a.txt") != "one\n" {
		t.Error("a denied write changed the file")
	}
	// It is over: the same call asks anew.
	again := c.startCall("write_file", map[string]any{"path": path, "content": "two\n"}, options{})
	if b := g.one(); b.ID == a.ID {
		t.Error("a denied approval was opened again")
	} else {
		g.allow(b)
	}
	if r := c.answer(again); !r.ok() || g.read("a.txt") != "two\n" {
		t.Errorf("the approved write was answered %s", r.raw)
	}
}

// TestCancelledWrite: a client that takes its call back takes the approval with it.
func TestCancelledWrite(t *testing.T) {
	t.Parallel()
	g, path := holding(t, "")
	c := g.sdk("agent", "files")
	call := c.startCall("write_file", map[string]any{"path": path, "content": "two\n"}, options{})
	a := g.one()
	c.send(map[string]any{"cancel": call})
	if e := c.result(call); e.Error == nil {
		t.Errorf("a cancelled call was answered %s", e.raw)
	}
	g.ended(a.ID, client.Cancelled)
	if out := g.run(nil, "approve", "allow", a.ID, "--digest", a.Digest, "--reason", "too late"); out.code != 4 {
		t.Errorf("approving what was cancelled: %s", out)
	}
	// The session goes on, and the file is as it was.
	if r := c.call("read_text_file", map[string]any{"path": path}); r.text() != "one\n" {
		t.Errorf("the file reads %q", r.text())
	}
}

// TestDisconnectedWrite: when the client dies, what it waited for is cancelled
// and its server is gone.
func TestDisconnectedWrite(t *testing.T) {
	t.Parallel()
	g, path := holding(t, "")
	c := g.sdk("agent", "files")
	c.startCall("write_file", map[string]any{"path": path, "content": "two\n"}, options{})
	a := g.one()
	servers := below(g.daemon())
	c.kill()
	g.ended(a.ID, client.Cancelled)
	for _, p := range servers {
		if !gone(p.pid, 20*time.Second) {
			t.Errorf("the server outlived its client: %v", p)
		}
	}
	if g.read("a.txt") != "one\n" {
		t.Error("the write of a client that is gone changed the file")
	}
}

// TestExpiredWrite: nobody decides in time, so nothing happens.
func TestExpiredWrite(t *testing.T) {
	t.Parallel()
	g, path := holding(t, "time_boxes: {T1_REVERSIBLE_WRITE: {ttl: 5s}}\n")
	c := g.sdk("agent", "files")
	call := c.startCall("write_file", map[string]any{"path": path, "content": "two\n"}, options{})
	w := c.answer(call).word()
	if w.Status != "expired" {
		t.Fatalf("the agent reads %+v", w)
	}
	if d := g.ended(w.ApprovalID, client.Expired); d.Receipt != nil {
		t.Errorf("an expired approval has the receipt %+v", d.Receipt)
	}
	if out := g.run(nil, "approve", "allow", w.ApprovalID, "--digest", g.show(w.ApprovalID).Digest, "--reason", "too late"); out.code != 4 {
		t.Errorf("approving what has expired: %s", out)
	}
	if g.read("a.txt") != "one\n" {
		t.Error("an expired write changed the file")
	}
}

// TestLapsedApproval: an approval that nobody comes back for in time is void.
func TestLapsedApproval(t *testing.T) {
	t.Parallel()
	g, path := holding(t, "hold: {default: 1s}\ntime_boxes: {T1_REVERSIBLE_WRITE: {use_within: 1s}}\n")
	c := g.sdk("agent", "files")
	args := map[string]any{"path": path, "content": "two\n"}
	w := c.call("write_file", args).word()
	if w.Status != "blocked_pending_approval" {
		t.Fatalf("the agent reads %+v", w)
	}
	g.allow(g.show(w.ApprovalID).Approval)
	g.ended(w.ApprovalID, client.Lapsed)
	if again := c.call("write_file", args).word(); again.Status != "blocked_pending_approval" || again.ApprovalID == w.ApprovalID {
		t.Errorf("after the lapse the agent reads %+v", again)
	}
	if g.read("a.txt") != "one\n" {
		t.Error("a lapsed approval changed the file")
	}
}

// TestStaleWrite: the file changes between the review and the decision, so what
// was approved does not run; a fresh approval shows the true change.
func TestStaleWrite(t *testing.T) {
	t.Parallel()
	g, path := holding(t, "")
	c := g.sdk("claude-code", "files")
	call := c.startCall("edit_file", edit(path, "one\n", "ONE\n"), options{})
	old := g.one()
	g.write("a.txt", "zero\none\n") // an editor in another window
	g.allow(old)
	d := g.ended(old.ID, client.Stale)
	fresh := g.one()
	if d.ReplacedBy != fresh.ID || fresh.Replaces != old.ID || fresh.Digest == old.Digest {
		t.Errorf("the stale approval names %q, the fresh one is %s and names %q", d.ReplacedBy, fresh.ID, fresh.Replaces)
	}
	if diff := g.show(fresh.ID).Diff.Text; !strings.Contains(diff, " zero\n") {
		t.Errorf("the fresh diff does not show what is there now:\n%s", diff)
	}
	if g.read("a.txt") != "zero\none\n" {
		t.Fatal("a stale approval changed the file")
	}
	g.allow(fresh)
	if r := c.answer(call); !r.ok() {
		t.Fatalf("the call was answered %s", r.raw)
	}
	if got := g.read("a.txt"); got != "zero\nONE\n" {
		t.Errorf("the file holds %q", got)
	}
}
