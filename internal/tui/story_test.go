package tui

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
)

// two returns a daemon with a harmless and an irreversible change.
func two() *fakeDaemon {
	f := newFake()
	f.put(sample(1, t1, "edit_file", "src/tax.go"))
	d := sample(2, t2, "delete_file", "config/shop.yaml")
	d.SideEffects = []string{"NOT reversible"}
	f.put(d)
	return f
}

func (d *desk) said(n int) []said {
	d.t.Helper()
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	if len(d.f.words) != n {
		d.t.Fatalf("%d decisions were sent, want %d: %+v\n%s", len(d.f.words), n, d.f.words, d.screen())
	}
	return d.f.words
}

func TestStoryReviewAndApprove(t *testing.T) {
	d := newDesk(t, two())
	d.sees("2 waiting", "edit_file → src/tax.go", "rate, ok := rates[country]", "a approve", "live")
	d.press("a")
	d.sees("APPROVE", "reason:", "enter approve")
	d.write("fine, thanks")
	d.press("enter")
	w := d.said(1)[0]
	if w.id != sample(1, t1, "", "").ID || w.Decision != client.Allow || w.Reason != "fine, thanks" || w.Digest != sample(1, t1, "", "").Digest {
		t.Fatalf("got %+v", w)
	}
	d.sees("approved", "1 waiting")
	f := d.f.items[w.id]
	f.Status = client.Executed
	f.Receipt = &client.Receipt{Outcome: "ok", ReadBack: "verified"}
	d.f.put(*f)
	d.changed(w.id)
	d.sees("✓ executed", "receipt: ok, verified", "done: edit_file src/tax.go")
	d.offersNoDecision()
}

// offersNoDecision checks that the key line does not offer to decide what is
// shown.
func (d *desk) offersNoDecision() {
	d.t.Helper()
	lines := strings.Split(strings.TrimRight(d.screen(), "\n "), "\n")
	last := lines[len(lines)-1]
	if strings.Contains(last, "a approve") || strings.Contains(last, "d deny") || !strings.Contains(last, "next pending") {
		d.t.Errorf("the key line is %q", last)
	}
}

func TestStoryDenyCarriesFeedback(t *testing.T) {
	d := newDesk(t, two())
	d.press("d")
	d.sees("DENY", "reason, for the agent:")
	d.write("use the branch feature/tax")
	d.press("enter")
	if w := d.said(1)[0]; w.Decision != client.Deny || w.Reason != "use the branch feature/tax" {
		t.Fatalf("got %+v", w)
	}
	d.sees("denied; the agent gets your reason")
}

func TestStoryIrreversibleWantsEnterOnceMore(t *testing.T) {
	d := newDesk(t, two())
	d.press("down", "a")
	d.sees("step 1 of 2")
	d.press("down", "enter") // the first preset
	d.said(0)
	d.sees("step 2 of 2", "Enter approves it")
	d.press("esc")
	d.said(0)
	d.press("a", "enter") // the draft is still there
	d.press("enter")
	if w := d.said(1)[0]; w.id != sample(2, t2, "", "").ID {
		t.Fatalf("got %+v", w)
	}
}

func TestStoryExpiresWhileLooking(t *testing.T) {
	d := newDesk(t, two())
	d.press("a")
	d.write("almost there")
	d.wait(15 * time.Minute)
	d.sees("nothing was sent: it has expired", "expired")
	d.write("and adding")
	d.press("enter", "d", "a")
	d.sees("nothing was sent: it has expired")
	d.press("esc", "a")
	d.said(0)
	d.sees("it has expired")
	d.offersNoDecision()
}

func TestStoryStaleWhileTypingTheReason(t *testing.T) {
	d := newDesk(t, two())
	d.press("a")
	d.write("looks right")
	old := *d.f.items[sample(1, t1, "", "").ID]
	next := sample(3, t1, "edit_file", "src/tax.go")
	next.Replaces = old.ID
	next.Diff.Text = strings.ReplaceAll(next.Diff.Text, "rates[country]", "rates[home]")
	old.Status, old.ReplacedBy = client.Stale, next.ID
	d.f.put(old)
	d.f.put(next)
	d.changed(old.ID)
	d.changed(next.ID)
	d.sees("nothing was sent: the target has changed", "stale", "1 new")
	d.press("enter")
	d.said(0)
	d.press("esc", "c")
	d.sees("what differs between the two changes")
	d.press("a")
	d.said(0)
	d.sees("this is the comparison, not the change")
	d.press("c", "a")
	d.write("the new one is right, too")
	d.press("enter")
	if w := d.said(1)[0]; w.id != next.ID || w.Digest != next.Digest {
		t.Fatalf("got %+v", w)
	}
}

