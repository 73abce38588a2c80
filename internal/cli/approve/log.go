package approve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/client"
)

// logOptions are the flags of `approve log`.
type logOptions struct {
	filter       client.AuditFilter
	since, until string
	number       int
	follow, json bool
}

func (a *app) log() *cobra.Command {
	var o logOptions
	c := &cobra.Command{
		Use:   "log",
		Short: "read the audit log: what was asked, decided, run and found",
		Long: `Prints the last records of the audit log, the newest at the end. In a pipe the
columns are index, time, event, server, tool, verdict, status, rule, reason,
approval, run. --json prints the records as they were written and hashed.
"mcpguardd audit verify" checks that nothing in it was changed.`,
		Example: `  approve log
  approve log --type approval_decided --since 24h
  approve log --approval 4x7k2mqa --json
  approve log --follow --server files`,
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(a, c); err != nil {
				return err
			}
			ctx := c.Context()
			return a.reading(ctx, func(c *client.Client) error { return a.readLog(ctx, c, o) })
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.filter.Types, "type", nil, "only events of these types")
	f.StringVar(&o.filter.Run, "run", "", "only of this run")
	f.StringVar(&o.filter.Approval, "approval", "", "only about this approval")
	f.StringVar(&o.filter.Server, "server", "", "only of this server")
	f.StringVar(&o.filter.Tool, "tool", "", "only of this tool")
	f.StringVar(&o.filter.Tenant, "tenant", "", "only of this tenant")
	f.StringVar(&o.filter.Status, "status", "", "only with this status, for example denied")
	f.StringVar(&o.filter.Verdict, "verdict", "", "only with this verdict: allow, ask, deny")
	f.StringVar(&o.since, "since", "", "only since a time, or for how long: 2026-01-31T12:00:00Z, 36h")
	f.StringVar(&o.until, "until", "", "only before a time, likewise")
	f.IntVarP(&o.number, "number", "n", 50, "at most so many records")
	f.BoolVarP(&o.follow, "follow", "f", false, "go on as records are written")
	f.BoolVar(&o.json, "json", false, "print JSON; with --follow one object per line")
	var types []string
	for _, t := range audit.Types {
		types = append(types, string(t))
	}
	_ = c.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(types, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("verdict", cobra.FixedCompletions([]string{"allow", "ask", "deny"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func none(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usage(c, "%s takes no arguments", c.CommandPath())
}

func (o *logOptions) check(a *app, c *cobra.Command) (err error) {
	if o.filter.Since, err = a.moment(o.since); err != nil {
		return usage(c, "--since: %w", err)
	}
	if o.filter.Until, err = a.moment(o.until); err != nil {
		return usage(c, "--until: %w", err)
	}
	for _, t := range o.filter.Types {
		if !audit.Type(t).Valid() {
			return usage(c, "there is no type of event %q; %s --help lists none, completion does: %s", t, c.CommandPath(), joinTypes())
		}
	}
	if o.number < 1 {
		return usage(c, "-n is a number above zero")
	}
	if o.follow && o.until != "" {
		return usage(c, "--follow has no end; it does not go with --until")
	}
	return nil
}

func joinTypes() string {
	var out []string
	for _, t := range audit.Types {
		out = append(out, string(t))
	}
	return strings.Join(out, ", ")
}

// moment reads a time or an age.
func (a *app) moment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return a.now().Add(-d.Abs()), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, a.zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a time (2026-01-31T12:00:00Z, 2026-01-31) nor a span (36h, 90m)", s)
}

// readLog prints the last records and, with --follow, the following ones.
func (a *app) readLog(ctx context.Context, c *client.Client, o logOptions) error {
	if ref := o.filter.Approval; ref != "" {
		d, err := c.Get(ctx, ref)
		if err != nil {
			return err
		}
		o.filter.Approval = d.ID
	}
	// Ask for the starting point first: a record that arrives in between is
	// then among the last ones, and skipped below.
	newest, err := c.Audit(ctx, client.AuditFilter{Limit: 1})
	if err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	list, err := lastRecords(ctx, c, o.filter, o.number)
	if err != nil {
		return err
	}
	p := a.page()
	if o.json && !o.follow {
		raw := make([]json.RawMessage, 0, len(list))
		for _, r := range list {
			one, err := fields{}.encode(r)
			if err != nil {
				return err
			}
			raw = append(raw, one)
		}
		if err := p.array(raw); err != nil {
			return err
		}
		return p.flush()
	}
	if err := a.records(p, list, o); err != nil {
		return err
	}
	if err := p.flush(); err != nil || !o.follow {
		return err
	}
	from := int64(0)
	for _, r := range append(newest.Records, list...) {
		from = max(from, r.Index+1)
	}
	return a.followLog(ctx, c, o, from)
}

// lastRecords returns the last n records that f selects, oldest first.
func lastRecords(ctx context.Context, c *client.Client, f client.AuditFilter, n int) ([]client.Record, error) {
	list := []client.Record{}
	for {
		f.Limit = min(n-len(list), 1000)
		part, err := c.Audit(ctx, f)
		if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		list = append(list, part.Records...)
		if part.Next <= 0 || len(list) >= n {
			slices.Reverse(list)
			return list, nil
		}
		f.From = part.Next
	}
}

// followLog prints records as they are written, until ctx ends.
func (a *app) followLog(ctx context.Context, c *client.Client, o logOptions, from int64) error {
	f := o.filter
	f.Oldest, f.Limit, f.From = true, 1000, from
	lost := false
	for {
		part, err := c.Audit(ctx, f)
		switch {
		case ctx.Err() != nil:
			return nil // interrupted by the user
		case errors.Is(err, client.ErrUnreachable):
			if !lost {
				a.note("the connection to the daemon is lost: "+err.Error(), "trying again; Ctrl-C ends this")
			}
			lost = true
		case err != nil:
			return fmt.Errorf("reading the audit log: %w", err)
		default:
			lost = false
			p := a.page()
			if err := a.records(p, part.Records, o); err != nil {
				return err
			}
			if err := p.flush(); err != nil {
				return err
			}
			f.From = part.Next
			if len(part.Records) == f.Limit {
				continue
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(a.poll):
		}
	}
}

// records prints records, one per line.
func (a *app) records(p *page, list []client.Record, o logOptions) error {
	for _, r := range list {
		if o.json {
			one, err := fields{}.encode(r)
			if err != nil {
				return err
			}
			p.buf.Write(append(one, '\n'))
			continue
		}
		e, err := audit.Decode(r.Event)
		if err != nil {
			var loose struct {
				Event string `json:"event"`
			}
			_ = json.Unmarshal(r.Event, &loose) // the line shows that it cannot be read
			p.line(a.words(plain, "%d", r.Index), a.words(red, "  this record cannot be read: %v", err), a.words(dim, " (%s)", loose.Event))
			continue
		}
		a.record(p, r.Index, e)
	}
	return nil
}

func (a *app) record(p *page, index int64, e audit.Event) {
	if !a.terminal {
		p.tsv(
			a.words(plain, "%d", index), a.text(plain, e.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z")), a.name(plain, string(e.Event)),
			a.name(plain, e.Tool.Server), a.name(plain, e.Tool.Name), a.name(plain, e.Verdict), a.name(plain, string(e.Status)),
			a.name(plain, string(e.Rule)), a.text(plain, e.Reason), a.name(plain, string(e.Gates.ApprovalID)), a.name(plain, string(e.RunID)),
		)
		return
	}
	tool := e.Tool.Server
	if e.Tool.Name != "" {
		tool += "/" + e.Tool.Name
	}
	word := string(e.Status)
	if e.Event == audit.ApprovalDecided || word == "" {
		word = e.Verdict
	}
	cells := []cell{a.text(dim, a.stamp(e.Timestamp)), a.text(plain, "  "), {text: a.safe.Identity(string(e.Event)).Pad(23)}}
	for _, c := range []cell{a.name(bold, tool), a.name(wordLook(word), word), a.name(dim, shortID(string(e.Gates.ApprovalID)))} {
		if c.text.Width() > 0 {
			cells = append(cells, a.text(plain, "  "), c)
		}
	}
	if why := strings.TrimSpace(e.Reason); why != "" {
		first, _, _ := strings.Cut(why, "\n")
		cells = append(cells, a.text(plain, "  "), a.text(dim, first))
	} else if e.Rule != "" {
		cells = append(cells, a.text(plain, "  "), a.name(dim, string(e.Rule)))
	}
	p.line(cells...)
}

// wordLook colours a status or verdict.
func wordLook(word string) look {
	switch word {
	case "ok", "allow", "executed", "approved":
		return green
	case "deny", "denied", "error", "failed", "unknown":
		return red
	case "ask", "pending", "blocked_pending_approval", "expired", "stale":
		return yellow
	}
	return plain
}
