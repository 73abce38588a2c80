package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/mod/sumdb/tlog"
)

// reader reads the audit log in short transactions, because a long one would
// block the writer. The log is append-only, so what was read stays valid.
type reader struct {
	view func(func(*bolt.Tx) error) error
}

// page is the number of records read in one transaction.
const page = 512

// Events returns the log records that a filter selects.
func (r reader) Events(f EventFilter) ([]Record, error) {
	if f.Limit <= 0 {
		f.Limit = 1000
	}
	size, _, err := r.size()
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	at, step := max(0, f.From), int64(1)
	if f.Newest {
		step = -1
		if at = f.From; at <= 0 || at >= size {
			at = size - 1
		}
	}
	var out []Record
	for at >= 0 && at < size && len(out) < f.Limit {
		err := r.view(func(tx *bolt.Tx) error {
			leaves := tx.Bucket([]byte(bucketLeaves))
			for n := 0; n < page && at >= 0 && at < size && len(out) < f.Limit; n++ {
				rec, err := f.record(leaves, at)
				if err != nil {
					return err
				}
				if rec != nil {
					out = append(out, *rec)
				}
				at += step
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
	}
	return out, nil
}

// record returns the record at an index if the filter selects it. It searches
// the raw bytes first, so most records are not decoded.
func (f EventFilter) record(leaves *bolt.Bucket, at int64) (*Record, error) {
	data := leaves.Get(number(at))
	if data == nil {
		return nil, fmt.Errorf("record %d is missing: the log is damaged", at)
	}
	if f.Run != "" && !bytes.Contains(data, []byte(f.Run)) || f.About != "" && !bytes.Contains(data, []byte(f.About)) {
		return nil, nil
	}
	e, err := audit.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("record %d cannot be read: the log is damaged: %w", at, err)
	}
	if f.Run != "" && e.RunID != f.Run || f.About != "" && e.Gates.ApprovalID != f.About ||
		len(f.Types) > 0 && !slices.Contains(f.Types, e.Event) {
		return nil, nil
	}
	return &Record{Index: at, Raw: bytes.Clone(data), Event: e}, nil
}

func (r reader) size() (records, hashes int64, err error) {
	err = r.view(func(tx *bolt.Tx) error {
		records = lastIndex(tx, bucketLeaves) + 1
		hashes = lastIndex(tx, bucketHashes) + 1
		return nil
	})
	return records, hashes, err
}

// lastIndex returns the last key of a bucket of the log, -1 if it is empty.
func lastIndex(tx *bolt.Tx, bucket string) int64 {
	k, _ := tx.Bucket([]byte(bucket)).Cursor().Last()
	return parseNumber(k)
}

// ReadHashes implements tlog.HashReader.
func (r reader) ReadHashes(indexes []int64) (out []tlog.Hash, err error) {
	err = r.view(func(tx *bolt.Tx) error {
		out, err = storedHashes{tx.Bucket([]byte(bucketHashes))}.ReadHashes(indexes)
		return err
	})
	return out, err
}

// ProveRecord proves that the log with size records contains the one at index.
func (r reader) ProveRecord(size, index int64) (tlog.RecordProof, error) {
	p, err := tlog.ProveRecord(size, index, r)
	if err != nil {
		return nil, fmt.Errorf("proving record %d of %d: %w", index, size, err)
	}
	return p, nil
}

// ProveConsistency proves that the log with size records extends the one with
// older records. Every log extends the empty one, which needs no proof.
func (r reader) ProveConsistency(size, older int64) (tlog.TreeProof, error) {
	if older == 0 && size >= 0 {
		return tlog.TreeProof{}, nil
	}
	p, err := tlog.ProveTree(size, older, r)
	if err != nil {
		return nil, fmt.Errorf("proving that %d records continue %d: %w", size, older, err)
	}
	return p, nil
}

// source gives the verifier access to the log, page by page.
type source struct{ r reader }

func (s source) Size() (records, hashes int64, err error) { return s.r.size() }

func (s source) Leaves(from int64, limit int) (out []audit.Leaf, err error) {
	err = s.r.view(func(tx *bolt.Tx) error {
		c := tx.Bucket([]byte(bucketLeaves)).Cursor()
		for k, v := c.Seek(number(from)); k != nil && len(out) < limit; k, v = c.Next() {
			out = append(out, audit.Leaf{Index: parseNumber(k), Data: bytes.Clone(v)})
		}
		return nil
	})
	return out, err
}

func (s source) StoredHashes(from int64, n int) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, n)
	err := s.r.view(func(tx *bolt.Tx) error {
		c := tx.Bucket([]byte(bucketHashes)).Cursor()
		for k, v := c.Seek(number(from)); k != nil; k, v = c.Next() {
			i := parseNumber(k) - from
			if i < 0 || i >= int64(n) {
				return nil
			}
			if len(v) == tlog.HashSize {
				copy(out[i][:], v)
			}
		}
		return nil
	})
	return out, err
}

