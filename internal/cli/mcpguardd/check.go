package mcpguardd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/daemon"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/safetext"
)

// noConfig says what holds without a configuration: nothing, unless a running
// daemon has loaded one before.
func noConfig(ctx context.Context, p ipc.Paths) error {
	api := control(p)
	defer api.Close()
	switch s, err := api.Status(ctx); {
	case errors.Is(err, ipc.ErrNoDaemon):
	case err != nil:
		return fmt.Errorf("%s does not exist, and what the running daemon has in force cannot be asked: %w", p.ConfigFile(), err)
	case s.PolicyHash != "" && !s.PolicyNone:
		return fmt.Errorf("%s does not exist; the running daemon keeps the policy that it loaded from it before, until it stops\n"+
			"put the file back, or end what it allows with: mcpguardd stop", p.ConfigFile())
	}
	return fmt.Errorf("%s does not exist, so no server is guarded and nothing is allowed\nguard one with: mcpguardd add NAME -- COMMAND", p.ConfigFile())
}

func (a *app) check() *cobra.Command {
	return &cobra.Command{
		Use:     "check [FILE]",
		Short:   "validate the configuration; every problem with its line and column",
		GroupID: "setup",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) <= 1 {
				return nil
			}
			return coded(exitUsage, fmt.Errorf("check takes at most one file\nsee: mcpguardd check --help"))
		},
		RunE: func(c *cobra.Command, args []string) error {
			p, err := paths()
			if err != nil {
				return err
			}
			file := p.ConfigFile()
			if len(args) == 1 {
				file = args[0]
			}
			cfg, err := config.Load(file)
			if errors.Is(err, fs.ErrNotExist) && len(args) == 0 {
				return noConfig(c.Context(), p)
			}
			if err != nil {
				return err
			}
			set, err := daemon.Compile(cfg, p)
			if err != nil {
				return err
			}
			tools, waiting := 0, 0
			var post, lacking, unusable []string
			for _, s := range set.Servers() {
				for _, t := range s.Tools() {
					tools++
					pin, ok := t.Pin()
					if !ok {
						waiting++
					} else if err := policy.CheckDefinition(pin.Definition); err != nil {
						unusable = append(unusable, fmt.Sprintf("%s/%s cannot be called: %v", t.Server, t.Name, err))
					}
					if setting := t.Unconfigured(); setting != "" {
						lacking = append(lacking, fmt.Sprintf("%s/%s (%s)", t.Server, t.Name, setting))
					}
					if t.Config.Approval.Mode == "post" {
						post = append(post, t.Server+"/"+t.Name)
					}
				}
			}
			for _, n := range cfg.Notes {
				fmt.Fprintf(a.err, "%s\n", safetext.Text(n.String()))
			}
			fmt.Fprintf(a.out, "%s: %s, %s, no problems\n", safetext.Text(file), guardedBy(set), count(tools, "tool", "tools"))
			for _, line := range unusable {
				fmt.Fprintf(a.out, "note: %s\n", safetext.Text(line))
			}
			for _, line := range config.CloseNames(cfg.ToolNames(), "") {
				fmt.Fprintf(a.out, "note: %s\n", safetext.Text(line))
			}
			if len(post) > 0 {
				slices.Sort(post)
				fmt.Fprintf(a.out, "changed first and shown afterwards: %s\n", safetext.Text(strings.Join(post, ", ")))
			}
			if len(lacking) > 0 {
				slices.Sort(lacking)
				fmt.Fprintf(a.out, "refused until the policy says so: %s\n", safetext.Text(strings.Join(lacking, ", ")))
			}
			if waiting > 0 {
				fmt.Fprintf(a.out, "without an accepted definition, and so blocked: %s; see: mcpguardd doctor\n", count(waiting, "tool", "tools"))
			}
			return nil
		},
	}
}

// guardedBy counts what a policy guards: servers and, separately, the client's
// own tools.
func guardedBy(set *policy.Set) string {
	servers, native := len(set.Servers()), ""
	if _, ok := set.Server(config.NativeServer); ok {
		servers, native = servers-1, " and the client's own tools"
	}
	return count(servers, "server", "servers") + native
}
