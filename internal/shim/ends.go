package shim

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// end is one direction of a session: the client's descriptor, the one that the
// daemon gets, and for a copy the one that stays here.
type end struct {
	client *os.File // as the client gave it
	theirs *os.File // handed to the daemon: client itself, or a pipe's end
	ours   *os.File // the pipe's other end; nil if client was handed over
}

func (e *end) copied() bool { return e.ours != nil }

// drop closes a pipe.
func (e *end) drop() {
	if e.copied() {
		e.theirs.Close()
		e.ours.Close()
	}
}

// ends prepares both directions; force makes copies of both.
func ends(cfg Config, force bool) (in, out *end, err error) {
	in, out = &end{client: cfg.In, theirs: cfg.In}, &end{client: cfg.Out, theirs: cfg.Out}
	if force {
		// A daemon that received one of them may have made it non-blocking.
		for _, f := range []*os.File{cfg.In, cfg.Out} {
			if fd, err := number(f); err == nil {
				_ = unix.SetNonblock(fd, false)
			}
		}
	}
	if force || !ipc.PassableFile(cfg.In) {
		if in.theirs, in.ours, err = os.Pipe(); err != nil {
			return nil, nil, fmt.Errorf("making a pipe for the session's input: %w", err)
		}
	}
	if force || !ipc.PassableFile(cfg.Out) {
		if out.ours, out.theirs, err = os.Pipe(); err != nil {
			in.drop()
			return nil, nil, fmt.Errorf("making a pipe for the session's output: %w", err)
		}
	}
	return in, out, nil
}

// number returns f's descriptor. Unlike Fd it does not make it blocking.
func number(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	n := 0
	err = raw.Control(func(fd uintptr) { n = int(fd) })
	return n, err
}

// flushTime bounds how long the last output of the daemon may take to reach
// the client once the session is over.
const flushTime = 2 * time.Second

// copies carries a session whose descriptors could not be handed over.
type copies struct {
	outDone chan struct{} // nil if the output was handed over
}

func startCopies(in, out *end) *copies {
	c := &copies{}
	if in.copied() {
		// Ends when the client's input does, at the latest with the process. A read
		// of a terminal cannot be interrupted.
		go func() {
			io.Copy(in.ours, in.client)
			in.ours.Close() // the daemon sees the end of the input
		}()
	}
	if out.copied() {
		c.outDone = make(chan struct{})
		// Ends when no process has the other end open any more: the daemon,
		// and this process after finish, which waits for it.
		go func() {
			defer close(c.outDone)
			io.Copy(out.client, out.ours)
			out.ours.Close() // if the client is gone, the daemon's next write fails
		}()
	}
	return c
}

// finish copies the rest of the output to the client after the daemon has
// ended the session or died.
func (c *copies) finish(ctx context.Context, out *end) {
	if c.outDone == nil {
		return
	}
	out.theirs.Close() // so that reading the pipe ends
	t := time.NewTimer(flushTime)
	defer t.Stop()
	select {
	case <-c.outDone:
	case <-ctx.Done():
	case <-t.C:
	}
}
