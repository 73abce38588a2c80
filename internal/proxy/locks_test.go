package proxy

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/mcpguard/mcpguard/internal/guard"
	"pgregory.net/rapid"
)

func file(path string) guard.Target {
	return guard.Target{Kind: "file", Key: path, Path: path, Write: true}
}

func TestPathsAboveAndBelowConflict(t *testing.T) {
	for _, c := range []struct {
		a, b guard.Target
		want bool
	}{
		{file("/w/a"), file("/w/a"), true},
		{file("/w/a"), file("/w/b"), false},
		{file("/w/a"), file("/w/a/b"), true},
		{file("/w/a/b"), file("/w/a"), true},
		{file("/w/a"), file("/w/ab"), false},
		{file("/w/a"), guard.Target{Kind: "dir", Key: "/w/a", Write: true}, true},
		{guard.Target{Kind: "opaque", Key: "crm", Write: true}, guard.Target{Kind: "opaque", Key: "crm", Write: true}, true},
		{guard.Target{Kind: "opaque", Key: "crm", Write: true}, guard.Target{Kind: "opaque", Key: "mail", Write: true}, false},
	} {
		a, b := &claim{keys: lockKeys("s", []guard.Target{c.a})}, &claim{keys: lockKeys("s", []guard.Target{c.b})}
		if got := a.conflicts(b); got != c.want {
			t.Errorf("%s and %s: got %v, want %v", c.a.Key, c.b.Key, got, c.want)
		}
	}
}

func TestLocksWithoutAWriteTargetHoldTheServer(t *testing.T) {
	read := guard.Target{Kind: "file", Key: "/w/a"}
	if got := lockKeys("files", []guard.Target{read}); len(got) != 1 || got[0] != "opaque:files" {
		t.Errorf("got %v", got)
	}
}

func TestLocksAreGrantedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Locks
		ctx := context.Background()
		first, err := l.Acquire(ctx, "call_1", "s", []guard.Target{file("/w/a")})
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan string, 3)
		held := make(chan *Lock, 3)
		acquire := func(name string, targets ...guard.Target) {
			go func() {
				h, err := l.Acquire(ctx, guard.CallID(name), "s", targets)
				if err != nil {
					t.Error(err)
				}
				got <- name
				held <- h
			}()
			synctest.Wait()
		}
		acquire("both", file("/w/a"), file("/w/b"))
		acquire("b", file("/w/b")) // must not overtake the earlier one
		acquire("c", file("/w/c"))
		if n := <-got; n != "c" || len(got) != 0 {
			t.Fatalf("%s was granted", n)
		}
		first.Release()
		synctest.Wait()
		if n := <-got; n != "both" || len(got) != 0 {
			t.Fatalf("%s was granted", n)
		}
		(<-held).Release() // c
		(<-held).Release() // both
		synctest.Wait()
		if n := <-got; n != "b" {
			t.Fatalf("%s was granted", n)
		}
		(<-held).Release()
		if len(l.claims) != 0 {
			t.Errorf("%d claims are left", len(l.claims))
		}
	})
}

func TestUnknownOutcomeFailsWaitingLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Locks
		ctx := context.Background()
		first, _ := l.Acquire(ctx, "call_1", "s", []guard.Target{file("/w/a")})
		waiting := make(chan error, 1)
		go func() {
			_, err := l.Acquire(ctx, "call_2", "s", []guard.Target{file("/w/a")})
			waiting <- err
		}()
		synctest.Wait()
		first.Keep()
		if err := <-waiting; !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("the waiting call got %v", err)
		}
		if _, err := l.Acquire(ctx, "call_3", "s", []guard.Target{file("/w/a/x")}); !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("a later call got %v", err)
		}
		first.Release()
		if h, err := l.Acquire(ctx, "call_4", "s", []guard.Target{file("/w/a")}); err != nil {
			t.Errorf("after the reconciliation: %v", err)
		} else {
			h.Release()
		}
	})
}

func TestLocksGiveUpWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Locks
		first, _ := l.Acquire(context.Background(), "call_1", "s", []guard.Target{file("/w/a")})
		ctx, cancel := context.WithCancel(context.Background())
		waiting := make(chan error, 1)
		go func() {
			_, err := l.Acquire(ctx, "call_2", "s", []guard.Target{file("/w/a")})
			waiting <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		first.Release()
		if len(l.claims) != 0 {
			t.Errorf("%d claims are left", len(l.claims))
		}
	})
}

// TestLocksModel: whatever is acquired and released in whatever order, no two
// granted claims conflict, and every claim that can be granted is.
func TestLocksModel(t *testing.T) {
	paths := []string{"/w", "/w/a", "/w/b", "/w/a/x", "/v"}
	rapid.Check(t, func(t *rapid.T) {
		var l Locks
		var claims []*claim
		t.Repeat(map[string]func(*rapid.T){
			"acquire": func(t *rapid.T) {
				var targets []guard.Target
				for _, p := range rapid.SliceOfNDistinct(rapid.SampledFrom(paths), 1, 2, rapid.ID).Draw(t, "paths") {
					targets = append(targets, file(p))
				}
				c := &claim{keys: lockKeys("s", targets), ready: make(chan struct{})}
				l.mu.Lock()
				l.claims = append(l.claims, c)
				l.grant()
				l.mu.Unlock()
				claims = append(claims, c)
			},
			"release": func(t *rapid.T) {
				if len(claims) == 0 {
					t.Skip("nothing is held")
				}
				i := rapid.IntRange(0, len(claims)-1).Draw(t, "i")
				l.remove(claims[i])
				claims = append(claims[:i], claims[i+1:]...)
			},
			"": func(t *rapid.T) {
				for i, c := range claims {
					blocked := false
					for _, o := range claims[:i] {
						blocked = blocked || c.conflicts(o)
						if c.conflicts(o) && c.granted && o.granted {
							t.Fatalf("%v and %v are both granted", c.keys, o.keys)
						}
					}
					if c.granted == blocked {
						t.Fatalf("%v: granted %v, blocked %v", c.keys, c.granted, blocked)
					}
				}
			},
		})
	})
}
