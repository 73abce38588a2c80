package localapi

import (
	"errors"
	"fmt"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/store"
)

// unreadable is a store whose database cannot be read, as on a full disk.
type unreadable struct{ Store }

func (u unreadable) Approval(guard.ApprovalID) (guard.Approval, error) {
	return guard.Approval{}, fmt.Errorf("reading an approval: %w", store.ErrIndeterminate)
}

// TestDenyingWorksWithoutTheDatabase: waiting approvals are known in memory, so
// they can be denied. Their contents are not, and no one is shown an empty
// change.
func TestDenyingWorksWithoutTheDatabase(t *testing.T) {
	r := newRig(t, func(_ *rig, a *API) { a.cfg.Store = unreadable{a.cfg.Store} })
	a := r.pending(r.session(), "new")
	for _, ref := range []string{string(a.ID), string(a.ID)[20:]} {
		d, err := r.c.Get(ctx, ref)
		if err != nil {
			t.Fatal(err)
		}
		if d.ID != string(a.ID) || d.Digest != a.Digest.String() || d.Status != client.Pending || !d.Diff.Pruned || d.Diff.Text != "" {
			t.Errorf("got %+v", d)
		}
	}
	d, err := r.c.Decide(ctx, string(a.ID), r.word(a, client.Deny))
	if err != nil || d.Status != client.Denied {
		t.Errorf("denied as %s, %v", d.Status, err)
	}
	if _, err := r.c.Get(ctx, string(a.ID)); !errors.Is(err, client.ErrServer) {
		t.Errorf("what has ended is known by heart: %v", err)
	}
}
