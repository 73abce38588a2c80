package approval

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fixture struct {
	*testing.T
	clock *bubbleClock
	book  *book
	desk  *Approvals
}

// inBubble runs a test in a synctest bubble, with Approvals that use its
// clock.
func inBubble(t *testing.T, f func(*fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		x := &fixture{T: t, clock: &bubbleClock{}}
		x.book = newBook(x.clock)
		x.start()
		defer func() { x.desk.Stop() }()
		f(x)
	})
}

func (x *fixture) start() {
	x.Helper()
	x.desk = New(Config{Store: x.book, Clock: x.clock})
	if err := x.desk.Start(context.Background()); err != nil {
		x.Fatal(err)
	}
}

func (x *fixture) template(session guard.SessionID, shown string) guard.Approval {
	now := x.clock.Now()
	box := guard.TimeBox{TTL: 5 * time.Minute, UseWithin: 2 * time.Minute}
	return guard.Approval{
		ID: guard.NewApprovalID(), Status: guard.Pending, Tenant: "t", RunID: "run_1", Server: "s", Tool: "w",
		SessionID: session, CallID: guard.NewCallID(), Digest: digest.Sum([]byte(shown)), Box: box, Expires: now.After(box.TTL),
	}
}

func (x *fixture) submit(session guard.SessionID, digest string) *Waiter {
	x.Helper()
	t, err := x.desk.Submit(context.Background(), x.template(session, digest))
	if err != nil {
		x.Fatal(err)
	}
	return t
}

func (x *fixture) decide(t *Waiter, approve bool) {
	x.Helper()
	a, _ := x.book.Approval(t.ID())
	if _, err := x.desk.Decide(context.Background(), t.ID(), guard.Signoff{Approve: approve, Digest: a.Digest, Reason: "because"}); err != nil {
		x.Fatal(err)
	}
}

func (x *fixture) want(t *Waiter, want guard.Status, superseded bool) Result {
	x.Helper()
	synctest.Wait()
	select {
	case <-t.Decided():
	default:
		x.Fatalf("the call still waits; want %s", want)
	}
	if r := t.Result(); r.Status != want || r.Superseded != superseded {
		x.Fatalf("got %s (superseded %v), want %s (%v)", r.Status, r.Superseded, want, superseded)
	}
	return t.Result()
}

func (x *fixture) waits(t *Waiter) {
	x.Helper()
	synctest.Wait()
	select {
	case <-t.Decided():
		x.Fatalf("the call does not wait any more: %+v", t.Result())
	default:
	}
}

func TestDecisionsReachTheCall(t *testing.T) {
	inBubble(t, func(x *fixture) {
		yes, no := x.submit("sess_1", "a"), x.submit("sess_1", "b")
		x.waits(yes)
		x.decide(yes, true)
		x.decide(no, false)
		x.want(yes, guard.Approved, false)
		if r := x.want(no, guard.Denied, false); r.Reason != "because" {
			t.Errorf("the reviewer's words are %q", r.Reason)
		}
		if _, err := x.desk.Decide(context.Background(), no.ID(), guard.Signoff{Approve: true, Digest: digest.Sum([]byte("b"))}); err == nil {
			t.Error("a second decision was taken")
		}
	})
}

