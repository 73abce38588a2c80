package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// fakeClock stands still until it is moved.
type fakeClock struct {
	mu  sync.Mutex
	now guard.Now
}

func newClock() *fakeClock {
	return &fakeClock{now: guard.Now{Wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Boot: time.Hour, BootID: "boot-1"}}
}

func (c *fakeClock) Now() guard.Now {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(wall, boot time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Wall = c.now.Wall.Add(wall)
	c.now.Boot += boot
}

var ctx = context.Background()

// options returns those of a database in a new folder.
func options(t testing.TB) Options {
	return Options{Path: filepath.Join(t.TempDir(), "guard.db"), Clock: newClock(), CreateNew: true}
}

// open opens a store that is closed and checked at the end of the test.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, s) })
	return s
}

// shut closes a store and checks its file: pages, indexes, log.
func shut(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	checkWhole(t, s.path)
}

func checkWhole(t testing.TB, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second, PreLoadFreelist: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("database check: %v", err)
		}
		return checkIndexes(tx)
	})
	if err != nil {
		t.Error(err)
	}
}

// checkIndexes says whether every index says the same as the rows.
func checkIndexes(tx *bolt.Tx) error {
	var errs []error
	statuses, times, opens := map[string]bool{}, map[string]bool{}, map[string]string{}
	err := eachJSON(tx.Bucket([]byte(bucketApprovals)), nil, func(r row) {
		statuses[string(statusKey(&r, r.Status))] = true
		times[string(key(r.Tenant, stamp(r.RequestedAt), string(r.ID)))] = true
		if r.Status.Open() {
			k := string(openKey(r.Tenant, r.RunID, r.Server, r.Tool, r.Digest))
			if opens[k] != "" {
				errs = append(errs, fmt.Errorf("%s and %s are open for the same call", r.ID, opens[k]))
			}
			opens[k] = string(r.ID)
		}
		if r.Status == guard.Executing || r.Status == guard.Unknown || r.Status == guard.Executed || r.Status == guard.Failed {
			if tx.Bucket([]byte(bucketIntents)).Get(key(r.Tenant, string(r.CallID))) == nil {
				errs = append(errs, fmt.Errorf("%s is %s without an intent", r.ID, r.Status))
			}
		}
	})
	errs = append(errs, err)
	same := func(bucket string, want map[string]bool) {
		each(tx.Bucket([]byte(bucket)), nil, func(k, _ []byte) bool {
			if !want[string(k)] {
				errs = append(errs, fmt.Errorf("%s has the stray key %q", bucket, k))
			}
			delete(want, string(k))
			return true
		})
		for k := range want {
			errs = append(errs, fmt.Errorf("%s lacks the key %q", bucket, k))
		}
	}
	same(bucketByStatus, statuses)
	same(bucketByTime, times)
	each(tx.Bucket([]byte(bucketOpen)), nil, func(k, v []byte) bool {
		if opens[string(k)] != string(v) {
			errs = append(errs, fmt.Errorf("%s names %q, want %q", bucketOpen, v, opens[string(k)]))
		}
		delete(opens, string(k))
		return true
	})
	for _, id := range opens {
		errs = append(errs, fmt.Errorf("%s lacks %s", bucketOpen, id))
	}
	return errors.Join(errs...)
}

// reopen closes a store as a daemon would and opens it again, without Startup.
func reopen(t testing.TB, s *Store, o Options) *Store {
	t.Helper()
	shut(t, s)
	return open(t, o)
}

const tenant = "acme"

// session opens a run and a session in it.
func session(t testing.TB, s *Store) guard.Session {
	t.Helper()
	v := guard.Session{
		ID: guard.NewSessionID(), RunID: guard.NewRunID(), Tenant: tenant, Environment: "dev", Workflow: "audit", Profile: "acme-dev", Server: "files",
		Origin: guard.Origin{Client: "claude-code", Version: "2.0", PID: 42, Executable: "/usr/bin/node", Folder: "/home/me/src", User: "1000"},
	}
	if err := s.OpenSession(ctx, v); err != nil {
		t.Fatal(err)
	}
	return v
}

// call opens a call in a session.
func call(t testing.TB, s *Store, v guard.Session) guard.CallID {
	t.Helper()
	c := toolCall(v)
	if err := s.OpenCall(ctx, callOf(c), audit.Requested(c, c.RequestedAt)); err != nil {
		t.Fatal(err)
	}
	return c.ID
}