// checkpoints returns the signed checkpoints in the file, the oldest first.
func (r reader) checkpoints() (out [][]byte, err error) {
	err = r.view(func(tx *bolt.Tx) error {
		each(tx.Bucket([]byte(bucketCheckpoints)), nil, func(_, v []byte) bool {
			out = append(out, bytes.Clone(v))
			return true
		})
		return nil
	})
	return out, err
}

// verify recomputes the log and compares it with every checkpoint in the file
// and with the head outside it.
func (r reader) verify(ctx context.Context, verifier string, headFile []byte) (audit.Report, error) {
	points, err := r.checkpoints()
	if err != nil {
		return audit.Report{}, fmt.Errorf("verifying the audit log: %w", err)
	}
	if headFile != nil {
		points = append(points, headFile)
	}
	return audit.Verify(ctx, source{r}, audit.VerifyOptions{Verifier: verifier, Checkpoints: points})
}

// Export writes the records starting at index from, each in canonical form on
// one line.
func (r reader) Export(ctx context.Context, w io.Writer, from int64) error {
	size, _, err := r.size()
	if err != nil {
		return fmt.Errorf("exporting the audit log: %w", err)
	}
	for at := max(0, from); at < size; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("exporting the audit log: %w", err)
		}
		leaves, err := source{r}.Leaves(at, int(min(page, size-at)))
		if err != nil {
			return fmt.Errorf("exporting the audit log: %w", err)
		}
		if len(leaves) == 0 {
			return fmt.Errorf("exporting the audit log: record %d is missing", at)
		}
		for _, l := range leaves {
			if l.Index != at {
				return fmt.Errorf("exporting the audit log: record %d is missing", at)
			}
			if _, err := w.Write(append(l.Data, '\n')); err != nil {
				return fmt.Errorf("exporting the audit log: %w", err)
			}
			at++
		}
	}
	return nil
}

// Verifier returns the public key of the log.
func (s *Store) Verifier() string { return s.key.Verifier() }

// Checkpoint returns a signed statement about the current log.
func (s *Store) Checkpoint() ([]byte, error) {
	size := s.Size()
	root, err := tlog.TreeHash(size, s)
	if err != nil {
		return nil, fmt.Errorf("signing a checkpoint: %w", err)
	}
	return s.key.Sign(size, root)
}

// Verify checks the whole log while the daemon runs.
func (s *Store) Verify(ctx context.Context) (audit.Report, error) {
	headFile, err := s.head.read()
	if err != nil {
		return audit.Report{}, fmt.Errorf("verifying the audit log: %w", err)
	}
	r, err := s.verify(ctx, s.Verifier(), headFile)
	return withDamage(r, err, s.check.Load().damaged())
}

// withDamage turns an error about unreadable pages into a report that names
// them.
func withDamage(r audit.Report, err error, found []Damage) (audit.Report, error) {
	if !errors.Is(err, ErrMissing) {
		return r, err
	}
	r.FirstBad, r.LastBad = r.Size, max(r.Size, r.LastBad)
	r.Problem = fmt.Sprintf("records from %d on cannot be read: %v", r.Size, err)
	if len(found) > 0 {
		r.Problem += "\nthe database is damaged:\n" + damageText(found)
	}
	return r, nil
}

// Log is the audit log of a database that no daemon has open, read-only.
type Log struct {
	reader
	db       *database
	verifier string
	head     []byte
}

