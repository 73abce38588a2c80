package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

func newJournal(t *testing.T) *journal {
	t.Helper()
	j := must(openJournal(filepath.Join(t.TempDir(), "j"), []byte("id")))(t)
	t.Cleanup(func() { j.close() })
	return j
}

func TestJournalKeepsRecords(t *testing.T) {
	j := newJournal(t)
	var want [][]byte
	for i := range 5 {
		p := bytes.Repeat([]byte{byte(i)}, 3000*i)
		want = append(want, p)
		if err := j.append(append(j.begin(), p...)); err != nil {
			t.Fatal(err)
		}
	}
	same := func(got, want [][]byte) bool { return slices.EqualFunc(got, want, bytes.Equal) }
	for applied := range 6 {
		if got := j.missing(uint64(applied)); !same(got, want[applied:]) {
			t.Errorf("after %d: %d records", applied, len(got))
		}
	}
	if got := j.missing(9); len(got) != 0 {
		t.Errorf("after more than there are: %d records", len(got))
	}
	// The next round overwrites the first records. What is left of the
	// previous round is not read as their continuation.
	j.restart(5)
	if err := j.append(append(j.begin(), []byte("six")...)); err != nil {
		t.Fatal(err)
	}
	if got := j.missing(5); !same(got, [][]byte{[]byte("six")}) {
		t.Errorf("in the next turn: %q", got)
	}
	if got := j.missing(3); len(got) != 0 {
		t.Errorf("to a database that is too old: %d records", len(got))
	}
	other := &journal{f: j.f, id: []byte("another")}
	if got := other.missing(5); len(got) != 0 {
		t.Errorf("of another database: %d records", len(got))
	}
}

// TestJournalIsCutShort tears the last record at every point.
func TestJournalIsCutShort(t *testing.T) {
	j := newJournal(t)
	for i := range 3 {
		if err := j.append(append(j.begin(), bytes.Repeat([]byte{byte('a' + i)}, 5000)...)); err != nil {
			t.Fatal(err)
		}
	}
	at := int64(2 * 8192)
	for n := int64(0); n < journalHeader+5000; n += 13 {
		var was [1]byte
		if _, err := j.f.ReadAt(was[:], at+n); err != nil {
			t.Fatal(err)
		}
		if _, err := j.f.WriteAt([]byte{was[0] ^ 0x10}, at+n); err != nil {
			t.Fatal(err)
		}
		if got := j.missing(0); len(got) != 2 {
			t.Fatalf("byte %d is damaged: %d records", n, len(got))
		}
		if _, err := j.f.WriteAt(was[:], at+n); err != nil {
			t.Fatal(err)
		}
	}
	if got := j.missing(0); len(got) != 3 {
		t.Errorf("whole again: %d records", len(got))
	}
}

func TestJournalIsFull(t *testing.T) {
	j := newJournal(t)
	if err := j.append(append(j.begin(), make([]byte, journalSize)...)); !errors.Is(err, errJournalFull) {
		t.Errorf("a record larger than the journal: %v", err)
	}
	n := 0
	for ; ; n++ {
		if err := j.append(append(j.begin(), make([]byte, journalSize/8)...)); err != nil {
			if !errors.Is(err, errJournalFull) {
				t.Error(err)
			}
			break
		}
	}
	if got := j.missing(0); len(got) != n || n < 3 {
		t.Errorf("%d records of %d", len(got), n)
	}
}

func FuzzRedo(f *testing.F) {
	f.Add(appendRedo(appendRedo(nil, redoPut, "meta", []byte("k"), []byte("v")), redoDelete, "meta", []byte("k"), nil))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	db := must(bolt.Open(filepath.Join(f.TempDir(), "db"), 0o600, nil))(f)
	f.Cleanup(func() { db.Close() })
	f.Fuzz(func(_ *testing.T, payload []byte) {
		undo := errors.New("undo")
		_ = db.Update(func(tx *bolt.Tx) error {
			_ = redo(tx, payload) // must not panic
			return undo
		})
	})
}

// killed returns the options of a copy of the files as a killed daemon leaves
// them: the database as of its last commit, everything after it in the
// journal.
func killed(t *testing.T, s *Store) Options {
	t.Helper()
	to := options(t)
	for _, suffix := range []string{"", ".journal", ".key", ".head"} {
		copyFile(t, s.path+suffix, to.Path+suffix)
	}
	return to
}

