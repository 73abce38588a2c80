package shim

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

type launcher = func(testing.TB, ipc.Paths, string, ...string) *client

var launchers = map[string]struct {
	launch launcher
	args   []string
	copied bool
}{
	"pipes":   {onPipes, []string{"files"}, false},
	"sockets": {onSockets, []string{"files"}, false},
	"copied":  {onPipes, []string{"files", flagCopy}, true},
}

// TestSession runs a whole session on each kind of descriptor: what was
// written before the shim started arrives, both directions work, and the end
// of the client's input ends its output.
func TestSession(t *testing.T) {
	for name, l := range launchers {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			c := l.launch(t, d.paths, "first\n", l.args...)
			h := d.welcome()
			if h.Hello.Server != "files" || h.Hello.Copied != l.copied || h.Hello.Protocol != ipc.Protocol {
				t.Errorf("hello %+v", h.Hello)
			}
			if h.Client.PID != os.Getpid() || h.Shim.PID != c.cmd.Process.Pid {
				t.Errorf("client %d, shim %d", h.Client.PID, h.Shim.PID)
			}
			echoed := make(chan error, 1)
			go func() { // ends with the client's input
				_, err := io.Copy(h.Out, h.In)
				echoed <- err
			}()
			if got := c.line(); got != "first" {
				t.Errorf("got %q", got)
			}
			big := strings.Repeat("x", 4<<20)
			sent := make(chan error, 1)
			go func() { // ends when all of it is read below
				_, err := c.in.WriteString(big + "\n")
				c.in.Close()
				sent <- err
			}()
			if got := c.line(); got != big {
				t.Errorf("got %d bytes, want %d", len(got), len(big))
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
			if err := <-echoed; err != nil {
				t.Error(err)
			}
			h.Close()
			c.eof()
			c.exit(exitDone)
			if c.stderr.Len() > 0 {
				t.Errorf("standard error: %s", c.stderr.String())
			}
		})
	}
}

// TestDaemonEndsTheSession while the client still waits.
func TestDaemonEndsTheSession(t *testing.T) {
	for name, l := range launchers {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			c := l.launch(t, d.paths, "", l.args...)
			h := d.welcome()
			if err := h.Notice("the policy was loaded again"); err != nil {
				t.Error(err)
			}
			if _, err := h.Out.WriteString("last words"); err != nil {
				t.Error(err)
			}
			h.Close()
			if b, err := io.ReadAll(c.out); err != nil || string(b) != "last words" {
				t.Errorf("got %q, %v", b, err)
			}
			c.exit(exitDone)
			if got := c.stderr.String(); got != "mcpguard: the policy was loaded again\n" {
				t.Errorf("standard error %q", got)
			}
		})
	}
}

// TestShimsEndEndsTheSession: by a signal, as a client sends, and by SIGKILL,
// which cannot be handled.
func TestShimsEndEndsTheSession(t *testing.T) {
	for name, l := range launchers {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGKILL} {
			t.Run(name+" "+sig.String(), func(t *testing.T) {
				d := newDaemon(t)
				c := l.launch(t, d.paths, "", l.args...)
				h := d.welcome()
				if _, err := h.Out.WriteString("ready\n"); err != nil {
					t.Error(err)
				}
				c.line()
				if err := c.cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				ended(t, h)
				want := exitDone
				if sig == syscall.SIGKILL {
					want = -1
				}
				c.exit(want)
				h.Close()
				c.eof()
			})
		}
	}
}

// TestSessionEndsWhenTheClientVanishes: both of its ends close at once.
func TestSessionEndsWhenTheClientVanishes(t *testing.T) {
	for name, l := range launchers {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			c := l.launch(t, d.paths, "", l.args...)
			h := d.welcome()
			c.in.Close()
			c.outEnd.Close()
			h.In.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := h.In.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("reading gives %v", err)
			}
			h.Out.SetWriteDeadline(time.Now().Add(20 * time.Second))
			var err error
			for i := 0; err == nil && i < 1000; i++ {
				_, err = h.Out.Write(make([]byte, 4096))
			}
			if err == nil || os.IsTimeout(err) {
				t.Errorf("writing gives %v", err)
			}
			h.Close()
			c.cmd.Wait()
		})
	}
}

