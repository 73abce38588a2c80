package tui

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// statsScreen shows counts in small charts.
type statsScreen struct {
	stats  client.Stats
	loaded bool
	err    string
	span   int
}

var spans = []struct {
	name string
	d    time.Duration
}{{"the last hour", time.Hour}, {"the last 24 hours", 24 * time.Hour}, {"the last 7 days", 7 * 24 * time.Hour}, {"the last 30 days", 30 * 24 * time.Hour}}

func (f *statsScreen) ask(m *Model) tea.Cmd {
	return m.call.stats(m.now().Add(-spans[(f.span+1)%len(spans)].d))
}

func (f *statsScreen) take(msg statsMsg) {
	f.err = ""
	if msg.err != nil {
		f.err = msg.err.Error()
		return
	}
	f.stats, f.loaded = msg.stats, true
}

func (f *statsScreen) title() string { return "figures" }

func (f *statsScreen) update(m *Model, msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case visitMsg:
		return f.ask(m)
	case statsMsg:
		f.take(msg)
	case pressMsg:
		if key.Matches(msg, m.keys.Filter) {
			f.span = (f.span + 1) % len(spans)
			return f.ask(m)
		}
	}
	return nil
}

func (f *statsScreen) keys(m *Model) []hint { return []hint{{b: m.keys.Filter, say: "span", on: true}} }

func (f *statsScreen) draw(m *Model, w, h int) []string {
	title := row{{m.th.Dim, m.pen.text(spans[(f.span+1)%len(spans)].name)}}
	out := []string{m.tabs(w), m.rule(title, nil, w)}
	switch {
	case f.err != "":
		return block(append(out, m.wrapped(m.th.Bad, f.err, w)...), w, h)
	case !f.loaded:
		return block(append(out, row{m.gap(1), {m.th.Dim, m.pen.text("counting" + m.sign.ellipsis)}}.fit(w)), w, h)
	}
	s := f.stats
	line := func(r row) { out = append(out, r.fit(w)) }
	num := func(st theme.Style, n int, what string) []seg {
		return []seg{{st, m.pen.say("%d", n)}, {m.th.Dim, m.pen.text(" " + what)}, m.gap(3)}
	}
	head := row{m.gap(1)}
	head = append(head, num(m.th.Strong, s.Calls, "calls")...)
	head = append(head, num(m.th.Bad, s.Denials, "refused")...)
	head = append(head, num(m.th.Accent, s.Pending, "waiting now")...)
	line(head)
	line(nil)
	calls, denials := make([]int, len(s.Over)), make([]int, len(s.Over))
	for i, b := range s.Over {
		calls[i], denials[i] = b.Calls, b.Denials
	}
	room := w - 24
	line(row{m.gap(1), {m.th.Dim, m.pen.text("calls").Fit(labelWidth)}, {m.th.Chart, m.pen.text(m.spark(calls, room))}, {m.th.Dim, m.pen.say(" max %d", top(calls))}})
	line(row{m.gap(1), {m.th.Dim, m.pen.text("refused").Fit(labelWidth)}, {m.th.ChartBad, m.pen.text(m.spark(denials, room))}, {m.th.Dim, m.pen.say(" max %d", top(denials))}})
	if len(s.Over) > 0 {
		from, to := s.Over[0].From.In(m.cfg.Zone).Format("Jan 02 15:04"), s.Until.In(m.cfg.Zone).Format("15:04")
		width := min(room, len(s.Over)) * max(1, min(3, room/len(s.Over)))
		line(row{m.gap(1 + labelWidth), {m.th.Border, m.pen.text(from)}, m.gap(max(1, width-len(from)-len(to))), {m.th.Border, m.pen.text(to)}})
	}
	line(nil)
	wait := s.Waiting
	ms := func(n int64) string { return clock(time.Duration(n) * time.Millisecond) }
	waited := m.pen.text("no decisions yet")
	if wait.Decided > 0 {
		waited = m.pen.say("median %s, 90 %% within %s, longest %s, %s", ms(wait.MedianMS), ms(wait.P90MS), ms(wait.MaxMS), plural(wait.Decided, "decision"))
	}
	line(row{m.gap(1), {m.th.Dim, m.pen.text("waiting time").Fit(labelWidth)}, {m.th.Text, waited}})
	line(nil)
	parts := [][]string{
		m.bars("by tier", s.ByTier, w, func(k string) theme.Style { return m.th.Badge(k) }),
		m.bars("by outcome", s.ByStatus, w, m.look),
		m.bars("by server", s.ByServer, w, nil),
		m.bars("refused by", s.ByRule, w, func(string) theme.Style { return m.th.ChartBad }),
	}
	need := len(out)
	for _, p := range parts {
		need += len(p) + 1
	}
	for _, p := range parts {
		if out = append(out, p...); need <= h && len(p) > 0 {
			line(nil)
		}
	}
	return block(out, w, h)
}

// spark draws numbers as at most cols ticks, adding up neighbours.
func (m *Model) spark(n []int, cols int) string {
	if cols < 1 || len(n) == 0 {
		return ""
	}
	if len(n) > cols {
		folded := make([]int, cols)
		for i, v := range n {
			folded[i*cols/len(n)] += v
		}
		n = folded
	}
	wide := max(1, min(3, cols/len(n)))
	most := top(n)
	out := ""
	for _, v := range n {
		i := 0
		if most > 0 && v > 0 {
			i = max(1, v*(len(m.sign.ticks)-1)/most)
		}
		out += strings.Repeat(m.sign.ticks[i], wide)
	}
	return out
}

func top(n []int) int {
	most := 0
	for _, v := range n {
		most = max(most, v)
	}
	return most
}

// bars draws counts by name, largest first.
func (m *Model) bars(label string, counts map[string]int, w int, look func(string) theme.Style) []string {
	var names []string
	most := 0
	for k, n := range counts {
		names = append(names, k)
		most = max(most, n)
	}
	sort.Slice(names, func(i, j int) bool {
		if counts[names[i]] != counts[names[j]] {
			return counts[names[i]] > counts[names[j]]
		}
		return names[i] < names[j]
	})
	var out []string
	room := max(4, min(40, w-labelWidth-40))
	for i, k := range names {
		if i == 6 {
			break
		}
		n := counts[k]
		bar := strings.Repeat(m.sign.stroke, (n*room+most-1)/max(1, most))
		if i > 0 {
			label = ""
		}
		st := m.th.Text
		if look != nil {
			st = look(k)
		}
		out = append(out, row{m.gap(1), {m.th.Dim, m.pen.text(label).Fit(labelWidth)}, {st, m.pen.name(k).Truncate(26)}, m.gap(27 - m.pen.name(k).Truncate(26).Width()),
			{m.th.Chart, m.pen.text(bar)}, {m.th.Dim, m.pen.text(fmt.Sprintf(" %d", n))}}.fit(w))
	}
	return out
}
