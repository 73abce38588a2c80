package store

import (
	"errors"
	"testing"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// approved returns an approval that may be used.
func approved(t testing.TB, s *Store, v guard.Session, n string) guard.Approval {
	t.Helper()
	a := pending(t, s, v, n)
	must(s.Decide(ctx, a.ID, yes(a)))(t)
	return a
}

func TestPromise3_SingleUse(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	a := approved(t, s, v, "x")
	if err := s.Begin(ctx, intentFor(a)); err != nil {
		t.Fatal(err)
	}
	if err := s.Begin(ctx, intentFor(a)); !errors.Is(err, ErrIntentOpen) {
		t.Errorf("the same call again: %v", err)
	}
	other := intentFor(a)
	other.CallID = call(t, s, v)
	if err := s.Begin(ctx, other); state(err) != guard.Executing {
		t.Errorf("another call on the same approval: %v", err)
	}
	must(s.Finish(ctx, receipt(a.CallID, guard.OutcomeOK), completed(audit.StatusOK)))(t)
	if err := s.Begin(ctx, other); state(err) != guard.Executed {
		t.Errorf("after its use: %v", err)
	}
	if err := s.Begin(ctx, intentFor(a)); !errors.Is(err, ErrClosed) {
		t.Errorf("the completed call: %v", err)
	}
}

// TestPromise2_BeginHoldsToTheDigest changes what the intent says.
func TestPromise2_BeginHoldsToTheDigest(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*guard.Intent)
		want   error
	}{
		"digest":  {func(in *guard.Intent) { in.Digest[5] ^= 1 }, ErrDigest},
		"none":    {func(in *guard.Intent) { in.Digest = digest.Digest{} }, ErrDigest},
		"unknown": {func(in *guard.Intent) { in.ApprovalID = guard.NewApprovalID() }, ErrNotFound},
		"call":    {func(in *guard.Intent) { in.CallID = guard.NewCallID() }, ErrNotOpen},
		"tool":    {func(in *guard.Intent) { in.Tool = "delete_file" }, nil},
		"server":  {func(in *guard.Intent) { in.Server = "crm" }, nil},
		"run":     {func(in *guard.Intent) { in.RunID = guard.NewRunID() }, nil},
		"session": {func(in *guard.Intent) { in.SessionID = guard.NewSessionID() }, nil},
		"tenant":  {func(in *guard.Intent) { in.Tenant = "beta" }, nil},
		"nobody":  {func(in *guard.Intent) { in.Tenant = "" }, nil},
	} {
		s := open(t, options(t))
		a := approved(t, s, session(t, s), "x")
		in := intentFor(a)
		c.change(&in)
		size := s.Size()
		if err := s.Begin(ctx, in); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if s.Size() != size || len(must(s.OpenIntents())(t)) != 0 || status(t, s, a.ID) != guard.Approved {
			t.Errorf("%s: something was written", name)
		}
	}
}

func TestPromise4_BeginNeedsAnApproval(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	for tier, ok := range map[guard.Tier]bool{
		0: false, guard.T0Read: true, guard.T1ReversibleWrite: true, guard.T2IrreversibleWrite: false,
		guard.T3Execute: true, guard.T4IdentityMoneyOutbound: false, guard.Never: false,
	} {
		id := call(t, s, v)
		in := guard.Intent{CallID: id, SessionID: v.ID, RunID: v.RunID, Tenant: v.Tenant, Server: v.Server, Tool: "write_file", Tier: tier}
		err := s.Begin(ctx, in)
		if ok != (err == nil) || !ok && !errors.Is(err, ErrNeedsApproval) && tier.Valid() {
			t.Errorf("%s without approval: %v", tier, err)
		}
		if !ok {
			continue
		}
		must(s.Finish(ctx, receipt(id, guard.OutcomeError), completed(audit.StatusError)))(t)
		got, r, err := s.Intent(id)
		if err != nil || r == nil || r.Outcome != guard.OutcomeError || got.CallID != id {
			t.Errorf("%s: intent %+v receipt %+v %v", tier, got, r, err)
		}
	}
	a := pending(t, s, v, "pending")
	if err := s.Begin(ctx, intentFor(a)); state(err) != guard.Pending {
		t.Errorf("a pending approval: %v", err)
	}
}

