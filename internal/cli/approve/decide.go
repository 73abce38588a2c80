package approve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// minDigest is how many digits of a digest tie a decision to what was seen: 48
// bits, in addition to the approval's identifier.
const minDigest = 12

// decideOptions are the flags of allow and deny.
type decideOptions struct {
	digest, reason string
	json           fields
	noWait         bool
}

func (o *decideOptions) flags(c *cobra.Command) {
	c.Flags().StringVar(&o.reason, "reason", "", fmt.Sprintf("why, in %d to %d characters; it is recorded", guard.MinReason, guard.MaxReason))
	c.Flags().Var(&o.json, "json", "print the approval as JSON, all fields or the ones named")
	c.Flags().Lookup("json").NoOptDefVal = allFields
}

// check refuses what the daemon would refuse anyway, with a better message.
func (o *decideOptions) check(c *cobra.Command) error {
	if err := check[client.Detail](o.json); err != nil {
		return usage(c, "--json: %w", err)
	}
	if _, err := guard.CheckReason(o.reason); err != nil {
		if !c.Flags().Changed("reason") {
			return usage(c, "a reason is required: --reason \"...\"")
		}
		return usage(c, "--reason: %w", err)
	}
	if o.digest == "" {
		return nil
	}
	digits := strings.TrimPrefix(o.digest, "sha256:")
	if len(digits) < minDigest || len(digits) > 64 || strings.Trim(digits, "0123456789abcdef") != "" {
		return usage(c, "--digest takes at least the first %d hexadecimal digits of the digest that `approve show` prints", minDigest)
	}
	return nil
}

func (a *app) allow() *cobra.Command {
	var o decideOptions
	c := &cobra.Command{
		Use:   "allow ID --digest D --reason TEXT",
		Short: "let one change run, once",
		Long: `Lets the change of one approval run: once, soon, and only if it is still exactly
what the digest stands for. The digest is printed by "approve show" below what it
covers; its first 12 digits are enough. If the target changes before it runs,
nothing runs, and a fresh approval with the new change waits.

Where a call is waiting it says what became of it, if that is known within two
seconds; --no-wait does not wait for that. In a pipe that is one line: id, status,
summary, digest, and whether the target was verified. The exit code is about your
word alone.`,
		Example: `  approve show 4x7k2mqa
  approve allow 4x7k2mqa --digest 9f86d081884c --reason "as discussed"`,
		Args:              oneID,
		ValidArgsFunction: a.completeIDs,
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(c); err != nil {
				return err
			}
			if o.digest == "" {
				return usage(c, "--digest is required: it says what you saw; `approve show %s` prints it", args[0])
			}
			return a.decide(c.Context(), client.Allow, args[0], o)
		},
	}
	o.flags(c)
	c.Flags().StringVar(&o.digest, "digest", "", "of the change that you saw; at least its first 12 digits")
	c.Flags().BoolVar(&o.noWait, "no-wait", false, "do not wait for the outcome")
	return c
}

func (a *app) deny() *cobra.Command {
	var o decideOptions
	c := &cobra.Command{
		Use:   "deny ID --reason TEXT",
		Short: "refuse one change, and tell the agent why",
		Long: `Refuses the change of one approval. Nothing is changed, and the agent is told the
reason in your words, so that it can do better. Without --digest the change that
waits at this moment is refused.`,
		Example: `  approve deny 4x7k2mqa --reason "wrong branch: use feature/tax"`,
		Args:    oneID, ValidArgsFunction: a.completeIDs,
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(c); err != nil {
				return err
			}
			return a.decide(c.Context(), client.Deny, args[0], o)
		},
	}
	o.flags(c)
	c.Flags().StringVar(&o.digest, "digest", "", "refuse only if the change is still this one")
	return c
}

// decide sends a decision on one approval.
func (a *app) decide(ctx context.Context, word, ref string, o decideOptions) error {
	c := a.connect()
	alarm := a.vouch(ctx, c)
	switch {
	case alarm == nil:
	case errors.Is(alarm, client.ErrUnreachable), errors.Is(alarm, client.ErrVersion), ctx.Err() != nil:
		return alarm
	case word == client.Deny:
		a.warn(alarm) // a denial is safe whatever the log says
	case isAlarm(alarm):
		// fail closed: what is shown may come from a forged or old database.
		var l *logAlarm
		errors.As(alarm, &l)
		return &codeError{exitRefused, fmt.Errorf("nothing can be approved: %w", alarm), l.remedy()}
	default:
		return fmt.Errorf("nothing can be approved while the audit log cannot be checked: %w", alarm)
	}
	seen, err := c.Get(ctx, ref)
	if err != nil {
		return err
	}
	if want := strings.TrimPrefix(o.digest, "sha256:"); !strings.HasPrefix(strings.TrimPrefix(seen.Digest, "sha256:"), want) {
		return &codeError{
			exitRefused, fmt.Errorf("the digest differs: %s now has %s", seen.ID, seen.Digest),
			"review it again with `approve show " + shortID(seen.ID) + "`",
		}
	}
	now, err := c.Decide(ctx, seen.ID, client.DecisionRequest{Decision: word, Digest: seen.Digest, Reason: o.reason})
	if err != nil {
		return a.explain(err)
	}
	p := a.page()
	if a.terminal && !o.json.on {
		p.verdict(word, now)
		if err := p.flush(); err != nil {
			return err
		}
	}
	if word == client.Allow && !o.noWait {
		now = a.aftermath(ctx, c, now)
	}
	switch {
	case o.json.on:
		if err := p.value(now, o.json); err != nil {
			return err
		}
	case a.terminal:
		p.became(word, now)
	default:
		readBack := ""
		if now.Receipt != nil {
			readBack = now.Receipt.ReadBack
		}
		p.tsv(a.name(plain, now.ID), a.name(plain, now.Status), a.text(plain, now.Summary), a.name(plain, now.Digest), a.name(plain, readBack))
	}
	return p.flush()
}

