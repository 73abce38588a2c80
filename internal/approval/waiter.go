package approval

import (
	"context"
	"errors"
	"fmt"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Result is what a held call learns.
type Result struct {
	// Status is Approved, or what ended the approval for this call.
	Status guard.Status
	// Reason is the reviewer's words, or why it ended.
	Reason string
	// Superseded: a later identical call took this one's place; Status is then
	// the approval's own.
	Superseded bool
	// Approval is the approval as it was at that moment.
	Approval guard.Approval
}

// ErrLost is returned when a ticket can no longer be used; [Ticket.Result] says
// why.
var ErrLost = errors.New("the approval can no longer be used by this call")

// Waiter is one held call's place. It belongs to one goroutine; Lost and Cancel
// may be used by others.
type Waiter struct {
	desk    *Approvals
	id      guard.ApprovalID
	call    guard.CallID
	session guard.SessionID
	round   int

	decided chan struct{} // closed once result is set
	lost    chan struct{} // closed once the call may not execute any more

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

// ID returns the approval's identifier.
func (t *Waiter) ID() guard.ApprovalID { return t.id }

// Round says how many stale approvals of this call came before.
func (t *Waiter) Round() int { return t.round }

// Approval returns the approval as the desk last saw it.
func (t *Waiter) Approval() guard.Approval {
	t.desk.mu.Lock()
	defer t.desk.mu.Unlock()
	if e := t.desk.open[t.id]; e != nil {
		return e.approval
	}
	if t.result == nil {
		return guard.Approval{}
	}
	return t.result.Approval
}

// Wait returns once the approval is decided or over for this call. The error is
// that of ctx.
func (t *Waiter) Wait(ctx context.Context) (Result, error) {
	select {
	case <-t.decided:
		return t.Result(), nil
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// Decided is closed once Wait would return without blocking.
func (t *Waiter) Decided() <-chan struct{} { return t.decided }

// Result returns what Wait last would; the zero Result while undecided.
func (t *Waiter) Result() Result {
	t.desk.mu.Lock()
	defer t.desk.mu.Unlock()
	if t.result == nil {
		return Result{}
	}
	return *t.result
}

// Lost is closed when the call can no longer execute under this approval:
// superseded, ended, or begun.
func (t *Waiter) Lost() <-chan struct{} { return t.lost }

// mine returns the entry while this ticket is its live one; mu is held.
func (t *Waiter) mine() *entry {
	if e := t.desk.open[t.id]; e != nil && e.live == t {
		return e
	}
	return nil
}

// Leave gives up the place without ending the approval: the call was answered
// early, a later identical one may join. Where the call lost its place already
// the error is ErrLost.
func (t *Waiter) Leave(ctx context.Context) error {
	d := t.desk
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
		return ErrLost // it was decided or ended in between; the result says so
	}
	e.live = nil
	return nil
}

// Cancel ends the approval because its client no longer wants the call, unless
// another live call has joined or the execution has begun.
func (t *Waiter) Cancel(ctx context.Context, why string) error {
	d := t.desk
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

// Abandon gives up the place because the session of the call has ended: what is
// pending is cancelled, what is approved stays until its deadline. It does for
// one call what [Desk.EndSession] does for those that hold a place by then.
func (t *Waiter) Abandon(ctx context.Context) error {
	d := t.desk
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

// Claim announces that this call is about to execute: until Begun, Unclaim, End
// or Replace no later call takes its place and no deadline ends the approval
// here (the store checks it once more when the execution begins). It waits for
// a later call that is just taking the place.
func (t *Waiter) Claim() error {
	t.desk.mu.Lock()
	defer t.desk.mu.Unlock()
	e := t.mine()
	for e != nil && e.joining != nil {
		joining := e.joining
		t.desk.mu.Unlock()
		<-joining
		t.desk.mu.Lock()
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

// Begun says that the store has begun the execution: the approval is no longer
// the desk's.
func (t *Waiter) Begun() {
	t.desk.mu.Lock()
	defer t.desk.mu.Unlock()
	if e := t.mine(); e != nil {
		delete(t.desk.open, t.id)
		e.settle()
	}
}

// Unclaim takes a Claim back, after the store could not begin. The approval is
// read again.
func (t *Waiter) Unclaim() {
	t.desk.mu.Lock()
	if e := t.mine(); e != nil {
		e.settle()
	}
	t.desk.mu.Unlock()
	t.desk.refresh(t.id)
	t.desk.mu.Lock()
	t.desk.wake()
	t.desk.mu.Unlock()
}

// End closes the approval of a claimed ticket: it is stale, or policy no longer
// allows it.
func (t *Waiter) End(ctx context.Context, to guard.Status, why string) error {
	err := t.desk.end(ctx, t.id, to, why)
	t.desk.mu.Lock()
	defer t.desk.mu.Unlock()
	if e := t.mine(); e != nil {
		e.settle()
	}
	return err
}

// Replace ends the approval of a claimed ticket as stale and holds the call for
// a fresh one. After [guard.MaxStaleRounds] stale rounds the error is
// ErrStaleRounds, and the old approval has ended. The ticket is used up.
func (t *Waiter) Replace(ctx context.Context, fresh guard.Approval, events ...audit.Event) (*Waiter, error) {
	d := t.desk
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
		// Another call already asks for exactly this: end the old, join that one.
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
