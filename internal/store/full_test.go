package store

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// TestFullDiskLeavesListsAndDenials: the journal has its space, but the
// database cannot grow. Acknowledged writes are kept, lists and contents can
// be read, denials work, and nothing else begins.
func TestFullDiskLeavesListsAndDenials(t *testing.T) {
	o := options(t)
	var f faults
	o.Hook = f.hook
	s := open(t, o)
	v := session(t, s)
	ready, a, old := approved(t, s, v, "ready"), pending(t, s, v, "a"), pending(t, s, v, "old")
	must(s.Decide(ctx, old.ID, no(old)))(t)
	must(s.OpenIntents())(t) // the database is up to date
	f.set(PointBeforeFlush, syscall.ENOSPC)
	late := pending(t, s, v, "late") // acknowledged: it is in the journal
	if _, err := s.OpenIntents(); !errors.Is(err, ErrIndeterminate) {
		t.Fatalf("the database was written to: %v", err)
	}

	for range 2 { // at once, and after it was tried again
		if err := s.Recover(ctx); !errors.Is(err, ErrIndeterminate) {
			t.Errorf("recovered on a full disk: %v", err)
		}
		all := must(s.Approvals(Filter{}))(t)
		if len(all) != 4 {
			t.Errorf("%d approvals are listed", len(all))
		}
		if got := must(s.Approval(a.ID))(t); len(got.Args) == 0 || got.Preview.Change.Text == "" {
			t.Errorf("it is shown without its contents: %+v", got)
		}
		if got := must(s.Approvals(Filter{Status: []guard.Status{guard.Denied}}))(t); len(got) != 1 || got[0].ID != old.ID {
			t.Errorf("denied: %+v", got)
		}
		if n := must(s.Count(Filter{}))(t); n != 4 {
			t.Errorf("%d are counted", n)
		}
		if got := must(s.Events(EventFilter{}))(t); len(got) == 0 {
			t.Error("the log is empty")
		}
		must(s.Alerts(true))(t)
		must(s.Runs())(t)
	}
	if p := s.Problem(); !strings.Contains(p, syscall.ENOSPC.Error()) {
		t.Errorf("the problem is %q", p)
	}
	if err := s.Begin(ctx, intentFor(ready)); !errors.Is(err, ErrIndeterminate) {
		t.Errorf("a call began: %v", err)
	}
	if got := must(s.Decide(ctx, a.ID, no(a)))(t); got.Status != guard.Denied || status(t, s, a.ID) != guard.Denied {
		t.Errorf("denied: %+v", got)
	}

	f.set(PointBeforeFlush, nil)
	if err := s.Recover(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Record(ctx, audit.New(audit.DaemonStarted, newClock().Now().Wall)); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[guard.ApprovalID]guard.Status{ready.ID: guard.Approved, a.ID: guard.Denied, old.ID: guard.Denied, late.ID: guard.Pending} {
		if got := status(t, s, id); got != want {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
	if err := s.Begin(ctx, intentFor(ready)); err != nil {
		t.Error(err)
	}
}
