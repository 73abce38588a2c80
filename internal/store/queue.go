package store

import (
	"sync"
	"sync/atomic"
)

// op is an operation that waits for the writer.
type op struct {
	run  func(*batch) error
	soon bool // relaxed: no caller waits for it; it is kept until it is durable
	// recover asks to read the state again, flush to commit the database; run
	// is nil for both.
	recover, flush bool
	done           chan struct{} // closed once err is set
	err            error
	state          atomic.Int32
}

// The states of an op, so that a caller can cancel an op that has not started.
const (
	opQueued int32 = iota
	opTaken
	opAbandoned
)

// queue holds the operations for the writer. Their order is the order of the
// log.
type queue struct {
	mu     sync.Mutex
	room   sync.Cond // signalled after relaxed operations were taken
	ops    []*op
	soon   int  // relaxed ones among ops
	urgent bool // a durable one is among ops
	closed bool
	wake   chan struct{}
}

func newQueue() *queue {
	q := &queue{wake: make(chan struct{}, 1)}
	q.room.L = &q.mu
	return q
}

// push adds an operation. A relaxed one blocks while the queue is full.
func (q *queue) push(o *op) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for o.soon && q.soon >= maxSoon && !q.closed {
		q.room.Wait()
	}
	if q.closed {
		return ErrShut
	}
	q.ops = append(q.ops, o)
	if o.soon {
		q.soon++
	} else {
		q.urgent = true
	}
	if !o.soon || q.soon == 1 || q.soon >= maxSoon/2 {
		q.poke()
	}
	return nil
}

// back puts relaxed operations back at the front.
func (q *queue) back(ops []*op) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ops = append(append([]*op(nil), ops...), q.ops...)
	q.soon += len(ops)
}

func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns the next operations if a durable one is queued or force is set.
func (q *queue) take(force bool) (ops []*op, waiting, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.urgent && !force && q.soon < maxSoon/2 && !q.closed {
		return nil, len(q.ops) > 0, q.closed
	}
	n := min(len(q.ops), maxBatch)
	for _, o := range q.ops[:n] {
		if o.soon {
			q.soon--
		}
		if o.state.CompareAndSwap(opQueued, opTaken) {
			ops = append(ops, o)
		}
	}
	q.ops = append([]*op(nil), q.ops[n:]...)
	q.urgent = false
	for _, o := range q.ops {
		q.urgent = q.urgent || !o.soon
	}
	q.room.Broadcast()
	return ops, len(q.ops) > 0, q.closed
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.room.Broadcast()
	q.poke()
}

// durable reports whether a durable operation is queued.
func (q *queue) durable() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.urgent
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ops)
}
