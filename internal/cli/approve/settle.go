package approve

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
)

func (a *app) settle() *cobra.Command {
	var ran, not bool
	var reason string
	c := &cobra.Command{
		Use:   "settle ID --ran|--did-not-run --reason TEXT",
		Short: "record the outcome of a change whose outcome is unknown",
		Long: `Settles an approval that is "unknown": its change began to run, no receipt came, and
reading the target back showed neither what was before nor what was approved.
Look at the target yourself first. Your word is recorded as yours; nothing runs.`,
		Example:           `  approve settle 4x7k2mqa --did-not-run --reason "the file has another edit of mine only"`,
		Args:              oneID,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			if ran == not {
				return usage(c, "one of --ran and --did-not-run is needed")
			}
			if _, err := guard.CheckReason(reason); err != nil {
				return usage(c, "--reason: %w", err)
			}
			api := a.connect()
			seen, err := api.Get(c.Context(), args[0])
			if err != nil {
				return err
			}
			if seen.Status != client.Unknown {
				return &codeError{exitRefused, fmt.Errorf("%s is %s: only an unknown outcome can be settled", seen.ID, seen.Status), ""}
			}
			now, err := api.Settle(c.Context(), seen.ID, client.Settlement{Ran: ran, Reason: reason})
			if err != nil {
				return a.explain(err)
			}
			p := a.page()
			p.line(a.name(plain, now.ID), a.text(plain, "  "), a.name(plain, now.Status))
			return p.flush()
		},
	}
	c.Flags().BoolVar(&ran, "ran", false, "the change was made")
	c.Flags().BoolVar(&not, "did-not-run", false, "the change was not made")
	c.Flags().StringVar(&reason, "reason", "", fmt.Sprintf("how you know, in %d to %d characters; it is recorded", guard.MinReason, guard.MaxReason))
	return c
}
