package localapi

import (
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// TestStatusCountsWhatWaitsForAcceptance: a tool that is named and one that no
// policy names count once each, one that never runs does not.
func TestStatusCountsWhatWaitsForAcceptance(t *testing.T) {
	r := newRig(t, nil)
	r.live.servers = []client.Server{
		{Name: "a", Tools: []client.ServerTool{
			{Name: "read", Tier: "T0_READ", Accepted: true}, {Name: "write", Tier: "T1_REVERSIBLE_WRITE"}, {Name: "drop", Tier: "NEVER"},
		}, Waiting: []client.DefinitionDiff{{Tool: "write"}, {Tool: "new"}}},
		{Name: "b", Tools: []client.ServerTool{{Name: "send", Tier: "T4_IDENTITY_MONEY_OUTBOUND"}}},
	}
	if s := must(r.c.Status(ctx))(t); s.Unaccepted != 3 {
		t.Errorf("%d tools wait for acceptance, want 3", s.Unaccepted)
	}
}
