package daemon

import (
	"context"
	"runtime/debug"

	"github.com/mcpguard/mcpguard/internal/store"
)

// The daemon is there all day and works in short bursts. While little waits,
// its heap is a few megabytes and may well be three times that; what collecting
// it more often costs is a third of a read. Where much waits, memory counts for
// more. Source: bench/run, reads and pending.
const (
	gcCalm    = 200
	gcCrowded = 35
	crowd     = 128 // open approvals
)

// collectToFit sets how much garbage there may be by how many approvals are
// open, until ctx ends.
func (d *daemon) collectToFit(ctx context.Context) {
	w := d.store.Watch()
	defer w.Close()
	crowded := false
	set := func() {
		n := d.store.CountOpen()
		switch {
		case !crowded && n >= crowd:
			crowded = true
			debug.SetGCPercent(gcCrowded)
		case crowded && n < crowd/2:
			crowded = false
			debug.SetGCPercent(gcCalm)
		}
	}
	for set(); ; set() {
		c, err := w.Next(ctx)
		for err == nil && c.Kind != store.ChangeApproval && c.Kind != store.ChangeResync {
			c, err = w.Next(ctx)
		}
		if err != nil {
			return
		}
	}
}
