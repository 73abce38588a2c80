package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpguard/mcpguard/internal/approval"
	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/redact"
	"github.com/mcpguard/mcpguard/internal/store"
	"github.com/mcpguard/mcpguard/internal/upstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubbleClock reads the time of a synctest bubble.
type bubbleClock struct{}

func (bubbleClock) Now() guard.Now {
	now := time.Now()
	return guard.Now{Wall: now, Boot: time.Duration(now.UnixNano()), BootID: "boot"}
}

// testConfig has one tool of each sort; %s is the workspace.
const testConfig = `version: 1
roots: [%s]
servers:
  files:
    command: files
    workspaces: [client]
    prompts: allow
    timeout: 30s
    tools:
      read: {tier: T0_READ, effect: {file.read: {path: args.path}}}
      look: {tier: T0_READ}
      write: {tier: T1_REVERSIBLE_WRITE, effect: {file.write: {path: args.path, content: args.content}}}
      edit: {tier: T1_REVERSIBLE_WRITE, effect: {file.edit: {path: args.path, old: args.old, new: args.new}}}
      scratch: {tier: T1_REVERSIBLE_WRITE, approval: {required: false}, effect: {file.write: {path: args.path, content: args.content}}}
      blackbox: {tier: T2_IRREVERSIBLE_WRITE, effect: opaque}
      wipe: {tier: NEVER, says: "use the console"}
      moved: {tier: T0_READ}
      capped: {tier: T0_READ, limits: {calls_per_run: 2, output: 1KiB}}
hold:
  default: 50s
  clients: {patient: wait}
`

// toolNames are the tools that the fake server lists; "extra" no policy names.
var toolNames = []string{"read", "look", "write", "edit", "scratch", "blackbox", "wipe", "moved", "capped", "extra"}

func definitionOf(name string) string {
	return fmt.Sprintf(`{"name":%q,  "description":"does %s","inputSchema":{"type":"object","properties":{"path":{"type":"string"},"content":{"type":"string"},"old":{"type":"string"},"new":{"type":"string"}}},"annotations":{"readOnlyHint":true},"x":1e2}`, name, name)
}

// rig is everything that sessions share.
type rig struct {
	testing.TB
	root   string
	store  *store.Store
	desk   *approval.Desk
	locks  *Locks
	meter  *Meter
	policy atomic.Pointer[policy.Set]
	path   string
	hook   func(store.Point) error

	redactor  Redactor
	elsewhere func(*Config) // changes the next sessions; may be nil
}

// inBubble runs a test with a rig whose time is the bubble's.
func inBubble(t *testing.T, f func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		f(r)
	})
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{TB: t}
	r.setup()
	return r
}

func (r *rig) setup() {
	r.Helper()
	var err error
	if r.root, err = filepath.EvalSymlinks(r.TempDir()); err != nil {
		r.Fatal(err)
	}
	r.locks, r.meter, r.path = &Locks{}, &Meter{}, filepath.Join(r.TempDir(), "guard.db")
	r.redactor = redact.New(redact.Config{})
	r.setPolicy(testConfig)
	r.open()
}

func (r *rig) open() {
	r.Helper()
	st, err := store.Open(store.Options{Path: r.path, Clock: bubbleClock{}, CreateNew: true, Hook: r.hook})
	if err != nil {
		r.Fatal(err)
	}
	if _, err := st.Startup(context.Background()); err != nil {
		r.Fatal(err)
	}
	r.store = st
	r.desk = approval.New(approval.Config{Store: st, Clock: bubbleClock{}})
	if err := r.desk.Start(context.Background()); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) stop() {
	r.desk.Stop()
	if err := r.store.Close(); err != nil {
		r.Error(err)
	}
}

// setPolicy compiles a configuration, with every listed tool accepted but
// "moved", of which another definition was.
func (r *rig) setPolicy(text string) {
	r.Helper()
	cfg, err := config.Parse("config.yaml", []byte(fmt.Sprintf(text, r.root)))
	if err != nil {
		r.Fatal(err)
	}
	lock := &config.Lock{}
	for _, name := range toolNames {
		raw := definitionOf(name)
		if name == "moved" {
			raw = strings.Replace(raw, "does", "once did", 1)
		}
		hash, err := config.DefinitionHash([]byte(raw))
		if err != nil {
			r.Fatal(err)
		}
		if err := lock.Put(guard.Pin{Server: "files", Tool: name, SHA256: hash, Definition: []byte(raw), AcceptedAt: time.Unix(1, 0).UTC(), AcceptedBy: "tester"}); err != nil {
			r.Fatal(err)
		}
	}
	set, err := policy.Compile(cfg, lock)
	if err != nil {
		r.Fatal(err)
	}
	r.policy.Store(set)
}

