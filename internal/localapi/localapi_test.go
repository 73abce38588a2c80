package localapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/store"
)

var ctx = context.Background()

// TestPlainRequestIsServed checks that the refusals above do not simply refuse
// everything.
func TestPlainRequestIsServed(t *testing.T) {
	r := newRig(t, nil)
	res := r.raw(request("GET", "/v1/approvals", ""))
	if res.StatusCode != 200 || res.Header.Get(client.HeaderProtocol) != "1" || res.Header.Get(client.HeaderVersion) != "9.9.9" || res.Header.Get("Cache-Control") != "no-store" {
		body, _ := io.ReadAll(res.Body)
		t.Errorf("got %d %v %s", res.StatusCode, res.Header, body)
	}
}

func TestListAndGet(t *testing.T) {
	r := newRig(t, nil)
	s := r.session()
	one := r.pending(s, "one")
	r.clock.Advance(time.Second)
	two := r.pending(s, "two")
	r.clock.Advance(10 * time.Second)

	page := must(r.c.List(ctx, client.Filter{Status: []string{client.Pending}}))(t)
	if len(page.Approvals) != 2 || page.Approvals[0].ID != string(two.ID) || page.Next != "" {
		t.Fatalf("got %+v, want the two, the newest first", page)
	}
	got := page.Approvals[1]
	if got.SecondsLeft != 15*60-11 || got.Bucket != "write" || got.Tier != "T1_REVERSIBLE_WRITE" || got.Digest != one.Digest.String() || !got.Held ||
		got.ApprovalID != got.ID || got.TenantID != "acme" || len(got.SideEffects) != 1 || len(got.Hazards) != 1 || got.RequestedBy.Client != "claude-code" {
		t.Errorf("the approval reads as %+v", got)
	}
	// Page by page.
	all := must(r.c.ListAll(ctx, client.Filter{Limit: 2, Oldest: true}))(t)
	if len(all) != 2 || all[0].ID != string(one.ID) {
		t.Errorf("the oldest first: %+v", all)
	}
	first := must(r.c.List(ctx, client.Filter{Limit: 1}))(t)
	if first.Next != string(two.ID) {
		t.Errorf("next is %q, want %s", first.Next, two.ID)
	}
	second := must(r.c.List(ctx, client.Filter{Limit: 1, After: first.Next}))(t)
	if len(second.Approvals) != 1 || second.Approvals[0].ID != string(one.ID) || second.Next != "" {
		t.Errorf("the second page is %+v", second)
	}
	if n := must(r.c.Count(ctx, client.Filter{Run: string(s.RunID)}))(t); n != 2 {
		t.Errorf("count %d, want 2", n)
	}

	d := must(r.c.Get(ctx, string(one.ID)))(t)
	if d.Diff.Text != one.Preview.Change.Text || string(d.Arguments) != string(one.Args) || d.Diff.Type != "unified" || len(d.Effects) != 1 || d.Effects[0].Key != "/ws/a.txt" {
		t.Errorf("the detail reads as %+v", d)
	}
	for _, ref := range []string{string(one.ID)[23:], "appr_" + string(one.ID)[20:], string(one.ID)[5:30]} {
		if d, err := r.c.Get(ctx, ref); err != nil || d.ID != string(one.ID) {
			t.Errorf("Get(%q) = %s, %v", ref, d.ID, err)
		}
	}
	var p *client.Problem
	if _, err := r.c.Get(ctx, string(one.ID)[5:9]); !errors.As(err, &p) || p.Code != client.CodeAmbiguous || len(p.Candidates) != 2 || !errors.Is(err, client.ErrRequest) {
		t.Errorf("the common beginning of both gives %v", err)
	}
	if _, err := r.c.Get(ctx, "zzzzzzzz"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("an identifier that nothing has gives %v", err)
	}
	if _, err := r.c.Get(ctx, string(guard.NewApprovalID())); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("an identifier that nothing has gives %v", err)
	}
	if _, err := r.c.Get(ctx, "../.."); !errors.Is(err, client.ErrRequest) {
		t.Errorf("no identifier gives %v", err)
	}
}

func TestListWithSomeFields(t *testing.T) {
	r := newRig(t, nil)
	a := r.pending(r.session(), "one", func(a *guard.Approval) { a.Preview.Summary = "<b>\xff\x1b" })
	list := must(r.c.ListRaw(ctx, client.Filter{Fields: []string{"status", "id", "useBy", "hazards", "summary"}}))(t)
	want := `{"status":"pending","id":"` + string(a.ID) + `","useBy":null,"hazards":[{"kind":"coarse_diff","text":"the diff is coarse"}],"summary":"<b>\ufffd\u001b"}`
	if len(list) != 1 || string(list[0]) != want {
		t.Errorf("got %s, want %s", list, want)
	}
	if _, err := r.c.ListRaw(ctx, client.Filter{Fields: []string{"id", "arguments"}}); !errors.Is(err, client.ErrRequest) {
		t.Errorf("an unknown member gives %v", err)
	}
}

