package localapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mcpguard/mcpguard/internal/approval"
	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/clock"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/store"
)

var (
	_ Store   = (*store.Store)(nil)
	_ Decider = (*approval.Approvals)(nil)
	_ Watcher = (*store.Watcher)(nil)
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = guard.Now{Wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}

// rig is an API over a real socket, store and Approvals.
type rig struct {
	t     testing.TB
	clock *clock.Fake
	store *store.Store
	desk  *approval.Approvals
	api   *API
	path  string
	c     *client.Client

	mu       sync.Mutex
	unsigned string
	live     fakeLive
	stop     func()
}

type fakeLive struct {
	sessions []client.Session
	servers  []client.Server
	commands []client.RunningCommand
	status   client.Status
	undo     func(guard.ApprovalID) (guard.ApprovalID, error)
}

func (r *rig) Sessions() []client.Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]client.Session(nil), r.live.sessions...)
}
func (r *rig) Servers() []client.Server { return r.live.servers }
func (r *rig) Status() client.Status    { return r.live.status }

// Commands and StopCommand act on the commands that a test has set.
func (r *rig) Commands() []client.RunningCommand {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.live.commands)
}

func (r *rig) StopCommand(id guard.CallID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.live.commands)
	r.live.commands = slices.DeleteFunc(r.live.commands, func(c client.RunningCommand) bool { return c.ID == string(id) })
	return len(r.live.commands) < n
}

// Undo returns what a test has set.
func (r *rig) Undo(_ context.Context, id guard.ApprovalID, _ guard.Approver) (guard.ApprovalID, error) {
	if r.live.undo == nil {
		return "", errors.New("nothing is prepared")
	}
	return r.live.undo(id)
}

// newRig starts a rig. change may modify the API before it serves.
func newRig(t testing.TB, change func(*rig, *API)) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "mg") // the test's own folder can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &rig{t: t, clock: clock.NewFake(start.Wall), unsigned: "any", path: filepath.Join(dir, "approver.sock")}
	r.live.servers = []client.Server{{Name: "files", Health: client.HealthRunning, Tools: []client.ServerTool{{Name: "write_file", Tier: "T1_REVERSIBLE_WRITE", Accepted: true}}}}
	r.store, err = store.Open(store.Options{Path: filepath.Join(dir, "guard.db"), Clock: r.clock, CreateNew: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := r.store.Startup(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.desk = approval.New(approval.Config{Store: r.store, Clock: r.clock})
	if err := r.desk.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.desk.Stop)
	r.c = client.New(r.path)
	r.c.Version = "test"
	t.Cleanup(r.c.Close)
	r.serve(change)
	t.Cleanup(func() { r.stop() })
	return r
}

// serve starts to serve on the rig's socket; r.stop ends it.
func (r *rig) serve(change func(*rig, *API)) {
	r.t.Helper()
	l, err := ipc.Listen(r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	api := New(Config{
		Store: r.store, Approvals: r.desk, Live: r, Clock: r.clock, Version: "9.9.9",
		Watch:    func() Watcher { return r.store.Watch() },
		Unsigned: func() string { r.mu.Lock(); defer r.mu.Unlock(); return r.unsigned },
		Clients:  func() []ipc.ClientRef { return nil },
		UserName: func(int) string { return "me" },
	})
	if change != nil {
		change(r, api)
	}
	r.api = api
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, 2*time.Second) }() // ends in stop
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Serve: %v", err)
		}
	})
}

