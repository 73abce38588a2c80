package tui

import (
	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
)

// undo proposes to revert an executed change. The proposal is a new approval
// that waits in the queue and is decided there.
func (m *Model) undo(a *client.Approval, hasty string) tea.Cmd {
	switch {
	case hasty != "":
		m.refuse("%s", hasty)
	case a.Status != client.Executed:
		m.refuse("it is %s; only executed changes can be undone", a.Status)
	case !m.link.live:
		m.refuse("the daemon does not answer; nothing was sent")
	default:
		m.say(info, "preparing the undo of %s", tail(a.ID))
		return m.call.undo(a.ID)
	}
	return nil
}

func (m *Model) onUndo(msg undoMsg) {
	if msg.err != nil {
		m.say(bad, "%s cannot be undone: %v", tail(msg.of), msg.err)
		return
	}
	m.say(good, "%s would undo %s and is pending: press %s, then %s", tail(msg.fresh.ID), tail(msg.of), first(m.keys.Queue), first(m.keys.Merge))
}
