package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/mcpguard/mcpguard/internal/approval"
	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// submit asks for approval, or joins an identical call that already waits for
// it.
func (s *session) submit(ctx context.Context, c *call, b *prepared) (*approval.Waiter, error) {
	if err := s.holdOne(c); err != nil {
		return nil, err
	}
	a := s.approvalOf(c, b)
	t, err := s.cfg.Approvals.Submit(ctx, a, s.requested(c, a))
	if err != nil {
		if ctx.Err() != nil {
			return nil, gaveUp(context.Cause(ctx))
		}
		return nil, s.notRecorded(c, err)
	}
	c.approval = t.ID()
	if c.continues && t.ID() == a.ID {
		// fail closed: the approval to join has ended, and this call is not
		// counted yet
		c.continues = false
		rec, cancel := durably(ctx)
		defer cancel()
		if err := t.Cancel(rec, "the approval that the call was to join has ended"); err != nil {
			s.cfg.Log.Error("cancelling an approval", "approval", t.ID(), "err", err)
		}
		return nil, broken(guard.RuleLimitCalls, "the approval that this call was to continue has just ended", "make the call again")
	}
	c.continues = false // it applies once: asking again makes another approval
	return t, nil
}

func (s *session) requested(c *call, a guard.Approval) audit.Event {
	e := s.callEvent(c, audit.ApprovalRequested)
	e.Gates = audit.Gates{RequiresApproval: true, ApprovalID: a.ID}
	e.Status = audit.Status(guard.Pending)
	e.Receipts = audit.Touched(a.Preview.Effects)
	return e
}

func (s *session) approvalOf(c *call, b *prepared) guard.Approval {
	now := s.cfg.Clock.Now()
	return guard.Approval{
		ID: guard.NewApprovalID(), Status: guard.Pending,
		Tenant: c.tc.Session.Tenant, RunID: c.tc.Session.RunID, SessionID: c.tc.Session.ID, CallID: c.tc.ID,
		CorrelationID: c.tc.CorrelationID, Environment: c.tc.Session.Environment, Workflow: c.tc.Session.Workflow,
		Server: c.tc.Session.Server, ServerVersion: s.serverVersion(), Tool: c.tc.Tool, Tier: b.verdict.Tier, Sensitive: b.verdict.Sensitive,
		Definition: c.tc.Definition, PolicyHash: b.tool.Hash, Digest: b.digest, ArgsRaw: c.tc.ArgsRaw, Args: c.tc.ArgsCanonical,
		Preview: *b.preview, Rule: b.verdict.Rule, Claim: b.verdict.Claim, RequestedBy: c.tc.Session.Origin, Context: c.tc.Context, Undoes: s.cfg.Undoes,
		RequestedAt: now.Wall, Box: b.verdict.Box, Expires: now.After(b.verdict.Box.TTL), UpdatedAt: now.Wall,
	}
}

// hold waits for the decision. Meanwhile it reports progress to the client,
// and it answers a client that would give up before it does. Without a waiter
// it returns at once.
func (s *session) hold(ctx context.Context, c *call, t *approval.Waiter, b *prepared) error {
	if t == nil {
		c.room.done()
		return nil
	}
	s.lighten(c, b)
	c.room.done()
	w := s.watch(c)
	var err error
	for answered := false; err == nil && !answered; {
		if !isClosed(t.Decided()) {
			s.progress(c, t)
		}
		select { // keep few values here: a thousand calls may wait, each with its own stack
		case <-t.Decided():
			answered = true
		case <-w.timer.C:
			if w.next() {
				err = s.answerEarly(ctx, c, t)
			}
		case <-ctx.Done():
			err = s.leave(ctx, t, context.Cause(ctx))
		}
	}
	w.timer.Stop()
	if err != nil {
		return err
	}
	return s.result(c, t)
}

// wait determines when a held call is looked at next.
type wait struct {
	timer *time.Timer
	until time.Time // when the client is answered early; zero means never
}

func (s *session) watch(c *call) *wait {
	w := &wait{}
	if left, limited := s.patience(c); limited {
		w.until = time.Now().Add(left)
	}
	w.timer = time.NewTimer(w.left())
	return w
}

func (w *wait) left() time.Duration {
	if w.until.IsZero() {
		return progressEvery
	}
	return max(0, min(progressEvery, time.Until(w.until)))
}

