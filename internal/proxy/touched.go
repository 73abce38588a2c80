package proxy

import (
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Memory knows what the executed calls of a tenant have touched.
type Memory interface {
	Unseen(tenant string, names []string) []string
	// ChangedInRun lists the files that a run has changed, of its last calls.
	ChangedInRun(tenant string, run guard.RunID, most int) ([]string, error)
}

// firstTimes returns which hosts, recipients and tables of a call are new to
// its tenant. The digest does not cover them: they may be known by the time
// the call runs.
func (s *session) firstTimes(c *call, change guard.Change) []guard.SideEffect {
	names := effect.Touched(c.tc.Session.Server, change)
	if len(names) == 0 {
		return nil
	}
	return effect.FirstTimes(s.cfg.Store.Unseen(c.tc.Session.Tenant, names))
}