// TestPromise5_JournalIsTakenIn uses a store that never commits its database
// by itself, and checks what a kill would leave after each step.
func TestPromise5_JournalIsTakenIn(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	a := pending(t, s, v, "x")
	for i, step := range []func(){
		func() {},
		func() { must(s.Decide(ctx, a.ID, yes(a)))(t) },
		func() {
			if err := s.Begin(ctx, intentFor(a)); err != nil {
				t.Fatal(err)
			}
		},
		func() { must(s.Finish(ctx, receipt(a.CallID, guard.OutcomeOK), completed(audit.StatusOK)))(t) },
	} {
		step()
		size := s.Size()
		o := killed(t, s)
		l := must(OpenLog(o))(t) // offline, before any daemon comes
		if r := must(l.Verify(ctx))(t); !r.OK() || r.Size != size {
			t.Errorf("step %d: offline %+v, want %d records", i, r, size)
		}
		l.Close()
		again := open(t, killed(t, s))
		want := []guard.Status{guard.Pending, guard.Approved, guard.Executing, guard.Executed}[i]
		if got := status(t, again, a.ID); got != want || again.Size() != size {
			t.Errorf("step %d: %s with %d records, want %s with %d", i, got, again.Size(), want, size)
		}
	}
}

// TestMissingJournalIsNoticed removes the journal of a killed daemon: its
// records are lost, and that is reported.
func TestMissingJournalIsNoticed(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	old := killed(t, s)
	a := approved(t, s, v, "x")
	if err := s.Begin(ctx, intentFor(a)); err != nil {
		t.Fatal(err)
	}
	must(s.writeHead())(t) // as the daemon does once a second
	copyFile(t, o.Path+".head", old.Path+".head")
	if err := os.Remove(old.Path + ".journal"); err != nil {
		t.Fatal(err)
	}
	again := open(t, old)
	if got := must(again.Alerts(false))(t); len(got) != 2 || !slices.ContainsFunc(got, func(a Alert) bool { return a.Kind == AlertRolledBack }) ||
		!slices.ContainsFunc(got, func(a Alert) bool { return a.Kind == AlertJournalMissing }) {
		t.Errorf("alerts: %+v", got)
	}
}

// TestLargeBatchesAreCommittedAtOnce: they do not fit the journal.
func TestLargeBatchesAreCommittedAtOnce(t *testing.T) {
	o := options(t)
	s := open(t, o)
	v := session(t, s)
	a := approval(v, call(t, s, v), "x")
	noise := make([]byte, 6<<20)
	for i := range noise {
		noise[i] = byte(i*i>>8 ^ i*2654435761>>13)
	}
	a.Args = fmt.Appendf(nil, "%q", noise)
	if err := s.Submit(ctx, a); err != nil {
		t.Fatal(err)
	}
	must(s.Decide(ctx, a.ID, no(a)))(t)
	if got := must(s.Approval(a.ID))(t); !bytes.Equal(got.Args, a.Args) || got.Status != guard.Denied {
		t.Errorf("%d bytes, %s", len(got.Args), got.Status)
	}
	again := open(t, killed(t, s))
	if got := must(again.Approval(a.ID))(t); !bytes.Equal(got.Args, a.Args) {
		t.Errorf("after a kill: %d bytes", len(got.Args))
	}
}

// TestFailedFlushLosesNothing makes the commit of the database fail, before
// and after it happens, while all of it is already durable in the journal.
func TestFailedFlushLosesNothing(t *testing.T) {
	for _, p := range []Point{PointBeforeFlush, PointAfterFlush} {
		for _, late := range []bool{false, true} {
			o := options(t)
			var f faults
			o.Hook = f.hook
			s := open(t, o)
			v := session(t, s)
			a := pending(t, s, v, "x")
			f.set(p, errDisk)
			if late {
				f.set(PointRecover, errDisk)
			}
			_, err := s.Approval(a.ID) // reading asks for the commit
			if late && err == nil && p == PointBeforeFlush {
				t.Errorf("%s: read from a database that is behind", p)
			}
			f.set(p, nil)
			f.set(PointRecover, nil)
			if err := s.Recover(ctx); err != nil {
				t.Fatal(err)
			}
			must(s.Decide(ctx, a.ID, yes(a)))(t)
			s = reopen(t, s, o)
			if got := status(t, s, a.ID); got != guard.Approved {
				t.Errorf("%s, late %v: %s", p, late, got)
			}
			if r := must(s.Verify(ctx))(t); !r.OK() {
				t.Errorf("%s, late %v: %+v", p, late, r)
			}
		}
	}
}