// TestWhatCannotBeHandedOverIsCopied: terminals and files stay here.
func TestWhatCannotBeHandedOverIsCopied(t *testing.T) {
	t.Run("files", func(t *testing.T) {
		d := newDaemon(t)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "in"), []byte("from a file\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		in, err := os.Open(filepath.Join(dir, "in"))
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		c := launch(t, d.paths, in, out, "files")
		h := d.welcome()
		if !h.Hello.Copied || !ipc.PassableFile(h.In) || !ipc.PassableFile(h.Out) {
			t.Errorf("hello %+v", h.Hello)
		}
		if b, err := io.ReadAll(h.In); err != nil || string(b) != "from a file\n" {
			t.Errorf("got %q, %v", b, err)
		}
		if _, err := h.Out.WriteString("to a file\n"); err != nil {
			t.Error(err)
		}
		h.Close()
		c.exit(exitDone)
		if b, err := os.ReadFile(out.Name()); err != nil || string(b) != "to a file\n" {
			t.Errorf("got %q, %v", b, err)
		}
	})
	t.Run("terminal", func(t *testing.T) {
		d := newDaemon(t)
		ptmx, tty, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer ptmx.Close()
		defer tty.Close()
		c := launch(t, d.paths, tty, tty, "files")
		h := d.welcome()
		if !h.Hello.Copied {
			t.Errorf("hello %+v", h.Hello)
		}
		if _, err := ptmx.WriteString("typed\n"); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		if n, err := h.In.Read(buf); err != nil || string(buf[:n]) != "typed\n" {
			t.Errorf("got %q, %v", buf[:n], err)
		}
		h.Close()
		c.exit(exitDone)
	})
	t.Run("half", func(t *testing.T) {
		d := newDaemon(t)
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c := launch(t, d.paths, r, out, "files")
		r.Close()
		h := d.welcome()
		w.Close()
		if b, err := io.ReadAll(h.In); err != nil || len(b) > 0 || !h.Hello.Copied {
			t.Errorf("got %q, %v, hello %+v", b, err, h.Hello)
		}
		h.Close()
		c.exit(exitDone)
	})
}

// TestCopiesWhereHandingOverIsRefused: a system may pass a connection but not
// the descriptors; the daemon then reports it.
func TestCopiesWhereHandingOverIsRefused(t *testing.T) {
	d := newDaemon(t)
	c := onSockets(t, d.paths, "first\n", "files")
	d.l.SetDeadline(time.Now().Add(20 * time.Second))
	conn, err := d.l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	_, files, err := ipc.RecvFiles(conn, make([]byte, 1<<16))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		f.Close()
	}
	replyWith(t, conn, ipc.Welcome{Protocol: ipc.Protocol, NotPassed: true})
	h := d.welcome()
	if !h.Hello.Copied {
		t.Errorf("hello %+v", h.Hello)
	}
	buf := make([]byte, 100)
	if n, err := h.In.Read(buf); err != nil || string(buf[:n]) != "first\n" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
	if _, err := h.Out.WriteString("back\n"); err != nil {
		t.Error(err)
	}
	if got := c.line(); got != "back" {
		t.Errorf("got %q", got)
	}
	h.Close()
	c.eof()
	c.exit(exitDone)
}