func (r *rig) file(name string) string { return filepath.Join(r.root, name) }

func (r *rig) put(name, content string) {
	r.Helper()
	if err := os.WriteFile(r.file(name), []byte(content), 0o600); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) content(name string) string {
	b, err := os.ReadFile(r.file(name))
	if err != nil {
		return "<" + err.Error() + ">"
	}
	return string(b)
}

func (r *rig) wantContent(name, want string) {
	r.Helper()
	if got := r.content(name); got != want {
		r.Fatalf("%s holds %q, want %q", name, got, want)
	}
}

// pending returns the approvals with a status, oldest first.
func (r *rig) approvals(status guard.Status) []guard.Approval {
	r.Helper()
	synctest.Wait()
	list, err := r.store.Approvals(store.Filter{Status: []guard.Status{status}, Full: true})
	if err != nil {
		r.Fatal(err)
	}
	return list
}

// one returns the one approval with a status.
func (r *rig) one(status guard.Status) guard.Approval {
	r.Helper()
	list := r.approvals(status)
	if len(list) != 1 {
		var all []string
		rest, _ := r.store.Approvals(store.Filter{})
		for _, a := range rest {
			all = append(all, fmt.Sprintf("%s %s (%s)", a.ID, a.Status, a.Why))
		}
		r.Fatalf("%d approvals are %s, want one; there are %v", len(list), status, all)
	}
	return list[0]
}

func (r *rig) decide(a guard.Approval, approve bool) {
	r.Helper()
	_, err := r.desk.Decide(context.Background(), a.ID, guard.Signoff{
		Approve: approve, Digest: a.Digest, Reason: "the reviewer's words", By: guard.Approver{User: "1000", Terminal: "/dev/pts/1"},
	})
	if err != nil {
		r.Fatal(err)
	}
}

// events returns the log, once what is under way is recorded.
func (r *rig) events(types ...audit.Type) []audit.Event {
	r.Helper()
	if err := r.store.Record(context.Background(), audit.Event{Event: audit.AlertResolved, EventID: guard.NewEventID(), Timestamp: time.Now()}); err != nil {
		r.Fatal(err)
	}
	list, err := r.store.Events(store.EventFilter{Types: types})
	if err != nil {
		r.Fatal(err)
	}
	var out []audit.Event
	for _, e := range list {
		out = append(out, e.Event)
	}
	return out
}

// completions returns the statuses of completed calls, by tool.
func (r *rig) completions(tool string) []audit.Status {
	r.Helper()
	var out []audit.Status
	seen := map[guard.CallID]bool{}
	for _, e := range r.events(audit.ToolCallCompleted) {
		if seen[e.CallID] {
			r.Errorf("%s was completed twice", e.CallID)
		}
		seen[e.CallID] = true
		if e.Tool.Name == tool {
			out = append(out, e.Status)
		}
	}
	return out
}

func (r *rig) wantCompleted(tool string, want ...audit.Status) {
	r.Helper()
	if got := r.completions(tool); fmt.Sprint(got) != fmt.Sprint(want) {
		r.Errorf("%s was completed as %v, want %v", tool, got, want)
	}
}

// fakeServer is an upstream in this process. It does what its tools say to real
// files, and keeps every frame that it was sent.
type fakeServer struct {
	frames chan []byte
	done   chan struct{}
	ended  chan struct{}
	once   sync.Once
	last   sync.Once

	mu     sync.Mutex
	got    []string
	list   func(cursor string) string // the result of tools/list
	handle func(s *fakeServer, m jsonrpc.Message) (handled bool)
}

func newFakeServer() *fakeServer {
	return &fakeServer{frames: make(chan []byte, 1000), done: make(chan struct{}), ended: make(chan struct{})}
}

func (f *fakeServer) Next() ([]byte, error) {
	select {
	case frame := <-f.frames:
		return frame, nil
	default:
	}
	select {
	case frame := <-f.frames:
		return frame, nil
	case <-f.done:
		f.last.Do(func() { close(f.ended) })
		return nil, io.EOF
	}
}

