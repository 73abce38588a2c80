package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	bolt "go.etcd.io/bbolt"
)

// Begin durably records that a call is about to run. The call may run only
// after Begin has returned nil. With an approval, this is its single use: it
// must be approved, in time and for this digest, and the call must be the
// newest that joined. Without one, the tier must be one that policy may allow
// by itself. The call must be open and not stopped by a switch, and can begin
// only once. A tool_call_authorized event is added unless events contains one.
func (s *Store) Begin(ctx context.Context, in guard.Intent, events ...audit.Event) error {
	list, err := s.encode(events)
	if err != nil {
		return err
	}
	if err := errors.Join(checkTenant("the intent", in.Tenant), checkParts("the intent", string(in.CallID), string(in.ApprovalID))); err != nil {
		return fmt.Errorf("beginning an execution: %w", err)
	}
	if err := s.checked(ctx); err != nil {
		return fmt.Errorf("beginning an execution: %w", err)
	}
	authorized := has(events, audit.ToolCallAuthorized)
	_, err = ask(s, "beginning an execution", func(b *batch) (none struct{}, late, err error) {
		if err := errors.Join(s.mayExecute(), s.sameFiles()); err != nil {
			return none, nil, err
		}
		if in.ApprovalID != "" {
			if err := s.approvalTouched(in.ApprovalID); err != nil {
				return none, nil, err
			}
		}
		late, err = b.begin(in, list, authorized)
		return none, late, err
	})
	return err
}

func (b *batch) begin(in guard.Intent, events encoded, authorized bool) (late error, err error) {
	in.Unknown, in.At = false, b.now.Wall
	c, err := b.beginCheck(in)
	if err != nil {
		return nil, err
	}
	var r *row
	if in.ApprovalID != "" {
		if r, late, err = b.use(in); err != nil || late != nil {
			return late, err
		}
	} else if in.Tier != guard.T0Read && in.Tier != guard.T1ReversibleWrite && in.Tier != guard.T3Execute {
		// fail closed: whatever the policy says, these need a human. T3 may
		// run a command that the configuration lists in full.
		return nil, ErrNeedsApproval
	}
	k := key(in.Tenant, string(in.CallID))
	if err := b.putJSON(bucketIntents, k, in); err != nil {
		return nil, err
	}
	if err := b.put(bucketIntentsOpen, k, nil); err != nil {
		return nil, err
	}
	if r != nil {
		r.Status = guard.Executing
		if err := b.save(r, guard.Approved); err != nil {
			return nil, err
		}
	}
	if !authorized {
		e := b.template(c)
		e.Event, e.EventID, e.Timestamp = audit.ToolCallAuthorized, guard.NewEventID(), b.now.Wall
		if r != nil {
			e = b.about(audit.ToolCallAuthorized, r)
		}
		e.Verdict, e.Status = guard.Allow.String(), ""
		if err := b.event(e); err != nil {
			return nil, err
		}
	}
	_, err = b.append(events...)
	return nil, err
}

// beginCheck checks the conditions that do not depend on an approval.
func (b *batch) beginCheck(in guard.Intent) (*callRow, error) {
	c, err := b.call(in.CallID)
	if err != nil {
		return nil, err
	}
	if c.Tenant != in.Tenant || c.RunID != in.RunID || c.SessionID != in.SessionID || c.Server != in.Server || c.Tool != in.Tool {
		return nil, errors.New("the intent is not that of the call")
	}
	k := key(in.Tenant, string(in.CallID))
	if b.get(bucketIntents, k) != nil {
		return nil, ErrIntentOpen
	}
	for _, sw := range readSwitches(b.tx) {
		if sw.Stops(in.Server, in.Tool) {
			return nil, fmt.Errorf("%w (%s)", ErrStopped, sw.Reason)
		}
	}
	return c, nil
}

// use checks that an approval may be used for an intent, now.
func (b *batch) use(in guard.Intent) (r *row, late error, err error) {
	r, late, err = b.live(in.ApprovalID)
	switch {
	case err != nil || late != nil:
		return nil, late, err
	case r.Status != guard.Approved:
		return nil, nil, &StateError{ID: r.ID, Status: r.Status}
	case r.Tenant != in.Tenant || r.RunID != in.RunID:
		return nil, nil, ErrOtherRun
	case r.CallID != in.CallID:
		return nil, nil, ErrSuperseded
	case r.Digest != in.Digest || r.Server != in.Server || r.Tool != in.Tool:
		// fail closed: what runs must be exactly what was approved.
		return nil, nil, ErrDigest
	}
	return r, nil, nil
}