// approval returns an approval that could wait; n makes it unique.
func (r *rig) approval(s guard.Session, call guard.CallID, n string) guard.Approval {
	text := "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-old\n+" + n + "\n"
	return guard.Approval{
		ID: guard.NewApprovalID(), Tenant: s.Tenant, RunID: s.RunID, SessionID: s.ID, CallID: call, Environment: s.Environment, Workflow: s.Workflow,
		Server: s.Server, Tool: "write_file", Tier: guard.T1ReversibleWrite, Digest: digest.Sum([]byte(n)), ArgsRaw: digest.Sum([]byte("raw" + n)),
		Definition: digest.Sum([]byte("definition")), Args: []byte(`{"content":"new","path":"a.txt"}`), RequestedBy: s.Origin, Rule: guard.RuleTierDefault,
		RequestedAt: r.clock.Now().Wall, Box: guard.DefaultTimeBox(guard.T1ReversibleWrite),
		Preview: guard.Preview{
			Summary: "edit a.txt (+1 −1)", SideEffects: []guard.SideEffect{{Text: "file is outside version control"}},
			Hazards: []guard.Hazard{{Kind: "coarse_diff", Text: "the diff is coarse"}},
			Change:  guard.Change{Type: guard.ChangeUnified, Text: text, Added: 1, Removed: 1},
			Effects: []guard.Effect{{Kind: "file.write", Resource: guard.Target{Kind: "file", Key: "/ws/a.txt", Path: "a.txt", Root: "/ws", Write: true}}},
		},
	}
}

func (r *rig) session() guard.Session {
	r.t.Helper()
	s := guard.Session{
		ID: guard.NewSessionID(), RunID: guard.NewRunID(), Tenant: "acme", Environment: "dev", Workflow: "audit", Profile: "acme-dev", Server: "files",
		Origin: guard.Origin{Client: "claude-code", Version: "2.0", PID: 42, Executable: "/usr/bin/node", Folder: "/home/me/src", User: "1000"}, OpenedAt: r.clock.Now().Wall,
	}
	if err := r.store.OpenSession(context.Background(), s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// pending submits an approval, as a session does.
func (r *rig) pending(s guard.Session, n string, change ...func(*guard.Approval)) guard.Approval {
	r.t.Helper()
	ctx := context.Background()
	call := guard.ToolCall{
		ID: guard.NewCallID(), Session: s, Tool: "write_file", Args: []byte(`{}`), ArgsCanonical: []byte(`{}`),
		ArgsRaw: digest.Sum([]byte(`{}`)), RequestedAt: r.clock.Now().Wall,
	}
	c := store.Call{ID: call.ID, SessionID: s.ID, RunID: s.RunID, Tenant: s.Tenant, Server: s.Server, Tool: call.Tool}
	if err := r.store.OpenCall(ctx, c, audit.Requested(call, call.RequestedAt)); err != nil {
		r.t.Fatal(err)
	}
	a := r.approval(s, call.ID, n)
	for _, f := range change {
		f(&a)
	}
	ticket, err := r.desk.Submit(ctx, a)
	if err != nil {
		r.t.Fatal(err)
	}
	return must(r.store.Approval(ticket.Approval().ID))(r.t) // in memory an approval has no text
}

func (r *rig) word(a guard.Approval, decision string) client.DecisionRequest {
	return client.DecisionRequest{Decision: decision, Digest: a.Digest.String(), Reason: "as discussed"}
}

// raw sends bytes over a new connection and returns the answer.
func (r *rig) raw(request string) *http.Response {
	r.t.Helper()
	conn, err := net.Dial("unix", r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		r.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res
}

// problem decodes a refused request.
func problemIn(t testing.TB, res *http.Response) client.Problem {
	t.Helper()
	if got := res.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q, want application/problem+json", got)
	}
	var p client.Problem
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil {
		t.Fatal(err)
	}
	if p.Status != res.StatusCode || p.Type != "urn:mcpguard:problem:"+p.Code || p.Title == "" || p.Detail == "" {
		t.Errorf("status %d with the problem %+v", res.StatusCode, p)
	}
	return p
}

func request(method, path, body string, headers ...string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: mcpguard\r\nConnection: close\r\n", method, path)
	for _, h := range headers {
		fmt.Fprintf(&b, "%s\r\n", h)
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	fmt.Fprintf(&b, "\r\n%s", body)
	return b.String()
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
