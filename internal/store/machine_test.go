package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"pgregory.net/rapid"
)

// modelApproval is the state of an approval in the model.
type modelApproval struct {
	guard.Approval
	wins    int // decisions that were taken
	intents int // executions that were begun
}

// machine runs a store against a plain map.
type machine struct {
	t         *testing.T
	o         Options
	clock     *fakeClock
	s         *Store
	session   guard.Session
	calls     map[guard.CallID]bool // open
	ended     map[guard.CallID]int  // completions
	approvals map[guard.ApprovalID]*modelApproval
	order     []guard.ApprovalID
	n         int
}

// TestPromise3And4_StateMachine drives random transitions: at most one decision
// wins, nothing executes without an intent or twice, each call ends once, and
// only legal transitions happen, also across restarts.
func TestPromise3And4_StateMachine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "m")
		if err != nil {
			rt.Fatal(err)
		}
		m := &machine{
			t: t, clock: newClock(), calls: map[guard.CallID]bool{}, ended: map[guard.CallID]int{},
			approvals: map[guard.ApprovalID]*modelApproval{},
		}
		m.o = Options{Path: filepath.Join(dir, "guard.db"), Clock: m.clock, CreateNew: true}
		m.open(rt)
		defer func() { m.s.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"submit":    m.submit,
			"join":      m.join,
			"release":   m.release,
			"decide":    m.decide,
			"end":       m.end,
			"replace":   m.replace,
			"begin":     m.begin,
			"post":      m.post,
			"finish":    m.finish,
			"reconcile": m.reconcile,
			"close":     m.closeCall,
			"wait":      m.wait,
			"restart":   m.restart,
			"":          m.check,
		})
		m.checkLog(rt)
	})
}

func (m *machine) open(rt *rapid.T) {
	s, err := Open(m.o)
	if err != nil {
		rt.Fatal(err)
	}
	m.s = s
	if m.session.RunID == "" {
		m.session = guard.Session{RunID: guard.NewRunID(), Tenant: tenant, Server: "files"}
	}
	m.session.ID = guard.NewSessionID()
	if err := s.OpenSession(ctx, m.session); err != nil {
		rt.Fatal(err)
	}
}

func (m *machine) call(rt *rapid.T) guard.CallID {
	c := toolCall(m.session)
	if err := m.s.OpenCall(ctx, callOf(c), audit.Requested(c, m.clock.Now().Wall)); err != nil {
		rt.Fatal(err)
	}
	m.calls[c.ID] = true
	return c.ID
}

func (m *machine) pick(rt *rapid.T) *modelApproval {
	if len(m.order) == 0 {
		rt.Skip("no approval yet")
	}
	return m.approvals[rapid.SampledFrom(m.order).Draw(rt, "approval")]
}

// overdue ends an overdue approval of the model when the store would.
func (m *machine) overdue(a *modelApproval) bool {
	to, _ := overdue(a.Approval, m.clock.Now())
	if to == "" {
		return false
	}
	a.Status, a.HeldBy = to, ""
	return true
}

func (m *machine) submit(rt *rapid.T) {
	a := approval(m.session, m.call(rt), fmt.Sprint(rapid.IntRange(0, 3).Draw(rt, "what")))
	err := m.s.Submit(ctx, a)
	var open *modelApproval
	for _, o := range m.approvals {
		if o.Digest == a.Digest && o.Status.Open() && !m.overdue(o) {
			open = o
		}
	}
	var dup *DuplicateError
	switch {
	case open != nil && (!errors.As(err, &dup) || dup.ID != open.ID):
		rt.Fatalf("%s is open, yet submitting said %v", open.ID, err)
	case open == nil && err != nil:
		rt.Fatalf("submitting: %v", err)
	case open == nil:
		m.add(rt, a.ID)
	}
}