// intent returns the intent of a call that has no final receipt yet.
func (b *batch) intent(id guard.CallID) (guard.Intent, []byte, error) {
	var in guard.Intent
	tenant, ok := b.find(bucketIntents, string(id))
	if !ok {
		return in, nil, ErrNotFound
	}
	k := key(tenant, string(id))
	if b.get(bucketReceipts, k) != nil || b.get(bucketIntentsOpen, k) == nil {
		return in, nil, ErrClosed
	}
	_, err := getJSON(b.bucket(bucketIntents), k, &in)
	return in, k, err
}

// Finish records the outcome of an execution and completes its call. If the
// outcome is unknown or incomplete the intent is kept and marked, and only
// Reconcile can follow. It returns the approval, if there is one.
func (s *Store) Finish(_ context.Context, receipt guard.Receipt, completed audit.Event) (guard.Approval, error) {
	return ask(s, "recording a receipt", func(b *batch) (out guard.Approval, late, err error) {
		in, k, err := b.intent(receipt.CallID)
		switch {
		case err != nil:
			return out, nil, err
		case in.Unknown:
			return out, nil, ErrClosed
		}
		done := completed
		if done.Gates.ApprovalID == "" && in.ApprovalID != "" {
			done.Gates = b.gates(in)
		}
		if err := b.closeCall(receipt.CallID, done, true); err != nil {
			return out, nil, err
		}
		out, err = b.settle(in, k, receipt)
		return out, nil, err
	})
}

// Reconcile resolves an execution with an unknown outcome, from what was read
// back or from a human decision. The receipt must say how it ended.
func (s *Store) Reconcile(_ context.Context, call guard.CallID, receipt guard.Receipt) (guard.Approval, error) {
	receipt.CallID, receipt.Reconciled = call, true
	if !receipt.Status().Final() {
		return guard.Approval{}, fmt.Errorf("reconciling: the outcome %q settles nothing", receipt.Outcome)
	}
	return ask(s, "reconciling", func(b *batch) (out guard.Approval, late, err error) {
		in, k, err := b.intent(call)
		if err != nil {
			return out, nil, err
		}
		if !in.Unknown {
			return out, nil, ErrIntentOpen // it is executing; Finish will tell
		}
		if out, err = b.settle(in, k, receipt); err != nil {
			return out, nil, err
		}
		return out, nil, b.event(b.reconciled(in, receipt))
	})
}

// gates returns which approval an execution has, and whether it waited for it.
func (b *batch) gates(in guard.Intent) audit.Gates {
	r, err := b.row(in.ApprovalID)
	return audit.Gates{RequiresApproval: err != nil || !r.Post, ApprovalID: in.ApprovalID}
}

// reconciled returns the event of a late receipt.
func (b *batch) reconciled(in guard.Intent, receipt guard.Receipt) audit.Event {
	c := callRow{Requested: -1, Call: Call{
		ID: in.CallID, SessionID: in.SessionID, RunID: in.RunID, Tenant: in.Tenant, Server: in.Server, Tool: in.Tool,
	}}
	e := b.template(&c)
	if in.ApprovalID != "" {
		if r, err := b.row(in.ApprovalID); err == nil {
			e = b.about(audit.ToolCallReconciled, r)
		}
	}
	e.Event, e.EventID, e.Timestamp = audit.ToolCallReconciled, guard.NewEventID(), b.now.Wall
	e.CallID = in.CallID
	e.Status, e.Reason = audit.StatusOK, receipt.Detail
	if receipt.Status() != guard.Executed {
		e.Status = audit.StatusError
	}
	e.Output.SHA256 = receipt.Result
	return e
}

// settle writes a receipt and updates the intent and the approval accordingly.
func (b *batch) settle(in guard.Intent, k []byte, receipt guard.Receipt) (guard.Approval, error) {
	status := receipt.Status()
	if status.Final() {
		if err := b.putJSON(bucketReceipts, k, receipt); err != nil {
			return guard.Approval{}, err
		}
		if err := b.delete(bucketIntentsOpen, k); err != nil {
			return guard.Approval{}, err
		}
		if status == guard.Executed {
			if err := b.saw(in); err != nil {
				return guard.Approval{}, err
			}
		}
	} else {
		in.Unknown = true
		if err := b.putJSON(bucketIntents, k, in); err != nil {
			return guard.Approval{}, err
		}
	}
	if in.ApprovalID == "" {
		return guard.Approval{}, nil
	}
	r, err := b.row(in.ApprovalID)
	if err != nil {
		return guard.Approval{}, err
	}
	before := r.Status
	if err := guard.CheckTransition(before, status); err != nil {
		return guard.Approval{}, err
	}
	r.Status, r.Receipt, r.Why, r.HeldBy = status, &receipt, receipt.Detail, ""
	if status.Final() {
		r.EndedAt = b.now.Wall
	}
	if err := b.save(r, before); err != nil {
		return guard.Approval{}, err
	}
	if r.Post {
		return r.approval(), b.inform(r)
	}
	return r.approval(), nil
}

