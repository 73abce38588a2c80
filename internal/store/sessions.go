package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// OpenRun stores a run, or returns the one that the same client process
// already has in this tenant.
func (s *Store) OpenRun(_ context.Context, run guard.Run, process RunKey) (guard.Run, error) {
	err := errors.Join(checkTenant("the run", run.Tenant), checkParts("the run", string(run.ID), process.BootID))
	if err == nil && run.ID == "" {
		err = errors.New("it has no id")
	}
	if err != nil {
		return guard.Run{}, fmt.Errorf("opening a run: %w", err)
	}
	k := key(run.Tenant, process.BootID, strconv.Itoa(process.PID), strconv.FormatUint(process.StartTime, 10))
	return ask(s, "opening a run", func(b *batch) (out guard.Run, late, err error) {
		if id := b.get(bucketRunKeys, k); id != nil {
			ok, err := getJSON(b.bucket(bucketRuns), key(run.Tenant, string(id)), &out)
			if err == nil && !ok {
				err = ErrNotFound
			}
			return out, nil, err
		}
		if _, taken := b.find(bucketRuns, string(run.ID)); taken {
			return out, nil, fmt.Errorf("the id %s is taken", run.ID)
		}
		if err := b.tenant(run.Tenant); err != nil {
			return out, nil, err
		}
		out = run
		if out.StartedAt.IsZero() {
			out.StartedAt = b.now.Wall
		}
		if err := b.put(bucketRunKeys, k, []byte(run.ID)); err != nil {
			return out, nil, err
		}
		return out, nil, b.putJSON(bucketRuns, key(run.Tenant, string(run.ID)), out)
	})
}

// Run returns a run of a tenant; ErrNotFound if there is none.
func (s *Store) Run(tenant string, id guard.RunID) (guard.Run, error) {
	var out guard.Run
	err := s.view(func(tx *bolt.Tx) error {
		ok, err := getJSON(tx.Bucket([]byte(bucketRuns)), key(tenant, string(id)), &out)
		if err == nil && !ok {
			err = ErrNotFound
		}
		return err
	})
	if err != nil {
		return guard.Run{}, fmt.Errorf("reading a run: %w", err)
	}
	return out, nil
}

// Runs returns every run, the newest first.
func (s *Store) Runs() ([]guard.Run, error) {
	var out []guard.Run
	err := s.glance(func(tx *bolt.Tx) error {
		return eachJSON(tx.Bucket([]byte(bucketRuns)), nil, func(r guard.Run) { out = append(out, r) })
	})
	if err != nil {
		return nil, fmt.Errorf("reading the runs: %w", err)
	}
	slices.SortStableFunc(out, func(a, b guard.Run) int { return b.StartedAt.Compare(a.StartedAt) })
	return out, nil
}

// eachJSON decodes the values whose keys begin with p.
func eachJSON[T any](b *bolt.Bucket, p []byte, fn func(T)) (err error) {
	each(b, p, func(k, _ []byte) bool {
		var v T
		if _, err = getJSON(b, k, &v); err != nil {
			return false
		}
		fn(v)
		return true
	})
	return err
}

// OpenSession stores a session. It adds a session_opened event unless events
// contains one.
func (s *Store) OpenSession(_ context.Context, v guard.Session, events ...audit.Event) error {
	list, err := s.encode(events)
	if err != nil {
		return err
	}
	if err = errors.Join(checkTenant("the session", v.Tenant), checkParts("the session", string(v.ID))); err == nil && v.ID == "" {
		err = errors.New("it has no id")
	}
	if err != nil {
		return fmt.Errorf("opening a session: %w", err)
	}
	opened := has(events, audit.SessionOpened)
	return s.do("opening a session", func(b *batch) error {
		v := v
		if _, taken := b.find(bucketSessions, string(v.ID)); taken {
			return fmt.Errorf("the id %s is taken", v.ID)
		}
		if err := b.tenant(v.Tenant); err != nil {
			return err
		}
		v.ClosedAt = time.Time{}
		if v.OpenedAt.IsZero() {
			v.OpenedAt = b.now.Wall
		}
		k := key(v.Tenant, string(v.ID))
		if err := b.putJSON(bucketSessions, k, v); err != nil {
			return err
		}
		if err := b.put(bucketSessOpen, k, nil); err != nil {
			return err
		}
		b.then(func(m *memory) { m.sessions[v.ID] = v })
		b.changed(Change{Kind: ChangeSession, Tenant: v.Tenant, RunID: v.RunID, SessionID: v.ID})
		if !opened {
			if err := b.event(audit.ForSession(audit.SessionOpened, v, b.now.Wall)); err != nil {
				return err
			}
		}
		_, err := b.append(list...)
		return err
	})
}

