package tui

import (
	"strings"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// historyScreen lists past approvals, newest first.
type historyScreen struct {
	filteredList[client.Approval]
	next string // where older approvals begin
}

// historyKinds are the filters, from all to the rare ones.
var historyKinds = []struct {
	name   string
	status []string
}{
	{"all", nil},
	{"executed", []string{client.Executed}},
	{"denied", []string{client.Denied}},
	{"expired or lapsed", []string{client.Expired, client.Lapsed}},
	{"stale or cancelled", []string{client.Stale, client.Cancelled}},
	{"failed or unknown", []string{client.Failed, client.Unknown}},
	{"open", []string{client.Pending, client.Approved, client.Executing}},
}

func (h *historyScreen) ask(m *Model) tea.Cmd {
	return m.call.history(h.filteredList.ask(), h.filter(""))
}

func (h *historyScreen) filter(after string) client.Filter {
	return client.Filter{Status: historyKinds[h.kind].status, Limit: pageSize, After: after}
}

func (h *historyScreen) take(msg historyMsg) {
	if h.filteredList.take(msg.gen, msg.page.Approvals, msg.more, msg.err, pastWords) {
		h.next, h.older = msg.page.Next, msg.page.Next != ""
	}
}

// pastWords returns what the filter searches.
func pastWords(a client.Approval) string {
	return strings.ToLower(strings.Join([]string{a.ID, a.RunID, a.Server, a.Tool, a.Target, a.Summary, a.Status, a.Tier, a.Tenant, a.Environment, a.RequestedBy.Client}, " "))
}

func (h *historyScreen) title() string { return "history" }

func (h *historyScreen) update(m *Model, msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case visitMsg:
		return h.ask(m)
	case historyMsg:
		h.take(msg)
	case pressMsg:
		return h.press(m, msg)
	}
	return nil
}

func (h *historyScreen) press(m *Model, k pressMsg) tea.Cmd {
	if h.typed(k.KeyPressMsg, pastWords) || m.listKey(k.KeyPressMsg, &h.list) {
		return nil
	}
	switch {
	case key.Matches(k, m.keys.Filter):
		h.kind = (h.kind + 1) % len(historyKinds)
		return h.ask(m)
	case key.Matches(k, m.keys.Search):
		h.search()
	case key.Matches(k, m.keys.More) && h.older && !h.loading:
		h.loading = true
		return m.call.history(h.gen, h.filter(h.next))
	case key.Matches(k, m.keys.Open):
		if a, ok := h.here(); ok {
			return m.openStory(a.ID)
		}
	case key.Matches(k, m.keys.Undo):
		if a, ok := h.here(); ok {
			return m.undo(&a, k.hasty)
		}
	}
	return nil
}

func (h *historyScreen) keys(m *Model) []hint {
	a, ok := h.here()
	return append(h.hints(m), hint{b: m.keys.Undo, say: "undo", on: ok && a.Status == client.Executed && m.link.live})
}

func (h *historyScreen) draw(m *Model, w, rows int) []string {
	return filteredRows(m, &h.filteredList, historyKinds[h.kind].name, m.pastRow, w, rows)
}

// pastRow is one approval of the history.
func (m *Model) pastRow(a client.Approval, here bool, w int) string {
	lead, below := m.gap(1), theme.Style{}
	if here {
		lead, below = seg{m.th.Accent, m.pen.text(m.sign.cursor)}, m.th.Selected
	}
	at := a.RequestedAt.In(m.cfg.Zone).Format("Jan 02 15:04:05")
	left := row{lead, {m.th.Dim, m.pen.text(at)}, m.gap(1), {m.look(a.Status), m.pen.text(a.Status).Fit(9)}, m.gap(1), m.badge(a.Tier), m.gap(1),
		{m.th.Text, m.pen.name(a.Tool)}, m.arrow(&a)}
	tag := row{m.gap(1)}
	if a.Post {
		tag = append(tag, seg{m.th.Warn, m.pen.text("unasked ")})
	} else if a.Undoes != "" {
		tag = append(tag, seg{m.th.Dim, m.pen.text("undo ")})
	}
	right := append(tag, seg{m.th.Dim, m.pen.name(tail(a.ID))}, m.gap(1))
	left = append(left, seg{m.th.Text, m.aim(&a, w-left.width()-right.width())})
	return ends(left, right, w).fitOn(w, below)
}
