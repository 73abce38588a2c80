package store

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// writeFixture makes the fixture of the current version anew. It is run once
// for each version, before a release; a fixture that was released is never
// written again:
//
//	go test ./internal/store -run TestFixture -write-fixture
var writeFixture = flag.Bool("write-fixture", false, "write testdata/v<current>.db and its key and head")

func fixture(version int) string { return filepath.Join("testdata", fmt.Sprintf("v%d.db", version)) }

// TestFixture opens the database of each version and uses it.
func TestFixture(t *testing.T) {
	if *writeFixture {
		makeFixture(t)
	}
	for v := 1; v <= schemaVersion; v++ {
		o := options(t)
		for _, suffix := range []string{"", ".key", ".head"} {
			copyFile(t, fixture(v)+suffix, o.Path+suffix)
		}
		o.CreateNew = false
		l := must(OpenLog(o))(t)
		if r := must(l.Verify(ctx))(t); !r.OK() || r.Checkpoints == 0 {
			t.Errorf("version %d: the log %+v", v, r)
		}
		l.Close()
		s := open(t, o)
		if got := must(s.Alerts(true))(t); len(got) != 1 || got[0].Kind != "fixture" {
			t.Errorf("version %d: alerts %+v", v, got)
		}
		statuses := map[guard.Status]guard.Approval{}
		for _, a := range must(s.Approvals(Filter{Full: true}))(t) {
			statuses[a.Status] = a
			if len(a.Args) == 0 || a.Preview.Change.Text == "" || a.Tenant != tenant {
				t.Errorf("version %d: %s approval %+v", v, a.Status, a)
			}
		}
		for _, st := range []guard.Status{guard.Pending, guard.Approved, guard.Denied, guard.Executing, guard.Executed, guard.Unknown, guard.Stale} {
			if _, ok := statuses[st]; !ok {
				t.Errorf("version %d: no approval is %s", v, st)
			}
		}
		if n := len(must(s.Runs())(t)); n != 1 {
			t.Errorf("version %d: %d runs", v, n)
		}
		if sw := s.Switches(); len(sw) != 1 || sw[0].Scope != "crm" {
			t.Errorf("version %d: switches %+v", v, sw)
		}
		if got := len(s.Unseen(tenant, []string{"host fixture.example"})); v >= 2 && got != 0 {
			t.Errorf("version %d: it does not know what it has seen", v)
		}
		if l, err := s.LineOf(fixtureLine.Token); v >= 3 && (err != nil || string(l.Outcome) != string(fixtureLine.Outcome) || l.Call != fixtureLine.Call) {
			t.Errorf("version %d: the line %+v, %v", v, l, err)
		}
		waiting := statuses[guard.Pending]
		if n := s.CallsInRun(tenant, waiting.RunID, waiting.Server, waiting.Tool); n == 0 {
			t.Errorf("version %d: no calls are counted", v)
		}
		// It can be worked with.
		if _, err := s.Decide(ctx, waiting.ID, yes(waiting)); err != nil {
			t.Errorf("version %d: deciding: %v", v, err)
		}
		if r := must(s.Startup(ctx))(t); len(r.Unknown) != 1 || len(r.Sessions) != 1 {
			t.Errorf("version %d: recovered %+v", v, r)
		}
		if r := must(s.Verify(ctx))(t); !r.OK() {
			t.Errorf("version %d: the log afterwards %+v", v, r)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in := must(os.Open(from))(t)
	defer in.Close()
	out := must(os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600))(t)
	_, err := io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
}

var fixtureLine = Line{Token: digest.Sum([]byte("a token")), Tenant: tenant, Run: "run_x", Call: "call_x", Outcome: []byte(`{"exit_code":0}`)}

// makeFixture writes a database with one of everything.
func makeFixture(t *testing.T) {
	o := options(t)
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	v := session(t, s)
	must(s.OpenRun(ctx, guard.Run{ID: v.RunID, Tenant: tenant, Profile: v.Profile}, RunKey{"boot-1", 42, 7}))(t)
	done, lost, running := approved(t, s, v, "done"), approved(t, s, v, "lost"), approved(t, s, v, "running")
	for _, a := range []guard.Approval{done, lost, running} {
		in := intentFor(a)
		in.Touches = []string{"host fixture.example"}
		if err := s.Begin(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	must(s.Finish(ctx, receipt(done.CallID, guard.OutcomeOK), completed(audit.StatusOK)))(t)
	must(s.Finish(ctx, receipt(lost.CallID, guard.OutcomeUnknown), completed(audit.StatusUnknown)))(t)
	approved(t, s, v, "ready")
	denied, old := pending(t, s, v, "denied"), pending(t, s, v, "old")
	must(s.Decide(ctx, denied.ID, no(denied)))(t)
	must(s.Replace(ctx, old.ID, approval(v, old.CallID, "new")))(t)
	if err := s.SetSwitch(ctx, guard.Switch{Scope: "crm", Reason: "fixture"}); err != nil {
		t.Fatal(err)
	}
	if err := s.PutLine(ctx, fixtureLine); err != nil {
		t.Fatal(err)
	}
	if err := s.RaiseAlert(ctx, Alert{Kind: "fixture", Text: "An alert."}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	to := fixture(schemaVersion)
	_ = os.Remove(to)
	src := must(bolt.Open(o.Path, 0o600, &bolt.Options{ReadOnly: true}))(t)
	defer src.Close()
	dst := must(bolt.Open(to, 0o600, &bolt.Options{PageSize: 4096}))(t)
	dst.AllocSize = 4096
	if err := errors.Join(bolt.Compact(dst, src, 0), dst.Close()); err != nil {
		t.Fatal(err)
	}
	copyFile(t, o.Path+".key", to+".key")
	copyFile(t, o.Path+".head", to+".head")
}

// TestMigrations runs the steps between invented versions.
func TestMigrations(t *testing.T) {
	o := filled(t)
	db := must(bolt.Open(o.Path, 0o600, nil))(t)
	defer db.Close()
	mark := func(s string) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error {
			meta := tx.Bucket([]byte(bucketMeta))
			return meta.Put([]byte("marks"), append(append([]byte(nil), meta.Get([]byte("marks"))...), s...))
		}
	}
	broken := errors.New("broken")
	for _, c := range []struct {
		from, to int
		steps    map[int]func(*bolt.Tx) error
		want     error
		marks    string
	}{
		{1, 1, nil, nil, ""},
		{1, 3, map[int]func(*bolt.Tx) error{1: mark("a"), 2: mark("b")}, nil, "ab"},
		{1, 3, map[int]func(*bolt.Tx) error{1: mark("a"), 2: func(*bolt.Tx) error { return broken }}, broken, ""},
		{1, 3, map[int]func(*bolt.Tx) error{1: mark("a")}, errAny, ""},
		{4, 3, nil, ErrSchema, ""},
	} {
		var marks string
		err := db.Update(func(tx *bolt.Tx) error {
			if err := migrateTx(tx, c.from, c.to, c.steps); err != nil {
				return err
			}
			marks = string(tx.Bucket([]byte(bucketMeta)).Get([]byte("marks")))
			if v, err := schemaOf(tx); v != c.to || err != nil {
				t.Errorf("%d → %d: now version %d, %v", c.from, c.to, v, err)
			}
			return errAny // undone for the next
		})
		switch {
		case c.want == nil && marks != c.marks, c.want == nil && !errors.Is(err, errAny):
			t.Errorf("%d → %d: marks %q, %v", c.from, c.to, marks, err)
		case c.want != nil && c.want != errAny && !errors.Is(err, c.want), err == nil:
			t.Errorf("%d → %d: %v", c.from, c.to, err)
		}
	}
}

var errAny = errors.New("any error")
