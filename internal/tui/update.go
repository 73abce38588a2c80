package tui

import (
	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// Update is the one function that changes the state.
func (m *Model) Update(msg tea.Msg) (model tea.Model, cmd tea.Cmd) {
	defer func() {
		if v := recover(); v != nil {
			model, cmd = m, m.fails(caught(v))
		}
	}()
	m.calm.happened(msg)
	return m, safely(tea.Batch(m.update(msg), m.keepInputGuard()))
}

func (m *Model) update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.KeyPressMsg:
		return m.onKey(msg)
	case tea.PasteMsg:
		return m.onPaste(msg.Content)
	case tea.MouseClickMsg:
		return m.onClick(msg.Mouse())
	case tea.MouseWheelMsg:
		return m.onWheel(msg.Mouse())
	case tea.WindowSizeMsg:
		if msg.Width != m.w || msg.Height != m.h {
			sides := m.twoSides()
			m.w, m.h = msg.Width, msg.Height
			if m.twoSides() != sides {
				m.restyle()
			}
			m.arm.rearm()
		}
	case tea.FocusMsg:
		m.focused(true)
	case tea.BlurMsg:
		m.attention.blurred = true
	case tea.ResumeMsg:
		return m.wake()
	case tea.BackgroundColorMsg:
		if dark := msg.IsDark(); dark != m.th.Dark {
			m.th = theme.New(dark, m.cfg.Profile)
			m.restyle()
		}
	case crashMsg:
		return m.fails(msg.crash)
	case tickMsg:
		cmd := m.onTick()
		if m.screen != nil {
			cmd = tea.Batch(cmd, m.screen.update(m, msg))
		}
		return cmd
	case armMsg:
		m.arm.wait = false
	default:
		return tea.Batch(m.onAnswer(msg), m.tellScreens(msg))
	}
	return nil
}

// onAnswer handles the result of a command.
func (m *Model) onAnswer(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case eventsMsg:
		return m.onEvents(msg)
	case askMsg:
		if msg.gen == m.link.gen && !m.link.live {
			return m.call.ping(msg.gen)
		}
	case pingMsg:
		return m.onPing(msg)
	case syncedMsg:
		return m.onSynced(msg)
	case detailMsg:
		return m.onDetail(msg)
	case betweenMsg:
		return m.onBetween(msg)
	case decidedMsg:
		return m.onDecided(msg)
	case branchMsg:
		m.branches[msg.folder] = msg.branch
	case statusMsg:
		if msg.err == nil {
			m.status, m.known = msg.status, true
		}
	case alertsMsg:
		if msg.err == nil {
			m.alerts = msg.alerts
		}
	case undoMsg:
		m.onUndo(msg)
	case switchesMsg:
		return m.onSwitches(msg)
	case storyMsg:
		m.story.take(m, msg)
	case reasonsMsg:
		m.reasons.load(msg.reasons)
	case savedMsg:
		if msg.err != nil {
			m.say(warn, "your reason could not be saved for next time: %v", msg.err)
		}
	}
	return nil
}

// focused records that the terminal has the focus (again).
func (m *Model) focused(rearm bool) {
	m.attention.blurred = false
	if rearm {
		m.arm.rearm()
	}
}

// take handles one change of an approval.
func (m *Model) take(a client.Approval) tea.Cmd {
	now := m.now()
	_, known := m.queue.all[a.ID]
	m.queue.take(a, now)
	m.tell(a)
	var ring tea.Cmd
	if !known && a.Status == client.Pending {
		ring = m.attention.arrived(m.queue.waitingCounts(now), now)
	}
	if e := m.queue.all[a.ID]; e != nil && m.item != nil && m.item.id == a.ID {
		m.item.row = e
	}
	return tea.Batch(ring, m.checkDialog(), m.settle(), m.askBranches())
}

// expire drops what has expired by this program's clock.
func (m *Model) expire() { m.checkDialog() }

// askBranches requests the branch of each folder that is not known yet.
func (m *Model) askBranches() tea.Cmd {
	if m.cfg.Worktree == nil {
		return nil
	}
	var cmds []tea.Cmd
	for _, g := range m.queue.groups {
		folder := m.queue.all[m.queue.order[g.from]].RequestedBy.Folder
		if _, asked := m.branches[folder]; asked || folder == "" {
			continue
		}
		m.branches[folder] = ""
		cmds = append(cmds, m.call.branch(folder, m.cfg.Worktree))
	}
	return tea.Batch(cmds...)
}