// OpenLog opens the log read-only. Path is required. The public key comes from
// the key file, or from the database if there is none. It returns ErrLocked
// while a daemon has the database open; ask that daemon instead.
func OpenLog(o Options) (*Log, error) {
	var h head
	h.init(o)
	headFile, err := h.read()
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	timeout := o.LockTimeout
	if timeout <= 0 {
		timeout = defaultLockTimeout
	}
	if err := catchUp(o.Path, timeout); err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	db, err := openFile(o.Path, true, timeout)
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	l := &Log{db: db, head: headFile}
	l.reader = reader{view: func(fn func(*bolt.Tx) error) error { return viewFile(db, fn) }}
	if l.verifier, err = l.publicKey(h.keyPath); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the audit log: %w", err), db.Close())
	}
	return l, nil
}

// catchUp applies the journal of a killed daemon to the database. A database
// that was closed is not written to.
func catchUp(path string, timeout time.Duration) error {
	db, err := openFile(path, true, timeout)
	if err != nil {
		return err
	}
	n := 0
	err = viewFile(db, func(tx *bolt.Tx) error {
		id, applied, err := journalState(tx)
		if err != nil {
			return err
		}
		f, err := os.Open(path + journalSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		j := &journal{f: f, id: id}
		n = len(j.missing(applied))
		return j.close()
	})
	if err = errors.Join(err, db.Close()); err != nil || n == 0 {
		return err
	}
	if db, err = openFile(path, false, timeout); err != nil {
		return err
	}
	j, _, err := replay(db, path+journalSuffix, nil)
	if j != nil {
		err = errors.Join(err, j.close())
	}
	return errors.Join(err, db.Close())
}

func (l *Log) publicKey(keyPath string) (verifier string, err error) {
	err = l.view(func(tx *bolt.Tx) error {
		if err := checkBuckets(tx, bucketMeta, bucketLeaves, bucketHashes, bucketCheckpoints); err != nil {
			return fmt.Errorf("%w: %w", ErrMissing, err)
		}
		verifier = string(tx.Bucket([]byte(bucketMeta)).Get([]byte(metaVerifier)))
		return nil
	})
	if err != nil {
		return "", err
	}
	data, err := readSmall(keyPath, 4<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return verifier, nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the key of the audit log: %w", err)
	}
	k, err := audit.ParseKey(string(data))
	if err != nil {
		return "", err
	}
	return k.Verifier(), nil
}

// Size returns the number of records.
func (l *Log) Size() (int64, error) {
	n, _, err := l.size()
	return n, err
}

// Verifier returns the public key of the log.
func (l *Log) Verifier() string { return l.verifier }

// Verify checks the whole log.
func (l *Log) Verify(ctx context.Context) (audit.Report, error) {
	var found []Damage
	r, err := l.verify(ctx, l.verifier, l.head)
	if err != nil && l.db.sums != nil {
		found, _ = lookAtPages(ctx, l.db) // the report has the reason either way
	}
	return withDamage(r, err, found)
}

// Examine looks for damage in a database that no daemon has open, and changes
// nothing. It returns ErrMissing if the database has disappeared, ErrFilesGone
// if its journal has and the last writes with it, and ErrLocked while a daemon
// has it open.
func Examine(ctx context.Context, path string) (found []Damage, err error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path + ".head"); errors.Is(err, fs.ErrNotExist) {
			return nil, nil // there never was one
		}
		return nil, fmt.Errorf("%w: %s does not exist, but %s.head says that it did", ErrMissing, path, path)
	}
	db, err := openFile(path, true, defaultLockTimeout)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := os.Lstat(path + journalSuffix); errors.Is(err, fs.ErrNotExist) && db.meta.freelist == 0 {
		return nil, fmt.Errorf("%w: %s was removed while a daemon ran that did not stop in order; what it did last may be missing, "+
			"and the next start cancels what is open", ErrFilesGone, path+journalSuffix)
	}
	if db.sums == nil {
		return nil, nil // its pages were walked when it was opened
	}
	return lookAtPages(ctx, db)
}

// Describe describes damage, one part per line.
func Describe(found []Damage) string { return damageText(found) }

// Close closes the database.
func (l *Log) Close() error { return l.db.Close() }
