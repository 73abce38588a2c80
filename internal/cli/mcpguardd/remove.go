package mcpguardd

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/onboard"
	"github.com/mcpguard/mcpguard/internal/safetext"
)

func (a *app) remove() *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use:   "remove NAME",
		Short: "guard a server no longer: take it out of the configuration, with what was accepted of it",
		Long: `Takes a server out of config.yaml, in place: every line that does not belong to
it stays, comments included. Its accepted tool definitions and the values that
were recorded of its environment go too. Sessions of it end; what waits for
approval cannot run any more. What the audit log says of it stays.

The client's own files are not changed. Until its entry there is removed, the
client starts a server that the guard does not know, and gets a clear error.`,
		Example: `  mcpguardd remove files --dry-run
  mcpguardd remove files`,
		GroupID: "setup",
		Args:    exactly(1, "NAME"),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := paths()
			if err != nil {
				return err
			}
			folder, err := here()
			if err != nil {
				return err
			}
			r, err := onboard.Remove(c.Context(), onboard.RemoveRequest{
				Name: args[0], Paths: p, Folder: folder, Lookup: os.LookupEnv, Dry: dry,
			})
			if err != nil {
				return err
			}
			if !dry {
				a.inForce(c.Context(), p)
			}
			a.showChange(p.ConfigFile(), r.Before, r.After)
			a.printRemoval(args[0], r, dry)
			return nil
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "show what would go, and change nothing")
	return c
}

func (a *app) printRemoval(name string, r *onboard.Removal, dry bool) {
	fmt.Fprintln(a.out)
	if len(r.Tools) > 0 {
		fmt.Fprintf(a.out, "accepted definitions: %s\n", safetext.Text(strings.Join(r.Tools, ", ")))
	}
	if len(r.Env) > 0 {
		fmt.Fprintf(a.out, "recorded values of:   %s\n", safetext.Text(strings.Join(r.Env, ", ")))
	}
	if dry {
		fmt.Fprintln(a.out, "\nAll this would go. Nothing was changed (--dry-run).")
	} else {
		fmt.Fprintf(a.out, "\nAll this is gone; %s is guarded no longer. A running daemon acts on it at once.\n", safetext.Identity(name))
	}
	for _, path := range r.SecretFiles {
		fmt.Fprintf(a.out, "The file of a secret stays: %s\n", safetext.Text(path))
	}
	if len(r.Clients) == 0 {
		fmt.Fprintf(a.out, "\nIf Claude Code still has an entry for it:\n\n    claude mcp remove %s\n", shellWord(name))
		return
	}
	fmt.Fprint(a.out, "\nClaude Code still has an entry for it:\n\n")
	for _, e := range r.Clients {
		line := "claude mcp remove " + shellWord(e.Name) + " -s " + string(e.Scope)
		if e.Scope == onboard.Local {
			line = "(cd " + shellWord(e.Project) + " && " + line + ")"
		}
		fmt.Fprintf(a.out, "    %s\n", safetext.Text(line))
	}
}

// shellWord quotes a word for a POSIX shell if necessary.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./@+-", r)
	}
	if s != "" && !strings.HasPrefix(s, "-") && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return shellQuote(s)
}
