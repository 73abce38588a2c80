package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/safetext"
)

// step is one proposal of the agent, and what the reviewer does with it when
// nobody else is there.
type step struct {
	title   string
	live    string // the title where a person decides, if another
	tool    string
	args    map[string]any
	between func(g *guard) error // what happens while the reviewer reads
	review  func(ctx context.Context, g *guard, a client.Detail) error
	want    string // status of the last approval
}

// steps is the script.
var steps = []step{
	{
		title: "The agent edits a file. The reviewer reads the diff and approves.",
		live:  "The agent edits a file. Read the diff and approve.",
		tool:  "edit_file",
		args: map[string]any{"path": "src/prices.py", "edits": []map[string]any{
			{"old_text": "    return net - net * percent / 100\n", "new_text": "    if not 0 <= percent <= 100:\n        raise ValueError(\"percent\")\n    return round(net * (100 - percent) / 100, 2)\n"},
		}},
		review: approve("bounds are right, tests follow"), want: client.Executed,
	},
	{
		title:  "A new file.",
		tool:   "write_file",
		args:   map[string]any{"path": "notes/refunds.md", "content": "# Refunds\n\nWithin 14 days, to the card that paid.\n"},
		review: approve("matches the terms"), want: client.Executed,
	},
	{
		title:  "A delete. The reviewer says no, and the agent is told why.",
		live:   "A delete. Say no and why, and see what the agent is told.",
		tool:   "delete_file",
		args:   map[string]any{"path": "notes/backup-codes.txt"},
		review: deny("those codes are still in use; leave the file"), want: client.Denied,
	},
	{
		title:  "A move.",
		tool:   "move_file",
		args:   map[string]any{"source": "notes/draft.md", "destination": "draft.md"},
		review: approve("belongs there"), want: client.Executed,
	},
	{
		title: "A JSON change, shown as a patch beside the text.",
		tool:  "patch_document",
		args: map[string]any{"path": "config/app.json", "patch": []map[string]any{
			{"op": "replace", "path": "/payment/retries", "value": 5},
			{"op": "add", "path": "/features/-", "value": "refunds"},
		}},
		review: approve("five retries as agreed"), want: client.Executed,
	},
	{
		title:  "Nobody decides in time: the approval expires and nothing happens.",
		live:   "Leave this one for a minute: the approval expires and nothing happens.",
		tool:   "append_file",
		args:   map[string]any{"path": "README.md", "content": "\nDeployed by hand.\n"},
		review: wait, want: client.Expired,
	},
	{
		title: "The file changes while the reviewer thinks: the approval is stale, and a fresh one shows the true change.",
		live:  "The file changes while you think. Approve what you saw: it is stale, and a fresh one shows the true change.",
		tool:  "edit_file",
		args: map[string]any{"path": "README.md", "edits": []map[string]any{
			{"old_text": "# Shop", "new_text": "# The Shop"},
		}},
		between: meddle, review: approveLate, want: client.Executed,
	},
}

func approve(reason string) func(context.Context, *guard, client.Detail) error {
	return func(ctx context.Context, g *guard, a client.Detail) error {
		return g.decide(ctx, a, client.Allow, reason)
	}
}

func deny(reason string) func(context.Context, *guard, client.Detail) error {
	return func(ctx context.Context, g *guard, a client.Detail) error {
		return g.decide(ctx, a, client.Deny, reason)
	}
}

func wait(context.Context, *guard, client.Detail) error { return nil }

// meddle changes the target after the reviewer has seen the diff.
func meddle(g *guard) error {
	path := filepath.Join(g.workspace, "README.md")
	beside := filepath.Join(g.paths.State, "README.md") // a half-written file would be another story
	if err := os.WriteFile(beside, []byte("# Shop\n\nA small shop, open all day.\n"), 0o644); err != nil {
		return err
	}
	if err := os.Rename(beside, path); err != nil {
		return err
	}
	g.say("someone else", "changes README.md meanwhile")
	return nil
}

