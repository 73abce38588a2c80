package tui

import (
	"fmt"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// stamp formats a time.
func (m *Model) stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(m.cfg.Zone).Format("2006-01-02 15:04:05")
}

// sheet collects labelled rows.
type sheet struct {
	m    *Model
	w    int
	rows []string
}

const labelWidth = 15

// item adds a label and its text, wrapped.
func (s *sheet) item(label string, st theme.Style, text safetext.Line) {
	if text.Width() == 0 {
		return
	}
	for i, l := range text.Wrap(max(8, s.w-labelWidth-2)) {
		if i > 0 {
			label = ""
		}
		s.rows = append(s.rows, row{s.m.gap(1), {s.m.th.Dim, s.m.pen.text(label).Fit(labelWidth)}, {st, l}}.fit(s.w))
	}
}

// prose adds a label and a text, wrapped between words.
func (s *sheet) prose(label string, st theme.Style, text string) {
	if text == "" {
		return
	}
	for _, l := range s.m.pen.wrap(text, max(8, s.w-labelWidth-2)) {
		s.rows = append(s.rows, row{s.m.gap(1), {s.m.th.Dim, s.m.pen.text(label).Fit(labelWidth)}, {st, l}}.fit(s.w))
		label = ""
	}
}

func (s *sheet) blank() { s.rows = append(s.rows, row(nil).fit(s.w)) }

// infoRows returns everything known about the item.
func (m *Model) infoRows(w, h int) []string {
	s := sheet{m: m, w: w}
	m.describe(&s, m.item.detail)
	m.pane.infoTop = max(0, min(m.pane.infoTop, len(s.rows)-h))
	return block(s.rows[m.pane.infoTop:], w, h)
}

// unasked describes who approved a change that ran without approval.
const unasked = "nobody: the policy lets it run without asking; shown afterwards"

// describe lists everything but the change.
func (m *Model) describe(s *sheet, d client.Detail) {
	t, p := m.th, m.pen
	for _, h := range d.Hazards {
		s.item("HAZARD", t.Bad, safetext.Concat(p.text(h.Text), p.text(" ("), p.name(h.Kind), p.text(")")))
	}
	for _, e := range d.SideEffects {
		s.prose("side effect", t.SideEffect, e)
	}
	s.prose("summary", t.Text, d.Summary)
	s.item("id", t.Text, p.name(d.ID))
	s.item("digest", t.Text, p.name(d.Digest))
	s.item("status", m.look(d.Status), p.text(d.Status))
	s.prose("why", t.Text, d.Why)
	s.item("tier", t.Text, p.name(d.Tier))
	s.item("asked because", t.Text, p.text(d.Rule))
	if d.Post {
		s.prose("decided by", t.Warn, unasked)
	}
	s.item("undoes", t.Text, p.name(d.Undoes))
	s.item("tool", t.Text, p.name(d.Server+"/"+d.Tool))
	s.item("server says", t.Dim, p.text(d.ServerVersion))
	s.item("tenant", t.Text, p.name(d.Tenant))
	s.item("environment", t.Text, p.name(d.Environment))
	s.item("workflow", t.Text, p.name(d.Workflow))
	by := d.RequestedBy
	s.item("asked by", t.Text, safetext.Concat(p.text(strings.TrimSpace(by.Client+" "+by.Version)), p.say(", process %d, user ", by.PID), p.name(by.User)))
	s.item("program", t.Text, p.name(by.Executable))
	s.item("folder", t.Text, p.name(by.Folder))
	s.item("asked at", t.Text, p.text(m.stamp(d.RequestedAt)))
	s.item("worktree", t.Text, p.name(d.Context.Worktree))
	s.item("branch", t.Text, p.name(d.Context.Branch))
	s.item("conversation", t.Text, p.name(d.Context.ClientSession))
	s.item("run", t.Text, p.name(d.RunID))
	s.item("session", t.Text, p.name(d.SessionID))
	s.item("call", t.Text, p.name(d.CallID))
	s.prose("agent says", t.Claim, d.Claim)
	s.item("replaces", t.Text, p.name(d.Replaces))
	s.item("replaced by", t.Text, p.name(d.ReplacedBy))
	for _, e := range d.Effects {
		line := safetext.Concat(p.name(e.Kind), p.text(" "), p.name(e.Key))
		if e.Key == "" {
			line = safetext.Concat(p.name(e.Kind), p.text(" "), p.name(e.Path))
		}
		if e.Dest != "" {
			line = safetext.Concat(line, p.text(" to "), p.name(e.Dest))
		}
		if word, other := d.Diff.Renamed(e); word != "" {
			line = safetext.Concat(line, p.say(" %s ", word), p.name(other))
		}
		s.item("effect", t.Text, line)
		s.item("  before", t.Dim, p.text(state(e.Before)))
		s.item("  after", t.Dim, p.text(state(e.After)))
	}
	s.item("definition", t.Dim, p.name(d.Definition))
	s.item("policy", t.Dim, p.name(d.PolicyHash))
	if d.ArgumentsLeftOut > 0 {
		s.item("arguments", t.Dim, p.say("%d bytes; approve show %s --json prints them", d.ArgumentsLeftOut, tail(d.ID)))
	} else if len(d.Arguments) > 0 {
		s.item("arguments", t.Dim, p.text(clip(string(d.Arguments), 2000)))
	}
}

