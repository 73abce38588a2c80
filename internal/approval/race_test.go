package approval

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// stalled is a book that stores joins at once but returns from them only when
// goOn is closed.
type stalled struct {
	*book
	goOn chan struct{}
}

func (s stalled) Join(ctx context.Context, id guard.ApprovalID, session guard.SessionID, call guard.CallID) (guard.Approval, error) {
	a, err := s.book.Join(ctx, id, session, call)
	<-s.goOn
	return a, err
}

// TestClaimSurvivesALaterJoin: a call is about to execute when a later one
// replaces it. The later one executes, and no one waits for the first.
func TestClaimSurvivesALaterJoin(t *testing.T) {
	inBubble(t, func(x *fixture) {
		first := x.submit("sess_1", "a")
		x.decide(first, true)
		x.want(first, guard.Approved, false)
		s := stalled{x.book, make(chan struct{})}
		x.desk.store = s
		joined := make(chan *Waiter, 1)
		go func() { joined <- x.submit("sess_2", "a") }() // ends with the join
		synctest.Wait()
		claimed := make(chan error, 1)
		go func() { claimed <- first.Claim() }() // ends with the join, at the latest
		synctest.Wait()
		close(s.goOn)
		second := <-joined
		if err := <-claimed; !errors.Is(err, ErrLost) {
			t.Errorf("the earlier call may execute: %v", err)
		}
		x.want(first, guard.Approved, true)
		x.want(second, guard.Approved, false)

		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		third, err := x.desk.Submit(ctx, x.template("sess_2", "a"))
		if err != nil {
			t.Fatalf("a third call waits for an execution that nobody begins: %v", err)
		}
		if err := third.Claim(); err != nil {
			t.Error(err)
		}
		third.Begun()
	})
}

// TestAbandonCancelsOnlyItsOwnPendingApproval: a call whose session has ended
// leaves nothing waiting. It does not end an approval that is approved or that
// another call uses.
func TestAbandonCancelsOnlyItsOwnPendingApproval(t *testing.T) {
	inBubble(t, func(x *fixture) {
		ctx := context.Background()
		waits, may, shared := x.submit("sess_1", "a"), x.submit("sess_1", "b"), x.submit("sess_1", "c")
		x.decide(may, true)
		later := x.submit("sess_2", "c")
		for _, t := range []*Waiter{waits, may, shared} {
			if err := t.Abandon(ctx); err != nil {
				x.Error(err)
			}
		}
		for _, c := range []struct {
			t    *Waiter
			want guard.Status
		}{{waits, guard.Cancelled}, {may, guard.Approved}, {later, guard.Pending}} {
			if got := x.book.status(c.t.ID()); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		}
		x.waits(later)
		x.want(x.submit("sess_2", "b"), guard.Approved, false) // an approved approval is there for the next call
	})
}
