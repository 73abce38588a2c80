package shim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// startTimeout bounds the start of a daemon if ctx has no earlier deadline.
const startTimeout = 20 * time.Second

// passedOn names the variables that a detached daemon gets, besides those that
// say where its files are and all of LC_*. No others are passed, because the
// client's environment holds its secrets.
var passedOn = [...]string{"HOME", "PATH", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"}

// StartDaemon makes sure that a daemon answers on p's agent socket. If none
// does, it starts exe as "exe serve --detached" and waits, until ctx ends or
// for 20 seconds, for the daemon to report that it is ready (ipc.SignalReady).
// A failure is the daemon's own sentence. Of several concurrent callers, in
// any number of processes, one starts a daemon and the others wait for it.
//
// The daemon is detached: not a child of this process, in its own session
// without a terminal, in the folder /, with nothing open but /dev/null, its
// log as standard error and the pipe for its report.
func StartDaemon(ctx context.Context, p ipc.Paths, exe string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if answers(ctx, p) {
		return nil
	}
	if err := ipc.CheckSocketPath(p.ApproverSocket()); err != nil { // the longer one
		return err
	}
	if err := p.Prepare(); err != nil {
		return err
	}
	lock, err := ipc.Lock(ctx, p.SpawnLock())
	if err != nil {
		return fmt.Errorf("starting the guard daemon: %w", err)
	}
	defer lock.Close()
	// The previous holder of the lock may have started it.
	if answers(ctx, p) {
		return nil
	}
	err = spawn(ctx, p, exe)
	if err != nil && answers(ctx, p) {
		return nil // someone started one without the lock, in the foreground
	}
	if err != nil {
		return fmt.Errorf("starting the guard daemon: %w", err)
	}
	return nil
}

func answers(ctx context.Context, p ipc.Paths) bool {
	c, err := ipc.Dial(ctx, p.AgentSocket())
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func spawn(ctx context.Context, p ipc.Paths, exe string) error {
	log, err := os.OpenFile(p.Log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	from := size(log)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	name, argv := detached(exe)
	proc, err := os.StartProcess(name, argv, &os.ProcAttr{
		Dir:   "/",
		Env:   environ(p, os.Environ()),
		Files: []*os.File{null, null, log, w},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	w.Close()
	if err != nil {
		return err
	}
	// Has no owner: it ends with the started process, a shell that exits at
	// once and leaves the daemon behind.
	go proc.Wait()
	err = ipc.AwaitReady(ctx, r)
	if errors.Is(err, ipc.ErrNotReady) {
		return fmt.Errorf("%w%s; its log is %s", err, lastWords(p.Log(), from), p.Log())
	}
	return err
}

const shell = "/bin/sh"

// detached returns the command that leaves exe running as no one's child: a
// client that kills its descendants one by one must not find the daemon among
// them. On a system without a shell exe is started directly.
func detached(exe string) (name string, argv []string) {
	if _, err := os.Stat(shell); err != nil {
		return exe, []string{exe, "serve", "--detached"}
	}
	return shell, []string{shell, "-c", `"$0" serve --detached &`, exe}
}

// environ is the scrubbed environment of a detached daemon.
func environ(p ipc.Paths, from []string) []string {
	env := append(p.Environ(), ipc.EnvReady+"=3")
	for _, kv := range from {
		name, _, _ := strings.Cut(kv, "=")
		keep := strings.HasPrefix(name, "LC_")
		for _, n := range passedOn {
			keep = keep || n == name
		}
		if keep {
			env = append(env, kv)
		}
	}
	return env
}

func size(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// lastWords returns the last line written to the log after it had the given
// size, as a clause.
func lastWords(path string, from int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if end := size(f); end-from > 4096 {
		from = end - 4096
	}
	b, err := io.ReadAll(io.NewSectionReader(f, from, 4096))
	if err != nil {
		return ""
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return ""
	}
	if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
		b = b[i+1:]
	}
	return fmt.Sprintf(", its last words were %+q", b)
}
