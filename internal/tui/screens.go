package tui

import (
	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"
)

// screen is what fills the console in the place of the queue: the history, the
// servers and so on. Each stands in a file of its own and in one row of
// screenTable; nothing else knows it.
type screen interface {
	// title names it in the row of screens.
	title() string
	// update takes a message in: visitMsg, pressMsg, tickMsg each second while it is
	// shown, and whatever a command or the
	// daemon brings (also while another screen is shown). The console has taken it
	// in before.
	update(m *Model, msg tea.Msg) tea.Cmd
	// draw returns its rows, at most h of them, each of w cells.
	draw(m *Model, w, h int) []string
	// keys are those that the key line offers, beside the ones of every screen.
	keys(m *Model) []hint
}

// typist is a screen with a line of text; while it is open, keys are letters.
type typist interface{ typing() bool }

type (
	// visitMsg says that a screen was opened, or has to read again.
	visitMsg struct{}
	// pressMsg is a key for the screen that is shown. hasty says why it must decide
	// nothing; empty where it may.
	pressMsg struct {
		tea.KeyPressMsg
		hasty string
	}
)

// screenRow is one row of the table of screens: under which name keys.yaml gives
// it keys, its keys without that file, and a new one.
type screenRow struct {
	name string
	keys []string
	open func() screen
}

// screenTable lists the screens in the order of their tabs, behind the queue.
func screenTable() []screenRow {
	return []screenRow{
		{"history", []string{"2"}, func() screen { return &historyScreen{} }},
		{"audit", []string{"3"}, func() screen { return &auditScreen{} }},
		{"servers", []string{"4"}, func() screen { return &serversScreen{} }},
		{"switches", []string{"5"}, func() screen { return &switchesScreen{} }},
		{"figures", []string{"6"}, func() screen { return &statsScreen{} }},
		{"alerts", []string{"7", "!"}, func() screen { return &alertsScreen{} }},
		{"commands", []string{"8"}, func() screen { return &runningScreen{} }},
	}
}

// screenKey opens another screen, or goes back to the queue.
func (m *Model) screenKey(k tea.KeyPressMsg) (tea.Cmd, bool) {
	switch {
	case key.Matches(k, m.keys.Queue):
		return m.visit(nil), true
	case key.Matches(k, m.keys.Back) && m.story == nil && m.screen != nil:
		return m.visit(nil), true
	}
	for i, s := range m.screens {
		if key.Matches(k, m.keys.tabs[i]) {
			return m.visit(s), true
		}
	}
	return nil, false
}

// visit shows a screen, nil for the queue.
func (m *Model) visit(s screen) tea.Cmd {
	m.screen, m.story = s, nil
	m.arm.rearm()
	return m.reread()
}

// reread has the screen that is shown read again what it shows.
func (m *Model) reread() tea.Cmd {
	if m.screen == nil {
		return nil
	}
	return m.screen.update(m, visitMsg{})
}

// tellScreens hands a message to all screens.
func (m *Model) tellScreens(msg tea.Msg) tea.Cmd {
	var cmds []tea.Cmd
	for _, s := range m.screens {
		if cmd := s.update(m, msg); cmd != nil {
			cmds = append(cmds, cmd)
		}
	}
	return tea.Batch(cmds...)
}

// typing reports whether a line of the screen that is shown takes the keys.
func (m *Model) typing() bool {
	t, ok := m.screen.(typist)
	return ok && m.story == nil && !m.helping && t.typing()
}

// tabs is the row of screens, with the present one marked.
func (m *Model) tabs(w int) string {
	r := row{m.gap(1)}
	apart := 2
	if w < 90 {
		apart = 1
	}
	add := func(name string, b key.Binding, here bool) {
		st := m.th.Dim
		if here {
			st = m.th.Title.On(m.th.Selected)
		}
		if w >= 78 {
			r = append(r, seg{m.th.Key, m.pen.text(first(b))}, m.gap(1))
		} else if !here {
			return
		}
		r = append(r, seg{st, m.pen.text(name)}, m.gap(apart))
	}
	add("queue", m.keys.Queue, m.screen == nil)
	for i, s := range m.screens {
		add(s.title(), m.keys.tabs[i], s == m.screen)
	}
	return r.fit(w)
}
