package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// The reasons given when an approval runs out of time.
const (
	whyExpired = "nobody decided within the time box"
	whyLapsed  = "it was approved and not used in time"
)

// Submit stores a new pending approval, held open by the call a.CallID. It
// adds an approval_requested event unless events contains one. If the run
// already has an open approval for the same tool and digest, the error is a
// *DuplicateError.
func (s *Store) Submit(_ context.Context, a guard.Approval, events ...audit.Event) error {
	list, err := s.encode(events)
	if err != nil {
		return err
	}
	if err := checkApproval(a); err != nil {
		return fmt.Errorf("submitting an approval: %w", err)
	}
	requested := has(events, audit.ApprovalRequested)
	r, blobs := s.split(a)
	return s.do("submitting an approval", func(b *batch) error {
		fresh := *r
		if err := b.free(&fresh, ""); err != nil {
			return err
		}
		return b.submit(&fresh, blobs, list, requested)
	})
}

func has(events []audit.Event, t audit.Type) bool {
	for _, e := range events {
		if e.Event == t {
			return true
		}
	}
	return false
}

// checkApproval rejects an approval that lacks what is needed to match it to a
// call or to find it again.
func checkApproval(a guard.Approval) error {
	switch {
	case a.ID == "":
		return errors.New("it has no id")
	case a.RunID == "":
		return errors.New("it has no run")
	case a.Digest.IsZero():
		return errors.New("it has no digest")
	case a.Server == "" || a.Tool == "":
		return errors.New("it names no tool")
	case !a.Tier.Valid() || a.Tier == guard.Never:
		// fail closed: what may never run is not offered for approval.
		return fmt.Errorf("no approval is offered for the tier %s", a.Tier)
	}
	return errors.Join(checkTenant("the approval", a.Tenant),
		checkParts("the approval", string(a.ID), string(a.RunID), string(a.CallID), string(a.SessionID)))
}

func openKey(tenant string, run guard.RunID, server, tool string, digest digest.Digest) []byte {
	return key(tenant, string(run), short(server), short(tool), digest.String())
}

// free checks that r may be opened: its id is new, and no approval other than
// except is open for the same call. An open approval that has run out of time
// is ended.
func (b *batch) free(r *row, except guard.ApprovalID) error {
	if _, ok := b.find(bucketApprovals, string(r.ID)); ok {
		return fmt.Errorf("the id %s is taken", r.ID)
	}
	id := guard.ApprovalID(b.get(bucketOpen, openKey(r.Tenant, r.RunID, r.Server, r.Tool, r.Digest)))
	if id == "" || id == except {
		return nil
	}
	other, err := b.row(id)
	if err != nil {
		return err
	}
	if to, why := overdue(other.Approval, b.now); to != "" {
		return b.end(other, to, why)
	}
	return &DuplicateError{ID: id}
}

// row returns an approval as this batch sees it, or ErrNotFound.
func (b *batch) row(id guard.ApprovalID) (*row, error) {
	r, err := readRow(b.tx, b.tenants, id)
	if err == nil && r == nil {
		err = ErrNotFound
	}
	return r, err
}

// overdue returns the status and the reason with which an open approval that
// has run out of time ends; "" if it is in time or not open.
func overdue(a guard.Approval, now guard.Now) (guard.Status, string) {
	switch {
	case a.Status == guard.Pending && a.Expires.Passed(now):
		return guard.Expired, whyExpired
	case a.Status == guard.Approved && a.UseBy.Passed(now):
		return guard.Lapsed, whyLapsed
	}
	return "", ""
}

// submit writes a new approval. r must belong to this operation.
func (b *batch) submit(r *row, blobs []blob, events encoded, requested bool) error {
	if err := b.tenant(r.Tenant); err != nil {
		return err
	}
	r.Status, r.Version, r.HeldBy = guard.Pending, 0, r.CallID
	r.Signoffs, r.Receipt, r.UseBy, r.EndedAt, r.ReplacedBy = nil, nil, guard.Deadline{}, time.Time{}, ""
	if r.RequestedAt.IsZero() {
		r.RequestedAt = b.now.Wall
	}
	box := guard.DefaultTimeBox(r.Tier)
	if r.Box.TTL <= 0 {
		r.Box.TTL = box.TTL
	}
	if r.Box.UseWithin <= 0 {
		r.Box.UseWithin = box.UseWithin
	}
	if r.Expires == (guard.Deadline{}) {
		r.Expires = b.now.After(r.Box.TTL)
	}
	for _, c := range blobs {
		if err := b.keep(r, c); err != nil {
			return err
		}
	}
	if err := b.put(bucketByTime, key(r.Tenant, stamp(r.RequestedAt), string(r.ID)), nil); err != nil {
		return err
	}
	if err := b.put(bucketOpen, openKey(r.Tenant, r.RunID, r.Server, r.Tool, r.Digest), []byte(r.ID)); err != nil {
		return err
	}
	if err := b.save(r, ""); err != nil {
		return err
	}
	if !requested {
		e := b.about(audit.ApprovalRequested, r)
		e.Verdict, e.Reason = guard.Ask.String(), r.Preview.Summary
		if err := b.event(e); err != nil {
			return err
		}
	}
	_, err := b.append(events...)
	return err
}

