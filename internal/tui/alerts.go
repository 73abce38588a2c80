package tui

import (
	"slices"
	"strings"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// alerts are what a human must see.
type alerts []client.Alert

// grave reports whether any alert is about more than changes that ran as the
// policy allows.
func (a alerts) grave() bool {
	return slices.ContainsFunc(a, func(v client.Alert) bool { return v.Kind != client.AlertRanUnasked })
}

// alertsScreen lists the alerts.
type alertsScreen struct{ list }

// here returns the alert under the cursor.
func (a *alertsScreen) here(m *Model) (v client.Alert, ok bool) {
	if a.resize(len(m.alerts)); a.n == 0 {
		return v, false
	}
	return m.alerts[a.cursor], true
}

func (a *alertsScreen) title() string { return "alerts" }

func (a *alertsScreen) update(m *Model, msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case visitMsg:
		return m.call.alerts()
	case acknowledgedMsg:
		if msg.err != nil {
			m.say(bad, "not acknowledged: %v", msg.err)
		} else {
			m.say(good, "acknowledged")
		}
		return m.call.alerts()
	case pressMsg:
		return a.press(m, msg)
	}
	return nil
}

func (a *alertsScreen) keys(m *Model) []hint {
	here, ok := a.here(m)
	return []hint{{b: m.keys.Open, say: "details", on: ok && here.Subject != ""}, {b: m.keys.Act, say: "acknowledge", on: ok && m.link.live}}
}

func (a *alertsScreen) press(m *Model, k pressMsg) tea.Cmd {
	here, ok := a.here(m)
	if m.listKey(k.KeyPressMsg, &a.list) || !ok {
		return nil
	}
	switch {
	case key.Matches(k, m.keys.Act) && k.hasty != "":
		m.refuse("%s", k.hasty)
	case key.Matches(k, m.keys.Act):
		return m.call.acknowledge(here.ID)
	case key.Matches(k, m.keys.Open) && here.Subject != "":
		return m.openStory(here.Subject)
	}
	return nil
}

func (a *alertsScreen) draw(m *Model, w, h int) []string {
	al, ok := a.here(m)
	out := []string{m.tabs(w), m.rule(row{{m.th.Dim, m.pen.say("%s not acknowledged", plural(a.n, "alert"))}}, nil, w)}
	if !ok {
		out = append(out, row{m.gap(1), {m.th.Good, m.pen.text(m.sign.check + " no alerts")}}.fit(w))
		return block(out, w, h)
	}
	room := min(a.n, max(1, (h-3)/2))
	from, to := a.window(room)
	for i := from; i < to; i++ {
		lead, below := m.gap(1), theme.Style{}
		if i == a.cursor {
			lead, below = seg{m.th.Accent, m.pen.text(m.sign.cursor)}, m.th.Selected
		}
		al := m.alerts[i]
		sign := seg{m.th.Hazard, m.pen.text(" " + m.sign.hazard + " ")}
		if al.Kind == client.AlertRanUnasked { // informs only
			sign = seg{m.th.SideEffect, m.pen.text(" " + m.sign.bullet + " ")}
		}
		left := row{lead, m.gap(1), sign, m.gap(1), {m.th.Text, m.pen.text(al.Text)}}
		out = append(out, ends(left, row{m.gap(1), {m.th.Dim, m.pen.text(m.stamp(al.At))}, m.gap(1)}, w).fitOn(w, below))
	}
	s := &sheet{m: m, w: w}
	s.item("kind", m.th.Text, m.pen.name(al.Kind))
	s.prose("what", m.th.Text, al.Text)
	label, detail := "detail", clip(al.Detail, 16<<10)
	if al.Kind == client.AlertRanUnasked { // the daemon's own sentences; other texts are untrusted
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

// unaskedNext says what a person can do about changes that ran without
// approval.
func unaskedNext(m *Model, a client.Alert) string {
	text := first(m.keys.Act) + " acknowledges it"
	if a.Subject != "" {
		text = first(m.keys.Open) + " opens the details of " + tail(a.Subject) + ", where " + first(m.keys.Undo) + " proposes an undo; " + text
	}
	return text
}
