package tui

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// View paints a frame, and records what can be decided from it.
func (m *Model) View() (v tea.View) {
	defer func() {
		if e := recover(); e != nil {
			m.fails(caught(e))
			m.stop()
			v = tea.NewView("")
		}
	}()
	m.hits = m.hits[:0]
	now := m.now()
	rows, cursor, shown := m.frame()
	if shown {
		m.arm.paint(subject{id: m.item.id, digest: m.item.detail.Digest, print: m.item.print, w: m.w, h: m.h, zoom: m.pane.zoom}, now)
	} else {
		m.arm.nothing()
	}
	if d := m.dialog; d != nil && d.painted.IsZero() {
		d.painted = now
	}
	v = tea.NewView(strings.Join(rows, "\n"))
	v.AltScreen = true
	v.ReportFocus = true
	v.KeyboardEnhancements.ReportEventTypes = true // distinguishes a held key from a pressed one
	v.WindowTitle = title(m.queue.waitingCounts(now), m.link.live || m.link.since.IsZero())
	if m.mouse {
		v.MouseMode = tea.MouseModeCellMotion
	}
	if cursor != nil {
		v.Cursor = tea.NewCursor(cursor.x, cursor.y)
		v.Cursor.Blink = false
	}
	return v
}

// frame returns exactly h rows, the position of the input cursor, and whether
// the item's change is among them, so that it can be decided.
func (m *Model) frame() (rows []string, cursor *spot, shown bool) {
	if m.w <= 0 || m.h <= 0 {
		return nil, nil, false
	}
	body := m.bodyRows()
	switch {
	case m.h < 4:
		return block([]string{m.statusRow()}, m.w, m.h), nil, false
	case m.helping:
		rows = m.helpRows(m.w, body)
	case m.story != nil:
		rows = m.storyRows(m.w, body)
	case m.screen != nil:
		rows = m.screen.draw(m, m.w, body)
	default:
		rows, cursor, shown = m.queueFrame()
	}
	if m.dialog != nil && (m.screen != nil || m.story != nil) {
		d, at := m.dialogRows(m.w, body)
		d = d[:min(len(d), body)]
		rows = append(block(rows, m.w, body-len(d)), d...)
		if at != nil {
			cursor = &spot{at.x, at.y + 1 + body - len(d)}
		}
	}
	out := append(make([]string, 0, m.h), m.statusRow())
	out = append(out, block(rows, m.w, body)...)
	return append(append(out, m.noticeRows()...), m.keyRow()), cursor, shown
}

// queueFrame shows the queue and the item under its cursor.
func (m *Model) queueFrame() (rows []string, cursor *spot, shown bool) {
	if d := m.dialog; d != nil && d.purpose == forBatch {
		return m.batchFrame()
	}
	l := m.lay()
	if m.item == nil {
		rows = m.emptyRows(m.w, l.bodyH)
	} else {
		var items []string
		items, shown = m.itemRows(l)
		switch {
		case l.queueH > 0 && l.wide:
			left := m.queueRows(l.queueW, l.queueH, 0, 1)
			bar := m.th.Border.Render(m.pen.text(m.sign.bar))
			for i := range l.bodyH {
				rows = append(rows, left[i]+bar+items[i])
			}
		case l.queueH > 0:
			rows = append(m.queueRows(l.queueW, l.queueH, 0, 1), items...)
		default:
			rows = items
		}
	}
	rows = append(block(rows, m.w, l.bodyH), l.dialog...)
	if l.cursor != nil {
		cursor = &spot{l.cursor.x, l.cursor.y + 1 + l.bodyH}
	}
	return rows, cursor, shown
}

// itemRows returns head and change of the item, and whether the change is
// shown.
func (m *Model) itemRows(l layout) (rows []string, shown bool) {
	it := m.item
	rows = append(rows, l.head...)
	if l.pane == 0 {
		return block(rows, l.itemW, l.itemH), false
	}
	v := it.view()
	var body []string
	switch {
	case it.err != "":
		body = m.wrapped(m.th.Bad, "This change cannot be shown: "+it.err, l.itemW)
	case v == nil:
		body = []string{row{{m.th.Dim, m.pen.text(" loading the change" + m.sign.ellipsis)}}.fit(l.itemW)}
	case m.pane.info:
		body = m.infoRows(l.itemW, l.pane)
	case it.detail.Diff.Pruned:
		body = []string{row{{m.th.Dim, m.pen.text(" the content is no longer stored")}}.fit(l.itemW)}
	default:
		v.SetSize(l.itemW, l.pane)
		body = v.Render()
		shown = it.between == nil && l.pane >= 2
	}
	rows = append(rows, m.paneRule(l.itemW))
	rows = append(rows, block(body, l.itemW, l.pane)...)
	return block(rows, l.itemW, l.itemH), shown
}

