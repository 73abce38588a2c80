package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	bolt "go.etcd.io/bbolt"
)

// A bbolt commit syncs twice. A caller therefore waits only for one record in
// a journal beside the database, which is synced once. The transaction itself
// stays open and is committed when there is time, after a second at the
// latest, or when someone reads from the file. A record holds the puts and
// deletes of one batch: it is written completely or not at all, and applying
// it twice is harmless. After each commit of the database the journal is
// rewritten from its start; sequence numbers distinguish new records from old
// ones.
//
// Rejected: syncing bbolt once, after data and meta page together. On power
// loss the meta page may then name pages that were never written.
const (
	journalSize   = 1 << 20
	journalHigh   = journalSize * 3 / 4 // the database is committed when this much is used
	journalAlign  = 4096                // a record never shares a page with an acknowledged one
	journalHeader = 48
	journalMagic  = 0x6d676a31
	journalSuffix = ".journal" // appended to the name of the database
)

// metaJournal is the sequence number of the last record that the database
// contains; metaJournalID ties a journal to its database.
const (
	metaJournal   = "journal"
	metaJournalID = "journal_id"
)

var errJournalFull = errors.New("the journal has no room")

// Only the committing goroutine uses a journal.
type journal struct {
	f   *os.File
	id  []byte
	at  int64  // where the next record goes
	seq uint64 // of the last record
	buf []byte // the record being built; reused for the next
}