// CloseSession ends a session; a zero time means now. Approvals that its calls
// still hold open are cancelled. Those that were answered early or are
// approved stay until they run out of time. It adds a session_closed event
// unless events contains one. Closing a session twice does nothing.
func (s *Store) CloseSession(_ context.Context, id guard.SessionID, at time.Time, events ...audit.Event) error {
	list, err := s.encode(events)
	if err != nil {
		return err
	}
	closed := has(events, audit.SessionClosed)
	return s.do("closing a session", func(b *batch) error {
		tenant, ok := b.find(bucketSessions, string(id))
		if !ok {
			return ErrNotFound
		}
		v, ok := b.session(tenant, id)
		if !ok {
			return errors.New("the session cannot be read")
		}
		if !v.ClosedAt.IsZero() {
			return nil
		}
		if _, err := b.letGo(func(r *row) bool { return r.SessionID == id }, "its session ended"); err != nil {
			return err
		}
		return b.closeSession(v, at, "", list, closed, s.counters.forget)
	})
}

// closeSession writes the end of an open session.
func (b *batch) closeSession(v guard.Session, at time.Time, why string, events encoded, closed bool, forget func(guard.RunID)) error {
	if at.IsZero() {
		at = b.now.Wall
	}
	v.ClosedAt = at
	k := key(v.Tenant, string(v.ID))
	if err := b.putJSON(bucketSessions, k, v); err != nil {
		return err
	}
	if err := b.delete(bucketSessOpen, k); err != nil {
		return err
	}
	b.then(func(m *memory) {
		delete(m.sessions, v.ID)
		for _, other := range m.sessions {
			if other.RunID == v.RunID {
				return
			}
		}
		forget(v.RunID)
	})
	b.changed(Change{Kind: ChangeSession, Tenant: v.Tenant, RunID: v.RunID, SessionID: v.ID})
	if !closed {
		e := audit.ForSession(audit.SessionClosed, v, b.now.Wall)
		e.Reason = why
		e.DurationMS = max(0, at.Sub(v.OpenedAt).Milliseconds())
		if err := b.event(e); err != nil {
			return err
		}
	}
	_, err := b.append(events...)
	return err
}

// letGo releases the open approvals selected by which that a live call holds:
// pending ones are cancelled, approved ones stay until they lapse.
func (b *batch) letGo(which func(*row) bool, why string) (cancelled []guard.ApprovalID, err error) {
	rows, err := b.openWhere(func(r *row) bool { return r.HeldBy != "" && which(r) })
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.Status == guard.Approved {
			if err := b.release(r, r.HeldBy); err != nil {
				return nil, err
			}
			continue
		}
		if err := b.end(r, guard.Cancelled, why); err != nil {
			return nil, err
		}
		cancelled = append(cancelled, r.ID)
	}
	return cancelled, nil
}

// openWhere returns the matching pending and approved approvals, by id. It
// finds them in memory, so that not every row is decoded.
func (b *batch) openWhere(match func(*row) bool) ([]*row, error) {
	var ids []guard.ApprovalID
	for id, r := range b.mem.open {
		if b.touched[id] == nil && r.Status.Open() && match(r) {
			ids = append(ids, id)
		}
	}
	for id, r := range b.touched {
		if r.Status.Open() && match(r) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	var out []*row
	for _, id := range ids {
		r, err := b.row(id)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// session returns a session as this batch sees it.
func (b *batch) session(tenant string, id guard.SessionID) (guard.Session, bool) {
	var v guard.Session
	if id == "" || checkParts("", string(id)) != nil {
		return v, false
	}
	ok, err := getJSON(b.bucket(bucketSessions), key(tenant, string(id)), &v)
	return v, ok && err == nil
}

func (b *batch) profile(tenant string, id guard.SessionID) string {
	v, _ := b.session(tenant, id)
	return v.Profile
}

// Sessions returns all sessions, or only the open ones, newest first.
func (s *Store) Sessions(open bool) ([]guard.Session, error) {
	var out []guard.Session
	if open {
		s.mu.RLock()
		for _, v := range s.mem.sessions {
			out = append(out, v)
		}
		s.mu.RUnlock()
	} else if err := s.glance(func(tx *bolt.Tx) error {
		return eachJSON(tx.Bucket([]byte(bucketSessions)), nil, func(v guard.Session) { out = append(out, v) })
	}); err != nil {
		return nil, fmt.Errorf("reading the sessions: %w", err)
	}
	slices.SortFunc(out, func(a, b guard.Session) int {
		if c := b.OpenedAt.Compare(a.OpenedAt); c != 0 {
			return c
		}
		return cmp.Compare(b.ID, a.ID)
	})
	return out, nil
}

func loadSessions(tx *bolt.Tx, m *memory) (err error) {
	rows := tx.Bucket([]byte(bucketSessions))
	each(tx.Bucket([]byte(bucketSessOpen)), nil, func(k, _ []byte) bool {
		var v guard.Session
		if _, err = getJSON(rows, k, &v); err != nil {
			return false
		}
		m.sessions[v.ID] = v
		return true
	})
	return err
}
