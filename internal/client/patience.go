package client

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// silenceError reports that a daemon accepted a request and then sent nothing.
type silenceError struct{ err error }

func (e *silenceError) Error() string { return e.err.Error() }
func (e *silenceError) Unwrap() error { return e.err }

// answer is a response body with a timer: it ends the request if nothing
// arrives for too long.
type answer struct {
	body     io.ReadCloser // nil until the response begins
	patience time.Duration
	ctx      context.Context
	end      context.CancelCauseFunc
	alarm    *time.Timer // nil if the caller bounds the wait
	look     *time.Timer // nil if the caller bounds the wait
}

// stoppedLook is the delay before checking whether the daemon was stopped.
const stoppedLook = time.Second

// await starts waiting for a response.
func (c *Client) await(ctx context.Context, patience time.Duration) (context.Context, *answer) {
	a := &answer{patience: patience}
	a.ctx, a.end = context.WithCancelCause(ctx)
	if patience > 0 {
		// A stopped daemon will not answer, so do not wait for it.
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

// silent returns the error of a silent daemon, if that is why the request
// ended.
func (a *answer) silent() error {
	if e, ok := context.Cause(a.ctx).(*silenceError); ok {
		return e
	}
	return nil
}

// Read reads the body; each piece restarts the timer.
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
