package proxy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpguard/mcpguard/internal/approval"
	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/redact"
	"github.com/mcpguard/mcpguard/internal/store"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubbleClock reads the time of a synctest bubble.
type bubbleClock struct{}

func (bubbleClock) Now() guard.Now {
	now := time.Now()
	return guard.Now{Wall: now, Boot: time.Duration(now.UnixNano()), BootID: "boot"}
}

// testConfig has one tool of each kind; %s is the workspace.
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

// toolNames are the tools that the fake server lists; no policy names "extra".
var toolNames = []string{"read", "look", "write", "edit", "scratch", "blackbox", "wipe", "moved", "capped", "extra"}

func definitionOf(name string) string {
	return fmt.Sprintf(`{"name":%q,  "description":"does %s","inputSchema":{"type":"object","properties":{"path":{"type":"string"},"content":{"type":"string"},"old":{"type":"string"},"new":{"type":"string"}}},"annotations":{"readOnlyHint":true},"x":1e2}`, name, name)
}

// rig is everything that sessions share.
type rig struct {
	testing.TB
	root   string
	store  *store.Store
	desk   *approval.Approvals
	locks  *Locks
	meter  *Meter
	policy atomic.Pointer[policy.Set]
	path   string
	hook   func(store.Point) error

	redactor  Redactor
	elsewhere func(*Config) // changes the next sessions; may be nil
}

// inBubble runs a test in a synctest bubble, with a rig that uses its clock.
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

// setPolicy compiles a configuration. Every listed tool is accepted, except
// "moved", which was accepted with another definition.
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

// events returns the log once everything under way is recorded.
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
