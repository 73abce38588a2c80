package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// ErrLocked means that another process has the database open.
var ErrLocked = errors.New("another process has the database open")

const (
	// mmapSize is address space; only what is read uses memory. It avoids
	// remapping while the daemon runs, during which the writer would have to
	// wait for readers.
	mmapSize  = 64 << 20
	allocSize = 1 << 20 // the file grows by this much
	fileMode  = 0o600
	newSuffix = ".new-" // of a file that is not yet renamed to its final name
)

// database is an open database file.
type database struct {
	*bolt.DB
	f    *os.File // that bbolt has open
	meta meta     // the newest one when it was opened
	// sums are the checksums of the pages as of meta; nil if none match it.
	sums *pageSums
}

// openFile opens and locks the database. It first rejects files that bbolt
// would take for a new database or read without checks.
func openFile(path string, readOnly bool, timeout time.Duration) (*database, error) {
	for tries := 0; ; tries++ {
		db, err := openChecked(path, readOnly, timeout)
		if err != nil {
			return nil, err
		}
		// The lock is held from here on. The checks made before it are valid
		// only if no one wrote in between.
		if now, ok := newestMeta(db.f); ok && now == db.meta {
			return db, nil
		}
		if err := db.Close(); err != nil || tries == 2 {
			return nil, errors.Join(fmt.Errorf("opening %s: %w", path, ErrLocked), err)
		}
	}
}

func openChecked(path string, readOnly bool, timeout time.Duration) (out *database, err error) {
	m, sums, err := checkFile(path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	var file *os.File
	defer func() {
		if p := recover(); p != nil {
			// After a panic no one owns the file. Closing it is not enough:
			// the mapping, which can no longer be reached, would keep the
			// lock.
			if file != nil {
				_ = unix.Flock(int(file.Fd()), unix.LOCK_UN)
				_ = file.Close()
			}
			out, err = nil, fmt.Errorf("opening %s: %w: %v", path, ErrMissing, p)
		}
	}()
	// A damaged page may lead anywhere; a fault then becomes a panic.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	db, err := bolt.Open(path, fileMode, &bolt.Options{
		Timeout: timeout, NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
		InitialMmapSize: mmapSize, ReadOnly: readOnly, NoStatistics: true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			// Never O_CREATE: a file that vanished since it was checked stays missing.
			f, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
			file = f
			return f, err
		},
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("opening %s: %w", path, ErrLocked)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("opening %s: %w: %w", path, ErrMissing, err)
	case err != nil:
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	db.AllocSize = allocSize
	return &database{db, file, m, sums}, nil
}

// scannable reports whether bbolt can find the free pages by itself, as it
// does when it rolls back a transaction and the file has no list of them.
func (db *database) scannable() error {
	m, ok := newestMeta(db.f)
	if !ok {
		return fmt.Errorf("%w: it has no valid meta page", ErrMissing)
	}
	if m.freelist != 0 {
		return nil
	}
	return checkPages(db.f, m)
}

// giveUp abandons a file that bbolt cannot even close. The lock is released;
// the mapping stays until the process ends.
func (db *database) giveUp() { _ = unix.Flock(int(db.f.Fd()), unix.LOCK_UN) }

// Layout of a bbolt file (version 2): page 0 and 1 are meta pages, each with a
// header of 16 bytes.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2
	pageHeader  = 16
	metaSize    = 64
	noFreelist  = 1<<64 - 1
)

// meta is the content of a meta page.
type meta struct {
	pageSize, root, pages int64 // pages: the high water mark
	freelist              int64 // the page that lists the free pages, 0 if none does
	tx, sum               uint64
}

// checkFile rejects a file that is not regular, is empty, has no valid meta
// page or is shorter than the meta page says. It also rejects damage that
// would mislead bbolt: with checksums, a damaged page that leads to others or
// lists the free ones; without, any page of invalid form. The search that
// follows finds the rest.
func checkFile(path string) (m meta, sums *pageSums, err error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	if err != nil {
		return m, nil, err
	}
	if !info.Mode().IsRegular() {
		return m, nil, fmt.Errorf("%w: it is not a regular file", ErrMissing)
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, fileMode); err != nil {
			return m, nil, fmt.Errorf("others may read the database, and that cannot be changed: %w", err)
		}
	}
	if info.Size() == 0 {
		return m, nil, fmt.Errorf("%w: the file is empty", ErrMissing)
	}
	f, err := os.Open(path)
	if err != nil {
		return m, nil, err
	}
	defer f.Close()
	m, ok := newestMeta(f)
	if !ok {
		return m, nil, fmt.Errorf("%w: it has no valid meta page", ErrMissing)
	}
	if info.Size() < m.pages*m.pageSize {
		return m, nil, fmt.Errorf("%w: the file has %d bytes, its meta page speaks of %d", ErrMissing, info.Size(), m.pages*m.pageSize)
	}
	if sums, err = readSums(path); err != nil {
		return m, nil, err
	}
	if sums != nil && !sums.fit(m) {
		sums = nil
	}
	if sums != nil && m.freelist != 0 {
		err = sums.checkFrame(f)
	} else {
		err = checkPages(f, m)
	}
	if err != nil {
		return m, nil, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return m, sums, nil
}