// approveLate approves what is not the case any more, and then what is.
func approveLate(ctx context.Context, g *guard, a client.Detail) error {
	if err := g.decide(ctx, a, client.Allow, "a better title"); err != nil {
		return err
	}
	fresh, err := g.follow(ctx, a.ID)
	if err != nil {
		return err
	}
	g.say("guard", "the approval is stale; "+fresh.ID+" shows what would change now")
	g.show(fresh)
	return g.decide(ctx, fresh, client.Allow, "still a better title")
}

func (g *guard) decide(ctx context.Context, a client.Detail, word, reason string) error {
	if _, err := g.api.Decide(ctx, a.ID, client.DecisionRequest{Decision: word, Digest: a.Digest, Reason: reason}); err != nil {
		return fmt.Errorf("deciding on %s: %w", a.ID, err)
	}
	g.say("reviewer", fmt.Sprintf("%s: %s", map[string]string{client.Allow: "approves", client.Deny: "denies"}[word], reason))
	return nil
}

// play runs the script, one proposal at a time.
func (g *guard) play(ctx context.Context) error {
	fmt.Fprintf(g.Out, "A guard in %s\nA workspace in %s\n", g.paths.State, g.workspace)
	if g.Interactive {
		// Without the flag a console that outlives the demo would start a daemon in a folder that is gone.
		fmt.Fprintf(g.Out, "\nYou are the reviewer. In another pane:\n\n    MCPGUARD_HOME=%s %s --no-autostart\n\n(Ctrl-C here ends the demo)\n", g.paths.State, g.Approve)
	}
	tools, err := g.agent.Tools(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(g.Out, "The agent sees %d tools:\n%s", len(tools), columns(tools))
	read, err := g.agent.Call(ctx, "read_file", map[string]any{"path": "src/prices.py"})
	if err != nil {
		return err
	}
	fmt.Fprintf(g.Out, "A read passes at once: read_file src/prices.py, %d bytes\n", len(read.Text))
	for i, s := range steps {
		title := s.title
		if g.Interactive && s.live != "" {
			title = s.live
		}
		fmt.Fprintf(g.Out, "\n── %d. %s\n", i+1, title)
		if err := g.step(ctx, s); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}

// step lets the agent propose and follows the approval to its end.
func (g *guard) step(ctx context.Context, s step) error {
	type outcome struct {
		answer Answer
		err    error
	}
	done := make(chan outcome, 1)
	proposing, answered := context.WithCancelCause(ctx)
	defer answered(nil)
	go func() { // ends with the answer, or with the agent's connection
		a, err := g.agent.Call(ctx, s.tool, s.args)
		done <- outcome{a, err}
		answered(fmt.Errorf("the call was answered at once: %s", oneLine(a.Text)))
	}()
	a, err := g.proposed(proposing)
	if err != nil {
		return err
	}
	g.say("agent", "proposes "+a.Summary)
	g.show(a)
	if s.between != nil {
		if err := s.between(g); err != nil {
			return err
		}
	}
	if !g.Interactive {
		if err := s.review(ctx, g, a); err != nil {
			return err
		}
	}
	out := <-done
	if out.err != nil {
		return out.err
	}
	end, err := g.last(ctx, a.ID)
	if err != nil {
		return err
	}
	g.newest = end.ID
	g.say("guard", ending(end))
	g.say("agent", "reads: "+oneLine(out.answer.Text))
	if !g.Interactive && end.Status != s.want {
		return fmt.Errorf("%s ended as %s, not as %s", end.ID, end.Status, s.want)
	}
	return nil
}

// patience bounds how long the demo waits for what must come.
const patience = 20 * time.Second

// until looks after every change until it has seen what it waits for.
func (g *guard) until(ctx context.Context, look func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, err := range g.api.Watch(ctx) {
		if err != nil {
			return err
		}
		if seen, err := look(); seen || err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// proposed returns the approval that came after the newest one. The demo has one
// at a time, which a quick reviewer may have decided already: ctx ends when its
// call is answered.
func (g *guard) proposed(ctx context.Context) (a client.Detail, err error) {
	look := func(ctx context.Context) (bool, error) {
		page, err := g.api.List(ctx, client.Filter{After: g.newest, Oldest: true, Limit: 1})
		if err != nil || len(page.Approvals) == 0 {
			return false, err
		}
		a, err = g.api.Get(ctx, page.Approvals[0].ID)
		return err == nil, err
	}
	err = g.until(ctx, func() (bool, error) { return look(ctx) })
	if err != nil {
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		if seen, _ := look(once); !seen {
			return a, fmt.Errorf("waiting for the proposal: %w", err)
		}
	}
	return a, nil
}

// follow returns the fresh approval that takes the place of a stale one.
func (g *guard) follow(ctx context.Context, id string) (a client.Detail, err error) {
	err = g.until(ctx, func() (bool, error) {
		old, err := g.api.Get(ctx, id)
		if err != nil || old.ReplacedBy == "" {
			return false, err
		}
		a, err = g.api.Get(ctx, old.ReplacedBy)
		return true, err
	})
	if err != nil {
		return a, fmt.Errorf("waiting for %s to go stale: %w", id, err)
	}
	return a, nil
}

// last follows stale approvals to the one that ended.
func (g *guard) last(ctx context.Context, id string) (client.Detail, error) {
	for {
		a, err := g.api.Get(ctx, id)
		if err != nil || a.ReplacedBy == "" {
			return a, err
		}
		id = a.ReplacedBy
	}
}

// columns sets names in lines of a terminal's width.
func columns(names []string) string {
	var b strings.Builder
	width := 0
	for i, n := range names {
		if i < len(names)-1 {
			n += ","
		}
		if width > 0 && width+1+len(n) > 90 {
			b.WriteByte('\n')
			width = 0
		}
		if width == 0 {
			b.WriteString("   ")
			width = 3
		}
		b.WriteString(" " + n)
		width += 1 + len(n)
	}
	b.WriteByte('\n')
	return b.String()
}

func (g *guard) say(who, what string) {
	fmt.Fprintf(g.Out, "%12s  %s\n", who, safetext.Text(what))
}

// show prints what a reviewer reads.
func (g *guard) show(a client.Detail) {
	fmt.Fprintf(g.Out, "              %s  %s  digest %s\n", a.ID, a.Tier, short(a.Digest))
	for _, s := range a.SideEffects {
		fmt.Fprintf(g.Out, "              · %s\n", safetext.Text(s))
	}
	for _, h := range a.Hazards {
		fmt.Fprintf(g.Out, "              ! %s\n", safetext.Text(h.Text))
	}
	for _, l := range safetext.Lines([]byte(strings.TrimSuffix(string(a.Diff.Bytes()), "\n"))) {
		fmt.Fprintf(g.Out, "                %s\n", l)
	}
	if len(a.Diff.Patch) > 0 && a.Tool == "patch_document" {
		fmt.Fprintf(g.Out, "              as a patch: %s\n", safetext.Bytes(a.Diff.Patch))
	}
}

func ending(a client.Detail) string {
	text := a.ID + " is " + a.Status
	if a.Receipt != nil {
		text += ", " + a.Receipt.ReadBack + " by reading the target back"
	}
	if a.Why != "" {
		text += ": " + a.Why
	}
	return text
}

func short(digest string) string { return digest[:min(len(digest), len("sha256:")+12)] }

func oneLine(s string) string {
	var guardWord struct{ Status, Reason string }
	if json.Unmarshal([]byte(s), &guardWord) == nil && guardWord.Status != "" {
		return guardWord.Status + ": " + guardWord.Reason
	}
	s, _, _ = strings.Cut(s, "\n")
	return s
}
