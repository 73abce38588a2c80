package shim

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// giveBack ends a daemon's part of a session in order.
func giveBack(t *testing.T, h *ipc.Handover, b ipc.Handback) {
	t.Helper()
	if err := h.Return(b); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSessionGoesOnWithTheNextDaemon: requests in flight are answered; unread
// input and what the client sends meanwhile reach the next daemon in order.
func TestSessionGoesOnWithTheNextDaemon(t *testing.T) {
	for name, l := range launchers {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			c := l.launch(t, d.paths, "first\n", l.args...)
			h := d.welcome()
			if !h.Hello.Keeps || h.Kept != nil {
				t.Errorf("hello %+v", h.Hello)
			}
			if b := make([]byte, 6); true {
				if _, err := io.ReadFull(h.In, b); err != nil || string(b) != "first\n" {
					t.Fatalf("%q, %v", b, err)
				}
			}
			kept := ipc.Handback{
				Handshake: [][]byte{[]byte(initialize)}, Protocol: "v",
				InFlight: []json.RawMessage{[]byte("7"), []byte(`"x"`)}, Unread: []byte("sec"),
			}
			giveBack(t, h, kept)
			for _, id := range []string{"7", `"x"`} {
				var m struct {
					ID    json.RawMessage
					Error struct {
						Code    int
						Message string
					}
				}
				if err := json.Unmarshal([]byte(c.line()), &m); err != nil || string(m.ID) != id || m.Error.Code != -32603 || m.Error.Message != lostAnswer {
					t.Errorf("%+v, %v", m, err)
				}
			}
			if _, err := c.in.WriteString("ond\n"); err != nil {
				t.Fatal(err)
			}
			h = d.accept()
			if h.Kept == nil || string(h.Kept.Unread) != "sec" || h.Kept.Protocol != "v" || len(h.Kept.Handshake) != 1 || len(h.Kept.InFlight) != 0 {
				t.Errorf("kept %+v", h.Kept)
			}
			if err := h.Welcome(ipc.Welcome{OK: true}); err != nil {
				t.Fatal(err)
			}
			if b := make([]byte, 4); true {
				if _, err := io.ReadFull(h.In, b); err != nil || string(b) != "ond\n" {
					t.Errorf("%q, %v", b, err)
				}
			}
			if _, err := h.Out.WriteString("answer\n"); err != nil {
				t.Fatal(err)
			}
			if got := c.line(); got != "answer" {
				t.Errorf("got %q", got)
			}
			h.Close()
			c.eof()
			c.exit(exitDone)
			if got := c.stderr.String(); !strings.Contains(got, "waits for the next one") || !strings.Contains(got, "goes on with the next daemon") {
				t.Errorf("standard error %q", got)
			}
		})
	}
}

// TestLargeSessionIsKept: a frame of the maximum size may be cut off.
func TestLargeSessionIsKept(t *testing.T) {
	d := newDaemon(t)
	c := onPipes(t, d.paths, "", "files")
	h := d.welcome()
	unread := []byte(strings.Repeat("x", 16<<20))
	giveBack(t, h, ipc.Handback{Unread: unread})
	h = d.accept()
	if h.Kept == nil || len(h.Kept.Unread) != len(unread) {
		t.Error("not all of it comes back")
	}
	h.Welcome(ipc.Welcome{OK: true})
	h.Close()
	c.exit(exitDone)
}

// TestWaitEndsWithTheClient: the client leaves while no daemon runs.
func TestWaitEndsWithTheClient(t *testing.T) {
	for name, l := range launchers {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			c := l.launch(t, d.paths, "", l.args...)
			h := d.welcome()
			d.l.Close()
			giveBack(t, h, ipc.Handback{})
			c.in.Close()
			c.exit(exitDone)
		})
	}
}

// TestWaitEndsWithTheClientThatHasSpoken: as above, after the client has sent
// something and no daemon may be started.
func TestWaitEndsWithTheClientThatHasSpoken(t *testing.T) {
	d := newDaemon(t)
	c := onPipes(t, d.paths, "", "files")
	h := d.welcome()
	d.l.Close()
	giveBack(t, h, ipc.Handback{Unread: []byte(initialize + "\n")})
	c.outEnd.Close()
	c.exit(exitDone)
}

// TestNextDaemonIsStartedByTheClientsCall, and not before.
func TestNextDaemonIsStartedByTheClientsCall(t *testing.T) {
	d := newDaemon(t)
	c := onPipes(t, d.paths, "", "files", flagAutostart)
	h := d.welcome()
	d.l.Close()
	giveBack(t, h, ipc.Handback{})
	if _, err := c.in.WriteString("hello\n"); err != nil {
		t.Fatal(err)
	}
	if got := c.line(); got != "hello" { // the started one echoes
		t.Errorf("got %q", got)
	}
	c.in.Close()
	c.eof()
	c.exit(exitDone)
	endDaemons(t, d.paths)
}

// TestNextDaemonRefuses: the client's call is answered with the daemon's
// sentence.
func TestNextDaemonRefuses(t *testing.T) {
	d := newDaemon(t)
	c := onPipes(t, d.paths, "", "files", flagShort)
	h := d.welcome()
	giveBack(t, h, ipc.Handback{Unread: []byte(initialize + "\n")})
	h = d.accept()
	if err := h.Welcome(ipc.Welcome{Error: "no such server"}); err != nil {
		t.Fatal(err)
	}
	h.Close()
	if got := c.line(); !strings.Contains(got, "no such server") {
		t.Errorf("got %q", got)
	}
	c.exit(exitRefused)
}

// TestOldShimIsNotGivenASession: an old shim would treat it as a lost daemon.
func TestOldShimIsNotGivenASession(t *testing.T) {
	d := newDaemon(t)
	r1, w1 := socketpair(t)
	defer r1.Close()
	defer w1.Close()
	conn, err := ipc.Dial(t.Context(), d.paths.AgentSocket())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	offered := make(chan error, 1)
	go func() { // ends with the answer
		_, err := ipc.Offer(t.Context(), conn, ipc.NewHello("files", "0"), r1, r1)
		offered <- err
	}()
	h := d.welcome()
	if err := <-offered; err != nil {
		t.Fatal(err)
	}
	if err := h.Return(ipc.Handback{}); err == nil {
		t.Error("a shim that cannot keep a session was given one")
	}
}
