package tui

import (
	"fmt"
	"path/filepath"

	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// queueRows returns the rows of the queue that fit into h.
func (m *Model) queueRows(w, h, x, y int) []string {
	from, to := m.queue.window(h)
	out := make([]string, 0, h)
	for i := from; i < to; i++ {
		r := m.queue.rows[i]
		if r.id == "" {
			out = append(out, m.groupRow(m.queue.groups[r.group], w))
			continue
		}
		m.hits = append(m.hits, hit{x, y + i - from, w, r.id})
		out = append(out, m.entryRow(m.queue.all[r.id], w))
	}
	return block(out, w, h)
}

// groupRow returns the title of a run: client, worktree, branch.
func (m *Model) groupRow(g group, w int) string {
	e := m.queue.all[m.queue.order[g.from]]
	by := e.RequestedBy
	sep := seg{m.th.Border, m.pen.text(" " + m.sign.dot + " ")}
	name := by.Client
	if name == "" {
		name = "unknown client"
	}
	left := row{m.gap(1), {m.th.Strong, m.pen.text(name)}}
	if by.Folder != "" {
		left = append(left, sep, seg{m.th.Text, m.pen.name(filepath.Base(by.Folder))})
		if b := m.branches[by.Folder]; b != "" {
			left = append(left, sep, seg{m.th.Accent, m.pen.name(b)})
		}
	}
	left = append(left, sep, seg{m.th.Dim, safetext.Concat(m.pen.text("run "), m.pen.name(tail(g.run)))})
	return ends(left, row{{m.th.Dim, m.pen.say(" %d ", g.n)}}, w).fit(w)
}

// entryRow returns one item of the queue.
func (m *Model) entryRow(e *entry, w int) string {
	here := e.ID == m.queue.cursor
	lead := row{m.gap(1)}
	if here {
		st := m.th.Dim
		if !m.pane.focus {
			st = m.th.Accent
		}
		lead = row{{st, m.pen.text(m.sign.cursor)}}
	}
	if _, on := m.queue.marked[e.ID]; on {
		lead = append(lead, seg{m.th.Fresh, m.pen.text(m.sign.mark)})
	} else {
		lead = append(lead, m.gap(1))
	}
	text := m.th.Text
	b := m.badge(e.Tier)
	if !e.waits(m.now()) {
		text, b.style = m.th.Dim, m.th.Dim
	}
	left := append(lead, b, m.gap(1), seg{text, m.pen.name(e.Tool)}, m.arrow(&e.Approval))
	st := m.state(e)
	right := row{m.gap(1)}
	if len(e.Hazards) > 0 {
		right = append(right, seg{m.th.Hazard, m.pen.say(" %s%d ", m.sign.hazard, len(e.Hazards))}, m.gap(1))
	}
	if w >= 60 && (e.Added > 0 || e.Removed > 0) {
		right = append(right, seg{m.th.Good, m.pen.say("+%d", e.Added)}, m.gap(1), seg{m.th.Bad, m.pen.say("-%d", e.Removed)}, m.gap(1))
	}
	right = append(right, seg{st.style, st.text.PadLeft(6)}, m.gap(1))
	room := w - left.width() - right.width()
	left = append(left, seg{text, m.aim(&e.Approval, room)})
	below := theme.Style{}
	if here {
		below = m.th.Selected
	}
	return ends(left, right, w).fitOn(w, below)
}

// part is a piece of the status line. If room is short, the least important
// pieces are left out first.
type part struct {
	row
	matters int
	first   bool // no dot before it
}

// statusRow returns the first row: pending and new approvals, and the daemon's
// state.
func (m *Model) statusRow() string {
	tiny := m.w < minWidth
	parts := m.statusParts()
	right := m.linkSegs(tiny)
	sep := seg{m.th.Border, m.pen.text(" " + m.sign.dot + " ")}
	for {
		left := row{m.gap(1)}
		for i, p := range parts {
			if i > 0 && !p.first {
				left = append(left, sep)
			}
			left = append(left, p.row...)
		}
		if left.width()+1+right.width() <= m.w || len(parts) <= 1 {
			return ends(left, right, m.w).fit(m.w)
		}
		least := 0
		for i, p := range parts {
			if p.matters < parts[least].matters {
				least = i
			}
		}
		parts = append(parts[:least], parts[least+1:]...)
	}
}

func (m *Model) statusParts() []part {
	now := m.now()
	c := m.queue.waitingCounts(now)
	parts := []part{{row: row{{m.th.Title, m.pen.text("mcpguard")}, m.gap(1)}, matters: 1}}
	add := func(matters int, st theme.Style, format string, args ...any) {
		parts = append(parts, part{row: row{{st, m.pen.say(format, args...)}}, matters: matters})
	}
	switch {
	case m.link.fatal != "" || !m.queue.ready:
	case c.total == 0:
		add(3, m.th.Dim, "nothing waiting")
		parts[1].first = true
	default:
		add(9, m.th.Strong, "%d waiting", c.total)
		parts[1].first = true
		tiers := part{matters: 4, first: true}
		for i, n := range c.tiers {
			if n == 0 {
				continue
			}
			tier := fmt.Sprintf("T%d", i)
			if i == 5 {
				tier = ""
			}
			tiers.row = append(tiers.row, m.gap(1), m.badge(tier), seg{m.th.Text, m.pen.say(" %d", n)})
		}
		parts = append(parts, tiers)
		d := c.next.Sub(now)
		if d > 0 {
			add(6, m.timeLook(d), "first expires in %s", clock(d))
		}
	}
	if n := len(m.queue.fresh); n > 0 {
		add(10, m.th.Fresh, "%d new: %s shows them", n, first(m.keys.Merge))
	}
	if n := len(m.queue.marked); n > 0 {
		add(5, m.th.Accent, "%d marked", n)
	}
	if !m.known {
		return parts
	}
	if n := len(m.alerts); n > 0 {
		st := m.th.SideEffect
		if m.alerts.grave() {
			st = m.th.Bad
		}
		add(8, st, "%s (%s)", plural(n, "alert"), first(m.keys.tab("alerts")))
	}
	if n := m.status.Unaccepted; n > 0 {
		add(4, m.th.Warn, "%s (%s)", plural(n, "new tool definition"), first(m.keys.tab("servers")))
	}
	if len(m.paused) > 0 {
		add(7, m.th.Warn, "paused (%s)", first(m.keys.tab("switches")))
	}
	if m.status.StoreProblem != "" {
		add(9, m.th.Bad, "nothing can run")
	} else if m.status.PolicyNone {
		add(9, m.th.Bad, "no policy: everything is denied")
	} else if m.status.PolicyProblem != "" {
		add(5, m.th.Warn, "new configuration not loaded")
	}
	return parts
}

// linkSegs shows whether the screen is up to date.
func (m *Model) linkSegs(tiny bool) row {
	var r row
	if m.known && !tiny {
		r = append(r, seg{m.th.Dim, m.pen.name(m.status.Level)}, m.gap(1))
	}
	switch {
	case m.link.fatal != "":
		r = append(r, seg{m.th.Bad, m.pen.text(m.sign.cross + " refused")})
	case m.link.live && m.link.syncing:
		r = append(r, seg{m.th.Dim, m.pen.text(m.sign.live + " loading")})
	case m.link.live:
		r = append(r, seg{m.th.Good, m.pen.text(m.sign.live)}, seg{m.th.Dim, m.pen.text(" live")})
	case m.link.since.IsZero():
		r = append(r, seg{m.th.Dim, m.pen.text(m.sign.live + " connecting")})
	default:
		r = append(r, seg{m.th.Bad, m.pen.say("%s no daemon for %s, retrying", m.sign.cross, clock(m.now().Sub(m.link.since)))})
	}
	return append(r, m.gap(1))
}
