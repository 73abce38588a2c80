package mcpguardd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/safetext"
)

// Bounds of a stop.
const (
	stopWait = 20 * time.Second      // for the daemon to record outcomes
	killWait = 5 * time.Second       // for a killed daemon to end
	stopLook = 20 * time.Millisecond // between two checks
	stopAsk  = 5 * time.Second       // for the request about pending calls
	maxLost  = 10                    // calls that are listed
)

func (a *app) stop() *cobra.Command {
	force := false
	c := &cobra.Command{
		Use:   "stop",
		Short: "end the daemon; sessions go on with the next one, approved calls stay until they lapse",
		Long: `Ends the daemon in order. Sessions of open clients wait for the next daemon, which the
next call starts. Where calls wait for a decision or are being executed they would be
lost, so it does nothing without --force and says which they are. A daemon that does not
end with --force is killed.`,
		GroupID: "run",
		Args:    exactly(0, "no arguments"),
	}
	c.Flags().BoolVar(&force, "force", false, "end it although calls wait, and kill it where it does not end")
	c.RunE = func(c *cobra.Command, _ []string) error {
		p, err := paths()
		if err != nil {
			return err
		}
		if !p.Exist() {
			return coded(exitUnreachable, p.Missing())
		}
		found, err := p.FindDaemon(c.Context())
		if err != nil {
			return coded(exitUnreachable, err)
		}
		if !force {
			if err := a.nothingLost(c.Context(), p, found); err != nil {
				return err
			}
		}
		return a.end(c.Context(), found, force)
	}
	return c
}

// nothingLost refuses to stop a daemon if that would lose something, or if
// that cannot be determined.
func (a *app) nothingLost(ctx context.Context, p ipc.Paths, found ipc.FoundDaemon) error {
	const force = "`mcpguardd stop --force` ends it all the same"
	if found.Stopped {
		return fmt.Errorf("the daemon (process %d) is suspended, so that it cannot end: let it go on with `kill -CONT %d`; %s", found.PID, found.PID, force)
	}
	ctx, cancel := context.WithTimeout(ctx, stopAsk)
	defer cancel()
	api := control(p)
	defer api.Close()
	list, err := api.ListAll(ctx, client.Filter{Status: []string{client.Pending, client.Executing}})
	switch {
	case errors.Is(err, client.ErrVersion):
		return nil // a daemon of another version cannot be asked, and gives way to the newer one
	case err != nil:
		return fmt.Errorf("the daemon (process %d) does not say what waits (%w); %s, and what waits or runs is lost", found.PID, err, force)
	case len(list) == 0:
		return nil
	}
	var b strings.Builder
	for i, one := range list {
		if i == maxLost {
			fmt.Fprintf(&b, "\n… and %d more", len(list)-maxLost)
			break
		}
		lost := "waits for a decision, and would be cancelled"
		if one.Status == client.Executing {
			lost = "is being executed; its outcome could stay unknown"
		}
		fmt.Fprintf(&b, "\n%s %s/%s %s", one.ID, safetext.Text(one.Server), safetext.Text(one.Tool), lost)
	}
	return fmt.Errorf("the daemon was not ended, since calls would be lost; decide them first, or run `mcpguardd stop --force`:%s", b.String())
}

// end stops a daemon and waits until it has ended.
func (a *app) end(ctx context.Context, found ipc.FoundDaemon, force bool) error {
	if err := syscall.Kill(found.PID, syscall.SIGTERM); err != nil {
		return fmt.Errorf("ending the daemon (process %d): %w", found.PID, err)
	}
	if found.Stopped {
		_ = syscall.Kill(found.PID, syscall.SIGCONT) // so that it receives the other signal
	}
	if gone(ctx, found.Proc, stopWait) {
		fmt.Fprintln(a.out, "stopped")
		return nil
	}
	if !force || ctx.Err() != nil {
		return fmt.Errorf("the daemon (process %d) has not ended within %s; `mcpguardd stop --force` kills it", found.PID, stopWait)
	}
	if err := syscall.Kill(found.PID, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing the daemon (process %d): %w", found.PID, err)
	}
	if !gone(ctx, found.Proc, killWait) {
		return fmt.Errorf("the daemon (process %d) does not end although it was killed", found.PID)
	}
	fmt.Fprintln(a.out, "killed; what it was executing is unknown, and is looked at when the next one starts")
	return nil
}

// gone reports whether a process ends within limit.
func gone(ctx context.Context, p ipc.Proc, limit time.Duration) bool {
	until := time.NewTimer(limit)
	defer until.Stop()
	tick := time.NewTicker(stopLook)
	defer tick.Stop()
	for ipc.Running(p.PID, p.StartTime) {
		select {
		case <-tick.C:
		case <-until.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}
