package daemon

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/mcpguard/mcpguard/internal/store"
)

// The daemon runs all day and works in short bursts. With few pending
// approvals its heap is a few megabytes and may grow to three times that,
// because collecting more often would cost a third of a read. With many
// pending approvals memory matters more. Source: bench/run, reads and pending.
const (
	gcCalm    = 200
	gcCrowded = 35
	crowd     = 64       // open approvals
	weight    = 16 << 20 // bytes of calls that have not ended
	calm      = time.Second
	spare     = 4 << 20 // bytes that may stay unused then
)

// collectToFit sets the garbage collection target from the number of open
// approvals and the size of their calls, until ctx ends.
func (d *daemon) collectToFit(ctx context.Context) {
	w := d.store.Watch()
	defer w.Close()
	crowded := false
	set := func() {
		n, held := d.store.CountOpen(), d.meter.Held()
		switch {
		case !crowded && (n >= crowd || held >= weight):
			crowded = true
			debug.SetGCPercent(gcCrowded)
		case crowded && n < crowd/2 && held < weight/2:
			crowded = false
			debug.SetGCPercent(gcCalm)
		}
	}
	for set(); ; set() {
		c, err := next(ctx, w, crowded)
		for err == nil && c.Kind != store.ChangeApproval && c.Kind != store.ChangeResync {
			c, err = next(ctx, w, crowded)
		}
		if err != nil {
			return
		}
	}
}

// next returns the next change. With many pending approvals, memory left over
// from a burst of calls or readers is returned to the system after it.
func next(ctx context.Context, w *store.Watcher, crowded bool) (store.Change, error) {
	for first := true; crowded; first = false {
		moment, cancel := context.WithTimeout(ctx, calm)
		c, err := w.Next(moment)
		cancel()
		if err == nil || moment.Err() == nil || ctx.Err() != nil {
			return c, err
		}
		if first {
			debug.FreeOSMemory() // each collection halves the stacks of those that wait
			runtime.GC()
		}
		if first || unused() > spare {
			debug.FreeOSMemory()
		}
	}
	return w.Next(ctx)
}

// unused returns how much memory the program has from the system without using
// it, in bytes.
func unused() uint64 {
	list := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}}
	metrics.Read(list)
	n := uint64(0)
	for _, m := range list {
		if m.Value.Kind() == metrics.KindUint64 {
			n += m.Value.Uint64()
		}
	}
	return n
}
