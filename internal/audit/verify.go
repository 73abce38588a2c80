package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// Leaf is one stored record with the index under which it is stored.
type Leaf struct {
	Index int64
	Data  []byte
}

// Source gives access to a stored log. What it returns belongs to the caller.
type Source interface {
	// Size returns, as of one moment, the number of records and of stored
	// hashes, each counted by the last key.
	Size() (records, hashes int64, err error)
	// Leaves returns up to limit records in the order of their keys, from the
	// key from on. It does not fill gaps.
	Leaves(from int64, limit int) ([]Leaf, error)
	// StoredHashes returns n hashes from the stored index from on. A hash that
	// is missing is zero.
	StoredHashes(from int64, n int) ([]tlog.Hash, error)
}

// Report is what verification found.
type Report struct {
	Size int64     // records read
	Root tlog.Hash // recomputed from the records, if all were read
	// FirstBad is the index of the first damaged record, -1 if there is none.
	// Where damage was covered up by recomputing the hashes the record cannot
	// be named: it is one of FirstBad to LastBad.
	FirstBad, LastBad int64
	Problem           string // a sentence, empty if the log is whole
	// Checkpoints is how many signed checkpoints the log was held against, and
	// Signed the size of the largest: records after it are vouched for by
	// nothing but the stored hashes.
	Checkpoints int
	Signed      int64
	// Calls counts requested calls, Open those without a completion yet.
	Calls, Open int64
	// Twice lists up to 100 calls that were completed more than once, or
	// without having been requested.
	Twice []string
}

// OK reports whether no damage was found and no call ended twice.
func (r Report) OK() bool { return r.FirstBad < 0 && r.Problem == "" && len(r.Twice) == 0 }

// VerifyOptions are what a log is held against. The zero value compares the
// records with their stored hashes alone.
type VerifyOptions struct {
	Verifier    string   // public key of the log
	Checkpoints [][]byte // signed; each must fit
}

// chunk is how many records are read at once: a reader must not hold up the
// writer of a live log.
const chunk = 512

// Verify recomputes every hash of the log from its records, in one pass and
// in constant memory (apart from the calls that are open), and compares them
// with what is stored and with the checkpoints. The error is for failing to
// read; damage is in the report.
func Verify(ctx context.Context, src Source, o VerifyOptions) (Report, error) {
	v := verification{src: src, open: map[string]bool{}}
	v.r.FirstBad, v.r.LastBad = -1, -1
	for _, signed := range o.Checkpoints {
		c, err := OpenCheckpoint(signed, o.Verifier)
		if err != nil {
			// fail closed: a checkpoint that cannot be read vouches for nothing.
			return v.bad(0, -1, "a checkpoint does not carry the signature of this log: "+err.Error()), nil
		}
		v.points = append(v.points, c)
	}
	slices.SortStableFunc(v.points, func(a, b Checkpoint) int { return int(min(1, max(-1, a.Size-b.Size))) })
	records, hashes, err := src.Size()
	if err != nil {
		return v.r, fmt.Errorf("verifying the audit log: %w", err)
	}
	if stop := v.checkpoints(0); stop {
		return v.r, nil
	}
	for v.r.Size < records {
		if err := ctx.Err(); err != nil {
			return v.r, fmt.Errorf("verifying the audit log: %w", err)
		}
		stop, err := v.chunk(int(min(chunk, records-v.r.Size)))
		if err != nil {
			return v.r, fmt.Errorf("verifying the audit log: %w", err)
		}
		if stop {
			return v.r, nil
		}
	}
	v.r.Root, v.r.Open = v.root(), int64(len(v.open))
	if want := storedCount(records); hashes > want {
		return v.bad(records, recordsOf(hashes)-1, fmt.Sprintf("the log ends after %d records, but hashes of later ones are stored: it was truncated", records)), nil
	}
	if len(v.points) > 0 {
		c := v.points[len(v.points)-1]
		return v.bad(records, c.Size-1, fmt.Sprintf("the log ends after %d records, but %d were signed for: it was truncated or rolled back", records, c.Size)), nil
	}
	return v.r, nil
}

type verification struct {
	src    Source
	r      Report
	points []Checkpoint // not compared yet, by size
	// frontier holds the roots of the complete subtrees on the right edge, by
	// level; level k is in use where bit k of the size is set.
	frontier []tlog.Hash
	open     map[string]bool
	signed   int64 // the last checkpoint that fitted
}

