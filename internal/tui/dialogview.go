package tui

import (
	"fmt"
	"strings"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// dialogRows returns the rows of the open dialog, at most limit of them, and
// its cursor. If there is not enough room, explanations give way to the input,
// and both give way to the change above.
func (m *Model) dialogRows(w, limit int) (rows []string, cursor *spot) {
	d := m.dialog
	title := m.dialogTitle(d)
	var right row
	if n := len(d.steps); n > 1 && d.broken == "" {
		at := 0
		for i, s := range d.steps {
			if s == d.step {
				at = i
			}
		}
		right = row{{m.th.Dim, m.pen.say("step %d of %d", at+1, n)}}
	}
	rows = append(rows, m.rule(title, right, w))
	if d.broken != "" {
		rows = append(rows, m.wrapped(m.th.Bad, "nothing was sent: "+d.broken, w)...)
		rows = append(rows, row{m.gap(1), {m.th.Key, m.pen.text("esc")}, {m.th.Dim, m.pen.text(" goes back; what you typed is kept")}}.fit(w))
		return rows, nil
	}
	label, ask := d.question(m)
	need := 1 // the input
	if d.why != "" {
		need++
	}
	var above []string
	for _, a := range ask {
		above = append(above, m.wrapped(a.style, a.text, w)...)
	}
	rows = append(rows, above[:max(0, min(len(above), limit-need-1))]...)
	if d.sent {
		rows = append(rows, row{m.gap(1), {m.th.Dim, m.pen.text("sending" + m.sign.ellipsis)}}.fit(w))
		return rows, nil
	}
	if d.step != stepConfirm {
		lead := row{m.gap(1), {m.th.Prompt, m.pen.text(label + " ")}}
		text, at := d.input.show(m.pen, max(1, w-lead.width()-1))
		cursor = &spot{lead.width() + at, len(rows)}
		st := m.th.Input
		if text.Width() == 0 && d.step == stepReason {
			st, text = m.th.Placeholder, m.pen.text("why, in a few words")
		}
		rows = append(rows, append(lead, seg{st, text}).fit(w))
	}
	if d.step == stepReason && len(rows)+need <= limit {
		rows = append(rows, m.choiceRow(d, w))
	}
	if d.why != "" {
		rows = append(rows, row{m.gap(1), {m.th.Warn, m.pen.text(d.why)}}.fit(w))
	}
	return rows, cursor
}

func (m *Model) dialogTitle(d *dialog) row {
	good, word := m.th.Good, "APPROVE"
	if d.word == client.Deny {
		good, word = m.th.Bad, "DENY"
	}
	title := row{{good.On(m.th.Strong), m.pen.text(word)}, m.gap(1)}
	switch d.purpose {
	case forPause:
		return row{{m.th.Bad, m.pen.text("PAUSE ")}, {m.th.Title, m.scopeName(d.scope)}}
	case forResume:
		return row{{m.th.Good, m.pen.text("RESUME ")}, {m.th.Title, m.scopeName(d.scope)}}
	case forBatch:
		return append(title, seg{m.th.Title, m.pen.say("%d together", len(d.batch))})
	}
	title = append(title, m.badge(d.row.Tier), m.gap(1), seg{m.th.Title, m.pen.name(d.row.Tool)}, m.arrow(&d.row.Approval))
	return append(title, seg{m.th.Title, m.aim(&d.row.Approval, max(8, m.w-title.width()-24))})
}

// sentence is a text above an input.
type sentence struct {
	style theme.Style
	text  string
}

// question returns the prompt of a step and the text above it.
func (d *dialog) question(m *Model) (label string, above []sentence) {
	add := func(st theme.Style, format string, args ...any) {
		above = append(above, sentence{st, fmt.Sprintf(format, args...)})
	}
	switch d.step {
	case stepUnread:
		add(m.th.Warn, "%d %% of this change has not been on the screen; pgdown shows more.", d.unread)
		add(m.th.Text, "To approve without reading the rest, type unread (logged as \"%s\").", unreadNote(d.unread))
		return "type unread:", above
	case stepCount:
		add(m.th.Text, "%s", m.sum(d.batch))
		return fmt.Sprintf("type how many (%d):", len(d.batch)), above
	case stepTarget:
		add(m.th.Warn, "This leaves your machine or cannot be undone. Type the target to approve:")
		add(m.th.Title, "%s", d.wanted())
		return "target:", above
	case stepConfirm:
		switch d.purpose {
		case forResume:
			add(m.th.Warn, "Paused calls are allowed again. Enter resumes, Esc goes back.")
			return "", above
		case forBatch:
			add(m.th.Warn, "%s. Enter approves all of them, Esc goes back.", m.sum(d.batch))
		default:
			what := strings.Join(d.row.SideEffects, "; ")
			switch {
			case what != "":
			case short(d.row.Tier) == "T3":
				what = "this runs a program"
			default:
				what = "this cannot simply be undone"
			}
			if n := len(d.row.Hazards); n > 0 {
				what = plural(n, "hazard") + "; " + what
			}
			add(m.th.Warn, "%s. Enter approves it, Esc goes back.", what)
		}
		add(m.th.Dim, "reason: %s", d.reason)
		return "", above
	case stepReason:
		if d.word == client.Deny {
			return "reason, for the agent:", above
		}
	}
	return "reason:", above
}

// choiceRow shows earlier reasons.
func (m *Model) choiceRow(d *dialog, w int) string {
	r := row{m.gap(1), {m.th.Key, m.pen.text("↑↓")}, {m.th.Dim, m.pen.text(" ")}}
	if m.cfg.ASCII {
		r[1].text = m.pen.text("up/down")
	}
	for i, c := range d.choices {
		st := m.th.Dim
		if i == d.choice {
			st = m.th.Accent
		}
		if i > 0 {
			r = append(r, seg{m.th.Border, m.pen.text(" " + m.sign.bar + " ")})
		}
		r = append(r, seg{st, m.pen.text(c)})
	}
	return r.fit(w)
}

// batchFrame shows all members of a batch, and the dialog below.
func (m *Model) batchFrame() (rows []string, cursor *spot, shown bool) {
	d := m.dialog
	body := m.bodyRows()
	dialog, at := m.dialogRows(m.w, body)
	list := []string{m.rule(row{{m.th.Title, m.pen.say("%s, each decided by its own digest", plural(len(d.batch), "change"))}}, nil, m.w)}
	for _, s := range d.batch {
		e := m.queue.all[s.id]
		if e == nil {
			continue
		}
		left := row{m.gap(1), m.badge(e.Tier), m.gap(1), {m.th.Text, m.pen.name(e.Tool)}, m.arrow(&e.Approval)}
		right := row{m.gap(1), {m.th.Good, m.pen.say("+%d", e.Added)}, m.gap(1), {m.th.Bad, m.pen.say("-%d", e.Removed)}, m.gap(1), {m.th.Dim, m.pen.name(digits(s.digest))}, m.gap(1)}
		left = append(left, seg{m.th.Text, m.aim(&e.Approval, m.w-left.width()-right.width())})
		list = append(list, ends(left, right, m.w).fit(m.w))
	}
	room := body - len(dialog)
	d.drawn = len(list) == len(d.batch)+1 && len(list) <= room
	rows = append(block(list, m.w, max(0, room)), dialog...)
	if at != nil {
		cursor = &spot{at.x, at.y + 1 + max(0, room)}
	}
	return rows, cursor, false
}
