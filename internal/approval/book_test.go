package approval

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/store"
)

// bubbleClock reads the time of a synctest bubble; skew is how far someone has
// set the wall clock.
type bubbleClock struct {
	mu   sync.Mutex
	skew time.Duration
}

func (c *bubbleClock) Now() guard.Now {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	return guard.Now{Wall: now.Add(c.skew), Boot: time.Duration(now.UnixNano()), BootID: "boot"}
}

func (c *bubbleClock) set(skew time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew = skew
}

// book is an in-memory store of approvals with the rules of the real one.
type book struct {
	mu       sync.Mutex
	clock    Clock
	all      map[guard.ApprovalID]guard.Approval
	released map[guard.ApprovalID]bool
	begun    map[guard.ApprovalID]int
	fail     error // returned by every write
}

func newBook(c Clock) *book {
	return &book{clock: c, all: map[guard.ApprovalID]guard.Approval{}, released: map[guard.ApprovalID]bool{}, begun: map[guard.ApprovalID]int{}}
}

func (b *book) put(a guard.Approval) guard.Approval {
	a.Version++
	b.all[a.ID] = a
	return a
}

func (b *book) find(tenant string, run guard.RunID, server, tool string, d digest.Digest) (guard.Approval, bool) {
	for _, a := range b.all {
		if a.Status.Open() && a.Tenant == tenant && a.RunID == run && a.Server == server && a.Tool == tool && a.Digest == d {
			return a, true
		}
	}
	return guard.Approval{}, false
}

func (b *book) Submit(_ context.Context, a guard.Approval, _ ...audit.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	if o, ok := b.find(a.Tenant, a.RunID, a.Server, a.Tool, a.Digest); ok {
		return &store.DuplicateError{ID: o.ID}
	}
	b.put(a)
	return nil
}

func (b *book) FindOpen(tenant string, run guard.RunID, server, tool string, d digest.Digest) (guard.Approval, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.find(tenant, run, server, tool, d)
	return a, ok, nil
}

// change applies f to an approval whose status is one of the given ones.
func (b *book) change(id guard.ApprovalID, f func(*guard.Approval) error) (guard.Approval, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.all[id]
	switch {
	case !ok:
		return a, store.ErrNotFound
	case b.fail != nil:
		return a, b.fail
	}
	if err := f(&a); err != nil {
		return a, err
	}
	return b.put(a), nil
}

func (b *book) Join(_ context.Context, id guard.ApprovalID, session guard.SessionID, call guard.CallID) (guard.Approval, error) {
	return b.change(id, func(a *guard.Approval) error {
		if !a.Status.Open() {
			return &store.StateError{ID: id, Status: a.Status}
		}
		a.SessionID, a.CallID = session, call
		b.released[id] = false
		return nil
	})
}

func (b *book) Release(_ context.Context, id guard.ApprovalID, call guard.CallID) error {
	_, err := b.change(id, func(a *guard.Approval) error {
		if a.CallID == call && a.Status.Open() {
			b.released[id] = true
		}
		return nil
	})
	return err
}

func (b *book) Decide(_ context.Context, id guard.ApprovalID, s guard.Signoff) (guard.Approval, error) {
	return b.change(id, func(a *guard.Approval) error {
		now := b.clock.Now()
		switch {
		case a.Status != guard.Pending || a.Expires.Passed(now):
			return &store.StateError{ID: id, Status: a.Status}
		case s.Digest != a.Digest:
			return store.ErrDigest
		}
		a.Signoffs = append(a.Signoffs, s)
		a.Status = guard.Denied
		if s.Approve {
			a.Status, a.UseBy = guard.Approved, now.After(a.Box.UseWithin)
		}
		return nil
	})
}

func (b *book) End(_ context.Context, id guard.ApprovalID, to guard.Status, why string) (guard.Approval, error) {
	return b.change(id, func(a *guard.Approval) error {
		if err := guard.CheckTransition(a.Status, to); err != nil {
			return &store.StateError{ID: id, Status: a.Status}
		}
		a.Status, a.Why = to, why
		return nil
	})
}

func (b *book) Replace(_ context.Context, old guard.ApprovalID, fresh guard.Approval) (guard.Approval, error) {
	if _, err := b.change(old, func(a *guard.Approval) error {
		if err := guard.CheckTransition(a.Status, guard.Stale); err != nil {
			return &store.StateError{ID: old, Status: a.Status}
		}
		a.Status, a.ReplacedBy = guard.Stale, fresh.ID
		return nil
	}); err != nil {
		return fresh, err
	}
	return fresh, b.Submit(context.Background(), fresh)
}

func (b *book) Approval(id guard.ApprovalID) (guard.Approval, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.all[id]
	if !ok {
		return a, store.ErrNotFound
	}
	return a, nil
}

func (b *book) Approvals(f store.Filter) ([]guard.Approval, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []guard.Approval
	for _, a := range b.all {
		for _, s := range f.Status {
			if a.Status == s {
				out = append(out, a)
			}
		}
	}
	return out, nil
}

// begin does what a call does between Claim and Begun.
func (b *book) begin(id guard.ApprovalID, call guard.CallID) error {
	_, err := b.change(id, func(a *guard.Approval) error {
		switch {
		case a.Status != guard.Approved || a.UseBy.Passed(b.clock.Now()):
			return &store.StateError{ID: id, Status: a.Status}
		case a.CallID != call:
			return store.ErrSuperseded
		}
		a.Status = guard.Executing
		b.begun[id]++
		return nil
	})
	return err
}

func (b *book) status(id guard.ApprovalID) guard.Status {
	a, err := b.Approval(id)
	if err != nil {
		return guard.Status(fmt.Sprint(err))
	}
	return a.Status
}
