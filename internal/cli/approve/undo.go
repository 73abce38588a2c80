package approve

import (
	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/client"
)

func (a *app) undo() *cobra.Command {
	var f fields
	c := &cobra.Command{
		Use:   "undo ID",
		Short: "propose to undo one executed change",
		Long: `Proposes the inverse of a change that has run: as a new approval, with its own
diff against what is there today. Nothing is changed before you allow that one.

Changes to files can be undone, and changes to records where their server can
set them back, as long as the content is stored and the target is still as the
change left it. What was sent, run or not computed cannot be undone here, and a
target that has changed since is left to you. An undo can itself be undone; if
one is already pending, that approval is shown.`,
		Example: `  approve undo 4x7k2mqa`,
		Args:    oneID, ValidArgsFunction: a.completeStatus(client.Executed),
		RunE: func(c *cobra.Command, args []string) error {
			if err := check[client.Detail](f); err != nil {
				return usage(c, "--json: %w", err)
			}
			ctx := c.Context()
			api := a.connect()
			old, err := api.Get(ctx, args[0])
			if err != nil {
				return err
			}
			d, err := api.Undo(ctx, old.ID)
			if err != nil {
				return err
			}
			p := a.page()
			switch {
			case f.on:
				if err := p.value(d, f); err != nil {
					return err
				}
			case a.terminal:
				p.detail(d)
			default:
				p.tsv(a.name(plain, d.ID), a.name(plain, d.Status), a.text(plain, d.Summary), a.name(plain, d.Digest))
			}
			return p.flush()
		},
	}
	c.Flags().Var(&f, "json", "print the new approval as JSON, all fields or the ones named")
	c.Flags().Lookup("json").NoOptDefVal = allFields
	return c
}
