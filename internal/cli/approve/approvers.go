package approve

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// approvers decides on a configuration that lets more approvers decide.
func (a *app) approvers() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "approvers [allow|deny]",
		Short: "decide whether a configuration may let more decide than before",
		Long: `Shows where decisions may come from, and whether the configuration asks for more
(approvers.unsigned). What it asks for holds once you have allowed it, from where
decisions may come now: an agent that edits the configuration does not get to
approve what it does. A setting that is narrower holds at once.`,
		Example: `  approve approvers
  approve approvers deny --reason "I did not change it"`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && args[0] != client.Allow && args[0] != client.Deny {
				return usage(c, "%s takes allow, deny or nothing", c.CommandPath())
			}
			return nil
		},
		ValidArgs: []string{client.Allow, client.Deny},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				if _, err := guard.CheckReason(reason); err != nil {
					return usage(c, "--reason: %w", err)
				}
			}
			ctx := c.Context()
			return a.reading(ctx, func(c *client.Client) error {
				s, err := c.Status(ctx)
				if err != nil {
					return fmt.Errorf("reading who may decide: %w", err)
				}
				p := a.page()
				if len(args) == 0 {
					p.line(a.words(plain, "in force   approvers.unsigned: %s", s.Unsigned))
					switch {
					case s.ApproversWait == "":
						p.line(a.text(dim, "nothing waits"))
					case s.ApproversRefused:
						p.line(a.words(plain, "refused    approvers.unsigned: %s", s.ApproversWait))
					default:
						p.line(a.words(red, "waits      approvers.unsigned: %s", s.ApproversWait))
					}
					return p.flush()
				}
				if s.ApproversWait == "" {
					return &codeError{exitError, errors.New("no configuration waits that lets more decide"), "`approve approvers` shows what is in force"}
				}
				if err := c.DecideApprovers(ctx, client.ApproversDecision{Decision: args[0], Unsigned: s.ApproversWait, Reason: reason}); err != nil {
					return elsewhere(err)
				}
				inForce := s.Unsigned
				if args[0] == client.Allow {
					inForce = s.ApproversWait
				}
				p.line(a.words(plain, "in force   approvers.unsigned: %s", inForce))
				return p.flush()
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; it is recorded and shown")
	return c
}