// aftermath follows, for a moment, a change that a call waits for, and returns
// the approval as last seen. A failure to find out is no error, because the
// decision has been recorded.
func (a *app) aftermath(ctx context.Context, c *client.Client, d client.Detail) client.Detail {
	under := func() bool { return d.Status == client.Approved && d.Held || d.Status == client.Executing }
	if !under() {
		return d
	}
	wait, cancel := context.WithTimeout(ctx, a.patience)
	defer cancel()
	for _, err := range c.Watch(wait) { // the first event comes at once
		if err != nil {
			break
		}
		now, err := c.Get(wait, d.ID)
		if err != nil {
			break
		}
		if d = now; !under() {
			break
		}
	}
	return d
}

// explain adds the approval's present state to a refusal.
func (a *app) explain(err error) error {
	var p *client.Problem
	if !errors.As(err, &p) || p.Approval == nil || p.Approval.Status != client.Pending {
		return err
	}
	return fmt.Errorf("%w\nnow waiting: %s %s, digest %s", err, p.Approval.ID, p.Approval.Summary, p.Approval.Digest)
}

// verdict writes what was decided.
func (p *page) verdict(word string, d client.Detail) {
	a := p.app
	look, done := green, "allowed"
	if word == client.Deny {
		look, done = red, "denied"
	}
	p.line(a.text(look, done), a.text(plain, "  "), a.name(bold, shortID(d.ID)), a.words(plain, "  %s", d.Summary), a.words(dim, "  %s", d.Digest))
}

// became writes the outcome, or what happens next.
func (p *page) became(word string, d client.Detail) {
	a := p.app
	later := "`approve show " + shortID(d.ID) + "` shows the outcome"
	switch {
	case word == client.Deny:
		p.line(a.text(dim, "nothing was changed; the agent gets your reason"))
	case d.Status == client.Approved && d.Held:
		p.line(a.text(dim, "it is about to run; "+later))
	case d.Status == client.Approved:
		p.line(a.words(dim, "it runs when the agent makes the call again, within %s", left(d.SecondsLeft)))
	case d.Status == client.Executing:
		p.line(a.text(dim, "it is running; "+later))
	case d.Status == client.Stale && d.ReplacedBy != "":
		p.line(a.text(red, "it did not run"), a.text(plain, ": the target has changed; the new change is pending as "), a.name(bold, shortID(d.ReplacedBy)))
	case d.Receipt == nil:
		p.line(a.text(red, "it did not run"), a.words(plain, ": %s", cmp.Or(d.Why, d.Status)))
	default:
		look, text := green, d.Status+", "+d.Receipt.ReadBack
		if d.Status != client.Executed || d.Receipt.ReadBack == "diverged" || d.Receipt.ReadBack == "untouched" {
			look = red
		}
		if d.Receipt.Detail != "" {
			text += ": " + d.Receipt.Detail
		}
		p.line(a.text(look, text))
	}
}

// completeIDs completes the identifiers of pending approvals.
func (a *app) completeIDs(c *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	return a.completeStatus(client.Pending)(c, args, part)
}

// completeStatus completes the identifiers of the newest approvals with a
// status.
func (a *app) completeStatus(status string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.completions(c, args, status)
	}
}

func (a *app) completions(c *cobra.Command, args []string, status string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	a.noAutostart = true // pressing a key must not start anything
	list, err := a.connect().ListAll(c.Context(), client.Filter{Status: []string{status}, Limit: 100})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ids := make([]string, len(list))
	for i, v := range list {
		ids[i] = v.ID
	}
	var out []string
	for i, v := range list {
		what := a.safe.Text(v.Server + "/" + v.Tool + ": " + v.Summary)
		out = append(out, cobra.CompletionWithDesc(distinct(ids, i), what.String()))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
