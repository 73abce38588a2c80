package tui

import (
	"runtime/debug"
	"time"

	tea "charm.land/bubbletea/v2"
)

// frameRate is how many times a second the library checks for a changed frame.
// It never stops checking: at a lower rate a key waits longer for its frame; a
// higher rate dominates the cost of an idle console.
const frameRate = 40

const (
	// calmAfter is how long nothing but timer ticks must have happened.
	calmAfter = 500 * time.Millisecond
	// freeEvery is the minimum time between two releases of memory by a calm
	// console: reading a long change or queue takes several times the memory
	// that is kept.
	freeEvery = 30 * time.Second
)

// calm releases memory once nothing happens any more. The zero value is ready
// to use.
type calm struct {
	last  time.Time // the last event
	freed time.Time // the last release; if it is not before last, there is nothing to release
}

// happened records one message.
func (c *calm) happened(msg tea.Msg) {
	now := time.Now()
	if _, passing := msg.(tickMsg); !passing {
		c.last = now
		return
	}
	if c.freed.Before(c.last) && now.Sub(c.last) > calmAfter && now.Sub(c.freed) > freeEvery {
		c.freed = now
		go debug.FreeOSMemory() // ends by itself, in milliseconds
	}
}
