// Package mcpguardd is the command line of the daemon: serve and related
// commands, server onboarding, explanations, the audit log and the demo. Each
// command has a file of its own. The package does not decide about calls; its
// commands ask the packages that do.
package mcpguardd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/sandbox"
	"github.com/mcpguard/mcpguard/internal/version"
)

// Exit codes of every command, the same as those of approve.
const (
	exitDone        = 0
	exitError       = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitRefused     = 4
)

// codeError is an error with its own exit code.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}
func (e *codeError) Unwrap() error { return e.err }

// coded gives err an exit code; a nil err prints nothing.
func coded(code int, err error) error { return &codeError{code, err} }

// app is the state that the commands share.
type app struct {
	in       *os.File
	out, err io.Writer
}

// Main runs one command and returns the exit code.
func Main(args []string, in *os.File, out, stderr io.Writer) int {
	if code, handled := sandbox.Main(append([]string{"mcpguardd"}, args...)); handled {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A reader that goes away, as in "mcpguardd add … | head -1", ends the
	// output but not the work. Use Notify, not Ignore, which servers started
	// here would inherit.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	defer signal.Stop(pipes)
	a := &app{in: in, out: out, err: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	// An error can quote a configuration or a server, so make it safe line by
	// line.
	for i, l := range safetext.Lines([]byte(err.Error())) {
		if err.Error() == "" {
			break
		}
		if i == 0 {
			fmt.Fprintf(stderr, "mcpguardd: %s\n", l)
		} else {
			fmt.Fprintf(stderr, "  %s\n", l)
		}
	}
	var c *codeError
	switch {
	case errors.As(err, &c):
		return c.code
	case errors.Is(err, ipc.ErrNoDaemon):
		return exitUnreachable
	}
	return exitError
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "mcpguardd",
		Short: "hold an agent's writes until you have seen what they would change",
		Long: `mcpguardd stands between a coding agent and its MCP servers. Reads pass, writes
wait: for each waiting write it computes what would change, and only what you
approve with "approve" is executed, once, if it is still exactly that change.`,
		Example: `  mcpguardd demo                                  see it work, without touching anything
  mcpguardd add files --preset filesystem -- node server-filesystem/dist/index.js .
  mcpguardd doctor                                what is protected, and what is not`,
		Version:       version.Number,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	// Some commands start servers; serve closes inherited descriptors.
	root.PersistentPreRun = func(c *cobra.Command, _ []string) {
		if c.Name() != "serve" {
			ipc.KeepInherited()
		}
	}
	root.SetVersionTemplate("mcpguardd {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return coded(exitUsage, fmt.Errorf("%w\nsee: %s --help", err, c.CommandPath()))
	})
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Running:"},
		&cobra.Group{ID: "setup", Title: "Setting up:"},
		&cobra.Group{ID: "look", Title: "Looking:"},
	)
	root.AddCommand(
		a.serve(), a.stop(), a.status(), a.stdio(), a.hook(), a.demo(),
		a.add(), a.imports(), a.hooks(), a.accept(), a.remove(), a.check(),
		a.explain(), a.audit(), a.replay(), a.doctor(),
	)
	root.SetHelpCommandGroupID("look")
	root.SetCompletionCommandGroupID("setup")
	return root
}

// paths returns the folders of this user's guard.
func paths() (ipc.Paths, error) {
	p, err := ipc.DefaultPaths()
	if err != nil {
		return ipc.Paths{}, fmt.Errorf("finding the guard's folders: %w", err)
	}
	return p, nil
}

// control returns a client of the control API, which the caller closes.
func control(p ipc.Paths) *client.Client {
	api := client.New(p.ApproverSocket())
	api.Version = version.Number
	return api
}

// noCommand refuses an unknown command and suggests similar ones.
func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("there is no command %q", args[0])
	c.SuggestionsMinimumDistance = 2 // number of letters that may differ
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += fmt.Sprintf("; did you mean %q?", near[0])
	}
	return coded(exitUsage, fmt.Errorf("%s\nsee: %s --help", text, c.CommandPath()))
}

// exactly is cobra.ExactArgs with our exit code and message.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return coded(exitUsage, fmt.Errorf("%s takes %s\nsee: %s --help", c.CommandPath(), what, c.CommandPath()))
	}
}