func (m *machine) add(rt *rapid.T, id guard.ApprovalID) {
	kept, err := m.s.Approval(id)
	if err != nil {
		rt.Fatal(err)
	}
	m.approvals[id] = &modelApproval{Approval: kept}
	m.order = append(m.order, id)
}

func (m *machine) join(rt *rapid.T) {
	a := m.pick(rt)
	c := m.call(rt)
	_, err := m.s.Join(ctx, a.ID, m.session.ID, c)
	ok := !m.overdue(a) && a.Status.Open()
	if ok != (err == nil) {
		rt.Fatalf("joining %s: %v", a.Status, err)
	}
	if ok {
		a.CallID, a.SessionID, a.HeldBy = c, m.session.ID, c
	}
}

func (m *machine) release(rt *rapid.T) {
	a := m.pick(rt)
	if err := m.s.Release(ctx, a.ID, a.CallID); err != nil {
		rt.Fatal(err)
	}
	if a.HeldBy == a.CallID && a.Status.Open() {
		a.HeldBy = ""
	}
}

func (m *machine) decide(rt *rapid.T) {
	a := m.pick(rt)
	w := yes(a.Approval)
	w.Approve = rapid.Bool().Draw(rt, "approve")
	if wrong := rapid.IntRange(0, 4).Draw(rt, "wrong digest") == 0; wrong {
		w.Digest[0] ^= 1
	}
	got, err := m.s.Decide(ctx, a.ID, w)
	ok := !m.overdue(a) && a.Status == guard.Pending && w.Digest == a.Digest
	if ok != (err == nil) {
		rt.Fatalf("deciding %s: %v", a.Status, err)
	}
	if !ok {
		return
	}
	a.wins++
	a.Status, a.UseBy = got.Status, got.UseBy
	if !w.Approve {
		a.HeldBy = ""
	}
	if want := map[bool]guard.Status{true: guard.Approved, false: guard.Denied}[w.Approve]; a.Status != want {
		rt.Fatalf("decided %v, is %s", w.Approve, a.Status)
	}
}

func (m *machine) end(rt *rapid.T) {
	a := m.pick(rt)
	to := rapid.SampledFrom([]guard.Status{guard.Expired, guard.Cancelled, guard.Lapsed, guard.Stale}).Draw(rt, "to")
	_, err := m.s.End(ctx, a.ID, to, "because")
	ok := guard.CheckTransition(a.Status, to) == nil
	if ok != (err == nil) {
		rt.Fatalf("%s → %s: %v", a.Status, to, err)
	}
	if ok {
		a.Status, a.HeldBy = to, ""
	}
}

func (m *machine) replace(rt *rapid.T) {
	a := m.pick(rt)
	fresh := approval(m.session, a.CallID, fmt.Sprint("fresh", m.n))
	m.n++
	_, err := m.s.Replace(ctx, a.ID, fresh)
	ok := !m.overdue(a) && a.Status.Open()
	if ok != (err == nil) {
		rt.Fatalf("replacing %s: %v", a.Status, err)
	}
	if ok {
		a.Status, a.HeldBy = guard.Stale, ""
		m.add(rt, fresh.ID)
	}
}

func (m *machine) begin(rt *rapid.T) {
	a := m.pick(rt)
	in := intentFor(a.Approval)
	wrong := rapid.IntRange(0, 4).Draw(rt, "wrong digest") == 0
	if wrong {
		in.Digest[3] ^= 1
	}
	err := m.s.Begin(ctx, in)
	ok := m.calls[a.CallID] && a.SessionID == m.session.ID
	for _, o := range m.approvals { // a call begins once
		ok = ok && !(o.Post && o.CallID == a.CallID)
	}
	if ok { // else the call is looked at first, and the approval left alone
		ok = a.intents == 0 && !m.overdue(a) && a.Status == guard.Approved && !wrong
	}
	if ok != (err == nil) {
		rt.Fatalf("beginning %s (open call %v): %v", a.Status, m.calls[a.CallID], err)
	}
	if ok {
		a.intents++
		a.Status = guard.Executing
	}
}

