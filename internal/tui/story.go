package tui

import (
	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/tui/change"
)

// storyView shows the history of one approval: who asked, what would change,
// who decided what, the outcome, and every record about it.
type storyView struct {
	id      string
	loaded  bool
	err     string
	detail  client.Detail
	records []record
	pane    *change.View
	top     int
	diff    bool // shows the change instead of the history
}

// openStory opens the history of an approval over the present view.
func (m *Model) openStory(id string) tea.Cmd {
	m.story = &storyView{id: id}
	m.arm.rearm()
	return m.call.story(id)
}

func (s *storyView) take(m *Model, msg storyMsg) {
	if s == nil || s.id != msg.id {
		return
	}
	if msg.err != nil {
		s.err = msg.err.Error()
		return
	}
	s.loaded, s.detail, s.records = true, msg.detail, nil
	for _, r := range msg.records.Records {
		s.records = append(s.records, readRecord(r))
	}
	s.pane = change.New(msg.detail, m.options())
}

func (m *Model) storyKey(k tea.KeyPressMsg, hasty string) tea.Cmd {
	s := m.story
	is := func(b key.Binding) bool { return key.Matches(k, b) }
	page := max(1, m.h-5)
	switch {
	case is(m.keys.Back) && s.diff:
		s.diff = false
	case is(m.keys.Back):
		m.story = nil
		m.arm.rearm()
	case is(m.keys.Open), is(m.keys.Focus), is(m.keys.Zoom):
		s.diff = !s.diff && s.loaded
	case is(m.keys.Undo) && s.loaded:
		return m.undo(&s.detail.Approval, hasty)
	case s.diff && s.pane != nil:
		m.scrollKey(k, s.pane)
	case is(m.keys.Down), is(m.keys.LineDown):
		s.top++
	case is(m.keys.Up), is(m.keys.LineUp):
		s.top--
	case is(m.keys.PageDown):
		s.top += page
	case is(m.keys.PageUp):
		s.top -= page
	case is(m.keys.Top):
		s.top = 0
	}
	return nil
}

func (m *Model) storyRows(w, h int) []string {
	s := m.story
	title := row{{m.th.Title, m.pen.text("details of ")}, {m.th.Title, m.pen.name(tail(s.id))}}
	switch {
	case s.err != "":
		return block(append([]string{m.rule(title, nil, w)}, m.wrapped(m.th.Bad, s.err, w)...), w, h)
	case !s.loaded:
		return block([]string{m.rule(title, nil, w), row{m.gap(1), {m.th.Dim, m.pen.text("reading" + m.sign.ellipsis)}}.fit(w)}, w, h)
	}
	other := seg{m.th.Dim, m.pen.say("%s shows the change", first(m.keys.Open))}
	if s.diff {
		other.text = m.pen.say("%s shows the details", first(m.keys.Open))
	}
	head := m.rule(append(title, m.gap(1), m.badge(s.detail.Tier), m.gap(1), seg{m.look(s.detail.Status), m.pen.text(s.detail.Status)}), row{other}, w)
	if s.diff {
		s.pane.SetOptions(m.options())
		s.pane.SetSize(w, h-1)
		return block(append([]string{head}, s.pane.Render()...), w, h)
	}
	sh := &sheet{m: m, w: w}
	m.outcome(sh, s.detail)
	if len(sh.rows) > 0 {
		sh.blank()
	}
	m.describe(sh, s.detail)
	sh.blank()
	sh.rows = append(sh.rows, m.rule(row{{m.th.Dim, m.pen.say("audit log: %s", plural(len(s.records), "record"))}}, nil, w))
	for _, r := range s.records {
		sh.rows = append(sh.rows, m.recordRow(r, false, w))
	}
	s.top = max(0, min(s.top, len(sh.rows)-(h-1)))
	return block(append([]string{head}, sh.rows[s.top:]...), w, h)
}
