package localapi

import (
	"errors"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// TestCommandsAreListedAndEnded lists the commands in a sandbox and ends one of
// them.
func TestCommandsAreListedAndEnded(t *testing.T) {
	r := newRig(t, func(_ *rig, a *API) {
		a.mayDecide = func(*ipc.Peer, []ipc.ClientRef, bool) error { return nil }
	})
	if list, err := r.c.Commands(ctx); err != nil || list == nil || len(list) != 0 {
		t.Errorf("nothing runs: %v, %v", list, err)
	}
	one, two := guard.NewCallID(), guard.NewCallID()
	r.mu.Lock()
	r.live.commands = []client.RunningCommand{{ID: string(one), Command: "make", Seconds: 3}, {ID: string(two), Command: "sleep 9"}}
	r.mu.Unlock()
	if list, err := r.c.Commands(ctx); err != nil || len(list) != 2 || list[0].Command != "make" || list[0].Seconds != 3 {
		t.Errorf("listed: %+v, %v", list, err)
	}
	if list, err := r.c.StopCommand(ctx, string(one)); err != nil || len(list) != 1 || list[0].ID != string(two) {
		t.Errorf("ended: %+v, %v", list, err)
	}
	if _, err := r.c.StopCommand(ctx, string(one)); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("ended twice: %v", err)
	}
	if _, err := r.c.StopCommand(ctx, "appr_none"); !errors.Is(err, client.ErrRequest) {
		t.Errorf("no call: %v", err)
	}
}
