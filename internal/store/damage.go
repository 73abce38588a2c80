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

// ErrDamaged means that a damaged part of the database is needed.
var ErrDamaged = errors.New("the database is damaged")

// Damage is a part of the database that is not what was written.
type Damage struct {
	Page   int64  // 0 where a record was found and not a page
	Bucket string // that the page belongs to, empty if it holds the buckets themselves
	// Low and High bound the keys that it may have touched: from Low on and
	// before High. Nil is no bound.
	Low, High []byte
	Why       string

	has, want uint32 // checksums of the page
}

// covers reports whether a record may be touched.
func (d Damage) covers(bucket string, k []byte) bool {
	return d.Bucket == "" || d.Bucket == bucket && (d.Low == nil || bytes.Compare(k, d.Low) >= 0) && (d.High == nil || bytes.Compare(k, d.High) < 0)
}

// String names page and records.
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

// after returns the key that follows k immediately.
func after(k []byte) []byte { return append(bytes.Clone(k), 0) }

// keyText is a key as people can read it: a number, or parts with slashes.
func keyText(bucket string, k []byte) string {
	switch bucket {
	case bucketLeaves, bucketHashes, bucketCheckpoints:
		if n := parseNumber(bytes.TrimSuffix(k, []byte{0})); n >= 0 {
			return fmt.Sprint(n)
		}
	}
	return strings.ToValidUTF8(strings.ReplaceAll(string(k), "\x00", "/"), "?")
}

// history are the buckets that nothing rests on when a call is to run: what is
// damaged in them is refused where it is asked for. Damage in any other stops
// all execution.
func history() []string {
	return []string{bucketApprovals, bucketByTime, bucketReceipts, bucketRuns, bucketAlerts, bucketCallsClosed,
		bucketBlobs, bucketBlobRefs, bucketSeen, bucketLeaves, bucketCheckpoints}
}

// check is the search for damage that each start makes in the background.
type check struct {
	// quick says that pages are compared with their checksums, which takes a
	// tenth of a second for 100 MB: nothing executes before that has ended. To
	// read every record instead, after a crash, takes too long to wait for; the
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

// startCheck begins the search. pin, where it is not nil, is a transaction as of
// the checksums, which keeps the pages from being used again meanwhile.
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

// look searches the whole file. It holds the pages against their checksums, or
// where there are none reads every record that can tell whether it is whole.
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

// readAll reads what can tell by itself whether it is whole: rows, contents by
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
	// Not by way of the writer, which waits for this search before it opens the
	// file again. The head is never ahead of the file.
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

// checked waits until the search has ended: nothing runs on a file of which
// nobody knows yet whether it is whole.
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
			// fail closed: it was cut off, or could not read the file.
			return fmt.Errorf("%w: the database could not be searched for damage", ErrIndeterminate)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		// fail closed: what was not looked at may be damaged.
		return fmt.Errorf("%w: the search for damage has not ended within %v", ErrIndeterminate, s.writeTimeout)
	}
}

// mayExecute says what damage forbids an execution.
func (s *Store) mayExecute() error {
	for _, d := range s.check.Load().damaged() {
		if !slices.Contains(history(), d.Bucket) {
			// fail closed: a switch, a limit or an execution may be lost with it.
			return fmt.Errorf("%w: %s", ErrDamaged, d)
		}
	}
	return nil
}

// approvalTouched says whether an approval may be damaged. Its contents tell by
// their digests.
func (s *Store) approvalTouched(id guard.ApprovalID) error {
	list := s.check.Load().damaged()
	if len(list) == 0 {
		return nil
	}
	for _, t := range s.tenants() {
		for _, d := range list {
			if d.covers(bucketApprovals, key(t, string(id))) {
				// fail closed: what may have been changed from outside stands for nothing.
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

// WayOut says step by step what to do about a database that is damaged or
// missing.
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

// Problem says in a sentence why nothing executes, empty where calls may run.
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

// Damage describes what is damaged, one part on each line, and what to do about
// it; empty where nothing was found.
func (s *Store) Damage() string {
	found := s.check.Load().damaged()
	if len(found) == 0 {
		return ""
	}
	a := damageAlert(s.path, found)
	return a.Text + "\n" + a.Detail
}

// endCheck lets the search come to its end, for checksums are kept only of what
// was looked at; a large file on a slow disk is given up.
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
