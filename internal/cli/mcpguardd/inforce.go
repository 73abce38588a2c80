package mcpguardd

import (
	"context"
	"fmt"
	"time"

	"github.com/mcpguard/mcpguard/internal/daemon"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// How often, and for how long, to check whether the daemon has read what was
// written.
const (
	inForceLook = 20 * time.Millisecond
	inForceWait = 3 * time.Second
)

// inForce waits until a running daemon has loaded what the files contain, so
// that a command that says so is right when it ends. If no daemon runs, it
// returns at once; if the daemon does not load the files, it prints a warning.
func (a *app) inForce(ctx context.Context, p ipc.Paths) {
	api := control(p)
	defer api.Close()
	ctx, cancel := context.WithTimeout(ctx, inForceWait)
	defer cancel()
	look := time.NewTicker(inForceLook)
	defer look.Stop()
	for {
		s, err := api.Status(ctx)
		if err != nil && ctx.Err() == nil {
			return // no daemon runs, or it cannot be asked; the next one reads the files
		}
		if err == nil {
			set, err := daemon.ReadPolicy(p)
			if err != nil || set.Hash() == s.PolicyHash {
				return // this command refuses what does not load, so someone else wrote it since
			}
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			fmt.Fprintln(a.err, "WARNING: the running daemon has not taken this in yet; `mcpguardd status` may say why, and `mcpguardd stop` lets the next call start it afresh.")
			return
		}
	}
}
