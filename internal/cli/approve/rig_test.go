package approve

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mcpguard/mcpguard/internal/approval"
	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/clock"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/localapi"
	"github.com/mcpguard/mcpguard/internal/store"
	"github.com/mcpguard/mcpguard/internal/tui"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) {
	if os.Getenv(envProgram) != "" || os.Getenv(tui.EnvWatchdog) != "" {
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// envProgram makes the test binary act as the program.
const envProgram = "MCPGUARD_TEST_PROGRAM"

var (
	ctx   = context.Background()
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// rig is a daemon's control API over a real store, and programs that use it.
type rig struct {
	t      testing.TB
	clock  *clock.Fake
	paths  ipc.Paths
	store  *store.Store
	desk   *approval.Approvals
	status client.Status
	// servers replaces the one server with its one accepted tool.
	servers []client.Server
	stop    func()
	// shown replaces the store for reading, if a test needs values that no
	// store would keep.
	shown    localapi.Store
	decider  localapi.Decider // replaces the decider
	unsigned string
	patience time.Duration // of allow
}

func (r *rig) Sessions() []client.Session { return nil }

// Commands and StopCommand are of a daemon in which no command runs.
func (r *rig) Commands() []client.RunningCommand { return nil }
func (r *rig) StopCommand(guard.CallID) bool     { return false }

func (r *rig) Servers() []client.Server {
	if r.servers != nil {
		return r.servers
	}
	return []client.Server{{Name: "files", Tools: []client.ServerTool{{Name: "write_file", Accepted: true}}}}
}
func (r *rig) Status() client.Status { return r.status }

// Undo refuses: the daemon's own tests undo.
func (r *rig) Undo(context.Context, guard.ApprovalID, guard.Approver) (guard.ApprovalID, error) {
	return "", &effect.Refusal{Rule: guard.RulePreviewFailed, Reason: "it did not run", Repair: "take it back by hand"}
}

func newRig(t testing.TB) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "mg") // the test's own folder can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &rig{t: t, clock: clock.NewFake(start), paths: ipc.Paths{Config: dir, State: dir}, status: client.Status{Level: "L0"}, unsigned: "any", patience: time.Millisecond}
	r.open()
	t.Cleanup(func() { r.stop() })
	return r
}

// open opens the store and serves; r.stop ends both.
func (r *rig) open() {
	r.t.Helper()
	var err error
	r.store, err = store.Open(store.Options{Path: r.paths.DB(), Clock: r.clock, CreateNew: true})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.store.Startup(ctx); err != nil {
		r.t.Fatal(err)
	}
	r.desk = approval.New(approval.Config{Store: r.store, Clock: r.clock})
	if err := r.desk.Start(ctx); err != nil {
		r.t.Fatal(err)
	}
	r.serve()
}

func (r *rig) serve() {
	r.t.Helper()
	l, err := ipc.Listen(r.paths.ApproverSocket())
	if err != nil {
		r.t.Fatal(err)
	}
	var shown localapi.Store = r.store
	if r.shown != nil {
		shown = r.shown
	}
	var decider localapi.Decider = r.desk
	if r.decider != nil {
		decider = r.decider
	}
	api := localapi.New(localapi.Config{
		Store: shown, Approvals: decider, Live: r, Clock: r.clock, Version: "0.1.0",
		Watch:    func() localapi.Watcher { return r.store.Watch() },
		Unsigned: func() string { return r.unsigned },
		Clients:  func() []ipc.ClientRef { return nil },
		UserName: func(int) string { return "me" },
	})
	served, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- api.Serve(served, l, 2*time.Second) }() // ends in stop
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Serve: %v", err)
		}
		r.desk.Stop()
		if err := r.store.Close(); err != nil {
			r.t.Error(err)
		}
	})
}

