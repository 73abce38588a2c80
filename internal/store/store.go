package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// Store is one open database. Its methods may be called concurrently.
type Store struct {
	reader       // the audit log
	path         string
	clock        Clock
	log          *slog.Logger
	onPoint      func(Point) error
	lockTimeout  time.Duration
	writeTimeout time.Duration
	key          *audit.Key

	queue         *queue
	written       chan struct{} // closed when the writer has ended
	indeterminate atomic.Bool
	cause         atomic.Pointer[error] // of the last failed write
	doubt         *uncertainBatch       // of the writer alone

	dbMu sync.RWMutex // held for reading by each View, for writing while the file is opened again
	db   *database    // nil while it could not be opened again

	// Used by the writer only: the open transaction, and how many journal
	// records it contains that the database does not.
	tx      *bolt.Tx
	stuck   bool // the transaction could not be rolled back, and bbolt cannot go on
	journal *journal
	ahead   int
	since   time.Time   // the first of them
	unread  atomic.Bool // there are any: a reader asks for a commit first

	mu  sync.RWMutex // guards mem
	mem memory

	counters counters
	feed     feed
	deflate  deflater
	head     head
	check    atomic.Pointer[check]
	close    sync.Once
	closeErr error
}

// memory is the in-memory part of the database, as of the last commit.
type memory struct {
	size     int64                             // records of the log
	tenants  []string                          // sorted
	open     map[guard.ApprovalID]*row         // every approval that is not final
	sessions map[guard.SessionID]guard.Session // open ones
	switches []guard.Switch                    // by scope
	alerts   map[guard.EventID]Alert           // not resolved
	seen     map[string]map[string]int64       // tenant → digest of what was touched → when, in ms
	// refused holds approvals denied or ended while the state was unknown;
	// they are not durable yet.
	refused map[guard.ApprovalID]guard.Approval
}

// Open opens the database, which stays locked until Close, and checks the log
// against the head outside it. Call Startup to settle what an earlier process
// left open.
func Open(o Options) (*Store, error) {
	if o.Path == "" || o.Clock == nil {
		return nil, errors.New("opening the store: a path and a clock are required")
	}
	s := newStore(o)
	headFile, err := s.head.read()
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	if err := s.prepare(o, headFile); err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	lost, err := s.openFiles()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the store: %w", err), s.closeFile())
	}
	removeLeftovers(s.path, s.head.path, s.head.keyPath)
	pin, err := s.pin()
	if err == nil {
		err = s.takeUp(headFile, lost)
	}
	if err != nil {
		if pin != nil {
			err = errors.Join(err, pin.Rollback())
		}
		return nil, errors.Join(fmt.Errorf("opening the store: %w", err), s.closeFile())
	}
	s.startCheck(pin)
	go s.write()    // owned by the store; ends when Close has closed the queue and all is written
	go s.keepHead() // owned by the store; Close stops it after the writer and waits for it
	return s, nil
}

func newStore(o Options) *Store {
	s := &Store{
		path: o.Path, clock: o.Clock, log: o.Log, onPoint: o.Hook,
		lockTimeout: o.LockTimeout, writeTimeout: o.WriteTimeout,
		queue: newQueue(), written: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.lockTimeout <= 0 {
		s.lockTimeout = defaultLockTimeout
	}
	if s.writeTimeout <= 0 {
		s.writeTimeout = 30 * time.Second
	}
	s.head.init(o)
	s.reader = reader{view: s.glance}
	s.counters.init(s)
	return s
}

// prepare makes sure that there is a key, and a database if one may be
// created.
func (s *Store) prepare(o Options, headFile []byte) error {
	_, err := os.Lstat(o.Path)
	missing := errors.Is(err, fs.ErrNotExist)
	if missing && headFile != nil {
		// fail closed: a log existed, and its approvals and records are gone.
		return fmt.Errorf("%w: %s does not exist, but %s says that it did; remove that file, too, to start a new log",
			ErrMissing, o.Path, s.head.path)
	}
	if missing && !o.CreateNew {
		return fmt.Errorf("%w: %s does not exist", ErrMissing, o.Path)
	}
	if s.key, err = s.head.loadKey(); err != nil {
		return err
	}
	if !missing {
		return nil
	}
	return createFile(o.Path, s.key.Verifier(), s.clock.Now().Wall)
}

// loadKey reads the key of the log, or makes one.
func (h *head) loadKey() (*audit.Key, error) {
	data, err := readSmall(h.keyPath, 4<<10)
	if errors.Is(err, fs.ErrNotExist) {
		k, err := audit.NewKey(rand.Reader, "mcpguard")
		if err != nil {
			return nil, err
		}
		if err := writeFile(h.keyPath, []byte(k.Secret()+"\n")); err != nil {
			return nil, fmt.Errorf("keeping the key of the audit log: %w", err)
		}
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key of the audit log: %w", err)
	}
	if info, err := os.Stat(h.keyPath); err == nil && info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(h.keyPath, fileMode); err != nil {
			return nil, fmt.Errorf("others may read the key of the audit log, and that cannot be changed: %w", err)
		}
	}
	return audit.ParseKey(string(data))
}

