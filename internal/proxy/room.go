package proxy

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"sync"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// room limits what calls take of the guard's memory, over all sessions: the
// bytes of calls that have not ended, and how many calls of each client wait
// for an approval. Only one long call is worked on at a time. The zero value
// is ready to use.
type room struct {
	mu    sync.Mutex
	bytes int64
	held  map[guard.RunID]int
	long  chan struct{} // holds one while a long call is worked on
}

// longCall is the size, in bytes, from which a call counts as long. Computing
// its change takes many times as much memory.
const longCall = 256 << 10

// take adds the bytes of a call, unless the sum would exceed most.
func (r *room) take(n, most int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes+n > most {
		return false
	}
	r.bytes += n
	return true
}

func (r *room) give(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes -= n
}

// hold counts a call that waits for an approval, unless its client already has
// most of them.
func (r *room) hold(run guard.RunID, most int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held[run] >= most {
		return false
	}
	if r.held == nil {
		r.held = map[guard.RunID]int{}
	}
	r.held[run]++
	return true
}

func (r *room) release(run guard.RunID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held[run]--; r.held[run] <= 0 {
		delete(r.held, run)
	}
}

// slot returns the channel that holds one value while a long call is worked
// on.
func (r *room) slot() chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.long == nil {
		r.long = make(chan struct{}, 1)
	}
	return r.long
}

// Held returns the total size, in bytes, of the calls that have not ended.
func (m *Meter) Held() int64 {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	return m.room.bytes
}

// claimed is the share of a room that one call takes. It belongs to the
// goroutine that follows the call. The zero value is nothing.
type claimed struct {
	of    *room
	bytes int64
	run   guard.RunID   // of a call that waits for an approval, else empty
	long  chan struct{} // set while a long call is worked on
}

// done ends the work on the call.
func (c *claimed) done() {
	if c.long != nil {
		<-c.long
		c.long = nil
	}
}

func (c *call) leaveRoom() {
	c.dropAway()
	c.room.done()
	if c.room.run != "" {
		c.room.of.release(c.room.run)
	}
	if c.room.of != nil {
		c.room.of.give(c.room.bytes)
	}
	c.room = claimed{}
}

// enterRoom counts the bytes of a call until it leaves.
func (s *session) enterRoom(c *call) error {
	r, n, most := &s.cfg.Meter.room, int64(len(c.msg.Raw)), int64(s.cfg.Policy().Config().Quotas.Held)
	if !r.take(n, most) {
		return broken(guard.RuleQuota, fmt.Sprintf("the calls that wait here would take more than %d MiB with this one, which is the most (quotas.held)", most>>20),
			"wait until those before it are decided, or make it smaller")
	}
	c.room.of, c.room.bytes = r, n
	return nil
}

// workOn waits until the call may be worked on: long calls take turns. A call
// that has to wait does not keep its bytes in memory.
func (s *session) workOn(ctx context.Context, c *call) error {
	if c.room.of == nil || c.room.bytes < longCall {
		return nil
	}
	long := c.room.of.slot()
	select {
	case long <- struct{}{}:
	default:
		s.putAway(c)
		select {
		case long <- struct{}{}:
		case <-ctx.Done():
			return gaveUp(context.Cause(ctx))
		}
	}
	c.room.long = long
	return s.takeOut(c)
}

// putAway moves the bytes of a long call into a file without a name. If that
// fails they stay in memory.
func (s *session) putAway(c *call) {
	if c.room.bytes < longCall || c.away != nil || s.cfg.Spill == "" {
		return
	}
	f, err := os.CreateTemp(s.cfg.Spill, "call-*")
	if err == nil {
		err = os.Remove(f.Name()) // no other process reads it, and none is left behind
	}
	if err == nil {
		_, err = f.Write(c.msg.Raw)
	}
	if err != nil {
		s.cfg.Log.Warn("a long call stays in memory while it waits", "call", c.tc.ID, "err", err)
		if f != nil {
			f.Close()
		}
		return
	}
	c.away, c.awaySum = f, digest.Sum(c.msg.Raw)
	c.msg.Raw, c.tc.Args = nil, nil
}

// takeOut reads the bytes back. It refuses bytes that differ from those put
// away.
func (s *session) takeOut(c *call) error {
	if c.away == nil {
		return nil
	}
	defer c.dropAway()
	raw := make([]byte, c.room.bytes)
	if _, err := c.away.ReadAt(raw, 0); err != nil || digest.Sum(raw) != c.awaySum {
		// fail closed: other bytes than those that were admitted
		s.cfg.Log.Error("reading a call that was put away", "call", c.tc.ID, "err", err)
		return broken(guard.RuleStoreFailed, "the guard could not read this call again, so it did not run", "make the call again")
	}
	c.msg.Raw = raw
	return nil
}

func (c *call) dropAway() {
	if c.away != nil {
		c.away.Close()
		c.away = nil
	}
}

// holdOne counts a call that will wait for an approval, until it leaves.
func (s *session) holdOne(c *call) error {
	run, most := c.tc.Session.RunID, s.cfg.Policy().Config().Quotas.HeldCalls
	if c.room.of == nil || c.room.run != "" {
		return nil // already counted
	}
	if !c.room.of.hold(run, most) {
		return broken(guard.RuleQuota, fmt.Sprintf("%d calls of this client wait for an approval, which is the most (quotas.held_calls)", most),
			"wait until those before it are decided")
	}
	c.room.run = run
	return nil
}

// effectSize is about what an effect takes while a change is computed, in bytes.
const effectSize = 1 << 10

// lighten drops what can be decoded again from the call's bytes while it
// waits. The store has what the reviewer reads.
func (s *session) lighten(c *call, b *prepared) {
	s.putAway(c)
	c.resting = true
	c.tc.Args, c.tc.ArgsCanonical, c.vars = nil, nil, nil
	large := b.preview != nil && len(b.preview.Change.Text)+effectSize*len(b.preview.Effects) >= longCall
	b.preview = nil
	if large || c.room.bytes >= longCall {
		debug.FreeOSMemory() // computing the change took many times its size
	}
}

// wake decodes again what lighten dropped.
func (c *call) wake() error {
	if !c.resting {
		return nil
	}
	c.resting = false
	c.tc.Args = []byte("{}")
	if at, ok := c.msg.Param("arguments"); ok {
		c.tc.Args = at.Of(c.msg.Raw)
	}
	return c.readArgs()
}
