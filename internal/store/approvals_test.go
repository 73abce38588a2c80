package store

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
)

func TestLifeOfAnApproval(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	a := pending(t, s, v, "x")

	got := must(s.Approval(a.ID))(t)
	if got.Status != guard.Pending || got.HeldBy != a.CallID || got.Version != 1 || got.Expires.Wall != o.Clock.Now().Wall.Add(15*time.Minute) {
		t.Errorf("submitted: %+v", got)
	}
	if string(got.Args) != string(a.Args) || got.Preview.Change.Text != a.Preview.Change.Text ||
		string(got.Preview.Change.Patch) != string(a.Preview.Change.Patch) || string(got.Preview.Change.Preview) != "[]" {
		t.Errorf("the contents came back as %+v", got.Preview.Change)
	}
	decided := must(s.Decide(ctx, a.ID, yes(a)))(t)
	if decided.Status != guard.Approved || decided.UseBy.Wall != o.Clock.Now().Wall.Add(2*time.Minute) || len(decided.Signoffs) != 1 {
		t.Errorf("decided: %+v", decided)
	}
	if err := s.Begin(ctx, intentFor(a)); err != nil {
		t.Fatal(err)
	}
	if got := must(s.OpenIntents())(t); len(got) != 1 || got[0].CallID != a.CallID || got[0].Unknown {
		t.Errorf("open intents: %+v", got)
	}
	done := must(s.Finish(ctx, receipt(a.CallID, guard.OutcomeOK), completed(audit.StatusOK)))(t)
	if done.Status != guard.Executed || done.Receipt.ReadBack != guard.Verified || done.EndedAt.IsZero() {
		t.Errorf("finished: %+v", done)
	}
	if got := must(s.OpenIntents())(t); len(got) != 0 {
		t.Errorf("open intents after the receipt: %+v", got)
	}
	var types []audit.Type
	for _, e := range events(t, s) {
		types = append(types, e.Event)
		if e.TenantID != tenant || e.RunID != v.RunID || e.SessionID != v.ID {
			t.Errorf("%s belongs to %q %q %q", e.Event, e.TenantID, e.RunID, e.SessionID)
		}
	}
	want := []audit.Type{audit.SessionOpened, audit.ToolCallRequested, audit.ApprovalRequested, audit.ApprovalDecided,
		audit.ToolCallAuthorized, audit.ToolCallCompleted}
	if !slices.Equal(types, want) {
		t.Errorf("events %v, want %v", types, want)
	}
	s = reopen(t, s, o)
	if got := must(s.Approval(a.ID))(t); got.Status != guard.Executed || got.Receipt == nil {
		t.Errorf("after a restart: %+v", got)
	}
}

func TestEventsOfAnApprovalAreComplete(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	a := pending(t, s, v, "x")
	must(s.Decide(ctx, a.ID, no(a)))(t)
	for _, e := range events(t, s, audit.ApprovalRequested, audit.ApprovalDecided) {
		if e.Gates.ApprovalID != a.ID || !e.Gates.RequiresApproval || e.CallID != a.CallID || e.DiffSHA256.IsZero() || e.ArgsSHA256.IsZero() ||
			e.Tool.DefinitionSHA256 != a.Definition || e.Risk != "high" || e.Environment != "dev" || e.Workflow != "audit" {
			t.Errorf("%s: %+v", e.Event, e)
		}
		if e.Event == audit.ApprovalDecided && (e.Verdict != "deny" || e.Reason != "wrong file" || e.Actor.UserID != "1000" ||
			e.Origin.PID != 7 || e.Rule != guard.RuleReviewer || e.Status != "denied") {
			t.Errorf("decision: %+v", e)
		}
		if e.Actor.WorkspaceID != "acme-dev" {
			t.Errorf("%s: workspace %q", e.Event, e.Actor.WorkspaceID)
		}
	}
}

