package client

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// silenceError says that a daemon has taken a request and then said nothing.
type silenceError struct{ err error }

func (e *silenceError) Error() string { return e.err.Error() }
func (e *silenceError) Unwrap() error { return e.err }

// answer is the body of an answer, and the wait for it: it ends the request when
// nothing comes for too long.
type answer struct {
	body     io.ReadCloser // nil while the answer has not begun
	patience time.Duration
	ctx      context.Context
	end      context.CancelCauseFunc
	alarm    *time.Timer // nil where the caller bounds the wait
	look     *time.Timer // likewise
}

// stoppedLook is when it is looked whether the daemon was stopped.
const stoppedLook = time.Second

// await begins the wait for an answer.
func (c *Client) await(ctx context.Context, patience time.Duration) (context.Context, *answer) {
	a := &answer{patience: patience}
	a.ctx, a.end = context.WithCancelCause(ctx)
	if patience > 0 {
		// One that was stopped will not answer: there is nothing to wait for.
		a.look = time.AfterFunc(min(stoppedLook, patience), func() {
			if p, err := ipc.Listener(a.ctx, c.path); err == nil && p.Stopped {
				a.end(&silenceError{ipc.Unanswered(ctx, c.path)})
			}
		})
		a.alarm = time.AfterFunc(patience, func() {
			a.end(&silenceError{fmt.Errorf("it has not answered for %s: %w", patience, ipc.Unanswered(ctx, c.path))})
		})
	}
	return a.ctx, a
}

// silent returns the error of a daemon that said nothing, if that is why the
// request ended.
func (a *answer) silent() error {
	if e, ok := context.Cause(a.ctx).(*silenceError); ok {
		return e
	}
	return nil
}

// Read reads the body; each piece that comes begins the wait anew.
func (a *answer) Read(p []byte) (int, error) {
	n, err := a.body.Read(p)
	if n > 0 && a.alarm != nil {
		a.alarm.Reset(a.patience)
	}
	if err != nil && err != io.EOF {
		if silent := a.silent(); silent != nil {
			err = silent
		}
	}
	return n, err
}

// Close ends the request.
func (a *answer) Close() error {
	if a.alarm != nil {
		a.alarm.Stop()
		a.look.Stop()
	}
	a.end(nil)
	if a.body == nil {
		return nil
	}
	return a.body.Close()
}