// openFiles opens the database and the journal and applies the missing
// records. lost means that the database was not closed but its journal is
// gone: the last acknowledged writes may be missing.
func (s *Store) openFiles() (lost bool, err error) {
	db, err := openFile(s.path, false, s.lockTimeout)
	if err != nil {
		return false, err
	}
	_, err = os.Lstat(s.path + journalSuffix)
	lost = errors.Is(err, fs.ErrNotExist) && db.meta.freelist == 0
	j, n, err := replay(db, s.path+journalSuffix, func() error { return s.hook(PointBeforeFlush) })
	if err != nil && j != nil && !errors.Is(err, ErrMissing) {
		s.db, s.journal = db, j // it can be read, if not written to
		return false, err
	}
	if err != nil {
		return false, errors.Join(err, db.Close())
	}
	if n > 0 {
		s.log.Info("the database was brought up to its journal", "records", n)
	}
	s.db, s.journal = db, j
	return lost, nil
}

// pin begins the transaction in which the search for damage reads. If there
// are checksums, nothing was written yet: a journal is replayed only after a
// crash, which leaves no matching checksums.
func (s *Store) pin() (tx *bolt.Tx, err error) {
	if s.db.sums == nil {
		return nil, nil
	}
	defer recovered(&err)
	if tx, err = s.db.Begin(false); err != nil {
		return nil, fmt.Errorf("beginning to look for damage: %w", err)
	}
	return tx, nil
}

// takeUp migrates the file, loads the in-memory state and compares the log
// with the head.
func (s *Store) takeUp(headFile []byte, lost bool) error {
	if err := migrate(s.db); err != nil {
		return err
	}
	if err := s.load(); err != nil {
		return err
	}
	if err := s.checkHead(headFile); err != nil || !lost || s.Size() == 0 {
		return err
	}
	return s.raiseAll([]Alert{{Kind: AlertJournalMissing, Key: strconv.FormatInt(s.Size(), 10),
		Text:   "The journal of the database was removed while the daemon ran, and the daemon did not stop in order. What it did last may be missing. Open approvals were cancelled.",
		Detail: s.path + journalSuffix}}, "the journal of the database is missing")
}

// Close writes what is queued, signs the log and closes the database. Later
// calls return ErrShut; a second Close returns what the first did.
func (s *Store) Close() error {
	s.close.Do(func() {
		s.queue.close()
		<-s.written
		s.head.stop()
		s.feed.shut()
		s.endCheck()
		var err error
		if !s.indeterminate.Load() {
			err = s.sealHead()
			if c := s.check.Load(); err == nil && c.whole.Load() && s.readable(c) {
				err = writeSums(s.path, s.db.f, c.damaged()) // the lock is still held
			}
		}
		s.closeErr = errors.Join(err, s.putBack(), s.closeFile())
	})
	return s.closeErr
}

func (s *Store) closeFile() error {
	s.dbMu.Lock()
	defer s.dbMu.Unlock()
	db, j := s.db, s.journal
	if db == nil {
		return nil
	}
	s.dropTx()
	s.db, s.journal = nil, nil
	if s.stuck {
		db.giveUp()
		return fmt.Errorf("closing the database: %w", ErrDamaged)
	}
	if err := errors.Join(db.Close(), j.close()); err != nil {
		return fmt.Errorf("closing the database: %w", err)
	}
	return nil
}

// view runs fn in a read transaction that sees everything published before. It
// must be short: a reader blocks the writer when the file has to be remapped.
// fn must copy what it keeps. The writer itself uses viewNow.
func (s *Store) view(fn func(*bolt.Tx) error) error {
	if s.unread.Load() {
		err := s.wait("bringing the file up to date", &op{flush: true, done: make(chan struct{})})
		if errors.Is(err, ErrShut) {
			<-s.written // the writer commits everything before it ends
		} else if err != nil {
			return err
		}
	}
	return s.viewNow(fn)
}

// glance is view for callers that only display: while nothing can be written
// they see the last committed state.
func (s *Store) glance(fn func(*bolt.Tx) error) error {
	if s.Indeterminate() {
		return s.viewNow(fn)
	}
	err := s.view(fn)
	if errors.Is(err, ErrIndeterminate) {
		return s.viewNow(fn)
	}
	return err
}

// viewNow reads the current content of the file.
func (s *Store) viewNow(fn func(*bolt.Tx) error) error {
	s.dbMu.RLock()
	defer s.dbMu.RUnlock()
	if s.db == nil {
		select {
		case <-s.written:
			return ErrShut
		default:
			return ErrIndeterminate
		}
	}
	return viewFile(s.db, fn)
}

