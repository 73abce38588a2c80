package approval

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
	"pgregory.net/rapid"
)

// TestPromise3_OneApprovalOneExecution runs random calls, decisions, cancels,
// restarts and waits. An approval must begin at most once and only while it is
// approved, at most one of its calls may be live, no call may wait for an
// approval that has ended, and none may outlive its deadline.
func TestPromise3_OneApprovalOneExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Hide Deadline: a bubble has none.
		rapid.Check(struct{ testing.TB }{t}, func(r *rapid.T) { model(t, r) })
	})
}

func model(t *testing.T, r *rapid.T) {
	x := &fixture{T: t, clock: &bubbleClock{}}
	x.book = newBook(x.clock)
	x.start()
	defer func() { x.desk.Stop() }()
	ctx := context.Background()
	var tickets []*Waiter
	sessions := rapid.SampledFrom([]guard.SessionID{"sess_1", "sess_2"})
	digests := rapid.SampledFrom([]string{"a", "b", "c"})
	pick := func(r *rapid.T) *Waiter {
		if len(tickets) == 0 {
			r.Skip("no call yet")
		}
		return tickets[rapid.IntRange(0, len(tickets)-1).Draw(r, "call")]
	}
	r.Repeat(map[string]func(*rapid.T){
		"submit": func(r *rapid.T) {
			tickets = append(tickets, x.submit(sessions.Draw(r, "session"), digests.Draw(r, "digest")))
		},
		"decide": func(r *rapid.T) {
			at := pick(r)
			a, _ := x.book.Approval(at.ID())
			_, err := x.desk.Decide(ctx, at.ID(), guard.Signoff{Approve: rapid.Bool().Draw(r, "yes"), Digest: a.Digest})
			if (err == nil) != (a.Status == guard.Pending) {
				r.Fatalf("deciding what is %s: %v", a.Status, err)
			}
		},
		"execute": func(r *rapid.T) {
			at := pick(r)
			before := x.book.status(at.ID())
			if at.Claim() != nil {
				return
			}
			if before != guard.Approved {
				r.Fatalf("claimed what is %s", before)
			}
			switch rapid.IntRange(0, 3).Draw(r, "how") {
			case 0:
				at.Unclaim()
			case 1:
				if err := at.End(ctx, guard.Stale, "changed"); err != nil {
					r.Fatal(err)
				}
			case 2:
				next, err := at.Replace(ctx, x.template(at.session, digests.Draw(r, "digest")))
				if err == nil {
					tickets = append(tickets, next)
				}
			default:
				if err := x.book.begin(at.ID(), at.call); err != nil {
					r.Fatalf("the live call of %s could not begin: %v", at.ID(), err)
				}
				at.Begun()
			}
		},
		"cancel": func(r *rapid.T) { _ = pick(r).Cancel(ctx, "cancelled") },
		"leave": func(r *rapid.T) {
			at := pick(r)
			if at.Leave(ctx) == nil { // it has its answer and waits no longer
				tickets = slices.DeleteFunc(tickets, func(o *Waiter) bool { return o == at })
			}
		},
		"session": func(r *rapid.T) { _ = x.desk.EndSession(ctx, sessions.Draw(r, "session")) },
		"wait": func(r *rapid.T) {
			time.Sleep(time.Duration(rapid.IntRange(1, 200).Draw(r, "seconds")) * time.Second)
		},
		"restart": func(*rapid.T) {
			x.desk.Stop()
			tickets = nil // their calls are gone with the process
			x.start()
		},
		"": func(r *rapid.T) { invariants(r, x, tickets) },
	})
}

func invariants(r *rapid.T, x *fixture, tickets []*Waiter) {
	synctest.Wait()
	x.desk.mu.Lock()
	held := map[guard.ApprovalID]*Waiter{}
	for id, e := range x.desk.open {
		held[id] = e.live
	}
	x.desk.mu.Unlock()
	live := map[guard.ApprovalID]int{}
	for _, at := range tickets {
		status := x.book.status(at.ID())
		select {
		case <-at.Lost():
		default:
			if held[at.ID()] == at {
				live[at.ID()]++
				if !status.Open() {
					r.Fatalf("a call still waits for %s, which is %s", at.ID(), status)
				}
			}
		}
		select {
		case <-at.Decided():
		default:
			if status != guard.Pending {
				r.Fatalf("nobody told a call that %s is %s", at.ID(), status)
			}
		}
	}
	now := x.clock.Now()
	x.book.mu.Lock()
	defer x.book.mu.Unlock()
	for id, a := range x.book.all {
		if live[id] > 1 {
			r.Fatalf("%d live calls of %s", live[id], id)
		}
		if x.book.begun[id] > 1 {
			r.Fatalf("%s began %d times", id, x.book.begun[id])
		}
		if to, _ := overdue(a, now); to != "" {
			r.Fatalf("%s should be %s", id, to)
		}
		if _, known := held[id]; known != a.Status.Open() {
			r.Fatalf("%s is %s; the desk knows it: %v", id, a.Status, known)
		}
	}
}
