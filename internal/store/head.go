package store

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	headEvery          = time.Second // at most one head in this time
	maxHead            = 16 << 10
	defaultLockTimeout = time.Second
)

// head is the last signed checkpoint, kept in a separate file. A database that
// was rolled back or truncated does not reach it any more.
type head struct {
	path    string
	keyPath string
	due     chan struct{} // capacity 1; the log has grown
	quit    chan struct{}
	done    chan struct{}
	// fresh is a checkpoint for the next transaction to store, so that the
	// file holds a history of checkpoints without a commit for each.
	fresh atomic.Pointer[signed]
}

type signed struct {
	size int64
	note []byte
}

func (h *head) init(o Options) {
	h.path, h.keyPath = o.Path+".head", o.Path+".key"
	h.due, h.quit, h.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
}

// read returns the head file, nil if there is none.
func (h *head) read() ([]byte, error) {
	data, err := readSmall(h.path, maxHead)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the head of the audit log: %w", err)
	}
	return data, nil
}

// stop ends keepHead and waits for it.
func (h *head) stop() {
	close(h.quit)
	<-h.done
}

func (s *Store) headDue() {
	select {
	case s.head.due <- struct{}{}:
	default:
	}
}

// keepHead writes the head after the log has grown: at once if it was idle,
// and once a second while it is busy. It ends on Close.
func (s *Store) keepHead() {
	defer close(s.head.done)
	for {
		select {
		case <-s.head.quit:
			return
		case <-s.head.due:
		}
		if _, err := s.writeHead(); err != nil && !s.Indeterminate() {
			s.log.Error("the head of the audit log was not written", "error", err)
		}
		timer := time.NewTimer(headEvery)
		select {
		case <-timer.C:
		case <-s.head.quit:
			timer.Stop()
			return
		}
	}
}

// writeHead signs the current log and replaces the head file.
func (s *Store) writeHead() (*signed, error) {
	size := s.Size()
	root, err := tlog.TreeHash(size, s)
	if err != nil {
		return nil, err
	}
	note, err := s.key.Sign(size, root)
	if err != nil {
		return nil, err
	}
	if err := s.hook(PointBeforeHead); err != nil {
		return nil, err
	}
	if err := writeFile(s.head.path, note); err != nil {
		return nil, fmt.Errorf("writing the head of the audit log: %w", err)
	}
	out := &signed{size, note}
	s.head.fresh.Store(out)
	return out, nil
}

// keepCheckpoint puts the last checkpoint into the batch.
func (s *Store) keepCheckpoint(b *batch) error {
	c := s.head.fresh.Swap(nil)
	if c == nil || c.size == 0 {
		return nil
	}
	return b.put(bucketCheckpoints, number(c.size), c.note)
}

// sealHead writes the last head and stores its checkpoint. The writer has
// ended.
func (s *Store) sealHead() error {
	c, err := s.writeHead()
	if err != nil {
		return err
	}
	// With this transaction the free pages are listed in the file, so that the
	// next start need not look for them.
	s.db.NoFreelistSync = false
	return updateFile(s.db, func(tx *bolt.Tx) error {
		if c.size == 0 {
			return nil
		}
		return tx.Bucket([]byte(bucketCheckpoints)).Put(number(c.size), c.note)
	})
}

// checkHead compares the log with the head file. A log that does not continue
// the signed one is still opened, because the guard must be able to report it;
// but nothing that it lists as open is trusted, and a human is alerted.
func (s *Store) checkHead(headFile []byte) error {
	var alerts []Alert
	distrust := ""
	size := s.Size()
	known, err := s.swapVerifier()
	if err != nil {
		return err
	}
	if known != "" {
		alerts = append(alerts, Alert{Kind: AlertKeyChanged, Key: s.key.Verifier(),
			Text:   "The key of the audit log is not the one that signed it before.",
			Detail: "before: " + known + "\nnow: " + s.key.Verifier()})
	}
	switch {
	case headFile == nil && size == 0:
	case headFile == nil:
		alerts = append(alerts, Alert{Kind: AlertHeadMissing, Key: strconv.FormatInt(size, 10),
			Text: "The head of the audit log, kept beside the database, is missing; whether the database was rolled back cannot be told."})
	default:
		verifier := s.key.Verifier()
		if known != "" {
			verifier = known
		}
		why := s.compareHead(headFile, verifier, size)
		if why == nil {
			break
		}
		distrust = "the database was rolled back"
		alerts = append(alerts, Alert{Kind: AlertRolledBack, Key: fingerprint(headFile),
			Text:   "The audit log does not continue what was signed for: records are missing or altered. Open approvals were cancelled.",
			Detail: why.Error() + "\n" + string(headFile)})
		if err := s.keepEvidence(headFile); err != nil {
			return err
		}
	}
	if err := s.raiseAll(alerts, distrust); err != nil {
		return err
	}
	if _, err := s.writeHead(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(s.head.path))
}