// onPaste inserts pasted text into an open text line, and drops it everywhere
// else.
func (m *Model) onPaste(text string) tea.Cmd {
	m.press.pasted = m.now()
	switch {
	case m.dialog != nil && m.dialog.step != stepConfirm && !m.dialog.sent:
		if m.dialog.step == stepTarget || m.dialog.step == stepCount || m.dialog.step == stepUnread {
			m.dialog.why = "this must be typed, not pasted"
			return nil
		}
		m.dialog.input.insert(text)
	case m.pane.search != nil:
		m.pane.search.insert(text)
	default:
		m.say(info, "pasted text is ignored here")
	}
	return nil
}

// onKey handles a key press.
func (m *Model) onKey(k tea.KeyPressMsg) tea.Cmd {
	now := m.now()
	hasty := m.press.note(k, now)
	if m.notice.refusal {
		m.notice = notice{}
	}
	if m.attention.blurred {
		// Some terminals lose the focus event. A key implies focus, but must
		// not decide.
		m.focused(true)
	}
	keys := m.keys
	switch {
	case m.dialog != nil:
		return m.dialogKey(k, hasty)
	case m.pane.search != nil && m.screen == nil && m.story == nil:
		return m.searchKey(k)
	case m.typing():
		return m.screen.update(m, pressMsg{KeyPressMsg: k})
	case key.Matches(k, keys.Suspend):
		if !canSuspend() {
			m.refuse("there is no shell to return to; %s quits", first(keys.Quit))
			return nil
		}
		return tea.Suspend
	case m.helping:
		return m.helpKey(k)
	case key.Matches(k, keys.Quit):
		return tea.Quit
	case key.Matches(k, keys.Help):
		m.helping, m.help = true, list{}
		return nil
	case key.Matches(k, keys.Refresh):
		m.say(info, "reloading everything")
		return tea.Batch(tea.ClearScreen, m.wake(), m.reread())
	case key.Matches(k, keys.Mouse):
		m.mouse = !m.mouse
		if m.mouse {
			m.say(info, "mouse on; it selects, but never decides")
		} else {
			m.say(info, "mouse off")
		}
		return nil
	}
	if cmd, ok := m.screenKey(k); ok {
		return cmd
	}
	if m.story != nil {
		return m.storyKey(k, hasty)
	}
	if m.screen != nil {
		return m.screen.update(m, pressMsg{k, hasty})
	}
	return m.queueKey(k, hasty)
}

// queueKey handles a key while queue and change are shown.
func (m *Model) queueKey(k tea.KeyPressMsg, hasty string) tea.Cmd {
	keys := m.keys
	q := &m.queue
	is := func(b key.Binding) bool { return key.Matches(k, b) }
	switch {
	case is(keys.Approve):
		return m.decide(client.Allow, hasty)
	case is(keys.Deny):
		return m.decide(client.Deny, hasty)
	case is(keys.ApproveMarked):
		return m.decideMarked(client.Allow, hasty)
	case is(keys.DenyMarked):
		return m.decideMarked(client.Deny, hasty)
	case is(keys.Mark):
		return m.toggleMark()
	case is(keys.Up) && !m.pane.focus:
		q.move(-1)
	case is(keys.Down) && !m.pane.focus:
		q.move(1)
	case is(keys.Next):
		if !q.next(m.now()) && len(q.fresh) > 0 {
			q.join()
			q.next(m.now())
		}
	case is(keys.Merge):
		q.merge(m.now())
		return tea.Batch(m.settle(), m.askBranches())
	case is(keys.Focus):
		m.pane.focus = !m.pane.focus
	case is(keys.Open):
		if m.item != nil && !m.item.row.waits(m.now()) {
			return m.openStory(m.item.id)
		}
		m.pane.focus = m.item != nil
	case is(keys.Back):
		m.back()
	case is(keys.Compare):
		return m.compare()
	default:
		m.paneKey(k)
		return nil
	}
	return m.settle()
}

// back closes one thing at a time.
func (m *Model) back() {
	switch {
	case m.item != nil && m.item.between != nil:
		m.item.between = nil
	case m.pane.info:
		m.pane.info = false
	case m.pane.pattern != "":
		m.pane.pattern, m.pane.matches = "", 0
		if m.item != nil && m.item.view() != nil {
			m.item.view().ClearSearch()
		}
	case m.pane.zoom:
		m.pane.zoom = false
	case m.pane.focus:
		m.pane.focus = false
	case len(m.queue.marked) > 0:
		clear(m.queue.marked)
	}
	m.notice = notice{}
}
