package approve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcpguard/mcpguard/internal/client"
)

func (a *app) show() *cobra.Command {
	var asDiff bool
	var f fields
	c := &cobra.Command{
		Use:   "show ID",
		Short: "show one approval: what would change, and all that is known of it",
		Long: `Shows one approval in full: who asks, what would change, what follows from it,
what to look out for, and, once it is decided, by whom and what became of it.

--diff prints the change alone, --json everything. In both the text is as the
agent wrote it, with everything that could deceive a terminal made visible;
"jq -r .diff.text" on the JSON restores its exact characters.`,
		Example: `  approve show 4x7k2mqa
  approve show 4x7k2mqa --diff | less
  approve show 4x7k2mqa --json=status,diff | jq -r .diff.text | git apply --check`,
		Args:              oneID,
		ValidArgsFunction: a.completeIDs,
		RunE: func(c *cobra.Command, args []string) error {
			if asDiff && f.on {
				return usage(c, "--diff and --json are two ways to print it; choose one")
			}
			if err := check[client.Detail](f); err != nil {
				return usage(c, "--json: %w", err)
			}
			ctx := c.Context()
			return a.reading(ctx, func(c *client.Client) error {
				d, err := c.Get(ctx, args[0])
				if err != nil {
					return err
				}
				p := a.page()
				switch {
				case f.on:
					if err := p.value(d, f); err != nil {
						return err
					}
				case asDiff:
					p.change(d.Diff)
				default:
					p.detail(d)
				}
				return p.flush()
			})
		},
	}
	c.Flags().BoolVar(&asDiff, "diff", false, "print the change alone")
	c.Flags().Var(&f, "json", "print JSON, all fields or the ones named (--json=status,diff)")
	c.Flags().Lookup("json").NoOptDefVal = allFields
	return c
}

func oneID(c *cobra.Command, args []string) error {
	if len(args) == 1 && args[0] != "" {
		return nil
	}
	return usage(c, "%s takes the ID of one approval; `approve --list` shows them", c.CommandPath())
}

// item writes "name: value" with the names aligned.
func (p *page) item(name string, value ...cell) {
	p.line(append([]cell{p.app.words(dim, "%-12s", name)}, value...)...)
}

// detail writes an approval for a person to decide on.
func (p *page) detail(d client.Detail) {
	a := p.app
	p.line(a.text(bold, d.Summary))
	status := []cell{a.name(statusLook(d.Status), d.Status)}
	switch {
	case d.Status == client.Pending:
		status = append(status, a.words(timeLook(d.Approval), ", %s left to decide", left(d.SecondsLeft)))
	case d.Status == client.Approved:
		status = append(status, a.words(timeLook(d.Approval), ", %s left to run", left(d.SecondsLeft)))
	case d.Why != "":
		status = append(status, a.words(plain, ": %s", d.Why))
	}
	p.item("status", status...)
	p.item("id", a.name(plain, d.ID))
	p.item("tool", a.name(plain, d.Server+"/"+d.Tool), a.text(plain, "  "), a.name(tierLook(d.Tier), d.Tier))
	p.item("tenant", a.name(plain, d.Tenant), a.text(plain, ", environment "), a.name(plain, d.Environment))
	by := a.safe.Text(strings.TrimSpace(d.RequestedBy.Client + " " + d.RequestedBy.Version))
	p.item("asked by", cell{text: by}, a.words(plain, ", process %d in ", d.RequestedBy.PID), a.name(plain, d.RequestedBy.Folder))
	p.item("asked at", a.text(plain, a.stamp(d.RequestedAt)))
	p.item("run", a.name(plain, d.RunID))
	p.item("because", a.text(plain, d.Rule))
	if d.Post {
		p.item("decided by", a.text(yellow, "nobody: the policy lets it run without asking; shown afterwards"))
	}
	if d.Claim != "" {
		p.item("agent says", a.text(dim, d.Claim))
	}
	if d.Undoes != "" {
		p.item("undoes", a.name(plain, d.Undoes))
	}
	if d.Replaces != "" {
		p.item("replaces", a.name(plain, d.Replaces), a.text(yellow, ", whose target has changed"))
	}
	if d.ReplacedBy != "" {
		p.item("replaced by", a.name(plain, d.ReplacedBy))
	}
	p.item("digest", a.name(plain, d.Digest))
	for _, s := range d.SideEffects {
		p.item("side effect", a.text(yellow, s))
	}
	for _, h := range d.Hazards {
		p.item("HAZARD", a.text(red, h.Text), a.words(dim, " (%s)", h.Kind))
	}
	p.effects(d)
	p.line()
	p.change(d.Diff)
	p.ran(d)
	p.outcome(d)
	if d.Post && d.Status == client.Executed {
		p.line()
		p.line(a.text(dim, "to undo it:      "), a.words(plain, "approve undo %s", shortID(d.ID)))
	}
	if d.Status == client.Pending {
		p.line()
		p.line(a.text(dim, "to let it run:  "), a.words(plain, "approve allow %s --digest %s --reason \"...\"", shortID(d.ID), shortDigest(d.Digest)))
		p.line(a.text(dim, "to refuse it:   "), a.words(plain, "approve deny %s --reason \"...\"", shortID(d.ID)))
	}
}

