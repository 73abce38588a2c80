package tui

import (
	tea "charm.land/bubbletea/v2"
)

// hit is an area of the last frame that a click selects.
type hit struct {
	x, y, w int
	id      string
}

// onClick selects, and decides nothing.
func (m *Model) onClick(at tea.Mouse) tea.Cmd {
	if m.dialog != nil || m.screen != nil || m.story != nil || m.helping || at.Button != tea.MouseLeft {
		return nil
	}
	for _, h := range m.hits {
		if at.Y == h.y && at.X >= h.x && at.X < h.x+h.w {
			m.queue.cursor = h.id
			m.pane.focus = false
			return m.settle()
		}
	}
	return nil
}

// onWheel scrolls what is under the pointer.
func (m *Model) onWheel(at tea.Mouse) tea.Cmd {
	delta := 3
	switch at.Button {
	case tea.MouseWheelUp:
		delta = -3
	case tea.MouseWheelDown:
	default:
		return nil
	}
	if m.screen == nil && m.story == nil && !m.helping && m.item != nil && m.item.view() != nil {
		m.item.view().Scroll(delta)
	}
	return nil
}
