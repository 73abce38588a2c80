package mcpguardd

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/demo"
	"github.com/mcpguard/mcpguard/internal/version"
)

func (a *app) demo() *cobra.Command {
	var auto bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "see it work: a throw-away guard, a sample workspace and a scripted agent",
		Long: `Starts a guard in a folder of its own, with a sample workspace and a scripted
agent that proposes an edit, a new file, a delete, a move and a JSON change. On a
terminal you decide, in another pane; otherwise the demo decides by itself and
prints what happens. Everything is removed afterwards.`,
		GroupID: "run",
		Args:    exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGHUP) // also clean up after a closed terminal
			defer stop()
			return demo.Run(ctx, demo.Config{
				Out: a.out, Version: version.Number, Approve: approveCommand(),
				Interactive: !auto && term.IsTerminal(a.in.Fd()) && isTerminal(a.out),
			})
		},
	}
	c.Flags().BoolVar(&auto, "auto", false, "play through by itself, on a terminal too")
	return c
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(f.Fd())
}

// approveCommand returns how a person starts approve here: the one installed
// beside this program, or else from the source tree.
func approveCommand() string {
	if exe, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(exe), "approve")
		if st, err := os.Stat(beside); err == nil && st.Mode().IsRegular() {
			return beside
		}
	}
	return "go run ./cmd/approve"
}
