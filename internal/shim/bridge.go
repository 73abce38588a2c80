package shim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// errClientGone ends the wait for a daemon because the client is gone.
var errClientGone = errors.New("the client has gone")

// Intervals between checks for a daemon.
const (
	firstLook  = 50 * time.Millisecond
	longestGap = time.Second
)

// lostAnswer is the answer to a request that was in flight.
const lostAnswer = "mcpguard: the guard's daemon was restarted before this request was answered. What waited for a decision was cancelled. " +
	"Look whether it has taken effect before you send it again."

// bridge moves a session from the daemon that gave it back to the next one. It
// answers the requests in flight. It waits for a daemon, and starts one, if
// allowed, when the client sends something.
func (s *session) bridge(ctx context.Context, cfg Config, kept *ipc.Handback) error {
	client, err := newPoller(ctx, Config{In: s.in.theirs, Out: s.out.toClient()})
	if err != nil {
		return err
	}
	defer client.close()
	for _, id := range kept.InFlight {
		if err := client.write(errorReply(id)); err != nil {
			return errClientGone
		}
	}
	kept.InFlight = nil
	say(cfg.Err, "the guard daemon has ended; this session waits for the next one")
	conn, err := s.nextDaemon(ctx, cfg, client, bytes.IndexByte(kept.Unread, '\n') >= 0)
	if err != nil {
		return err
	}
	s.conn = conn
	if err := s.greet(ctx, cfg, kept); err != nil {
		conn.Close()
		return err
	}
	say(cfg.Err, "this session goes on with the next daemon")
	return nil
}

func errorReply(id json.RawMessage) []byte {
	var b bytes.Buffer
	b.WriteString(`{"jsonrpc":"2.0","id":`)
	b.Write(id)
	b.WriteString(`,"error":{"code":-32603,"message":`)
	b.Write(jsonrpc.QuoteString(lostAnswer))
	b.WriteString("}}\n")
	return b.Bytes()
}

// nextDaemon waits until a daemon answers. speaks means that the client has
// already sent something.
func (s *session) nextDaemon(ctx context.Context, cfg Config, client *poller, speaks bool) (*net.UnixConn, error) {
	for gap := firstLook; ; gap = min(2*gap, longestGap) {
		conn, err := ipc.Dial(ctx, cfg.Paths.AgentSocket())
		if err == nil || !errors.Is(err, ipc.ErrNoDaemon) {
			return conn, err
		}
		if speaks && cfg.Autostart != nil {
			if err := cfg.Autostart(ctx); err != nil {
				return nil, err
			}
			return ipc.Dial(ctx, cfg.Paths.AgentSocket())
		}
		said, err := client.speaks(gap, speaks)
		if err != nil {
			return nil, err
		}
		speaks = speaks || said
	}
}

// speaks waits until the client has sent something, for at most d. If already
// is set, it only waits for the client to leave. The error is errClientGone if
// the client no longer reads, or closed its end without sending anything.
func (p *poller) speaks(d time.Duration, already bool) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(p.out)}, {Fd: int32(p.wakeFD), Events: unix.POLLIN}, {Fd: int32(p.in), Events: unix.POLLIN}}
	if already {
		fds = fds[:2]
	}
	n, err := unix.Poll(fds, int(d/time.Millisecond))
	switch {
	case errors.Is(err, unix.EINTR), err == nil && n == 0:
		return false, nil
	case err != nil:
		return false, err
	case fds[1].Revents != 0:
		return false, os.ErrDeadlineExceeded
	case fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0:
		return false, errClientGone
	case already:
		return true, nil
	case fds[2].Revents&unix.POLLIN == 0:
		return false, errClientGone // hung up, with nothing left to read
	case p.atEnd():
		return false, errClientGone
	}
	return true, nil
}

// atEnd reports whether the next read of a socket returns its end.
func (p *poller) atEnd() bool {
	n, _, err := unix.Recvfrom(p.in, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return err == nil && n == 0 // a pipe is no socket, and hangs up instead
}

// toClient returns where this process writes answers: after what the daemon
// wrote.
func (e *end) toClient() *os.File { return e.theirs }

// keptReader returns a reader of what a daemon had already read from the
// client, followed by r.
func keptReader(unread []byte, r io.Reader) io.Reader {
	return io.MultiReader(bytes.NewReader(unread), r)
}
