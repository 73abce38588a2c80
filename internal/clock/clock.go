// Package clock reads the time on both clocks that deadlines are checked
// against: the wall clock, which survives a restart of the machine but can be
// set, and the time since boot, which cannot be set but ends with the boot.
//
// It will not make timers, and it will not smooth over clocks that disagree:
// guard.Deadline takes the earlier one.
package clock

import (
	"sync"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// Clock tells the time. Implementations are safe for concurrent use.
type Clock interface {
	Now() guard.Now
}

// system is the machine's clock. The boot id is read once: it cannot change
// while a process lives.
type system struct{ bootID string }

// System returns the machine's clock. Where the machine does not tell its boot
// id, BootID is empty and deadlines rest on the wall clock alone.
func System() Clock { return system{bootID: bootID()} }

// Now implements Clock. The wall time carries no monotonic reading, so that a
// clock that was set back or forward shows in comparisons, and is in UTC.
func (s system) Now() guard.Now {
	n := guard.Now{Wall: time.Now().Round(0).UTC(), BootID: s.bootID}
	boot, ok := sinceBoot()
	if !ok {
		n.BootID = "" // without a reading the two clocks must not be compared
		return n
	}
	n.Boot = boot
	return n
}

// Fake is a clock that stands still until it is told to move, for tests. The
// zero value stands at the zero time without a boot id.
type Fake struct {
	mu  sync.Mutex
	now guard.Now
}

// NewFake returns a Fake at the given wall time, one hour after a boot with
// the id "boot".
func NewFake(wall time.Time) *Fake {
	return &Fake{now: guard.Now{Wall: wall, Boot: time.Hour, BootID: "boot"}}
}

// Now implements Clock.
func (f *Fake) Now() guard.Now {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Set moves the clock to n, in any direction, on both clocks.
func (f *Fake) Set(n guard.Now) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = n
}

// Advance lets d pass on both clocks and returns the new time.
func (f *Fake) Advance(d time.Duration) guard.Now {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now.Wall = f.now.Wall.Add(d)
	f.now.Boot += d
	return f.now
}
