package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/mod/sumdb/tlog"
)

// batch is one write transaction, plus the changes to memory to make once it
// is durable. Only the committing goroutine uses it.
type batch struct {
	tx      *bolt.Tx
	log     *slog.Logger
	now     guard.Now // of the operation that runs
	writes  int       // puts and deletes so far
	redo    []byte    // the same, as a record of the journal
	size    int64     // records of the log, with those of this batch
	tenants []string  // with those of this batch
	mem     *memory   // as of the last commit; only the writer changes what a batch reads of it
	touched map[guard.ApprovalID]*row
	calls   map[guard.CallID]*callRow // opened by this batch, and written by finish if they still are
	counts  map[counterKey]int        // calls by this batch, added by finish
	edge    map[int64]tlog.Hash       // hashes of the log that this batch wrote or read
	// after holds changes to the memory state; they run with Store.mu held.
	after   []func(*memory)
	changes []Change
}

func (s *Store) newBatch(tx *bolt.Tx) *batch {
	return &batch{
		tx: tx, log: s.log, now: s.clock.Now(), size: s.Size(), tenants: s.tenants(),
		mem: &s.mem, touched: map[guard.ApprovalID]*row{}, calls: map[guard.CallID]*callRow{},
		counts: map[counterKey]int{}, edge: map[int64]tlog.Hash{},
	}
}

// finish writes what the operations of a batch deferred. Most read-only calls
// are opened and closed in one batch and never touch a page.
func (b *batch) finish() error {
	for _, id := range slices.Sorted(maps.Keys(b.calls)) {
		c := b.calls[id]
		if err := b.putJSON(bucketCalls, key(c.Tenant, string(id)), c); err != nil {
			return err
		}
	}
	clear(b.calls)
	for k, n := range b.counts {
		at := k.key()
		if err := b.put(bucketCounters, at, number(int64(counted(b.get(bucketCounters, at))+n))); err != nil {
			return err
		}
	}
	clear(b.counts)
	return nil
}

// run runs one operation. A panic in it becomes its error.
func (b *batch) run(fn func(*batch) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			b.log.Error("an operation of the store panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("the operation panicked: %v", p)
		}
	}()
	return fn(b)
}

func (b *batch) bucket(name string) *bolt.Bucket { return b.tx.Bucket([]byte(name)) }

func (b *batch) get(bucket string, k []byte) []byte { return b.bucket(bucket).Get(k) }

func (b *batch) put(bucket string, k, v []byte) error {
	if v == nil {
		v = []byte{} // within the transaction, nil would read as if the key were not there
	}
	b.writes++
	b.redo = appendRedo(b.redo, redoPut, bucket, k, v)
	if err := b.bucket(bucket).Put(k, v); err != nil {
		return fmt.Errorf("writing to %s: %w", bucket, err)
	}
	return nil
}

func (b *batch) putJSON(bucket string, k []byte, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding for %s: %w", bucket, err)
	}
	return b.put(bucket, k, data)
}

func (b *batch) delete(bucket string, k []byte) error {
	b.writes++
	b.redo = appendRedo(b.redo, redoDelete, bucket, k, nil)
	if err := b.bucket(bucket).Delete(k); err != nil {
		return fmt.Errorf("deleting from %s: %w", bucket, err)
	}
	return nil
}

// getJSON decodes a value into v. It reports false if there is none.
func getJSON(b *bolt.Bucket, k []byte, v any) (bool, error) {
	data := b.Get(k)
	if data == nil {
		return false, nil
	}
	if err := json.Unmarshal(data, v); err != nil {
		// fail closed: do not use a row that cannot be read.
		return false, fmt.Errorf("reading a stored row: %w", err)
	}
	return true, nil
}

// tenant records a tenant as known. Ids are looked up among the known tenants.
func (b *batch) tenant(name string) error {
	i, ok := slices.BinarySearch(b.tenants, name)
	if ok {
		return nil
	}
	b.tenants = slices.Insert(slices.Clone(b.tenants), i, name)
	list := b.tenants
	b.then(func(m *memory) { m.tenants = list })
	return b.put(bucketTenants, []byte(name), []byte(b.now.Wall.UTC().Format(time.RFC3339)))
}

// find returns the tenant that has an id in a bucket.
func (b *batch) find(bucket, id string) (tenant string, ok bool) {
	return findTenant(b.bucket(bucket), b.tenants, id)
}