func (b *batch) keep(r *row, c blob) error {
	k := blobKey(r.Tenant, c.sum)
	if b.get(bucketBlobs, k) == nil {
		if err := b.put(bucketBlobs, k, c.data); err != nil {
			return err
		}
	}
	return b.put(bucketBlobRefs, refKey(r.Tenant, c.sum, r.ID), nil)
}

func statusKey(r *row, s guard.Status) []byte {
	return key(r.Tenant, string(s), stamp(r.RequestedAt), string(r.ID))
}

// save writes an approval and its indexes. before is the status it had.
func (b *batch) save(r *row, before guard.Status) error {
	r.Version++
	r.UpdatedAt = b.now.Wall
	if r.Status != before {
		if before != "" {
			if err := b.delete(bucketByStatus, statusKey(r, before)); err != nil {
				return err
			}
		}
		if err := b.put(bucketByStatus, statusKey(r, r.Status), nil); err != nil {
			return err
		}
		if before.Open() && !r.Status.Open() {
			if err := b.delete(bucketOpen, openKey(r.Tenant, r.RunID, r.Server, r.Tool, r.Digest)); err != nil {
				return err
			}
		}
	}
	if err := b.putJSON(bucketApprovals, key(r.Tenant, string(r.ID)), r); err != nil {
		return err
	}
	kept := *r
	b.touched[r.ID] = &kept
	b.then(func(m *memory) {
		delete(m.refused, kept.ID)
		if kept.Status.Final() {
			delete(m.open, kept.ID)
		} else {
			m.open[kept.ID] = &kept
		}
	})
	b.changed(Change{Kind: ChangeApproval, Tenant: r.Tenant, ApprovalID: r.ID, Status: r.Status, RunID: r.RunID, SessionID: r.SessionID})
	return nil
}

// about returns an event about a stored approval.
func (b *batch) about(t audit.Type, r *row) audit.Event {
	e := audit.ForApproval(t, r.Approval, b.profile(r.Tenant, r.SessionID), b.now.Wall)
	e.ArgsSHA256, e.DiffSHA256 = r.Args, r.Text
	e.Gates.RequiresApproval = !r.Post
	return e
}

// end sets the final status of an open approval that got no decision.
func (b *batch) end(r *row, to guard.Status, why string) error {
	before := r.Status
	if err := guard.CheckTransition(before, to); err != nil {
		return err
	}
	r.Status, r.Why, r.HeldBy = to, why, ""
	if to.Final() {
		r.EndedAt = b.now.Wall
	}
	if err := b.save(r, before); err != nil {
		return err
	}
	e := b.about(audit.ApprovalEnded, r)
	e.Reason = why
	if to == guard.Expired || to == guard.Lapsed {
		e.Rule = guard.RuleTimeBox
	}
	return b.event(e)
}

// live returns an approval that is open and in time. An overdue one is ended;
// that is written even though late reports an error to the caller.
func (b *batch) live(id guard.ApprovalID) (r *row, late error, err error) {
	r, err = b.row(id)
	if err != nil {
		return nil, nil, err
	}
	if to, why := overdue(r.Approval, b.now); to != "" {
		if err := b.end(r, to, why); err != nil {
			return nil, nil, err
		}
	}
	if !r.Status.Open() {
		return r, &StateError{ID: id, Status: r.Status, Why: r.Why}, nil
	}
	return r, nil, nil
}

