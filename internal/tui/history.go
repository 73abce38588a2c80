package tui

import (
	"strings"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// historyView is the approvals that there were, the newest first.
type historyView struct {
	list
	gen     int
	all     []client.Approval
	shown   []int // of all, that the filter lets through
	next    string
	kind    int
	input   *editor // open filter line
	text    string
	loading bool
	err     string
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

const pageSize = 100

func (h *historyView) ask(m *Model) tea.Cmd {
	h.gen++
	h.loading = true
	return m.call.history(h.gen, client.Filter{Status: historyKinds[h.kind].status, Limit: pageSize})
}

func (h *historyView) take(msg historyMsg) {
	if msg.gen != h.gen {
		return
	}
	h.loading, h.err = false, ""
	if msg.err != nil {
		h.err = msg.err.Error()
		return
	}
	if !msg.more {
		h.all = nil
	}
	h.all, h.next = append(h.all, msg.page.Approvals...), msg.page.Next
	h.sift()
}

// sift applies the text filter.
func (h *historyView) sift() {
	h.shown = h.shown[:0]
	want := strings.ToLower(h.text)
	for i, a := range h.all {
		hay := strings.ToLower(strings.Join([]string{a.ID, a.RunID, a.Server, a.Tool, a.Target, a.Summary, a.Status, a.Tier, a.Tenant, a.Environment, a.RequestedBy.Client}, " "))
		if strings.Contains(hay, want) {
			h.shown = append(h.shown, i)
		}
	}
	h.resize(len(h.shown))
}

func (m *Model) historyKey(k tea.KeyPressMsg) tea.Cmd {
	h := &m.history
	if m.listKey(k, &h.list) {
		return nil
	}
	switch {
	case key.Matches(k, m.keys.Filter):
		h.kind = (h.kind + 1) % len(historyKinds)
		return h.ask(m)
	case key.Matches(k, m.keys.Search):
		h.input = &editor{max: 100}
		h.input.set(h.text)
	case key.Matches(k, m.keys.More) && h.next != "" && !h.loading:
		h.loading = true
		return m.call.history(h.gen, client.Filter{Status: historyKinds[h.kind].status, Limit: pageSize, After: h.next})
	case key.Matches(k, m.keys.Open) && h.n > 0:
		return m.openStory(h.all[h.shown[h.cursor]].ID)
	}
	return nil
}

// listKey moves in a list.
func (m *Model) listKey(k tea.KeyPressMsg, l *list) bool {
	page := max(1, m.h-5)
	switch {
	case key.Matches(k, m.keys.Down):
		l.move(1)
	case key.Matches(k, m.keys.Up):
		l.move(-1)
	case key.Matches(k, m.keys.PageDown):
		l.move(page)
	case key.Matches(k, m.keys.PageUp):
		l.move(-page)
	case key.Matches(k, m.keys.Top):
		l.move(-l.n)
	case key.Matches(k, m.keys.Bottom):
		l.move(l.n)
	default:
		return false
	}
	return true
}

func (m *Model) historyRows(w, h int) []string {
	v := &m.history
	out := []string{m.tabs(w), m.filterRow(historyKinds[v.kind].name, v.text, v.input, len(v.shown), v.next != "", v.loading, w)}
	if v.err != "" {
		return block(append(out, m.wrapped(m.th.Bad, v.err, w)...), w, h)
	}
	from, to := v.window(h - len(out))
	for i := from; i < to; i++ {
		out = append(out, m.pastRow(v.all[v.shown[i]], i == v.cursor, w))
	}
	return block(out, w, h)
}

// pastRow is one approval of the history.
func (m *Model) pastRow(a client.Approval, here bool, w int) string {
	lead, below := m.gap(1), theme.Style{}
	if here {
		lead, below = seg{m.th.Accent, m.pen.text(m.sign.cursor)}, m.th.Selected
	}
	at := a.RequestedAt.In(m.cfg.Zone).Format("Jan 02 15:04:05")
	left := row{lead, {m.th.Dim, m.pen.text(at)}, m.gap(1), {m.look(a.Status), m.pen.text(a.Status).Fit(9)}, m.gap(1), m.badge(a.Tier), m.gap(1),
		{m.th.Text, m.pen.name(a.Tool)}, {m.th.Dim, m.pen.text(" " + m.sign.arrow + " ")}}
	right := row{m.gap(1), {m.th.Dim, m.pen.name(tail(a.ID))}, m.gap(1)}
	left = append(left, seg{m.th.Text, m.pen.keepEnd(m.pen.name(a.Target), w-left.width()-right.width())})
	return ends(left, right, w).fitOn(w, below)
}

// tabs is the row of views, with the present one marked.
func (m *Model) tabs(w int) string {
	names := [views]string{"queue", "history", "audit", "servers", "switches", "figures", "alerts"}
	keys := [views]key.Binding{m.keys.Queue, m.keys.History, m.keys.Audit, m.keys.Servers, m.keys.Switches, m.keys.Figures, m.keys.Alerts}
	r := row{m.gap(1)}
	for i, n := range names {
		st := m.th.Dim
		if view(i) == m.view {
			st = m.th.Title.On(m.th.Selected)
		}
		if w >= 78 {
			r = append(r, seg{m.th.Key, m.pen.text(first(keys[i]))}, m.gap(1))
		} else if view(i) != m.view {
			continue
		}
		r = append(r, seg{st, m.pen.text(n)}, m.gap(2))
	}
	return r.fit(w)
}

// filterRow says what a list is filtered by.
func (m *Model) filterRow(kind, text string, input *editor, n int, more, loading bool, w int) string {
	title := row{{m.th.Dim, m.pen.text(kind)}}
	switch {
	case input != nil:
		title = append(title, seg{m.th.Prompt, m.pen.text(" / ")}, seg{m.th.Input, m.pen.text(input.value())}, seg{m.th.Prompt, m.pen.text("_")})
	case text != "":
		title = append(title, seg{m.th.Accent, m.pen.say(" / %s", text)})
	}
	count := plural2(n, "entry", "entries")
	if more {
		count += ", there are older ones"
	}
	if loading {
		count = "reading" + m.sign.ellipsis
	}
	return m.rule(title, row{{m.th.Dim, m.pen.text(count)}}, w)
}

// filtering is the open filter line of the present view, nil where none is.
func (m *Model) filtering() *editor {
	if m.story != nil || m.helping {
		return nil
	}
	switch m.view {
	case viewHistory:
		return m.history.input
	case viewAudit:
		return m.audit.input
	}
	return nil
}

func (m *Model) filterKey(k tea.KeyPressMsg) tea.Cmd {
	in := m.filtering()
	done := false
	switch k.String() {
	case "enter":
		done = true
	case "esc", "ctrl+c":
		in.set("")
		done = true
	default:
		in.key(k)
	}
	text := in.value()
	if m.view == viewHistory {
		m.history.text = text
		if done {
			m.history.input = nil
		}
		m.history.sift()
		return nil
	}
	m.audit.text = text
	if done {
		m.audit.input = nil
	}
	m.audit.sift()
	return nil
}
