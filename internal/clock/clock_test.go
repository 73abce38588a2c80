package clock

import (
	"sync"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
)

func TestSystemReadsBothClocks(t *testing.T) {
	c := System()
	a := c.Now()
	if a.BootID == "" || a.Boot <= 0 {
		t.Fatalf("no time since boot: %+v", a)
	}
	if d := time.Since(a.Wall); d < 0 || d > time.Minute {
		t.Errorf("the wall clock is off by %v", d)
	}
	// A monotonic reading would hide that someone set the wall clock.
	if a.Wall != a.Wall.Round(0) {
		t.Error("the wall time carries a monotonic reading")
	}
	b := c.Now()
	if b.Boot < a.Boot || b.BootID != a.BootID {
		t.Errorf("went from %+v to %+v", a, b)
	}
	if System().Now().BootID != a.BootID {
		t.Error("two system clocks disagree on the boot")
	}
}

func TestFakeMovesBothClocks(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f := NewFake(start)
	d := f.Now().After(time.Minute)
	if d.Passed(f.Now()) {
		t.Error("passed at once")
	}
	if d.Passed(f.Advance(59 * time.Second)) {
		t.Error("passed too early")
	}
	if !d.Passed(f.Advance(time.Second)) {
		t.Error("not passed in time")
	}
	f.Set(guard.Now{Wall: start.Add(-time.Hour), Boot: 3 * time.Hour, BootID: "boot"})
	if !d.Passed(f.Now()) {
		t.Error("setting the wall clock back revived a deadline")
	}
}

func TestFakeIsSafeForConcurrentUse(t *testing.T) {
	var f Fake
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				f.Advance(time.Second)
				f.Now()
			}
		})
	}
	wg.Wait()
	if got := f.Now().Boot; got != 800*time.Second {
		t.Errorf("advanced by %v", got)
	}
}