// FindOpen returns the pending or approved approval for a call, without its
// contents. It does not check deadlines; the caller must.
func (s *Store) FindOpen(tenant string, run guard.RunID, server, tool string, digest digest.Digest) (guard.Approval, bool, error) {
	if s.Indeterminate() {
		return guard.Approval{}, false, fmt.Errorf("looking for an open approval: %w", ErrIndeterminate)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for id, r := range s.mem.open {
		if _, gone := s.mem.refused[id]; gone || !r.Status.Open() {
			continue
		}
		if r.Digest == digest && r.RunID == run && r.Server == server && r.Tool == tool && r.Tenant == tenant {
			return r.approval(), true, nil
		}
	}
	return guard.Approval{}, false, nil
}

// Join makes a call of the same run the newest one of an open approval. From
// then on that call holds the approval open.
func (s *Store) Join(_ context.Context, id guard.ApprovalID, session guard.SessionID, call guard.CallID) (guard.Approval, error) {
	return ask(s, "joining an approval", func(b *batch) (out guard.Approval, late, err error) {
		r, late, err := b.live(id)
		if err != nil || late != nil {
			return out, late, err
		}
		if other, ok := b.session(r.Tenant, session); ok && other.RunID != r.RunID {
			// fail closed: only the run that asked for an approval may use it.
			return out, nil, ErrOtherRun
		}
		r.SessionID, r.CallID, r.HeldBy = session, call, call
		if err := b.save(r, r.Status); err != nil {
			return out, nil, err
		}
		return r.approval(), nil, nil
	})
}

// Release records that a call no longer holds an approval open because it was
// answered early. It does nothing if another call holds the approval by now.
func (s *Store) Release(_ context.Context, id guard.ApprovalID, call guard.CallID) error {
	return s.do("releasing an approval", func(b *batch) error {
		r, err := b.row(id)
		if err != nil {
			return err
		}
		return b.release(r, call)
	})
}

func (b *batch) release(r *row, call guard.CallID) error {
	if r.HeldBy != call || call == "" || !r.Status.Open() {
		return nil
	}
	r.HeldBy = ""
	return b.save(r, r.Status)
}

// Decide records a reviewer's decision on a pending approval. The decision
// must carry the digest of the approval and a reason. If the approval has run
// out of time on either clock, it is expired instead. The result has no
// contents.
func (s *Store) Decide(_ context.Context, id guard.ApprovalID, w guard.Signoff) (guard.Approval, error) {
	reason, err := guard.CheckReason(w.Reason)
	if err != nil {
		return guard.Approval{}, fmt.Errorf("deciding: %w", err)
	}
	w.Reason = reason
	run := func(b *batch) (guard.Approval, error, error) { return b.decide(id, w) }
	if w.Approve {
		if err := s.approvalTouched(id); err != nil {
			return guard.Approval{}, fmt.Errorf("deciding: %w", err)
		}
		return ask(s, "deciding", run)
	}
	return s.surely("deciding", id, guard.Denied, w, run)
}

// surely runs a refusal, which must also work while nothing can be written.
func (s *Store) surely(what string, id guard.ApprovalID, to guard.Status, w guard.Signoff, run func(*batch) (guard.Approval, error, error)) (guard.Approval, error) {
	if s.Indeterminate() {
		return s.refuseNow(id, to, w, run)
	}
	a, err := ask(s, what, run)
	if errors.Is(err, ErrNotRecorded) {
		a, err = ask(s, what, run) // the store has recovered; do not lose a denial to one failed write
	}
	if errors.Is(err, ErrIndeterminate) || errors.Is(err, ErrNotRecorded) {
		return s.refuseNow(id, to, w, run)
	}
	return a, err
}

func (b *batch) decide(id guard.ApprovalID, w guard.Signoff) (out guard.Approval, late error, err error) {
	r, late, err := b.live(id)
	switch {
	case err != nil || late != nil:
		return out, late, err
	case r.Status != guard.Pending:
		return out, nil, &StateError{ID: id, Status: r.Status}
	case w.Digest != r.Digest:
		return out, nil, ErrDigest
	}
	w.At = b.now.Wall
	r.Signoffs = append(r.Signoffs, w)
	if w.Approve {
		r.Status, r.UseBy = guard.Approved, b.now.After(r.Box.UseWithin)
	} else {
		r.Status, r.Why, r.HeldBy, r.EndedAt = guard.Denied, w.Reason, "", b.now.Wall
	}
	if err := b.save(r, guard.Pending); err != nil {
		return out, nil, err
	}
	e := audit.ByApprover(b.about(audit.ApprovalDecided, r), w.By)
	e.Rule, e.Reason, e.Verdict = guard.RuleReviewer, w.Reason, guard.Deny.String()
	if w.Approve {
		e.Verdict = guard.Allow.String()
	}
	if err := b.event(e); err != nil {
		return out, nil, err
	}
	return r.approval(), nil, nil
}

// End sets the final status of an open approval that got no decision: expired,
// cancelled, lapsed or stale. If it is no longer open, the error is a
// *StateError.
func (s *Store) End(_ context.Context, id guard.ApprovalID, to guard.Status, why string) (guard.Approval, error) {
	switch to {
	case guard.Expired, guard.Cancelled, guard.Lapsed, guard.Stale:
	default:
		return guard.Approval{}, fmt.Errorf("ending an approval as %s: %w", to, guard.ErrTransition)
	}
	return s.surely("ending an approval", id, to, guard.Signoff{Reason: why}, func(b *batch) (out guard.Approval, late, err error) {
		r, err := b.row(id)
		if err != nil {
			return out, nil, err
		}
		if err := guard.CheckTransition(r.Status, to); err != nil {
			return out, nil, errors.Join(&StateError{ID: id, Status: r.Status, Why: r.Why}, err)
		}
		if err := b.end(r, to, why); err != nil {
			return out, nil, err
		}
		return r.approval(), nil, nil
	})
}

// refuseNow lets denials work while nothing can be written. The approval is
// refused in memory at once, based on the last state read, and in the file as
// soon as possible. If the daemon dies before that, the file does not say
// denied, but it does not say approved either, so nothing runs.
func (s *Store) refuseNow(id guard.ApprovalID, to guard.Status, w guard.Signoff, run func(*batch) (guard.Approval, error, error)) (guard.Approval, error) {
	now := s.clock.Now()
	s.mu.Lock()
	r := s.mem.open[id]
	_, gone := s.mem.refused[id]
	var err error
	switch {
	case r == nil:
		err = ErrNotFound
	case gone:
		err = &StateError{ID: id, Status: s.mem.refused[id].Status, Why: s.mem.refused[id].Why}
	case to == guard.Denied && w.Digest != r.Digest:
		err = ErrDigest
	case guard.CheckTransition(r.Status, to) != nil:
		err = &StateError{ID: id, Status: r.Status, Why: r.Why}
	}
	if err != nil {
		s.mu.Unlock()
		return guard.Approval{}, fmt.Errorf("refusing an approval: %w", err)
	}
	a := r.approval()
	a.Status, a.Why, a.HeldBy, a.EndedAt, a.UpdatedAt = to, w.Reason, "", now.Wall, now.Wall
	a.Version++
	if to == guard.Denied {
		w.At = now.Wall
		a.Signoffs = append(a.Signoffs, w)
	}
	s.mem.refused[id] = a
	s.mu.Unlock()
	err = s.async(func(b *batch) error {
		b.then(func(m *memory) { delete(m.refused, id) })
		_, _, err := run(b)
		return err
	})
	if err != nil {
		return guard.Approval{}, err
	}
	s.feed.publish([]Change{{Kind: ChangeApproval, Tenant: a.Tenant, ApprovalID: id, Status: to, RunID: a.RunID, SessionID: a.SessionID, At: now.Wall}})
	return a, nil
}

// Replace ends an open approval as stale and stores a new pending one instead.
// Each names the other.
func (s *Store) Replace(_ context.Context, old guard.ApprovalID, fresh guard.Approval) (guard.Approval, error) {
	fresh.Replaces = old
	if err := checkApproval(fresh); err != nil {
		return guard.Approval{}, fmt.Errorf("replacing an approval: %w", err)
	}
	template, blobs := s.split(fresh)
	return ask(s, "replacing an approval", func(b *batch) (out guard.Approval, late, err error) {
		was, late, err := b.live(old)
		if err != nil || late != nil {
			return out, late, err
		}
		if was.RunID != fresh.RunID || was.Tenant != fresh.Tenant {
			return out, nil, ErrOtherRun
		}
		r := *template
		if err := b.free(&r, old); err != nil {
			return out, nil, err
		}
		r.Round = max(r.Round, was.Round+1)
		was.ReplacedBy = r.ID
		if err := b.end(was, guard.Stale, "what would change is no longer what was shown"); err != nil {
			return out, nil, err
		}
		if err := b.submit(&r, blobs, nil, false); err != nil {
			return out, nil, err
		}
		return r.approval(), nil, nil
	})
}
