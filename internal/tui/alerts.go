package tui

import (
	"slices"
	"strings"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// alertsView is what a human must see.
type alertsView struct {
	list
	raised []client.Alert
}

func (a *alertsView) take(list []client.Alert) {
	a.raised = list
	a.resize(len(list))
}

// here is the alert under the cursor.
func (a *alertsView) here() (v client.Alert, ok bool) {
	if a.n == 0 {
		return v, false
	}
	return a.raised[a.cursor], true
}

func (m *Model) alertsKey(k tea.KeyPressMsg, hasty string) tea.Cmd {
	a := &m.alerts
	if m.listKey(k, &a.list) || a.n == 0 {
		return nil
	}
	switch {
	case key.Matches(k, m.keys.Act) && hasty != "":
		m.refuse("%s", hasty)
	case key.Matches(k, m.keys.Act):
		return m.call.acknowledge(a.raised[a.cursor].ID)
	case key.Matches(k, m.keys.Open) && a.raised[a.cursor].Subject != "":
		return m.openStory(a.raised[a.cursor].Subject)
	}
	return nil
}

func (m *Model) alertsRows(w, h int) []string {
	a := &m.alerts
	out := []string{m.tabs(w), m.rule(row{{m.th.Dim, m.pen.say("%s not acknowledged", plural(a.n, "alert"))}}, nil, w)}
	if a.n == 0 {
		out = append(out, row{m.gap(1), {m.th.Good, m.pen.text(m.sign.check + " nothing to see")}}.fit(w))
		return block(out, w, h)
	}
	room := min(a.n, max(1, (h-3)/2))
	from, to := a.window(room)
	for i := from; i < to; i++ {
		lead, below := m.gap(1), theme.Style{}
		if i == a.cursor {
			lead, below = seg{m.th.Accent, m.pen.text(m.sign.cursor)}, m.th.Selected
		}
		al := a.raised[i]
		sign := seg{m.th.Hazard, m.pen.text(" " + m.sign.hazard + " ")}
		if al.Kind == client.AlertRanUnasked { // nothing is out of order
			sign = seg{m.th.SideEffect, m.pen.text(" " + m.sign.bullet + " ")}
		}
		left := row{lead, m.gap(1), sign, m.gap(1), {m.th.Text, m.pen.text(al.Text)}}
		out = append(out, ends(left, row{m.gap(1), {m.th.Dim, m.pen.text(m.stamp(al.At))}, m.gap(1)}, w).fitOn(w, below))
	}
	al := a.raised[a.cursor]
	s := &sheet{m: m, w: w}
	s.item("kind", m.th.Text, m.pen.name(al.Kind))
	s.prose("what", m.th.Text, al.Text)
	label, detail := "detail", clip(al.Detail, 16<<10)
	if al.Kind == client.AlertRanUnasked { // sentences of the daemon's own; what others wrote may be code
		for l := range strings.Lines(detail) {
			s.prose(label, m.th.Dim, strings.TrimSuffix(l, "\n"))
			label = ""
		}
	} else {
		for _, l := range m.pen.safe.Lines([]byte(detail)) {
			s.item(label, m.th.Dim, l)
			label = ""
		}
	}
	s.item("about", m.th.Text, m.pen.name(al.Subject))
	if al.Kind == client.AlertRanUnasked {
		s.prose("next", m.th.Text, unaskedNext(m, al))
	}
	out = append(out, m.rule(nil, nil, w))
	return block(append(out, s.rows...), w, h)
}

// unaskedNext says what a person can do about what ran without being asked for.
func unaskedNext(m *Model, a client.Alert) string {
	text := first(m.keys.Act) + " says that you have seen it"
	if a.Subject != "" {
		text = first(m.keys.Open) + " opens the story of " + tail(a.Subject) + ", where " + first(m.keys.Undo) + " proposes to take it back; " + text
	}
	return text
}

// grave reports whether an alert is about more than what ran as the policy says.
func (a *alertsView) grave() bool {
	return slices.ContainsFunc(a.raised, func(v client.Alert) bool { return v.Kind != client.AlertRanUnasked })
}