func answerLine(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func replyWith(t testing.TB, c *net.UnixConn, w ipc.Welcome) {
	t.Helper()
	if _, err := c.Write(answerLine(t, w)); err != nil {
		t.Fatal(err)
	}
	c.Close()
}

const (
	probe      = `{"jsonrpc":"2.0","id":"server-discover-probe-1","method":"server/discover","params":{}}`
	initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`
	notice     = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	duplicate  = `{"jsonrpc":"2.0","id":7,"method":"a","method":"b"}`
)

// TestFailureReachesTheClient: every request is answered with what to do,
// whatever made the session fail.
func TestFailureReachesTheClient(t *testing.T) {
	for name, f := range map[string]struct {
		daemon func(t *testing.T, d *daemon) // nil: there is none
		want   string
		exit   int
	}{
		"no daemon": {nil, "start it with `mcpguardd serve`", exitNoGuard},
		"refused": {func(t *testing.T, d *daemon) {
			h := d.accept()
			if err := h.Welcome(ipc.Welcome{Version: "0.1", Error: `there is no server "files" in config.yaml; add it with mcpguardd add`}); err != nil {
				t.Error(err)
			}
			h.Close()
		}, "add it with mcpguardd add", exitRefused},
		"another version": {func(t *testing.T, d *daemon) {
			d.l.SetDeadline(time.Now().Add(20 * time.Second))
			c, err := d.l.AcceptUnix()
			if err != nil {
				t.Fatal(err)
			}
			replyWith(t, c, ipc.Welcome{Protocol: ipc.Protocol + 1, OK: true, Version: "0.2"})
		}, "mcpguardd 0.2 is running, this is 0.1: run `mcpguardd stop` and start again", exitRefused},
		"hangs up": {func(t *testing.T, d *daemon) {
			d.l.SetDeadline(time.Now().Add(20 * time.Second))
			c, err := d.l.AcceptUnix()
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		}, "`mcpguardd doctor` says more", exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			if f.daemon == nil {
				d.l.Close()
			}
			c := onPipes(t, d.paths, probe+"\n"+notice+"\n"+initialize+"\n", "files")
			if f.daemon != nil {
				f.daemon(t, d)
			}
			for _, id := range []string{`"server-discover-probe-1"`, "0", "7"} {
				if id == "7" {
					if _, err := c.in.WriteString(duplicate + "\n"); err != nil {
						t.Fatal(err)
					}
				}
				var reply struct {
					JSONRPC string          `json:"jsonrpc"`
					ID      json.RawMessage `json:"id"`
					Error   struct {
						Code    int    `json:"code"`
						Message string `json:"message"`
					} `json:"error"`
				}
				line := c.line()
				if err := json.Unmarshal([]byte(line), &reply); err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				if reply.JSONRPC != "2.0" || string(reply.ID) != id || reply.Error.Code == 0 || !strings.Contains(reply.Error.Message, f.want) {
					t.Errorf("got %s; want id %s and %q", line, id, f.want)
				}
			}
			c.in.Close()
			c.eof()
			c.exit(f.exit)
			if got := c.stderr.String(); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "mcpguard: ") || !strings.Contains(got, f.want) {
				t.Errorf("standard error %q", got)
			}
		})
	}
}

// TestFailureEndsInBoundedTime: the client neither sends requests nor leaves.
func TestFailureEndsInBoundedTime(t *testing.T) {
	for _, l := range []launcher{onPipes, onSockets} {
		c := l(t, home(t), "", "files", flagShort)
		c.exit(exitNoGuard)
		c.eof()
	}
}

// TestFailureOnATerminalEndsAtOnce: a person has read the line.
func TestFailureOnATerminalEndsAtOnce(t *testing.T) {
	ptmx, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer ptmx.Close()
	defer tty.Close()
	begin := time.Now()
	c := launch(t, home(t), tty, tty, "files")
	c.exit(exitNoGuard)
	if d := time.Since(begin); d > defaultLinger/2 {
		t.Errorf("took %v", d)
	}
}

// TestSignalDuringFailure: the client gives up.
func TestSignalDuringFailure(t *testing.T) {
	c := onPipes(t, home(t), initialize+"\n", "files")
	c.line()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.exit(exitNoGuard)
}

func TestSentencesStayOneLine(t *testing.T) {
	var b bytes.Buffer
	say(&b, "one\ntwo\r\nthree\n")
	if got := b.String(); got != "mcpguard: one two three\n" {
		t.Errorf("got %q", got)
	}
}
