package localapi

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/store"
)

// TestAuditPages reads the log in every order and part size; the records must
// be the same.
func TestAuditPages(t *testing.T) {
	r := newRig(t, nil)
	s := r.session()
	for i := range 5 {
		a := r.pending(s, fmt.Sprint(i))
		if i%2 == 0 {
			must(r.c.Decide(ctx, string(a.ID), r.word(a, client.Deny)))(t)
		}
	}
	want := must(r.store.Events(store.EventFilter{Limit: 1000}))(t)
	for _, f := range []client.AuditFilter{{}, {Types: []string{"approval_decided"}}, {Types: []string{"tool_call_requested"}}, {Server: "files"}, {Verdict: "deny"}, {Run: string(s.RunID)}} {
		var expect []int64
		for _, v := range want {
			q := auditQuery{server: f.Server, verdict: f.Verdict}
			if q.matches(v.Event) && (len(f.Types) == 0 || f.Types[0] == string(v.Event.Event)) && (f.Run == "" || string(v.Event.RunID) == f.Run) {
				expect = append(expect, v.Index)
			}
		}
		for _, size := range []int{1, 2, 3, 100} {
			for _, oldest := range []bool{true, false} {
				f := f
				f.Limit, f.Oldest = size, oldest
				var got []int64
				for {
					part := must(r.c.Audit(ctx, f))(t)
					for _, rec := range part.Records {
						got = append(got, rec.Index)
					}
					if part.Next < 0 || oldest && len(part.Records) == 0 {
						break
					}
					f.From = part.Next
				}
				if !oldest {
					for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
						got[i], got[j] = got[j], got[i]
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(expect) {
					t.Errorf("%+v: got %v, want %v", f, got, expect)
				}
			}
		}
	}
}

func TestCheckpointProvesConsistency(t *testing.T) {
	r := newRig(t, nil)
	s := r.session()
	r.pending(s, "one")
	first := must(r.c.Checkpoint(ctx, 0))(t)
	old := must(audit.OpenCheckpoint([]byte(first.Checkpoint), first.Verifier))(t)
	r.pending(s, "two")
	second := must(r.c.Checkpoint(ctx, old.Size))(t)
	fresh := must(audit.OpenCheckpoint([]byte(second.Checkpoint), second.Verifier))(t)
	if err := audit.CheckConsistency(old, fresh, treeProof(second.Hashes)); err != nil || fresh.Size <= old.Size {
		t.Errorf("from %d to %d: %v", old.Size, fresh.Size, err)
	}
	old.Root[0]++
	if err := audit.CheckConsistency(old, fresh, treeProof(second.Hashes)); err == nil {
		t.Error("another history passes")
	}
	// A log that is shorter than what the caller has seen comes without a
	// proof.
	if p := must(r.c.Checkpoint(ctx, 1<<40))(t); len(p.Hashes) != 0 {
		t.Errorf("a proof of %d hashes", len(p.Hashes))
	}
}

func TestStats(t *testing.T) {
	r := newRig(t, nil)
	s := r.session()
	a, b := r.pending(s, "one"), r.pending(s, "two")
	r.clock.Advance(4 * time.Second)
	must(r.c.Decide(ctx, string(a.ID), r.word(a, client.Deny)))(t)
	r.clock.Advance(6 * time.Second)
	must(r.c.Decide(ctx, string(b.ID), r.word(b, client.Allow)))(t)
	done := audit.New(audit.ToolCallCompleted, r.clock.Now().Wall)
	done.Status = audit.StatusDenied
	if err := r.store.CloseCall(ctx, a.CallID, done); err != nil {
		t.Fatal(err)
	}
	// The guard's own reads for a call do not count as calls.
	own := audit.ForSession(audit.ToolCallCompleted, s, r.clock.Now().Wall)
	own.Origin.Client, own.Status, own.CallID = audit.Own, audit.StatusOK, guard.NewCallID()
	refused := own
	refused.Event, refused.EventID, refused.Status, refused.Rule = audit.ToolCallDenied, guard.NewEventID(), "", guard.RuleLimitRate
	if err := r.store.Record(ctx, own, refused); err != nil {
		t.Fatal(err)
	}
	st := must(r.c.Stats(ctx, time.Time{}))(t)
	if len(st.ByRule) != 0 {
		t.Errorf("refusals are %v", st.ByRule)
	}
	if st.ByStatus["denied"] != 1 || st.ByStatus["approved"] != 1 || st.ByTier["T1_REVERSIBLE_WRITE"] != 2 || st.Calls != 1 || st.Denials != 1 || st.Outcomes["denied"] != 1 {
		t.Errorf("stats are %+v", st)
	}
	if w := st.Waiting; w.Decided != 2 || w.MedianMS != 4000 || w.MaxMS != 10000 {
		t.Errorf("waiting is %+v", w)
	}
	sum := 0
	for _, b := range st.Over {
		sum += b.Calls
	}
	if sum != 1 || len(st.Over) > 2*statsBins {
		t.Errorf("over time: %d calls in %d bins", sum, len(st.Over))
	}
	if _, err := r.c.Stats(ctx, r.clock.Now().Wall.Add(time.Hour)); !errors.Is(err, client.ErrRequest) {
		t.Errorf("the future gives %v", err)
	}
}
