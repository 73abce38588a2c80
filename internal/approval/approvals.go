package approval

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/store"
)

// Registry admits approvals and the calls that join them.
type Registry interface {
	// Submit stores a new pending approval. At most one approval may be open
	// for a tenant, run, server, tool and digest.
	Submit(ctx context.Context, a guard.Approval, events ...audit.Event) error
	// FindOpen returns the pending or approved approval for a digest.
	FindOpen(tenant string, run guard.RunID, server, tool string, digest digest.Digest) (guard.Approval, bool, error)
	// Join makes call the live call of an open approval.
	Join(ctx context.Context, id guard.ApprovalID, session guard.SessionID, call guard.CallID) (guard.Approval, error)
}

// Arbiter changes approvals. Each method makes one transition, or returns an
// error and changes nothing.
type Arbiter interface {
	Decide(ctx context.Context, id guard.ApprovalID, s guard.Signoff) (guard.Approval, error)
	End(ctx context.Context, id guard.ApprovalID, to guard.Status, why string) (guard.Approval, error)
	Replace(ctx context.Context, old guard.ApprovalID, fresh guard.Approval) (guard.Approval, error)
}

// Archive reads approvals and releases calls that were answered early.
type Archive interface {
	// Approval returns the approval with the given ID.
	Approval(id guard.ApprovalID) (guard.Approval, error)
	// Approvals returns the approvals that match a filter.
	Approvals(f store.Filter) ([]guard.Approval, error)
	// Release records that the call no longer waits, so that the approval
	// outlives the call's session.
	Release(ctx context.Context, id guard.ApprovalID, call guard.CallID) error
}

// Store keeps approvals durably; *store.Store implements it.
type Store interface {
	Registry
	Arbiter
	Archive
}

// Clock reads the wall clock and the time since boot.
type Clock interface{ Now() guard.Now }

// Config configures Approvals. All fields but Log are required.
type Config struct {
	Store Store
	Clock Clock
	Log   *slog.Logger
}

// nap is the longest time between two checks of the clocks. A timer stops
// while the machine sleeps and does not notice that the wall clock was set,
// but deadlines must account for both.
const nap = 3 * time.Second

// Reasons for which Approvals itself ends an approval.
const (
	WhyExpired  = "no decision within the time box"
	WhyLapsed   = "approved, but not used in time"
	WhySession  = "the client or the guard ended before the call ran"
	WhyReplaced = "what would change is no longer what was approved"
)

// ErrStaleRounds means that a call became stale too often to be asked for
// again.
var ErrStaleRounds = errors.New("the target changed too often between approval and execution")

// Approvals tracks the open approvals and the calls that wait for them. All
// sessions share it; its methods are safe for concurrent use.
type Approvals struct {
	store Store
	clock Clock
	log   *slog.Logger

	// calls serializes what calls do to approvals (submit, join, cancel,
	// replace), so that the newest call here is also the newest one in the
	// store. It is held across commits. Decisions and deadlines do not take
	// it.
	calls sync.Mutex

	mu   sync.Mutex // guards the fields below and all waiters; never held across I/O
	open map[guard.ApprovalID]*entry

	nudge  chan struct{}
	cancel context.CancelFunc
	ended  chan struct{}
}

// entry is the state of one open approval in memory.
type entry struct {
	approval guard.Approval
	live     *Waiter       // the newest held call, nil if none waits
	claimed  chan struct{} // while live is about to execute; closed when that is settled
	joining  chan struct{} // while another call replaces live; closed when it has
}

// New returns Approvals that do not watch deadlines until Start is called.
func New(c Config) *Approvals {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Approvals{
		store: c.Store, clock: c.Clock, log: c.Log,
		open:  map[guard.ApprovalID]*entry{},
		nudge: make(chan struct{}, 1),
	}
}

// Start loads the open approvals from the store and starts to watch deadlines.
// Call it once, before any session is served.
func (d *Approvals) Start(ctx context.Context) error {
	open, err := d.store.Approvals(store.Filter{Status: []guard.Status{guard.Pending, guard.Approved}})
	if err != nil {
		return fmt.Errorf("loading the open approvals: %w", err)
	}
	d.mu.Lock()
	for _, a := range open {
		d.open[a.ID] = &entry{approval: a}
	}
	d.mu.Unlock()
	ctx, d.cancel = context.WithCancel(ctx)
	d.ended = make(chan struct{})
	go d.watch(ctx) // owned by d; ends with ctx, and Stop waits for it
	return nil
}

// Stop stops watching deadlines. Waiters are left as they are: a pending
// approval is still pending after the next Start.
func (d *Approvals) Stop() {
	if d.cancel != nil {
		d.cancel()
		<-d.ended
	}
}

// Submit holds a call for approval. It joins the open approval with the same
// tenant, run, server, tool and digest; without one, it stores a and the
// events in one transaction. a names the live call and its session. While an
// identical call is about to execute, Submit waits until that is settled or
// ctx ends.
func (d *Approvals) Submit(ctx context.Context, a guard.Approval, events ...audit.Event) (*Waiter, error) {
	d.calls.Lock()
	defer d.calls.Unlock()
	return d.submit(ctx, a, events)
}

