package store

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// Approval returns one approval with its contents. ErrNotFound if there is none.
func (s *Store) Approval(id guard.ApprovalID) (guard.Approval, error) {
	if err := s.approvalTouched(id); err != nil {
		return guard.Approval{}, fmt.Errorf("reading an approval: %w", err)
	}
	tenants := s.tenants()
	var out guard.Approval
	err := s.glance(func(tx *bolt.Tx) error {
		r, err := readRow(tx, tenants, id)
		if err != nil {
			return err
		}
		if r == nil {
			return ErrNotFound
		}
		out = s.overlaid(r.approval())
		return r.fill(tx, &out)
	})
	if err != nil {
		return guard.Approval{}, fmt.Errorf("reading an approval: %w", err)
	}
	return out, nil
}

// overlaid returns the approval as refused in memory, if it was, instead of
// the stored one.
func (s *Store) overlaid(a guard.Approval) guard.Approval {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if refused, ok := s.mem.refused[a.ID]; ok {
		return refused
	}
	return a
}

// Open returns all pending and approved approvals, oldest first, without
// contents.
func (s *Store) Open() ([]guard.Approval, error) {
	return s.Approvals(Filter{Status: []guard.Status{guard.Pending, guard.Approved}})
}

// CountOpen returns how many approvals are not final.
func (s *Store) CountOpen() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.mem.open)
}

// Count returns how many approvals a filter selects. It ignores Limit and
// After.
func (s *Store) Count(f Filter) (int, error) {
	f.Limit, f.After, f.Full = 0, "", false
	found, err := s.found(f)
	return len(found), err
}

// Approvals returns the approvals that a filter selects, ordered by request
// time. Those that are not final come from memory.
func (s *Store) Approvals(f Filter) ([]guard.Approval, error) {
	found, err := s.found(f)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, f.order)
	if f.Limit > 0 && len(found) > f.Limit {
		found = found[:f.Limit]
	}
	out := make([]guard.Approval, len(found))
	for i, a := range found {
		if out[i] = copied(*a); !f.Full {
			continue
		}
		if out[i], err = s.Approval(a.ID); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// found returns what a filter selects, unordered and possibly more than its
// limit. The rows belong to the store.
func (s *Store) found(f Filter) ([]*guard.Approval, error) {
	if err := checkParts("the filter", f.Tenant); err != nil {
		return nil, fmt.Errorf("listing approvals: %w", err)
	}
	status := f.Status
	if len(status) == 0 {
		status = guard.Statuses[:]
	}
	var final []guard.Status
	for _, st := range status {
		if st.Final() {
			final = append(final, st)
		}
	}
	after, err := s.after(f)
	if err != nil {
		return nil, err
	}
	found, err := s.finished(f, final, after)
	if err != nil {
		return nil, err
	}
	return append(found, s.unfinished(f, status, after)...), nil
}

// order compares two approvals by time and id.
func (f Filter) order(a, b *guard.Approval) int {
	c := cmp.Or(cmp.Compare(a.RequestedAt.UnixMilli(), b.RequestedAt.UnixMilli()), cmp.Compare(a.ID, b.ID))
	if f.Newest {
		return -c
	}
	return c
}

func (f Filter) matches(a *guard.Approval) bool {
	return (f.Tenant == "" || a.Tenant == f.Tenant) && (f.Run == "" || a.RunID == f.Run) &&
		(f.Server == "" || a.Server == f.Server) && (f.Since.IsZero() || !a.RequestedAt.Before(f.Since))
}

// after returns the approval after which a list continues.
func (s *Store) after(f Filter) (*guard.Approval, error) {
	if f.After == "" {
		return nil, nil
	}
	tenants := s.tenants()
	var out *guard.Approval
	err := s.glance(func(tx *bolt.Tx) error {
		r, err := readRow(tx, tenants, f.After)
		if err == nil && r == nil {
			err = ErrNotFound
		}
		if err == nil {
			out = &r.Approval
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing approvals after %q: %w", f.After, err)
	}
	return out, nil
}

// unfinished lists the approvals in memory, including those refused there.
// Rows in memory are replaced, never changed.
func (s *Store) unfinished(f Filter, status []guard.Status, after *guard.Approval) []*guard.Approval {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*guard.Approval
	for id, r := range s.mem.open {
		a := &r.Approval
		if refused, ok := s.mem.refused[id]; ok {
			a = &refused
		}
		if slices.Contains(status, a.Status) && f.matches(a) && (after == nil || f.order(a, after) > 0) {
			out = append(out, a)
		}
	}
	return out
}

// finished lists final approvals from the file. Within a tenant and status
// keys are ordered by time, so each contributes at most the limit.
func (s *Store) finished(f Filter, status []guard.Status, after *guard.Approval) ([]*guard.Approval, error) {
	if len(status) == 0 {
		return nil, nil
	}
	tenants := s.tenants()
	if f.Tenant != "" {
		tenants = []string{f.Tenant}
	}
	var out []*guard.Approval
	err := s.glance(func(tx *bolt.Tx) error {
		rows := tx.Bucket([]byte(bucketApprovals))
		for _, t := range tenants {
			for _, st := range status {
				n := 0
				err := f.walk(tx, t, st, func(id string) (bool, error) {
					r, err := decodeRow(rows.Get(key(t, id)))
					if err != nil {
						return false, err
					}
					a := &r.Approval
					if !f.matches(a) {
						return true, nil
					}
					if after == nil || f.order(a, after) > 0 {
						out = append(out, a)
						n++
					}
					return f.Limit <= 0 || n < f.Limit, nil
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing approvals: %w", err)
	}
	return out, nil
}

// walk visits the ids of one tenant and status in the requested order,
// starting at f.Since, until fn returns false.
func (f Filter) walk(tx *bolt.Tx, tenant string, st guard.Status, fn func(id string) (bool, error)) error {
	p := prefix(tenant, string(st))
	low := append(slices.Clone(p), stamp(f.Since)...)
	c := tx.Bucket([]byte(bucketByStatus)).Cursor()
	var k []byte
	next := c.Next
	if f.Newest {
		next = c.Prev
		end := append(slices.Clone(p[:len(p)-1]), 1) // just behind every key with the prefix
		if k, _ = c.Seek(end); k == nil {
			k, _ = c.Last()
		} else {
			k, _ = c.Prev()
		}
	} else {
		k, _ = c.Seek(low)
	}
	for ; k != nil; k, _ = next() {
		if len(k) < len(p) || string(k[:len(p)]) != string(p) || f.Newest && string(k) < string(low) {
			return nil
		}
		more, err := fn(last(k))
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// loadApprovals loads the approvals that are not final into memory.
func loadApprovals(tx *bolt.Tx, m *memory) error {
	rows := tx.Bucket([]byte(bucketApprovals))
	for _, t := range m.tenants {
		for _, st := range guard.Statuses {
			if st.Final() {
				continue
			}
			var ids []string
			each(tx.Bucket([]byte(bucketByStatus)), prefix(t, string(st)), func(k, _ []byte) bool {
				ids = append(ids, last(k))
				return true
			})
			for _, id := range ids {
				r, err := decodeRow(rows.Get(key(t, id)))
				if err != nil {
					return err
				}
				m.open[r.ID] = r
			}
		}
	}
	return nil
}
