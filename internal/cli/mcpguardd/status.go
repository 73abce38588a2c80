package mcpguardd

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/version"
)

// outOfReach says why a running daemon cannot be asked.
func outOfReach(p ipc.Paths, found ipc.FoundDaemon) error {
	if found.Stopped {
		return fmt.Errorf("the daemon (process %d) is suspended; let it go on with `kill -CONT %d`, or end it with `mcpguardd stop --force`", found.PID, found.PID)
	}
	return fmt.Errorf("the daemon runs (process %d) and cannot be reached: its sockets in %s were taken away; it makes them anew within seconds, else end it with `mcpguardd stop --force`", found.PID, p.State)
}

func (a *app) status() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "whether the daemon runs, its version and its security level",
		GroupID: "look",
		Args:    exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := paths()
			if err != nil {
				return err
			}
			if !p.Exist() {
				return coded(exitUnreachable, p.Missing())
			}
			if found, err := p.FindDaemon(c.Context()); err == nil && (found.Unreachable || found.Stopped) {
				return coded(exitUnreachable, outOfReach(p, found))
			}
			api := control(p)
			defer api.Close()
			s, err := api.Status(c.Context())
			if err != nil {
				return reached(err)
			}
			fmt.Fprintf(a.out, "running   mcpguardd %s, process %d, since %s\n", safetext.Text(s.Version), s.PID, s.StartedAt.Local().Format(time.DateTime))
			if s.Version != version.Number {
				fmt.Fprintf(a.out, "          this program is %s; after `mcpguardd stop` the next call starts it\n", version.Number)
			}
			fmt.Fprintf(a.out, "folder    %s\n", safetext.Text(s.Folder))
			fmt.Fprintf(a.out, "level     %s: %s\n", safetext.Text(s.Level), safetext.Text(s.Claim))
			fmt.Fprintf(a.out, "sessions  %d\nwaiting   %d\n", s.Sessions, s.Pending)
			paused, err := api.Switches(c.Context())
			if err != nil {
				return reached(err)
			}
			for _, w := range paused {
				fmt.Fprintf(a.out, "paused    %s: %s; see: approve resume --help\n", safetext.Text(cmp.Or(w.Scope, "everything")), safetext.Text(w.Reason))
			}
			if s.Alerts > 0 {
				fmt.Fprintf(a.out, "alerts    %d not acknowledged; see: approve --list\n", s.Alerts)
			}
			if s.PolicyNone {
				fmt.Fprintln(a.out, "problem   no configuration is in force, so everything is denied")
			}
			for _, problem := range []string{s.PolicyProblem, s.StoreProblem, s.StoreDamage} {
				for _, l := range safetext.Lines([]byte(problem)) {
					if l.String() != "" {
						fmt.Fprintf(a.out, "problem   %s\n", l)
					}
				}
			}
			return nil
		},
	}
}
