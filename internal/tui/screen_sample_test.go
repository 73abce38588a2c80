package tui

import (
	"fmt"
	"testing"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"
)

// What a further screen takes: this file, and one row in the table of screens.

// clientsScreen counts the sessions by client.
type clientsScreen struct {
	list
	names []string
	by    map[string]int
}

func (c *clientsScreen) title() string { return "clients" }

func (c *clientsScreen) update(m *Model, msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case visitMsg:
		return m.call.servers()
	case serversMsg:
		c.names, c.by = nil, map[string]int{}
		for _, s := range msg.sessions {
			if c.by[s.Origin.Client]++; c.by[s.Origin.Client] == 1 {
				c.names = append(c.names, s.Origin.Client)
			}
		}
		c.resize(len(c.names))
	case pressMsg:
		if !m.listKey(msg.KeyPressMsg, &c.list) && key.Matches(msg, m.keys.Act) && c.n > 0 {
			m.say(info, "%s it is", c.names[c.cursor])
		}
	}
	return nil
}

func (c *clientsScreen) draw(m *Model, w, h int) []string {
	out := []string{m.tabs(w)}
	for _, n := range c.names {
		out = append(out, row{m.gap(1), {m.th.Text, m.pen.name(n)}, {m.th.Dim, m.pen.text(fmt.Sprintf(": %s", plural(c.by[n], "session")))}}.fit(w))
	}
	return block(out, w, h)
}

func (c *clientsScreen) keys(m *Model) []hint {
	return []hint{{b: m.keys.Act, say: "name it", on: c.n > 0}}
}

// TestOneFileAndOneRowMakeAScreen adds a screen: it has a tab, its keys, a place
// in the help, and hears what the daemon says.
func TestOneFileAndOneRowMakeAScreen(t *testing.T) {
	d := newDesk(t, full(), func(c *Config) {
		c.screens = append(screenTable(), screenRow{"clients", []string{"9"}, func() screen { return &clientsScreen{} }})
	})
	d.size(120, 30)
	d.press("9")
	d.sees("9 clients", "claude-code: 1 session", "p name it", "esc queue")
	d.press("p")
	d.sees("claude-code it is")
	d.press("?", "space")
	d.sees("clients")
	d.press("esc", "4")
	d.sees("4 servers")
	d.press("9", "esc")
	d.sees("waiting")
}
