package mcpguardd

import (
	"context"
	"fmt"
	"time"

	"github.com/mcpguard/mcpguard/internal/daemon"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// How often, and how long, it is looked whether the daemon has read what was
// written.
const (
	inForceLook = 20 * time.Millisecond
	inForceWait = 3 * time.Second
)

// inForce waits until a running daemon has in force what stands in the files, so
// that a command that says so has told the truth when it ends. Where none runs
// there is nothing to wait for; where one does not take it in, a warning says so.
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
			return // no daemon runs, or one that cannot be asked; the next one reads the files
		}
		if err == nil {
			set, err := daemon.ReadPolicy(p)
			if err != nil || set.Hash() == s.PolicyHash {
				return // what does not load was refused by this command, or written by somebody else since
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
