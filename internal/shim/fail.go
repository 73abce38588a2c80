package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

const (
	defaultLinger = 30 * time.Second
	// maxAnswers keeps what is written to a client that does not read below
	// the capacity of a pipe.
	maxAnswers = 32
	maxText    = 1500 // bytes of the sentence
)

// Fail reports why there is no session: in one line to the developer, and to
// the client in the answer to each of its requests. Clients display the answer
// to their first request; a probe for another protocol version may precede it.
// It returns the exit code for Run once the client has closed its end, or
// after cfg.Linger. Run calls it; call it directly for failures before Run.
func Fail(ctx context.Context, cfg Config, err error) int { return fail(ctx, cfg, err, nil) }

// fail is Fail for a session of which something was already read.
func fail(ctx context.Context, cfg Config, err error, unread []byte) int {
	text := explain(cfg.Server, err)
	say(cfg.Err, text)
	answer(ctx, cfg, text, unread)
	var r *refusal
	switch {
	case errors.As(err, &r):
		return exitRefused
	case errors.Is(err, ipc.ErrNoDaemon):
		return exitNoGuard
	}
	return exitFailed
}

// explain returns one sentence about what happened and what to do.
func explain(server string, err error) string {
	next := "; `mcpguardd doctor` says more"
	var r *refusal
	if errors.As(err, &r) || errors.Is(err, ipc.ErrNoDaemon) {
		next = "" // these errors already say what to do
	}
	text := err.Error()
	return fmt.Sprintf("no session with server %+q: %s%s", server, text[:min(len(text), maxText)], next)
}

// answer answers requests with an error until the client closes its end, the
// linger time is over, or ctx ends. On a terminal it returns at once, because
// a person has read the line.
func answer(ctx context.Context, cfg Config, text string, unread []byte) {
	if info, err := cfg.In.Stat(); err != nil || info.Mode()&os.ModeCharDevice != 0 {
		return
	}
	linger := cfg.Linger
	if linger == 0 {
		linger = defaultLinger
	}
	ctx, cancel := context.WithTimeout(ctx, linger)
	defer cancel()
	p, err := newPoller(ctx, cfg)
	if err != nil {
		return
	}
	defer p.close()
	frames := jsonrpc.NewReader(keptReader(unread, p), jsonrpc.Limits{})
	for range maxAnswers {
		id, err := nextRequest(frames)
		if err != nil {
			return
		}
		reply := jsonrpc.ErrorReply(id, jsonrpc.CodeInternalError, "mcpguard: "+text, nil)
		if p.write(append(reply, '\n')) != nil {
			return
		}
	}
}

// nextRequest returns the id of the next request, even of an invalid one if it
// is recognisable as a request. The error is that of the stream.
func nextRequest(r *jsonrpc.Reader) (jsonrpc.ID, error) {
	for {
		frame, err := r.Next()
		if err == nil {
			var m jsonrpc.Message
			if m, err = jsonrpc.Admit(frame, jsonrpc.Limits{}); err == nil {
				if m.Kind == jsonrpc.Request {
					return m.ID, nil
				}
				continue
			}
		}
		var refused *jsonrpc.Refusal
		if !errors.As(err, &refused) {
			return jsonrpc.ID{}, err
		}
		if refused.Kind == jsonrpc.Request {
			return refused.ID, nil
		}
	}
}

// poller reads and writes the client's descriptors with a deadline, whether
// they block or not (a daemon that refused them may have changed that), and
// without a goroutine that could hang in a read.
type poller struct {
	in, out int
	wake    [2]*os.File // readable once ctx has ended
	wakeFD  int
	unhook  func() bool
}

func newPoller(ctx context.Context, cfg Config) (*poller, error) {
	p := &poller{}
	var err error
	if p.in, err = number(cfg.In); err != nil {
		return nil, err
	}
	if p.out, err = number(cfg.Out); err != nil {
		return nil, err
	}
	if p.wake[0], p.wake[1], err = os.Pipe(); err != nil {
		return nil, err
	}
	if p.wakeFD, err = number(p.wake[0]); err != nil {
		return nil, err
	}
	p.unhook = context.AfterFunc(ctx, func() { p.wake[1].Write([]byte{0}) })
	return p, nil
}

func (p *poller) close() {
	p.unhook()
	p.wake[0].Close()
	p.wake[1].Close()
}

// wait blocks until fd is ready. It returns an error when ctx has ended.
func (p *poller) wait(fd int, events int16) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: int32(p.wakeFD), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case fds[1].Revents != 0:
			return os.ErrDeadlineExceeded
		}
		return nil
	}
}

// Read implements io.Reader on the client's input.
func (p *poller) Read(b []byte) (int, error) {
	for {
		if err := p.wait(p.in, unix.POLLIN); err != nil {
			return 0, err
		}
		n, err := unix.Read(p.in, b)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, err
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

func (p *poller) write(b []byte) error {
	for len(b) > 0 {
		if err := p.wait(p.out, unix.POLLOUT); err != nil {
			return err
		}
		n, err := unix.Write(p.out, b)
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}