func TestStoryOtherDigestIsRefusedAndShown(t *testing.T) {
	d := newDesk(t, two())
	d.press("a")
	d.write("looks right")
	// The change moves on the daemon's side and no event has come yet.
	moved := *d.f.items[sample(1, t1, "", "").ID]
	moved.Digest = "sha256:" + strings.Repeat("ab", 32)
	moved.Diff.Text = strings.ReplaceAll(moved.Diff.Text, "rates[country]", "rates[elsewhere]")
	d.f.put(moved)
	d.press("enter")
	if w := d.said(1)[0]; w.Digest == moved.Digest {
		t.Fatal("the digest of a change that was never shown was sent")
	}
	d.sees("the change is different now", "rates[elsewhere]")
	d.key("a")
	d.seesNot("APPROVE")
}

func TestStoryDecidedElsewhere(t *testing.T) {
	d := newDesk(t, two())
	d.press("a")
	d.write("mine")
	id := sample(1, t1, "", "").ID
	other := *d.f.items[id]
	other.Status, other.Why = client.Denied, "denied by the reviewer"
	d.f.put(other)
	d.changed(id)
	d.sees("nothing was sent: it is now denied")
	d.press("esc", "a")
	d.said(0)
	d.sees("it is already denied")
}

func TestStoryUnreadAtT3IsRecorded(t *testing.T) {
	f := newFake()
	run := sample(1, t3, "run", "make deploy")
	run.Diff = client.NewDiff("unified", "--- a/x\n+++ b/x\n@@ -0,0 +1,200 @@\n"+strings.Repeat("+line\n", 200))
	f.put(run)
	d := newDesk(t, f)
	d.press("a")
	d.sees("has not been on the screen", "type unread:")
	d.press("enter")
	d.said(0)
	d.write("unread")
	d.press("enter")
	d.write("trusted script")
	d.press("enter", "enter")
	w := d.said(1)[0]
	var percent int
	if _, err := fmt.Sscanf(w.Reason, "trusted script [unread %d %%]", &percent); err != nil || percent < 50 || percent > 99 {
		t.Fatalf("the reason is %q", w.Reason)
	}
}

// TestT3AsksForUnreadAfterAJumpToTheEnd wants all of a change on the screen, not
// its beginning and its end.
func TestT3AsksForUnreadAfterAJumpToTheEnd(t *testing.T) {
	f := newFake()
	run := sample(1, t3, "run", "make deploy")
	run.Diff = client.NewDiff("unified", "--- a/x\n+++ b/x\n@@ -0,0 +1,200 @@\n"+strings.Repeat("+line\n", 200))
	f.put(run)
	d := newDesk(t, f)
	d.press("G", "a")
	d.sees("has not been on the screen", "type unread:")
	d.said(0)
}

func TestStoryT3ReadToTheEnd(t *testing.T) {
	f := newFake()
	run := sample(1, t3, "run", "make deploy")
	run.Diff = client.NewDiff("unified", "--- a/x\n+++ b/x\n@@ -0,0 +1,60 @@\n"+strings.Repeat("+line\n", 60))
	f.put(run)
	d := newDesk(t, f)
	for range 8 {
		d.press("space")
	}
	d.press("a")
	d.sees("step 1 of 2", "reason:")
	d.write("read it all")
	d.press("enter", "enter")
	if w := d.said(1)[0]; w.Reason != "read it all" {
		t.Fatalf("the reason is %q", w.Reason)
	}
}

func TestStoryT4WantsTheTargetTyped(t *testing.T) {
	f := newFake()
	f.put(sample(1, t4, "send_mail", "billing@example.com"))
	d := newDesk(t, f)
	d.press("space", "a")
	d.write("agreed with finance")
	d.press("enter")
	d.sees("billing@example.com", "target:")
	d.send(tea.PasteMsg{Content: "billing@example.com"})
	d.sees("this must be typed, not pasted")
	d.write("billing@example.org")
	d.press("enter")
	d.sees("that is not the target; type it exactly")
	d.said(0)
	d.send(codes["ctrl+u"])
	d.write("billing@example.com")
	d.press("enter")
	d.said(1)
}

