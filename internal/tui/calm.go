package tui

import (
	"runtime/debug"
	"time"

	tea "charm.land/bubbletea/v2"
)

// frameRate is how often a second the library looks for a changed frame. It does
// so for ever: a lower rate lets a key wait longer for its frame, a higher one is
// most of what an idle console costs.
const frameRate = 40

const (
	// calmAfter is how long nothing must have happened but the passing of time.
	calmAfter = 500 * time.Millisecond
	// freeEvery is how often a calm console gives memory back at most: what was
	// read of a long change or a long queue is a multiple of what is kept.
	freeEvery = 30 * time.Second
)

// calm gives memory back once nothing happens any more. The zero calm is ready.
type calm struct {
	last  time.Time // something happened
	freed time.Time // memory was given back; not before last, when there is nothing to give
}

// happened follows one message.
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