func TestSwitchStopsBegin(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	a := approved(t, s, v, "x")
	sw := guard.Switch{Scope: "files/write_file", Reason: "something is wrong", By: guard.Approver{User: "1000"}}
	if err := s.SetSwitch(ctx, sw); err != nil {
		t.Fatal(err)
	}
	if err := s.Begin(ctx, intentFor(a)); !errors.Is(err, ErrStopped) {
		t.Errorf("begin with the switch on: %v", err)
	}
	s = reopen(t, s, o)
	if got := s.Switches(); len(got) != 1 || got[0].Scope != sw.Scope || got[0].At.IsZero() {
		t.Errorf("after a restart: %+v", got)
	}
	if err := s.ClearSwitch(ctx, sw.Scope, sw.By); err != nil {
		t.Fatal(err)
	}
	if err := s.ClearSwitch(ctx, sw.Scope, sw.By); !errors.Is(err, ErrNotFound) {
		t.Errorf("cleared twice: %v", err)
	}
	if err := s.Begin(ctx, intentFor(a)); err != nil {
		t.Errorf("begin with the switch off: %v", err)
	}
	if e := events(t, s, audit.SwitchChanged); len(e) != 2 || e[0].Tool.Name != "write_file" || e[0].Status != "on" || e[1].Status != "off" {
		t.Errorf("events: %+v", e)
	}
}