func TestStoryBatch(t *testing.T) {
	f := newFake()
	for i := range 5 {
		f.put(sample(i+1, t1, "edit_file", fmt.Sprintf("src/f%d.go", i)))
	}
	odd := sample(9, t1, "write_file", "src/other.go")
	f.put(odd)
	bad := sample(10, t1, "edit_file", "src/bad.go")
	bad.Hazards = append(bad.Hazards, clientHazard())
	f.put(bad)
	d := newDesk(t, f)
	d.press("x", "x", "x")
	d.sees("3 marked")
	d.press("down", "down", "x")
	d.sees("not marked: its tool, run or kind differs")
	d.press("down")
	d.seesNot("not marked")
	d.press("x")
	d.sees("not marked: it has hazards")
	d.press("A")
	d.sees("3 changes, each decided by its own digest", "type how many (3)", "15 lines change (+9 -6)")
	d.write("2")
	d.press("enter")
	d.sees("type 3")
	d.send(codes["ctrl+u"])
	d.write("3")
	d.press("enter")
	d.write("the same rename everywhere")
	d.press("enter", "enter")
	seen := map[string]bool{}
	for i, w := range d.said(3) {
		want := sample(i+1, t1, "", "")
		if w.id != want.ID || w.Digest != want.Digest || seen[w.Digest] {
			t.Fatalf("got %+v", w)
		}
		seen[w.Digest] = true
	}
	d.sees("3 of 3 approved")
}

func TestBatchIsRefusedWhenAMemberChanges(t *testing.T) {
	f := newFake()
	for i := range 3 {
		f.put(sample(i+1, t1, "edit_file", fmt.Sprintf("src/f%d.go", i)))
	}
	d := newDesk(t, f)
	d.press("x", "x", "A")
	d.write("2")
	d.press("enter")
	gone := *d.f.items[sample(2, t1, "", "").ID]
	gone.Status = client.Cancelled
	d.f.put(gone)
	d.changed(gone.ID)
	d.sees("nothing was sent: one of the marked changes has changed or ended")
	d.press("enter", "enter")
	d.said(0)
}

func TestArrivalsKeepListAndCursor(t *testing.T) {
	d := newDesk(t, two())
	d.press("down")
	before := strings.Split(d.screen(), "\n")
	for i := range 3 {
		v := sample(20+i, t1, "edit_file", fmt.Sprintf("new/f%d.go", i))
		v.RequestedAt = start.Add(-time.Hour) // would sort first
		v.RunID = "run_01jq000000000000000000aaaa"
		d.f.put(v)
		d.changed(v.ID)
	}
	after := strings.Split(d.screen(), "\n")
	for i := 1; i < len(before); i++ {
		if before[i] != after[i] && i != len(before)-1 {
			t.Errorf("row %d changed:\n%s\n%s", i, before[i], after[i])
		}
	}
	d.sees("5 waiting", "3 new")
	d.press("m")
	d.seesNot("3 new")
	if d.m.queue.cursor != sample(2, t2, "", "").ID {
		t.Error("the cursor moved")
	}
}

func TestDaemonRestart(t *testing.T) {
	d := newDesk(t, two())
	d.f.down = errors.New("connection refused")
	d.events(client.Event{Kind: client.EventLost, Error: "connection refused"})
	d.sees("no daemon")
	d.wait(500 * time.Millisecond)
	d.send(askMsg{d.m.link.gen})
	d.sees("no daemon")
	// Meanwhile one ended and one is new.
	ended := *d.f.items[sample(1, t1, "", "").ID]
	ended.Status = client.Cancelled
	d.f.put(ended)
	d.f.put(sample(5, t1, "write_file", "notes.md"))
	d.f.down = nil
	d.wait(400 * time.Millisecond)
	d.send(askMsg{d.m.link.gen})
	d.sees("live", "cancelled", "1 new", "2 waiting")
}

func TestClockThatJumpsReadsAgain(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		d := newDesk(t, two())
		d.wait(time.Second)
		ended := *d.f.items[sample(1, t1, "", "").ID]
		ended.Status = client.Cancelled
		d.f.put(ended) // while the machine slept; no event came
		d.wait(time.Second)
		d.seesNot("cancelled")
		d.set = by
		d.wait(time.Second)
		d.sees("cancelled")
		d.press("down")
		d.wait(2 * time.Second)
		d.key("a")
		d.sees("APPROVE")
	}
}