// TestPromise2_InvalidUTF8IsNotLost: a change that JSON cannot carry as text
// arrives byte for byte.
func TestPromise2_InvalidUTF8IsNotLost(t *testing.T) {
	r := newRig(t, nil)
	text := "@@ -1 +1 @@\n-a\xff\n+a\xfe\n"
	a := r.pending(r.session(), "x", func(a *guard.Approval) { a.Preview.Change.Text = text })
	d := must(r.c.Get(ctx, string(a.ID)))(t)
	if got := string(d.Diff.Bytes()); got != text {
		t.Errorf("got %q, want %q", got, text)
	}
}

func TestDecide(t *testing.T) {
	r := newRig(t, nil)
	s := r.session()
	a, b := r.pending(s, "one"), r.pending(s, "two")

	var p *client.Problem
	wrong := r.word(a, client.Allow)
	wrong.Digest = b.Digest.String()
	if _, err := r.c.Decide(ctx, string(a.ID), wrong); !errors.As(err, &p) || p.Status != 409 || p.Code != client.CodeDigest || p.Digest != a.Digest.String() || p.Approval == nil || p.Approval.ID != string(a.ID) || !errors.Is(err, client.ErrRefused) {
		t.Errorf("another digest gives %v %+v", err, p)
	}
	short := r.word(a, client.Allow)
	short.Reason = " x "
	if _, err := r.c.Decide(ctx, string(a.ID), short); !errors.As(err, &p) || p.Code != client.CodeBadReason {
		t.Errorf("a short reason gives %v", err)
	}
	short.Reason = "\u200b\u2060\u2800 \u3164"
	if _, err := r.c.Decide(ctx, string(a.ID), short); !errors.As(err, &p) || p.Code != client.CodeBadReason {
		t.Errorf("a reason that nobody can see gives %v", err)
	}
	none := r.word(a, client.Allow)
	none.Digest = ""
	if _, err := r.c.Decide(ctx, string(a.ID), none); !errors.Is(err, client.ErrRequest) {
		t.Errorf("no digest gives %v", err)
	}
	odd := r.word(a, "yes")
	if _, err := r.c.Decide(ctx, string(a.ID), odd); !errors.Is(err, client.ErrRequest) {
		t.Errorf("another word gives %v", err)
	}
	if _, err := r.c.Decide(ctx, string(a.ID)[20:], r.word(a, client.Allow)); !errors.Is(err, client.ErrRequest) {
		t.Errorf("a shortened identifier gives %v", err)
	}
	if now := must(r.store.Approval(a.ID))(t); now.Status != guard.Pending {
		t.Fatalf("after refused words the approval is %s", now.Status)
	}

	d := must(r.c.Decide(ctx, string(a.ID), r.word(a, client.Allow)))(t)
	if d.Status != client.Approved || len(d.Decisions) != 1 || d.Decisions[0].Name != "me" || d.Decisions[0].PID == 0 || d.Decisions[0].Executable == "" || d.SecondsLeft != 120 || d.Diff.Text == "" {
		t.Errorf("approved reads as %+v", d)
	}
	if _, err := r.c.Decide(ctx, string(a.ID), r.word(a, client.Deny)); !errors.As(err, &p) || p.Status != 409 || p.Code != client.CodeDecided || p.State != client.Approved {
		t.Errorf("a second word gives %v", err)
	}
	d = must(r.c.Decide(ctx, string(b.ID), r.word(b, client.Deny)))(t)
	if d.Status != client.Denied || d.Why != "as discussed" {
		t.Errorf("denied reads as %+v", d)
	}
	late := r.pending(s, "three")
	r.clock.Advance(16 * time.Minute)
	if _, err := r.c.Decide(ctx, string(late.ID), r.word(late, client.Allow)); !errors.As(err, &p) || p.Status != 409 || p.Code != client.CodeEnded || p.State != client.Expired {
		t.Errorf("a late word gives %v", err)
	}
	if _, err := r.c.Decide(ctx, string(guard.NewApprovalID()), r.word(a, client.Allow)); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("an unknown approval gives %v", err)
	}
}

// TestStaleNamesItsSuccessor decides on an approval that was replaced
// meanwhile.
func TestStaleNamesItsSuccessor(t *testing.T) {
	r := newRig(t, nil)
	s := r.session()
	a := r.pending(s, "one")
	fresh := r.approval(s, a.CallID, "two")
	must(r.store.Replace(ctx, a.ID, fresh))(t)
	var p *client.Problem
	_, err := r.c.Decide(ctx, string(a.ID), r.word(a, client.Allow))
	if !errors.As(err, &p) || p.Status != 409 || p.State != client.Stale || p.ReplacedBy != string(fresh.ID) || p.Digest != fresh.Digest.String() || p.Approval == nil || p.Approval.Diff.Text == "" {
		t.Errorf("got %v %+v", err, p)
	}
}

