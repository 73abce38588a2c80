package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// ErrDamaged means that the operation needs a damaged part of the database.
var ErrDamaged = errors.New("the database is damaged")

// Damage is a part of the database that differs from what was written.
type Damage struct {
	Page   int64  // 0 if a record is damaged and not a page
	Bucket string // that the page belongs to; empty for a page of the root bucket
	// Low and High bound the keys that may be affected, Low inclusive and High
	// exclusive. nil means no bound.
	Low, High []byte
	Why       string

	has, want uint32 // checksums of the page
}

// covers reports whether a record may be affected.
func (d Damage) covers(bucket string, k []byte) bool {
	return d.Bucket == "" || d.Bucket == bucket && (d.Low == nil || bytes.Compare(k, d.Low) >= 0) && (d.High == nil || bytes.Compare(k, d.High) < 0)
}

// String names the page and the records.
func (d Damage) String() string {
	var b strings.Builder
	if d.Page > 0 {
		fmt.Fprintf(&b, "page %d, ", d.Page)
	}
	switch {
	case d.Bucket == "":
		b.WriteString("which everything rests on")
	case d.Low == nil && d.High == nil:
		fmt.Fprintf(&b, "all of %s", d.Bucket)
	case d.High == nil:
		fmt.Fprintf(&b, "%s from %s on", d.Bucket, keyText(d.Bucket, d.Low))
	case d.Low == nil:
		fmt.Fprintf(&b, "%s before %s", d.Bucket, keyText(d.Bucket, d.High))
	case bytes.Equal(d.High, after(d.Low)):
		fmt.Fprintf(&b, "%s %s", d.Bucket, keyText(d.Bucket, d.Low))
	default:
		fmt.Fprintf(&b, "%s from %s to before %s", d.Bucket, keyText(d.Bucket, d.Low), keyText(d.Bucket, d.High))
	}
	return b.String() + ": " + d.Why
}

// after returns the smallest key greater than k.
func after(k []byte) []byte { return append(bytes.Clone(k), 0) }

// keyText returns a readable form of a key: a number, or its parts joined by
// slashes.
func keyText(bucket string, k []byte) string {
	switch bucket {
	case bucketLeaves, bucketHashes, bucketCheckpoints:
		if n := parseNumber(bytes.TrimSuffix(k, []byte{0})); n >= 0 {
			return fmt.Sprint(n)
		}
	}
	return strings.ToValidUTF8(strings.ReplaceAll(string(k), "\x00", "/"), "?")
}

// history returns the buckets that no execution depends on. Damage in them is
// refused where it is read; damage anywhere else stops all execution.
func history() []string {
	return []string{bucketApprovals, bucketByTime, bucketReceipts, bucketRuns, bucketAlerts, bucketCallsClosed,
		bucketBlobs, bucketBlobRefs, bucketSeen, bucketLeaves, bucketCheckpoints}
}

// check is the search for damage that runs in the background at each start.
type check struct {
	// quick means that pages are compared with their checksums, which takes a
	// tenth of a second for 100 MB; nothing executes before that ends. Reading
	// every record instead, after a crash, takes too long to wait for; the
	// form of the pages was checked before.
	quick  bool
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended
	whole  atomic.Bool   // it has read everything
	found  atomic.Pointer[[]Damage]
	failed atomic.Pointer[error] // why it could not
}

func (c *check) damaged() []Damage {
	if list := c.found.Load(); list != nil {
		return *list
	}
	return nil
}

// end stops the search and waits for it.
func (c *check) end() {
	c.cancel()
	<-c.done
}

// startCheck starts the search. pin, if not nil, is a transaction at the state
// of the checksums; it keeps the pages from being reused during the search.
func (s *Store) startCheck(pin *bolt.Tx) {
	ctx, cancel := context.WithCancel(context.Background())
	c := &check{quick: pin != nil, cancel: cancel, done: make(chan struct{})}
	s.check.Store(c)
	go func() { // owned by the store; Close ends it, and so does the file being opened again
		defer close(c.done)
		found, err := s.look(ctx, pin)
		if err != nil {
			if ctx.Err() == nil {
				s.log.Error("the database could not be checked for damage", "error", err)
				c.failed.Store(&err)
			}
			return
		}
		c.whole.Store(true)
		if len(found) == 0 {
			return
		}
		c.found.Store(&found)
		s.log.Error("the database is damaged", "where", damageText(found))
		// Queued, not waited for: Close waits for this goroutine.
		err = s.async(s.logged("raising an alert", func(b *batch) error {
			_, err := b.raise(damageAlert(s.path, found))
			return err
		}))
		if err != nil {
			s.log.Error("an alert was not raised", slog.Any("error", err))
		}
	}()
}