func (r *rig) session() guard.Session {
	r.t.Helper()
	s := guard.Session{
		ID: guard.NewSessionID(), RunID: "run_01kjx0000000000000000000aa", Tenant: "acme", Environment: "dev", Workflow: "audit", Profile: "acme-dev", Server: "files",
		Origin: guard.Origin{Client: "claude-code", Version: "2.0", PID: 42, Executable: "/usr/bin/node", Folder: "/home/me/src", User: "1000"}, OpenedAt: r.clock.Now().Wall,
	}
	if err := r.store.OpenSession(ctx, s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// id is an identifier that is the same in each run of a test.
func id(n int) guard.ApprovalID {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	return guard.ApprovalID("appr_01kjx00000000000004x7k2mq" + string(alphabet[n]))
}

func change(n int) guard.Change {
	return guard.Change{
		Type: guard.ChangeUnified, Added: 2, Removed: 1,
		Text: fmt.Sprintf("--- a/main.go\n+++ b/main.go\n@@ -1,3 +1,4 @@ func main()\n ctx := run()\n--- old comment\n+++ new comment %d\n+more\n end\n\\ No newline at end of file\n", n),
	}
}

// pending submits approval number n, as a session does.
func (r *rig) pending(s guard.Session, n int, alter ...func(*guard.Approval)) guard.Approval {
	r.t.Helper()
	return r.submitted(s, n, alter...).Approval()
}

func (r *rig) submitted(s guard.Session, n int, alter ...func(*guard.Approval)) *approval.Waiter {
	r.t.Helper()
	call := guard.ToolCall{ID: guard.NewCallID(), Session: s, Tool: "write_file", ArgsCanonical: []byte(`{}`), ArgsRaw: digest.Sum([]byte(`{}`)), RequestedAt: r.clock.Now().Wall}
	c := store.Call{ID: call.ID, SessionID: s.ID, RunID: s.RunID, Tenant: s.Tenant, Server: s.Server, Tool: call.Tool}
	if err := r.store.OpenCall(ctx, c, audit.Requested(call, call.RequestedAt)); err != nil {
		r.t.Fatal(err)
	}
	a := guard.Approval{
		ID: id(n), Tenant: s.Tenant, RunID: s.RunID, SessionID: s.ID, CallID: call.ID, Environment: s.Environment, Workflow: s.Workflow,
		Server: s.Server, Tool: "write_file", Tier: guard.T1ReversibleWrite, Digest: digest.Sum(fmt.Append(nil, n)), ArgsRaw: digest.Sum([]byte("raw")),
		Definition: digest.Sum([]byte("definition")), PolicyHash: "sha256:p", Args: []byte(`{"content":"new","path":"main.go"}`), RequestedBy: s.Origin, Rule: guard.RuleTierDefault,
		RequestedAt: r.clock.Now().Wall, Box: guard.DefaultTimeBox(guard.T1ReversibleWrite),
		Preview: guard.Preview{
			Summary: fmt.Sprintf("edit main.go (+2 −1), variant %d", n), Change: change(n),
			Effects: []guard.Effect{{Kind: "file.edit", Resource: guard.Target{Kind: "file", Key: "/ws/main.go", Path: "main.go", Root: "/ws", Write: true}}},
		},
	}
	for _, f := range alter {
		f(&a)
	}
	ticket, err := r.desk.Submit(ctx, a)
	if err != nil {
		r.t.Fatal(err)
	}
	return ticket
}

// mode is how a program is run.
type mode struct {
	terminal, colours, ascii bool
	width                    int
}

var (
	pipe     = mode{}
	terminal = mode{terminal: true, width: 100}
	coloured = mode{terminal: true, colours: true, width: 100}
)

// run runs one command to its end.
func (r *rig) run(m mode, args ...string) (code int, stdout, stderr string) {
	r.t.Helper()
	var out, errs bytes.Buffer
	a := r.app(m)
	a.out, a.err = &out, &errs
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	code = a.run(limited, args)
	return code, out.String(), errs.String()
}

func (r *rig) app(m mode) *app {
	a := &app{
		terminal: m.terminal, colours: m.colours, width: m.width, zone: time.UTC, paths: r.paths, poll: time.Millisecond, patience: r.patience,
		now: func() time.Time { return r.clock.Now().Wall },
	}
	a.safe.ASCII = m.ascii
	a.start = func(context.Context) error { return ipc.ErrNoDaemon }
	return a
}

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run with -update to accept):\n%s\nwant:\n%s", path, got, want)
	}
}

// lines counts the lines of an output.
func lines(s string) int { return strings.Count(s, "\n") }
