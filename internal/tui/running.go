package tui

import (
	"slices"
	"time"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// runningScreen lists the commands that are running in a sandbox, and stops
// them.
type runningScreen struct {
	list
	gen    int // of the newest request
	loaded bool
	err    string
	rows   []client.RunningCommand
	asked  time.Time // when rows were read
	// other is set once the command under the cursor has ended, so that a key
	// meant for it does not stop another one.
	other bool
}

// runningMsg lists the running commands; ended says that one was stopped
// first.
type runningMsg struct {
	gen   int
	list  []client.RunningCommand
	ended bool
	err   error
}

func (s *runningScreen) title() string { return "commands" }

func (s *runningScreen) update(m *Model, msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case visitMsg, tickMsg:
		if m.link.live {
			s.gen++
			return m.call.running(s.gen)
		}
	case runningMsg:
		s.take(m, msg)
	case pressMsg:
		return s.press(m, msg)
	}
	return nil
}

func (s *runningScreen) take(m *Model, msg runningMsg) {
	switch {
	case msg.err != nil && msg.ended:
		m.say(bad, "not ended: %v", msg.err)
		return
	case msg.ended:
		s.gen++ // a pending response is out of date
		m.say(good, "ended; it is now asked about by its text")
	case msg.gen != s.gen:
		return
	}
	s.loaded, s.err = true, ""
	if msg.err != nil {
		s.err = msg.err.Error()
		return
	}
	here, ok := s.here()
	s.rows, s.asked = msg.list, m.now()
	s.resize(len(s.rows))
	if !ok {
		return
	}
	if i := slices.IndexFunc(s.rows, func(c client.RunningCommand) bool { return c.ID == here.ID }); i >= 0 {
		s.cursor = i
	} else {
		s.other = !msg.ended && len(s.rows) > 0
	}
}

func (s *runningScreen) here() (c client.RunningCommand, ok bool) {
	if s.cursor < len(s.rows) {
		return s.rows[s.cursor], true
	}
	return c, false
}

func (s *runningScreen) keys(m *Model) []hint {
	_, ok := s.here()
	return []hint{{b: m.keys.Act, say: "end it", on: ok && m.link.live}}
}

func (s *runningScreen) press(m *Model, k pressMsg) tea.Cmd {
	if m.listKey(k.KeyPressMsg, &s.list) {
		s.other = false
		return nil
	}
	c, ok := s.here()
	switch {
	case !key.Matches(k, m.keys.Act) || !ok:
	case !m.link.live:
		m.refuse("the daemon does not answer; what is shown may be out of date")
	case k.hasty != "":
		m.refuse("%s", k.hasty)
	case s.other:
		s.other = false
		m.refuse("the command that stood here has ended; look again")
	default:
		return m.call.stopCommand(c.ID)
	}
	return nil
}

func (s *runningScreen) draw(m *Model, w, h int) []string {
	out := []string{m.tabs(w), m.rule(row{{m.th.Dim, m.pen.text("commands that run in a sandbox now; nothing of them has happened yet")}}, nil, w)}
	switch {
	case s.err != "":
		return block(append(out, m.wrapped(m.th.Bad, s.err, w)...), w, h)
	case !s.loaded:
		return block(append(out, row{m.gap(1), {m.th.Dim, m.pen.text("reading" + m.sign.ellipsis)}}.fit(w)), w, h)
	case s.n == 0:
		return block(append(out, row{m.gap(1), {m.th.Dim, m.pen.text("No command runs.")}}.fit(w)), w, h)
	}
	from, to := s.window(max(1, (h-len(out))/2))
	for i := from; i < to; i++ {
		c := s.rows[i]
		lead, below := m.gap(1), theme.Style{}
		if i == s.cursor {
			lead, below = seg{m.th.Accent, m.pen.text(m.sign.cursor)}, m.th.Selected
		}
		since := time.Duration(c.Seconds)*time.Second + max(0, m.now().Sub(s.asked))
		left := row{lead, m.gap(1), {m.th.Text, m.pen.text(clip(c.Command, 2000))}}
		out = append(out, ends(left, row{m.gap(1), {m.th.Accent, m.pen.text(clock(since))}, m.gap(1)}, w).fitOn(w, below))
	}
	c, _ := s.here()
	a := &sheet{m: m, w: w}
	a.prose("command", m.th.Text, clip(c.Command, 16<<10))
	a.item("folder", m.th.Text, m.pen.name(c.Folder))
	a.item("run", m.th.Dim, m.pen.name(c.RunID))
	a.item("tenant", m.th.Dim, m.pen.name(c.Tenant))
	a.item("since", m.th.Dim, m.pen.text(m.stamp(c.StartedAt)))
	out = append(out, m.rule(nil, nil, w))
	return block(append(out, a.rows...), w, h)
}
