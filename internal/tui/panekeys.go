package tui

import (
	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/tui/change"
)

// paneKey handles a key of the change.
func (m *Model) paneKey(k tea.KeyPressMsg) {
	keys := m.keys
	is := func(b key.Binding) bool { return key.Matches(k, b) }
	p := &m.pane
	switch {
	case is(keys.Zoom):
		p.zoom = !p.zoom
	case is(keys.Info):
		p.info, p.infoTop = !p.info, 0
	case is(keys.Wrap):
		p.cut = !p.cut
		m.restyle()
	case is(keys.Split):
		if m.sizes().itemW < change.MinSplit {
			m.say(info, "side by side needs %d columns for the change", change.MinSplit)
			return
		}
		on := !m.twoSides()
		p.split, p.unsplit = on, !on
		m.restyle()
	case is(keys.Raw):
		p.raw, p.document = !p.raw, false
		m.restyle()
	case is(keys.Document):
		p.document, p.raw = !p.document, false
		m.restyle()
	case p.info:
		m.infoKey(k)
	case m.item == nil || m.item.view() == nil:
	case is(keys.Search):
		p.search = &editor{max: 200}
	default:
		m.scrollKey(k, m.item.view())
	}
}

// infoKey handles a key of the information page.
func (m *Model) infoKey(k tea.KeyPressMsg) {
	is := func(b ...key.Binding) bool { return key.Matches(k, b...) }
	page := max(1, m.lay().pane-1)
	switch {
	case is(m.keys.LineDown, m.keys.Down):
		m.pane.infoTop++
	case is(m.keys.LineUp, m.keys.Up):
		m.pane.infoTop--
	case is(m.keys.PageDown, m.keys.HalfDown):
		m.pane.infoTop += page
	case is(m.keys.PageUp, m.keys.HalfUp):
		m.pane.infoTop -= page
	case is(m.keys.Top):
		m.pane.infoTop = 0
	case is(m.keys.Bottom):
		m.pane.infoTop = 1 << 20
	}
}

// scrollKey handles the movement keys of the change.
func (m *Model) scrollKey(k tea.KeyPressMsg, v *change.View) {
	keys := m.keys
	is := func(b key.Binding) bool { return key.Matches(k, b) }
	half := max(1, m.lay().pane/2)
	switch {
	case is(keys.LineDown), is(keys.Down):
		v.Scroll(1)
	case is(keys.LineUp), is(keys.Up):
		v.Scroll(-1)
	case is(keys.PageDown):
		v.Page(1)
	case is(keys.PageUp):
		v.Page(-1)
	case is(keys.HalfDown):
		v.Scroll(half)
	case is(keys.HalfUp):
		v.Scroll(-half)
	case is(keys.Top):
		v.Top()
	case is(keys.Bottom):
		v.Bottom()
	case is(keys.NextHunk):
		v.NextHunk()
	case is(keys.PrevHunk):
		v.PrevHunk()
	case is(keys.Fold):
		v.ToggleFold()
	case is(keys.UnfoldAll):
		v.UnfoldAll()
	case is(keys.NextMatch) && m.pane.pattern != "":
		v.NextMatch()
	case is(keys.PrevMatch) && m.pane.pattern != "":
		v.PrevMatch()
	}
}

// scroll scrolls the change while a dialog is open.
func (m *Model) scroll(key string) {
	v := m.item.pane
	switch key {
	case "pgdown":
		v.Page(1)
	case "pgup":
		v.Page(-1)
	case "ctrl+down":
		v.Scroll(1)
	case "ctrl+up":
		v.Scroll(-1)
	}
}

// searchKey handles a key of the search line.
func (m *Model) searchKey(k tea.KeyPressMsg) tea.Cmd {
	switch k.String() {
	case "esc", "ctrl+c":
		m.pane.search = nil
	case "enter":
		m.pane.pattern = m.pane.search.value()
		m.pane.search = nil
		if m.item == nil || m.item.view() == nil {
			return nil
		}
		v := m.item.view()
		if m.pane.pattern == "" {
			v.ClearSearch()
			return nil
		}
		m.pane.matches = v.Search(m.pane.pattern)
		if m.pane.matches == 0 {
			m.say(info, "no match for %q", m.pane.pattern)
			m.pane.pattern = ""
		}
	default:
		m.pane.search.key(k)
	}
	return nil
}