// TestPromise3_OneDecisionWins lets many reviewers decide at once.
func TestPromise3_OneDecisionWins(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	a := pending(t, s, v, "x")
	var wg sync.WaitGroup
	results := make([]error, 32)
	for i := range results {
		wg.Go(func() {
			w := yes(a)
			w.Approve = i%2 == 0
			_, results[i] = s.Decide(ctx, a.ID, w)
		})
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		switch {
		case err == nil:
			won++
		case state(err) != guard.Approved && state(err) != guard.Denied:
			t.Errorf("a loser was told %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d decisions won", won)
	}
	if n := len(events(t, s, audit.ApprovalDecided)); n != 1 {
		t.Errorf("%d decisions are in the log", n)
	}
}

func TestDecideRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*guard.Signoff)
		want   func(error) bool
	}{
		"another digest": {func(w *guard.Signoff) { w.Digest[0]++ }, func(err error) bool { return errors.Is(err, ErrDigest) }},
		"no digest":      {func(w *guard.Signoff) { w.Digest = [32]byte{} }, func(err error) bool { return errors.Is(err, ErrDigest) }},
		"short reason":   {func(w *guard.Signoff) { w.Reason = " ab " }, func(err error) bool { return err != nil && strings.Contains(err.Error(), "3 visible characters") }},
		"long reason":    {func(w *guard.Signoff) { w.Reason = strings.Repeat("x", 501) }, func(err error) bool { return err != nil }},
	} {
		for _, approve := range []bool{true, false} {
			s := open(t, options(t))
			a := pending(t, s, session(t, s), "x")
			size := s.Size()
			w := yes(a)
			w.Approve = approve
			c.change(&w)
			if _, err := s.Decide(ctx, a.ID, w); !c.want(err) {
				t.Errorf("%s: %v", name, err)
			}
			if status(t, s, a.ID) != guard.Pending || s.Size() != size {
				t.Errorf("%s: something was written", name)
			}
		}
	}
	s := open(t, options(t))
	if _, err := s.Decide(ctx, guard.NewApprovalID(), yes(guard.Approval{})); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown approval: %v", err)
	}
}

// TestPromise3_TimeBox expires and lapses by either clock.
func TestPromise3_TimeBox(t *testing.T) {
	for name, move := range map[string]func(*fakeClock, time.Duration){
		"wall": func(c *fakeClock, d time.Duration) { c.advance(d, 0) },
		"boot": func(c *fakeClock, d time.Duration) { c.advance(0, d) },
	} {
		o := options(t)
		clock := o.Clock.(*fakeClock)
		s := open(t, o)
		v := session(t, s)

		a := pending(t, s, v, "x")
		move(clock, 15*time.Minute)
		_, err := s.Decide(ctx, a.ID, yes(a))
		if state(err) != guard.Expired || status(t, s, a.ID) != guard.Expired {
			t.Errorf("%s: deciding too late: %v", name, err)
		}
		b := pending(t, s, v, "x") // the expired one does not block it
		must(s.Decide(ctx, b.ID, yes(b)))(t)
		move(clock, 2*time.Minute)
		if err := s.Begin(ctx, intentFor(b)); state(err) != guard.Lapsed || status(t, s, b.ID) != guard.Lapsed {
			t.Errorf("%s: using too late: %v", name, err)
		}
		if got := must(s.OpenIntents())(t); len(got) != 0 {
			t.Errorf("%s: intents %+v", name, got)
		}
		if n := len(events(t, s, audit.ApprovalEnded)); n != 2 {
			t.Errorf("%s: %d ends in the log", name, n)
		}
	}
}

func TestSubmitRefusesDuplicates(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	a := pending(t, s, v, "x")
	again := approval(v, call(t, s, v), "x")
	var dup *DuplicateError
	if err := s.Submit(ctx, again); !errors.As(err, &dup) || dup.ID != a.ID {
		t.Errorf("a second one: %v", err)
	}
	found, ok, err := s.FindOpen(tenant, v.RunID, v.Server, "write_file", a.Digest)
	if err != nil || !ok || found.ID != a.ID {
		t.Errorf("found %v %v %v", found.ID, ok, err)
	}
	for _, miss := range []func() (guard.Approval, bool, error){
		func() (guard.Approval, bool, error) {
			return s.FindOpen("other", v.RunID, v.Server, "write_file", a.Digest)
		},
		func() (guard.Approval, bool, error) {
			return s.FindOpen(tenant, "run_2", v.Server, "write_file", a.Digest)
		},
		func() (guard.Approval, bool, error) { return s.FindOpen(tenant, v.RunID, "o", "write_file", a.Digest) },
		func() (guard.Approval, bool, error) { return s.FindOpen(tenant, v.RunID, v.Server, "o", a.Digest) },
		func() (guard.Approval, bool, error) {
			return s.FindOpen(tenant, v.RunID, v.Server, "write_file", again.ArgsRaw)
		},
	} {
		if _, ok, _ := miss(); ok {
			t.Error("another call found the approval")
		}
	}
	o.Clock.(*fakeClock).advance(time.Hour, 0)
	if err := s.Submit(ctx, again); err != nil {
		t.Errorf("after the first ran out of time: %v", err)
	}
	if st := status(t, s, a.ID); st != guard.Expired {
		t.Errorf("the first is %s", st)
	}
}

