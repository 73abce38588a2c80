package approve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/client"
)

// statuses are the values of --status, in the order of an approval's life.
var statuses = []string{
	client.Pending, client.Approved, client.Executing, client.Executed, client.Failed, client.Unknown,
	client.Stale, client.Lapsed, client.Denied, client.Expired, client.Cancelled,
}

// allStatuses is the value that stands for all of them.
const allStatuses = "all"

// listOptions are the flags of `approve --list`.
type listOptions struct {
	list, watch, count, exitStatus bool
	json                           fields
	status                         []string
	run                            string
	limit                          int
}

func (o *listOptions) flags(a *app, c *cobra.Command) {
	f := c.Flags()
	f.BoolVarP(&o.list, "list", "l", false, "list approvals: those that are pending, or --status")
	f.Var(&o.json, "json", "with --list: print JSON, all fields or the ones named (--json=id,status)")
	f.Lookup("json").NoOptDefVal = allFields
	f.StringSliceVar(&o.status, "status", nil, "with --list: only in these statuses ("+strings.Join(statuses, ", ")+"), or all")
	f.StringVar(&o.run, "run", "", "with --list: only of this run")
	f.IntVar(&o.limit, "limit", 0, "with --list: at most so many, the newest")
	f.BoolVar(&o.watch, "watch", false, "with --list: go on, with a line for each change")
	f.BoolVar(&o.count, "count", false, "print how many there are instead of listing them; --list is implied")
	f.BoolVar(&o.exitStatus, "exit-status", false, "with --list: exit with 8 if something is pending")
	_ = c.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(append(slices.Clone(statuses), allStatuses), cobra.ShellCompDirectiveNoFileComp))
}

// check refuses conflicting flags before any request.
func (o *listOptions) check(c *cobra.Command) error {
	o.list = o.list || o.count
	if !o.list {
		for _, name := range []string{"json", "status", "run", "limit", "watch", "exit-status"} {
			if c.Flags().Changed(name) {
				return usage(c, "--%s belongs to --list", name)
			}
		}
		return nil
	}
	for _, s := range o.status {
		if s != allStatuses && !slices.Contains(statuses, s) {
			return usage(c, "%q is not a status; they are %s, and all", s, strings.Join(statuses, ", "))
		}
	}
	if err := check[client.Approval](o.json); err != nil {
		return usage(c, "--json: %w", err)
	}
	switch {
	case o.count && (o.json.on || o.watch || o.limit != 0):
		return usage(c, "--count prints a number; it does not go with --json, --watch or --limit")
	case o.watch && (o.exitStatus || o.limit != 0):
		return usage(c, "--watch has no end; it does not go with --exit-status or --limit")
	case o.limit < 0:
		return usage(c, "--limit is a number above zero")
	}
	return nil
}

// filter returns the filter of the request.
func (o *listOptions) filter() client.Filter {
	f := client.Filter{Run: o.run, Status: o.status, Limit: o.limit}
	if len(f.Status) == 0 {
		f.Status = []string{client.Pending}
	}
	if slices.Contains(f.Status, allStatuses) {
		f.Status = nil
	}
	return f
}

// list implements `approve --list`.
func (a *app) list(ctx context.Context, o listOptions) error {
	return a.reading(ctx, func(c *client.Client) error {
		a.notices(ctx, c)
		switch {
		case o.watch:
			return a.watch(ctx, c, o)
		case o.count:
			n, err := c.Count(ctx, o.filter())
			if err != nil {
				return fmt.Errorf("counting approvals: %w", err)
			}
			p := a.page()
			p.line(a.words(plain, "%d", n))
			return errors.Join(p.flush(), a.pendingStatus(ctx, c, o, nil))
		}
		p := a.page()
		if o.json.on {
			return a.listJSON(ctx, c, o, p)
		}
		f := o.filter()
		f.Fields = shownFields
		list, err := c.ListAll(ctx, f)
		if err != nil {
			return fmt.Errorf("listing approvals: %w", err)
		}
		slices.Reverse(list) // longest waiting first
		a.rows(p, list, o)
		return errors.Join(p.flush(), a.pendingStatus(ctx, c, o, list))
	})
}

// shownFields are the members that a table or its tab-separated values need.
var shownFields = []string{"id", "status", "tier", "server", "tool", "summary", "hazards", "secondsLeft", "digest", "runId", "updatedAt"}

