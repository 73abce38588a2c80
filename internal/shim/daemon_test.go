package shim

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// home makes a guard's folder with a path short enough for sockets.
func home(t testing.TB) ipc.Paths {
	t.Helper()
	dir, err := os.MkdirTemp("", "shim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return ipc.Paths{Config: dir, State: dir}
}

// daemon listens within the test and hands over what it accepts.
type daemon struct {
	t     testing.TB
	paths ipc.Paths
	l     *net.UnixListener
}

func newDaemon(t testing.TB) *daemon {
	t.Helper()
	p := home(t)
	l, err := ipc.Listen(p.AgentSocket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &daemon{t, p, l}
}

// accept takes the next session, without an answer yet.
func (d *daemon) accept() *ipc.Handover {
	d.t.Helper()
	d.l.SetDeadline(time.Now().Add(20 * time.Second))
	c, err := d.l.AcceptUnix()
	if err != nil {
		d.t.Fatal(err)
	}
	h, err := ipc.Accept(d.t.Context(), c)
	if err != nil {
		c.Close()
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { h.Close() })
	return h
}

// welcome takes the next session and opens it.
func (d *daemon) welcome() *ipc.Handover {
	d.t.Helper()
	h := d.accept()
	if err := h.Welcome(ipc.Welcome{OK: true, Version: "0.1"}); err != nil {
		d.t.Fatal(err)
	}
	return h
}

// client is a started shim as its client sees it.
type client struct {
	t      testing.TB
	cmd    *exec.Cmd
	in     *os.File // to the shim's standard input
	out    *bufio.Reader
	outEnd *os.File
	stderr bytes.Buffer
}

// launch starts a shim with the given descriptors.
func launch(t testing.TB, p ipc.Paths, in, out *os.File, args ...string) *client {
	t.Helper()
	c := &client{t: t, cmd: exec.Command(os.Args[0], append([]string{"stdio"}, args...)...)}
	// A race detector makes each process wait for a second at its end.
	c.cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), p.Environ()...)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = in, out, &c.stderr
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			c.cmd.Process.Kill()
			c.cmd.Wait()
		}
	})
	return c
}

// onPipes starts a shim on pipes; what is in first is in the pipe before it
// starts.
func onPipes(t testing.TB, p ipc.Paths, first string, args ...string) *client {
	t.Helper()
	r1, w1, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r2, w2, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w1.WriteString(first); err != nil {
		t.Fatal(err)
	}
	return connected(t, p, r1, w1, r2, w2, args...)
}

// onSockets starts a shim on two socket pairs, as Node does.
func onSockets(t testing.TB, p ipc.Paths, first string, args ...string) *client {
	t.Helper()
	r1, w1 := socketpair(t)
	w2, r2 := socketpair(t)
	if _, err := w1.WriteString(first); err != nil {
		t.Fatal(err)
	}
	return connected(t, p, r1, w1, r2, w2, args...)
}

func connected(t testing.TB, p ipc.Paths, r1, w1, r2, w2 *os.File, args ...string) *client {
	t.Helper()
	c := launch(t, p, r1, w2, args...)
	r1.Close()
	w2.Close()
	c.in, c.outEnd, c.out = w1, r2, bufio.NewReader(r2)
	t.Cleanup(func() { w1.Close(); r2.Close() })
	return c
}

func socketpair(t testing.TB) (a, b *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	// The client's own end is non-blocking, the shim's is not, as with Node.
	if err := unix.SetNonblock(fds[1], true); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "theirs"), os.NewFile(uintptr(fds[1]), "ours")
}

// line reads one line from the shim's standard output.
func (c *client) line() string {
	c.t.Helper()
	c.outEnd.SetReadDeadline(time.Now().Add(20 * time.Second))
	s, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read %q, %v; standard error: %s", s, err, c.stderr.String())
	}
	return s[:len(s)-1]
}

// eof checks that the client sees the end of the session.
func (c *client) eof() {
	c.t.Helper()
	c.outEnd.SetReadDeadline(time.Now().Add(20 * time.Second))
	if b, err := io.ReadAll(c.out); err != nil || len(b) > 0 {
		c.t.Errorf("no end but %q, %v", b, err)
	}
}

// exit waits for the shim and checks its exit code.
func (c *client) exit(want int) {
	c.t.Helper()
	t := time.AfterFunc(20*time.Second, func() { c.cmd.Process.Kill() })
	defer t.Stop()
	c.cmd.Wait()
	if got := c.cmd.ProcessState.ExitCode(); got != want {
		c.t.Errorf("exit code %d, want %d; standard error: %s", got, want, c.stderr.String())
	}
}

func ended(t testing.TB, h *ipc.Handover) {
	t.Helper()
	select {
	case <-h.Done():
	case <-time.After(20 * time.Second):
		t.Error("the daemon does not see the session's end")
	}
}
