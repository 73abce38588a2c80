package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mcpguard/mcpguard/internal/approval"
	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/store"
)

// lock waits for the targets of a call. The call can lose its approval
// meanwhile.
func (s *session) lock(ctx context.Context, c *call, t *approval.Waiter, b *prepared) (*Lock, error) {
	wait, stop := context.WithCancel(ctx)
	defer stop()
	if t != nil {
		lost := make(chan struct{})
		go func() { // ends with wait, at the latest when lock returns
			defer close(lost)
			select {
			case <-t.Lost():
				stop()
			case <-wait.Done():
			}
		}()
		defer func() { stop(); <-lost }()
	}
	targets := b.locks
	if b.verdict.Tier == guard.T0Read {
		// It changes nothing, so its only lock is on itself.
		targets = []guard.Target{{Kind: "read", Key: string(c.tc.ID), Write: true}}
	}
	held, err := s.cfg.Locks.Acquire(wait, c.tc.ID, c.tc.Session.Server, targets)
	switch {
	case err == nil:
		c.held = held
		return held, nil
	case errors.Is(err, ErrUnknownOutcome):
		return nil, broken(guard.RuleUnknownOutcome, "an earlier call on this target has no known outcome yet",
			"read the target to see what became of it; ask the user to look at the guard before you try again")
	case ctx.Err() != nil && t != nil:
		return nil, s.leave(ctx, t, context.Cause(ctx))
	case ctx.Err() != nil:
		return nil, gaveUp(context.Cause(ctx))
	case t != nil:
		return nil, s.lost(c, t)
	}
	return nil, fmt.Errorf("locking the targets of a call: %w", err)
}

// errStale means that a call is no longer what was approved or allowed.
var errStale = errors.New("the call is stale")

// begin checks the call once more, now that no other call through the guard
// can change its target, and makes its intent durable. It returns the call as
// it is now; with errStale, approval must be asked for again.
func (s *session) begin(ctx context.Context, c *call, t *approval.Waiter, approved *prepared) (*prepared, *guard.Intent, error) {
	if err := s.workOn(ctx, c); err != nil { // before the claim, because it may wait for another call
		if t != nil {
			return nil, nil, s.leave(ctx, t, context.Cause(ctx))
		}
		return nil, nil, err
	}
	if t != nil {
		if err := t.Claim(); err != nil {
			return nil, nil, s.lost(c, t)
		}
	}
	now, err := s.lookAgain(ctx, c)
	if ctx.Err() != nil {
		return nil, nil, s.withdraw(ctx, t, context.Cause(ctx))
	}
	if err != nil {
		s.outdate(ctx, t, err)
		return nil, nil, err
	}
	switch {
	case t != nil && now.digest != approved.digest,
		t == nil && now.verdict.Verdict != guard.Allow,
		!slices.Equal(now.targets, approved.targets), !slices.Equal(now.locks, approved.locks): // the lock is on other targets
		return now, nil, errStale
	}
	c.intends, c.files = true, onlyFiles(now.preview.Effects)
	if err := s.commit(c, outputLimit(now.verdict)); err != nil {
		return nil, nil, s.withdraw(ctx, t, err)
	}
	intent := s.intent(c, now)
	if t != nil {
		c.decision = guard.Decision{Verdict: guard.Allow, Rule: guard.RuleReviewer, Reason: t.Result().Reason}
	}
	rec, cancel := durably(ctx)
	defer cancel()
	if err := s.record(rec, c, t, now, intent); err != nil {
		s.uncommit(c.req)
		return nil, nil, s.notBegun(c, t, err)
	}
	c.held, c.running = nil, c.held // from here on the outcome decides what happens to the lock
	if t != nil {
		t.Begun()
	}
	return now, intent, nil
}

// record makes an intent durable, together with the item that shows the change
// afterwards if the policy wants one.
func (s *session) record(ctx context.Context, c *call, t *approval.Waiter, b *prepared, intent *guard.Intent) error {
	if t != nil || !b.verdict.Post {
		return s.cfg.Store.Begin(ctx, *intent, s.callEvent(c, audit.ToolCallAuthorized))
	}
	a := s.approvalOf(c, b)
	c.approval, intent.ApprovalID = a.ID, a.ID
	err := s.cfg.Store.BeginPost(ctx, *intent, a, s.callEvent(c, audit.ToolCallAuthorized))
	if err != nil {
		c.approval = ""
	}
	return err
}

