package approval

import "github.com/mcpguard/mcpguard/internal/guard"

// Rivals maps each open approval to another open one that would change the
// same file, where there is one. Whichever runs first makes the other stale.
func (d *Approvals) Rivals() map[guard.ApprovalID]guard.ApprovalID {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := make(map[string]guard.ApprovalID, len(d.open))
	var out map[guard.ApprovalID]guard.ApprovalID
	for id, e := range d.open {
		for _, key := range files(e.approval.Preview.Effects) {
			other, taken := first[key]
			if !taken {
				first[key] = id
				continue
			}
			if other == id {
				continue
			}
			if out == nil {
				out = map[guard.ApprovalID]guard.ApprovalID{}
			}
			out[id] = other
			if _, known := out[other]; !known {
				out[other] = id
			}
		}
	}
	return out
}

// files returns the names of the files that effects change.
func files(effects []guard.Effect) []string {
	var keys []string
	for _, e := range effects {
		if e.Resource.Write && e.Resource.Path != "" {
			keys = append(keys, e.Resource.Key)
		}
		if e.Dest != nil && e.Dest.Write && e.Dest.Path != "" {
			keys = append(keys, e.Dest.Key)
		}
	}
	return keys
}