// TestPromise3_OneOfManyDecisionsWins lets many reviewers decide at once.
func TestPromise3_OneOfManyDecisionsWins(t *testing.T) {
	r := newRig(t, nil)
	a := r.pending(r.session(), "one")
	var wg sync.WaitGroup
	results := make([]error, 16)
	for i := range results {
		wg.Go(func() {
			_, results[i] = r.c.Decide(ctx, string(a.ID), r.word(a, []string{client.Allow, client.Deny}[i%2]))
		})
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		var p *client.Problem
		switch {
		case err == nil:
			won++
		case !errors.As(err, &p) || p.Code != client.CodeDecided:
			t.Errorf("a loser got %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d words won, want 1", won)
	}
}

func TestSwitches(t *testing.T) {
	r := newRig(t, nil)
	var p *client.Problem
	for scope, want := range map[string]string{"fils": client.CodeUnknownScope, "files/write": client.CodeUnknownScope, "files/": client.CodeUnknownScope} {
		if _, err := r.c.SetSwitch(ctx, scope, "looking into it"); !errors.As(err, &p) || p.Code != want {
			t.Errorf("%q gives %v, want %s", scope, err, want)
		}
	}
	if _, err := r.c.SetSwitch(ctx, "", ""); !errors.As(err, &p) || p.Code != client.CodeBadReason {
		t.Errorf("no reason gives %v", err)
	}
	if _, err := r.c.SetSwitch(ctx, "", "\u200b\u200b\u200b"); !errors.As(err, &p) || p.Code != client.CodeBadReason {
		t.Errorf("a reason that nobody can see gives %v", err)
	}
	for _, scope := range []string{"", "files", "files/write_file"} {
		list := must(r.c.SetSwitch(ctx, scope, "looking into it"))(t)
		if len(list) != 1 || list[0].Scope != scope || list[0].By != "me" {
			t.Errorf("switches are %+v", list)
		}
		if len(must(r.c.Switches(ctx))(t)) != 1 || !r.store.Switches()[0].Stops("files", "write_file") {
			t.Error("the switch is not set")
		}
		if list := must(r.c.ClearSwitch(ctx, scope))(t); len(list) != 0 {
			t.Errorf("after clearing: %+v", list)
		}
	}
	if _, err := r.c.ClearSwitch(ctx, "files"); !errors.As(err, &p) || p.Code != client.CodeNothingToClear {
		t.Errorf("clearing nothing gives %v", err)
	}
}

func TestAlerts(t *testing.T) {
	r := newRig(t, nil)
	err := r.store.RaiseAlert(ctx, store.Alert{Kind: "policy_widened", Key: "x", Text: "the policy allows more", Detail: "+ files/delete"})
	if err != nil {
		t.Fatal(err)
	}
	list := must(r.c.Alerts(ctx, false))(t)
	if len(list) != 1 || list[0].Kind != "policy_widened" || list[0].Status != "raised" {
		t.Fatalf("alerts are %+v", list)
	}
	if s := must(r.c.Status(ctx))(t); s.Alerts != 1 || s.Protocol != client.Protocol || s.Unsigned != "any" || s.Version != "9.9.9" {
		t.Errorf("the status is %+v", s)
	}
	v := must(r.c.Acknowledge(ctx, list[0].ID))(t)
	if v.Status != "acknowledged" || v.By != "me" {
		t.Errorf("acknowledged reads as %+v", v)
	}
	var p *client.Problem
	if _, err := r.c.Acknowledge(ctx, list[0].ID); !errors.As(err, &p) || p.Status != 409 {
		t.Errorf("again gives %v", err)
	}
	if _, err := r.c.Acknowledge(ctx, string(guard.NewEventID())); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("an unknown alert gives %v", err)
	}
	if list := must(r.c.Alerts(ctx, false))(t); len(list) != 0 {
		t.Errorf("still waiting: %+v", list)
	}
	if list := must(r.c.Alerts(ctx, true))(t); len(list) != 1 {
		t.Errorf("all alerts: %+v", list)
	}
}

func TestSessionsAndServers(t *testing.T) {
	r := newRig(t, nil)
	s := r.session()
	r.pending(s, "one")
	r.mu.Lock()
	r.live.sessions = []client.Session{SessionOf(s)}
	r.mu.Unlock()
	list := must(r.c.Sessions(ctx))(t)
	if len(list) != 1 || list[0].Pending != 1 || list[0].Origin.PID != 42 {
		t.Errorf("sessions are %+v", list)
	}
	if servers := must(r.c.Servers(ctx))(t); len(servers) != 1 || servers[0].Name != "files" {
		t.Errorf("servers are %+v", servers)
	}
}

