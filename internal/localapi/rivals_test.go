package localapi

import (
	"strings"
	"sync"
	"testing"

	"github.com/mcpguard/mcpguard/internal/approval"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// conflictingApprovals is a Decider whose rivals are set by the test.
type conflictingApprovals struct {
	*approval.Approvals
	mu  sync.Mutex
	now map[guard.ApprovalID]guard.ApprovalID
}

func (d *conflictingApprovals) Rivals() map[guard.ApprovalID]guard.ApprovalID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

func (d *conflictingApprovals) set(now map[guard.ApprovalID]guard.ApprovalID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = now
}

// TestRivalsAreReported: a waiting approval is reported again when another one
// for its file comes, and when that one has ended.
func TestRivalsAreReported(t *testing.T) {
	d := &conflictingApprovals{}
	r := newRig(t, func(r *rig, a *API) {
		d.Approvals = r.desk
		a.cfg.Approvals = d
	})
	s := r.session()
	one := r.pending(s, "one")
	stream := r.stream("")
	stream.next()
	two := guard.NewApprovalID()
	d.set(map[guard.ApprovalID]guard.ApprovalID{one.ID: two, two: one.ID}) // nothing is known of the second, so it is left out
	r.pending(s, "three")
	until := func(contested bool) {
		t.Helper()
		for {
			_, data, _ := stream.next()
			if strings.Contains(data, `"approvalId":"`+string(one.ID)) && strings.Contains(data, "another open approval") == contested {
				return
			}
		}
	}
	until(true)
	d.set(nil)
	until(false)
}
