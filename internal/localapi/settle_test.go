package localapi

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// TestOnlyUnknownOutcomesCanBeSettledOnce: a human may settle an unknown
// outcome, once, and no other outcome.
func TestOnlyUnknownOutcomesCanBeSettledOnce(t *testing.T) {
	r := newRig(t, nil)
	ctx := context.Background()
	s := r.session()
	a := r.pending(s, "new")
	ran := client.Settlement{Ran: true, Reason: "looked at the file"}

	var p *client.Problem
	if _, err := r.c.Settle(ctx, string(a.ID), ran); !errors.As(err, &p) || !errors.Is(err, client.ErrRefused) {
		t.Fatalf("a pending approval is settled: %v", err)
	}
	if _, err := r.c.Decide(ctx, string(a.ID), r.word(a, client.Allow)); err != nil {
		t.Fatal(err)
	}
	in := guard.Intent{CallID: a.CallID, ApprovalID: a.ID, SessionID: s.ID, RunID: s.RunID, Tenant: s.Tenant, Server: s.Server, Tool: a.Tool, Tier: a.Tier, Digest: a.Digest, ArgsRaw: a.ArgsRaw, Effects: a.Preview.Effects}
	if err := r.store.Begin(ctx, in); err != nil {
		t.Fatal(err)
	}
	if _, err := r.c.Settle(ctx, string(a.ID), ran); !errors.Is(err, client.ErrRefused) {
		t.Fatalf("an approval that is executing is settled: %v", err)
	}
	call := guard.ToolCall{ID: a.CallID, Session: s, Tool: a.Tool}
	done := audit.Completed(call, audit.StatusUnknown, r.clock.Now().Wall)
	if _, err := r.store.Finish(ctx, guard.Receipt{CallID: a.CallID, Outcome: guard.OutcomeUnknown, ReadBack: guard.Unverifiable}, done); err != nil {
		t.Fatal(err)
	}
	if _, err := r.c.Settle(ctx, string(a.ID), client.Settlement{Reason: "no"}); !errors.Is(err, client.ErrRequest) {
		t.Errorf("a reason of two characters is taken: %v", err)
	}
	got, err := r.c.Settle(ctx, string(a.ID), client.Settlement{Reason: "the file is as it was"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != client.Failed || got.Receipt == nil || !got.Receipt.Reconciled || !strings.Contains(got.Receipt.Detail, "the file is as it was") {
		t.Errorf("settled as %s with %+v", got.Status, got.Receipt)
	}
	if _, err := r.c.Settle(ctx, string(a.ID), ran); !errors.Is(err, client.ErrRefused) {
		t.Errorf("settled twice: %v", err)
	}
	list, err := r.c.Audit(ctx, client.AuditFilter{Types: []string{string(audit.ToolCallReconciled)}})
	if err != nil || len(list.Records) != 1 {
		t.Errorf("%d records of it, %v", len(list.Records), err)
	}
}
