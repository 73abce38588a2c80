package mcpguardd

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/shim"
	"github.com/mcpguard/mcpguard/internal/version"
)

// stdio is the ordinary way of the command. Where a daemon answers,
// internal/shim/express has handed the session over before it came to this.
func (a *app) stdio() *cobra.Command {
	var (
		noAutostart bool
		as          string
	)
	c := &cobra.Command{
		Use:     "stdio SERVER",
		Short:   "what the client launches in the server's place",
		Long:    "Connects standard input and output to the guarded server SERVER. Starts the daemon if none answers.",
		Example: `  claude mcp add-json files '{"type":"stdio","command":"mcpguardd","args":["stdio","files"]}'`,
		GroupID: "run",
		Args:    exactly(1, "the name of a server"),
		RunE: func(c *cobra.Command, args []string) error {
			out, ok := a.out.(*os.File)
			if !ok {
				return errors.New("standard output is not a file descriptor")
			}
			cfg := shim.Config{Server: args[0], As: as, Version: version.Number, In: a.in, Out: out, Err: a.err}
			if code := session(c.Context(), cfg, !noAutostart); code != exitDone {
				return coded(code, nil) // the shim has said what happened
			}
			return nil
		},
	}
	c.Flags().BoolVar(&noAutostart, "no-autostart", false, "do not start a daemon where none answers")
	c.Flags().StringVar(&as, "as", "", "the client's name for the server, where it is another and the client's hooks ask the guard")
	return c
}

// session lives one session and returns the exit code.
func session(ctx context.Context, cfg shim.Config, autostart bool) int {
	paths, err := ipc.DefaultPaths()
	if err != nil {
		return shim.Fail(ctx, cfg, err)
	}
	cfg.Paths = paths
	if autostart {
		cfg.Autostart = func(ctx context.Context) error {
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			return shim.StartDaemon(ctx, paths, exe)
		}
	}
	return shim.Run(ctx, cfg)
}