// look searches the whole file. It compares pages with their checksums, or if
// there are none reads every record that can be verified by itself.
func (s *Store) look(ctx context.Context, pin *bolt.Tx) (found []Damage, err error) {
	if pin == nil {
		return s.readAll(ctx)
	}
	defer func() { err = errors.Join(err, pin.Rollback()) }()
	s.dbMu.RLock()
	db := s.db
	s.dbMu.RUnlock()
	if db == nil {
		return nil, ErrShut
	}
	return lookAtPages(ctx, db)
}

func lookAtPages(ctx context.Context, db *database) ([]Damage, error) {
	w := newWalk(db.f, db.meta)
	w.sums, w.all, w.stop = db.sums, true, ctx.Err
	if err := w.page(db.meta.root, 0, nil, nil); err != nil && !errors.Is(err, errPage) {
		return nil, err
	}
	return w.damaged, nil
}

// readAll reads everything that can be verified by itself: rows, contents by
// their digests, and the log. Each transaction is short.
func (s *Store) readAll(ctx context.Context) ([]Damage, error) {
	var found []Damage
	for bucket, whole := range map[string]func(k, v []byte) error{
		bucketApprovals: func(_, v []byte) error { _, err := decodeRow(v); return err },
		bucketBlobs: func(k, v []byte) error {
			sum, err := digest.ParseDigest(last(k))
			if err == nil {
				_, err = unpack(v, sum)
			}
			return err
		},
	} {
		for from := []byte{}; from != nil; {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			at := from
			err := s.viewNow(func(tx *bolt.Tx) error {
				c := tx.Bucket([]byte(bucket)).Cursor()
				k, v := c.Seek(at)
				for n := 0; k != nil && n < 64; n++ {
					if err := whole(k, v); err != nil && len(found) < maxDamages {
						found = append(found, Damage{Bucket: bucket, Low: bytes.Clone(k), High: after(k), Why: err.Error()})
					}
					k, v = c.Next()
				}
				from = bytes.Clone(k)
				return nil
			})
			switch {
			case errors.Is(err, ErrMissing): // bbolt ran into something
				found = append(found, Damage{Bucket: bucket, Low: at, Why: err.Error()})
				from = nil
			case err != nil:
				return nil, err
			}
		}
	}
	// Do not go through the writer, which waits for this search before it
	// reopens the file. The head is never ahead of the file.
	headFile, err := s.head.read()
	if err != nil {
		return nil, err
	}
	r, err := reader{view: s.viewNow}.verify(ctx, s.Verifier(), headFile)
	switch {
	case errors.Is(err, ErrMissing):
		found = append(found, Damage{Bucket: bucketLeaves, Why: err.Error()})
	case err != nil:
		return nil, err
	case r.FirstBad >= 0:
		found = append(found, Damage{Bucket: bucketLeaves, Low: number(r.FirstBad), High: number(r.LastBad + 1), Why: r.Problem})
	}
	return found, nil
}

