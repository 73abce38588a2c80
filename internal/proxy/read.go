package proxy

import (
	"context"
	"errors"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/policy"
)

// read runs a call that changes nothing and may run at once. Its record is
// committed while the upstream works, and the answer is released when both are
// done, so the call takes only as long as the slower of the two. Its end is
// recorded after the client has its answer.
func (s *session) read(ctx context.Context, c *call, tool *policy.Tool, preview *guard.Preview, output int) ([]byte, error) {
	c.room.done()
	if err := s.commit(c, output); err != nil {
		return nil, gaveUp(err)
	}
	// An error here means that the upstream is gone or hangs, which await
	// reports.
	if preview != nil && preview.Record == "" {
		preview = nil // it changes nothing, so nothing was approved
	}
	sendErr := s.send(c, preview)
	if err := s.recordRead(ctx, c, tool); err != nil {
		return nil, err // fail closed: an unrecorded answer is not released
	}
	a := answer{err: sendErr}
	limit := s.timeout(tool)
	if sendErr == nil {
		a = s.awaitRead(ctx, c.req, limit)
	}
	frame, clean, status := s.readEnding(c, tool, output, a)
	c.req.slot.leave() // before the answer, since the next call may follow at once
	s.reply(c.req, frame)
	done := s.completed(c, status)
	if a.err == nil {
		done.Output = c.output(digest.Sum(payload(&a.msg)), beginning(clean))
		done.Reason = mendedNote(a.mended)
	}
	s.cfg.Store.CloseCallAsync(c.tc.ID, done)
	return nil, nil // the client has its answer
}

// recordRead records a read that was sent: durably, or soon after if the
// policy allows that.
func (s *session) recordRead(ctx context.Context, c *call, tool *policy.Tool) error {
	opened, events := s.storeCall(c, callLimit(tool)), []audit.Event{
		s.callEvent(c, audit.ToolCallRequested), s.callEvent(c, audit.ToolCallAuthorized),
	}
	var err error
	if s.cfg.Policy().Config().Audit.Reads == "relaxed" {
		err = s.cfg.Store.OpenCallAsync(opened, events...)
	} else {
		rec, cancel := durably(ctx)
		defer cancel()
		err = s.cfg.Store.OpenCall(rec, opened, events...)
	}
	if err != nil {
		return s.notRecorded(c, err)
	}
	c.recorded = true
	return nil
}

// awaitRead waits for the answer to a read. At the end of a session, reads get
// a moment longer than calls that wait for a human.
func (s *session) awaitRead(ctx context.Context, r *request, limit time.Duration) answer {
	a := s.await(ctx, r, limit)
	if errors.Is(a.err, errSessionEnded) {
		a = s.await(s.reads, r, limit)
	}
	return a
}

// readEnding returns what the client gets of a read.
func (s *session) readEnding(c *call, tool *policy.Tool, output int, a answer) (frame, clean []byte, status audit.Status) {
	var refused *jsonrpc.Refusal
	w := reply{Status: replyError}
	switch {
	case a.err == nil:
		status = audit.StatusOK
		if outcomeOf(&a.msg) == guard.OutcomeError {
			status = audit.StatusError
		}
		frame, clean = s.release(c, &a.msg, output, "")
		return frame, clean, status
	case errors.Is(a.err, errCancelled):
		return nil, nil, audit.StatusCancelled
	case errors.Is(a.err, errSessionEnded):
		return nil, nil, audit.StatusCancelled
	case errors.Is(a.err, errPaused):
		return ownResult(c, pausedReply()), nil, audit.StatusCancelled
	case errors.Is(a.err, errTimeout):
		_ = s.toUpstream(jsonrpc.Notify("notifications/cancelled", map[string]any{"requestId": rawID(c.req.id), "reason": "timeout"}))
		w.Reason = s.noAnswer(s.timeout(tool))
		w.Repair = "Ask for less, or try again later."
	case errors.As(a.err, &refused):
		w.Reason = "the " + answerRefused(refused.Reason)
	default:
		return s.goneReply(c.req.id), nil, audit.StatusError
	}
	return ownResult(c, w), nil, audit.StatusError
}