// listJSON prints the daemon's JSON with the requested fields, safe for a
// terminal.
func (a *app) listJSON(ctx context.Context, c *client.Client, o listOptions, p *page) error {
	f := o.filter()
	f.Fields = o.json.only
	list, err := c.ListRaw(ctx, f)
	if err != nil {
		return fmt.Errorf("listing approvals: %w", err)
	}
	slices.Reverse(list)
	if err := p.array(list); err != nil {
		return err
	}
	return errors.Join(p.flush(), a.pendingStatus(ctx, c, o, nil))
}

// pendingStatus implements --exit-status: whether anything of the run is
// pending, whichever statuses are listed.
func (a *app) pendingStatus(ctx context.Context, c *client.Client, o listOptions, list []client.Approval) error {
	if !o.exitStatus {
		return nil
	}
	pending := &codeError{code: exitPending}
	if slices.ContainsFunc(list, func(v client.Approval) bool { return v.Status == client.Pending }) {
		return pending
	}
	n, err := c.Count(ctx, client.Filter{Status: []string{client.Pending}, Run: o.run})
	if err != nil {
		return fmt.Errorf("counting approvals: %w", err)
	}
	if n > 0 {
		return pending
	}
	return nil
}

// notices prints to standard error what a reviewer must know before any
// decision: alerts, a configuration that does not load, a store that cannot
// write, switches. If the requests fail, the list itself will report it.
func (a *app) notices(ctx context.Context, c *client.Client) {
	s, err := c.Status(ctx)
	if err != nil {
		return
	}
	if s.PolicyProblem != "" {
		state := "the new configuration does not load; the previous one stays in force:"
		if s.PolicyNone {
			state = "the configuration does not load, and none is in force, so everything is denied:"
		}
		a.note(state+"\n"+s.PolicyProblem, "`mcpguardd check` shows it in full")
	}
	if s.ApproversWait != "" && !s.ApproversRefused {
		a.note(fmt.Sprintf("the configuration lets more decide (approvers.unsigned: %s → %s); it waits for you", s.Unsigned, s.ApproversWait), "`approve approvers` shows it")
	}
	if s.StoreProblem != "" {
		a.note("nothing can run at the moment: "+s.StoreProblem, "denying still works; `mcpguardd doctor` tells more")
	}
	a.unaccepted(ctx, c)
	if s.Alerts == 0 {
		return
	}
	alerts, err := c.Alerts(ctx, false)
	if err != nil {
		return
	}
	// Alerts that only inform come last, so that they do not push out
	// problems.
	slices.SortStableFunc(alerts, func(x, y client.Alert) int { return informs(x) - informs(y) })
	for i, v := range alerts {
		if i == maxNotices {
			a.note(fmt.Sprintf("and %s more", plural(len(alerts)-i, "alert")), "`approve ack` lists them all")
			return
		}
		text := "ALERT " + shortID(v.ID) + ": " + v.Text
		if v.Detail != "" {
			text += "\n" + v.Detail
		}
		a.note(text, "to acknowledge it: approve ack "+shortID(v.ID))
	}
}

// maxNotices is how many alerts are shown before a list.
const maxNotices = 5

// informs returns 1 for an alert about what went as the policy allows, else 0.
func informs(v client.Alert) int {
	if v.Kind == client.AlertRanUnasked {
		return 1
	}
	return 0
}

// unaccepted prints which servers have tools that no client sees until a
// person accepts their definitions.
func (a *app) unaccepted(ctx context.Context, c *client.Client) {
	servers, err := c.Servers(ctx)
	if err != nil {
		return
	}
	var waiting, unnamed []toolCount
	for _, v := range servers {
		if n := v.Unaccepted(); n > 0 {
			waiting = append(waiting, toolCount{v.Name, n})
		}
		if n := v.Unnamed(); n > 0 {
			unnamed = append(unnamed, toolCount{v.Name, n})
		}
	}
	a.toolCounts(waiting, "waits for acceptance", "wait for acceptance", "look at them with `mcpguardd accept %s --show`")
	a.toolCounts(unnamed, "is not named by the policy", "are not named by the policy", "`mcpguardd accept %s` lists what there is")
}

// toolCount is a number of tools of a server.
type toolCount struct {
	server string
	n      int
}