// clip shortens a long text before it is made safe.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + " …"
}

func state(s client.State) string {
	switch {
	case !s.Computed:
		return "not computed"
	case !s.Exists:
		return "does not exist"
	}
	text := fmt.Sprintf("%s, %d bytes", s.Kind, s.Size)
	if s.Mode != "" {
		text += ", mode " + s.Mode
	}
	if s.SHA256 != "" {
		text += ", sha256 " + digits(s.SHA256)
	}
	return text
}

// maxDivergences is how many values of a diverged record are listed.
const maxDivergences = 20

// outcome lists the decisions on an approval and its receipt.
func (m *Model) outcome(s *sheet, d client.Detail) {
	t, p := m.th, m.pen
	for _, w := range d.Decisions {
		st, label := t.Good, "allowed"
		if w.Decision != client.Allow {
			st, label = t.Bad, "denied"
		}
		s.prose(label, st, w.Reason)
		who := w.Name
		if who == "" {
			who = "user " + w.User
		}
		s.item("  by", t.Dim, safetext.Concat(p.text(who), p.say(" at %s, process %d, ", m.stamp(w.At), w.PID), p.name(w.Terminal)))
		s.item("  digest", t.Dim, p.name(w.Digest))
	}
	r := d.Receipt
	if r == nil {
		return
	}
	st := t.Good
	if r.Outcome != "ok" || r.ReadBack == "diverged" {
		st = t.Bad
	}
	s.item("receipt", st, p.say("%s, %s", r.Outcome, r.ReadBack))
	s.prose("", t.Text, r.Detail)
	s.item("  ran", t.Dim, p.say("%s, %s", m.stamp(r.StartedAt), r.EndedAt.Sub(r.StartedAt).Round(time.Millisecond)))
	for _, a := range r.After {
		s.item("  read back", t.Dim, p.text(state(a)))
	}
	for i, x := range r.Divergences() {
		if i == maxDivergences {
			s.item("", t.Dim, p.text("and more; approve show prints all"))
			break
		}
		s.item("  differs", st, p.say("%s %s", x.Op, x.Path))
		s.item("  approved", t.Dim, p.text(string(x.Want)))
		s.item("  found", t.Dim, p.text(string(x.Found)))
	}
	for _, x := range r.Touched {
		s.item("  "+x.Kind, t.Dim, p.text(x.ID))
	}
	if r.Reconciled {
		s.item("", t.Dim, p.text("determined afterwards by reading the target back"))
	}
}
