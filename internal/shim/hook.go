package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// exitDeny is the exit code on which the client does not run the tool and
// shows it the standard error.
const exitDeny = 2

// maxHookInput bounds the input of a hook, in bytes. It is larger than the
// limit of the daemon, which reports the excess.
const maxHookInput = 64 << 20

// HookConfig is a hook as started by the client.
type HookConfig struct {
	Paths   ipc.Paths
	Kind    string // ipc.HookPre or ipc.HookPost; Result sets its own
	Version string
	In, Out *os.File
	Err     io.Writer
	// Deadline ends the hook, whatever it is waiting for.
	Deadline time.Time
	// Autostart is called for a question or a token if no daemon answers; nil
	// means not to start one.
	Autostart func(context.Context) error
}

// Hook asks the daemon, or reports to it, and returns the exit code of the
// process. A question ends with 0 and its whole answer on standard output, or
// denies with 2 and the reason on standard error. A report always ends with 0.
// Hook ends at the deadline, when ctx ends, or when no one reads its standard
// output any more, which means that the client is gone.
//
// The data between client and daemon is copied: the client waits for the end
// of the hook's standard output, which must not stay open in a hanging daemon.
func Hook(ctx context.Context, cfg HookConfig) int {
	ctx, cancel := context.WithDeadline(ctx, cfg.Deadline)
	defer cancel()
	ctx, gone := context.WithCancelCause(ctx)
	defer gone(nil)
	unwatch := watchReader(cfg.Out, func() { gone(errReaderGone) })
	defer unwatch()
	h := &hook{cfg: cfg}
	done := make(chan error, 1)
	go func() { done <- h.ask(ctx) }() // ends with ctx, but for a client that keeps its end open: then with the process
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	switch {
	case cfg.Kind == ipc.HookPost: // a lost report is settled by reading back
		return exitDone
	case err == nil:
		return exitDone
	case ctx.Err() != nil:
		err = h.late(ctx)
	}
	// fail closed: on any error the tool does not run
	fmt.Fprintf(cfg.Err, "mcpguard: %v\n", err)
	return exitDeny
}

// lastLook bounds the search for the cause after the deadline.
const lastLook = 100 * time.Millisecond

var errReaderGone = errors.New("the client has gone")

// hook is a hook in progress.
type hook struct {
	cfg     HookConfig
	reached atomic.Bool // the daemon has answered
}

// late says what did not arrive in time.
func (h *hook) late(ctx context.Context) error {
	switch {
	case errors.Is(context.Cause(ctx), errReaderGone):
		return errors.New("nobody reads this hook's answer any more, so the call was not allowed")
	case !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return errors.New("this hook was ended before the guard had answered, so the call was not allowed; make it again")
	case !h.reached.Load():
		look, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
		defer cancel()
		return fmt.Errorf("the call was not allowed: %w", ipc.Unanswered(look, h.cfg.Paths.AgentSocket()))
	}
	return errors.New("nobody decided before the client's own timeout, so the call was not allowed; ask the user, then make it again")
}

func (h *hook) ask(ctx context.Context) error {
	input, err := io.ReadAll(io.LimitReader(h.cfg.In, maxHookInput))
	if err != nil {
		return fmt.Errorf("reading the hook's input: %w", err)
	}
	conn, err := h.reach(ctx)
	if err != nil {
		return fmt.Errorf("the guard daemon cannot be reached, so this call was not allowed: %w", err)
	}
	defer conn.Close()
	answer, err := h.exchange(ctx, conn, input)
	if err != nil {
		return err
	}
	if h.cfg.Kind == ipc.HookPre && len(answer) == 0 {
		return errors.New("the guard gave no answer, so the call was not allowed; make it again")
	}
	if ctx.Err() != nil {
		return ctx.Err() // output written now could be incomplete
	}
	if _, err := h.cfg.Out.Write(answer); err != nil {
		return fmt.Errorf("answering the client: %w", err)
	}
	return nil
}

// reach connects to the daemon. If none answers, a question and a token start
// one.
func (h *hook) reach(ctx context.Context) (*net.UnixConn, error) {
	conn, err := ipc.Dial(ctx, h.cfg.Paths.AgentSocket())
	if !errors.Is(err, ipc.ErrNoDaemon) || h.cfg.Kind == ipc.HookPost || h.cfg.Autostart == nil {
		return conn, err
	}
	if err := h.cfg.Autostart(ctx); err != nil {
		return nil, err
	}
	return ipc.Dial(ctx, h.cfg.Paths.AgentSocket())
}

// exchange passes pipes of this process to the daemon, and returns what it
// wrote once it has ended the session.
func (h *hook) exchange(ctx context.Context, conn *net.UnixConn, input []byte) ([]byte, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer inR.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		inW.Close()
		return nil, err
	}
	defer outR.Close()
	defer outW.Close()
	unhook := context.AfterFunc(ctx, func() { conn.Close(); outR.Close(); inW.Close() })
	defer unhook()
	go func() { // ends when the daemon has read it, or has closed its end, or with ctx
		defer inW.Close()
		_, _ = inW.Write(input)
	}()
	w, err := ipc.Offer(ctx, conn, ipc.NewHello(h.cfg.Kind, h.cfg.Version), inR, outW)
	inR.Close()
	outW.Close()
	if err != nil {
		return nil, err
	}
	if !w.OK {
		return nil, errors.New(w.Error)
	}
	h.reached.Store(true)
	if !w.Await(conn, func(line string) { fmt.Fprintln(h.cfg.Err, line) }) {
		return nil, errors.New("the guard daemon went away while this call waited, so it was not allowed; make it again")
	}
	answer, err := io.ReadAll(outR)
	if err != nil {
		return nil, fmt.Errorf("reading the guard's answer: %w", err)
	}
	return answer, nil
}

// watchReader calls gone once no process has the other end of a pipe or socket
// open. stop ends the watch.
func watchReader(f *os.File, gone func()) (stop func()) {
	fd, err := number(f)
	if err != nil || !ipc.PassableFile(f) {
		return func() {} // a file or a terminal has no other end
	}
	r, w, err := os.Pipe()
	if err != nil {
		return func() {}
	}
	wake, err := number(r)
	if err != nil {
		r.Close()
		w.Close()
		return func() {}
	}
	done := make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		fds := []unix.PollFd{{Fd: int32(fd)}, {Fd: int32(wake)}} // no events: errors and hang-ups are always reported
		for {
			_, err := unix.Poll(fds, -1)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case err == nil && fds[0].Revents != 0 && fds[1].Revents == 0:
				gone()
			}
			return
		}
	}()
	return func() {
		w.Close()
		<-done
		r.Close()
	}
}