func toolCall(v guard.Session) guard.ToolCall {
	return guard.ToolCall{
		ID: guard.NewCallID(), Session: v, Tool: "write_file", Args: []byte(`{"path": "a"}`), ArgsCanonical: []byte(`{"path":"a"}`),
		ArgsRaw: digest.Sum([]byte(`{"path": "a"}`)), Definition: digest.Sum([]byte("definition")), RequestedAt: newClock().Now().Wall,
	}
}

func callOf(c guard.ToolCall) Call {
	return Call{ID: c.ID, SessionID: c.Session.ID, RunID: c.Session.RunID, Tenant: c.Session.Tenant, Server: c.Session.Server, Tool: c.Tool}
}

// approval returns one for a call; what tells it apart from others is n.
func approval(v guard.Session, c guard.CallID, n string) guard.Approval {
	text := "--- a\n+++ b\n@@ -1 +1 @@\n-old\n+" + n + "\n"
	return guard.Approval{
		ID: guard.NewApprovalID(), Tenant: v.Tenant, RunID: v.RunID, SessionID: v.ID, CallID: c, Environment: v.Environment, Workflow: v.Workflow,
		Server: v.Server, Tool: "write_file", Tier: guard.T1ReversibleWrite, Digest: digest.Sum([]byte(n)), ArgsRaw: digest.Sum([]byte("raw" + n)),
		Definition: digest.Sum([]byte("definition")), Args: []byte(`{"content":"` + n + `","path":"a"}`), RequestedBy: v.Origin,
		Preview: guard.Preview{
			Summary: "edit a (+1 −1)", Output: "what it printed " + n, Attempt: &guard.ExecRun{Exit: 1},
			Change: guard.Change{Type: guard.ChangeUnified, Text: text, Patch: []byte(`[{"op":"test"}]`), Preview: []byte(`[]`), Added: 1, Removed: 1,
				Facts: guard.Facts{SQL: &guard.SQLFacts{Text: "SELECT 1", Params: []byte(`[1]`)}}},
			Effects: []guard.Effect{{Kind: "file.write", Resource: guard.Target{Kind: "file", Key: "/ws/a", Path: "a", Root: "/ws", Write: true}}},
		},
	}
}

// pending opens a call that waits for a new approval.
func pending(t testing.TB, s *Store, v guard.Session, n string) guard.Approval {
	t.Helper()
	a := approval(v, call(t, s, v), n)
	if err := s.Submit(ctx, a); err != nil {
		t.Fatal(err)
	}
	return a
}

func yes(a guard.Approval) guard.Signoff {
	return guard.Signoff{Approve: true, Digest: a.Digest, Reason: "looks right", By: guard.Approver{User: "1000", Name: "me", PID: 7}}
}

func no(a guard.Approval) guard.Signoff {
	w := yes(a)
	w.Approve, w.Reason = false, "wrong file"
	return w
}

func intentFor(a guard.Approval) guard.Intent {
	return guard.Intent{
		CallID: a.CallID, ApprovalID: a.ID, SessionID: a.SessionID, RunID: a.RunID, Tenant: a.Tenant, Server: a.Server, Tool: a.Tool,
		Tier: a.Tier, Digest: a.Digest, ArgsRaw: a.ArgsRaw, Effects: a.Preview.Effects,
	}
}

func receipt(id guard.CallID, o guard.Outcome) guard.Receipt {
	return guard.Receipt{CallID: id, Outcome: o, ReadBack: guard.Verified, Result: digest.Sum([]byte("result")), ResultSize: 6}
}

func completed(s audit.Status) audit.Event {
	return audit.Event{Event: audit.ToolCallCompleted, Status: s}
}

// must fails the test on an error and returns the value.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func status(t testing.TB, s *Store, id guard.ApprovalID) guard.Status {
	t.Helper()
	return must(s.Approval(id))(t).Status
}

// events returns the events of a type.
func events(t testing.TB, s *Store, types ...audit.Type) []audit.Event {
	t.Helper()
	var out []audit.Event
	for _, r := range must(s.Events(EventFilter{Types: types, Limit: 1 << 20}))(t) {
		out = append(out, r.Event)
	}
	return out
}

func state(err error) guard.Status {
	var se *StateError
	if errors.As(err, &se) {
		return se.Status
	}
	return ""
}