// load loads the in-memory state.
func (s *Store) load() error {
	m := memory{
		open: map[guard.ApprovalID]*row{}, sessions: map[guard.SessionID]guard.Session{},
		alerts: map[guard.EventID]Alert{}, refused: map[guard.ApprovalID]guard.Approval{}, seen: map[string]map[string]int64{},
	}
	err := s.viewNow(func(tx *bolt.Tx) error {
		if err := checkBuckets(tx, buckets()...); err != nil {
			return fmt.Errorf("%w: %w", ErrMissing, err)
		}
		m.size = 0
		if k, _ := tx.Bucket([]byte(bucketLeaves)).Cursor().Last(); k != nil {
			m.size = parseNumber(k) + 1
		}
		each(tx.Bucket([]byte(bucketTenants)), nil, func(k, _ []byte) bool {
			m.tenants = append(m.tenants, string(k))
			return true
		})
		return errors.Join(loadApprovals(tx, &m), loadSessions(tx, &m), loadSwitches(tx, &m), loadAlerts(tx, &m), loadSeen(tx, &m))
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, a := range s.mem.refused {
		m.refused[id] = a
	}
	s.mem = m
	return nil
}

// reload reopens the file and reads everything again. committed reports
// whether the uncertain batch is in the file; if not, its relaxed operations
// are queued again. Only the writer calls it.
func (s *Store) reload() (committed bool, err error) {
	defer func() {
		if err != nil {
			s.log.Error("the state could not be read again", "error", err)
		}
	}()
	if err := s.hook(PointRecover); err != nil {
		return false, err
	}
	if err := s.reopen(); err != nil {
		return false, err
	}
	if err := s.load(); err != nil {
		return false, err
	}
	cause := errors.New("asked for")
	if d := s.doubt; d != nil {
		committed, cause = s.journal.seq >= d.seq, d.cause
		if !committed {
			for _, o := range d.ops {
				o.state.Store(opQueued)
			}
			s.queue.back(d.ops)
		}
		s.doubt = nil
	}
	// A successful write proves that the file can be trusted again.
	if err := s.noteRecovery(cause); err != nil {
		return committed, err
	}
	s.indeterminate.Store(false)
	if c := s.check.Load(); !c.whole.Load() {
		s.startCheck(nil) // it was cut off
	}
	s.feed.resync()
	s.headDue()
	return committed, nil
}

// reopen closes the database and the journal, whatever their state, and opens
// them again.
func (s *Store) reopen() error {
	s.check.Load().end() // it reads the file that is about to be closed
	s.dbMu.Lock()
	defer s.dbMu.Unlock()
	s.dropTx()
	if s.db != nil {
		var ignored error // a database on which a write failed may not even close; it is given up
		func() {
			defer recovered(&ignored)
			if s.stuck {
				s.db.giveUp()
				return
			}
			_ = s.db.Close()
		}()
		_ = s.journal.close()
		s.db, s.journal, s.stuck = nil, nil, false
	}
	dropCache(s.path)
	dropCache(s.path + journalSuffix)
	if _, err := s.openFiles(); err != nil {
		return err
	}
	s.ahead = 0
	s.unread.Store(false)
	return nil
}

// noteRecovery raises an alert, in a transaction of its own.
func (s *Store) noteRecovery(cause error) error {
	var b *batch
	err := updateFile(s.db, func(tx *bolt.Tx) error {
		b = s.newBatch(tx)
		if _, err := b.raise(Alert{
			Kind: AlertWriteFailed, Text: "A write to the database failed; its state was read again from disk.", Detail: cause.Error(),
		}); err != nil {
			return err
		}
		// This must be a write even if the same alert is already raised.
		return b.put(bucketMeta, []byte("recovered"), strconv.AppendInt(nil, b.now.Wall.UnixMilli(), 10))
	})
	if err != nil {
		return fmt.Errorf("writing to the database again: %w", err)
	}
	s.publish(b)
	return nil
}

func (s *Store) tenants() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mem.tenants
}

// Size returns the number of records of the audit log.
func (s *Store) Size() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mem.size
}

// Record appends events to the audit log. They are durable when it returns nil.
func (s *Store) Record(_ context.Context, events ...audit.Event) error {
	list, err := s.encode(events)
	if err != nil {
		return err
	}
	return s.do("recording", func(b *batch) error {
		_, err := b.append(list...)
		return err
	})
}

// RecordAsync appends events to the audit log within 50 ms. It drops nothing:
// it blocks while too many operations are queued.
func (s *Store) RecordAsync(events ...audit.Event) {
	var list encoded
	for _, e := range events {
		list = append(list, s.mustEncode(e))
	}
	err := s.async(func(b *batch) error {
		_, err := b.append(list...)
		return err
	})
	if err != nil {
		s.log.Error("events came after the store was closed", "events", len(list), "error", err)
	}
}
