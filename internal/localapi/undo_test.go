package localapi

import (
	"errors"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// TestUndoReturnsAPendingApproval: the answer is the approval that waits; a
// change that cannot be undone is refused with a reason.
func TestUndoReturnsAPendingApproval(t *testing.T) {
	r := newRig(t, nil)
	s := r.session()
	old, fresh := r.pending(s, "old"), r.pending(s, "fresh", func(a *guard.Approval) { a.Undoes = "appr_x" })
	r.live.undo = func(id guard.ApprovalID) (guard.ApprovalID, error) {
		if id == old.ID {
			return fresh.ID, nil
		}
		return "", &effect.Refusal{Reason: "it has moved on", Repair: "by hand"}
	}
	d, err := r.c.Undo(t.Context(), string(old.ID))
	if err != nil || d.ID != string(fresh.ID) || d.Undoes != "appr_x" || d.RequestedBy.Actor != "developer" {
		t.Errorf("%v %+v", err, d.Approval)
	}
	_, err = r.c.Undo(t.Context(), string(fresh.ID))
	var p *client.Problem
	if !errors.Is(err, client.ErrRefused) || !errors.As(err, &p) || p.Code != client.CodeNoUndo || p.Detail != "it has moved on" || p.Remedy != "by hand" {
		t.Errorf("refused: %v", err)
	}
	if _, err := r.c.Undo(t.Context(), "appr_none"); !errors.Is(err, client.ErrRequest) {
		t.Errorf("no id: %v", err)
	}
}