func findTenant(b *bolt.Bucket, tenants []string, id string) (string, bool) {
	if id == "" || checkParts("", id) != nil {
		return "", false
	}
	for _, t := range tenants {
		if b.Get(key(t, id)) != nil {
			return t, true
		}
	}
	return "", false
}

func (b *batch) then(fn func(*memory)) { b.after = append(b.after, fn) }

func (b *batch) changed(c Change) {
	c.At = b.now.Wall
	b.changes = append(b.changes, c)
}

// append adds encoded records to the log and returns the index of the first.
func (b *batch) append(records ...[]byte) (int64, error) {
	first := b.size
	leaves, hashes := b.bucket(bucketLeaves), b.bucket(bucketHashes)
	leaves.FillPercent, hashes.FillPercent = 0.95, 0.95 // keys only grow
	for _, data := range records {
		stored, err := tlog.StoredHashes(b.size, data, edge{b.edge, hashes})
		if err != nil {
			return 0, fmt.Errorf("continuing the audit log at %d: %w", b.size, err)
		}
		if err := b.put(bucketLeaves, number(b.size), data); err != nil {
			return 0, err
		}
		at := tlog.StoredHashIndex(0, b.size)
		for i, h := range stored {
			if err := b.put(bucketHashes, number(at+int64(i)), slices.Clone(h[:])); err != nil {
				return 0, err
			}
			b.edge[at+int64(i)] = h
		}
		b.size++
	}
	return first, nil
}

// event records events that the store itself creates.
func (b *batch) event(events ...audit.Event) error {
	for _, e := range events {
		data, err := e.Encode()
		if err != nil {
			return err
		}
		if _, err := b.append(data); err != nil {
			return err
		}
	}
	return nil
}

// storedHashes reads the hashes of the log within one transaction.
type storedHashes struct{ b *bolt.Bucket }

// ReadHashes implements tlog.HashReader.
func (r storedHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, n := range indexes {
		data := r.b.Get(number(n))
		if len(data) != tlog.HashSize {
			return nil, fmt.Errorf("the stored hash %d is missing", n)
		}
		copy(out[i][:], data)
	}
	return out, nil
}

// edge reads the hashes that a new record builds on. Those written by the same
// batch come from memory.
type edge struct {
	known map[int64]tlog.Hash
	b     *bolt.Bucket
}

// ReadHashes implements tlog.HashReader.
func (r edge) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, n := range indexes {
		h, ok := r.known[n]
		if !ok {
			found, err := storedHashes{r.b}.ReadHashes(indexes[i : i+1])
			if err != nil {
				return nil, err
			}
			h = found[0]
			r.known[n] = h
		}
		out[i] = h
	}
	return out, nil
}

// encoded is a list of events encoded for the log.
type encoded [][]byte

// encode sets the fields that the caller left empty and encodes the events.
func (s *Store) encode(events []audit.Event) (encoded, error) {
	var out encoded
	for _, e := range events {
		data, err := s.complete(e).Encode()
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

func (s *Store) complete(e audit.Event) audit.Event {
	if e.EventID == "" {
		e.EventID = guard.NewEventID()
	}
	if e.Timestamp.IsZero() {
		e.Timestamp = s.clock.Now().Wall
	}
	return e
}

// mustEncode encodes an event for a caller that takes no error. If encoding
// fails, which is a bug, it returns an event that says so and keeps the ids,
// so that nothing disappears.
func (s *Store) mustEncode(e audit.Event) []byte {
	e = s.complete(e)
	data, err := e.Encode()
	if err == nil {
		return data
	}
	s.log.Error("an audit event could not be encoded", "event", e.Event, "error", err)
	alert := audit.New(audit.AlertRaised, s.clock.Now().Wall)
	alert.CorrelationID, alert.CallID, alert.RunID, alert.SessionID, alert.TenantID =
		e.CorrelationID, e.CallID, e.RunID, e.SessionID, e.TenantID
	alert.Reason = fmt.Sprintf("an event of type %q could not be recorded: %v", e.Event, err)
	if data, err = alert.Encode(); err == nil {
		return data
	}
	// Only an unusable clock leads here. Keep the record and drop its time.
	alert.Timestamp = time.Unix(0, 0)
	data, _ = alert.Encode() // every other field is normalised or empty
	return data
}

var errNoBucket = errors.New("a bucket is missing")

// checkBuckets returns an error if one of the buckets is missing.
func checkBuckets(tx *bolt.Tx, names ...string) error {
	for _, name := range names {
		if tx.Bucket([]byte(name)) == nil {
			return fmt.Errorf("%w: %s", errNoBucket, name)
		}
	}
	return nil
}