// checked waits until the search has ended: nothing runs before the file is
// known to be intact.
func (s *Store) checked(ctx context.Context) error {
	late := time.NewTimer(s.writeTimeout)
	defer late.Stop()
	c := s.check.Load()
	if !c.quick {
		return nil
	}
	select {
	case <-c.done:
		if !c.whole.Load() {
			// fail closed: the search was interrupted or could not read the
			// file.
			return fmt.Errorf("%w: the database could not be searched for damage", ErrIndeterminate)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		// fail closed: what was not checked may be damaged.
		return fmt.Errorf("%w: the search for damage has not ended within %v", ErrIndeterminate, s.writeTimeout)
	}
}

// mayExecute returns an error if damage forbids execution.
func (s *Store) mayExecute() error {
	for _, d := range s.check.Load().damaged() {
		if !slices.Contains(history(), d.Bucket) {
			// fail closed: a switch, a limit or an execution may be lost with it.
			return fmt.Errorf("%w: %s", ErrDamaged, d)
		}
	}
	return nil
}

// approvalTouched returns an error if an approval may be damaged. Its contents
// are verified by their digests.
func (s *Store) approvalTouched(id guard.ApprovalID) error {
	list := s.check.Load().damaged()
	if len(list) == 0 {
		return nil
	}
	for _, t := range s.tenants() {
		for _, d := range list {
			if d.covers(bucketApprovals, key(t, string(id))) {
				// fail closed: do not use what may have been changed from
				// outside.
				return fmt.Errorf("%w: %s", ErrDamaged, d)
			}
		}
	}
	return nil
}

func damageText(found []Damage) string {
	lines := make([]string, len(found))
	for i, d := range found {
		lines[i] = d.String()
	}
	if len(found) >= maxDamages {
		lines = append(lines, "and more")
	}
	return strings.Join(lines, "\n")
}

func damageAlert(path string, found []Damage) Alert {
	text := "The database is damaged: it is not what the daemon wrote. What the damage touches is refused"
	if slices.ContainsFunc(found, func(d Damage) bool { return !slices.Contains(history(), d.Bucket) }) {
		text += ", and nothing executes"
	}
	return Alert{Kind: AlertDamaged, Key: fingerprint([]byte(damageText(found))), Text: text + ".",
		Detail: damageText(found) + "\n" + WayOut(path)}
}

// WayOut returns step-by-step instructions for a damaged or missing database.
func WayOut(path string) string {
	dir, name := filepath.Split(path)
	return fmt.Sprintf(`what to do, in %[1]s:
1. stop the daemon: mcpguardd stop
2. keep a copy of what is there: %[2]s and every file whose name begins with %[2]s.
3. save what can be read of the log: mcpguardd audit export > log.jsonl
4. either put %[2]s and %[2]s.head back from a backup and remove %[2]s.journal and %[2]s.sums, or begin anew: remove all four;
   open approvals are gone then, configuration and accepted tools stay
5. look whether all is well: mcpguardd doctor, then approve ack log
6. find the cause: look at the disk and its file system before you go on`, dir, name)
}

// Problem returns a sentence that says why nothing executes; empty if calls
// may run.
func (s *Store) Problem() string {
	if s.Indeterminate() {
		why := ""
		if cause := s.cause.Load(); cause != nil {
			why = " (" + (*cause).Error() + ")"
		}
		return "a write failed" + why + " and its outcome is not known; nothing executes until the database could be written to and read again"
	}
	if c := s.check.Load(); c.quick && c.failed.Load() != nil {
		return "the database could not be searched for damage: " + (*c.failed.Load()).Error()
	}
	if err := errors.Join(s.sameFiles(), s.mayExecute()); err != nil {
		return err.Error()
	}
	return ""
}

// Damage describes the damage, one part per line, and what to do about it;
// empty if none was found.
func (s *Store) Damage() string {
	found := s.check.Load().damaged()
	if len(found) == 0 {
		return ""
	}
	a := damageAlert(s.path, found)
	return a.Text + "\n" + a.Detail
}

// closingLook bounds how long the records are read before the checksums are
// made. It is part of how long a stop may take.
const closingLook = 2 * time.Second

// readable reads the records once more before the checksums of their pages are
// made: what was changed from outside while the daemon ran must not be taken
// for what it wrote. If a record is damaged no checksums are kept, so that the
// next start reads every record and finds it again. A change that leaves a
// record valid by itself (a limit, a switch, a run) is not noticed here.
func (s *Store) readable(c *check) bool {
	if len(c.damaged()) > 0 {
		return true // those pages keep the checksums that they should have
	}
	ctx, cancel := context.WithTimeout(context.Background(), closingLook)
	defer cancel()
	found, err := s.readAll(ctx)
	switch {
	case len(found) > 0:
		s.log.Error("the database was damaged while it was open", "where", damageText(found))
		return false
	case errors.Is(err, context.DeadlineExceeded):
		return true // too large to be read now
	case err != nil:
		s.log.Error("the database could not be read before it is closed", "error", err)
		return false // fail closed: the next start reads it
	}
	return true
}

// endCheck waits for the search to end, because checksums are only kept for
// pages that were checked. It gives up on a large file on a slow disk.
func (s *Store) endCheck() {
	c := s.check.Load()
	patience := time.Second
	if c.quick {
		patience = 5 * time.Second
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-c.done:
	case <-late.C:
	}
	c.end()
}
