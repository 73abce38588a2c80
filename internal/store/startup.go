package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
)

const whyDaemonEnded = "the daemon ended"

// Startup settles, in one transaction, what an earlier daemon left open. Call
// it once, before serving any session. Calls that were executing get an
// unknown outcome; they are neither repeated nor reported as done. Open calls
// are completed: as cancelled if they only waited for an approval, else as
// unknown. Open sessions are closed. Approvals held open by a call are
// cancelled. Those that were answered early or are approved stay, for the same
// run, until they run out of time.
func (s *Store) Startup(context.Context) (Recovered, error) {
	return ask(s, "recovering what was open", func(b *batch) (out Recovered, late, err error) {
		waited := map[guard.CallID]guard.ApprovalID{}
		rows, err := b.openWhere(func(r *row) bool { return r.HeldBy != "" && r.Status == guard.Pending })
		if err != nil {
			return out, nil, err
		}
		for _, r := range rows {
			waited[r.HeldBy] = r.ID
		}
		for _, step := range []func(*Recovered) error{
			b.recoverIntents,
			func(out *Recovered) error { return b.recoverCalls(out, waited) },
			b.recoverApprovals,
			func(out *Recovered) error { return b.recoverSessions(out, s.counters.forget) },
		} {
			if err := step(&out); err != nil {
				return Recovered{}, nil, err
			}
		}
		return out, nil, nil
	})
}

func (b *batch) recoverIntents(out *Recovered) error {
	intents, err := openIntents(b.tx)
	if err != nil {
		return err
	}
	for _, in := range intents {
		if in.Unknown {
			continue
		}
		_, err := b.settle(in, key(in.Tenant, string(in.CallID)), guard.Receipt{
			CallID: in.CallID, Outcome: guard.OutcomeUnknown, ReadBack: guard.Unverifiable,
			Detail: "the daemon ended while the call was executing", StartedAt: in.At, EndedAt: b.now.Wall,
		})
		if err != nil {
			return fmt.Errorf("marking the intent of %s: %w", in.CallID, err)
		}
		in.Unknown = true
		out.Unknown = append(out.Unknown, in)
	}
	return nil
}

func (b *batch) recoverCalls(out *Recovered, waited map[guard.CallID]guard.ApprovalID) error {
	if err := b.finish(); err != nil { // those of this batch, too
		return err
	}
	var calls []callRow
	if err := eachJSON(b.bucket(bucketCalls), nil, func(c callRow) { calls = append(calls, c) }); err != nil {
		return err
	}
	for _, c := range calls {
		e := audit.New(audit.ToolCallCompleted, b.now.Wall)
		e.Status, e.Reason = audit.StatusUnknown, whyDaemonEnded
		if id, ok := waited[c.ID]; ok {
			e.Status, e.Gates = audit.StatusCancelled, audit.Gates{RequiresApproval: true, ApprovalID: id}
		}
		if i := slices.IndexFunc(out.Unknown, func(in guard.Intent) bool { return in.CallID == c.ID }); i >= 0 && out.Unknown[i].ApprovalID != "" {
			e.Gates = b.gates(out.Unknown[i])
		}
		if err := b.closeCall(c.ID, e, true); err != nil {
			return fmt.Errorf("completing %s: %w", c.ID, err)
		}
		out.Calls = append(out.Calls, c.ID)
	}
	return nil
}

func (b *batch) recoverApprovals(out *Recovered) error {
	rows, err := b.openWhere(func(*row) bool { return true })
	if err != nil {
		return err
	}
	for _, r := range rows {
		if to, why := overdue(r.Approval, b.now); to != "" {
			if err := b.end(r, to, why); err != nil {
				return err
			}
			out.Ended = append(out.Ended, r.ID)
		}
	}
	out.Cancelled, err = b.letGo(func(*row) bool { return true }, whyDaemonEnded)
	return err
}

func (b *batch) recoverSessions(out *Recovered, forget func(guard.RunID)) error {
	var open []guard.Session
	for _, t := range b.tenants {
		var ids []guard.SessionID
		each(b.bucket(bucketSessOpen), prefix(t), func(k, _ []byte) bool {
			ids = append(ids, guard.SessionID(last(k)))
			return true
		})
		for _, id := range ids {
			if v, ok := b.session(t, id); ok {
				open = append(open, v)
			}
		}
	}
	for _, v := range open {
		if err := b.closeSession(v, time.Time{}, whyDaemonEnded, nil, false, forget); err != nil {
			return err
		}
		out.Sessions = append(out.Sessions, v.ID)
	}
	return nil
}

// distrust ends every open approval, because the file is not the one written
// last: an approval that it lists as approved may have been used.
func (b *batch) distrust(why string) error {
	rows, err := b.openWhere(func(*row) bool { return true })
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := b.end(r, guard.Cancelled, why); err != nil {
			return err
		}
	}
	return nil
}
