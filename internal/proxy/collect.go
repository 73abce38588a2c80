package proxy

import (
	"context"
	"errors"

	"github.com/mcpguard/mcpguard/internal/approval"
	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// errSlotLost ends the wait of a call that can no longer use its approval.
var errSlotLost = errors.New("the approval has ended")

// collect waits until the client asks for the changes of a command that ran in
// a sandbox and is to be carried out as it ran. Meanwhile the call holds no
// lock. Its approval counts as unused and lapses at its deadline. record is of
// the sandbox's run; empty for all other calls.
func (s *session) collect(ctx context.Context, c *call, t *approval.Waiter, record string) error {
	if record == "" || s.cfg.Collect == nil || c.own {
		return nil
	}
	c.room.done()
	wait, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if t != nil {
		watched := make(chan struct{})
		go func() { // ends with wait, at the latest when collect returns
			defer close(watched)
			select {
			case <-t.Lost():
				stop(errSlotLost)
			case <-wait.Done():
			}
		}()
		defer func() { stop(nil); <-watched }()
	}
	err := s.cfg.Collect(wait, Collected{ID: c.req.id, Call: c.tc.ID, Record: record, Reviewed: t != nil})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && t != nil:
		return s.leave(ctx, t, context.Cause(ctx))
	case ctx.Err() != nil:
		return gaveUp(context.Cause(ctx))
	case t != nil && errors.Is(context.Cause(wait), errSlotLost):
		return s.lost(c, t)
	case t != nil:
		rec, cancel := durably(ctx)
		defer cancel()
		if err := t.Cancel(rec, err.Error()); err != nil {
			s.cfg.Log.Error("cancelling an approval", "approval", t.ID(), "err", err)
		}
	}
	return &refusal{status: audit.StatusCancelled, reply: reply{Status: replyCancelled, ApprovalID: c.approval, Reason: err.Error()}}
}

// ranAs returns the record of the run of a command that the preview shows;
// empty if none ran in a sandbox.
func ranAs(p *guard.Preview) string {
	if effect.Ran(*p) == nil {
		return ""
	}
	return p.Record
}
