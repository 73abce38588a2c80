package express

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

func TestHookArguments(t *testing.T) {
	for _, c := range []struct {
		args    string
		kind    string
		seconds int64
		ok      bool
	}{
		{"pre", ipc.HookPre, 590, true},
		{"post", ipc.HookPost, 590, true},
		{"pre --timeout 3590", ipc.HookPre, 3590, true},
		{"--timeout 5 pre", ipc.HookPre, 5, true},
		{"pre --timeout", "", 0, false},
		{"pre --timeout 0", "", 0, false},
		{"pre --timeout -1", "", 0, false},
		{"pre --timeout 99999999", "", 0, false},
		{"pre --timeout 5s", "", 0, false},
		{"pre post", "", 0, false},
		{"--help", "", 0, false},
		{"", "", 0, false},
	} {
		kind, seconds, ok := hook(strings.Fields(c.args))
		if ok != c.ok || ok && (kind != c.kind || seconds != c.seconds) {
			t.Errorf("%q: %q, %d, %v", c.args, kind, seconds, ok)
		}
	}
}

// startHook runs the helper as a hook with input on its standard input.
// The descriptors are files, so that waiting for it waits for the process alone:
// the other end holds its standard output as well.
func startHook(t *testing.T, input string, args ...string) (l *net.UnixListener, cmd *exec.Cmd, said func() (stdout, stderr string)) {
	t.Helper()
	dir, err := os.MkdirTemp("", "express")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if l, err = ipc.Listen(filepath.Join(dir, "agent.sock")); err != nil {
		t.Fatal(err)
	}
	l.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { l.Close() })
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := os.Create(filepath.Join(dir, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inW.WriteString(input); err != nil {
		t.Fatal(err)
	}
	inW.Close()
	cmd = exec.Command(os.Args[0], append([]string{"hook"}, args...)...)
	cmd.Env = append(os.Environ(), "MCPGUARD_HOME="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	errs.Close()
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
		outR.Close()
	})
	return l, cmd, func() (stdout, stderr string) {
		o, err := io.ReadAll(outR)
		if err != nil {
			t.Error(err)
		}
		e, err := os.ReadFile(errs.Name())
		if err != nil {
			t.Error(err)
		}
		return string(o), string(e)
	}
}

func TestHookIsAnswered(t *testing.T) {
	l, cmd, said := startHook(t, "question", "pre", "--timeout", "60")
	h := accept(t, l)
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
	exits(t, cmd, exitDone)
	if stdout, stderr := said(); stdout != "answer\n" || stderr != "" {
		t.Errorf("%q, %q", stdout, stderr)
	}
}

// TestHookDenies: whatever happens to the daemon or to the time, a question ends
// with the status that denies, and a report with none that does.
func TestHookDenies(t *testing.T) {
	for _, c := range []struct {
		args string
		lose bool // the connection ends as the death of the daemon ends it: without a word
		code int
		says string
	}{
		{"pre", true, exitDeny, "went away"},
		{"pre --timeout 1", false, exitDeny, "nobody decided"},
		{"post", true, exitDone, ""},
		{"post --timeout 1", false, exitDone, ""},
	} {
		l, cmd, said := startHook(t, "question", strings.Fields(c.args)...)
		conn, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		h, err := ipc.Accept(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Welcome(ipc.Welcome{OK: true}); err != nil {
			t.Fatal(err)
		}
		if c.lose {
			conn.Close()
		}
		exits(t, cmd, c.code)
		h.Close()
		if stdout, stderr := said(); !strings.Contains(stderr, c.says) || stdout != "" {
			t.Errorf("%s: %q, %q", c.args, stdout, stderr)
		}
	}
}

// TestHookLeavesTheRest: a refusal is for the ordinary way, which explains it.
func TestHookLeavesTheRest(t *testing.T) {
	l, cmd, _ := startHook(t, "question", "pre")
	h := accept(t, l)
	if err := h.Welcome(ipc.Welcome{Error: "no"}); err != nil {
		t.Fatal(err)
	}
	exits(t, cmd, notDone)
}