// shortDigest returns as much of a digest as `approve allow` requires.
func shortDigest(digest string) string {
	digits := strings.TrimPrefix(digest, "sha256:")
	return digits[:min(len(digits), minDigest)]
}

// maxRunEffects is how many paths of a command are listed above its text, which says
// what becomes of them.
const maxRunEffects = 12

func (p *page) effects(d client.Detail) {
	a := p.app
	for i, e := range d.Effects {
		if e.Key == "" || e.Kind == "opaque" {
			continue
		}
		if more := len(d.Effects) - maxRunEffects; i == maxRunEffects && more > 1 && d.Diff.Exec != nil {
			p.item("effect", a.words(plain, "and %d more paths; --json has all", more))
			return
		}
		cells := []cell{a.words(plain, "%s ", e.Kind), a.name(bold, e.Key)}
		if e.Dest != "" {
			cells = append(cells, a.text(plain, " to "), a.name(bold, e.Dest))
		}
		if word, other := d.Diff.Renamed(e); word != "" {
			cells = append(cells, a.words(plain, " %s ", word), a.name(bold, other))
		}
		if was, will := e.Before.Mode, e.After.Mode; was != "" && will != "" && was != will {
			cells = append(cells, a.words(yellow, ", mode %s to %s", was, will))
		}
		p.item("effect", cells...)
	}
}

// outcome writes the outcome of an approval.
func (p *page) outcome(d client.Detail) {
	a := p.app
	if len(d.Decisions) > 0 || d.Receipt != nil {
		p.line()
	}
	for _, w := range d.Decisions {
		look, word := green, "allowed"
		if w.Decision != client.Allow {
			look, word = red, "denied"
		}
		who := w.Name
		if who == "" {
			who = "user " + w.User
		}
		p.item(word, a.text(look, w.Reason))
		p.item("", a.text(dim, "by "), a.name(dim, who), a.words(dim, " at %s", a.stamp(w.At)))
	}
	r := d.Receipt
	if r == nil {
		return
	}
	look := green
	if r.Outcome != "ok" || r.ReadBack == "diverged" {
		look = red
	}
	p.item("receipt", a.words(look, "%s, %s", r.Outcome, r.ReadBack), a.words(dim, " at %s", a.stamp(r.EndedAt)))
	if r.Detail != "" {
		p.item("", a.text(plain, r.Detail))
	}
	for _, t := range r.Touched {
		p.item("", a.text(dim, "the server names "), a.name(dim, t.Kind), a.text(dim, " "), a.text(plain, t.ID))
	}
	if len(r.Difference) > 0 {
		p.item("", a.text(red, "how it differs from what was approved:"))
		for _, x := range r.Divergences() {
			p.line(a.words(cyan, "  %s ", x.Op), a.text(bold, x.Path))
			if len(x.Want) > 0 {
				p.line(a.words(red, "  approved %s", escape(x.Want)))
			}
			if len(x.Found) > 0 {
				p.line(a.words(green, "  found    %s", escape(x.Found)))
			}
		}
	}
	if r.Reconciled {
		p.item("", a.text(dim, "determined afterwards by reading the target back"))
	}
}

