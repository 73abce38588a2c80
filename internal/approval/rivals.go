package approval

import "github.com/mcpguard/mcpguard/internal/guard"

// Rivals returns, for each open approval that would change a file which another
// open one would change too, one of those others. Whichever runs first makes the
// rest stale.
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

// files names the files that effects change.
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
