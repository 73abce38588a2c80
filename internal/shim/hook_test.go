package shim

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// asHook runs this test binary as a hook; its arguments are the kind and the
// timeout.
func asHook() int {
	began := time.Now()
	paths, err := ipc.DefaultPaths()
	if err != nil {
		panic(err)
	}
	limit, err := time.ParseDuration(os.Args[3])
	if err != nil {
		panic(err)
	}
	return Hook(background, HookConfig{
		Paths: paths, Kind: os.Args[2], Version: "0.1", In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Deadline: began.Add(limit),
	})
}

// startedHook is a hook as its client sees it.
type startedHook struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    *os.File
	stderr string // a file
}

func startHook(t *testing.T, p ipc.Paths, kind, limit string) *startedHook {
	t.Helper()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	h := &startedHook{t: t, out: outR, stderr: filepath.Join(t.TempDir(), "stderr")}
	errs, err := os.Create(h.stderr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inW.WriteString("question"); err != nil {
		t.Fatal(err)
	}
	inW.Close()
	h.cmd = exec.Command(os.Args[0], "hook", kind, limit)
	h.cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), p.Environ()...)
	h.cmd.Stdin, h.cmd.Stdout, h.cmd.Stderr = inR, outW, errs
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	errs.Close()
	t.Cleanup(func() {
		if h.cmd.ProcessState == nil {
			h.cmd.Process.Kill()
			h.cmd.Wait()
		}
		outR.Close()
	})
	return h
}

// ends checks that the hook's output and its process end within limit, and
// returns what it wrote.
func (h *startedHook) ends(limit time.Duration, code int) (stdout, stderr string) {
	h.t.Helper()
	h.out.SetReadDeadline(time.Now().Add(limit))
	o, err := io.ReadAll(h.out)
	if err != nil {
		h.t.Errorf("the hook's output stays open: %v", err)
	}
	timer := time.AfterFunc(limit, func() { h.cmd.Process.Kill() })
	defer timer.Stop()
	h.cmd.Wait()
	e, err := os.ReadFile(h.stderr)
	if err != nil {
		h.t.Error(err)
	}
	if got := h.cmd.ProcessState.ExitCode(); got != code {
		h.t.Errorf("exit code %d, want %d; standard error: %s", got, code, e)
	}
	return string(o), string(e)
}

const soon = 20 * time.Second // generous; not a performance check

func TestHookIsAnswered(t *testing.T) {
	d := newDaemon(t)
	c := startHook(t, d.paths, ipc.HookPre, "1m")
	h := d.accept()
	if h.Hello.Server != ipc.HookPre || h.Client.PID != os.Getpid() {
		t.Errorf("%+v of %d", h.Hello, h.Client.PID)
	}
	if err := h.Welcome(ipc.Welcome{OK: true}); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(h.In); err != nil || string(b) != "question" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := h.Out.WriteString("answer\n"); err != nil {
		t.Fatal(err)
	}
	h.Close()
	if stdout, stderr := c.ends(soon, exitDone); stdout != "answer\n" || stderr != "" {
		t.Errorf("%q, %q", stdout, stderr)
	}
}

// TestHookDenies: whatever happens to the daemon or the timeout, a question
// ends with the status that denies, and a report never does.
func TestHookDenies(t *testing.T) {
	for _, c := range []struct {
		what, kind, limit string
		daemon            func(*daemon)
		code              int
		says              string
	}{
		{"lost", ipc.HookPre, "1m", lose, exitDeny, "went away"},
		{"undecided", ipc.HookPre, "200ms", hold, exitDeny, "nobody decided"},
		{"silent", ipc.HookPre, "200ms", nil, exitDeny, "does not answer"}, // like a stopped process: the connection stays in its queue
		{"refused", ipc.HookPre, "1m", func(d *daemon) { d.accept().Welcome(ipc.Welcome{Error: "no such thing"}) }, exitDeny, "no such thing"},
		{"empty answer", ipc.HookPre, "1m", func(d *daemon) { d.welcome().Close() }, exitDeny, "no answer"},
		{"ended, and its output is held", ipc.HookPre, "200ms", keepOutput, exitDeny, "nobody decided"},
		{"lost", ipc.HookPost, "1m", lose, exitDone, ""},
		{"undecided", ipc.HookPost, "200ms", hold, exitDone, ""},
		{"silent", ipc.HookPost, "200ms", nil, exitDone, ""},
	} {
		t.Run(c.kind+" "+c.what, func(t *testing.T) {
			d := newDaemon(t)
			h := startHook(t, d.paths, c.kind, c.limit)
			if c.daemon != nil {
				c.daemon(d)
			}
			if stdout, stderr := h.ends(soon, c.code); stdout != "" || !strings.Contains(stderr, c.says) {
				t.Errorf("%q, %q", stdout, stderr)
			}
		})
	}
}

func hold(d *daemon) { d.welcome() }

// lose closes the connection without a message, as when the daemon dies.
func lose(d *daemon) {
	d.l.SetDeadline(time.Now().Add(soon))
	conn, err := d.l.AcceptUnix()
	if err != nil {
		d.t.Fatal(err)
	}
	h, err := ipc.Accept(d.t.Context(), conn)
	if err != nil {
		d.t.Fatal(err)
	}
	h.Welcome(ipc.Welcome{OK: true})
	conn.Close()
	h.Close()
}

// keepOutput says that the session ends, and keeps the output open.
func keepOutput(d *daemon) {
	d.l.SetDeadline(time.Now().Add(soon))
	conn, err := d.l.AcceptUnix()
	if err != nil {
		d.t.Fatal(err)
	}
	_, files, err := ipc.RecvFiles(conn, make([]byte, 1<<16))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, f := range files {
		d.t.Cleanup(func() { f.Close() })
	}
	if _, err := conn.Write([]byte(`{"ok":true,"protocol":1}` + "\n" + `{"end":true}` + "\n")); err != nil {
		d.t.Fatal(err)
	}
	conn.Close()
}

// TestHookEndsWithItsClient: a killed client cannot cancel its hooks; they end
// because no one reads their answer.
func TestHookEndsWithItsClient(t *testing.T) {
	d := newDaemon(t)
	c := startHook(t, d.paths, ipc.HookPre, "1m")
	h := d.welcome()
	c.out.Close()
	ended(t, h)
	timer := time.AfterFunc(soon, func() { c.cmd.Process.Kill() })
	defer timer.Stop()
	c.cmd.Wait()
	if got := c.cmd.ProcessState.ExitCode(); got != exitDeny {
		t.Errorf("exit code %d", got)
	}
}

// TestHookEndsBySignal: it ends and denies.
func TestHookEndsBySignal(t *testing.T) {
	d := newDaemon(t)
	c := startHook(t, d.paths, ipc.HookPre, "1m")
	h := d.welcome()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended(t, h)
	if stdout, stderr := c.ends(soon, exitDeny); stdout != "" || !strings.Contains(stderr, "make it again") {
		t.Errorf("%q, %q", stdout, stderr)
	}
}
