package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// begunPost begins a call that is shown afterwards.
func begunPost(t testing.TB, s *Store, v guard.Session, n string) guard.Approval {
	t.Helper()
	a := approval(v, call(t, s, v), n)
	if err := s.BeginPost(ctx, intentFor(a), a); err != nil {
		t.Fatal(err)
	}
	return a
}

func unasked(t testing.TB, s *Store) []Alert {
	t.Helper()
	var out []Alert
	for _, a := range must(s.Alerts(false))(t) {
		if a.Kind == AlertRanUnasked {
			out = append(out, a)
		}
	}
	return out
}

func TestPostIsOnRecordBeforeItRuns(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	a := begunPost(t, s, v, "x")
	kept := must(s.Approval(a.ID))(t)
	if kept.Status != guard.Executing || !kept.Post || kept.HeldBy != "" || string(kept.Args) != string(a.Args) || kept.Preview.Change.Text != a.Preview.Change.Text {
		t.Errorf("kept: %+v", kept)
	}
	if in, _, err := s.Intent(a.CallID); err != nil || in.ApprovalID != a.ID {
		t.Errorf("intent: %+v %v", in, err)
	}
	if _, err := s.Decide(ctx, a.ID, yes(a)); state(err) != guard.Executing {
		t.Errorf("deciding what runs: %v", err)
	}
	if got := unasked(t, s); len(got) != 0 {
		t.Errorf("told before its end: %+v", got)
	}
	must(s.Finish(ctx, receipt(a.CallID, guard.OutcomeOK), completed(audit.StatusOK)))(t)
	if err := s.BeginPost(ctx, intentFor(a), a); err == nil {
		t.Error("it began twice")
	}
	for _, e := range events(t, s, audit.ToolCallAuthorized, audit.ToolCallCompleted) {
		if e.Gates.ApprovalID != a.ID || e.Gates.RequiresApproval {
			t.Errorf("%s: gates %+v", e.Event, e.Gates)
		}
		if e.Event == audit.ToolCallAuthorized && (e.Rule != guard.RulePost || e.Verdict != "allow") {
			t.Errorf("authorised by %q, %q", e.Rule, e.Verdict)
		}
	}
}

// TestPostRefuses changes the item, or what the intent says about it.
func TestPostRefuses(t *testing.T) {
	for name, change := range map[string]func(*guard.Intent, *guard.Approval){
		"digest":    func(in *guard.Intent, _ *guard.Approval) { in.Digest[2] ^= 1 },
		"no digest": func(in *guard.Intent, a *guard.Approval) { in.Digest[0], a.Digest = 0, [32]byte{} },
		"tool":      func(_ *guard.Intent, a *guard.Approval) { a.Tool = "read_file" },
		"server":    func(_ *guard.Intent, a *guard.Approval) { a.Server = "crm" },
		"run":       func(_ *guard.Intent, a *guard.Approval) { a.RunID = guard.NewRunID() },
		"tenant":    func(_ *guard.Intent, a *guard.Approval) { a.Tenant = "beta" },
		"call":      func(_ *guard.Intent, a *guard.Approval) { a.CallID = guard.NewCallID() },
		"tier": func(in *guard.Intent, a *guard.Approval) {
			in.Tier, a.Tier = guard.T2IrreversibleWrite, guard.T2IrreversibleWrite
		},
		"tier of one":   func(_ *guard.Intent, a *guard.Approval) { a.Tier = guard.T2IrreversibleWrite },
		"both another":  func(in *guard.Intent, a *guard.Approval) { in.Tool, a.Tool = "read_file", "read_file" },
		"never a tier":  func(in *guard.Intent, a *guard.Approval) { in.Tier, a.Tier = guard.Never, guard.Never },
		"no identifier": func(_ *guard.Intent, a *guard.Approval) { a.ID = "" },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, options(t))
			v := session(t, s)
			a := approval(v, call(t, s, v), "x")
			in := intentFor(a)
			change(&in, &a)
			if err := s.BeginPost(ctx, in, a); err == nil {
				t.Fatal("it began")
			}
			if list := must(s.OpenIntents())(t); len(list) != 0 {
				t.Errorf("intents: %+v", list)
			}
			if list := must(s.Approvals(Filter{}))(t); len(list) != 0 {
				t.Errorf("items: %+v", list)
			}
		})
	}
	s := open(t, options(t))
	v := session(t, s)
	if err := s.SetSwitch(ctx, guard.Switch{Scope: "files", Reason: "stop"}); err != nil {
		t.Fatal(err)
	}
	a := approval(v, call(t, s, v), "x")
	if err := s.BeginPost(ctx, intentFor(a), a); !errors.Is(err, ErrStopped) {
		t.Errorf("stopped: %v", err)
	}
}

