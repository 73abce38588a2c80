package mcpguardd

import (
	"errors"
	"os"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/cli/mcpguard"
	"github.com/mcpguard/mcpguard/internal/shim"
)

// stdio and hook run mcpguard, which starts faster. Entries of earlier
// versions name this program.
func (a *app) stdio() *cobra.Command {
	return a.forClients(&cobra.Command{
		Use:   "stdio SERVER",
		Short: "what the client launches in the server's place; starts mcpguard",
		Long: `Connects standard input and output to the guarded server SERVER, as "mcpguard stdio" does,
which starts faster. Entries that were written for an earlier version name this command.`,
		Example: `  claude mcp add-json files '{"type":"stdio","command":"mcpguard","args":["stdio","files"]}'`,
	})
}

func (a *app) hook() *cobra.Command {
	return a.forClients(&cobra.Command{
		Use:   "hook pre|post",
		Short: "what the client's hooks run; starts mcpguard",
		Long: `Asks or reports as "mcpguard hook" does, which starts faster. Settings that were written
by an earlier version name this command; "mcpguardd hooks install" writes them anew.`,
	})
}

// forClients makes c a command that mcpguard runs: by replacing this process
// if mcpguard is beside this program, otherwise in this process. Its arguments
// are those of mcpguard.
func (a *app) forClients(c *cobra.Command) *cobra.Command {
	c.GroupID = "run"
	c.DisableFlagParsing = true
	c.RunE = func(c *cobra.Command, args []string) error {
		if slices.Contains(args, "--help") || slices.Contains(args, "-h") {
			return c.Help()
		}
		out, ok := a.out.(*os.File)
		if !ok {
			return errors.New("standard output is not a file descriptor")
		}
		args = append([]string{c.Name()}, args...)
		if program := shim.FindClient(); program != "" && a.in == os.Stdin && out == os.Stdout {
			// Exec returns only on failure; this process then runs the
			// command.
			_ = syscall.Exec(program, append([]string{program}, args...), os.Environ())
		}
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		if code := mcpguard.Main(mcpguard.Command{Args: args, In: a.in, Out: out, Err: a.err, Daemon: exe}); code != exitDone {
			return coded(code, nil) // the command has printed its own error
		}
		return nil
	}
	return c
}

// clientProgram returns the program that client entries name: the mcpguard
// beside this program, or else this program, which does the same.
func clientProgram() (string, error) {
	if program := shim.FindClient(); program != "" {
		return program, nil
	}
	return os.Executable()
}
