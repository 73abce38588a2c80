package store

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// TestPromise5_Startup leaves one thing of each kind open.
func TestPromise5_Startup(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)

	held := pending(t, s, v, "held")
	early := pending(t, s, v, "early")
	if err := s.CloseCall(ctx, early.CallID, audit.Event{Status: audit.StatusBlocked, Gates: audit.Gates{ApprovalID: early.ID}}); err != nil {
		t.Fatal(err)
	}
	ready := approved(t, s, v, "ready")
	running := approved(t, s, v, "running")
	if err := s.Begin(ctx, intentFor(running)); err != nil {
		t.Fatal(err)
	}
	free := call(t, s, v)
	in := guard.Intent{CallID: free, SessionID: v.ID, RunID: v.RunID, Tenant: tenant, Server: v.Server, Tool: "write_file", Tier: guard.T1ReversibleWrite}
	if err := s.Begin(ctx, in); err != nil {
		t.Fatal(err)
	}
	read := call(t, s, v)
	closed := session(t, s)
	if err := s.CloseSession(ctx, closed.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}

	s = reopen(t, s, o)
	r := must(s.Startup(ctx))(t)
	if len(r.Unknown) != 2 || len(r.Calls) != 5 || !slices.Equal(r.Sessions, []guard.SessionID{v.ID}) || !slices.Equal(r.Cancelled, []guard.ApprovalID{held.ID}) {
		t.Errorf("recovered %+v", r)
	}
	for id, want := range map[guard.ApprovalID]guard.Status{
		held.ID: guard.Cancelled, early.ID: guard.Pending, ready.ID: guard.Approved, running.ID: guard.Unknown,
	} {
		if got := must(s.Approval(id))(t); got.Status != want || got.HeldBy != "" {
			t.Errorf("%s is %s, held by %q; want %s", id, got.Status, got.HeldBy, want)
		}
	}
	ends := map[guard.CallID]audit.Status{}
	for _, e := range events(t, s, audit.ToolCallCompleted) {
		if ends[e.CallID] != "" {
			t.Errorf("%s is completed twice", e.CallID)
		}
		ends[e.CallID] = e.Status
	}
	for id, want := range map[guard.CallID]audit.Status{
		held.CallID: audit.StatusCancelled, early.CallID: audit.StatusBlocked, ready.CallID: audit.StatusUnknown,
		running.CallID: audit.StatusUnknown, free: audit.StatusUnknown, read: audit.StatusUnknown,
	} {
		if ends[id] != want {
			t.Errorf("%s ended as %q, want %q", id, ends[id], want)
		}
	}
	if e := events(t, s, audit.SessionClosed); len(e) != 2 || e[1].Reason != whyDaemonEnded {
		t.Errorf("closed sessions: %+v", e)
	}
	// A second restart finds nothing more to do.
	s = reopen(t, s, o)
	if r := must(s.Startup(ctx))(t); len(r.Unknown)+len(r.Calls)+len(r.Sessions)+len(r.Cancelled)+len(r.Ended) != 0 {
		t.Errorf("recovered again: %+v", r)
	}
	// What stayed serves the same run alone.
	again := guard.Session{ID: guard.NewSessionID(), RunID: v.RunID, Tenant: tenant, Server: v.Server, Origin: v.Origin}
	if err := s.OpenSession(ctx, again); err != nil {
		t.Fatal(err)
	}
	c := call(t, s, again)
	if got := must(s.Join(ctx, ready.ID, again.ID, c))(t); got.Status != guard.Approved {
		t.Errorf("joined %+v", got)
	}
	next := intentFor(ready)
	next.CallID, next.SessionID = c, again.ID
	if err := s.Begin(ctx, next); err != nil {
		t.Errorf("using what was approved before the restart: %v", err)
	}
	// And the unknown ones are still to be settled.
	for _, id := range []guard.CallID{running.CallID, free} {
		if _, err := s.Reconcile(ctx, id, receipt(id, guard.OutcomeError)); err != nil {
			t.Error(err)
		}
	}
	if got := must(s.OpenIntents())(t); len(got) != 1 || got[0].CallID != c {
		t.Errorf("open intents: %+v", got)
	}
}

func TestStartupEndsWhatRanOutOfTime(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	a, b := pending(t, s, v, "a"), approved(t, s, v, "b")
	if err := s.Release(ctx, a.ID, a.CallID); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	o.Clock.(*fakeClock).advance(time.Hour, 0)
	s = open(t, o)
	r := must(s.Startup(ctx))(t)
	if len(r.Ended) != 2 || status(t, s, a.ID) != guard.Expired || status(t, s, b.ID) != guard.Lapsed {
		t.Errorf("recovered %+v", r)
	}
}

