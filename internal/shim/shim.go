// Package shim implements `mcpguard stdio`, the process that a client starts
// instead of a server. It sends a hello to the daemon, hands over its standard
// input and output as descriptors, and stays out of the data path. It lives as
// long as the session, which it keeps across daemon restarts, so that the
// client sees one server process. If a descriptor cannot be handed over (a
// terminal, a file) it copies. If no session can be opened it answers the
// client's requests with an error that says what to do. StartDaemon starts a
// daemon if none answers.
//
// The package does not read a byte of a session that was handed over, decide
// anything, or reach an upstream by itself: without the daemon nothing passes.
// It has few imports, because each client waits for it at each start.
package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// Exit codes of Run.
const (
	exitDone    = 0
	exitFailed  = 1
	exitNoGuard = 3 // the daemon cannot be reached
	exitRefused = 4
)

// Config is one session as the client started it.
type Config struct {
	Paths   ipc.Paths
	Server  string
	As      string // the client's name for it, where the entry says so
	Version string
	// In and Out are the client's ends. The caller owns them; they stay open,
	// because the next daemon gets them, too.
	In, Out *os.File
	Err     io.Writer
	// Autostart is called when no daemon answers; nil means not to start one.
	Autostart func(context.Context) error
	// Linger bounds how long requests are answered with an error after a
	// failure; zero means 30 seconds.
	Linger time.Duration

	copyAll bool // for benchmarks: copy even if handing over would work
}

// Run runs one session and returns the exit code of the process: 0 if the
// session ended in order or by a signal, 3 if no daemon could be reached, 4 if
// the daemon refused, 1 otherwise. It ends when ctx does, or on SIGTERM,
// SIGINT or SIGHUP; the daemon then ends the session by itself. A session that
// a stopping daemon gives back continues with the next one.
func Run(ctx context.Context, cfg Config) (exit int) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	s, err := open(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			return exitDone // the client has gone while the daemon started
		}
		return Fail(ctx, cfg, err)
	}
	var c *copies
	if s.in.copied() || s.out.copied() {
		c = startCopies(s.in, s.out)
	}
	for {
		ended, kept := s.await(ctx, cfg)
		if kept != nil && ctx.Err() == nil {
			err := s.bridge(ctx, cfg, kept)
			switch {
			case err == nil:
				continue
			case errors.Is(err, errClientGone), ctx.Err() != nil:
				return exitDone
			}
			cfg.In, cfg.Out = s.in.theirs, s.out.theirs
			code := fail(ctx, cfg, err, kept.Unread)
			if c != nil {
				c.finish(ctx, s.out)
			}
			return code
		}
		if c != nil {
			c.finish(ctx, s.out)
		}
		if !ended && ctx.Err() == nil {
			say(cfg.Err, "the guard daemon has gone and this session with it; `mcpguardd status` says more")
			return exitFailed
		}
		return exitDone
	}
}

// await waits for the daemon to end the session.
func (s *session) await(ctx context.Context, cfg Config) (ended bool, kept *ipc.Handback) {
	defer s.conn.Close()
	unhook := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer unhook()
	return s.welcome.AwaitKept(s.conn, func(line string) { say(cfg.Err, line) })
}

// refusal is a daemon's refusal; its text is the daemon's sentence.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// session is one that the daemon has taken over.
type session struct {
	conn    *net.UnixConn
	in, out *end
	welcome ipc.Welcome
}

// open finds the daemon, starts it if allowed, and hands the session over. It
// offers copies instead of descriptors that the system refuses to pass.
func open(ctx context.Context, cfg Config) (*session, error) {
	s, err := offer(ctx, cfg, cfg.copyAll)
	if errors.Is(err, ipc.ErrNotPassed) && !cfg.copyAll {
		s, err = offer(ctx, cfg, true)
	}
	return s, err
}

func offer(ctx context.Context, cfg Config, copyAll bool) (*session, error) {
	conn, err := reach(ctx, cfg)
	if err != nil {
		return nil, err
	}
	in, out, err := ends(cfg, copyAll)
	if err != nil {
		conn.Close()
		return nil, err
	}
	s := &session{conn: conn, in: in, out: out}
	if err := s.greet(ctx, cfg, nil); err != nil {
		conn.Close()
		in.drop()
		out.drop()
		return nil, err
	}
	return s, nil
}

// reach connects to the daemon and, if none answers, starts it once.
func reach(ctx context.Context, cfg Config) (*net.UnixConn, error) {
	conn, err := ipc.Dial(ctx, cfg.Paths.AgentSocket())
	if err == nil || !errors.Is(err, ipc.ErrNoDaemon) {
		return conn, err
	}
	if cfg.Autostart == nil {
		return nil, fmt.Errorf("%w; start it with `mcpguardd serve`", ipc.ErrNoDaemon)
	}
	if err := cfg.Autostart(ctx); err != nil {
		return nil, err
	}
	return ipc.Dial(ctx, cfg.Paths.AgentSocket())
}

func (s *session) greet(ctx context.Context, cfg Config, kept *ipc.Handback) error {
	hello := ipc.NewHello(cfg.Server, cfg.Version)
	hello.As, hello.Keeps = cfg.As, true
	hello.Copied = s.in.copied() || s.out.copied()
	var err error
	if s.welcome, err = ipc.OfferKept(ctx, s.conn, hello, kept, s.in.theirs, s.out.theirs); err != nil {
		return err
	}
	if !s.welcome.OK {
		return &refusal{s.welcome.Error}
	}
	for _, line := range s.welcome.Notices {
		say(cfg.Err, line)
	}
	return nil
}

// say writes one line for the developer; the client keeps it in its log.
func say(w io.Writer, text string) {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
	io.WriteString(w, "mcpguard: "+text+"\n")
}
