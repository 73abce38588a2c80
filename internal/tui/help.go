package tui

import (
	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
)

// hint is one entry of the key line.
type hint struct {
	b   key.Binding
	say string
	on  bool
	// stays keeps the hint in the line when room is short.
	stays bool
}

// keyRow is the last row: the keys that work now.
func (m *Model) keyRow() string {
	hints := m.hints()
	paint := func(h hint) row {
		k, t := m.th.Key, m.th.KeyText
		if !h.on {
			k, t = m.th.KeyOff, m.th.KeyOff
		}
		return row{{k, m.pen.text(m.first(h.b))}, m.gap(1), {t, m.pen.text(h.say)}, m.gap(2)}
	}
	// The last hints, help and the way out, stay when room is short.
	var end row
	for len(hints) > 0 && hints[len(hints)-1].stays {
		end = append(paint(hints[len(hints)-1]), end...)
		hints = hints[:len(hints)-1]
	}
	r := row{m.gap(1)}
	for _, h := range hints {
		part := paint(h)
		if r.width()+part.width()+end.width() > m.w {
			break
		}
		r = append(r, part...)
	}
	return append(r, end...).fit(m.w)
}

// fixed returns a hint for a key that is not in the map, such as those of an
// input line.
func fixed(keys, say string) hint {
	return hint{b: key.NewBinding(key.WithKeys(keys)), say: say, on: true}
}

func (m *Model) hints() []hint {
	k := m.keys
	quit := hint{k.Quit, "quit", true, true}
	help := hint{k.Help, "keys", true, true}
	if d := m.dialog; d != nil {
		return m.dialogHints(d)
	}
	switch {
	case m.helping:
		return []hint{{b: k.Back, say: "back", on: true}, {b: k.Down, say: "down", on: true}, {b: k.Up, say: "up", on: true}, quit}
	case m.pane.search != nil || m.typing():
		return []hint{fixed("enter", "find"), fixed("esc", "back")}
	case m.story != nil:
		did := m.story.loaded && m.story.detail.Status == client.Executed
		return []hint{{b: k.Back, say: "back", on: true}, {b: k.PageDown, say: "more", on: true}, {b: k.Undo, say: "undo", on: did && m.link.live}, help, quit}
	case m.screen == nil:
		return m.queueHints(help, quit)
	}
	hints := append([]hint{{b: k.Back, say: "queue", on: true}}, m.screen.keys(m)...)
	return append(hints, help, quit)
}

func (m *Model) queueHints(help, quit hint) []hint {
	k := m.keys
	can := m.item != nil && m.refusal(client.Deny) == ""
	hints := []hint{{b: k.Approve, say: "approve", on: can && m.refusal(client.Allow) == ""}, {b: k.Deny, say: "deny", on: can}}
	if m.item == nil || !m.item.row.waits(m.now()) {
		hints = nil // there is nothing to decide, or nothing any more
	}
	if n := len(m.queue.fresh); n > 0 {
		hints = append(hints, hint{b: k.Merge, say: "show new", on: true})
	}
	if len(m.queue.marked) > 0 {
		hints = append(hints, hint{b: k.ApproveMarked, say: "approve marked", on: true}, hint{b: k.DenyMarked, say: "deny marked", on: true})
	}
	if it := m.item; it != nil {
		if it.row.Replaces != "" || it.row.ReplacedBy != "" || it.between != nil {
			hints = append(hints, hint{b: k.Compare, say: "compare", on: true})
		}
		if m.pane.pattern != "" {
			hints = append(hints, hint{b: k.NextMatch, say: "next match", on: true})
		}
		if !it.row.waits(m.now()) {
			hints = append(hints, hint{b: k.Open, say: "details", on: true}, hint{b: k.Next, say: "next pending", on: true})
		} else if m.pane.focus {
			hints = append(hints, hint{b: k.Back, say: "queue", on: true})
		} else {
			hints = append(hints, hint{b: k.Down, say: "next", on: m.queue.index() < len(m.queue.order)-1})
		}
		hints = append(hints, hint{b: k.PageDown, say: "more", on: true}, hint{b: k.NextHunk, say: "hunk", on: true}, hint{b: k.Zoom, say: "zoom", on: true}, hint{b: k.Mark, say: "mark", on: true})
	}
	hints = append(hints, hint{b: k.tab("history"), say: "history", on: true})
	return append([]hint{}, append(hints, help, quit)...)
}

