package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"testing/synctest"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/store"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

// peer is the client's end of a session.
type peer struct {
	*rig
	server *fakeServer
	id     guard.SessionID
	in     *io.PipeWriter
	frames chan string
	served chan error
	notes  []string
	next   int
}

type duplex struct {
	io.Reader
	io.Writer
	close func()
}

func (d duplex) Close() error { d.close(); return nil }

// session serves a session with a fake server.
func (r *rig) session(client string) *peer {
	r.Helper()
	f := newFakeServer()
	p := r.sessionWith(client, "files", f)
	p.server = f
	return p
}

func (r *rig) sessionWith(client, name string, server upstream.Conn) *peer {
	r.Helper()
	ses := guard.Session{
		ID: guard.NewSessionID(), RunID: "run_00000000000000000000000001", Tenant: "local", Environment: "dev", Profile: "default",
		Server: name, Origin: guard.Origin{Client: client, PID: 42, User: "1000", Folder: r.root}, OpenedAt: time.Now(),
	}
	if _, err := r.store.OpenRun(context.Background(), guard.Run{ID: ses.RunID, Tenant: "local", Environment: "dev", StartedAt: time.Now()},
		store.RunKey{BootID: "boot", PID: 42, StartTime: 1}); err != nil {
		r.Fatal(err)
	}
	if err := r.store.OpenSession(context.Background(), ses); err != nil {
		r.Fatal(err)
	}
	fromClient, toGuard := io.Pipe()
	fromGuard, toClient := io.Pipe()
	p := &peer{rig: r, id: ses.ID, in: toGuard, frames: make(chan string, 10_000), served: make(chan error, 1)}
	cfg := Config{
		Session: ses,
		Client: duplex{fromClient, toClient, func() {
			fromClient.Close()
			toClient.Close()
		}},
		Upstream: func(context.Context) (upstream.Conn, error) { return server, nil },
		Policy:   r.policy.Load, Store: r.store, Approvals: r.desk, Locks: r.locks, Meter: r.meter,
		Redactor: r.redactor, Clock: bubbleClock{}, Roots: []string{r.root},
		Notice: func(line string) { p.notes = append(p.notes, line) },
	}
	if r.elsewhere != nil {
		r.elsewhere(&cfg)
	}
	go func() { p.served <- Serve(context.Background(), cfg) }() // ends with the session
	go func() {                                                  // ends when Serve closes the client
		defer close(p.frames)
		rd := jsonrpc.NewReader(fromGuard, jsonrpc.Limits{})
		for {
			frame, err := rd.Next()
			if err != nil {
				return
			}
			p.frames <- string(frame)
		}
	}()
	return p
}

func (p *peer) send(format string, args ...any) {
	p.Helper()
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		p.Fatal(err)
	}
}

// call sends a tools/call and returns its id.
func (p *peer) call(tool, args string) int {
	p.Helper()
	p.next++
	p.send(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, p.next, tool, args)
	return p.next
}

func (p *peer) write(tool, name, content string) int {
	p.Helper()
	return p.call(tool, fmt.Sprintf(`{"path":%q,"content":%q}`, p.file(name), content))
}

// frame returns the next frame for the client.
func (p *peer) frame() string {
	p.Helper()
	f, ok := <-p.frames
	if !ok {
		p.Fatal("the guard closed the connection")
	}
	return f
}

// quiet fails the test if a frame waits for the client.
func (p *peer) quiet() {
	p.Helper()
	synctest.Wait()
	select {
	case f, ok := <-p.frames:
		if ok {
			p.Fatalf("the client got %s", f)
		}
	default:
	}
}

// answer returns the answer to an id; notifications before it are skipped.
func (p *peer) answer(id int) jsonrpc.Message {
	p.Helper()
	for {
		m, err := jsonrpc.Admit([]byte(p.frame()), jsonrpc.Limits{})
		if err != nil {
			p.Fatal(err)
		}
		if m.Kind == jsonrpc.Notification {
			continue
		}
		if m.ID != jsonrpc.IntID(int64(id)) {
			p.Fatalf("got an answer to %s, want %d: %s", m.ID, id, m.Raw)
		}
		return m
	}
}

// reply returns the guard's own reply to an ID; any other answer fails the
// test.
func (p *peer) reply(id int) reply {
	p.Helper()
	m := p.answer(id)
	var r struct {
		Content []struct{ Type, Text string }
		IsError bool
		Meta    map[string]reply `json:"_meta"`
		Other   any              `json:"structuredContent"`
	}
	if err := json.Unmarshal(m.ResultRaw(), &r); err != nil || !r.IsError || len(r.Content) != 1 || r.Other != nil {
		p.Fatalf("not an answer of the guard's own: %s", m.Raw)
	}
	var w reply
	if err := json.Unmarshal([]byte(r.Content[0].Text), &w); err != nil || w != r.Meta[metaAnswer] {
		p.Fatalf("the text and _meta differ: %s", m.Raw)
	}
	return w
}

func (p *peer) wantReply(id int, status string, rule guard.Rule) reply {
	p.Helper()
	w := p.reply(id)
	if w.Status != status || w.Rule != rule {
		p.Fatalf("got %+v, want %s by %s", w, status, rule)
	}
	return w
}

func (p *peer) wantDid(id int, tool string) {
	p.Helper()
	if m := p.answer(id); string(m.ResultRaw()) != `{"content":[{"type":"text","text":"did `+tool+`"}], "z" : 1.50}` {
		p.Fatalf("got %s", m.Raw)
	}
}

// end closes the client's end and waits for Serve.
func (p *peer) end() {
	p.Helper()
	p.in.Close()
	if err := <-p.served; err != nil {
		p.Error(err)
	}
	for range p.frames { // what is left for the client
	}
}
