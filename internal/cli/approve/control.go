package approve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
)

func (a *app) pause() *cobra.Command {
	var reason string
	var now bool
	c := &cobra.Command{
		Use:   "pause [SERVER[/TOOL]] --reason TEXT",
		Short: "stop calls: all, of one server, or of one tool",
		Long: `Stops calls at once: every call and request, reads too, or those of one server or
one tool. Agents are told that they are stopped, and servers that are paused are
not started. What is approved but does not run yet does not run. It holds until
"approve resume".

What runs already goes on to its end. With --now it is cancelled, calls that wait
for an approval end, and the processes of the servers end, so that clients have to
connect again afterwards. What has begun to change files is finished first.`,
		Example: `  approve pause --reason "something is off, looking into it"
  approve pause --now --reason "stop what it is doing"
  approve pause files/delete_file --reason "no deletes today"
  approve resume files/delete_file`,
		Args:              oneScope,
		ValidArgsFunction: a.completeScopes,
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := guard.CheckReason(reason); err != nil {
				return usage(c, "--reason: %w", err)
			}
			ctx := c.Context()
			return a.reading(ctx, func(c *client.Client) error {
				set := c.SetSwitch
				if now {
					set = c.StopNow
				}
				list, err := set(ctx, scopeOf(args), reason)
				if err != nil {
					return elsewhere(err)
				}
				p := a.page()
				if a.terminal {
					p.line(a.text(plain, "resumed  "), a.name(bold, scopeWord(scopeOf(args))))
				}
				p.paused(list)
				return p.flush()
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; it is recorded and shown")
	c.Flags().BoolVar(&now, "now", false, "end what is under way, too")
	return c
}

func (a *app) resume() *cobra.Command {
	return &cobra.Command{
		Use:   "resume [SERVER[/TOOL]]",
		Short: "resume what was paused under the same name",
		Example: `  approve resume                     after "approve pause"
  approve resume files               after "approve pause files"`,
		Args:              oneScope,
		ValidArgsFunction: a.completePaused,
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			return a.reading(ctx, func(c *client.Client) error {
				list, err := c.ClearSwitch(ctx, scopeOf(args))
				if err != nil {
					return elsewhere(err)
				}
				p := a.page()
				if a.terminal {
					p.line(a.text(plain, "resumed  "), a.name(bold, scopeWord(scopeOf(args))))
				}
				p.paused(list)
				return p.flush()
			})
		},
	}
}

// elsewhere reserves "no such approval" for approvals: anything else that does
// not exist is an ordinary error.
func elsewhere(err error) error {
	if errors.Is(err, client.ErrNotFound) {
		return &codeError{code: exitError, err: err}
	}
	return err
}

func oneScope(c *cobra.Command, args []string) error {
	if len(args) > 1 || len(args) == 1 && args[0] == "" {
		return usage(c, "%s takes at most one SERVER or SERVER/TOOL", c.CommandPath())
	}
	return nil
}

func scopeOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// paused prints what is paused.
func (p *page) paused(list []client.Switch) {
	a := p.app
	if !a.terminal {
		for _, s := range list {
			p.tsv(a.name(plain, scopeWord(s.Scope)), a.text(plain, s.At.UTC().Format("2006-01-02T15:04:05Z")), a.name(plain, s.By), a.text(plain, s.Reason))
		}
		return
	}
	if len(list) == 0 {
		p.line(a.text(dim, "nothing is paused"))
		return
	}
	for _, s := range list {
		p.line(a.text(red, "paused  "), a.name(bold, scopeWord(s.Scope)), a.words(plain, "  %s", s.Reason), a.text(dim, "  by "), a.name(dim, s.By), a.words(dim, " at %s", a.stamp(s.At)))
	}
}

func scopeWord(scope string) string {
	if scope == "" {
		return "everything"
	}
	return scope
}

// ackLog names the audit log in `approve ack`.
const ackLog = "log"

func (a *app) ack() *cobra.Command {
	return &cobra.Command{
		Use:   "ack [ALERT | ran_unasked | log]",
		Short: "acknowledge an alert; without one, list them",
		Long: `Acknowledges an alert, for example that the policy allows more than before; it is
shown by "approve --list" until then. An ALERT may be shortened to its last
characters. Without one, the alerts that wait are listed. "approve ack ran_unasked"
acknowledges all that tell what ran without asking, as the policy wants it; there
is one for each run.

"approve ack log" accepts the audit log as it is now. It is for the time after
you restored or removed the guard's database yourself: approve remembers the last
state of the log that it saw, and refuses to allow anything where the log is not
its continuation.`,
		Example: `  approve ack
  approve ack 9qk3m7tz`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(c, "%s takes at most one ALERT", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			if len(args) == 1 && args[0] == ackLog {
				return a.acceptLog(ctx)
			}
			return a.reading(ctx, func(c *client.Client) error {
				list, err := c.Alerts(ctx, false)
				if err != nil {
					return fmt.Errorf("reading alerts: %w", err)
				}
				p := a.page()
				if len(args) == 0 {
					p.alerts(list)
					return p.flush()
				}
				chosen, err := chosenAlerts(list, args[0])
				if err != nil {
					return err
				}
				for _, v := range chosen {
					if v, err = c.Acknowledge(ctx, v.ID); err != nil {
						return errors.Join(p.flush(), elsewhere(err))
					}
					p.line(a.text(green, "acknowledged"), a.words(plain, "  %s  %s", shortID(v.ID), v.Text))
				}
				return p.flush()
			})
		},
	}
}

func (a *app) acceptLog(ctx context.Context) error {
	c := a.connect()
	n, err := a.repin(ctx, c)
	if err != nil {
		return err
	}
	p := a.page()
	p.line(a.words(plain, "the audit log is accepted as it is now, with %d records", n))
	return p.flush()
}

// chosenAlerts returns the alerts that ref names: one, or all that only
// inform.
func chosenAlerts(list []client.Alert, ref string) ([]client.Alert, error) {
	if ref != client.AlertRanUnasked {
		v, err := oneAlert(list, ref)
		return []client.Alert{v}, err
	}
	list = slices.DeleteFunc(slices.Clone(list), func(v client.Alert) bool { return v.Kind != client.AlertRanUnasked })
	if len(list) == 0 {
		return nil, &codeError{exitError, errors.New("no open alert is about calls that ran without asking"), "`approve ack` lists the others"}
	}
	return list, nil
}

// oneAlert finds the alert whose identifier ends with ref.
func oneAlert(list []client.Alert, ref string) (client.Alert, error) {
	var found []client.Alert
	for _, v := range list {
		if len(ref) >= 4 && strings.HasSuffix(v.ID, ref) {
			found = append(found, v)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	err := &codeError{exitError, fmt.Errorf("no open alert matches %q", ref), "`approve ack` lists them"}
	if len(found) > 1 {
		err.err = fmt.Errorf("%d alerts match %q", len(found), ref)
	}
	return client.Alert{}, err
}

func (p *page) alerts(list []client.Alert) {
	a := p.app
	if len(list) == 0 && a.terminal {
		p.line(a.text(dim, "no open alerts"))
	}
	for _, v := range list {
		if !a.terminal {
			p.tsv(a.name(plain, v.ID), a.name(plain, v.Kind), a.text(plain, v.At.UTC().Format("2006-01-02T15:04:05Z")), a.text(plain, v.Text), a.text(plain, v.Detail))
			continue
		}
		p.line(a.name(bold, shortID(v.ID)), a.text(dim, "  "+a.stamp(v.At)+"  "), a.text(red, v.Text))
		for _, l := range a.safe.Lines([]byte(v.Detail)) {
			p.line(a.text(plain, "    "), cell{text: l})
		}
	}
}

// completeScopes completes servers and tools.
func (a *app) completeScopes(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	a.noAutostart = true // completion must not start a daemon
	list, err := a.connect().Servers(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, s := range list {
		out = append(out, a.safe.Identity(s.Name).String())
		for _, t := range s.Tools {
			out = append(out, a.safe.Identity(s.Name+"/"+t.Name).String())
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completePaused completes what is paused.
func (a *app) completePaused(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	a.noAutostart = true
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := a.connect().Switches(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, s := range list {
		if s.Scope != "" {
			out = append(out, a.safe.Identity(s.Scope).String())
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
