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

// do runs an operation durably. It ignores the cancellation of a context: a
// requested write happens even if the caller is gone.
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

// ask runs an operation durably and returns its result. late is the error of
// an operation that is refused but still writes something, for example an
// approval found to be overdue.
func ask[T any](s *Store, what string, fn func(*batch) (v T, late, err error)) (T, error) {
	var zero, v T
	var late error
	err := s.do(what, func(b *batch) (err error) {
		v, late, err = fn(b)
		return err
	})
	switch {
	case err != nil:
		return zero, err // an abandoned operation may still write to v
	case late != nil:
		return zero, fmt.Errorf("%s: %w", what, late)
	}
	return v, nil
}

// async queues an operation that becomes durable within 50 ms. It blocks while
// too many are queued and drops nothing.
func (s *Store) async(run func(*batch) error) error {
	return s.queue.push(&op{run: run, soon: true, done: make(chan struct{})})
}

// Recover reads the state again from disk after a failed write. The store
// retries by itself several times a second; Recover is for callers that need
// the result.
func (s *Store) Recover(context.Context) error {
	return s.wait("reading the state again", &op{recover: true, done: make(chan struct{})})
}

// Indeterminate reports whether a write failed and the state has not been read
// again yet. Nothing may execute until then.
func (s *Store) Indeterminate() bool { return s.indeterminate.Load() }

// write is the committing goroutine, the only one that writes. It ends when
// the queue is closed and empty.
func (s *Store) write() {
	defer close(s.written)
	debug.SetPanicOnFault(true) // a damaged page may lead anywhere; each use of the file recovers
	force := false              // take relaxed operations, too
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

// rest waits until there is work. force means that relaxed operations have
// waited long enough.
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

// commit runs ops and answers every one that a caller waits for. Relaxed
// operations that could not be stored are queued again.
func (s *Store) commit(ops []*op) {
	if s.indeterminate.Load() {
		ops = s.refuse(ops)
	}
	for len(ops) > 0 {
		bad, err := s.attempt(ops)
		if bad == nil {
			return
		}
		// One operation failed after it had written something; run the others
		// again without it.
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

// refuse handles operations while the state is unknown. If the state can be
// read again, it returns them to be run.
func (s *Store) refuse(ops []*op) []*op {
	for _, o := range ops {
		if o.recover {
			_, _ = s.reload() // callers are told below
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
		// fail closed: nothing is written or executed on an unknown state.
		o.answer(ErrIndeterminate)
	}
	s.queue.back(keep)
	return nil
}

// attempt runs operations as one batch. If one fails after it has written
// something, attempt returns it with its error; the batch is rolled back and
// no operation is answered.
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
			continue // recover is done or was not needed; flush comes last
		}
		before := b.writes
		if !o.soon {
			b.now = s.clock.Now() // relaxed operations get the time of their batch
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

// beginTx makes sure that there is an open transaction that contains
// everything acknowledged.
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

// catchUp reapplies, from the journal, the content of a transaction that was
// rolled back.
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

// dropTx rolls back the open transaction. Acknowledged writes are in the
// journal.
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
	var err error // a failed transaction may not even roll back; then the file is reopened
	defer func() { s.stuck = err != nil }()
	defer recovered(&err)
	_ = tx.Rollback()
}

// keep makes a batch durable: in the journal, or by committing the database if
// the journal is full.
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

// commitTx commits the open transaction to the database and rewinds the
// journal.
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

// flush commits the journal to the database. All of it is durable already; if
// this fails the state is read again as after any other failure.
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

// failed handles a write that may or may not have happened. It reads the state
// again at once. If that succeeds, the number of the last record shows whether
// the batch, which has number seq, was written, and each operation gets a
// definite answer.
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

// settle commits to the database what was acknowledged before the failed
// write, so that readers see it while the state cannot be read again. It
// leaves the journal unchanged, since only the journal can show whether that
// write happened.
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
