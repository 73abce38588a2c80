package store

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	maxBatch  = 256                    // operations in one transaction
	maxSoon   = 4096                   // relaxed operations that may wait before callers do
	soonDelay = 20 * time.Millisecond  // how long a relaxed operation waits for company
	retry     = 250 * time.Millisecond // between attempts to read the state again
)

// op is one operation that waits for the writer.
type op struct {
	run  func(*batch) error
	soon bool // nobody waits for it; it is kept until it is durable
	// recover asks for the state to be read again; run is nil.
	recover bool
	done    chan struct{} // closed once err is set
	err     error
	state   atomic.Int32
}

// The states of an op, so that a caller who gives up in time leaves no trace.
const (
	opQueued int32 = iota
	opTaken
	opAbandoned
)

// queue is what waits for the writer. Its order is the order of the log.
type queue struct {
	mu     sync.Mutex
	room   sync.Cond // signalled when relaxed operations were taken
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

// push adds an operation. A relaxed one waits for room.
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

// back puts relaxed operations in front again.
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

// take returns the next operations, if something is urgent or all is asked for.
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

// durable reports whether somebody waits for an operation.
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

// do runs an operation durably. It does not follow a caller's context: what a
// caller asked to be kept is kept, also when the caller has gone.
func (s *Store) do(what string, run func(*batch) error) error {
	o := &op{run: run, done: make(chan struct{})}
	return s.wait(what, o)
}

func (s *Store) wait(what string, o *op) error {
	if err := s.queue.push(o); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	late := time.NewTimer(s.writeTimeout)
	defer late.Stop()
	select {
	case <-o.done:
	case <-late.C:
		if o.state.CompareAndSwap(opQueued, opAbandoned) {
			return fmt.Errorf("%s: not written within %v: %w", what, s.writeTimeout, ErrNotRecorded)
		}
		return fmt.Errorf("%s: not written within %v: %w", what, s.writeTimeout, ErrIndeterminate)
	}
	if o.err != nil {
		return fmt.Errorf("%s: %w", what, o.err)
	}
	return nil
}

// ask runs an operation durably and returns its answer. An operation that is
// refused, but had something to write all the same (an approval that turned out
// to be overdue), returns late.
func ask[T any](s *Store, what string, fn func(*batch) (v T, late, err error)) (T, error) {
	var zero, v T
	var late error
	err := s.do(what, func(b *batch) (err error) {
		v, late, err = fn(b)
		return err
	})
	switch {
	case err != nil:
		return zero, err // v may still be written to by an operation that was given up
	case late != nil:
		return zero, fmt.Errorf("%s: %w", what, late)
	}
	return v, nil
}

// soon queues an operation that becomes durable within 50 ms. It blocks while
// too many wait, and drops nothing.
func (s *Store) soon(run func(*batch) error) error {
	return s.queue.push(&op{run: run, soon: true, done: make(chan struct{})})
}

// Recover reads the state again from disk after a failed write. The store tries
// by itself several times a second; this is for callers that want to know.
func (s *Store) Recover(context.Context) error {
	return s.wait("reading the state again", &op{recover: true, done: make(chan struct{})})
}

// Indeterminate reports whether a write failed and the state has not been read
// again yet. Until then nothing may execute.
func (s *Store) Indeterminate() bool { return s.indeterminate.Load() }

// write is the goroutine that commits, the only one that writes. It ends when
// the queue is closed and empty.
func (s *Store) write() {
	defer close(s.written)
	force := false // take what is relaxed, too
	for {
		ops, waiting, closed := s.queue.take(force)
		if len(ops) > 0 {
			s.commit(ops)
		}
		lost := s.indeterminate.Load()
		switch {
		case closed && !waiting && (len(ops) == 0 || !lost):
			return
		case closed && lost && !s.queue.durable():
			if _, err := s.reload(); err != nil {
				s.log.Error("closing although the state is not known; relaxed records are lost", "records", s.queue.len(), "error", err)
				return
			}
			continue
		case len(ops) > 0 && !lost:
			force = force && waiting
			runtime.Gosched() // let those who were answered queue their next
			continue
		}
		force = s.rest(waiting, lost)
	}
}

// rest waits until there is something to do. It reports whether what is relaxed
// has waited long enough.
func (s *Store) rest(waiting, lost bool) (force bool) {
	var timeout <-chan time.Time
	if waiting || lost {
		delay := soonDelay
		if lost {
			delay = retry
		}
		timer := time.NewTimer(delay)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-s.queue.wake:
		return false
	case <-timeout:
	}
	if lost {
		// An error is logged where it arises; the next round tries again.
		_, _ = s.reload()
	}
	return true
}

// commit answers every operation of ops that somebody waits for, and puts back
// what nobody waits for and could not be kept.
func (s *Store) commit(ops []*op) {
	if s.indeterminate.Load() {
		ops = s.refuse(ops)
	}
	for len(ops) > 0 {
		bad, err := s.attempt(ops)
		if bad == nil {
			return
		}
		// One operation failed after it had written something; the others are
		// run again without it.
		s.log.Error("an operation of the store failed halfway and was undone", "error", err)
		bad.answer(fmt.Errorf("%w: %w", ErrNotRecorded, err))
		rest := ops[:0:0]
		for _, o := range ops {
			if o != bad {
				rest = append(rest, o)
			}
		}
		ops = rest
	}
}

func (o *op) answer(err error) {
	o.err = err
	close(o.done)
}

// refuse deals with operations while the state is not known. If it can be read
// again, they are returned to be run.
func (s *Store) refuse(ops []*op) []*op {
	for _, o := range ops {
		if o.recover {
			_, _ = s.reload() // who asked is told below
			break
		}
	}
	if !s.indeterminate.Load() {
		return ops
	}
	var keep []*op
	for _, o := range ops {
		if o.soon {
			o.state.Store(opQueued)
			keep = append(keep, o)
			continue
		}
		// fail closed: nothing is written, and so nothing runs, on a state that
		// nobody has read.
		o.answer(ErrIndeterminate)
	}
	s.queue.back(keep)
	return nil
}

// attempt runs operations in one transaction. It returns the operation that
// left something behind when it failed, with its error; the transaction is
// undone then, and nobody answered.
func (s *Store) attempt(ops []*op) (*op, error) {
	tx, err := s.db.Begin(true)
	if err != nil {
		s.failed(ops, nil, 0, fmt.Errorf("beginning a transaction: %w", err))
		return nil, nil
	}
	b := s.newBatch(tx)
	results := make([]error, len(ops))
	for i, o := range ops {
		if o.recover {
			continue // it was read again, or there was no need
		}
		before := b.writes
		b.now = s.clock.Now()
		if results[i] = b.run(o.run); results[i] != nil && b.writes != before {
			rollback(tx)
			return o, results[i]
		}
	}
	if b.writes == 0 {
		rollback(tx)
	} else {
		s.keepCheckpoint(b)
		id := tx.ID()
		if err := s.flush(tx); err != nil {
			s.failed(ops, results, id, err)
			return nil, nil
		}
	}
	s.publish(b)
	for i, o := range ops {
		o.answer(results[i])
	}
	return nil, nil
}

// flush commits tx, or undoes it.
func (s *Store) flush(tx *bolt.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("committing panicked: %v", p)
		}
		if err != nil {
			rollback(tx)
		}
	}()
	if err := s.hook(PointBeforeCommit); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return s.hook(PointAfterCommit)
}