// openJournal opens the journal of a database or creates one. The whole file
// is written once, so that later records change no file metadata.
func openJournal(path string, id []byte) (*journal, error) {
	info, err := os.Lstat(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	if err != nil || info.Size() != journalSize || !info.Mode().IsRegular() {
		if err := writeFile(path, make([]byte, journalSize)); err != nil {
			return nil, fmt.Errorf("making the journal: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	if err := f.Chmod(fileMode); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the journal: %w", err), f.Close())
	}
	return &journal{f: f, id: id}, nil
}

func (j *journal) sum(seq uint64, payload []byte) []byte {
	h := sha256.New()
	h.Write(j.id)
	h.Write(binary.BigEndian.AppendUint64(nil, seq))
	h.Write(payload)
	return h.Sum(nil)
}

// begin returns an empty record to which a batch appends its changes. Only one
// record is built at a time.
func (j *journal) begin() []byte {
	return append(j.buf[:0], make([]byte, journalHeader)...)
}

// append durably writes a record started with begin. After any error other
// than errJournalFull it is unknown whether the record was written.
func (j *journal) append(b []byte) error {
	n := len(b)
	size := (n + journalAlign - 1) &^ (journalAlign - 1)
	b = append(b, make([]byte, size-n)...)
	if cap(b) <= journalSize { // do not keep the buffer of one large batch for ever
		j.buf = b
	}
	if j.at+int64(size) > journalSize {
		return errJournalFull
	}
	payload := b[journalHeader:n]
	binary.BigEndian.PutUint32(b, journalMagic)
	binary.BigEndian.PutUint32(b[4:], uint32(len(payload)))
	binary.BigEndian.PutUint64(b[8:], j.seq+1)
	copy(b[16:], j.sum(j.seq+1, payload))
	if _, err := j.f.WriteAt(b, j.at); err != nil {
		return fmt.Errorf("writing to the journal: %w", err)
	}
	if err := syncData(j.f); err != nil {
		return fmt.Errorf("syncing the journal: %w", err)
	}
	j.at += int64(size)
	j.seq++
	return nil
}

// read returns the record at an offset and the offset of the next one. ok is
// false if there is no record or it was cut short.
func (j *journal) read(at int64) (seq uint64, payload []byte, next int64, ok bool) {
	var header [journalHeader]byte
	if _, err := j.f.ReadAt(header[:], at); err != nil {
		return 0, nil, 0, false
	}
	n := int64(binary.BigEndian.Uint32(header[4:]))
	if binary.BigEndian.Uint32(header[:]) != journalMagic || at+journalHeader+n > journalSize {
		return 0, nil, 0, false
	}
	payload = make([]byte, n)
	if _, err := j.f.ReadAt(payload, at+journalHeader); err != nil && !errors.Is(err, io.EOF) {
		return 0, nil, 0, false
	}
	seq = binary.BigEndian.Uint64(header[8:])
	if !bytes.Equal(header[16:], j.sum(seq, payload)) {
		return 0, nil, 0, false
	}
	return seq, payload, at + (journalHeader+n+journalAlign-1)&^(journalAlign-1), true
}

// missing returns the records after sequence number applied. Records from
// before the last restart have lower numbers and end the search.
func (j *journal) missing(applied uint64) (payloads [][]byte) {
	last := uint64(0)
	for at := int64(0); at+journalHeader <= journalSize; {
		seq, payload, next, ok := j.read(at)
		if !ok || last != 0 && seq != last+1 || last == 0 && seq > applied+1 {
			break
		}
		if seq > applied {
			payloads = append(payloads, payload)
		}
		last, at = seq, next
	}
	return payloads
}

// restart rewinds the journal; the database contains all of its records.
func (j *journal) restart(applied uint64) { j.at, j.seq = 0, applied }

func (j *journal) close() error { return j.f.Close() }

// The kinds of change in a record.
const (
	redoPut    = 1
	redoDelete = 2
)

func appendRedo(b []byte, kind byte, bucket string, k, v []byte) []byte {
	b = append(b, kind)
	b = append(binary.AppendUvarint(b, uint64(len(bucket))), bucket...)
	b = append(binary.AppendUvarint(b, uint64(len(k))), k...)
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// redo applies a record to a transaction.
func redo(tx *bolt.Tx, payload []byte) error {
	for len(payload) > 0 {
		kind := payload[0]
		payload = payload[1:]
		var parts [3][]byte
		for i := range parts {
			n, w := binary.Uvarint(payload)
			if w <= 0 || n > uint64(len(payload)-w) {
				return errors.New("a record of the journal is malformed")
			}
			parts[i], payload = payload[w:w+int(n)], payload[w+int(n):]
		}
		b, err := tx.CreateBucketIfNotExists(parts[0])
		if err != nil {
			return err
		}
		switch kind {
		case redoPut:
			err = b.Put(parts[1], parts[2])
		case redoDelete:
			err = b.Delete(parts[1])
		default:
			err = fmt.Errorf("a record of the journal has the unknown kind %d", kind)
		}
		if err != nil {
			return fmt.Errorf("applying the journal: %w", err)
		}
	}
	return nil
}

// journalState reads the journal id and sequence number stored in a database.
func journalState(tx *bolt.Tx) (id []byte, applied uint64, err error) {
	meta := tx.Bucket([]byte(bucketMeta))
	if meta == nil {
		return nil, 0, fmt.Errorf("%w: it is a database, but not of this program", ErrMissing)
	}
	id = bytes.Clone(meta.Get([]byte(metaJournalID)))
	if v := meta.Get([]byte(metaJournal)); v != nil {
		if applied, err = strconv.ParseUint(string(v), 10, 64); err != nil {
			return nil, 0, fmt.Errorf("%w: the number of its journal is malformed", ErrMissing)
		}
	}
	return id, applied, nil
}

func putJournal(tx *bolt.Tx, seq uint64) error {
	return tx.Bucket([]byte(bucketMeta)).Put([]byte(metaJournal), strconv.AppendUint(nil, seq, 10))
}

// replay opens the journal of an open database and applies its missing
// records; applied is their number. If they cannot be written, the journal is
// returned with the error and the caller must close it.
func replay(db *database, path string, before func() error) (j *journal, applied int, err error) {
	var id []byte
	var seq uint64
	if err := viewFile(db, func(tx *bolt.Tx) (err error) {
		id, seq, err = journalState(tx)
		return err
	}); err != nil {
		return nil, 0, err
	}
	if len(id) == 0 {
		return nil, 0, fmt.Errorf("%w: it has no journal", ErrMissing)
	}
	if j, err = openJournal(path, id); err != nil {
		return nil, 0, err
	}
	payloads := j.missing(seq)
	j.restart(seq + uint64(len(payloads)))
	if len(payloads) == 0 {
		return j, 0, nil
	}
	if err := updateFile(db, func(tx *bolt.Tx) error {
		if before != nil {
			if err := before(); err != nil {
				return err
			}
		}
		for _, p := range payloads {
			if err := redo(tx, p); err != nil {
				return err
			}
		}
		return putJournal(tx, j.seq)
	}); err != nil {
		return j, 0, err
	}
	return j, len(payloads), nil
}
