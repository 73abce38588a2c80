package tui

import (
	"fmt"
	"strings"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// serversScreen lists the configured servers and their sessions.
type serversScreen struct {
	list
	servers  []client.Server
	sessions []client.Session
	loaded   bool
	err      string
	top      int // first row of the part about the server
}

func (s *serversScreen) take(msg serversMsg) {
	s.loaded, s.err = true, ""
	if msg.err != nil {
		s.err = msg.err.Error()
		return
	}
	s.servers, s.sessions = msg.servers, msg.sessions
	s.resize(len(s.servers))
}

func (s *serversScreen) title() string { return "servers" }

func (s *serversScreen) update(m *Model, msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case visitMsg:
		return m.call.servers()
	case client.Event:
		if msg.Kind == client.EventSession && m.screen == screen(s) {
			return m.call.servers()
		}
	case serversMsg:
		s.take(msg)
	case pressMsg:
		s.press(m, msg)
	}
	return nil
}

func (s *serversScreen) keys(m *Model) []hint {
	return []hint{{b: m.keys.PageDown, say: "more", on: true}, {b: m.keys.Refresh, say: "reload", on: true}}
}

func (s *serversScreen) press(m *Model, k pressMsg) {
	is := func(b key.Binding) bool { return key.Matches(k, b) }
	switch {
	case is(m.keys.Down):
		s.move(1)
		s.top = 0
	case is(m.keys.Up):
		s.move(-1)
		s.top = 0
	case is(m.keys.LineDown):
		s.top++
	case is(m.keys.LineUp):
		s.top--
	case is(m.keys.PageDown):
		s.top += max(1, m.h/2)
	case is(m.keys.PageUp):
		s.top -= max(1, m.h/2)
	}
}

func (s *serversScreen) draw(m *Model, w, h int) []string {
	out := []string{m.tabs(w)}
	switch {
	case s.err != "":
		return block(append(out, m.wrapped(m.th.Bad, s.err, w)...), w, h)
	case !s.loaded:
		return block(append(out, row{m.gap(1), {m.th.Dim, m.pen.text("reading" + m.sign.ellipsis)}}.fit(w)), w, h)
	case s.n == 0:
		return block(append(out, row{m.gap(1), {m.th.Dim, m.pen.text("No servers are configured. Add one with mcpguardd add.")}}.fit(w)), w, h)
	}
	room := min(s.n, max(1, (h-2)/3))
	from, to := s.window(room)
	out = append(out, m.rule(row{{m.th.Dim, m.pen.say("%s, %s", plural(s.n, "server"), plural(len(s.sessions), "session"))}}, nil, w))
	for i := from; i < to; i++ {
		out = append(out, m.serverRow(s.servers[i], i == s.cursor, w))
	}
	sv := s.servers[s.cursor]
	out = append(out, m.rule(row{{m.th.Title, m.pen.name(sv.Name)}}, nil, w))
	about := s.about(m, sv, w)
	left := h - len(out)
	s.top = max(0, min(s.top, len(about)-left))
	return block(append(out, about[s.top:]...), w, h)
}

func (m *Model) serverRow(sv client.Server, here bool, w int) string {
	lead, below := m.gap(1), theme.Style{}
	if here {
		lead, below = seg{m.th.Accent, m.pen.text(m.sign.cursor)}, m.th.Selected
	}
	st := map[string]theme.Style{client.HealthRunning: m.th.Good, client.HealthFailed: m.th.Bad}[sv.Health]
	if sv.Health == client.HealthIdle {
		st = m.th.Dim
	}
	left := row{lead, m.gap(1), {st, m.pen.text(m.sign.live)}, m.gap(1), {m.th.Text, m.pen.name(sv.Name)}, m.gap(2), {st, m.pen.text(sv.Health)}, m.gap(2), {m.th.Dim, m.pen.text(sv.Command)}}
	right := row{m.gap(1)}
	if n := len(sv.Waiting); n > 0 {
		right = append(right, seg{m.th.Warn, m.pen.say("%s", plural(n, "new tool definition"))}, m.gap(1))
	}
	right = append(right, seg{m.th.Dim, m.pen.text(plural(len(sv.Sessions), "session"))}, m.gap(1))
	return ends(left, right, w).fitOn(w, below)
}