// TestPostTellsOncePerRun: a thousand changes of a run make one alert of
// bounded size; acknowledging it resets it.
func TestPostTellsOncePerRun(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	const n = 1000
	var last guard.Approval
	for i := range n {
		last = begunPost(t, s, v, fmt.Sprint(i))
		must(s.Finish(ctx, receipt(last.CallID, guard.OutcomeOK), completed(audit.StatusOK)))(t)
	}
	s = reopen(t, s, o)
	got := unasked(t, s)
	if len(got) != 1 || got[0].Count != n || got[0].Subject != last.ID || len(got[0].Recent) != maxRecent {
		t.Fatalf("%+v", got)
	}
	for _, want := range []string{"1000 changes of one run ran without asking", "edit a (+1 −1) (executed, verified)"} {
		if !strings.Contains(got[0].Text, want) {
			t.Errorf("the text %q lacks %q", got[0].Text, want)
		}
	}
	for _, want := range []string{string(last.ID), "and 995 before them", "--run " + string(v.RunID)} {
		if !strings.Contains(got[0].Detail, want) {
			t.Errorf("the detail %q lacks %q", got[0].Detail, want)
		}
	}
	if size := len(got[0].Detail); size > 1<<10 {
		t.Errorf("%d bytes of detail", size)
	}
	if raised := events(t, s, audit.AlertRaised); len(raised) != 1 {
		t.Errorf("raised %d times in the log", len(raised))
	}
	seen := must(s.AcknowledgeAlert(ctx, got[0].ID, guard.Approver{User: "1000"}))(t)
	if seen.Status != AlertResolved || len(unasked(t, s)) != 0 {
		t.Errorf("after it was seen: %+v", seen)
	}
	if len(s.mem.alerts) != 0 {
		t.Errorf("%d alerts stay in memory", len(s.mem.alerts))
	}
	last = begunPost(t, s, v, "afterwards")
	must(s.Finish(ctx, receipt(last.CallID, guard.OutcomeOK), completed(audit.StatusOK)))(t)
	if got := unasked(t, s); len(got) != 1 || got[0].Count != 1 {
		t.Errorf("what came afterwards: %+v", got)
	}
	other := session(t, s)
	last = begunPost(t, s, other, "of another run")
	must(s.Finish(ctx, receipt(last.CallID, guard.OutcomeOK), completed(audit.StatusOK)))(t)
	if got := unasked(t, s); len(got) != 2 {
		t.Errorf("another run: %+v", got)
	}
}

// TestPostAfterACrash: a call that was executing when the daemon died is shown
// with an unknown outcome, and shown once more when that is settled.
func TestPostAfterACrash(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	a, b := begunPost(t, s, v, "a"), begunPost(t, s, v, "b")
	s = reopen(t, s, o)
	out := must(s.Startup(ctx))(t)
	if len(out.Unknown) != 2 || status(t, s, a.ID) != guard.Unknown {
		t.Fatalf("recovered: %+v", out)
	}
	got := unasked(t, s)
	if len(got) != 1 || got[0].Count != 2 || !strings.Contains(got[0].Text, "outcome not known") {
		t.Fatalf("alerts: %+v", got)
	}
	for _, e := range events(t, s, audit.ToolCallCompleted) {
		if e.Gates.RequiresApproval || e.Gates.ApprovalID == "" || e.Status != audit.StatusUnknown {
			t.Errorf("completed: %+v, %s", e.Gates, e.Status)
		}
	}
	must(s.Reconcile(ctx, a.CallID, receipt(a.CallID, guard.OutcomeOK)))(t)
	undone := receipt(b.CallID, guard.OutcomeError)
	undone.ReadBack = guard.Untouched
	must(s.Reconcile(ctx, b.CallID, undone))(t)
	got = unasked(t, s)
	if len(got) != 1 || got[0].Count != 2 || strings.Contains(got[0].Detail, "not known") ||
		!strings.Contains(got[0].Detail, "(executed, verified)") || !strings.Contains(got[0].Detail, "(failed, untouched)") {
		t.Errorf("settled: %+v", got)
	}
	if raised := events(t, s, audit.AlertRaised); len(raised) != 1 {
		t.Errorf("raised %d times", len(raised))
	}
}

// TestPostWithoutAChangeIsNotAlerted is not told.
func TestPostWithoutAChangeIsNotAlerted(t *testing.T) {
	s := open(t, options(t))
	a := begunPost(t, s, session(t, s), "x")
	r := receipt(a.CallID, guard.OutcomeError)
	r.ReadBack = guard.Untouched
	must(s.Finish(ctx, r, completed(audit.StatusError)))(t)
	if got := unasked(t, s); len(got) != 0 || status(t, s, a.ID) != guard.Failed {
		t.Errorf("%+v", got)
	}
}