// lookAgain repeats all steps from the policy to the digest.
func (s *session) lookAgain(ctx context.Context, c *call) (*prepared, error) {
	if err := c.wake(); err != nil {
		return nil, err
	}
	tool, err := s.toolInForce(c)
	if err != nil {
		return nil, err
	}
	d, err := s.definition(ctx, c, c.tc.Tool)
	if err != nil {
		return nil, broken(guard.RulePinMissing, "the tool's definition could not be checked again", "try again later")
	}
	c.def, c.tc.Definition = d.raw, d.hash
	targets, preview, verdict, err := s.evaluate(ctx, c, tool)
	if err != nil {
		return nil, err
	}
	return s.prepare(c, tool, targets, preview, verdict)
}

// evaluate takes a call from its targets to the policy's decision, outside of
// follow: for the check before an execution, and for the guard's own reads.
func (s *session) evaluate(ctx context.Context, c *call, tool *policy.Tool) ([]guard.Target, *guard.Preview, *policy.Verdict, error) {
	targets, err := s.resolve(ctx, c, tool)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := s.admit(c, tool, targets); err != nil {
		return nil, nil, nil, err
	}
	preview, err := s.plan(ctx, c, tool, targets)
	if err != nil {
		return nil, nil, nil, err
	}
	verdict, err := s.decide(c, tool, targets, preview)
	return targets, preview, verdict, err
}

// withdraw ends a claimed call whose client or session is gone.
func (s *session) withdraw(ctx context.Context, t *approval.Waiter, cause error) error {
	if t == nil {
		return gaveUp(cause)
	}
	t.Unclaim()
	return s.leave(ctx, t, cause)
}

// outdate ends an approval whose call is no longer allowed.
func (s *session) outdate(ctx context.Context, t *approval.Waiter, why error) {
	if t == nil {
		return
	}
	rec, cancel := durably(ctx)
	defer cancel()
	reason := approval.WhyReplaced
	var r *refusal
	if errors.As(why, &r) && r.reply.Reason != "" {
		reason = r.reply.Reason
	}
	if err := t.End(rec, guard.Stale, reason); err != nil {
		s.cfg.Log.Error("ending an approval", "approval", t.ID(), "err", err)
	}
}

// notBegun returns the error for an execution that the store did not let
// begin.
func (s *session) notBegun(c *call, t *approval.Waiter, err error) error {
	var state *store.StateError
	if t != nil {
		t.Unclaim() // reads the approval again
		if r := t.Result(); r.Status != guard.Approved && r.Status != "" {
			return s.decided(c, r)
		}
	}
	switch {
	case errors.As(err, &state), errors.Is(err, store.ErrSuperseded):
		return &refusal{status: audit.StatusCancelled, reply: reply{
			Status: replySuperseded, ApprovalID: c.approval, Reason: "an identical call is using this approval",
			Next: "Wait for the answer of the other call.",
		}}
	case errors.Is(err, store.ErrStopped):
		return broken(guard.RuleSwitch, "a human has stopped this tool", "ask the user")
	}
	return s.notRecorded(c, err)
}

func (s *session) intent(c *call, b *prepared) *guard.Intent {
	return &guard.Intent{
		CallID: c.tc.ID, ApprovalID: c.approval, SessionID: c.tc.Session.ID, RunID: c.tc.Session.RunID,
		Tenant: c.tc.Session.Tenant, Server: c.tc.Session.Server, Tool: c.tc.Tool, Tier: b.verdict.Tier,
		Digest: b.digest, ArgsRaw: c.tc.ArgsRaw, ArgsSum: digest.Sum(c.tc.ArgsCanonical), Effects: b.preview.Effects, Record: b.preview.Record, At: s.now(), Upstream: s.conn.Ref(),
		Touches: effect.Touched(c.tc.Session.Server, b.preview.Change),
	}
}

// approvalTold is an upstream that acts on who approved a call: a client that
// runs its own tools asks its own questions, except about calls that a human
// has approved here. A call that it is not told about was approved by no one.
type approvalTold interface{ Approved(id jsonrpc.ID) }