func (f *fakeServer) Ref() guard.UpstreamRef     { return guard.UpstreamRef{PID: 1, BootID: "boot"} }
func (f *fakeServer) Done() <-chan struct{}      { return f.done }
func (f *fakeServer) Stop(context.Context) error { f.die(); return nil }
func (f *fakeServer) die()                       { f.once.Do(func() { close(f.done) }) }
func (f *fakeServer) send(format string, args ...any) {
	f.frames <- []byte(fmt.Sprintf(format, args...))
}

func (f *fakeServer) Write(frame []byte) error {
	select {
	case <-f.done:
		return io.ErrClosedPipe
	default:
	}
	frame = append([]byte(nil), frame...)
	f.mu.Lock()
	f.got = append(f.got, string(frame))
	handle, list := f.handle, f.list
	f.mu.Unlock()
	m, err := jsonrpc.Admit(frame, jsonrpc.Limits{})
	if err != nil {
		panic(fmt.Sprintf("the guard sent %q: %v", frame, err))
	}
	if handle != nil && handle(f, m) {
		return nil
	}
	switch m.Method {
	case "tools/list":
		cursor, _ := m.Param("cursor")
		at, _ := jsonrpc.String(m.Raw, cursor)
		if list == nil {
			list = func(string) string { return listOf(toolNames...) }
		}
		f.send(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID.Raw(), list(at))
	case "tools/call":
		f.send(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID.Raw(), doTool(m))
	default:
		if m.Kind == jsonrpc.Request {
			f.send(`{"jsonrpc":"2.0","id":%s,"result":{"echo":%q}}`, m.ID.Raw(), m.Method)
		}
	}
	return nil
}

// received returns the frames whose method is given, as they came.
func (f *fakeServer) received(method string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, g := range f.got {
		if m, err := jsonrpc.Admit([]byte(g), jsonrpc.Limits{}); err == nil && m.Method == method {
			out = append(out, g)
		}
	}
	return out
}

func (f *fakeServer) set(handle func(*fakeServer, jsonrpc.Message) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handle = handle
}

func listOf(names ...string) string {
	var defs []string
	for _, n := range names {
		defs = append(defs, definitionOf(n))
	}
	return `{"tools":[` + strings.Join(defs, " , ") + `],"ttlMs":5,"_meta":{"k":1.0}}`
}

// doTool does what a call says, and returns its result.
func doTool(m jsonrpc.Message) string {
	var p struct {
		Name      string
		Arguments struct{ Path, Content, Old, New string }
	}
	if err := json.Unmarshal(m.ParamsRaw(), &p); err != nil {
		panic(err)
	}
	a := p.Arguments
	switch p.Name {
	case "write", "scratch":
		if err := os.WriteFile(a.Path, []byte(a.Content), 0o600); err != nil {
			return errorResult(err.Error())
		}
	case "edit":
		b, err := os.ReadFile(a.Path)
		if err != nil {
			return errorResult(err.Error())
		}
		if err := os.WriteFile(a.Path, []byte(strings.Replace(string(b), a.Old, a.New, 1)), 0o600); err != nil {
			return errorResult(err.Error())
		}
	}
	return `{"content":[{"type":"text","text":"did ` + p.Name + `"}], "z" : 1.50}`
}

func errorResult(text string) string {
	return fmt.Sprintf(`{"content":[{"type":"text","text":%q}],"isError":true}`, text)
}

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
		Policy:   r.policy.Load, Store: r.store, Desk: r.desk, Locks: r.locks, Meter: r.meter,
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

// quiet says that nothing waits for the client.
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

// word returns the guard's own answer to an id, which must be one.
func (p *peer) word(id int) word {
	p.Helper()
	m := p.answer(id)
	var r struct {
		Content []struct{ Type, Text string }
		IsError bool
		Meta    map[string]word `json:"_meta"`
		Other   any             `json:"structuredContent"`
	}
	if err := json.Unmarshal(m.ResultRaw(), &r); err != nil || !r.IsError || len(r.Content) != 1 || r.Other != nil {
		p.Fatalf("not an answer of the guard's own: %s", m.Raw)
	}
	var w word
	if err := json.Unmarshal([]byte(r.Content[0].Text), &w); err != nil || w != r.Meta[metaAnswer] {
		p.Fatalf("the text and _meta differ: %s", m.Raw)
	}
	return w
}

func (p *peer) wantWord(id int, status string, rule guard.Rule) word {
	p.Helper()
	w := p.word(id)
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