func TestCloseSession(t *testing.T) {
	s := open(t, options(t))
	v, other := session(t, s), session(t, s)
	held, early, ready := pending(t, s, v, "held"), pending(t, s, v, "early"), approved(t, s, v, "ready")
	foreign := pending(t, s, other, "foreign")
	if err := s.Release(ctx, early.ID, early.CallID); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseSession(ctx, v.ID, time.Time{}, audit.ForSession(audit.SessionClosed, v, v.OpenedAt)); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[guard.ApprovalID]guard.Status{
		held.ID: guard.Cancelled, early.ID: guard.Pending, ready.ID: guard.Approved, foreign.ID: guard.Pending,
	} {
		if got := status(t, s, id); got != want {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
	size := s.Size()
	if err := s.CloseSession(ctx, v.ID, time.Time{}); err != nil || s.Size() != size {
		t.Errorf("closing twice: %v, %d new records", err, s.Size()-size)
	}
	if err := s.CloseSession(ctx, guard.NewSessionID(), time.Time{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("closing what never was: %v", err)
	}
	if got := must(s.Sessions(true))(t); len(got) != 1 || got[0].ID != other.ID {
		t.Errorf("open sessions: %+v", got)
	}
	if got := must(s.Sessions(false))(t); len(got) != 2 {
		t.Errorf("sessions: %+v", got)
	}
	if n := len(events(t, s, audit.SessionClosed)); n != 1 {
		t.Errorf("%d closings in the log", n)
	}
}

func TestAlerts(t *testing.T) {
	o := options(t)
	s := open(t, o)
	a := Alert{Tenant: tenant, Kind: "policy_widened", Key: "h1", Text: "The policy allows more than before.", Detail: "+ tier: T1"}
	for range 2 {
		if err := s.RaiseAlert(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	a.Key = "h2"
	if err := s.RaiseAlert(ctx, a); err != nil {
		t.Fatal(err)
	}
	if err := s.RaiseAlert(ctx, Alert{Kind: "x"}); err == nil {
		t.Error("an alert without text was taken")
	}
	s = reopen(t, s, o)
	list := must(s.Alerts(false))(t)
	if len(list) != 2 {
		t.Fatalf("alerts: %+v", list)
	}
	by := guard.Approver{User: "1000", PID: 3}
	seen := must(s.AcknowledgeAlert(ctx, list[0].ID, by))(t)
	if seen.Status != AlertAcknowledged || seen.By != by {
		t.Errorf("acknowledged: %+v", seen)
	}
	if _, err := s.AcknowledgeAlert(ctx, list[0].ID, by); err == nil {
		t.Error("acknowledged twice")
	}
	must(s.ResolveAlert(ctx, list[1].ID, "the policy was narrowed"))(t)
	if _, err := s.ResolveAlert(ctx, guard.NewEventID(), "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("resolving what never was: %v", err)
	}
	if got := must(s.Alerts(false))(t); len(got) != 0 {
		t.Errorf("still waiting: %+v", got)
	}
	if got := must(s.Alerts(true))(t); len(got) != 2 {
		t.Errorf("all: %+v", got)
	}
	if e := events(t, s, audit.AlertRaised, audit.AlertAcknowledged, audit.AlertResolved); len(e) != 4 || e[0].TenantID != tenant || e[2].Actor.UserID != "1000" {
		t.Errorf("events: %+v", e)
	}
	a.Key = "h1" // after it was seen, the same may be raised anew
	if err := s.RaiseAlert(ctx, a); err != nil {
		t.Fatal(err)
	}
	if got := must(s.Alerts(false))(t); len(got) != 1 {
		t.Errorf("raised anew: %+v", got)
	}
}

func TestPrune(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	same := func(n string, id string) guard.Approval { // another approval with the same contents
		a := approval(v, call(t, s, v), n)
		a.Digest[0] ^= id[0]
		if err := s.Submit(ctx, a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	old, shared, live := same("a", "1"), same("b", "2"), same("b", "3")
	for _, a := range []guard.Approval{old, shared} {
		must(s.Decide(ctx, a.ID, no(a)))(t)
		if err := s.CloseCall(ctx, a.CallID, completed(audit.StatusDenied)); err != nil {
			t.Fatal(err)
		}
	}
	o.Clock.(*fakeClock).advance(time.Minute, time.Minute)
	got := must(s.Prune(ctx, o.Clock.Now().Wall))(t)
	// Of a: text, arguments and output. Patch and values are the same everywhere.
	if got.Approvals != 2 || got.Blobs != 3 || got.Bytes == 0 || got.Calls != 2 {
		t.Errorf("pruned %+v", got)
	}
	if a := must(s.Approval(old.ID))(t); a.Args != nil || a.Preview.Change.Text != "" || a.Preview.Output != "" || a.Preview.Attempt != nil || a.Preview.Summary == "" {
		t.Errorf("the old one: %+v", a)
	}
	if a := must(s.Approval(live.ID))(t); a.Preview.Change.Text != live.Preview.Change.Text || a.Preview.Output != live.Preview.Output || a.Preview.Attempt == nil || len(a.Args) == 0 {
		t.Errorf("the live one: %+v", a)
	}
	if got := must(s.Prune(ctx, o.Clock.Now().Wall))(t); got != (Pruned{}) {
		t.Errorf("pruned again: %+v", got)
	}
	if r := must(s.Verify(ctx))(t); !r.OK() {
		t.Errorf("the log after pruning: %+v", r)
	}
}

func TestPruneInSteps(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	for i := range 2*pruneAtOnce + 7 {
		a := pending(t, s, v, "n"+time.Duration(i).String())
		must(s.Decide(ctx, a.ID, no(a)))(t)
	}
	o.Clock.(*fakeClock).advance(time.Minute, time.Minute)
	if got := must(s.Prune(ctx, o.Clock.Now().Wall))(t); got.Approvals != 2*pruneAtOnce+7 {
		t.Errorf("pruned %+v", got)
	}
}