// toolCounts prints one note about tools of one or several servers, with a short
// line for each server.
func (a *app) toolCounts(list []toolCount, one, many, remedy string) {
	sum := 0
	for _, c := range list {
		sum += c.n
	}
	verb := many
	if sum == 1 {
		verb = one
	}
	switch len(list) {
	case 0:
	case 1:
		a.note(fmt.Sprintf("%s of %s %s", plural(sum, "tool"), list[0].server, verb), fmt.Sprintf(remedy, list[0].server))
	default:
		var names []string
		for _, c := range list {
			names = append(names, fmt.Sprintf("%s (%d)", c.server, c.n))
		}
		a.note(fmt.Sprintf("%s of %s %s", plural(sum, "tool"), plural(len(list), "server"), verb), append(names, fmt.Sprintf(remedy, "NAME"))...)
	}
}

// rows prints approvals as a table on a terminal, otherwise as tab-separated
// values.
func (a *app) rows(p *page, list []client.Approval, o listOptions) {
	if !a.terminal {
		for _, v := range list {
			a.tsv(p, v)
		}
		return
	}
	if len(list) == 0 {
		if len(o.status) == 0 {
			p.line(a.text(dim, "nothing is waiting for you"))
		} else {
			p.line(a.text(dim, "there is nothing to list"))
		}
		return
	}
	a.table(p, list)
}

// tsv prints one approval as tab-separated values; the command's help lists
// the columns.
func (a *app) tsv(p *page, v client.Approval) {
	p.tsv(
		a.name(plain, v.ID), a.name(plain, v.Status), a.name(plain, v.Tier), a.words(plain, "%d", v.SecondsLeft),
		a.name(plain, v.Server), a.name(plain, v.Tool), cell{text: a.safe.Text(v.Summary)}, a.name(plain, v.Digest), a.name(plain, v.RunID),
	)
}

// table prints approvals in columns.
func (a *app) table(p *page, list []client.Approval) {
	const change = 5
	ids := make([]string, len(list))
	for i, v := range list {
		ids[i] = v.ID
	}
	var rows [][]cell
	for i, v := range list {
		summary := a.safe.Text(v.Summary)
		look := plain
		if len(v.Hazards) > 0 {
			summary, look = a.safe.Text(hazardBadge(v.Hazards)+v.Summary), red
		}
		remaining := a.text(timeLook(v), left(v.SecondsLeft))
		if v.Status != client.Pending && v.Status != client.Approved {
			remaining = a.text(dim, ago(a.now().Sub(v.UpdatedAt)))
		}
		remaining.right = true
		rows = append(rows, []cell{
			a.name(bold, distinct(ids, i)), a.name(statusLook(v.Status), v.Status), a.name(tierLook(v.Tier), tierWord(v.Tier)), remaining,
			{text: a.safe.Identity(v.Server + "/" + v.Tool).Truncate(max(20, a.width/3))}, {text: summary, look: look},
		})
	}
	p.table([]string{"ID", "STATUS", "TIER", "LEFT", "TOOL", "CHANGE"}, change, rows)
}

// hazardBadge shows the number of hazards, and names the approval that changes
// the same file or record.
func hazardBadge(hazards []client.Hazard) string {
	var parts []string
	n := 0
	for _, h := range hazards {
		if h.Kind != client.Contested {
			n++
			continue
		}
		other := h.Text[strings.LastIndexByte(h.Text, ' ')+1:]
		parts = append(parts, "conflicts with "+other[max(0, len(other)-8):])
	}
	if n > 0 {
		parts = append(parts, plural(n, "hazard"))
	}
	return "[" + strings.Join(parts, ", ") + "] "
}

// distinct returns the shortest suffix of an identifier, of at least eight
// characters, that no other in the list shares.
func distinct(ids []string, i int) string {
	for n := 8; n < len(ids[i]); n++ {
		end := ids[i][len(ids[i])-n:]
		alone := true
		for j, other := range ids {
			alone = alone && (i == j || other == ids[i] || !strings.HasSuffix(other, end))
		}
		if alone {
			return end
		}
	}
	return ids[i]
}

// tierWord returns the tier without its kind of risk.
func tierWord(tier string) string {
	number, _, _ := strings.Cut(tier, "_")
	return number
}

func tierLook(tier string) look {
	switch tierWord(tier) {
	case "T0", "T1":
		return green
	case "T2":
		return yellow
	}
	return red
}

func statusLook(status string) look {
	switch status {
	case client.Pending:
		return yellow
	case client.Approved, client.Executing, client.Executed:
		return green
	case client.Failed, client.Unknown:
		return red
	}
	return dim
}

// timeLook highlights what expires within a minute.
func timeLook(v client.Approval) look {
	if v.SecondsLeft < 60 {
		return red
	}
	return plain
}
