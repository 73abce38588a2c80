// Package upstream runs one upstream MCP server. It starts the command with
// exactly the environment it is given, in a session and process group of its
// own and without a terminal, moves frames in and out within bounded time,
// keeps the last lines of its standard error, and leaves no process of the
// group behind, whatever ends first: the session, the upstream, or the daemon.
//
// It does not restart an upstream, resolve secrets or choose an environment,
// look into a frame further than its first byte, or redact: Spec.Redact does
// that, before anything of the upstream's standard error is kept.
//
// A process that leaves the group (setsid) on purpose outlives it, as long as
// it does not use its standard input; see watchdog.go for the rest.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// Conn is an upstream, in another process or in this one. Next must be called
// from one goroutine; the other methods are safe for concurrent use.
type Conn interface {
	// Next returns the next frame from the upstream; the caller may keep it. A
	// *jsonrpc.FrameError or a *GarbageError is about one frame, and Next can
	// be called again; every other error is the end.
	Next() ([]byte, error)
	// Expect says what the request with this ID may change; it is called
	// before the request is written. The built-in server refuses a change that
	// was not expected, or whose target is no longer as it was before. The
	// client's own tools learn from it that they must wait for a report. A
	// server in another process cannot be held to it: its targets are checked
	// before the call and read back afterwards.
	Expect(id jsonrpc.ID, approved guard.Preview)
	// Write sends one frame, given without its newline, within bounded time.
	Write(frame []byte) error
	// Unreported reports whether the answer to a request says only that the
	// outcome of the call is not known.
	Unreported(id jsonrpc.ID) bool
	Ref() guard.UpstreamRef
	// Done returns a channel that is closed when the upstream has ended.
	Done() <-chan struct{}
	// Stop ends the upstream and returns when it has ended.
	Stop(ctx context.Context) error
}

// Defaults of a Spec.
const (
	DefaultStartTimeout = 60 * time.Second
	DefaultStopGrace    = 2 * time.Second
	DefaultWriteTimeout = 30 * time.Second
)

// Spec says what to start.
type Spec struct {
	Name    string // of the server, for messages
	Command string // a path, or a name to look up in the PATH of Env
	Args    []string
	Env     []string // "NAME=value", complete: nothing is added
	Dir     string   // absolute
	// StartTimeout limits the time from the first Write to the first frame.
	StartTimeout time.Duration
	// StopGrace is how long each step of Stop waits before the next.
	StopGrace time.Duration
	// WriteTimeout is how long the upstream may leave its input unread.
	WriteTimeout time.Duration
	MaxFrame     int // bytes; jsonrpc.DefaultMaxFrame if zero
	// Redact is applied to each line of standard error before it is kept or
	// passed on, and returns the line to keep. Required: a server may print
	// the secrets that it was given.
	Redact func(line []byte) []byte
	// OnStderr, if set, is called with each line of standard error, from one
	// goroutine. It must not keep the line after it returns.
	OnStderr func(line []byte)
}

// Process is a running upstream. It implements Conn.
type Process struct {
	spec   Spec
	ref    guard.UpstreamRef
	pid    int
	in     *queue
	stdout *os.File
	frames *jsonrpc.Reader
	stderr *ring

	done    chan struct{} // closed when reaped and its standard error is read
	started atomic.Bool   // a frame has come
	timer   *time.Timer   // of the start, once armed
	arm     sync.Once

	trash bucket        // used by Next alone
	lines jsonrpc.Lines // as above
	held  *input        // read, and to be returned next; as above

	mu       sync.Mutex
	reaped   bool                // the pid may mean another process
	left     []guard.UpstreamRef // processes that it started and that have left its group
	stopping bool
	cause    error // why the guard ended it, if it did
	state    *os.ProcessState
}

// Start starts the upstream and returns when its program runs. The program may
// still end at once; Next then reports how, with its last lines. ctx limits
// only the start.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	if spec.Redact == nil {
		return nil, fmt.Errorf("starting server %q: nothing takes secrets out of what it prints", spec.Name) // fail closed
	}
	spec = spec.withDefaults()
	p, err := start(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("starting server %q: %w", spec.Name, err)
	}
	return p, nil
}

func (s Spec) withDefaults() Spec {
	if s.StartTimeout <= 0 {
		s.StartTimeout = DefaultStartTimeout
	}
	if s.StopGrace <= 0 {
		s.StopGrace = DefaultStopGrace
	}
	if s.WriteTimeout <= 0 {
		s.WriteTimeout = DefaultWriteTimeout
	}
	return s
}

