package approve

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/client"
)

func (a *app) stats() *cobra.Command {
	var f fields
	var since string
	c := &cobra.Command{
		Use:   "stats",
		Short: "count what was asked, decided and refused, and how long it waited",
		Example: `  approve stats
  approve stats --since 168h
  approve stats --json=calls,denials,waiting`,
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := check[client.Stats](f); err != nil {
				return usage(c, "--json: %w", err)
			}
			from, err := a.moment(since)
			if err != nil {
				return usage(c, "--since: %w", err)
			}
			ctx := c.Context()
			return a.reading(ctx, func(c *client.Client) error {
				s, err := c.Stats(ctx, from)
				if err != nil {
					return fmt.Errorf("counting: %w", err)
				}
				p := a.page()
				if f.on {
					if err := p.value(s, f); err != nil {
						return err
					}
					return p.flush()
				}
				paused, err := c.Switches(ctx)
				if err != nil {
					return fmt.Errorf("reading switches: %w", err)
				}
				p.stats(s, paused)
				return p.flush()
			})
		},
	}
	c.Flags().StringVar(&since, "since", "24h", "from when on, or for how long: 2026-01-31, 36h")
	c.Flags().Var(&f, "json", "print JSON, all fields or the ones named")
	c.Flags().Lookup("json").NoOptDefVal = allFields
	return c
}

func (p *page) stats(s client.Stats, paused []client.Switch) {
	a := p.app
	p.line(a.words(bold, "since %s", a.stamp(s.Since)))
	p.item("waiting", a.words(plain, "%d now", s.Pending))
	p.item("calls", a.words(plain, "%d, of them %d denied", s.Calls, s.Denials))
	p.item("outcomes", a.text(plain, counts(s.Outcomes)))
	p.item("denied by", a.text(plain, counts(s.ByRule)))
	p.item("approvals", a.text(plain, counts(s.ByStatus)))
	p.item("by tier", a.text(plain, counts(s.ByTier)))
	p.item("by server", a.text(plain, counts(s.ByServer)))
	if w := s.Waiting; w.Decided > 0 {
		p.item("decided in", a.words(plain, "%s (median of %d), %s (9 of 10), %s at most", ms(w.MedianMS), w.Decided, ms(w.P90MS), ms(w.MaxMS)))
	}
	if s.Calls > 0 && len(s.Over) > 1 {
		p.item("over time", a.text(plain, bars(s.Over, a.safe.ASCII)), a.words(dim, "  (%s each)", span2(s.Over)))
	}
	if s.Truncated {
		p.line(a.text(yellow, "not everything was counted; use a shorter time with --since"))
	}
	if a.terminal || len(paused) > 0 {
		p.paused(paused)
	}
}

// counts formats a map of counts, largest first.
func counts(m map[string]int) string {
	if len(m) == 0 {
		return "none"
	}
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
	var out []string
	for _, n := range names {
		out = append(out, fmt.Sprintf("%s %d", n, m[n]))
	}
	return strings.Join(out, ", ")
}

func ms(n int64) string {
	d := time.Duration(n) * time.Millisecond
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// bars draws one column for each interval.
func bars(over []client.Bin, ascii bool) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	if ascii {
		levels = []rune("_.-=+*#@")
	}
	most := 1
	for _, b := range over {
		most = max(most, b.Calls)
	}
	out := make([]rune, len(over))
	for i, b := range over {
		out[i] = levels[b.Calls*(len(levels)-1)/most]
	}
	return string(out)
}

func span2(over []client.Bin) string {
	d := over[1].From.Sub(over[0].From)
	return strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m")
}

// home is `approve` without a command: what is pending, and how to decide.
func (a *app) home(ctx context.Context) error {
	return a.reading(ctx, func(c *client.Client) error {
		s, err := c.Status(ctx)
		if err != nil {
			return fmt.Errorf("asking for the status: %w", err)
		}
		a.notices(ctx, c)
		list, err := c.ListAll(ctx, client.Filter{Status: []string{client.Pending}, Limit: 1000})
		if err != nil {
			return fmt.Errorf("listing approvals: %w", err)
		}
		paused, err := c.Switches(ctx)
		if err != nil {
			return fmt.Errorf("reading switches: %w", err)
		}
		slices.Reverse(list)
		p := a.page()
		p.line(a.words(bold, "mcpguard %s", s.Version), a.words(dim, "  level %s, %s, %s waiting", s.Level, plural(s.Sessions, "session"), plural(s.Pending, "change")))
		if len(paused) > 0 {
			p.paused(paused)
		}
		p.line()
		if len(list) == 0 {
			p.line(a.text(plain, "Nothing is waiting for you. When an agent wants to change something, it is shown here:"))
			p.line(a.text(dim, "  approve --list --watch"))
			return p.flush()
		}
		a.table(p, list)
		id := shortID(list[0].ID)
		p.line()
		p.line(a.text(dim, "to see a change:  "), a.words(plain, "approve show %s", id))
		p.line(a.text(dim, "to let it run:    "), a.text(plain, "the command for that stands below the change"))
		p.line(a.text(dim, "to refuse it:     "), a.words(plain, "approve deny %s --reason \"...\"", id))
		p.line(a.text(dim, "everything else:  "), a.text(plain, "approve --help"))
		return p.flush()
	})
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