// TestStoryUndo: what ran without being asked for says so, and a key proposes
// the way back; the key decides nothing.
func TestStoryUndo(t *testing.T) {
	f := two()
	ran := sample(3, t1, "write_file", "notes.md")
	ran.Status, ran.Post = client.Executed, true
	ran.Receipt = &client.Receipt{Outcome: "ok", ReadBack: "verified"}
	f.put(ran)
	gone := sample(4, t1, "write_file", "old.md")
	gone.Status = client.Denied
	f.put(gone)
	d := newDesk(t, f)
	d.press("2")
	d.sees("unasked " + tail(ran.ID))
	d.press("u") // the newest is the denied one
	d.sees("it is denied; only executed changes can be undone")
	d.press("j", "enter")
	d.sees("nobody: the policy lets it run", "u undo")
	d.press("u")
	d.sees("would undo 00000003 and is pending: press 1, then m")
	fresh := d.f.items[sample(900, t1, "", "").ID]
	if fresh == nil || fresh.Undoes != ran.ID || fresh.Status != client.Pending {
		t.Fatalf("got %+v", fresh)
	}
	d.changed(fresh.ID)
	d.press("1", "m")
	for range 3 {
		d.press("j")
	}
	d.sees("undoes " + tail(ran.ID))
	d.said(0)
	f.undoErr = errors.New("the file has changed since")
	d.press("2", "g", "j", "j", "u")
	d.sees("cannot be undone: the file has changed since")
}

// TestT4ConfirmationNamesMoreThanTheTool: what is typed at T4 says where it goes, where
// the daemon knows that.
func TestT4ConfirmationNamesMoreThanTheTool(t *testing.T) {
	for _, c := range []struct{ target, summary, want string }{
		{"hosts.txt", "overwrite hosts.txt (+1 −0)", "hosts.txt"},
		{"send_mail", "send to ann@example.com and 1 more", "ann@example.com and 1 more"},
		{"send_mail", "send to ann@example.com by slack", "ann@example.com by slack"},
		{"send_mail", "POST https://example.com/pay", "POST https://example.com/pay"},
		{"send_mail", "send to " + strings.Repeat("a", 99) + "…", "00000001"}, // cannot be typed
		{"send_mail", "call send_mail", "send_mail"},                          // nothing more is known
	} {
		d := sample(1, t4, "send_mail", c.target)
		d.Summary = c.summary
		if got := (&dialog{row: &entry{Approval: d.Approval}}).wanted(); got != c.want {
			t.Errorf("%q, %q: got %q, want %q", c.target, c.summary, got, c.want)
		}
	}
}

// TestStoryAlertUnasked: the alert about what ran without asking names the next
// step, leads to the change, and alarms no one by its colour.
func TestStoryAlertUnasked(t *testing.T) {
	f := two()
	ran := sample(3, t1, "write_file", "notes.md")
	ran.Status, ran.Post = client.Executed, true
	f.put(ran)
	f.alerts = []client.Alert{{ID: "alert_1", Kind: client.AlertRanUnasked, Subject: ran.ID, Text: "ran without asking: overwrite notes.md", Detail: "one\ntwo", Status: "raised", At: start}}
	d := newDesk(t, f)
	if d.m.alerts.grave() {
		t.Error("what ran as the policy says counts as grave")
	}
	d.press("7")
	d.sees("ran without asking", "enter details", "p acknowledge", "opens the details of "+tail(ran.ID), "u proposes an undo")
	if n := strings.Count(d.screen(), " detail  "); n != 1 {
		t.Errorf("the label stands %d times, want once", n)
	}
	d.press("enter")
	d.sees("details of "+tail(ran.ID), "u undo")
	f.alerts = append(f.alerts, client.Alert{ID: "alert_2", Kind: "diverged", Text: "the target is not what was approved", Status: "raised", At: start})
	d.m.alerts = f.alerts
	if !d.m.alerts.grave() {
		t.Error("a target that diverged does not count as grave")
	}
}

// TestStoryUnacceptedTools: what no agent sees is told of, and no longer than it
// is so, though no event says when it was accepted.
func TestStoryUnacceptedTools(t *testing.T) {
	f := newFake()
	f.status.Unaccepted = 13
	d := newDesk(t, f)
	d.sees("13 new tool definitions (4)", "13 tools, hidden from agents until accepted", "mcpguardd accept SERVER")
	f.status.Unaccepted = 0
	d.wait(statusEvery)
	if strings.Contains(d.screen(), "accept") {
		t.Errorf("it is still told:\n%s", d.screen())
	}
}

// TestServersSayNamesThatAreClose: what could make a reviewer take one tool for
// another, or one program for the one that was accepted, is said of its server.
func TestServersSayNamesThatAreClose(t *testing.T) {
	f := full()
	f.servers[0].Names = []string{"read_file and readFile are taken for one another"}
	f.servers[0].Changed = []string{"its program is another file than when its tools were accepted"}
	d := newDesk(t, f)
	d.size(120, 40)
	d.press("4")
	d.sees("read_file and readFile are taken for one another", "its program is another file than when its tools were accepted")
}
