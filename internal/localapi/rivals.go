package localapi

import (
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// HazardContested marks an approval whose file another open one changes too.
const HazardContested = "contested"

// contender knows which open approvals change one file; *approval.Desk does.
type contender interface {
	Rivals() map[guard.ApprovalID]guard.ApprovalID
}

// rivals returns what the desk knows now: unlike other hazards this one comes
// and goes with other approvals, so it is not stored with any.
func (a *API) rivals() map[guard.ApprovalID]guard.ApprovalID {
	if c, ok := a.cfg.Desk.(contender); ok {
		return c.Rivals()
	}
	return nil
}

// contested adds the hazard to an approval that has a rival.
func contested(v client.Approval, rivals map[guard.ApprovalID]guard.ApprovalID) client.Approval {
	if other, ok := rivals[guard.ApprovalID(v.ID)]; ok {
		v.Hazards = append(v.Hazards, client.Hazard{Kind: HazardContested, Text: "another open approval changes this file: " + string(other)})
	}
	return v
}

func (a *API) detail(v guard.Approval) client.Detail {
	d := detailOf(v, a.cfg.Clock.Now())
	d.Approval = contested(d.Approval, a.rivals())
	return d
}