// rollback undoes a transaction in whatever state it is.
func rollback(tx *bolt.Tx) {
	defer func() { _ = recover() }() // a transaction that failed may not even be undone; the file is opened again then
	_ = tx.Rollback()
}

func (s *Store) hook(p Point) error {
	if s.onPoint == nil {
		return nil
	}
	return s.onPoint(p)
}

// publish makes a committed batch visible.
func (s *Store) publish(b *batch) {
	s.mu.Lock()
	for _, fn := range b.after {
		fn(&s.mem)
	}
	grown := b.size != s.mem.size
	s.mem.size = b.size
	s.mu.Unlock()
	s.feed.publish(b.changes)
	if grown {
		s.headDue()
	}
}

// failed deals with a commit of which nobody knows whether it happened. The
// state is read again at once; if that succeeds, the transaction's number says
// whether it is in the file, and each operation gets a definite answer.
func (s *Store) failed(ops []*op, results []error, id int, cause error) {
	s.log.Error("a commit failed; reading the state again", "error", cause)
	s.indeterminate.Store(true)
	var kept []*op // relaxed
	for _, o := range ops {
		if o.soon {
			kept = append(kept, o)
		}
	}
	s.doubt = &doubt{id: id, ops: kept, cause: cause}
	committed, err := s.reload()
	for i, o := range ops {
		switch {
		case o.soon:
		case err != nil:
			o.answer(fmt.Errorf("%w (%w)", ErrIndeterminate, cause))
		case committed:
			o.answer(results[i])
		default:
			o.answer(fmt.Errorf("%w: %w", ErrNotRecorded, cause))
		}
	}
}

// doubt is a transaction that may or may not have been committed.
type doubt struct {
	id    int
	ops   []*op // relaxed ones, to be run again if it was not
	cause error
}
