package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	maxBatch  = 256                    // operations in one transaction
	maxSoon   = 4096                   // relaxed operations that may wait before callers do
	soonDelay = 20 * time.Millisecond  // how long a relaxed operation waits for company
	flushIdle = 100 * time.Millisecond // without work, until the database is committed
	flushMax  = time.Second            // with work, likewise
	retry     = 250 * time.Millisecond // between attempts to read the state again
)

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

// async queues an operation that becomes durable within 50 ms. It blocks while
// too many wait, and drops nothing.
func (s *Store) async(run func(*batch) error) error {
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
	debug.SetPanicOnFault(true) // a damaged page may lead anywhere; each use of the file recovers
	force := false              // take what is relaxed, too
	for {
		ops, waiting, closed := s.queue.take(force)
		if len(ops) > 0 {
			s.commit(ops)
		}
		lost := s.indeterminate.Load()
		switch {
		case closed && !waiting && (len(ops) == 0 || !lost):
			if !lost {
				s.flush()
			}
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
	if waiting || lost || s.ahead > 0 {
		delay := soonDelay
		switch {
		case lost:
			delay = retry
		case !waiting:
			delay = flushIdle
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
	switch {
	case lost:
		// An error is logged where it arises; the next round tries again.
		_, _ = s.reload()
	case !waiting:
		s.flush()
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

// attempt runs operations as one batch. It returns the operation that left
// something behind when it failed, with its error; the batch is undone then,
// and nobody answered.
func (s *Store) attempt(ops []*op) (*op, error) {
	seq := s.journal.seq + 1
	if err := s.beginTx(); err != nil {
		s.failed(ops, nil, seq, err)
		return nil, nil
	}
	b := s.newBatch(s.tx)
	b.redo = s.journal.begin()
	results := make([]error, len(ops))
	for i, o := range ops {
		if o.run == nil {
			continue // it was read again, or there was no need; or it asks for what comes last
		}
		before := b.writes
		if !o.soon {
			b.now = s.clock.Now() // what nobody waits for is as old as its batch
		}
		if results[i] = b.run(o.run); results[i] != nil && b.writes != before {
			s.dropTx()
			return o, results[i]
		}
	}
	if err := b.run((*batch).finish); err != nil {
		s.failed(ops, nil, seq, err)
		return nil, nil
	}
	if b.writes > 0 {
		if err := b.run(s.keepCheckpoint); err != nil {
			s.failed(ops, nil, seq, err)
			return nil, nil
		}
		if err := s.keep(b); err != nil {
			s.failed(ops, results, seq, err)
			return nil, nil
		}
	}
	s.publish(b)
	flush := s.ahead > 0 && (s.journal.at >= journalHigh || time.Since(s.since) >= flushMax)
	for i, o := range ops {
		if !o.flush {
			o.answer(results[i])
		}
		flush = flush || o.flush
	}
	if flush {
		err := s.flush()
		for _, o := range ops {
			if o.flush {
				o.answer(err)
			}
		}
	}
	return nil, nil
}

// beginTx makes sure that there is an open transaction with everything in it that
// was acknowledged.
func (s *Store) beginTx() (err error) {
	if s.stuck {
		return ErrDamaged
	}
	if s.tx != nil {
		return nil
	}
	defer recovered(&err)
	if s.tx, err = s.db.Begin(true); err != nil {
		s.tx = nil
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	return s.catchUp()
}

// catchUp repeats what a transaction contained that was undone. The journal has
// it.
func (s *Store) catchUp() error {
	if s.ahead == 0 {
		return nil
	}
	payloads := s.journal.missing(s.journal.seq - uint64(s.ahead))
	if len(payloads) < s.ahead {
		return fmt.Errorf("the journal has %d records of %d", len(payloads), s.ahead)
	}
	for _, payload := range payloads[:s.ahead] { // what may follow was not acknowledged
		if err := redo(s.tx, payload); err != nil {
			return err
		}
	}
	return nil
}

// dropTx undoes the open transaction. What was acknowledged is in the journal.
func (s *Store) dropTx() {
	if s.tx == nil {
		return
	}
	tx := s.tx
	s.tx = nil
	if err := s.db.scannable(); err != nil {
		// bbolt would look for the free pages in a goroutine of its own, where a
		// damaged page ends the process.
		s.log.Error("the database was damaged while it was open; it is given up", "error", err)
		s.stuck = true
		return
	}
	var err error // a transaction that failed may not even be undone; the file is opened again then
	defer func() { s.stuck = err != nil }()
	defer recovered(&err)
	_ = tx.Rollback()
}

// keep makes a batch durable: in the journal, or where that has no room by
// committing the database.
func (s *Store) keep(b *batch) error {
	if err := s.hook(PointBeforeCommit); err != nil {
		return err
	}
	err := s.journal.append(b.redo)
	switch {
	case errors.Is(err, errJournalFull):
		s.journal.seq++
		if err := s.commitTx(); err != nil {
			s.journal.seq--
			return err
		}
	case err != nil:
		return err
	default:
		if s.ahead == 0 {
			s.since = time.Now()
		}
		s.ahead++
		s.unread.Store(true)
	}
	return s.hook(PointAfterCommit)
}

// commitTx commits the open transaction to the database and lets the journal
// begin again.
func (s *Store) commitTx() (err error) {
	defer recovered(&err)
	if err := s.hook(PointBeforeFlush); err != nil {
		return err
	}
	if err := putJournal(s.tx, s.journal.seq); err != nil {
		return err
	}
	tx := s.tx
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	s.tx, s.ahead = nil, 0
	s.journal.restart(s.journal.seq)
	s.unread.Store(false)
	return s.hook(PointAfterFlush)
}

// flush brings the database up to the journal. Everything in it is durable
// already; if this fails the state is read again like after any other failure.
func (s *Store) flush() error {
	if s.ahead == 0 {
		s.dropTx() // nothing was written
		return nil
	}
	if err := s.commitTx(); err != nil {
		s.failed(nil, nil, s.journal.seq, err)
		if s.indeterminate.Load() {
			return ErrIndeterminate
		}
	}
	return nil
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

// failed deals with a write of which nobody knows whether it happened. The state
// is read again at once; if that succeeds, the number of the last record says
// whether the batch, which has the number seq, is among them, and each operation
// gets a definite answer.
func (s *Store) failed(ops []*op, results []error, seq uint64, cause error) {
	s.log.Error("a write failed; reading the state again", "error", cause)
	s.cause.Store(&cause)
	s.indeterminate.Store(true)
	var kept []*op // relaxed
	for _, o := range ops {
		if o.soon {
			kept = append(kept, o)
		}
	}
	s.doubt = &uncertainBatch{seq: seq, ops: kept, cause: cause}
	s.settle()
	committed, err := s.reload()
	for i, o := range ops {
		switch {
		case o.soon:
		case o.run == nil && err == nil:
			o.answer(nil)
		case err != nil:
			o.answer(fmt.Errorf("%w (%w)", ErrIndeterminate, cause))
		case committed:
			o.answer(results[i])
		default:
			o.answer(fmt.Errorf("%w: %w", ErrNotRecorded, cause))
		}
	}
}

// settle commits to the database what was acknowledged before the write that
// failed, so that readers see it as long as the state cannot be read again. It
// leaves the journal as it is, which alone can tell about that write.
func (s *Store) settle() {
	s.dropTx()
	if s.ahead == 0 || s.beginTx() != nil {
		return
	}
	var err error
	func() {
		defer recovered(&err)
		if err = s.hook(PointBeforeFlush); err != nil {
			return
		}
		if err = putJournal(s.tx, s.journal.seq); err == nil {
			err = s.tx.Commit()
		}
	}()
	if err != nil {
		s.log.Error("what was acknowledged is in the journal only", "error", err)
		return
	}
	s.tx, s.ahead = nil, 0
	s.unread.Store(false)
}

// uncertainBatch is a batch that may or may not be in the journal.
type uncertainBatch struct {
	seq   uint64
	ops   []*op // relaxed ones, to be run again if it is not
	cause error
}
