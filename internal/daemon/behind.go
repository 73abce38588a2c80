package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/onboard"
	"github.com/mcpguard/mcpguard/internal/store"
)

// compareProgram alerts the human and the log if the program about to start is
// not the one whose tools were accepted. It stops nothing: what a tool may do
// is decided by its definition and effect. A new version may mean something
// else by the same words, which only a person can judge.
func (d *daemon) compareProgram(s *session, now config.Program) {
	before, ok := d.policy.Load().Program(s.Server)
	if !ok {
		return
	}
	list := before.Differences(now)
	s.setBehind(list)
	if len(list) > 0 {
		d.tellChanged(s, list, fmt.Sprintf("%s %s %s %s", s.Server, now.Path, now.SHA256, now.Version))
	}
}

// compareReported does the same for the name and version that the server
// reports.
func (d *daemon) compareReported(s *session, name, version string) {
	before, ok := d.policy.Load().Program(s.Server)
	if !ok || before.Reported == "" {
		return
	}
	now := config.Program{Reported: onboard.Reported(name, version)}
	if list := before.Differences(now); s.addBehind(list) {
		d.tellChanged(s, list, s.Server+" "+now.Reported)
	}
}

// alertTime bounds the recording of an alert.
const alertTime = 5 * time.Second

func (d *daemon) tellChanged(s *session, list []string, key string) {
	text := strings.Join(list, "; ")
	s.tell(fmt.Sprintf("mcpguard: what stands behind %s has changed: %s; look at it with: mcpguardd accept %s", s.Server, text, s.Server))
	ctx, cancel := context.WithTimeout(context.Background(), alertTime)
	defer cancel()
	err := d.store.RaiseAlert(ctx, store.Alert{
		Tenant: s.Tenant, Kind: "server_changed", Key: key,
		Text:   fmt.Sprintf("what stands behind the server %s is not what its tools were accepted of", s.Server),
		Detail: text,
	})
	if err != nil {
		d.log.Warn("raising an alert", "server", s.Server, "error", err)
	}
}