// newestMeta returns the valid meta page that was written last.
func newestMeta(f *os.File) (best meta, ok bool) {
	offsets := []int64{0}
	if m, ok := readMeta(f, 0); ok {
		offsets = append(offsets, m.pageSize)
	} else {
		// The second meta page follows the first by one page, whose size is
		// not known.
		for size := int64(1 << 10); size <= 64<<10; size <<= 1 {
			offsets = append(offsets, size)
		}
	}
	for _, at := range offsets {
		if m, valid := readMeta(f, at); valid && (!ok || m.tx > best.tx) {
			best, ok = m, true
		}
	}
	return best, ok
}

func readMeta(f *os.File, at int64) (meta, bool) {
	var b [pageHeader + metaSize]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return meta{}, false
	}
	d, e := b[pageHeader:], binary.NativeEndian
	sum := fnv.New64a()
	sum.Write(d[:56])
	m := meta{
		pageSize: int64(e.Uint32(d[8:])), root: int64(e.Uint64(d[16:])), pages: int64(e.Uint64(d[40:])),
		freelist: int64(e.Uint64(d[32:])), tx: e.Uint64(d[48:]), sum: e.Uint64(d[56:]),
	}
	if e.Uint64(d[32:]) == noFreelist {
		m.freelist = 0
	}
	ok := e.Uint32(d) == boltMagic && e.Uint32(d[4:]) == boltVersion && e.Uint64(d[56:]) == sum.Sum64() &&
		m.pageSize >= 1<<9 && m.pageSize <= 1<<20 && m.pages > 0 && m.pages < 1<<40
	return m, ok
}

// createFile creates a new database atomically. If another process was faster,
// its database is kept.
func createFile(path, verifier string, now time.Time) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+newSuffix+"*")
	if err != nil {
		return fmt.Errorf("creating %s: %w", path, err)
	}
	temp := f.Name()
	defer os.Remove(temp)
	if err := f.Close(); err != nil {
		return fmt.Errorf("creating %s: %w", path, err)
	}
	db, err := bolt.Open(temp, fileMode, &bolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return fmt.Errorf("creating %s: %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets() {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		meta := tx.Bucket([]byte(bucketMeta))
		for _, kv := range [][2]string{
			{metaSchema, strconv.Itoa(schemaVersion)},
			{metaCreated, now.UTC().Format(time.RFC3339)},
			{metaVerifier, verifier},
			{metaJournalID, rand.Text()},
		} {
			if err := meta.Put([]byte(kv[0]), []byte(kv[1])); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("creating %s: %w", path, err)
	}
	if err := os.Link(temp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("creating %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// removeLeftovers removes what an interrupted createFile or writeFile left.
// The caller holds the lock of the database.
func removeLeftovers(path string, others ...string) {
	patterns := []string{path + newSuffix + "*", path + ".*.tmp-*"}
	for _, o := range others {
		patterns = append(patterns, o+".tmp-*")
	}
	for _, p := range patterns {
		names, _ := filepath.Glob(p) // the pattern is well-formed, or there is nothing to remove
		for _, n := range names {
			_ = os.Remove(n)
		}
	}
}

// writeFile replaces a file atomically, mode 0600.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// viewFile runs a read transaction. Panics and faults that a damaged file
// causes in bbolt become errors.
func viewFile(db *database, fn func(*bolt.Tx) error) (err error) {
	defer recovered(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return db.View(fn)
}

// updateFile is viewFile for a transaction that writes.
func updateFile(db *database, fn func(*bolt.Tx) error) (err error) {
	defer recovered(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return db.Update(fn)
}

// recovered is deferred where a damaged file may cause a panic.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: bbolt panicked: %v", ErrMissing, p)
	}
}

// readSmall reads a file of at most limit bytes. It does not follow a link.
func readSmall(path string, limit int64) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is not a regular file of at most %d bytes", path, limit)
	}
	return os.ReadFile(path)
}
