package localapi

import (
	"slices"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// HazardContested marks an approval whose file or record another open approval
// changes too.
const HazardContested = client.Contested

// rivals returns the current rivals. Unlike other hazards, this one depends on
// which other approvals are open, so it is not stored.
func (a *API) rivals() map[guard.ApprovalID]guard.ApprovalID { return a.cfg.Approvals.Rivals() }

// contested adds the hazard to an approval that has a rival.
func contested(v client.Approval, rivals map[guard.ApprovalID]guard.ApprovalID) client.Approval {
	if other, ok := rivals[guard.ApprovalID(v.ID)]; ok {
		v.Hazards = append(v.Hazards, client.Hazard{Kind: HazardContested, Text: "another open approval changes the same file or record: " + string(other)})
	}
	return v
}

func (a *API) detail(v guard.Approval) client.Detail {
	d := detailOf(v, a.cfg.Clock.Now())
	d.Approval = contested(d.Approval, a.rivals())
	return d
}

func keys(rivals map[guard.ApprovalID]guard.ApprovalID) map[guard.ApprovalID]bool {
	out := make(map[guard.ApprovalID]bool, len(rivals))
	for id := range rivals {
		out[id] = true
	}
	return out
}

// rivals sends an event for each approval that got its first rival or lost its
// last one. The store has no change for that, so no other event reports it.
func (s *stream) rivals() error {
	now := keys(s.api.rivals())
	changed := make([]guard.ApprovalID, 0, len(now))
	for id := range now {
		if !s.contested[id] {
			changed = append(changed, id)
		}
	}
	for id := range s.contested {
		if !now[id] {
			changed = append(changed, id)
		}
	}
	s.contested = now
	slices.Sort(changed)
	for _, id := range changed {
		v := s.row(id)
		if v == nil {
			continue
		}
		e := client.Event{
			Kind: client.EventApproval, At: utc(s.api.cfg.Clock.Now().Wall), ApprovalID: v.ID, Status: v.Status,
			RunID: v.RunID, SessionID: v.SessionID, Approval: v,
		}
		if err := s.send(e); err != nil {
			return err
		}
	}
	return nil
}

// row returns an approval in its form in a list, or nil if it cannot be read.
func (s *stream) row(id guard.ApprovalID) *client.Approval {
	v, err := s.api.cfg.Store.Approval(id)
	if err != nil {
		s.api.log.Warn("reading an approval for a stream", "approval", id, "error", err)
		return nil
	}
	list := contested(approvalOf(v, s.api.cfg.Clock.Now()), s.api.rivals())
	return &list
}