// wrapped returns a paragraph in rows of cols cells.
func (m *Model) wrapped(st theme.Style, text string, cols int) []string {
	var out []string
	for _, l := range m.pen.wrap(text, max(1, cols-2)) {
		out = append(out, row{{theme.Style{}, m.pen.text(" ")}, {st, l}}.fit(cols))
	}
	return out
}

// emptyRows is shown while nothing is pending.
func (m *Model) emptyRows(w, h int) []string {
	text := []row{}
	add := func(st theme.Style, l safetext.Line) { text = append(text, row{{st, l}}) }
	switch {
	case m.link.fatal != "":
		add(m.th.Bad, m.pen.text("The console cannot go on"))
		for _, l := range m.pen.wrap(m.link.fatal, max(1, min(w-4, 90))) {
			add(m.th.Text, l)
		}
	case !m.queue.ready:
		add(m.th.Dim, m.pen.text("connecting to the daemon"+m.sign.ellipsis))
	default:
		add(m.th.Good, m.pen.text(m.sign.check+" Nothing is waiting for you."))
		for _, l := range m.pen.wrap("When an agent wants to change something, it appears here.", max(1, w-2)) {
			add(m.th.Dim, l)
		}
		if m.known {
			if n := m.status.Unaccepted; n > 0 {
				add(m.th.Warn, m.pen.say("%s, hidden from agents until accepted (%s lists them).", plural(n, "tool"), first(m.keys.tab("servers"))))
				add(m.th.Dim, m.pen.text("Review them with: mcpguardd accept SERVER --show"))
			}
			add(m.th.Text, safetext.Line{})
			add(m.th.Dim, m.pen.say("%s open, level %s", plural(m.status.Sessions, "session"), m.status.Level))
			for _, l := range m.pen.wrap(m.status.Claim, max(1, min(w-4, 72))) {
				add(m.th.Dim, l)
			}
		}
	}
	rows := make([]string, 0, h)
	for range max(0, (h-len(text))/2) {
		rows = append(rows, row(nil).fit(w))
	}
	for _, r := range text {
		pad := safetext.Line{}.Pad(max(0, (w-r.width())/2))
		rows = append(rows, append(row{{theme.Style{}, pad}}, r...).fit(w))
	}
	return block(rows, w, h)
}

// maxNotice is the largest number of rows of a notice.
const maxNotice = 3

// bodyRows returns the number of rows between the status line and the notice.
func (m *Model) bodyRows() int { return max(0, m.h-2-len(m.noticeText())) }

// noticeText returns the last notice in as many rows as it needs and may take;
// one empty row if there is none. Beside a dialog and on a small screen it has
// only one row, so that the change keeps its rows.
func (m *Model) noticeText() []safetext.Line {
	n := m.notice.text
	room := m.w - 6
	if m.dialog != nil || m.w < minWidth || m.h < minHeight || n.Width() <= room {
		return []safetext.Line{n.Truncate(max(0, room))}
	}
	lines := m.pen.wrap(m.notice.said, room)
	if len(lines) > maxNotice {
		lines = lines[:maxNotice]
		lines[maxNotice-1] = safetext.Concat(lines[maxNotice-1].Truncate(room-3), m.pen.text(m.sign.ellipsis))
	}
	return lines
}

// noticeRows returns the rows above the keys: the last notice, or else a rule.
func (m *Model) noticeRows() []string {
	n := m.notice
	if n.text.Width() == 0 {
		return []string{m.rule(nil, nil, m.w)}
	}
	st := map[level]theme.Style{info: m.th.Dim, good: m.th.Good, warn: m.th.Warn, bad: m.th.Bad}[n.level]
	var rows []string
	for i, l := range m.noticeText() {
		if i == 0 {
			rows = append(rows, m.rule(row{{st, l}}, nil, m.w))
		} else {
			rows = append(rows, row{m.gap(2), {st, l}}.fit(m.w))
		}
	}
	return rows
}

// look returns the style of a status.
func (m *Model) look(status string) theme.Style {
	switch status {
	case client.Pending:
		return m.th.Accent
	case client.Approved, client.Executing, client.Executed:
		return m.th.Good
	case client.Denied, client.Failed, client.Unknown:
		return m.th.Bad
	case client.Stale, client.Expired, client.Lapsed:
		return m.th.Warn
	}
	return m.th.Dim
}
