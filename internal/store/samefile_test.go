package store

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// TestNothingRunsOnFilesThatWereTakenAway takes away, moves and replaces the files
// of an open database: no call begins until they are back.
func TestNothingRunsOnFilesThatWereTakenAway(t *testing.T) {
	for _, suffix := range []string{"", journalSuffix} {
		o := options(t)
		s := open(t, o)
		v := session(t, s)
		a := approved(t, s, v, "a")
		path, aside := o.Path+suffix, o.Path+suffix+"-aside"
		refused := func(what, says string) {
			t.Helper()
			err := s.Begin(ctx, intentFor(a))
			if !errors.Is(err, ErrFilesGone) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v", what, err)
			}
			if p := s.Problem(); !strings.Contains(p, path) || !strings.Contains(p, "mcpguardd stop") {
				t.Errorf("%s: the problem is %q", what, p)
			}
		}
		if err := os.Rename(path, aside); err != nil {
			t.Fatal(err)
		}
		refused("moved", "removed or moved")
		copyFile(t, aside, path)
		refused("replaced by a copy", "another file")
		if err := os.Rename(aside, path); err != nil {
			t.Fatal(err)
		}
		if p := s.Problem(); p != "" {
			t.Errorf("back in place: %q", p)
		}
		if err := s.Begin(ctx, intentFor(a)); err != nil {
			t.Errorf("back in place: %v", err)
		}
	}
}

// TestRemovedDatabaseIsPutBack: stopping loses nothing.
func TestRemovedDatabaseIsPutBack(t *testing.T) {
	o := options(t)
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	a := approved(t, s, session(t, s), "a")
	if err := errors.Join(os.Remove(o.Path), s.Close()); err != nil {
		t.Fatal(err)
	}
	o.CreateNew = false
	again := open(t, o)
	if got := status(t, again, a.ID); got != guard.Approved {
		t.Errorf("the approval is %s", got)
	}
	if alerts := must(again.Alerts(false))(t); len(alerts) != 0 {
		t.Errorf("alerts %+v", alerts)
	}
}

// TestPromise5_UsedApprovalWithoutItsJournalIsNotUsedAgain: an approval was
// used, the journal is gone, and the head is too old to show it.
func TestPromise5_UsedApprovalWithoutItsJournalIsNotUsedAgain(t *testing.T) {
	o := options(t)
	s := open(t, o)
	a := approved(t, s, session(t, s), "a")
	must(s.Approval(a.ID))(t) // commits the journal to the database
	old := killed(t, s)
	if err := os.Remove(old.Path + journalSuffix); err != nil {
		t.Fatal(err)
	}
	if err := s.Begin(ctx, intentFor(a)); err != nil {
		t.Fatal(err)
	}
	again := open(t, old)
	if err := again.Begin(ctx, intentFor(a)); err == nil {
		t.Error("an approval ran twice")
	}
	if got := must(again.Alerts(false))(t); len(got) == 0 || got[0].Kind != AlertJournalMissing {
		t.Errorf("alerts %+v", got)
	}
}