func TestPromise5_UnknownStaysUntilReconciled(t *testing.T) {
	for _, o := range []guard.Outcome{guard.OutcomeUnknown, guard.OutcomeIncomplete} {
		s := open(t, options(t))
		v := session(t, s)
		a := approved(t, s, v, "x")
		if _, err := s.Reconcile(ctx, a.CallID, receipt(a.CallID, guard.OutcomeOK)); !errors.Is(err, ErrNotFound) {
			t.Errorf("reconciling before the intent: %v", err)
		}
		if err := s.Begin(ctx, intentFor(a)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Reconcile(ctx, a.CallID, receipt(a.CallID, guard.OutcomeOK)); !errors.Is(err, ErrIntentOpen) {
			t.Errorf("reconciling while it executes: %v", err)
		}
		got := must(s.Finish(ctx, receipt(a.CallID, o), completed(audit.StatusUnknown)))(t)
		if got.Status != guard.Unknown || got.Receipt == nil || !got.EndedAt.IsZero() {
			t.Errorf("%s: %+v", o, got)
		}
		open := must(s.OpenIntents())(t)
		if len(open) != 1 || !open[0].Unknown {
			t.Errorf("%s: open intents %+v", o, open)
		}
		if _, err := s.Finish(ctx, receipt(a.CallID, guard.OutcomeOK), completed(audit.StatusOK)); !errors.Is(err, ErrClosed) {
			t.Errorf("finishing twice: %v", err)
		}
		if _, err := s.Reconcile(ctx, a.CallID, receipt(a.CallID, o)); err == nil {
			t.Error("reconciled to unknown")
		}
		got = must(s.Reconcile(ctx, a.CallID, receipt(a.CallID, guard.OutcomeOK)))(t)
		if got.Status != guard.Executed || !got.Receipt.Reconciled {
			t.Errorf("reconciled: %+v", got)
		}
		if _, err := s.Reconcile(ctx, a.CallID, receipt(a.CallID, guard.OutcomeError)); !errors.Is(err, ErrClosed) {
			t.Errorf("reconciled twice: %v", err)
		}
		if n := len(events(t, s, audit.ToolCallCompleted)); n != 1 {
			t.Errorf("%d completions", n)
		}
		if n := len(events(t, s, audit.ToolCallReconciled)); n != 1 {
			t.Errorf("%d reconciliations", n)
		}
	}
}

func TestFinishWithoutIntent(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	a := approved(t, s, v, "x")
	if _, err := s.Finish(ctx, receipt(a.CallID, guard.OutcomeOK), completed(audit.StatusOK)); !errors.Is(err, ErrNotFound) {
		t.Errorf("a receipt without an intent: %v", err)
	}
	if err := s.Begin(ctx, intentFor(a)); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseCall(ctx, a.CallID, completed(audit.StatusOK)); !errors.Is(err, ErrIntentOpen) {
		t.Errorf("completing a call that executes: %v", err)
	}
}

func TestCallsEndOnce(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	id := call(t, s, v)
	if err := s.CloseCall(ctx, guard.NewCallID(), completed(audit.StatusOK)); !errors.Is(err, ErrNotOpen) {
		t.Errorf("a call that never was: %v", err)
	}
	if err := s.CloseCall(ctx, id, audit.Event{Status: "fine"}); err == nil {
		t.Error("a status that is none was taken")
	}
	if err := s.CloseCall(ctx, id, completed(audit.StatusDenied)); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseCall(ctx, id, completed(audit.StatusOK)); !errors.Is(err, ErrClosed) {
		t.Errorf("a second completion: %v", err)
	}
	if err := s.OpenCall(ctx, Call{ID: id, Tenant: tenant, RunID: v.RunID}); err == nil {
		t.Error("the id was used again")
	}
	e := events(t, s, audit.ToolCallCompleted)
	if len(e) != 1 || e[0].Status != audit.StatusDenied || e[0].CallID != id || e[0].Tool.Name != "write_file" ||
		e[0].Actor.UserID != "1000" || e[0].ArgsSHA256.IsZero() || e[0].CorrelationID != string(id) {
		t.Errorf("the completion: %+v", e)
	}
}

func TestLimitOfCallsPerRun(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	ask := func(soon bool) error {
		c := callOf(toolCall(v))
		c.Limit = 5
		if soon {
			return s.OpenCallAsync(c)
		}
		return s.OpenCall(ctx, c)
	}
	results := make(chan error)
	for i := range 8 {
		go func() { results <- ask(i%2 == 0) }() // owned by the test, which reads each result
	}
	refused := 0
	for range 8 {
		switch err := <-results; {
		case errors.Is(err, ErrLimit):
			refused++
		case err != nil:
			t.Error(err)
		}
	}
	if n := s.CallsInRun(tenant, v.RunID, "files", "write_file"); refused != 3 || n != 5 {
		t.Errorf("%d refused, %d counted", refused, n)
	}
	s = reopen(t, s, o)
	if n := s.CallsInRun(tenant, v.RunID, "files", "write_file"); n != 5 {
		t.Errorf("after a restart %d are counted", n)
	}
	if err := ask(false); !errors.Is(err, ErrLimit) {
		t.Errorf("after a restart: %v", err)
	}
	// Refused calls are open like all others and end like all others.
	r := must(s.Startup(ctx))(t)
	if len(r.Calls) != 9 {
		t.Errorf("%d calls were open", len(r.Calls))
	}
	if n := s.CallsInRun(tenant, v.RunID, "files", "read_file"); n != 0 {
		t.Errorf("another tool has %d calls", n)
	}
}

func TestLongNamesOfTools(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	c := callOf(toolCall(v))
	c.Tool = string(make([]byte, 40_000)) + "\x00"
	if err := s.OpenCall(ctx, c); err != nil {
		t.Fatal(err)
	}
	if n := s.CallsInRun(tenant, v.RunID, "files", c.Tool); n != 1 {
		t.Errorf("counted %d", n)
	}
	if err := s.CloseCall(ctx, c.ID, completed(audit.StatusDenied)); err != nil {
		t.Error(err)
	}
}

func TestRuns(t *testing.T) {
	o := options(t)
	s := open(t, o)
	run := guard.Run{ID: guard.NewRunID(), Tenant: tenant, Profile: "p"}
	k := RunKey{BootID: "b", PID: 9, StartTime: 77}
	first := must(s.OpenRun(ctx, run, k))(t)
	again := run
	again.ID = guard.NewRunID()
	if got := must(s.OpenRun(ctx, again, k))(t); got.ID != first.ID || got.Profile != "p" {
		t.Errorf("the same process has the runs %s and %s", first.ID, got.ID)
	}
	s = reopen(t, s, o)
	if got := must(s.OpenRun(ctx, again, k))(t); got.ID != first.ID {
		t.Error("a restart gives the process another run")
	}
	for name, k := range map[string]RunKey{"boot": {"c", 9, 77}, "pid": {"b", 8, 77}, "start": {"b", 9, 78}} {
		again.ID = guard.NewRunID()
		if got := must(s.OpenRun(ctx, again, k))(t); got.ID == first.ID {
			t.Errorf("another %s has the same run", name)
		}
	}
	if got := must(s.Run(tenant, first.ID))(t); got.ID != first.ID {
		t.Errorf("read %+v", got)
	}
	if _, err := s.Run("beta", first.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("another tenant reads the run: %v", err)
	}
	if got := must(s.Runs())(t); len(got) != 4 {
		t.Errorf("%d runs", len(got))
	}
}
