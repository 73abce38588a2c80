package mcpguardd

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/shim/faststart"
)

func (a *app) stdio() *cobra.Command {
	var noAutostart bool
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
			if code := faststart.Stdio(args[0], !noAutostart, a.in, out, a.err); code != exitDone {
				return coded(code, errors.New("the session ended with an error"))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&noAutostart, "no-autostart", false, "do not start a daemon where none answers")
	return c
}
