package localapi

import (
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// TestStatusCountsWhatWaitsForAcceptance: a tool that the policy names counts
// once. A tool that it does not name, or that may never run, does not count.
func TestStatusCountsWhatWaitsForAcceptance(t *testing.T) {
	r := newRig(t, nil)
	r.live.servers = []client.Server{
		{Name: "a", Tools: []client.ServerTool{
			{Name: "read", Tier: "T0_READ", Accepted: true}, {Name: "write", Tier: "T1_REVERSIBLE_WRITE"}, {Name: "drop", Tier: "NEVER"},
		}, Waiting: []client.DefinitionDiff{{Tool: "write"}, {Tool: "new"}}},
		{Name: "b", Tools: []client.ServerTool{{Name: "send", Tier: "T4_IDENTITY_MONEY_OUTBOUND"}}},
	}
	if s := must(r.c.Status(ctx))(t); s.Unaccepted != 2 {
		t.Errorf("%d tools wait for acceptance, want 2", s.Unaccepted)
	}
}