// OpenIntents returns the intents without a final receipt: calls that are
// executing, and calls whose outcome is unknown.
func (s *Store) OpenIntents() ([]guard.Intent, error) {
	var out []guard.Intent
	err := s.view(func(tx *bolt.Tx) (err error) {
		out, err = openIntents(tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the open intents: %w", err)
	}
	return out, nil
}

func openIntents(tx *bolt.Tx) (out []guard.Intent, err error) {
	rows := tx.Bucket([]byte(bucketIntents))
	each(tx.Bucket([]byte(bucketIntentsOpen)), nil, func(k, _ []byte) bool {
		var in guard.Intent
		if _, err = getJSON(rows, k, &in); err != nil {
			return false
		}
		out = append(out, in)
		return true
	})
	slices.SortStableFunc(out, func(a, b guard.Intent) int { return a.At.Compare(b.At) })
	return out, err
}

// RecentlyRun returns the intents of executed calls that began after since:
// per tenant the newest, at most most of them.
func (s *Store) RecentlyRun(since time.Time, most int) ([]guard.Intent, error) {
	const longestWait = 24 * time.Hour // between a call, by which intents are ordered, and its execution
	var out []guard.Intent
	tenants := s.tenants()
	err := s.view(func(tx *bolt.Tx) error {
		receipts := tx.Bucket([]byte(bucketReceipts))
		for _, t := range tenants {
			n := 0
			err := backwards(tx.Bucket([]byte(bucketIntents)), prefix(t), func(k, v []byte) (bool, error) {
				var in guard.Intent
				if err := json.Unmarshal(v, &in); err != nil {
					return false, err
				}
				var r guard.Receipt
				if _, err := getJSON(receipts, k, &r); err != nil {
					return false, err
				}
				if !in.At.Before(since) && r.Outcome == guard.OutcomeOK && !in.ArgsSum.IsZero() {
					out = append(out, in)
				}
				n++
				return n < most && !in.At.Before(since.Add(-longestWait)), nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading what was executed: %w", err)
	}
	return out, nil
}

// ChangedInRun returns the files that executed calls of a run were to change, by
// their keys, the last first and each once. What failed, or has no known outcome,
// counts as well. It looks at no more than the last most calls of the tenant.
func (s *Store) ChangedInRun(tenant string, run guard.RunID, most int) ([]string, error) {
	var out []string
	seen := map[string]bool{}
	add := func(t guard.Target) {
		if t.Kind == "file" && t.Write && !seen[t.Key] {
			seen[t.Key] = true
			out = append(out, t.Key)
		}
	}
	err := s.view(func(tx *bolt.Tx) error {
		var began guard.Run // where it is not known, all that is kept is looked at
		if _, err := getJSON(tx.Bucket([]byte(bucketRuns)), key(tenant, string(run)), &began); err != nil {
			return err
		}
		n := 0
		return backwards(tx.Bucket([]byte(bucketIntents)), prefix(tenant), func(_, v []byte) (bool, error) {
			var in guard.Intent
			if err := json.Unmarshal(v, &in); err != nil {
				return false, err
			}
			for _, e := range in.Effects {
				if in.RunID != run {
					break
				}
				add(e.Resource)
				if e.Dest != nil {
					add(*e.Dest)
				}
			}
			n++
			return n < most && !in.At.Before(began.StartedAt), nil // a call is older than its intent
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading what a run has changed: %w", err)
	}
	return out, nil
}

// Intent returns the intent of a call, and its receipt if there is a final one.
func (s *Store) Intent(call guard.CallID) (guard.Intent, *guard.Receipt, error) {
	var in guard.Intent
	var receipt *guard.Receipt
	tenants := s.tenants()
	err := s.view(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(bucketIntents))
		tenant, ok := findTenant(b, tenants, string(call))
		if !ok {
			return ErrNotFound
		}
		k := key(tenant, string(call))
		if _, err := getJSON(b, k, &in); err != nil {
			return err
		}
		var r guard.Receipt
		ok, err := getJSON(tx.Bucket([]byte(bucketReceipts)), k, &r)
		if ok {
			receipt = &r
		}
		return err
	})
	if err != nil {
		return in, nil, fmt.Errorf("reading an intent: %w", err)
	}
	return in, receipt, nil
}