func TestJoinAndRelease(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	a := pending(t, s, v, "x")
	second := call(t, s, v)
	if err := s.Release(ctx, a.ID, a.CallID); err != nil {
		t.Fatal(err)
	}
	if got := must(s.Approval(a.ID))(t); got.HeldBy != "" {
		t.Errorf("held by %q after its release", got.HeldBy)
	}
	joined := must(s.Join(ctx, a.ID, v.ID, second))(t)
	if joined.CallID != second || joined.HeldBy != second {
		t.Errorf("joined: %+v", joined)
	}
	if err := s.Release(ctx, a.ID, a.CallID); err != nil { // the older call holds nothing, so this does nothing
		t.Fatal(err)
	}
	if got := must(s.Approval(a.ID))(t); got.HeldBy != second {
		t.Errorf("held by %q", got.HeldBy)
	}
	other := session(t, s)
	if _, err := s.Join(ctx, a.ID, other.ID, call(t, s, other)); !errors.Is(err, ErrOtherRun) {
		t.Errorf("another run joined: %v", err)
	}
	must(s.Decide(ctx, a.ID, yes(a)))(t)
	if err := s.Begin(ctx, intentFor(a)); !errors.Is(err, ErrSuperseded) {
		t.Errorf("the older call begins: %v", err)
	}
	a.CallID = second
	if err := s.Begin(ctx, intentFor(a)); err != nil {
		t.Errorf("the newest call: %v", err)
	}
	if _, err := s.Join(ctx, a.ID, v.ID, call(t, s, v)); state(err) != guard.Executing {
		t.Errorf("joining what executes: %v", err)
	}
}

func TestReplace(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	a := pending(t, s, v, "x")
	must(s.Decide(ctx, a.ID, yes(a)))(t)
	fresh := approval(v, a.CallID, "y")
	got := must(s.Replace(ctx, a.ID, fresh))(t)
	old := must(s.Approval(a.ID))(t)
	if got.Status != guard.Pending || got.Replaces != a.ID || got.Round != 1 || len(got.Signoffs) != 0 {
		t.Errorf("fresh: %+v", got)
	}
	if old.Status != guard.Stale || old.ReplacedBy != fresh.ID {
		t.Errorf("old: %+v", old)
	}
	// The same digest may come back.
	back := approval(v, a.CallID, "x")
	if got := must(s.Replace(ctx, fresh.ID, back))(t); got.Round != 2 {
		t.Errorf("third: %+v", got)
	}
	if _, err := s.Replace(ctx, fresh.ID, approval(v, a.CallID, "z")); state(err) != guard.Stale {
		t.Errorf("replacing what is stale: %v", err)
	}
	other := session(t, s)
	if _, err := s.Replace(ctx, back.ID, approval(other, call(t, s, other), "q")); !errors.Is(err, ErrOtherRun) {
		t.Errorf("replacing with another run's: %v", err)
	}
}

func TestEnd(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	for i, c := range []struct {
		approve bool
		to      guard.Status
		ok      bool
	}{
		{false, guard.Expired, true}, {false, guard.Cancelled, true}, {false, guard.Stale, true}, {false, guard.Lapsed, false},
		{true, guard.Lapsed, true}, {true, guard.Stale, true}, {true, guard.Cancelled, true}, {true, guard.Expired, false},
		{false, guard.Executed, false}, {true, guard.Denied, false}, {true, guard.Executing, false},
	} {
		a := pending(t, s, v, string(rune('a'+i)))
		if c.approve {
			must(s.Decide(ctx, a.ID, yes(a)))(t)
		}
		_, err := s.End(ctx, a.ID, c.to, "why")
		if (err == nil) != c.ok || err != nil && !errors.Is(err, guard.ErrTransition) {
			t.Errorf("approved %v → %s: %v", c.approve, c.to, err)
		}
		if c.ok {
			if _, err := s.End(ctx, a.ID, c.to, "again"); state(err) != c.to {
				t.Errorf("twice %s: %v", c.to, err)
			}
		}
	}
}