// submit is Submit with calls locked. It may unlock calls while it waits.
func (d *Approvals) submit(ctx context.Context, a guard.Approval, events []audit.Event) (*Waiter, error) {
	for {
		found, ok, err := d.store.FindOpen(a.Tenant, a.RunID, a.Server, a.Tool, a.Digest)
		if err != nil {
			return nil, fmt.Errorf("looking for an open approval: %w", err)
		}
		if !ok {
			return d.fresh(ctx, a, events)
		}
		claimed, joined := d.join(found.ID)
		if claimed != nil {
			d.calls.Unlock()
			select {
			case <-claimed:
				d.calls.Lock()
				continue
			case <-ctx.Done():
				d.calls.Lock()
				return nil, ctx.Err()
			}
		}
		t, err := d.takeOver(ctx, found, a)
		joined()
		if t != nil || err != nil {
			return t, err
		}
	}
}

// Joins reports whether Submit would join an open approval.
func (d *Approvals) Joins(a guard.Approval) (bool, error) {
	_, ok, err := d.store.FindOpen(a.Tenant, a.RunID, a.Server, a.Tool, a.Digest)
	if err != nil {
		return false, fmt.Errorf("looking for an open approval: %w", err)
	}
	return ok, nil
}

// Waits reports whether a call of the same run with the same arguments has an
// open approval. The change that it would make may be a different one by now.
func (d *Approvals) Waits(c guard.ToolCall) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.open {
		a := e.approval
		if a.ArgsRaw == c.ArgsRaw && a.RunID == c.Session.RunID && a.Tool == c.Tool && a.Server == c.Session.Server && a.Tenant == c.Session.Tenant {
			return true
		}
	}
	return false
}

// takeOver makes the call of a the live call of an open approval. It returns
// nil if that approval has ended in between.
func (d *Approvals) takeOver(ctx context.Context, found, a guard.Approval) (*Waiter, error) {
	if to, why := overdue(found, d.clock.Now()); to != "" {
		return nil, d.end(ctx, found.ID, to, why)
	}
	as, err := d.store.Join(ctx, found.ID, a.SessionID, a.CallID)
	if err != nil {
		now, again := d.store.Approval(found.ID)
		if again == nil && !now.Status.Open() {
			d.see(now)
			return nil, nil
		}
		return nil, fmt.Errorf("joining %s: %w", found.ID, err)
	}
	return d.attach(as, a), nil
}

// fresh stores a as a new approval. It adds the entry before the store has the
// approval, so that no decision is missed.
func (d *Approvals) fresh(ctx context.Context, a guard.Approval, events []audit.Event) (*Waiter, error) {
	d.mu.Lock()
	d.open[a.ID] = &entry{approval: light(a)}
	d.mu.Unlock()
	if err := d.store.Submit(ctx, a, events...); err != nil {
		d.mu.Lock()
		delete(d.open, a.ID)
		d.mu.Unlock()
		return nil, fmt.Errorf("keeping the approval: %w", err)
	}
	a = light(a)
	return d.attach(a, a), nil
}

// light returns an approval without its contents, which the store has.
// Thousands may be in memory.
func light(a guard.Approval) guard.Approval {
	a.Args = nil
	c := &a.Preview.Change
	c.Text, c.Patch, c.Preview, c.Facts = "", nil, nil, guard.Facts{}
	return a
}

// attach makes the call of a the live call of the approval as.
func (d *Approvals) attach(as, a guard.Approval) *Waiter {
	t := &Waiter{
		approvals: d, id: as.ID, call: a.CallID, session: a.SessionID, round: max(a.Round, as.Round),
		decided: make(chan struct{}), lost: make(chan struct{}),
	}
	d.mu.Lock()
	e := d.open[as.ID]
	if e == nil {
		// It ended after the store returned it, or has no entry here.
		defer d.refresh(as.ID)
		e = &entry{approval: as}
		d.open[as.ID] = e
	}
	defer d.mu.Unlock()
	if e.live != nil {
		e.live.lose(Result{Status: e.approval.Status, Approval: e.approval, Superseded: true})
	}
	e.live = t
	if as.Version >= e.approval.Version {
		e.approval = as
	}
	d.apply(e)
	d.wake()
	return t
}

// Decide passes a decision to the store and tells the held call the result.
func (d *Approvals) Decide(ctx context.Context, id guard.ApprovalID, s guard.Signoff) (guard.Approval, error) {
	a, err := d.store.Decide(ctx, id, s)
	if err != nil {
		d.refresh(id)
		return a, err
	}
	d.see(a)
	return a, nil
}