// TestErrorsAreMappedToProblems maps every error that callers branch on, and
// hides all others.
func TestErrorsAreMappedToProblems(t *testing.T) {
	a := New(Config{Watch: func() Watcher { return nil }})
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{store.ErrNotFound, 404, client.CodeNotFound},
		{fmt.Errorf("deciding: %w", store.ErrDigest), 409, client.CodeDigest},
		{&store.StateError{Status: guard.Expired}, 409, client.CodeEnded},
		{fmt.Errorf("x: %w", &store.StateError{Status: guard.Executed}), 409, client.CodeDecided},
		{store.ErrIndeterminate, 503, client.CodeIndeterminate},
		{store.ErrNotRecorded, 503, client.CodeNotRecorded},
		{store.ErrShut, 503, client.CodeStopping},
		{guard.ErrTransition, 409, client.CodeTransition},
		{context.DeadlineExceeded, 503, client.CodeTooLate},
		{context.Canceled, 503, client.CodeStopping},
		{&ipc.ApproverRefusal{Rule: ipc.RuleOrphaned, Text: "x"}, 403, string(ipc.RuleOrphaned)},
		{&http.MaxBytesError{Limit: 1}, 413, client.CodeTooLarge},
		{errors.New("secret detail"), 500, client.CodeInternal},
	} {
		p := a.problem(c.err)
		if p.Status != c.status || p.Code != c.code || p.Title == "" || p.Detail == "" || strings.Contains(p.Detail, "secret") {
			t.Errorf("%v → %+v, want %d %s", c.err, p, c.status, c.code)
		}
	}
}

// TestPanicIsAnswered: the caller of a handler that panics gets an answer, and
// no one else is affected.
func TestPanicIsAnswered(t *testing.T) {
	r := newRig(t, func(_ *rig, a *API) {
		a.cfg.Clients = func() []ipc.ClientRef { panic("secret") }
		a.cfg.Unsigned = func() string { return "terminal" }
	})
	var p *client.Problem
	if _, err := r.c.SetSwitch(ctx, "", "looking into it"); !errors.As(err, &p) || p.Code != client.CodeInternal || strings.Contains(p.Detail, "secret") {
		t.Errorf("got %v", err)
	}
	must(r.c.Status(ctx))(t)
}

// TestQuietConnectionDoesNotDelayTheEnd keeps a silent connection open, as
// `mcpguardd stop` does while it waits for the end.
func TestQuietConnectionDoesNotDelayTheEnd(t *testing.T) {
	r := newRig(t, nil)
	conn := must(net.Dial("unix", r.path))(t)
	defer conn.Close()
	must(r.c.Status(ctx))(t) // the previous connection was accepted too
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > time.Second {
		t.Errorf("the end took %s", took)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is still open: %d, %v", n, err)
	}
}

// TestBriefLeavesOutWhatTheChangeRepeats compares the two forms of one
// approval.
func TestBriefLeavesOutWhatTheChangeRepeats(t *testing.T) {
	r := newRig(t, nil)
	s := r.session()
	long := []byte(`{"content":"` + strings.Repeat("x", briefArguments) + `"}`)
	for _, c := range []struct {
		name  string
		args  []byte
		text  string
		gives int
	}{
		{"short", []byte(`{"a":1}`), "+x\n", 0},
		{"long", long, "+x\n", len(long)},
		{"long, with nothing else to read", long, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := r.pending(s, c.name, func(a *guard.Approval) { a.Args, a.Preview.Change.Text = c.args, c.text })
			full, err := r.c.Get(ctx, string(a.ID))
			if err != nil {
				t.Fatal(err)
			}
			brief, err := r.c.GetBrief(ctx, string(a.ID))
			if err != nil {
				t.Fatal(err)
			}
			if brief.ArgumentsLeftOut != c.gives || brief.Diff.Pruned || brief.Digest != full.Digest || brief.Diff.Text != c.text {
				t.Errorf("got %d bytes left out, pruned %v, digest %s, text %q", brief.ArgumentsLeftOut, brief.Diff.Pruned, brief.Digest, brief.Diff.Text)
			}
			if c.gives == 0 && string(brief.Arguments) != string(full.Arguments) {
				t.Errorf("got %.50s, want %.50s", brief.Arguments, full.Arguments)
			}
			if string(full.Arguments) != string(c.args) || full.ArgumentsLeftOut != 0 {
				t.Errorf("in full: %.50s, %d left out", full.Arguments, full.ArgumentsLeftOut)
			}
		})
	}
}