// post begins a call that is shown afterwards, on an open call or on one that
// was already used or ended, with its own digest or another.
func (m *machine) post(rt *rapid.T) {
	id := m.call
	if len(m.order) > 0 && rapid.IntRange(0, 3).Draw(rt, "old call") == 0 {
		id = func(rt *rapid.T) guard.CallID { return m.pick(rt).CallID }
	}
	a := approval(m.session, id(rt), fmt.Sprint(rapid.IntRange(0, 3).Draw(rt, "what")))
	in := intentFor(a)
	wrong := rapid.IntRange(0, 4).Draw(rt, "wrong digest") == 0
	if wrong {
		in.Digest[3] ^= 1
	}
	_, _, err := m.s.Intent(a.CallID)
	used := err == nil
	asked := false // a human is
	for _, o := range m.approvals {
		asked = asked || o.CallID == a.CallID && o.Status.Open()
	}
	err = m.s.BeginPost(ctx, in, a)
	ok := !wrong && !used && !asked && m.calls[a.CallID]
	if ok != (err == nil) {
		rt.Fatalf("beginning what is shown afterwards (wrong %v, used %v, asked %v, open %v): %v", wrong, used, asked, m.calls[a.CallID], err)
	}
	if !ok {
		return
	}
	m.add(rt, a.ID)
	kept := m.approvals[a.ID]
	kept.intents++
	if kept.Status != guard.Executing || !kept.Post {
		rt.Fatalf("it is %s", kept.Status)
	}
}

func (m *machine) finish(rt *rapid.T) {
	a := m.ofCall(m.pick(rt), guard.Executing)
	o := rapid.SampledFrom([]guard.Outcome{guard.OutcomeOK, guard.OutcomeError, guard.OutcomeUnknown, guard.OutcomeIncomplete}).Draw(rt, "outcome")
	r := receipt(a.CallID, o)
	_, err := m.s.Finish(ctx, r, completed(audit.StatusOK))
	ok := a.Status == guard.Executing
	if ok != (err == nil) {
		rt.Fatalf("finishing %s: %v", a.Status, err)
	}
	if ok {
		a.Status = r.Status()
		m.completed(a.CallID)
	}
}

// ofCall returns the approval of a's call that has status st, or else a: a
// call whose approval was not granted may have run unasked afterwards.
func (m *machine) ofCall(a *modelApproval, st guard.Status) *modelApproval {
	for _, o := range m.approvals {
		if o.CallID == a.CallID && o.Status == st {
			return o
		}
	}
	return a
}

func (m *machine) completed(id guard.CallID) {
	delete(m.calls, id)
	m.ended[id]++
}

func (m *machine) reconcile(rt *rapid.T) {
	a := m.ofCall(m.pick(rt), guard.Unknown)
	r := receipt(a.CallID, rapid.SampledFrom([]guard.Outcome{guard.OutcomeOK, guard.OutcomeError}).Draw(rt, "outcome"))
	_, err := m.s.Reconcile(ctx, a.CallID, r)
	ok := a.Status == guard.Unknown
	if ok != (err == nil) {
		rt.Fatalf("reconciling %s: %v", a.Status, err)
	}
	if ok {
		a.Status = r.Status()
	}
}

func (m *machine) closeCall(rt *rapid.T) {
	a := m.pick(rt)
	e := completed(audit.StatusBlocked)
	e.Gates.ApprovalID = a.ID
	err := m.s.CloseCall(ctx, a.CallID, e)
	ok := m.calls[a.CallID] && a.Status != guard.Executing
	// Another approval of the same call may be executing.
	for _, o := range m.approvals {
		ok = ok && !(o.CallID == a.CallID && o.Status == guard.Executing)
	}
	if ok != (err == nil) {
		rt.Fatalf("closing the call of %s: %v", a.Status, err)
	}
	if !ok {
		return
	}
	m.completed(a.CallID)
	if a.HeldBy == a.CallID && a.Status.Open() {
		a.HeldBy = ""
	}
}