func TestListing(t *testing.T) {
	o := options(t)
	s := open(t, o)
	clock := o.Clock.(*fakeClock)
	v := session(t, s)
	other := v
	other.ID, other.RunID, other.Tenant = guard.NewSessionID(), guard.NewRunID(), "beta"
	if err := s.OpenSession(ctx, other); err != nil {
		t.Fatal(err)
	}
	start := clock.Now().Wall
	var ids []guard.ApprovalID
	for i := range 10 {
		owner := v
		if i%5 == 4 {
			owner = other
		}
		a := pending(t, s, owner, string(rune('a'+i)))
		ids = append(ids, a.ID)
		if i%2 == 1 {
			must(s.Decide(ctx, a.ID, no(a)))(t)
		}
		clock.advance(time.Second, time.Second)
	}
	pick := func(at ...int) (out []guard.ApprovalID) {
		for _, i := range at {
			out = append(out, ids[i])
		}
		return out
	}
	for name, c := range map[string]struct {
		f    Filter
		want []guard.ApprovalID
	}{
		"all":             {Filter{}, ids},
		"pending":         {Filter{Status: []guard.Status{guard.Pending}}, pick(0, 2, 4, 6, 8)},
		"denied":          {Filter{Status: []guard.Status{guard.Denied}}, pick(1, 3, 5, 7, 9)},
		"newest denied":   {Filter{Status: []guard.Status{guard.Denied}, Newest: true, Limit: 2}, pick(9, 7)},
		"newest":          {Filter{Newest: true, Limit: 3}, pick(9, 8, 7)},
		"newest, go on":   {Filter{Newest: true, Limit: 3, After: ids[7]}, pick(6, 5, 4)},
		"oldest, go on":   {Filter{Limit: 2, After: ids[3]}, pick(4, 5)},
		"tenant":          {Filter{Tenant: "beta"}, pick(4, 9)},
		"no such tenant":  {Filter{Tenant: "bet"}, nil},
		"run":             {Filter{Run: other.RunID, Status: []guard.Status{guard.Denied}}, pick(9)},
		"server":          {Filter{Server: "nope"}, nil},
		"since":           {Filter{Since: start.Add(7 * time.Second)}, pick(7, 8, 9)},
		"since, newest":   {Filter{Since: start.Add(7 * time.Second), Newest: true}, pick(9, 8, 7)},
		"denied tenant":   {Filter{Tenant: tenant, Status: []guard.Status{guard.Denied}, Newest: true}, pick(7, 5, 3, 1)},
		"status unused":   {Filter{Status: []guard.Status{guard.Executed, guard.Unknown}}, nil},
		"after the last":  {Filter{After: ids[9]}, nil},
		"nothing, newest": {Filter{Status: []guard.Status{guard.Stale}, Newest: true}, nil},
	} {
		got := must(s.Approvals(c.f))(t)
		var have []guard.ApprovalID
		for _, a := range got {
			have = append(have, a.ID)
			if a.Args != nil || a.Preview.Change.Text != "" {
				t.Errorf("%s: a list without Full carries contents", name)
			}
		}
		if !slices.Equal(have, c.want) {
			t.Errorf("%s: %v, want %v", name, have, c.want)
		}
		if c.f.Limit == 0 && c.f.After == "" {
			if n := must(s.Count(c.f))(t); n != len(c.want) {
				t.Errorf("%s: counted %d", name, n)
			}
		}
	}
	if got := must(s.Approvals(Filter{Full: true, Limit: 2}))(t); len(got) != 2 || len(got[0].Args) == 0 || got[1].Preview.Change.Text == "" {
		t.Errorf("full: %+v", got)
	}
	if _, err := s.Approvals(Filter{After: guard.NewApprovalID()}); !errors.Is(err, ErrNotFound) {
		t.Errorf("after an unknown one: %v", err)
	}
}

func TestTenantsAreSeparate(t *testing.T) {
	s := open(t, options(t))
	v := session(t, s)
	a := pending(t, s, v, "x")
	w := v
	w.ID, w.Tenant = guard.NewSessionID(), tenant+"\x00"
	if err := s.OpenSession(ctx, w); err == nil {
		t.Error("a tenant with NUL was taken")
	}
	w.Tenant = ""
	if err := s.OpenSession(ctx, w); err == nil {
		t.Error("no tenant was taken")
	}
	w.Tenant = "beta"
	if err := s.OpenSession(ctx, w); err != nil {
		t.Fatal(err)
	}
	// The same run id, tool and digest in another tenant is another approval.
	b := pending(t, s, w, "x")
	must(s.Decide(ctx, a.ID, yes(a)))(t)
	if st := status(t, s, b.ID); st != guard.Pending {
		t.Errorf("the other tenant's approval is %s", st)
	}
	in := intentFor(a)
	in.CallID, in.SessionID, in.Tenant = b.CallID, b.SessionID, "beta"
	if err := s.Begin(ctx, in); !errors.Is(err, ErrOtherRun) {
		t.Errorf("another tenant's approval was used: %v", err)
	}
}