func TestApprovalsExpire(t *testing.T) {
	inBubble(t, func(x *fixture) {
		late, unused := x.submit("sess_1", "a"), x.submit("sess_1", "b")
		x.decide(unused, true)
		time.Sleep(2*time.Minute - time.Second)
		x.waits(late)
		if x.book.status(unused.ID()) != guard.Approved {
			t.Fatal("lapsed too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		select {
		case <-unused.Lost():
		default:
			t.Error("the call was not told that its approval lapsed")
		}
		if got := x.book.status(unused.ID()); got != guard.Lapsed {
			t.Errorf("got %s, want lapsed", got)
		}
		time.Sleep(3 * time.Minute)
		x.want(late, guard.Expired, false)
	})
}

func TestExpiryFollowsAChangedWallClock(t *testing.T) {
	inBubble(t, func(x *fixture) {
		forward, back := x.submit("sess_1", "a"), x.submit("sess_1", "b")
		_ = back
		x.clock.set(time.Hour)
		time.Sleep(2 * nap)
		x.want(forward, guard.Expired, false)
		x.clock.set(-time.Hour)
		again := x.submit("sess_1", "c")
		x.clock.set(-2 * time.Hour) // back: the time since boot still counts
		time.Sleep(5*time.Minute + nap)
		x.want(again, guard.Expired, false)
	})
}

func TestIdenticalCallsJoin(t *testing.T) {
	inBubble(t, func(x *fixture) {
		first := x.submit("sess_1", "a")
		second := x.submit("sess_2", "a")
		other := x.submit("sess_1", "b")
		if first.ID() != second.ID() || first.ID() == other.ID() {
			t.Fatalf("%s, %s, %s", first.ID(), second.ID(), other.ID())
		}
		x.want(first, guard.Pending, true)
		if first.Claim() == nil {
			t.Error("the older call could execute")
		}
		x.decide(second, true)
		x.want(second, guard.Approved, false)
		third := x.submit("sess_1", "a") // joins an approval that is approved already
		x.want(third, guard.Approved, false)
		if second.Claim() == nil {
			t.Error("the older call could execute")
		}
		if err := third.Claim(); err != nil {
			t.Fatal(err)
		}
		if err := x.book.begin(third.ID(), third.call); err != nil {
			t.Fatal(err)
		}
		third.Begun()
		if fourth := x.submit("sess_1", "a"); fourth.ID() == third.ID() {
			t.Error("a call joined an execution")
		}
	})
}

func TestIdenticalCallWaitsForTheClaim(t *testing.T) {
	inBubble(t, func(x *fixture) {
		first := x.submit("sess_1", "a")
		x.decide(first, true)
		if err := first.Claim(); err != nil {
			t.Fatal(err)
		}
		joined := make(chan *Waiter, 1)
		go func() { joined <- x.submit("sess_1", "a") }()
		synctest.Wait()
		if len(joined) != 0 {
			t.Fatal("a call joined what was about to execute")
		}
		if err := x.book.begin(first.ID(), first.call); err != nil {
			t.Fatal(err)
		}
		first.Begun()
		if second := <-joined; second.ID() == first.ID() {
			t.Error("the second call joined an execution")
		}
	})
}

func TestEarlyAnswerKeepsTheApprovalOpen(t *testing.T) {
	inBubble(t, func(x *fixture) {
		ctx := context.Background()
		first := x.submit("sess_1", "a")
		if err := first.Leave(ctx); err != nil {
			t.Fatal(err)
		}
		if err := x.desk.EndSession(ctx, "sess_1"); err != nil {
			t.Fatal(err)
		}
		if got := x.book.status(first.ID()); got != guard.Pending {
			t.Fatalf("got %s: it did not survive its session", got)
		}
		x.decide(first, true)
		second := x.submit("sess_2", "a")
		if second.ID() != first.ID() {
			t.Error("the retry did not join")
		}
		x.want(second, guard.Approved, false)
		if err := second.Leave(ctx); !errors.Is(err, ErrLost) {
			t.Errorf("leaving what is decided: %v", err)
		}
	})
}

func TestSessionEndCancelsPendingApprovals(t *testing.T) {
	inBubble(t, func(x *fixture) {
		held, approved, other := x.submit("sess_1", "a"), x.submit("sess_1", "b"), x.submit("sess_2", "c")
		x.decide(approved, true)
		if err := x.desk.EndSession(context.Background(), "sess_1"); err != nil {
			t.Fatal(err)
		}
		x.want(held, guard.Cancelled, false)
		if got := x.book.status(approved.ID()); got != guard.Approved {
			t.Errorf("what was approved is %s", got)
		}
		if approved.Claim() == nil {
			t.Error("a call of an ended session could execute")
		}
		x.waits(other)
	})
}

func TestCancelKeepsALaterCall(t *testing.T) {
	inBubble(t, func(x *fixture) {
		ctx := context.Background()
		first := x.submit("sess_1", "a")
		second := x.submit("sess_1", "a")
		if err := first.Cancel(ctx, "cancelled"); err != nil {
			t.Fatal(err)
		}
		x.waits(second)
		if err := second.Cancel(ctx, "cancelled"); err != nil {
			t.Fatal(err)
		}
		x.want(second, guard.Cancelled, false)
	})
}

func TestStaleRoundsAreLimited(t *testing.T) {
	inBubble(t, func(x *fixture) {
		ctx := context.Background()
		at := x.submit("sess_1", "0")
		for round := 1; ; round++ {
			x.decide(at, true)
			if err := at.Claim(); err != nil {
				t.Fatal(err)
			}
			old := at.ID()
			next, err := at.Replace(ctx, x.template("sess_1", string(rune('0'+round))))
			if got := x.book.status(old); got != guard.Stale {
				t.Fatalf("round %d: the old approval is %s", round, got)
			}
			if errors.Is(err, ErrStaleRounds) {
				if round != guard.MaxStaleRounds {
					t.Errorf("the answer was no after %d rounds", round)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if a := next.Approval(); a.Round != round || a.Replaces != old {
				t.Fatalf("round %d replaces %s", a.Round, a.Replaces)
			}
			x.waits(next)
			at = next
		}
	})
}

func TestReplaceJoinsAnotherCall(t *testing.T) {
	inBubble(t, func(x *fixture) {
		stale, same := x.submit("sess_1", "a"), x.submit("sess_2", "b")
		x.decide(stale, true)
		if err := stale.Claim(); err != nil {
			t.Fatal(err)
		}
		next, err := stale.Replace(context.Background(), x.template("sess_1", "b"))
		if err != nil {
			t.Fatal(err)
		}
		if next.ID() != same.ID() || x.book.status(stale.ID()) != guard.Stale {
			t.Errorf("got %s, the old one is %s", next.ID(), x.book.status(stale.ID()))
		}
		x.want(same, guard.Pending, true)
	})
}

func TestRestartKeepsOpenApprovals(t *testing.T) {
	inBubble(t, func(x *fixture) {
		ctx := context.Background()
		pending, approved := x.submit("sess_1", "a"), x.submit("sess_1", "b")
		if err := pending.Leave(ctx); err != nil {
			t.Fatal(err)
		}
		x.decide(approved, true)
		x.desk.Stop()
		time.Sleep(time.Minute)
		x.start()
		retry := x.submit("sess_2", "b")
		x.want(retry, guard.Approved, false)
		time.Sleep(time.Minute + nap)
		if got := x.book.status(approved.ID()); got != guard.Lapsed {
			t.Errorf("after the restart nobody ended it: %s", got)
		}
		time.Sleep(3 * time.Minute)
		if got := x.book.status(pending.ID()); got != guard.Expired {
			t.Errorf("after the restart nobody ended it: %s", got)
		}
	})
}

func TestFailedSubmitHoldsNothing(t *testing.T) {
	inBubble(t, func(x *fixture) {
		x.book.fail = errors.New("disk full")
		if _, err := x.desk.Submit(context.Background(), x.template("sess_1", "a")); err == nil {
			t.Fatal("a call is held that nobody will see")
		}
		if len(x.desk.open) != 0 {
			t.Errorf("%d entries are left", len(x.desk.open))
		}
	})
}