// send writes the admitted bytes to the upstream, unchanged.
func (s *session) send(c *call, approved *guard.Preview) error {
	if approved != nil {
		s.conn.Expect(c.req.id, *approved)
	}
	if a, ok := s.conn.(approvalTold); ok && c.decision.Rule == guard.RuleReviewer {
		a.Approved(c.req.id)
	}
	err := s.toUpstream(c.msg.Raw)
	if cancel := s.sent(c.req); cancel != nil {
		_ = s.toUpstream(cancel)
	}
	return err
}

// execute runs a call whose intent is durable and returns the client's answer.
// It records the outcome whatever the client does.
func (s *session) execute(c *call, b *prepared, in *guard.Intent, held *Lock) []byte {
	defer s.update(func(*inflight) { c.req.finish = false })
	c.room.done()
	e := execution{call: c, intent: *in, started: s.now()}
	e.end = s.run(c, b)
	receipt := s.receipt(&e)
	receipt.Touched = s.touched(c, b.tool, e.end)
	done := s.completed(c, statusOf(receipt.Outcome))
	done.Output = c.output(receipt.Result, beginning(e.end.clean))
	done.Reason = e.end.note
	if receipt.Outcome == guard.OutcomeOK {
		done.Receipts = audit.Touched(in.Effects)
		for _, t := range receipt.Touched {
			done.Receipts = append(done.Receipts, audit.Receipt{Kind: t.Kind, ID: t.ID})
		}
		s.cfg.Meter.ran(c.tc, e.started)
	}
	if err := s.finish(receipt, done); err != nil {
		// fail closed: without a recorded receipt no call may build on this
		// target
		s.cfg.Log.Error("recording a receipt", "call", c.tc.ID, "err", err)
		held.Keep()
		c.req.slot.leave() // the client has its answer, so the call is not in flight
		s.settling.Add(1)
		go func() { // ends when the receipt is recorded, or with the session
			defer s.settling.Done()
			if s.finishLate(receipt, done) {
				s.conclude(&e, receipt, held)
			}
		}()
		return ownResult(c, reply{Status: replyUnknown, Rule: guard.RuleStoreFailed, ApprovalID: c.approval,
			Reason: "the call ran, but the guard could not record what became of it",
			Repair: "Read the target to see what became of it; ask the user to look at the guard."})
	}
	s.conclude(&e, receipt, held)
	return e.end.frame
}

func (s *session) finish(r guard.Receipt, done audit.Event) error {
	rec, cancel := durably(s.ctx)
	defer cancel()
	_, err := s.cfg.Store.Finish(rec, r, done)
	return err
}

// finishLate records a receipt once the store can write again, and reports
// whether it did. If the session ends first, the intent stays open as after a
// crash, and the next start of the daemon settles it.
func (s *session) finishLate(r guard.Receipt, done audit.Event) bool {
	for delay := finishAgain; ; delay = min(2*delay, 20*finishAgain) {
		timer := time.NewTimer(delay)
		ended := false
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			timer.Stop()
			ended = true
		}
		switch err := s.finish(r, done); {
		case err == nil, errors.Is(err, store.ErrClosed): // it was recorded after all
			return true
		case ended:
			s.cfg.Log.Error("a receipt was not recorded before the session ended", "call", r.CallID, "err", err)
			return false
		}
	}
}

// conclude acts on a recorded receipt: it frees the targets, or waits for an
// outcome that is not known yet.
func (s *session) conclude(e *execution, receipt guard.Receipt, held *Lock) {
	switch {
	case receipt.Outcome == guard.OutcomeOK || receipt.Outcome == guard.OutcomeError:
		held.Release()
		if receipt.ReadBack == guard.Diverged || receipt.ReadBack == guard.Untouched && receipt.Outcome == guard.OutcomeOK {
			s.diverged(e, receipt)
		}
	case e.end.final:
		s.reconcile(e, held)
	default:
		held.Keep()
		e.call.req.slot.leave() // as above
		s.settling.Add(1)
		go func() { // ends with the late answer or with the upstream, which close stops
			defer s.settling.Done()
			s.settleLate(e, held)
		}()
	}
}

func statusOf(o guard.Outcome) audit.Status {
	switch o {
	case guard.OutcomeOK:
		return audit.StatusOK
	case guard.OutcomeError:
		return audit.StatusError
	}
	return audit.StatusUnknown
}