func (m *machine) wait(rt *rapid.T) {
	d := time.Duration(rapid.IntRange(1, 600).Draw(rt, "seconds")) * time.Second
	m.clock.advance(d, d)
}

func (m *machine) restart(rt *rapid.T) {
	if err := m.s.Close(); err != nil {
		rt.Fatal(err)
	}
	s, err := Open(m.o)
	if err != nil {
		rt.Fatal(err)
	}
	m.s = s
	if _, err := s.Startup(ctx); err != nil {
		rt.Fatal(err)
	}
	for _, a := range m.approvals {
		switch {
		case a.Status == guard.Executing:
			a.Status = guard.Unknown
		case m.overdue(a):
		case a.Status == guard.Pending && a.HeldBy != "":
			a.Status = guard.Cancelled
		}
		if !a.Status.Final() {
			a.HeldBy = ""
		}
	}
	for id := range m.calls {
		m.completed(id)
	}
	m.session.ID = guard.NewSessionID()
	if err := s.OpenSession(ctx, m.session); err != nil {
		rt.Fatal(err)
	}
}

// check compares the store with the model after each step.
func (m *machine) check(rt *rapid.T) {
	list, err := m.s.Approvals(Filter{})
	if err != nil {
		rt.Fatal(err)
	}
	if len(list) != len(m.approvals) {
		rt.Fatalf("%d approvals, want %d", len(list), len(m.approvals))
	}
	executing := 0
	for _, got := range list {
		want := m.approvals[got.ID]
		if got.Status != want.Status || got.CallID != want.CallID || got.Status.Open() && got.HeldBy != want.HeldBy {
			rt.Fatalf("%s is %s of %s held by %q, want %s of %s held by %q",
				got.ID, got.Status, got.CallID, got.HeldBy, want.Status, want.CallID, want.HeldBy)
		}
		if want.wins > 1 || want.intents > 1 || len(got.Signoffs) != want.wins {
			rt.Fatalf("%s was decided %d times and used %d times", got.ID, want.wins, want.intents)
		}
		if got.Status == guard.Executing || got.Status == guard.Unknown {
			executing++
		}
	}
	intents, err := m.s.OpenIntents()
	if err != nil {
		rt.Fatal(err)
	}
	if len(intents) != executing {
		rt.Fatalf("%d open intents for %d executions", len(intents), executing)
	}
}

// checkLog compares the audit log with the model at the end.
func (m *machine) checkLog(rt *rapid.T) {
	r, err := m.s.Verify(ctx)
	if err != nil || !r.OK() {
		rt.Fatalf("the log: %+v %v", r, err)
	}
	decided, begun, ended := map[guard.ApprovalID]int{}, map[guard.ApprovalID]int{}, map[guard.CallID]int{}
	records, err := m.s.Events(EventFilter{Limit: 1 << 20})
	if err != nil {
		rt.Fatal(err)
	}
	for _, rec := range records {
		switch e := rec.Event; e.Event {
		case audit.ApprovalDecided:
			decided[e.Gates.ApprovalID]++
		case audit.ToolCallAuthorized:
			begun[e.Gates.ApprovalID]++
		case audit.ToolCallCompleted:
			ended[e.CallID]++
		}
	}
	for id, a := range m.approvals {
		if decided[id] != a.wins || begun[id] != a.intents {
			rt.Fatalf("%s: %d decisions and %d uses in the log, want %d and %d", id, decided[id], begun[id], a.wins, a.intents)
		}
	}
	for id, n := range m.ended {
		if n != 1 || ended[id] != 1 {
			rt.Fatalf("%s ended %d times, %d times in the log", id, n, ended[id])
		}
	}
	if err := m.s.view(checkIndexes); err != nil {
		rt.Fatal(err)
	}
}
