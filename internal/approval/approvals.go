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
	// Submit keeps a new pending approval; at most one is open for a tenant,
	// run, server, tool and digest.
	Submit(ctx context.Context, a guard.Approval, events ...audit.Event) error
	// FindOpen returns the pending or approved approval of a digest.
	FindOpen(tenant string, run guard.RunID, server, tool string, digest digest.Digest) (guard.Approval, bool, error)
	// Join makes a call the newest one of an open approval.
	Join(ctx context.Context, id guard.ApprovalID, session guard.SessionID, call guard.CallID) (guard.Approval, error)
}

// Arbiter changes approvals. Each method is one transition, or an error and no
// change.
type Arbiter interface {
	Decide(ctx context.Context, id guard.ApprovalID, s guard.Signoff) (guard.Approval, error)
	End(ctx context.Context, id guard.ApprovalID, to guard.Status, why string) (guard.Approval, error)
	Replace(ctx context.Context, old guard.ApprovalID, fresh guard.Approval) (guard.Approval, error)
}

// Archive reads approvals and marks those whose call was answered early.
type Archive interface {
	// Approval returns the approval with the identifier.
	Approval(id guard.ApprovalID) (guard.Approval, error)
	// Approvals returns those that a filter selects.
	Approvals(f store.Filter) ([]guard.Approval, error)
	// Release notes that the call no longer waits, so that the approval
	// survives the call's session.
	Release(ctx context.Context, id guard.ApprovalID, call guard.CallID) error
}

// Store is where approvals live; *store.Store is one.
type Store interface {
	Registry
	Arbiter
	Archive
}

// Clock reads both clocks.
type Clock interface{ Now() guard.Now }

// Config is what a Desk needs. All fields but Log are required.
type Config struct {
	Store Store
	Clock Clock
	Log   *slog.Logger
}

// nap is the longest time between two looks at the clocks. Timers follow a
// clock that stands still while the machine sleeps and ignores that the wall
// clock was set; deadlines do neither.
const nap = 3 * time.Second

// Reasons that the desk itself gives for the end of an approval.
const (
	WhyExpired  = "no decision within the time box"
	WhyLapsed   = "approved, but not used in time"
	WhySession  = "the client or the guard ended before the call ran"
	WhyReplaced = "what would change is no longer what was approved"
)

// ErrStaleRounds says that a call went stale too often to be asked for again.
var ErrStaleRounds = errors.New("the target changed too often between approval and execution")

// Approvals is shared by all sessions; its methods may be called concurrently.
type Approvals struct {
	store Store
	clock Clock
	log   *slog.Logger

	// calls orders what calls do to approvals (submit, join, cancel, replace), so
	// that the newest call here is the newest one in the store. It is held
	// across commits; decisions and deadlines do not take it.
	calls sync.Mutex

	mu   sync.Mutex // guards what follows, and all tickets; never held across I/O
	open map[guard.ApprovalID]*entry

	nudge  chan struct{}
	cancel context.CancelFunc
	ended  chan struct{}
}

// entry is what the desk knows of one open approval.
type entry struct {
	approval guard.Approval
	live     *Waiter       // the newest held call, nil if none waits
	claimed  chan struct{} // while live is about to execute; closed when that is settled
	joining  chan struct{} // while another call takes live's place; closed when it has
}

// New returns a desk. Start makes it watch deadlines.
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

// Start loads the open approvals from the store and begins to watch deadlines.
// It is called once, before any session is served.
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
	go d.watch(ctx) // owned by the desk; ends with ctx, Stop waits for it
	return nil
}

// Stop ends the watch over deadlines. Tickets stay as they are: what was
// pending is pending after the next Start.
func (d *Approvals) Stop() {
	if d.cancel != nil {
		d.cancel()
		<-d.ended
	}
}

// Submit holds a call for approval. It joins the open approval with the same
// tenant, run, server, tool and digest, else a is kept with the events in one
// transaction. a carries the live call and session. Where an identical call is
// just being executed, Submit waits until that is settled or ctx ends.
func (d *Approvals) Submit(ctx context.Context, a guard.Approval, events ...audit.Event) (*Waiter, error) {
	d.calls.Lock()
	defer d.calls.Unlock()
	return d.submit(ctx, a, events)
}

// submit is Submit with calls held; it may let go of it while it waits.
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

// Waits reports whether a call with the same arguments of the same run has an
// open approval. What it would change may be something else by now.
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

// takeOver makes the call of a the live one of an open approval. It returns nil
// where that has ended in between.
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

// fresh keeps a as a new approval. The entry is there before the store has it,
// so that no decision is missed.
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

// light is an approval without its contents, which the store has: a desk keeps
// thousands.
func light(a guard.Approval) guard.Approval {
	a.Args = nil
	c := &a.Preview.Change
	c.Text, c.Patch, c.Preview, c.Facts = "", nil, nil, guard.Facts{}
	return a
}

// attach makes the call of a the live one of the approval as it stands.
func (d *Approvals) attach(as, a guard.Approval) *Waiter {
	t := &Waiter{
		desk: d, id: as.ID, call: a.CallID, session: a.SessionID, round: max(a.Round, as.Round),
		decided: make(chan struct{}), lost: make(chan struct{}),
	}
	d.mu.Lock()
	e := d.open[as.ID]
	if e == nil {
		// It ended since the store spoke, or this desk never heard of it.
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

// Decide passes a word to the store and tells the held call what came of it.
func (d *Approvals) Decide(ctx context.Context, id guard.ApprovalID, s guard.Signoff) (guard.Approval, error) {
	a, err := d.store.Decide(ctx, id, s)
	if err != nil {
		d.refresh(id)
		return a, err
	}
	d.see(a)
	return a, nil
}

// EndSession cancels what the session's calls still wait for. What was
// answered early, or is approved already, stays until its deadline.
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

// join returns the channel that closes when the execution that is just beginning
// on an approval is settled. Where there is none it is nil, and none begins
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

// end closes an approval in the store, and here.
func (d *Approvals) end(ctx context.Context, id guard.ApprovalID, to guard.Status, why string) error {
	a, err := d.store.End(ctx, id, to, why)
	if err != nil {
		if now := d.refresh(id); now.Status != "" && !now.Status.Open() {
			return nil // somebody else was first
		}
		return fmt.Errorf("ending %s as %s: %w", id, to, err)
	}
	d.see(a)
	return nil
}

// refresh reads an approval again and returns it; the zero value if it cannot be
// read.
func (d *Approvals) refresh(id guard.ApprovalID) guard.Approval {
	a, err := d.store.Approval(id)
	if err != nil {
		return guard.Approval{}
	}
	d.see(a)
	return a
}

// see takes in what the store says of an approval.
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
// forgets what has ended. mu is held.
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

// overdue says how an open approval ends at now: "" if it does not.
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

// watch ends what is overdue, at its deadline and at least every nap.
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

// sweep ends what is overdue and returns how long it may take until the next.
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
			continue // the store itself refuses a late beginning
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
