package tui

import (
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/tui/change"
)

// item is one approval in full.
type item struct {
	id      string
	row     *entry // its state in the queue
	detail  client.Detail
	loaded  bool
	loading bool
	again   bool // requested again while loading
	err     string
	pane    *change.View
	print   string // of what the digest does not cover

	between *change.View // difference from the previous change, while shown
}

func (i *item) tier() string { return i.row.Tier }

// decidable reports whether the item can be decided once it has been looked
// at.
func (i *item) decidable() bool {
	return i.loaded && i.err == "" && i.row.Status == client.Pending && !i.row.gone &&
		i.detail.Digest == i.row.Digest && i.detail.Digest != "" && !i.detail.Diff.Pruned && i.between == nil
}

// size returns roughly how much memory the item holds, in bytes.
func (i *item) size() int {
	d := &i.detail
	return len(d.Diff.Text) + len(d.Diff.Raw) + len(d.Diff.Patch) + len(d.Diff.Preview) + len(d.Arguments) + 4096
}

// itemCache keeps the items that were looked at last.
type itemCache struct {
	items map[string]*item
	used  []string // most recent last
}

const (
	maxItems     = 16
	maxItemBytes = 8 << 20
)

func (c *itemCache) init() { c.items = map[string]*item{} }

func (c *itemCache) touch(id string) {
	for i, u := range c.used {
		if u == id {
			c.used = append(c.used[:i], c.used[i+1:]...)
			break
		}
	}
	c.used = append(c.used, id)
	total := 0
	for i := len(c.used) - 1; i >= 0; i-- {
		total += c.items[c.used[i]].size()
		if i < len(c.used)-1 && (total > maxItemBytes || len(c.used)-i > maxItems) {
			for _, old := range c.used[:i+1] {
				delete(c.items, old)
			}
			c.used = append([]string{}, c.used[i+1:]...)
			return
		}
	}
}

// paneState says how changes are shown; it applies to all items.
type paneState struct {
	cut, raw, document bool // cut: long lines end at the edge
	split, unsplit     bool // chosen by the reviewer; otherwise the screen's width decides
	zoom, info         bool
	infoTop            int
	focus              bool // keys go to the change, not to the queue
	search             *editor
	pattern            string
	matches            int
}

func (m *Model) options() change.Options {
	p := m.pane
	return change.Options{Theme: m.th, ASCII: m.cfg.ASCII, Wrap: !p.cut, Split: m.twoSides(), Raw: p.raw, Document: p.document}
}

// twoSides reports whether old and new are side by side.
func (m *Model) twoSides() bool {
	return m.pane.split || m.w >= wideFrom && !m.pane.unsplit
}

// settle loads the item under the cursor.
func (m *Model) settle() tea.Cmd {
	q := &m.queue
	if len(q.fresh) > 0 && q.idle(m.now()) {
		q.join()
	}
	e := q.all[q.cursor]
	if e == nil {
		m.item = nil
		return nil
	}
	if m.item == nil || m.item.id != e.ID {
		it := m.items.items[e.ID]
		if it == nil {
			it = &item{id: e.ID}
			m.items.items[e.ID] = it
		}
		it.row = e
		if m.item != nil {
			m.item.between = nil
		}
		m.item = it
		m.pane.search, m.pane.pattern, m.pane.infoTop = nil, "", 0
		m.items.touch(e.ID)
	}
	m.item.row = e
	if !m.item.loaded || m.item.detail.Version < e.Version {
		return m.load(m.item)
	}
	return nil
}

func (m *Model) load(it *item) tea.Cmd {
	if it.loading {
		it.again = true
		return nil
	}
	it.loading = true
	return m.call.detail(it.id)
}

// reload reads the item on the screen again, unless a request is pending: if
// that one's response turns out to be old, settle asks again.
func (m *Model) reload() tea.Cmd {
	if m.item == nil || m.item.loading {
		return nil
	}
	return m.load(m.item)
}

// onDetail handles an approval in full.
func (m *Model) onDetail(msg detailMsg) tea.Cmd {
	it := m.items.items[msg.id]
	if it == nil {
		return nil
	}
	it.loading = false
	if msg.err != nil {
		if !it.loaded {
			it.err = msg.err.Error()
		}
		return m.settle()
	}
	m.show(it, msg.detail, msg.asked)
	var again tea.Cmd
	if it.again {
		it.again = false
		again = m.load(it)
	}
	return tea.Batch(again, m.settle(), m.checkDialog())
}

// show puts a detail into an item, with a new pane if the content differs.
func (m *Model) show(it *item, d client.Detail, asked time.Time) {
	if it.loaded && d.Version < it.detail.Version {
		return
	}
	fresh := !it.loaded || it.detail.Digest != d.Digest || it.detail.Diff.Pruned != d.Diff.Pruned
	it.detail, it.loaded, it.err = d, true, ""
	it.print = fingerprint(d)
	if fresh || it.pane == nil {
		it.pane = change.New(d, m.options())
	}
	if _, shown := m.queue.all[d.ID]; shown {
		m.queue.put(d.Approval, asked)
	}
}

// fingerprint identifies what a reviewer reads in addition to the change.
func fingerprint(d client.Detail) string {
	var b strings.Builder
	for _, s := range d.SideEffects {
		b.WriteString(s + "\n")
	}
	for _, h := range d.Hazards {
		b.WriteString(h.Kind + "\t" + h.Text + "\n")
	}
	b.WriteString(d.Tier + "\t" + d.Server + "\t" + d.Tool + "\t" + d.Target + "\t" + d.Tenant + "\t" + d.Environment)
	return b.String()
}

// restyle applies the present options to what is on the screen.
func (m *Model) restyle() {
	for _, it := range m.items.items {
		if it.pane != nil {
			it.pane.SetOptions(m.options())
		}
		if it.between != nil {
			it.between.SetOptions(m.options())
		}
	}
}

// compare shows the difference between the change looked at before and its
// successor, or goes back.
func (m *Model) compare() tea.Cmd {
	it := m.item
	if it == nil {
		return nil
	}
	if it.between != nil {
		it.between = nil
		return nil
	}
	switch {
	case it.row.ReplacedBy != "":
		return m.call.between(it.id, it.row.ReplacedBy)
	case it.row.Replaces != "":
		return m.call.between(it.row.Replaces, it.id)
	}
	m.say(info, "nothing to compare: this change took no other's place")
	return nil
}

func (m *Model) onBetween(msg betweenMsg) tea.Cmd {
	if msg.err != nil {
		m.say(bad, "the two changes cannot be compared: %v", msg.err)
		return nil
	}
	var cmd tea.Cmd
	if m.queue.all[msg.fresh.ID] == nil && msg.fresh.Status == client.Pending {
		m.queue.take(msg.fresh.Approval, m.now())
	}
	if m.item != nil && m.item.id == msg.old.ID && m.queue.all[msg.fresh.ID] != nil {
		// The reviewer asked for the successor: the cursor follows.
		m.queue.merge(m.now())
		m.queue.cursor = msg.fresh.ID
		cmd = m.settle()
	}
	if m.item == nil || m.item.id != msg.fresh.ID && m.item.id != msg.old.ID {
		return cmd
	}
	m.item.between = change.Between(msg.old, msg.fresh, m.options())
	return cmd
}

// view returns the pane that is shown.
func (i *item) view() *change.View {
	if i.between != nil {
		return i.between
	}
	return i.pane
}