// compareHead describes a mismatch between the log and the head.
func (s *Store) compareHead(headFile []byte, verifier string, size int64) error {
	c, err := audit.OpenCheckpoint(headFile, verifier)
	if err != nil {
		return err
	}
	if c.Size > size {
		return fmt.Errorf("%d records were signed for, the database has %d", c.Size, size)
	}
	root, err := tlog.TreeHash(c.Size, s)
	if err != nil {
		return err
	}
	if root != c.Root {
		return fmt.Errorf("the first %d records are not those that were signed for", c.Size)
	}
	// Records after the checkpoint are not signed yet; they must at least
	// match their hashes.
	for at := c.Size; at < size; at += page {
		n := min(page, size-at)
		leaves, err := source{s.reader}.Leaves(at, int(n))
		if err != nil {
			return err
		}
		for i := range n {
			if i >= int64(len(leaves)) || leaves[i].Index != at+i {
				return fmt.Errorf("record %d is missing", at+i)
			}
			h, err := s.ReadHashes([]int64{tlog.StoredHashIndex(0, at+i)})
			if err != nil {
				return err
			}
			if tlog.RecordHash(leaves[i].Data) != h[0] {
				return fmt.Errorf("record %d is not the one whose hash is stored", at+i)
			}
		}
	}
	return nil
}

// swapVerifier stores the public key in the file. If the file had another key,
// it returns that one.
func (s *Store) swapVerifier() (other string, err error) {
	now := s.key.Verifier()
	err = s.view(func(tx *bolt.Tx) error {
		other = string(tx.Bucket([]byte(bucketMeta)).Get([]byte(metaVerifier)))
		return nil
	})
	if err != nil || other == now {
		return "", err
	}
	return other, updateFile(s.db, func(tx *bolt.Tx) error {
		// Checkpoints of the other key can no longer be checked with this one.
		if err := tx.DeleteBucket([]byte(bucketCheckpoints)); err != nil {
			return err
		}
		if _, err := tx.CreateBucket([]byte(bucketCheckpoints)); err != nil {
			return err
		}
		return tx.Bucket([]byte(bucketMeta)).Put([]byte(metaVerifier), []byte(now))
	})
}

// raiseAll raises alerts before the writer runs, and ends all open approvals
// if the file is not to be trusted.
func (s *Store) raiseAll(alerts []Alert, distrust string) error {
	if len(alerts) == 0 {
		return nil
	}
	var b *batch
	err := updateFile(s.db, func(tx *bolt.Tx) error {
		b = s.newBatch(tx)
		for _, a := range alerts {
			if _, err := b.raise(a); err != nil {
				return err
			}
		}
		if distrust != "" {
			return b.distrust(distrust)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("raising an alert: %w", err)
	}
	s.publish(b)
	return nil
}

// keepEvidence saves the head that the log does not continue, in a file named
// by its digest.
func (s *Store) keepEvidence(headFile []byte) error {
	name := s.head.path + ".lost-" + fingerprint(headFile)
	if _, err := os.Lstat(name); err == nil {
		return nil
	}
	if err := writeFile(name, headFile); err != nil {
		return fmt.Errorf("keeping the old head: %w", err)
	}
	return nil
}

// fingerprint is a short digest, long enough to tell two heads apart.
func fingerprint(data []byte) string {
	sum := digest.Sum(data)
	return hex.EncodeToString(sum[:8])
}