// Path finds the program of the command with the PATH of the upstream's
// environment, not of this process.
func (s Spec) Path() (string, error) {
	if s.Command == "" {
		return "", errors.New("no command is configured")
	}
	if !filepath.IsAbs(s.Dir) {
		return "", fmt.Errorf("its folder %q is not an absolute path", s.Dir)
	}
	if info, err := os.Stat(s.Dir); err != nil {
		return "", fmt.Errorf("its folder cannot be used: %w", err)
	} else if !info.IsDir() {
		return "", fmt.Errorf("its folder %q is not a folder", s.Dir)
	}
	if strings.Contains(s.Command, "/") {
		path := s.Command
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.Dir, path)
		}
		return path, executable(path)
	}
	path := ""
	for _, kv := range s.Env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	if path == "" {
		return "", fmt.Errorf("command %q has no folder and the server's environment has no PATH: name PATH in its env, or give the command's full path", s.Command)
	}
	for _, dir := range filepath.SplitList(path) {
		// A relative folder would depend on the client's folder.
		if !filepath.IsAbs(dir) {
			continue
		}
		if full := filepath.Join(dir, s.Command); executable(full) == nil {
			return full, nil
		}
	}
	return "", fmt.Errorf("there is no command %q in the server's PATH (%s)", s.Command, path)
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("the command cannot be used: %w", err)
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("the command %s is not an executable file", path)
	}
	return nil
}

// Expect implements Conn. It does nothing: a process cannot be held to what
// was approved.
func (p *Process) Expect(jsonrpc.ID, guard.Preview) {}

// Unreported implements Conn. It is always false: the process itself answers.
func (p *Process) Unreported(jsonrpc.ID) bool { return false }

// Ref identifies the process across restarts of the daemon.
func (p *Process) Ref() guard.UpstreamRef { return p.ref }

// Done returns a channel that is closed when the process has ended, its group
// is gone, and all of its standard error has been kept.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stderr returns the last lines of standard error, oldest first.
func (p *Process) Stderr() []string { return p.stderr.lines() }

// Write sends one frame and its newline. It returns when the system has taken
// the frame or it waits in a bounded queue; frames are never interleaved. If
// the upstream leaves its input unread for the write timeout it is ended, and
// this and later writes fail.
func (p *Process) Write(frame []byte) error {
	p.arm.Do(p.armStart)
	if err := p.in.write(frame); err != nil {
		if exit := p.ExitError(); exit != nil {
			err = exit
		}
		return fmt.Errorf("writing to server %q: %w", p.spec.Name, err)
	}
	return nil
}

// armStart starts the start timeout with the first frame to the upstream: a
// server has nothing to answer before.
func (p *Process) armStart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped || p.started.Load() {
		return
	}
	p.timer = time.AfterFunc(p.spec.StartTimeout, func() {
		if !p.started.Load() {
			p.end(fmt.Errorf("it did not answer within %v", p.spec.StartTimeout))
		}
	})
}

func (p *Process) firstFrame() {
	p.started.Store(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
}

// end kills the process for a reason that ExitError reports.
func (p *Process) end(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped || p.stopping {
		return
	}
	if p.cause == nil {
		p.cause = cause
	}
	p.family()
	p.signal(sigKill)
}

// Stop closes the upstream's input. If the upstream does not end, Stop sends
// SIGTERM after one StopGrace and SIGKILL after another to its group; when ctx
// ends it sends SIGKILL at once. It returns when the process has ended, or an
// error if it cannot be ended. It may be called at any time and more than
// once.
func (p *Process) Stop(ctx context.Context) error {
	p.mu.Lock()
	p.stopping = true
	p.family()
	p.mu.Unlock()
	p.in.close()
	for _, step := range []os.Signal{sigTerm, sigKill} {
		if p.wait(ctx, p.spec.StopGrace) {
			return nil
		}
		p.mu.Lock()
		p.family()
		p.signal(step)
		p.mu.Unlock()
	}
	if p.wait(context.WithoutCancel(ctx), killWait) {
		return nil
	}
	return fmt.Errorf("server %q (process %d) does not end, not even by SIGKILL", p.spec.Name, p.pid)
}

// killWait limits the wait after SIGKILL: a process in an uninterruptible
// system call ends only with that call.
const killWait = 10 * time.Second

func (p *Process) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.done:
		return true
	case <-ctx.Done():
	case <-t.C:
	}
	return false
}