// next resets the timer and reports whether the client must be answered now.
func (w *wait) next() (early bool) {
	if early = !w.until.IsZero() && time.Until(w.until) <= 0; early {
		w.until = time.Time{}
	}
	w.timer.Reset(w.left())
	return early
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// result is the decision on a call. It stands apart from hold, in which a
// thousand calls may wait, because a result takes much of a stack.
//
//go:noinline
func (s *session) result(c *call, t *approval.Waiter) error { return s.decided(c, t.Result()) }

// answerEarly gives up the wait of a call whose client would give up. It
// returns nil if the approval was decided at this moment; the result is then
// available.
func (s *session) answerEarly(ctx context.Context, c *call, t *approval.Waiter) error {
	err := t.Leave(context.WithoutCancel(ctx))
	switch {
	case err == nil:
		return early(t.Approval())
	case errors.Is(err, approval.ErrLost):
		return nil
	}
	return s.notRecorded(c, err)
}

// leave gives up a held call because its client or its session did.
func (s *session) leave(ctx context.Context, t *approval.Waiter, cause error) error {
	rec, cancel := durably(ctx)
	defer cancel()
	end := t.Abandon // by the end of a session its pending approvals have been cancelled
	if errors.Is(cause, errCancelled) || errors.Is(cause, errPaused) {
		end = func(ctx context.Context) error { return t.Cancel(ctx, cause.Error()) }
	}
	if err := end(rec); err != nil {
		s.cfg.Log.Error("cancelling an approval", "approval", t.ID(), "err", err)
	}
	return gaveUp(cause)
}

// patience returns how long the client will still wait, counted from when its
// call came in.
func (s *session) patience(c *call) (left time.Duration, limited bool) {
	if s.cfg.Undoes != "" {
		return 0, false // the developer's own call never gives up
	}
	hold, untilDecided := s.cfg.Policy().Config().Hold.For(c.tc.Session.Origin.Client)
	if untilDecided {
		return 0, false
	}
	return max(0, hold-s.now().Sub(c.tc.RequestedAt)), true
}

// decided returns the error for the result of a wait; nil means approved.
func (s *session) decided(c *call, r approval.Result) error {
	w := reply{ApprovalID: c.approval, Reason: r.Reason}
	if r.Superseded {
		w.Status, w.Reason = replySuperseded, "continued by a later call"
		w.Next = "Wait for the answer of the later, identical call."
		return &refusal{status: audit.StatusCancelled, reply: w}
	}
	status := audit.StatusDenied
	switch r.Status {
	case guard.Approved:
		return nil
	case guard.Denied:
		w.Status, w.Rule = replyDenied, guard.RuleReviewer
		w.Repair = "Do what the reviewer says, or ask the user; do not send the same call again."
	case guard.Expired:
		status = audit.StatusExpired
		w.Status, w.Rule = replyExpired, guard.RuleTimeBox
		w.Repair = "Nobody decided in time and nothing was changed. Ask the user, then make the call again."
	case guard.Lapsed:
		status = audit.StatusExpired
		w.Status, w.Rule = replyLapsed, guard.RuleTimeBox
		w.Repair = "The approval was not used in time and nothing was changed. Make the call again."
	case guard.Cancelled:
		status = audit.StatusCancelled
		w.Status, w.Next = replyCancelled, againIfWanted
	case guard.Stale:
		w.Status, w.Rule = replyStale, guard.RuleStaleRounds
		w.Repair = "Read the target again and make a call that fits what is there now."
	default:
		// fail closed: another call uses or has used the approval
		status = audit.StatusCancelled
		w.Status, w.Reason = replySuperseded, "an identical call is using this approval"
	}
	return &refusal{status: status, reply: w}
}

// lost returns why a call can no longer use its approval; it is never nil.
func (s *session) lost(c *call, t *approval.Waiter) error {
	if err := s.decided(c, t.Result()); err != nil {
		return err
	}
	// fail closed: whatever the last result was, the approval cannot be used
	return s.decided(c, approval.Result{Status: guard.Executing})
}

func rawID(id jsonrpc.ID) json.RawMessage { return id.Raw() }

// resubmit asks again for a call that became stale under its lock. A call that
// needs no approval only waits for the lock again, on its current targets.
func (s *session) resubmit(ctx context.Context, c *call, t *approval.Waiter, b *prepared, round int) (*approval.Waiter, error) {
	switch {
	case t == nil && b.verdict.Verdict != guard.Allow:
		return s.submit(ctx, c, b)
	case t == nil && round < maxMoved:
		return nil, nil
	case t == nil:
		return nil, keepsMoving(c.approval)
	}
	rec, cancel := durably(ctx)
	defer cancel()
	a := s.approvalOf(c, b)
	next, err := t.Replace(rec, a, s.requested(c, a))
	switch {
	case errors.Is(err, approval.ErrStaleRounds):
		return nil, keepsMoving(t.ID())
	case err != nil:
		return nil, s.notRecorded(c, err)
	}
	c.approval = next.ID()
	return next, nil
}

// maxMoved is how often the targets of a call that needs no approval may move.
const maxMoved = 3

func keepsMoving(id guard.ApprovalID) error {
	return &refusal{status: audit.StatusDenied, reply: reply{
		Status: replyStale, Rule: guard.RuleStaleRounds, ApprovalID: id,
		Reason: "the target changed each time before the call could run",
		Repair: "Find out with the user what else changes the target, then make the call again.",
	}}
}