func (m *Model) dialogHints(d *dialog) []hint {
	if d.sent {
		return nil
	}
	if d.broken != "" {
		return []hint{fixed("esc", "back")}
	}
	say := "continue"
	if d.step == d.steps[len(d.steps)-1] {
		say = map[purpose]string{forItem: "approve", forBatch: "approve all", forPause: "pause", forResume: "resume"}[d.purpose]
		if d.word == client.Deny {
			say = "deny"
		}
	}
	enter := fixed("enter", say)
	enter.on = d.left(m.now()) == 0
	hints := []hint{enter, fixed("esc", "cancel")}
	if d.step == stepReason && len(d.choices) > 0 {
		hints = append(hints, fixed("down", "earlier reasons"))
	}
	if d.purpose == forItem {
		hints = append(hints, fixed("pgdown", "more"))
	}
	return hints
}

func (m *Model) helpKey(k tea.KeyPressMsg) tea.Cmd {
	switch {
	case key.Matches(k, m.keys.Back, m.keys.Help):
		m.helping = false
		m.arm.rearm()
	case key.Matches(k, m.keys.Down, m.keys.LineDown):
		m.help.move(1)
	case key.Matches(k, m.keys.Up, m.keys.LineUp):
		m.help.move(-1)
	case key.Matches(k, m.keys.PageDown):
		m.help.move(m.h - 4)
	case key.Matches(k, m.keys.PageUp):
		m.help.move(4 - m.h)
	case key.Matches(k, m.keys.Quit):
		return tea.Quit
	}
	return nil
}

// helpColumn is the width in cells of a key with its description and name.
const helpColumn = 68

// helpRows returns the key map, in two columns if there is room.
func (m *Model) helpRows(w, h int) []string {
	two := w >= 2*helpColumn
	col := w
	if two {
		col = w / 2
	}
	var rows []row
	section := ""
	for _, n := range m.keys.table() {
		if len(n.binding.Keys()) == 0 {
			continue
		}
		if n.section != section {
			if section != "" {
				rows = append(rows, row{})
			}
			section = n.section
			rows = append(rows, row{m.gap(2), {m.th.Title, m.pen.text(section)}})
		}
		help := n.binding.Help()
		keys := row{m.gap(2), {m.th.Key, m.pen.text(m.spell(n.binding.Keys())).Fit(14)}, m.gap(1)}
		if col >= helpColumn {
			rows = append(rows, ends(append(keys, seg{m.th.Text, m.pen.text(help.Desc)}), row{{m.th.Dim, m.pen.text(n.name)}, m.gap(2)}, col))
		} else {
			rows = append(rows, append(keys, seg{m.th.Text, m.pen.text(help.Desc)}))
		}
	}
	text := "Enter and Esc never decide. A change can be decided after it has been on the screen for 0.4 s, or 1 s at T3 and T4. " +
		"To change keys, edit keys.yaml beside the configuration; use the names"
	if col >= helpColumn {
		text += " on the right, for example approve: [y]"
	} else {
		text += " that a wider window shows here, for example approve: [y]"
	}
	rows = append(rows, row{})
	for _, l := range m.pen.wrap(text, max(8, col-4)) {
		rows = append(rows, row{m.gap(2), {m.th.Dim, l}})
	}
	out := []string{m.rule(row{{m.th.Title, m.pen.text("keys")}}, nil, w)}
	if two {
		half := (len(rows) + 1) / 2
		for half < len(rows) && len(rows[half]) > 0 { // between sections
			half++
		}
		left, right := rows[:half], rows[min(half+1, len(rows)):]
		m.help.resize(max(1, max(len(left), len(right))-(h-2)))
		for i := range max(len(left), len(right)) {
			var l, r row
			if i < len(left) {
				l = left[i]
			}
			if i < len(right) {
				r = right[i]
			}
			out = append(out, l.fit(w/2)+r.fit(w-w/2))
		}
	} else {
		m.help.resize(max(1, len(rows)-(h-2)))
		for _, r := range rows {
			out = append(out, r.fit(w))
		}
	}
	return block(append(out[:1:1], out[1+min(m.help.cursor, len(out)-1):]...), w, h)
}
