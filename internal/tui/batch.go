package tui

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
)

// maxBatch is how many approvals can be decided together.
const maxBatch = 20

// shape returns what the members of a batch must have in common.
func shape(d client.Detail) string {
	var kinds []string
	for _, e := range d.Effects {
		kinds = append(kinds, e.Kind)
	}
	return strings.Join([]string{d.Server, d.Tool, d.Tier, d.Tenant, d.Environment, d.RunID, d.Definition, d.PolicyHash, d.Diff.Type, strings.Join(kinds, ",")}, "\x00")
}

// unfit says why an approval cannot be part of a batch; "" if it can.
func unfit(a client.Approval) string {
	switch {
	case a.Status != client.Pending:
		return "it is no longer pending"
	case !slices.Contains([]string{"T0", "T1", "T2"}, short(a.Tier)):
		return "changes of its tier are decided one at a time"
	case len(a.Hazards) > 0:
		return "it has hazards; decide it on its own"
	}
	return ""
}

// toggleMark marks or unmarks the item under the cursor.
func (m *Model) toggleMark() tea.Cmd {
	q := &m.queue
	it := m.item
	if it == nil {
		return nil
	}
	if _, on := q.marked[it.id]; on {
		delete(q.marked, it.id)
		return nil
	}
	why := unfit(it.row.Approval)
	if why == "" {
		why = m.refusal(client.Deny) // only what was looked at can be marked
	}
	if why == "" && len(q.marked) >= maxBatch {
		why = fmt.Sprintf("at most %d are decided together", maxBatch)
	}
	if why == "" {
		for _, other := range q.marked {
			if other.shape != shape(it.detail) {
				why = "its tool, run or kind differs from the marked ones"
			}
		}
	}
	if why != "" {
		m.refuse("not marked: %s", why)
		return m.keepInputGuard()
	}
	q.marked[it.id] = mark{m.arm.on.digest, shape(it.detail)}
	m.queue.move(1)
	return m.settle()
}

// decideMarked opens the dialog for all marked items.
func (m *Model) decideMarked(word, hasty string) tea.Cmd {
	var batch []subject
	now := m.now()
	why := hasty
	for _, id := range m.queue.order {
		on, marked := m.queue.marked[id]
		if !marked {
			continue
		}
		e := m.queue.all[id]
		if s := unfit(e.Approval); s != "" || !e.waits(now) || e.Digest != on.digest {
			why = "one of the marked changes can no longer be decided"
		}
		batch = append(batch, subject{id: id, digest: on.digest})
	}
	switch {
	case len(batch) == 0:
		why = "nothing is marked; mark changes with " + first(m.keys.Mark)
	case !m.link.live:
		why = "the daemon does not answer; what is shown may be out of date"
	case len(batch) > m.batchRoom():
		why = "the screen is too small to show all of them; mark fewer"
	case word == client.Allow && m.status.StoreProblem != "":
		why = "nothing can run at the moment: " + m.status.StoreProblem
	}
	if why != "" {
		m.refuse("%s", why)
		return nil
	}
	e := m.queue.all[batch[0].id]
	d := &dialog{purpose: forBatch, word: word, batch: batch, row: e, tool: e.Server + "/" + e.Tool, after: armAfter, steps: []step{stepReason}}
	if word == client.Allow {
		d.steps = []step{stepCount, stepReason, stepConfirm}
	}
	m.open(d)
	return m.keepInputGuard()
}

// batchRoom is the largest batch that can be shown in full.
func (m *Model) batchRoom() int { return m.h - 8 }

// sum adds up what a batch would do.
func (m *Model) sum(batch []subject) string {
	added, removed := 0, 0
	targets := map[string]bool{}
	for _, s := range batch {
		if e := m.queue.all[s.id]; e != nil {
			added, removed = added+e.Added, removed+e.Removed
			targets[goal(&e.Approval)] = true
		}
	}
	return fmt.Sprintf("%s to %s, %s", plural(len(batch), "change"), plural(len(targets), "target"), changedLines(added, removed))
}

// changedLines counts the lines that change.
func changedLines(added, removed int) string {
	if added+removed == 1 {
		return fmt.Sprintf("1 line changes (+%d -%d)", added, removed)
	}
	return fmt.Sprintf("%d lines change (+%d -%d)", added+removed, added, removed)
}

// sendBatch sends one decision for each member, each with its own digest.
func (m *Model) sendBatch() tea.Cmd {
	d := m.dialog
	if m.checkDialog(); d.broken != "" {
		return nil
	}
	if !m.link.live || !d.drawn {
		d.why = "not all of them fit on the screen"
		return nil
	}
	cmds := []tea.Cmd{m.call.saveReasons(m.cfg.ReasonsFile, m.reasons.snapshot())}
	m.reasons.remember(d.tool, d.word, d.reason)
	for _, s := range d.batch {
		cmds = append(cmds, m.call.decide(s.id, client.DecisionRequest{Decision: d.word, Digest: s.digest, Reason: d.reason}, true))
		delete(m.queue.marked, s.id)
	}
	m.batch = batchResult{word: d.word, n: len(d.batch)}
	m.dialog = nil
	return tea.Batch(cmds...)
}

// batchResult counts the outcomes of a batch.
type batchResult struct {
	word       string
	n          int
	done, fail int
	last       string
}

func (m *Model) onBatchDecided(msg decidedMsg) tea.Cmd {
	b := &m.batch
	if msg.err != nil {
		b.fail++
		b.last = msg.err.Error()
	} else {
		b.done++
		m.takeDetail(msg.detail)
	}
	said := "approved"
	if b.word == client.Deny {
		said = "denied"
	}
	if b.fail > 0 {
		m.say(bad, "%d of %d %s, %d not: %s", b.done, b.n, said, b.fail, b.last)
	} else {
		m.say(good, "%d of %d %s", b.done, b.n, said)
	}
	if b.done+b.fail < b.n {
		return nil
	}
	return tea.Batch(m.settle(), m.resync())
}
