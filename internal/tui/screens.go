package tui

import (
	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"
)

// screen replaces the queue on the console: the history, the servers and so
// on. Each screen has a file of its own and one row in screenTable; nothing
// else refers to it.
type screen interface {
	// title is its name in the row of screens.
	title() string
	// update handles a message: visitMsg, pressMsg, tickMsg each second while
	// the screen is shown, and everything from commands or the daemon, also
	// while another screen is shown. The console has already handled the
	// message.
	update(m *Model, msg tea.Msg) tea.Cmd
	// draw returns at most h rows, each w cells wide.
	draw(m *Model, w, h int) []string
	// keys are its hints in the key line, in addition to those of every
	// screen.
	keys(m *Model) []hint
}

// typist is a screen with a line of text. While that is open, keys are
// letters.
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

// tellScreens passes a message to all screens.
func (m *Model) tellScreens(msg tea.Msg) tea.Cmd {
	var cmds []tea.Cmd
	for _, s := range m.screens {
		if cmd := s.update(m, msg); cmd != nil {
			cmds = append(cmds, cmd)
		}
	}
	return tea.Batch(cmds...)
}

// typing reports whether a text line of the shown screen takes the keys.
func (m *Model) typing() bool {
	t, ok := m.screen.(typist)
	return ok && m.story == nil && !m.helping && t.typing()
}

// tabs returns the row of screens, with the present one marked.
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
