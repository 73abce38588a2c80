package proxy

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// interruptible is a client whose reader can be stopped by a deadline.
type interruptible struct {
	io.ReadWriteCloser
	interrupt func()
}

func (c interruptible) SetReadDeadline(time.Time) error { c.interrupt(); return nil }

// leaving is a session that a daemon can leave.
type leaving struct {
	*peer
	leave chan struct{}
	left  []ipc.Handback
}

func (r *rig) sessionToLeave(kept *ipc.Handback, server *fakeServer) *leaving {
	l := &leaving{leave: make(chan struct{})}
	r.elsewhere = func(c *Config) {
		c.Leave, c.Kept = l.leave, kept
		c.Left = func(b ipc.Handback) { l.left = append(l.left, b) }
		c.Client = interruptible{c.Client, func() { l.in.CloseWithError(os.ErrDeadlineExceeded) }}
	}
	l.peer = r.sessionWith("client", "files", server)
	l.server = server
	return l
}

// goes ends the daemon's part and returns what it left.
func (l *leaving) goes() []ipc.Handback {
	l.Helper()
	synctest.Wait()
	close(l.leave)
	if err := <-l.served; err != nil {
		l.Error(err)
	}
	return l.left
}

const (
	opensWith   = `{"id": 1, "jsonrpc":"2.0","method":"initialize","params":{"protocolVersion":"v1","clientInfo":{"name":"c","version":"1"},"capabilities":{}}}`
	initialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
)

// answersInitialize makes a server that agrees to a version.
func answersInitialize(version string) *fakeServer {
	f := newFakeServer()
	f.set(func(f *fakeServer, m jsonrpc.Message) bool {
		switch m.Method {
		case "initialize":
			f.send(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":%q,"capabilities":{"prompts":{"listChanged":true},"resources":{}}}}`, m.ID.Raw(), version)
			return true
		case "tools/list":
			return strings.Contains(string(m.Raw), "unanswered")
		}
		return false
	})
	return f
}

// TestSessionIsLeftWhole: the handshake, unanswered requests, and a partial
// frame are left to the next daemon.
func TestSessionIsLeftWhole(t *testing.T) {
	inBubble(t, func(r *rig) {
		l := r.sessionToLeave(nil, answersInitialize("v1"))
		l.send(opensWith)
		l.answer(1)
		l.send(initialized)
		l.send(`{"jsonrpc":"2.0","id":"open","method":"tools/list","params":{"cursor":"unanswered"}}`)
		l.next = 1
		held := l.write("write", "a.txt", "x")
		if got := len(r.approvals(guard.Pending)); got != 1 {
			t.Fatalf("%d approvals wait", got)
		}
		const cut = `{"jsonrpc":"2.0","id":"cut","met`
		if _, err := io.WriteString(l.in, cut); err != nil {
			t.Fatal(err)
		}
		left := l.goes()
		if len(left) != 1 {
			t.Fatalf("left %d times", len(left))
		}
		b := left[0]
		if string(b.Unread) != cut || b.Protocol != "v1" || len(b.Handshake) != 2 || string(b.Handshake[0]) != opensWith || string(b.Handshake[1]) != initialized {
			t.Errorf("left %q", b)
		}
		if len(b.InFlight) != 1 || string(b.InFlight[0]) != `"open"` {
			t.Errorf("in flight %s", b.InFlight)
		}
		l.reply(held) // the cancelled call has its answer
		if got := len(r.approvals(guard.Cancelled)); got != 1 {
			t.Errorf("%d approvals are cancelled", got)
		}
	})
}

// TestUnopenedSessionIsReadAgain: a handshake without an answer starts over.
func TestUnopenedSessionIsReadAgain(t *testing.T) {
	inBubble(t, func(r *rig) {
		f := newFakeServer()
		f.set(func(*fakeServer, jsonrpc.Message) bool { return true })
		l := r.sessionToLeave(nil, f)
		l.send(opensWith)
		left := l.goes()
		if len(left) != 1 || string(left[0].Unread) != opensWith+"\n" || len(left[0].Handshake)+len(left[0].InFlight) != 0 {
			t.Errorf("left %q", left)
		}
	})
}

// TestEndedSessionIsNotLeft: the client has closed its end.
func TestEndedSessionIsNotLeft(t *testing.T) {
	inBubble(t, func(r *rig) {
		l := r.sessionToLeave(nil, newFakeServer())
		l.in.Close()
		if left := l.goes(); len(left) != 0 {
			t.Errorf("left %q", left)
		}
	})
}

// TestKeptSessionGoesOn: the new server gets the handshake with an ID of the
// guard's own; the client gets no second answer and is told that lists may have
// changed; unread bytes come first.
func TestKeptSessionGoesOn(t *testing.T) {
	inBubble(t, func(r *rig) {
		f := answersInitialize("v1")
		kept := &ipc.Handback{
			Handshake: [][]byte{[]byte(opensWith), []byte(initialized)}, Protocol: "v1",
			Unread: []byte(`{"jsonrpc":"2.0","id":2,"method":"tools/`),
		}
		l := r.sessionToLeave(kept, f)
		if got := l.frame(); got != `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}` {
			t.Errorf("got %s", got)
		}
		if got := l.frame(); got != `{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}` {
			t.Errorf("got %s", got)
		}
		l.quiet()
		if got := f.received("initialize"); len(got) != 1 || !strings.Contains(got[0], `"params":{"protocolVersion":"v1","clientInfo":{"name":"c","version":"1"}`) || strings.Contains(got[0], `"id": 1,`) {
			t.Errorf("the server got %q", got)
		}
		if got := f.received("notifications/initialized"); !slices.Equal(got, []string{initialized}) {
			t.Errorf("the server got %q", got)
		}
		l.send(`list"}`)
		l.answer(2)
		left := l.goes() // once more
		if len(left) != 1 || len(left[0].Handshake) != 2 || len(left[0].Unread) != 0 || left[0].Protocol != "v1" {
			t.Errorf("left %q", left)
		}
	})
}

// TestKeptSessionIsAdmittedAgain: a server that agrees to another version, or a
// kept message that is not a handshake, ends the session.
func TestKeptSessionIsAdmittedAgain(t *testing.T) {
	for name, kept := range map[string]ipc.Handback{
		"another version":  {Handshake: [][]byte{[]byte(opensWith)}, Protocol: "v0"},
		"a call":           {Handshake: [][]byte{[]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"scratch","arguments":{}}}`)}, Protocol: "v1"},
		"a second request": {Handshake: [][]byte{[]byte(opensWith), []byte(fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":%q}`, "tools/list"))}, Protocol: "v1"},
		"no frame":         {Handshake: [][]byte{[]byte("x")}, Protocol: "v1"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				f := answersInitialize("v1")
				l := r.sessionToLeave(&kept, f)
				if err := <-l.served; err != nil {
					t.Error(err)
				}
				if len(f.received("tools/call"))+len(f.received("tools/list")) > 0 {
					t.Error("the server got what is no handshake")
				}
				if !slices.ContainsFunc(l.notes, func(n string) bool { return strings.Contains(n, "could not go on") }) {
					t.Errorf("notes %q", l.notes)
				}
			})
		})
	}
}
