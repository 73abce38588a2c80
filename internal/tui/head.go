package tui

import (
	"fmt"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/tui/change"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// clock formats remaining time.
func clock(d time.Duration) string {
	s := int(d / time.Second)
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// timeLook returns the style of remaining time.
func (m *Model) timeLook(d time.Duration) theme.Style {
	switch {
	case d < 20*time.Second:
		return m.th.Bad
	case d < time.Minute:
		return m.th.Warn
	}
	return m.th.Dim
}

// state returns an entry's last column: the remaining time, or else the
// status.
func (m *Model) state(e *entry) seg {
	now := m.now()
	switch {
	case e.gone && e.Status == client.Pending:
		return seg{m.th.Dim, m.pen.text("ended")}
	case e.Status == client.Pending && !now.Before(e.deadline):
		return seg{m.th.Warn, m.pen.text("expired")}
	case e.Status == client.Pending:
		return seg{m.timeLook(e.left(now)), m.pen.text(clock(e.left(now)))}
	case e.Status == client.Executed:
		return seg{m.th.Good, m.pen.text(m.sign.check + " " + e.Status)}
	}
	return seg{m.look(e.Status), m.pen.text(e.Status)}
}

// badge returns a tier's badge.
func (m *Model) badge(tier string) seg {
	s := short(tier)
	if s == "NEVER" {
		s = "NEVER"
	}
	return seg{m.th.Badge(tier), m.pen.text(" " + s + " ")}
}

func (m *Model) gap(n int) seg { return seg{theme.Style{}, safetext.Line{}.Pad(n)} }

// headRows returns the rows above the change, at most limit of them.
func (m *Model) headRows(w, limit int, tiny bool) []string {
	e := m.item.row
	b := m.badge(e.Tier)
	st := m.state(e)
	title := row{b, m.gap(1), {m.th.Title, m.pen.name(e.Tool)}, m.arrow(&e.Approval)}
	right := row{st}
	if n := len(m.queue.order); n > 1 {
		right = row{{m.th.Dim, m.pen.say("%d of %d", m.queue.index()+1, n)}, {m.th.Border, m.pen.text(" " + m.sign.dot + " ")}, st}
	}
	room := w - title.width() - right.width() - 8
	title = append(title, seg{m.th.Title, m.aim(&e.Approval, room)})
	rows := []string{m.rule(title, right, w)}
	if !tiny {
		rows = append(rows, m.metaRow(e, w))
	}
	rest := m.noteRows(e, w)
	if room := limit - len(rows); len(rest) > room {
		more := len(rest) - max(0, room-1)
		rest = append(rest[:max(0, room-1)], row{{m.th.Warn, m.pen.say("   %s more; %s shows everything", plural(more, "line"), first(m.keys.Info))}}.fit(w))
	}
	return append(rows, rest...)
}

// arrow separates a tool from its target; empty if only the tool's name is
// known.
func (m *Model) arrow(a *client.Approval) seg {
	if a.Target == a.Tool && summed(a) == "" {
		return seg{}
	}
	return seg{m.th.Dim, m.pen.text(" " + m.sign.arrow + " ")}
}

// aim returns what a call is about, in cols cells: its target, or the daemon's
// summary if it has none, such as for a read or a command. It is empty if that
// is only the tool's name.
func (m *Model) aim(a *client.Approval, cols int) safetext.Line {
	word := summed(a)
	if word == "" && a.Target == a.Tool {
		return safetext.Line{}
	}
	if path, ok := strings.CutPrefix(word, "read "); ok && path != "" {
		return m.pen.keepEnd(m.pen.name(path), cols)
	}
	if word != "" {
		return m.pen.text(word).Truncate(cols)
	}
	return m.pen.keepEnd(m.pen.name(a.Target), cols)
}

// summed returns the summary of a call without a target; "" if the call has
// one or the summary is only the tool's name.
func summed(a *client.Approval) string {
	if a.Target != a.Tool || strings.HasPrefix(a.Summary, "call ") {
		return ""
	}
	return strings.TrimPrefix(a.Summary, "run ")
}

// keepEnd shortens a line at its beginning, because the end of a path says
// more.
func (p pen) keepEnd(l safetext.Line, cols int) safetext.Line {
	if l.Width() <= cols || cols < 8 {
		return l.Truncate(cols)
	}
	dots := p.text("…")
	if p.safe.ASCII {
		dots = p.text("~")
	}
	return safetext.Concat(dots, l.Skip(l.Width()-cols+1))
}

// metaRow says who asked for the change, and which digest a decision carries.
func (m *Model) metaRow(e *entry, w int) string {
	sep := seg{m.th.Border, m.pen.text(" " + m.sign.dot + " ")}
	env := seg{m.th.Dim, m.pen.name(e.Environment)}
	if e.Environment == "prod" {
		env.style = m.th.Bad
	}
	left := row{m.gap(1), {m.th.Dim, m.pen.name(e.Server)}, sep, {m.th.Dim, m.pen.name(e.Tenant)}, sep, env, sep, {m.th.Dim, m.pen.text("run ")}, {m.th.Dim, m.pen.name(tail(e.RunID))}}
	if c := strings.TrimSpace(e.RequestedBy.Client); c != "" && w >= 72 {
		left = append(left, sep, seg{m.th.Dim, m.pen.text(c)})
	}
	if e.Added > 0 || e.Removed > 0 {
		left = append(left, sep, seg{m.th.Good, m.pen.say("+%d", e.Added)}, m.gap(1), seg{m.th.Bad, m.pen.say("-%d", e.Removed)})
	}
	right := row{{m.th.Dim, m.pen.text("digest ")}, {m.th.Dim, m.pen.name(digits(e.Digest))}, m.gap(1)}
	if w < 100 {
		right = row{{m.th.Dim, m.pen.name(digits(e.Digest))}, m.gap(1)}
	}
	return ends(left, right, w).fit(w)
}

// digits returns the first twelve digits of a digest.
func digits(digest string) string {
	d := strings.TrimPrefix(digest, "sha256:")
	return d[:min(len(d), 12)]
}

// noteRows returns hazards, side effects, the outcome and the agent's claim.
func (m *Model) noteRows(e *entry, w int) []string {
	var rows []string
	note := func(sign seg, st theme.Style, text string) {
		indent := sign.text.Width() + 2
		for i, l := range m.pen.wrap(text, max(8, w-indent-1)) {
			if i == 0 {
				rows = append(rows, row{m.gap(1), sign, m.gap(1), {st, l}}.fit(w))
				continue
			}
			rows = append(rows, row{m.gap(indent), {st, l}}.fit(w))
		}
	}
	for _, h := range e.Hazards {
		note(seg{m.th.Hazard, m.pen.text(" " + m.sign.hazard + " ")}, m.th.Bad, h.Text)
	}
	for _, s := range e.SideEffects {
		note(seg{m.th.SideEffect, m.pen.text(m.sign.bullet)}, m.th.SideEffect, s)
	}
	if e.Undoes != "" {
		note(seg{m.th.Dim, m.pen.text(m.sign.bullet)}, m.th.Text, "undoes "+tail(e.Undoes)+", at a developer's request")
	}
	if e.Post {
		note(seg{m.th.Warn, m.pen.text(m.sign.bullet)}, m.th.Warn, "decided by "+unasked)
	}
	if e.Replaces != "" {
		note(seg{m.th.Warn, m.pen.text(m.sign.bullet)}, m.th.Warn, fmt.Sprintf("replaces %s, whose target has changed; %s shows the difference", tail(e.Replaces), first(m.keys.Compare)))
	}
	if e.ReplacedBy != "" {
		note(seg{m.th.Warn, m.pen.text(m.sign.bullet)}, m.th.Warn, fmt.Sprintf("the target has changed; %s replaces this one; %s shows the difference", tail(e.ReplacedBy), first(m.keys.Compare)))
	} else if e.Status != client.Pending && e.Why != "" {
		note(seg{m.look(e.Status), m.pen.text(m.sign.bullet)}, m.look(e.Status), e.Why)
	}
	if it := m.item; it.loaded {
		if r := it.detail.Receipt; r != nil {
			st := m.th.Good
			if r.Outcome != "ok" || r.ReadBack == "diverged" {
				st = m.th.Bad
			}
			note(seg{st, m.pen.text(m.sign.bullet)}, st, fmt.Sprintf("receipt: %s, %s", r.Outcome, r.ReadBack))
		}
		if c := it.detail.Claim; c != "" {
			line := row{m.gap(1), {m.th.Dim, m.pen.text("agent says: ")}, {m.th.Claim, m.pen.text(c)}}
			rows = append(rows, line.fit(w))
		}
	}
	return rows
}

// paneRule is the rule between head and change; it shows the position in the
// change.
func (m *Model) paneRule(w int) string {
	it := m.item
	v := it.view()
	if m.pane.search != nil {
		return m.rule(row{{m.th.Prompt, m.pen.text("/")}, {m.th.Input, m.pen.text(m.pane.search.value())}, {m.th.Prompt, m.pen.text("_")}}, nil, w)
	}
	name := map[string]string{"unified": "diff", "json_patch": "changed values", "json_diff": "changed values", "exec": "command", "message": "message", "http": "request", "sql": "statement"}[it.detail.Diff.Type]
	if _, ok := it.detail.Diff.Command(); ok {
		name = "what a command changes"
	}
	st := m.th.Dim
	switch {
	case !it.loaded || it.err != "":
		return m.rule(nil, nil, w)
	case m.pane.info:
		name = "details"
	case it.between != nil:
		name, st = "what differs between the two changes; you do not decide on this", m.th.Warn
	case m.pane.raw:
		name = "raw"
	case m.pane.document:
		name = "document"
	case name == "" && change.Read(it.detail):
		name = "arguments of a read"
	case name == "":
		name, st = "effect not computed; you approve the arguments", m.th.Warn
	}
	title := row{{st, m.pen.text(name)}}
	if m.pane.focus {
		title = append(row{{m.th.Accent, m.pen.text(m.sign.cursor)}}, title...)
	}
	if m.pane.pattern != "" {
		title = append(title, seg{m.th.Dim, m.pen.say(" %s %s for %q", m.sign.dot, plural2(m.pane.matches, "match", "matches"), m.pane.pattern)})
	}
	var right row
	if v != nil && !m.pane.info {
		line, total := v.Position()
		hunk, hunks, percent, last := v.Seen()
		text := fmt.Sprintf("%d/%d", line, total)
		if hunks > 1 && w >= 70 {
			text = fmt.Sprintf("%d of %d hunks seen %s %s", hunk, hunks, m.sign.dot, text)
		}
		look := m.th.Dim
		if !last || percent < 100 {
			text += fmt.Sprintf(" %s %d %% seen", m.sign.dot, percent)
		}
		right = row{{look, m.pen.text(text)}}
	}
	return m.rule(title, right, w)
}

func plural2(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
