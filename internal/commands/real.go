package commands

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// Real runs a command for real, without a sandbox: what it changes changes. It
// has the same environment and limits of time and output as a run inside. When
// ctx ends, the command and whatever shares its group are ended; a daemon that
// it started in a session of its own lives on.
func (r *Runner) Real(ctx context.Context, c Command) (Outcome, error) {
	limits := c.Settings.Limits.OrDefault()
	ctx, cancel := context.WithTimeout(ctx, limits.Time)
	defer cancel()
	out := &streams{left: limits.Output}
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir, cmd.Env = c.Folder, c.Env
	cmd.Stdout, cmd.Stderr = stream{out, false}, stream{out, true}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // its children may hold the pipes for ever
	err := cmd.Run()
	o := out.outcome()
	var exit *exec.ExitError
	switch {
	case errors.Is(err, exec.ErrWaitDelay):
		o.Exit = cmd.ProcessState.ExitCode()
	case errors.As(err, &exit):
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			o.Signal = int(status.Signal())
		} else {
			o.Exit = exit.ExitCode()
		}
	case err != nil:
		return o, err
	}
	return o, nil
}

// streams keeps what a command prints, up to a limit.
type streams struct {
	mu        sync.Mutex
	chunks    []sandbox.Chunk
	left      int64
	truncated bool
}

type stream struct {
	*streams
	stderr bool
}

func (s stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := min(int64(len(b)), s.left)
	s.truncated = s.truncated || keep < int64(len(b))
	s.left -= keep
	if keep > 0 {
		s.chunks = append(s.chunks, sandbox.Chunk{Stderr: s.stderr, Data: bytes.Clone(b[:keep])})
	}
	return len(b), nil
}

func (s *streams) outcome() Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	return (&Record{Output: s.chunks, Truncated: s.truncated}).outcome()
}
