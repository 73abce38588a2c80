package tui

import (
	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// switchesScreen lists what can be paused: everything, a server, a tool.
type switchesScreen struct {
	list
	servers []client.Server
	rows    []switchRow
	sets    map[string]client.Switch
}

type switchRow struct {
	scope string
	depth int
	set   bool
	tier  string
}

func (s *switchesScreen) set(list []client.Switch) {
	s.sets = map[string]client.Switch{}
	for _, w := range list {
		s.sets[w.Scope] = w
	}
	for i := range s.rows {
		_, s.rows[i].set = s.sets[s.rows[i].scope]
	}
}

// lay lists the scopes; a switch for something that is no longer configured
// stays in the list.
func (s *switchesScreen) lay(servers []client.Server, list []client.Switch) {
	s.rows = []switchRow{{}}
	seen := map[string]bool{"": true}
	for _, sv := range servers {
		s.rows = append(s.rows, switchRow{scope: sv.Name, depth: 1})
		seen[sv.Name] = true
		for _, t := range sv.Tools {
			scope := sv.Name + "/" + t.Name
			s.rows = append(s.rows, switchRow{scope: scope, depth: 2, tier: t.Tier})
			seen[scope] = true
		}
	}
	for _, w := range list {
		if !seen[w.Scope] {
			s.rows = append(s.rows, switchRow{scope: w.Scope, depth: 1})
		}
	}
	s.set(list)
	s.resize(len(s.rows))
}

func (s *switchesScreen) here() switchRow {
	if s.cursor < len(s.rows) {
		return s.rows[s.cursor]
	}
	return switchRow{}
}

func (m *Model) scopeName(scope string) safetext.Line {
	if scope == "" {
		return m.pen.text("everything")
	}
	return m.pen.name(scope)
}

func (s *switchesScreen) title() string { return "switches" }

func (s *switchesScreen) update(m *Model, msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case visitMsg:
		return tea.Batch(m.call.servers(), m.call.switches())
	case serversMsg:
		if msg.err == nil {
			s.servers = msg.servers
		}
		s.lay(s.servers, m.paused)
	case switchesMsg, syncedMsg:
		s.lay(s.servers, m.paused)
	case pressMsg:
		return s.press(m, msg)
	}
	return nil
}

func (s *switchesScreen) keys(m *Model) []hint {
	say := "pause"
	if s.here().set {
		say = "resume"
	}
	return []hint{{b: m.keys.Act, say: say, on: m.link.live}}
}

func (s *switchesScreen) press(m *Model, k pressMsg) tea.Cmd {
	hasty := k.hasty
	if m.listKey(k.KeyPressMsg, &s.list) {
		return nil
	}
	if !key.Matches(k, m.keys.Act) || len(s.rows) == 0 {
		return nil
	}
	if !m.link.live {
		m.refuse("the daemon does not answer; what is shown may be out of date")
		return nil
	}
	r := s.here()
	d := &dialog{scope: r.scope, tool: r.scope, row: &entry{}, after: armAfter}
	if r.set {
		if hasty != "" {
			m.refuse("%s", hasty)
			return nil
		}
		d.purpose, d.word, d.steps = forResume, client.Allow, []step{stepConfirm}
	} else {
		d.purpose, d.word, d.steps = forPause, "pause", []step{stepReason}
	}
	m.open(d)
	if d.purpose == forPause {
		d.choices = append(m.reasons.by["pause "+d.tool], "something is off, looking into it", "no changes for now")
	}
	return m.call.later(armStep, armMsg{})
}

func (m *Model) onSwitches(msg switchesMsg) tea.Cmd {
	if msg.err != nil {
		if msg.change != "" {
			m.say(bad, "not %s: %v", msg.change, msg.err)
		}
		return nil
	}
	m.paused = msg.list
	if msg.change != "" {
		m.say(good, "%s", msg.change)
	}
	return nil
}

func (s *switchesScreen) draw(m *Model, w, h int) []string {
	out := []string{m.tabs(w), m.rule(row{{m.th.Dim, m.pen.text("a pause stops new calls at once; calls that already run are not interrupted")}}, nil, w)}
	from, to := s.window(h - len(out))
	for i := from; i < to; i++ {
		r := s.rows[i]
		lead, below := m.gap(1), theme.Style{}
		if i == s.cursor {
			lead, below = seg{m.th.Accent, m.pen.text(m.sign.cursor)}, m.th.Selected
		}
		left := row{lead, m.gap(1 + 2*r.depth)}
		if r.set {
			left = append(left, seg{m.th.Hazard, m.pen.text(" paused ")}, m.gap(1))
		} else {
			left = append(left, seg{m.th.Good, m.pen.text(m.sign.live)}, m.gap(1))
		}
		if r.tier != "" {
			left = append(left, m.badge(r.tier), m.gap(1))
		}
		left = append(left, seg{m.th.Text, m.scopeName(r.scope)})
		if r.set {
			w := s.sets[r.scope]
			left = append(left, m.gap(2), seg{m.th.Warn, m.pen.text(w.Reason)}, m.gap(1), seg{m.th.Dim, m.pen.say("by %s, %s", w.By, m.stamp(w.At))})
		}
		out = append(out, left.fitOn(w, below))
	}
	return block(out, w, h)
}
