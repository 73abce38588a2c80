package store

import (
	"context"
	"encoding/binary"
	"time"
)

// pruneAtOnce bounds one transaction of Prune, so that other writes do not
// wait long.
const pruneAtOnce = 200

// Prune drops the contents (arguments, texts of changes) of approvals that
// ended before olderThan, unless another approval still needs them, and the
// markers of calls completed before it. Rows and the audit log stay. The file
// does not shrink; its pages are reused.
func (s *Store) Prune(_ context.Context, olderThan time.Time) (Pruned, error) {
	var total Pruned
	var from []byte
	for {
		type step struct {
			Pruned
			next []byte
		}
		at := from
		got, err := ask(s, "pruning", func(b *batch) (out step, late, err error) {
			out.next, err = b.pruneApprovals(&out.Pruned, at, olderThan)
			return out, nil, err
		})
		if err != nil {
			return total, err
		}
		total.Approvals += got.Approvals
		total.Blobs += got.Blobs
		total.Bytes += got.Bytes
		if from = got.next; from == nil {
			break
		}
	}
	for {
		n, err := ask(s, "pruning", func(b *batch) (n int, late, err error) {
			n, err = b.pruneCalls(olderThan)
			return n, nil, err
		})
		total.Calls += n
		if err != nil || n < pruneAtOnce {
			return total, err
		}
	}
}

// pruneApprovals processes rows starting at a key. It returns the key to
// continue at, nil at the end.
func (b *batch) pruneApprovals(out *Pruned, from []byte, olderThan time.Time) (next []byte, err error) {
	var old []*row
	seen := 0
	c := b.bucket(bucketApprovals).Cursor()
	for k, v := c.Seek(from); k != nil; k, v = c.Next() {
		if seen++; seen > pruneAtOnce {
			next = append([]byte(nil), k...)
			break
		}
		r, err := decodeRow(v)
		if err != nil {
			return nil, err
		}
		if r.Status.Final() && !r.Pruned && r.EndedAt.Before(olderThan) {
			old = append(old, r)
		}
	}
	for _, r := range old {
		if err := b.prune(out, r); err != nil {
			return nil, err
		}
	}
	return next, nil
}

func (b *batch) prune(out *Pruned, r *row) error {
	for _, sum := range r.blobs() {
		if err := b.delete(bucketBlobRefs, refKey(r.Tenant, sum, r.ID)); err != nil {
			return err
		}
		used := false
		each(b.bucket(bucketBlobRefs), prefix(r.Tenant, sum.String()), func(_, _ []byte) bool {
			used = true
			return false
		})
		k := blobKey(r.Tenant, sum)
		if data := b.get(bucketBlobs, k); data != nil && !used {
			out.Blobs++
			out.Bytes += int64(len(data))
			if err := b.delete(bucketBlobs, k); err != nil {
				return err
			}
		}
	}
	r.Pruned = true
	out.Approvals++
	return b.putJSON(bucketApprovals, key(r.Tenant, string(r.ID)), r)
}

// pruneCalls removes old markers. After that a call's id could be used again,
// but its random part makes that practically impossible, and its session has
// ended.
func (b *batch) pruneCalls(olderThan time.Time) (int, error) {
	var old [][]byte
	each(b.bucket(bucketCallsClosed), nil, func(k, v []byte) bool {
		if len(v) == 16 && int64(binary.BigEndian.Uint64(v[8:])) < olderThan.UnixMilli() {
			old = append(old, append([]byte(nil), k...))
		}
		return len(old) < pruneAtOnce
	})
	for _, k := range old {
		if err := b.delete(bucketCallsClosed, k); err != nil {
			return 0, err
		}
	}
	return len(old), nil
}
