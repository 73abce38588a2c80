package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// BeginPost is Begin for a call that the policy allows to run and shows
// afterwards. a is the item that will be shown; it is stored as executing.
// Only a tier whose changes can be undone may run like this.
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
		// fail closed: the item would describe something other than what runs
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
	waiting, err := b.openWhere(func(o *row) bool { return o.CallID == in.CallID && o.Status.Open() })
	if err != nil {
		return err
	}
	if len(waiting) > 0 {
		// fail closed: a call does not run while a human is being asked about
		// it
		return fmt.Errorf("%w: %s waits", ErrNeedsApproval, waiting[0].ID)
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
		e.Event, e.EventID, e.Timestamp = audit.ToolCallAuthorized, guard.NewEventID(), b.now.Wall
		e.Verdict, e.Rule, e.Gates.ApprovalID = guard.Allow.String(), guard.RulePost, r.ID
		if err := b.event(e); err != nil {
			return err
		}
	}
	_, err = b.append(events...)
	return err
}

// maxRecent is how many of the changes of a run its alert lists.
const maxRecent = 5

// inform shows a human what ran without an approval. Each run has one alert,
// which counts the calls since it was last acknowledged and lists the newest.
// Every change is recorded in full, as an approval and in the log; a thousand
// separate alerts would hide them. A call that failed and changed nothing is
// not listed.
func (b *batch) inform(r *row) error {
	a := Alert{Tenant: r.Tenant, Kind: AlertRanUnasked, Key: string(r.RunID)}
	id := b.get(bucketAlertsOpen, alertKey(a))
	if id != nil {
		if _, err := getJSON(b.bucket(bucketAlerts), key(a.Tenant, string(id)), &a); err != nil {
			return err
		}
	}
	line := AlertItem{ID: r.ID, Text: fmt.Sprintf("%s (%s)", r.Preview.Summary, outcomeWord(r))}
	at := slices.IndexFunc(a.Recent, func(v AlertItem) bool { return v.ID == r.ID })
	recent := slices.Clone(a.Recent) // the slice is shared with the alert in memory
	switch {
	case at >= 0: // its outcome is known by now
		recent[at] = line
	case r.Status == guard.Failed && r.Receipt.ReadBack == guard.Untouched:
		return nil
	default:
		a.Count++
		recent = append(recent, line)
		recent = recent[max(0, len(recent)-maxRecent):]
	}
	a.Recent, a.Subject = recent, r.ID
	a.say()
	if id == nil {
		_, err := b.raise(a)
		return err
	}
	return b.keepAlert(a) // in the log the change has its own records
}

// say sets the text of the alert of a run.
func (a *Alert) say() {
	last := a.Recent[len(a.Recent)-1]
	if a.Count == 1 {
		a.Text = "ran without asking: " + last.Text
		a.Detail = fmt.Sprintf("`approve show %s` shows the change, `approve undo %s` proposes to take it back", last.ID, last.ID)
		return
	}
	a.Text = fmt.Sprintf("%d changes of one run ran without asking, the last: %s", a.Count, last.Text)
	var w strings.Builder
	for _, v := range slices.Backward(a.Recent) {
		fmt.Fprintf(&w, "%s  %s\n", v.ID, v.Text)
	}
	if n := a.Count - len(a.Recent); n > 0 {
		fmt.Fprintf(&w, "and %d before them: `approve --list --status all --run %s`\n", n, a.Key)
	}
	w.WriteString("`approve show ID` shows a change, `approve undo ID` proposes to take it back")
	a.Detail = w.String()
}

// outcomeWord describes the outcome of an execution, and whether it was
// verified.
func outcomeWord(r *row) string {
	switch {
	case r.Status == guard.Unknown:
		return "outcome not known"
	case r.Receipt == nil || r.Receipt.ReadBack == "":
		return string(r.Status)
	}
	return string(r.Status) + ", " + string(r.Receipt.ReadBack)
}
