package approval

import (
	"context"
	"errors"
	"fmt"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Result is the outcome of waiting for an approval.
type Result struct {
	// Status is Approved, or how the approval ended for this call.
	Status guard.Status
	// Reason is the reviewer's reason, or why the approval ended.
	Reason string
	// Superseded means that a later identical call has replaced this one;
	// Status is then the approval's own.
	Superseded bool
	// Approval is the approval at that moment.
	Approval guard.Approval
}

// ErrLost means that the call can no longer use the approval; [Waiter.Result]
// says why.
var ErrLost = errors.New("the approval can no longer be used by this call")

// Waiter is one held call that waits for an approval. It belongs to one
// goroutine, but Lost and Cancel are safe for concurrent use.
type Waiter struct {
	approvals *Approvals
	id        guard.ApprovalID
	call      guard.CallID
	session   guard.SessionID
	round     int

	decided chan struct{} // closed once result is set
	lost    chan struct{} // closed once the call can no longer execute

	result *Result // nil while undecided; guarded by desk.mu
}

// decide and lose run with desk.mu held.
func (t *Waiter) decide(r Result) {
	select {
	case <-t.lost:
		return
	default:
	}
	t.result = &r
	select {
	case <-t.decided:
	default:
		close(t.decided)
	}
}

func (t *Waiter) lose(r Result) {
	t.decide(r)
	select {
	case <-t.lost:
	default:
		close(t.lost)
	}
}

// ID returns the ID of the approval.
func (t *Waiter) ID() guard.ApprovalID { return t.id }

// Round returns how many stale approvals of this call came before.
func (t *Waiter) Round() int { return t.round }

// Approval returns the approval in its last known state.
func (t *Waiter) Approval() guard.Approval {
	t.approvals.mu.Lock()
	defer t.approvals.mu.Unlock()
	if e := t.approvals.open[t.id]; e != nil {
		return e.approval
	}
	if t.result == nil {
		return guard.Approval{}
	}
	return t.result.Approval
}

// Wait returns once the approval is decided or has ended for this call. The
// only error is that of ctx.
func (t *Waiter) Wait(ctx context.Context) (Result, error) {
	select {
	case <-t.decided:
		return t.Result(), nil
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// Decided returns a channel that is closed once Wait would not block.
func (t *Waiter) Decided() <-chan struct{} { return t.decided }

// Result returns what Wait returned or would return, or the zero Result while
// undecided.
func (t *Waiter) Result() Result {
	t.approvals.mu.Lock()
	defer t.approvals.mu.Unlock()
	if t.result == nil {
		return Result{}
	}
	return *t.result
}

// Lost returns a channel that is closed when the call can no longer execute
// under this approval: it was superseded, has ended, or has begun.
func (t *Waiter) Lost() <-chan struct{} { return t.lost }

// mine returns the entry if this waiter is its live one, else nil. mu is held.
func (t *Waiter) mine() *entry {
	if e := t.approvals.open[t.id]; e != nil && e.live == t {
		return e
	}
	return nil
}

// Leave stops waiting without ending the approval: the call was answered early,
// and a later identical one may join. It returns ErrLost if the waiter is no
// longer live or the approval no longer pending.
func (t *Waiter) Leave(ctx context.Context) error {
	d := t.approvals
	d.calls.Lock()
	defer d.calls.Unlock()
	d.mu.Lock()
	e := t.mine()
	if e == nil || e.approval.Status != guard.Pending {
		d.mu.Unlock()
		return ErrLost
	}
	d.mu.Unlock()
	if err := d.store.Release(ctx, t.id, t.call); err != nil {
		return fmt.Errorf("releasing %s: %w", t.id, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e = t.mine()
	if e == nil || e.approval.Status != guard.Pending {
		return ErrLost // decided or ended in between; the result says which
	}
	e.live = nil
	return nil
}

// Cancel ends the approval because the client no longer wants the call. It
// does nothing if another live call has joined or the execution has begun.
func (t *Waiter) Cancel(ctx context.Context, why string) error {
	d := t.approvals
	d.calls.Lock()
	defer d.calls.Unlock()
	d.mu.Lock()
	e := t.mine()
	free := e != nil && e.claimed == nil
	d.mu.Unlock()
	if !free {
		return nil
	}
	return d.end(ctx, t.id, guard.Cancelled, why)
}

// Abandon stops waiting because the session of the call has ended: a pending
// approval is cancelled, an approved one stays until its deadline. It does for
// one call what [Approvals.EndSession] does for those that were already
// waiting.
func (t *Waiter) Abandon(ctx context.Context) error {
	d := t.approvals
	d.calls.Lock()
	defer d.calls.Unlock()
	d.mu.Lock()
	e := t.mine()
	if e == nil || e.claimed != nil {
		d.mu.Unlock()
		return nil
	}
	pending := e.approval.Status == guard.Pending
	if !pending {
		e.live = nil
	}
	d.mu.Unlock()
	if !pending {
		return nil
	}
	return d.end(ctx, t.id, guard.Cancelled, WhySession)
}

// Claim announces that this call is about to execute. Until Begun, Unclaim,
// End or Replace, no later call replaces it and no deadline ends the approval
// here; the store checks the deadline once more when the execution begins.
// Claim waits for a later call that is just replacing this one.
func (t *Waiter) Claim() error {
	t.approvals.mu.Lock()
	defer t.approvals.mu.Unlock()
	e := t.mine()
	for e != nil && e.joining != nil {
		joining := e.joining
		t.approvals.mu.Unlock()
		<-joining
		t.approvals.mu.Lock()
		e = t.mine()
	}
	if e == nil || e.approval.Status != guard.Approved {
		return ErrLost
	}
	if e.claimed == nil {
		e.claimed = make(chan struct{})
	}
	return nil
}

// Begun records that the store has begun the execution. The approval is no
// longer tracked here.
func (t *Waiter) Begun() {
	t.approvals.mu.Lock()
	defer t.approvals.mu.Unlock()
	if e := t.mine(); e != nil {
		delete(t.approvals.open, t.id)
		e.settle()
	}
}

// Unclaim undoes Claim after the store could not begin the execution. It reads
// the approval again.
func (t *Waiter) Unclaim() {
	t.approvals.mu.Lock()
	if e := t.mine(); e != nil {
		e.settle()
	}
	t.approvals.mu.Unlock()
	t.approvals.refresh(t.id)
	t.approvals.mu.Lock()
	t.approvals.wake()
	t.approvals.mu.Unlock()
}

// End closes the approval of a claimed waiter because it is stale or policy no
// longer allows the call.
func (t *Waiter) End(ctx context.Context, to guard.Status, why string) error {
	err := t.approvals.end(ctx, t.id, to, why)
	t.approvals.mu.Lock()
	defer t.approvals.mu.Unlock()
	if e := t.mine(); e != nil {
		e.settle()
	}
	return err
}

// Replace ends the approval of a claimed waiter as stale and holds the call
// for a new one. After [guard.MaxStaleRounds] stale rounds it returns
// ErrStaleRounds, and the old approval has ended. The waiter must not be used
// again.
func (t *Waiter) Replace(ctx context.Context, fresh guard.Approval, events ...audit.Event) (*Waiter, error) {
	d := t.approvals
	d.calls.Lock()
	defer d.calls.Unlock()
	fresh.Round = t.round + 1
	if fresh.Round >= guard.MaxStaleRounds {
		return nil, errors.Join(ErrStaleRounds, t.End(ctx, guard.Stale, WhyReplaced))
	}
	_, other, err := d.store.FindOpen(fresh.Tenant, fresh.RunID, fresh.Server, fresh.Tool, fresh.Digest)
	if err != nil {
		return nil, errors.Join(err, t.End(ctx, guard.Stale, WhyReplaced))
	}
	if other {
		// Another call already asks for exactly this: end the old approval and
		// join that one.
		if err := t.End(ctx, guard.Stale, WhyReplaced); err != nil {
			return nil, err
		}
		return d.submit(ctx, fresh, events)
	}
	fresh.Replaces = t.id
	d.mu.Lock()
	d.open[fresh.ID] = &entry{approval: light(fresh)}
	d.mu.Unlock()
	kept, err := d.store.Replace(ctx, t.id, fresh)
	if err != nil {
		d.mu.Lock()
		delete(d.open, fresh.ID)
		d.mu.Unlock()
		return nil, errors.Join(fmt.Errorf("replacing %s: %w", t.id, err), t.End(ctx, guard.Stale, WhyReplaced))
	}
	next := d.attach(light(kept), fresh)
	d.mu.Lock()
	if e := t.mine(); e != nil {
		delete(d.open, t.id)
		e.settle()
	}
	d.mu.Unlock()
	return next, nil
}