// change writes what would change.
func (p *page) change(d client.Diff) {
	a := p.app
	if d.Pruned {
		p.line(a.text(dim, "the content is not there: it is no longer stored, or cannot be read at the moment"))
		return
	}
	if d.Type == "unified" || d.Type == "json_diff" {
		p.unified(d.Bytes())
		return
	}
	if t, ok := d.Command(); ok {
		p.inset([]byte(t.Head))
		p.inset([]byte(t.Run))
		p.unified([]byte(t.Changes))
		return
	}
	if text, scripts, ok := d.Scripts(); ok {
		p.inset([]byte(text))
		for _, s := range scripts {
			p.line()
			p.line(a.text(yellow, "script "), a.text(bold, s.Title()))
			p.inset([]byte(s.Text))
		}
		return
	}
	if d.Type == "opaque" {
		p.line(a.text(yellow, "effect not computed; you approve the arguments:"))
	}
	if p.values(d.Preview) {
		return
	}
	p.inset(d.Bytes())
}

// inset writes an indented text, so that no line of it can pass for the
// program's own. The lines of a unified diff begin with their signs.
func (p *page) inset(text []byte) {
	a := p.app
	for _, l := range a.safe.Lines(text) {
		p.line(a.text(plain, "  "), cell{text: l})
	}
}

// ran writes what a command did in a sandbox apart from its changes: what it
// tried to reach, why it was not contained, and what it printed.
func (p *page) ran(d client.Detail) {
	a := p.app
	if d.Attempt != nil {
		p.line()
		p.line(a.text(yellow, "in the sandbox; not what will run"))
		for _, s := range client.Attempted(d.Attempt) {
			p.line(a.text(plain, "  "+s))
		}
	}
	if d.Output != "" {
		p.line()
		p.line(a.text(dim, "what the run printed; you do not decide on this"))
		p.inset(bothEnds([]byte(d.Output)))
	}
}

// maxShownLines is how many lines of an output stand at each of its ends.
const maxShownLines = 20

// bothEnds leaves out the middle of a long output, which nobody decides on.
func bothEnds(output []byte) []byte {
	lines := bytes.SplitAfter(output, []byte("\n"))
	more := len(lines) - 2*maxShownLines
	if more <= 1 {
		return output
	}
	note := fmt.Appendf(nil, "… %d more lines; --json has them …\n", more)
	return bytes.Join([][]byte{bytes.Join(lines[:maxShownLines], nil), note, bytes.Join(lines[len(lines)-maxShownLines:], nil)}, nil)
}

// unified writes a unified diff. It uses the hunks' line counts to tell
// headers from lines: a removed line that begins with "-- " looks like a
// header.
func (p *page) unified(text []byte) {
	a := p.app
	var old, fresh int // remaining lines of the hunk
	for raw := range bytes.Lines(text) {
		raw = bytes.TrimSuffix(raw, []byte("\n"))
		look := bold
		switch {
		case bytes.HasPrefix(raw, []byte(`\`)):
			look = dim
		case old > 0 || fresh > 0:
			switch first := append(raw[:len(raw):len(raw)], ' ')[0]; first {
			case '+':
				look = green
				fresh--
			case '-':
				look = red
				old--
			default:
				look = plain
				old--
				fresh--
			}
		case bytes.HasPrefix(raw, []byte("@@ -")):
			look = cyan
			old, fresh = hunkCounts(string(raw))
		}
		p.line(cell{text: a.safe.Bytes(raw), look: look})
	}
}

// hunkCounts reads "@@ -1,2 +3 @@".
func hunkCounts(header string) (old, fresh int) {
	words := strings.Fields(header)
	if len(words) < 3 {
		return 0, 0
	}
	return span(words[1]), span(words[2])
}

func span(s string) int {
	_, count, found := strings.Cut(s, ",")
	if !found {
		return 1
	}
	n := 0
	if _, err := fmt.Sscanf(count, "%d", &n); err != nil {
		return 0
	}
	return n
}

// values writes the old and new values of a structural change, and reports
// whether there are any.
func (p *page) values(preview json.RawMessage) bool {
	var list []struct {
		Op   string          `json:"op"`
		Path string          `json:"path"`
		At   string          `json:"fromPath"` // of what moves
		From json.RawMessage `json:"from"`
		To   json.RawMessage `json:"to"`
	}
	if json.Unmarshal(preview, &list) != nil || len(list) == 0 {
		return false
	}
	a := p.app
	for _, v := range list {
		cells := []cell{a.words(cyan, "  %s ", v.Op), a.text(bold, v.Path)}
		if v.At != "" {
			cells = append(cells, a.text(cyan, " from "), a.text(bold, v.At))
		}
		p.line(cells...)
		if len(v.From) > 0 {
			p.line(a.words(red, "  - %s", escape(v.From)))
		}
		if len(v.To) > 0 {
			p.line(a.words(green, "  + %s", escape(v.To)))
		}
	}
	return true
}
