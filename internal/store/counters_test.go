package store

import (
	"runtime"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// TestCountDoesNotDeadlockWithTheEndOfARun: the first count of a tool waits
// for the writer. The writer, closing the last session of another run at the
// same time, must not wait for that count.
func TestCountDoesNotDeadlockWithTheEndOfARun(t *testing.T) {
	o := options(t)
	o.WriteTimeout = 5 * time.Second // how long they would wait for each other
	armed, stalled, goOn := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	o.Hook = func(p Point) error {
		if p != PointAfterCommit {
			return nil
		}
		select {
		case <-armed:
			close(stalled)
			<-goOn
		default:
		}
		return nil
	}
	s := open(t, o)
	session := guard.Session{ID: guard.NewSessionID(), RunID: guard.NewRunID(), Tenant: "t", Server: "files"}
	if err := s.OpenSession(ctx, session); err != nil {
		t.Fatal(err)
	}
	armed <- struct{}{}
	closed := make(chan error, 1)
	go func() { closed <- s.CloseSession(ctx, session.ID, time.Time{}) }() // ends when it is on record
	<-stalled
	counted := make(chan int, 1)
	go func() { counted <- s.CallsInRun("t", guard.NewRunID(), "files", "write") }() // ends when the writer has brought the file up to date
	for s.queue.len() == 0 {
		runtime.Gosched()
	}
	close(goOn)
	if n := <-counted; n != 0 {
		t.Errorf("a run that has called nothing has made %d calls", n)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// TestCountReadBeforeForgetIsNotUsed: a count that was read before its run was
// forgotten may be out of date.
func TestCountReadBeforeForgetIsNotUsed(t *testing.T) {
	var c counters
	k := counterKey{tenant: "t", run: "run_1", server: "s", tool: "w"}
	reads := 0
	c.known = map[counterKey]int{}
	c.read = func(counterKey) int {
		reads++
		if reads == 1 {
			c.forget(k.run) // a session of the run ended with two calls on record
			return 0
		}
		return 2
	}
	if n := c.count(k); n != 2 {
		t.Errorf("%d calls are known, want 2", n)
	}
	if !c.reserve(k, 3) || c.reserve(k, 3) {
		t.Error("the limit of three calls does not hold")
	}
	c.release(k)
	if n := c.count(k); n != 2 || reads != 2 {
		t.Errorf("%d calls are known after %d reads", n, reads)
	}
}