// about returns everything known about one server.
func (v *serversScreen) about(m *Model, sv client.Server, w int) []string {
	s := &sheet{m: m, w: w}
	t, p := m.th, m.pen
	s.prose("problem", t.Bad, sv.Problem)
	s.item("preset", t.Text, p.name(sv.Preset))
	s.item("command", t.Text, p.text(sv.Command))
	var pids []string
	for _, pid := range sv.PIDs {
		pids = append(pids, fmt.Sprint(pid))
	}
	s.item("processes", t.Dim, p.text(strings.Join(pids, ", ")))
	for _, line := range sv.Changed {
		s.prose("changed", t.Warn, line+": mcpguardd accept "+sv.Name)
	}
	for _, line := range sv.Names {
		s.prose("names", t.Warn, line)
	}
	for _, d := range sv.Waiting {
		s.prose("to accept", t.Warn, fmt.Sprintf("%s definition of %s: mcpguardd accept %s/%s", d.Change, d.Tool, sv.Name, d.Tool))
		head := true // of the diff
		for i, line := range p.safe.Lines([]byte(clip(d.Diff, 32<<10))) {
			if i == 200 {
				s.item("", t.Dim, p.text("mcpguardd accept shows the rest"))
				break
			}
			st := t.Context
			text := line.String()
			head = head && !strings.HasPrefix(text, "@@")
			switch {
			case head:
				st = t.Dim
			case strings.HasPrefix(text, "+"):
				st = t.Add
			case strings.HasPrefix(text, "-"):
				st = t.Remove
			case strings.HasPrefix(text, "@@"):
				st = t.HunkHeader
			}
			s.rows = append(s.rows, row{m.gap(3), {st, line}}.fit(w))
		}
	}
	for _, ses := range v.sessions {
		if ses.Server != sv.Name {
			continue
		}
		s.prose("session", t.Text, fmt.Sprintf("%s %s, since %s, %s waiting", ses.Origin.Client, ses.Origin.Version, m.stamp(ses.OpenedAt), plural(ses.Pending, "change")))
		s.item("", t.Dim, p.name(ses.Origin.Folder))
		s.prose("", t.Bad, ses.Problem)
		for _, n := range ses.Notices {
			s.prose("", t.Warn, n)
		}
	}
	m.toolRows(s, sv.Tools)
	if len(sv.Stderr) > 0 {
		s.item("stderr", t.Dim, p.say("the last %s", plural(len(sv.Stderr), "line")))
		for _, l := range sv.Stderr {
			s.rows = append(s.rows, row{m.gap(3), {t.Dim, p.text(clip(l, 2000))}}.fit(w))
		}
	}
	return s.rows
}

// toolRows lists the tools by tier, and those that cannot be called yet.
func (m *Model) toolRows(s *sheet, tools []client.ServerTool) {
	byTier := map[string][]string{}
	var waiting []string
	for _, tool := range tools {
		tier := short(tool.Tier)
		byTier[tier] = append(byTier[tier], tool.Name)
		if !tool.Accepted {
			waiting = append(waiting, tool.Name)
		}
	}
	label := "tools"
	for _, tier := range []string{"T0", "T1", "T2", "T3", "T4", "NEVER"} {
		names := byTier[tier]
		if len(names) == 0 {
			continue
		}
		badge := m.badge(tier)
		pad := max(0, 7-badge.text.Width())
		for i, l := range m.pen.wrap(strings.Join(names, ", "), max(8, s.w-labelWidth-9)) {
			lead := row{m.gap(1), {m.th.Dim, m.pen.text(label).Fit(labelWidth)}, badge, m.gap(pad + 1)}
			if i > 0 {
				lead = row{m.gap(1 + labelWidth + 8)}
			}
			s.rows = append(s.rows, append(lead, seg{m.th.Text, l}).fit(s.w))
			label = ""
		}
	}
	s.prose("not accepted", m.th.Warn, strings.Join(waiting, ", "))
}
