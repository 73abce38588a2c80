package mcpguardd

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/daemon"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/shim"
	"github.com/mcpguard/mcpguard/internal/store"
	"github.com/mcpguard/mcpguard/internal/version"
)

func (a *app) serve() *cobra.Command {
	var detached bool
	c := &cobra.Command{
		Use:     "serve",
		Short:   "run the daemon in the foreground",
		Long:    "Runs the daemon until it is stopped. Shims and approve start one by themselves where none runs.",
		GroupID: "run",
		Args:    exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			ipc.CloseInherited()
			p, err := paths()
			if err != nil {
				return err
			}
			cfg := daemon.Config{Paths: p, Version: version.Number, Sandbox: shim.SandboxProgram()}
			if detached {
				cfg.Ready = func(err error) { _ = ipc.SignalReady(err) } // the waiting process may be gone
			} else {
				cfg.Stderr = a.err
				cfg.Ready = func(err error) {
					if err == nil {
						fmt.Fprintf(a.err, "mcpguardd %s is ready in %s; stop it with Ctrl-C\n", version.Number, p.State)
					}
				}
			}
			err = daemon.Run(c.Context(), cfg)
			var held *ipc.HeldError
			if (errors.Is(err, store.ErrLocked) || errors.As(err, &held)) && !detached {
				return fmt.Errorf("a guard daemon runs in %s already; see `mcpguardd status`, or end it with `mcpguardd stop`", p.State)
			}
			return err
		},
	}
	c.Flags().BoolVar(&detached, "detached", false, "")
	_ = c.Flags().MarkHidden("detached") // only for shim.StartDaemon
	return c
}