// EndSession cancels what the session's calls still wait for. Approvals whose
// call was answered early, or that are already approved, stay until their
// deadline.
func (d *Approvals) EndSession(ctx context.Context, id guard.SessionID) error {
	d.calls.Lock()
	defer d.calls.Unlock()
	var pending []guard.ApprovalID
	d.mu.Lock()
	for _, e := range d.open {
		if e.live == nil || e.live.session != id || e.claimed != nil {
			continue
		}
		if e.approval.Status == guard.Pending {
			pending = append(pending, e.approval.ID)
			continue
		}
		e.live.lose(Result{Status: guard.Cancelled, Approval: e.approval, Reason: WhySession})
		e.live = nil
	}
	d.mu.Unlock()
	var errs []error
	for _, p := range pending {
		errs = append(errs, d.end(ctx, p, guard.Cancelled, WhySession))
	}
	return errors.Join(errs...)
}

// join returns a channel that closes when the execution that is about to begin
// under an approval is settled, or nil if there is none. No execution begins
// until joined is called.
func (d *Approvals) join(id guard.ApprovalID) (claimed <-chan struct{}, joined func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.open[id]
	switch {
	case e == nil:
		return nil, func() {}
	case e.claimed != nil:
		return e.claimed, nil
	}
	e.joining = make(chan struct{})
	return nil, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		close(e.joining)
		e.joining = nil
	}
}

// end closes an approval in the store and here.
func (d *Approvals) end(ctx context.Context, id guard.ApprovalID, to guard.Status, why string) error {
	a, err := d.store.End(ctx, id, to, why)
	if err != nil {
		if now := d.refresh(id); now.Status != "" && !now.Status.Open() {
			return nil // another transition came first
		}
		return fmt.Errorf("ending %s as %s: %w", id, to, err)
	}
	d.see(a)
	return nil
}

// refresh reads an approval again and returns it, or the zero value if it
// cannot be read.
func (d *Approvals) refresh(id guard.ApprovalID) guard.Approval {
	a, err := d.store.Approval(id)
	if err != nil {
		return guard.Approval{}
	}
	d.see(a)
	return a
}

// see takes over the store's state of an approval.
func (d *Approvals) see(a guard.Approval) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.open[a.ID]
	if e == nil || a.Version < e.approval.Version {
		return
	}
	e.approval = light(a)
	d.apply(e)
	d.wake()
}

// apply tells the live call of e what its approval's status means for it, and
// forgets approvals that have ended. mu is held.
func (d *Approvals) apply(e *entry) {
	a := e.approval
	switch a.Status {
	case guard.Pending:
	case guard.Approved:
		if e.live != nil {
			e.live.decide(Result{Status: guard.Approved, Approval: a, Reason: lastReason(a)})
		}
	default:
		delete(d.open, a.ID)
		if e.live != nil {
			why := a.Why
			if a.Status == guard.Denied {
				why = lastReason(a)
			}
			e.live.lose(Result{Status: a.Status, Approval: a, Reason: why})
			e.live = nil
		}
		e.settle()
	}
}

func (e *entry) settle() {
	if e.claimed != nil {
		close(e.claimed)
		e.claimed = nil
	}
}

func lastReason(a guard.Approval) string {
	if n := len(a.Signoffs); n > 0 {
		return a.Signoffs[n-1].Reason
	}
	return a.Why
}

// overdue returns how an open approval ends at now, or "" if it does not.
func overdue(a guard.Approval, now guard.Now) (guard.Status, string) {
	switch {
	case a.Status == guard.Pending && a.Expires.Passed(now):
		return guard.Expired, WhyExpired
	case a.Status == guard.Approved && a.UseBy.Passed(now):
		return guard.Lapsed, WhyLapsed
	}
	return "", ""
}

func (d *Approvals) wake() {
	select {
	case d.nudge <- struct{}{}:
	default:
	}
}

// watch ends overdue approvals, each at its deadline; it checks at least every
// nap.
func (d *Approvals) watch(ctx context.Context) {
	defer close(d.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.nudge:
		case <-timer.C:
		}
		timer.Reset(d.sweep(ctx))
	}
}

// sweep ends overdue approvals and returns the time until the next sweep.
func (d *Approvals) sweep(ctx context.Context) time.Duration {
	type due struct {
		id  guard.ApprovalID
		to  guard.Status
		why string
	}
	var dues []due
	now, next := d.clock.Now(), nap
	d.mu.Lock()
	for _, e := range d.open {
		if e.claimed != nil {
			continue // the store itself refuses to begin an execution this late
		}
		if to, why := overdue(e.approval, now); to != "" {
			dues = append(dues, due{e.approval.ID, to, why})
			continue
		}
		left := e.approval.Expires.Left(now)
		if e.approval.Status == guard.Approved {
			left = e.approval.UseBy.Left(now)
		}
		next = min(next, left)
	}
	d.mu.Unlock()
	for _, o := range dues {
		if err := d.end(ctx, o.id, o.to, o.why); err != nil && ctx.Err() == nil {
			d.log.Error("an overdue approval could not be ended; it stays unusable and is tried again", "approval", o.id, "err", err)
		}
	}
	return next
}
