package ipc

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// lookTimeout bounds the search for the listening process.
const lookTimeout = 2 * time.Second

// Listener returns the process that listens on the socket at path. The error
// wraps ErrNoDaemon if there is none.
func Listener(ctx context.Context, path string) (Proc, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	c, err := Dial(ctx, path)
	if err != nil {
		return Proc{}, err
	}
	defer c.Close()
	peer, err := PeerOf(c)
	if err != nil {
		return Proc{}, err
	}
	defer peer.Close()
	p, err := Inspect(peer.PID)
	if err == nil && !peer.Alive() {
		err = fmt.Errorf("process %d: %w", peer.PID, ErrGone)
	}
	return p, err
}

// Unanswered returns the error for a daemon that accepts connections on the
// socket at path and does not answer. It names the process, if that can be
// found out until ctx ends or within two seconds, and says what to do.
func Unanswered(ctx context.Context, path string) error {
	p, err := Listener(ctx, path)
	switch {
	case err != nil:
		return errors.New("the guard daemon does not answer; see `mcpguardd doctor`")
	case p.Stopped:
		return fmt.Errorf("the guard daemon (process %d) is suspended; let it go on with `kill -CONT %d`, or end it with `mcpguardd stop --force`", p.PID, p.PID)
	}
	return fmt.Errorf("the guard daemon (process %d) does not answer; try again, or end it with `mcpguardd stop --force`", p.PID)
}
