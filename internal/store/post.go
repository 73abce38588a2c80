package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// BeginPost is Begin for a call that the policy lets run and shows afterwards:
// a is the item that will be shown, and is kept as executing. Only a tier whose
// changes can be taken back may run so.
func (s *Store) BeginPost(_ context.Context, in guard.Intent, a guard.Approval, events ...audit.Event) error {
	list, err := s.encode(events)
	if err != nil {
		return err
	}
	if err := errors.Join(checkApproval(a), checkParts("the intent", string(in.CallID))); err != nil {
		return fmt.Errorf("beginning an execution: %w", err)
	}
	if in.Tier != guard.T1ReversibleWrite || a.Tier != in.Tier || a.Digest != in.Digest || a.Tenant != in.Tenant ||
		a.RunID != in.RunID || a.CallID != in.CallID || a.Server != in.Server || a.Tool != in.Tool {
		// fail closed: the item would speak of something else than what runs
		return fmt.Errorf("beginning an execution: %w", ErrNeedsApproval)
	}
	in.ApprovalID = a.ID
	r, blobs := s.split(a)
	authorized := has(events, audit.ToolCallAuthorized)
	return s.do("beginning an execution", func(b *batch) error {
		fresh := *r
		return b.beginPost(in, &fresh, blobs, list, authorized)
	})
}

func (b *batch) beginPost(in guard.Intent, r *row, blobs []blob, events encoded, authorized bool) error {
	in.Unknown, in.At = false, b.now.Wall
	c, err := b.beginCheck(in)
	if err != nil {
		return err
	}
	if _, taken := b.find(bucketApprovals, string(r.ID)); taken {
		return fmt.Errorf("the id %s is taken", r.ID)
	}
	r.Status, r.Version, r.HeldBy, r.Post = guard.Executing, 0, "", true
	r.Signoffs, r.Receipt, r.UseBy, r.EndedAt, r.ReplacedBy = nil, nil, guard.Deadline{}, time.Time{}, ""
	for _, content := range blobs {
		if err := b.keep(r, content); err != nil {
			return err
		}
	}
	if err := b.put(bucketByTime, key(r.Tenant, stamp(r.RequestedAt), string(r.ID)), nil); err != nil {
		return err
	}
	k := key(in.Tenant, string(in.CallID))
	if err := errors.Join(b.putJSON(bucketIntents, k, in), b.put(bucketIntentsOpen, k, nil), b.save(r, "")); err != nil {
		return err
	}
	if !authorized {
		e := b.template(c)
		e.Event, e.EventID, e.Timestamp, e.Verdict = audit.ToolCallAuthorized, guard.NewEventID(), b.now.Wall, guard.Allow.String()
		if err := b.event(e); err != nil {
			return err
		}
	}
	_, err = b.append(events...)
	return err
}

// inform puts before a human what ran without being asked for.
func (b *batch) inform(r *row) error {
	_, err := b.raise(Alert{
		Tenant: r.Tenant, Kind: AlertRanUnasked, Key: string(r.ID), Subject: r.ID,
		Text:   fmt.Sprintf("ran without asking (%s): %s", r.Status, r.Preview.Summary),
		Detail: fmt.Sprintf("`approve show %s` shows the change, `approve undo %s` proposes to take it back", r.ID, r.ID),
	})
	return err
}