func (v *verification) bad(first, last int64, problem string) Report {
	v.r.FirstBad, v.r.LastBad, v.r.Problem = first, max(first, last), problem
	return v.r
}

// chunk reads and compares the next n records. It reports whether damage ends
// the verification.
func (v *verification) chunk(n int) (stop bool, err error) {
	from := v.r.Size
	leaves, err := v.src.Leaves(from, n)
	if err != nil {
		return false, fmt.Errorf("reading records from %d: %w", from, err)
	}
	at := storedCount(from)
	stored, err := v.src.StoredHashes(at, int(storedCount(from+int64(n))-at))
	if err != nil {
		return false, fmt.Errorf("reading hashes from %d: %w", at, err)
	}
	if len(stored) != int(storedCount(from+int64(n))-at) {
		return false, errors.New("reading hashes: the source returned another number than asked for")
	}
	for i := range n {
		index := from + int64(i)
		if i >= len(leaves) || leaves[i].Index != index {
			v.bad(index, -1, fmt.Sprintf("record %d is missing", index))
			return true, nil
		}
		e, err := Decode(leaves[i].Data)
		if err != nil {
			v.bad(index, -1, fmt.Sprintf("record %d is no event: %v", index, err))
			return true, nil
		}
		for level, h := range v.add(leaves[i].Data) {
			if stored[0] != h {
				v.bad(index, -1, mismatch(index, level))
				return true, nil
			}
			stored = stored[1:]
		}
		v.call(e)
		if v.checkpoints(v.r.Size) {
			return true, nil
		}
	}
	return false, nil
}

func mismatch(index int64, level int) string {
	if level == 0 {
		return fmt.Sprintf("record %d is not the one whose hash is stored", index)
	}
	return fmt.Sprintf("a stored hash over the records up to %d does not follow from them", index)
}

// add appends a record and returns the hashes that it completes, lowest first.
func (v *verification) add(data []byte) []tlog.Hash {
	h := tlog.RecordHash(data)
	out := []tlog.Hash{h}
	level := 0
	for n := v.r.Size; n&1 == 1; n >>= 1 {
		h = tlog.NodeHash(v.frontier[level], h)
		out = append(out, h)
		level++
	}
	if level == len(v.frontier) {
		v.frontier = append(v.frontier, h)
	}
	v.frontier[level] = h
	v.r.Size++
	return out
}

// root folds the frontier into the hash of the whole tree.
func (v *verification) root() tlog.Hash {
	var h tlog.Hash
	have := false
	for level := range v.frontier {
		switch {
		case v.r.Size>>level&1 == 0:
		case !have:
			h, have = v.frontier[level], true
		default:
			h = tlog.NodeHash(v.frontier[level], h)
		}
	}
	if !have {
		h, _ = tlog.TreeHash(0, nil) // the hash of the empty tree reads nothing
	}
	return h
}

// checkpoints compares those of the current size.
func (v *verification) checkpoints(size int64) (stop bool) {
	for len(v.points) > 0 && v.points[0].Size == size {
		c := v.points[0]
		if c.Root != v.root() {
			// All records agree with their stored hashes, so these were recomputed.
			v.bad(v.signed, size-1, fmt.Sprintf(
				"the first %d records are not those that were signed for; one from %d on was altered and the hashes recomputed", size, v.signed))
			return true
		}
		v.points = v.points[1:]
		v.signed, v.r.Signed = size, size
		v.r.Checkpoints++
	}
	return false
}

// call follows the calls of the log: each ends once.
func (v *verification) call(e Event) {
	id := string(e.CallID)
	switch {
	case id == "":
	case e.Event == ToolCallRequested:
		v.r.Calls++
		v.open[id] = true
	case e.Event == ToolCallCompleted && v.open[id]:
		delete(v.open, id)
	case e.Event == ToolCallCompleted && len(v.r.Twice) < 100:
		v.r.Twice = append(v.r.Twice, id)
	}
}

// storedCount is how many hashes are stored for n records.
func storedCount(n int64) int64 {
	if n == 0 {
		return 0
	}
	return tlog.StoredHashCount(n)
}

// recordsOf is how many records n stored hashes belong to, rounded down.
func recordsOf(n int64) int64 {
	lo, hi := int64(0), n
	for lo < hi {
		mid := lo + (hi-lo+1)/2
		if storedCount(mid) <= n {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return lo
}
