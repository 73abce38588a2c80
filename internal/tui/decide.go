package tui

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// step is the present step of a dialog.
type step uint8

const (
	stepUnread  step = iota // T3 and up with rows that were never shown
	stepCount               // of a batch: how many
	stepReason              // the reason line
	stepTarget              // T4: the target, typed
	stepConfirm             // T2 and up: Enter, once more
)

// purpose is the action that a dialog is for.
type purpose uint8

const (
	forItem purpose = iota
	forBatch
	forPause
	forResume
)

// dialog is an open question to the reviewer. While it is open it receives all
// keys.
type dialog struct {
	purpose purpose
	word    string // client.Allow or client.Deny
	// target is the subject of the frame when the dialog was opened. The
	// dialog can decide only this.
	target subject
	row    *entry
	batch  []subject // of a batch, as painted
	tool   string    // key of the history of reasons
	scope  string    // of a switch

	step   step
	steps  []step
	input  editor
	reason string
	unread int // percent that was never shown; recorded if above 0

	choices []string // history and presets
	choice  int      // -1 means the reviewer's own text
	own     string

	painted time.Time // when this step was first painted
	after   time.Duration
	why     string // why the last key had no effect
	sent    bool
	broken  string // the subject has changed since it was opened; only Esc works
	drawn   bool   // the last frame showed the whole batch
}

// left returns how long the present step must still be shown before Enter
// counts.
func (d *dialog) left(now time.Time) time.Duration {
	if d.painted.IsZero() {
		return d.after
	}
	return max(0, d.after-now.Sub(d.painted))
}

func (d *dialog) enter(s step) {
	d.step, d.painted, d.why = s, time.Time{}, ""
	d.input = editor{max: guard.MaxReason}
	if s == stepReason {
		d.input.max -= len(unreadNote(100)) + 1
		d.input.set(d.reason)
	}
}

// refusal says why the item on the screen cannot be decided now; "" if it can.
func (m *Model) refusal(word string) string {
	it := m.item
	now := m.now()
	switch {
	case m.link.fatal != "":
		return "the daemon refuses decisions from this program"
	case !m.link.live:
		return "the daemon does not answer; what is shown may be out of date"
	case it == nil:
		return "no change is selected"
	case it.row.Status != client.Pending || it.row.gone:
		return "it is already " + it.row.Status
	case !now.Before(it.row.deadline):
		return "it has expired"
	case it.err != "":
		return "the change cannot be shown, so it cannot be decided here"
	case !it.loaded:
		return "the change is still loading"
	case it.detail.Diff.Pruned:
		return "its content is no longer stored"
	case it.between != nil:
		return "this is the comparison, not the change; " + first(m.keys.Compare) + " goes back"
	case m.pane.info:
		return "these are the details, not the change; " + first(m.keys.Info) + " goes back"
	case !it.decidable():
		return "the change is being reloaded"
	case m.arm.on.id != it.id || m.arm.on.digest != it.row.Digest:
		return "the change is not on the screen yet"
	}
	if d := m.arm.left(now, it.tier()); d > 0 {
		return readyIn(d)
	}
	if word == client.Allow && m.status.StoreProblem != "" {
		return "nothing can run at the moment: " + m.status.StoreProblem
	}
	return ""
}

// decide opens the reason line for the item on the screen.
func (m *Model) decide(word string, hasty string) tea.Cmd {
	if hasty != "" {
		m.refuse("%s", hasty)
		return nil
	}
	if why := m.refusal(word); why != "" {
		m.refuse("%s", why)
		return m.keepInputGuard()
	}
	it := m.item
	d := &dialog{word: word, target: m.arm.on, row: it.row, tool: it.row.Server + "/" + it.row.Tool, after: armAfter}
	d.steps = []step{stepReason}
	if word == client.Allow {
		tier := short(it.tier())
		high := tier != "T0" && tier != "T1" && tier != "T2"
		if high {
			d.after = armAfterHigh
			if _, _, percent, _ := it.pane.Seen(); percent < 100 {
				d.unread = 100 - percent
				d.steps = append([]step{stepUnread}, d.steps...)
			}
		}
		switch tier {
		case "T0", "T1":
		case "T2", "T3":
			d.steps = append(d.steps, stepConfirm)
		default:
			d.steps = append(d.steps, stepTarget)
		}
	}
	m.open(d)
	return m.keepInputGuard()
}

// open opens a dialog.
func (m *Model) open(d *dialog) {
	d.choices, d.choice = m.reasons.choices(d.tool, d.word), -1
	d.reason = m.reasons.draft(d.target.id, d.word)
	d.enter(d.steps[0])
	m.dialog = d
	m.notice = notice{}
}

func unreadNote(percent int) string { return fmt.Sprintf("unread %d %%", percent) }

// wanted returns the text to type at T4: the computed target. If the target is
// only the tool's name, which says nothing about it, this is the recipient or
// the request. If that cannot be typed, it is the end of the identifier.
func (d *dialog) wanted() string {
	t := goal(&d.row.Approval)
	if n := len(t); n == 0 || n > 100 || strings.TrimSpace(t) != t {
		return tail(d.row.ID)
	}
	for _, r := range t {
		if r < ' ' || r > '~' {
			return tail(d.row.ID)
		}
	}
	return t
}

// goal returns the target, or what replaces it if the target would be only the
// tool's name.
func goal(a *client.Approval) string {
	if does := summed(a); does != "" {
		return strings.TrimPrefix(does, "send to ")
	}
	return a.Target
}

// tail returns the end of an identifier, as shown in lists.
func tail(id string) string { return id[max(0, len(id)-8):] }

// dialogKey handles a key while a dialog is open.
func (m *Model) dialogKey(k tea.KeyPressMsg, hasty string) tea.Cmd {
	d := m.dialog
	if d.sent {
		return nil
	}
	switch s := k.String(); {
	case d.broken != "" && s != "esc" && s != "ctrl+c":
		// Keys still being typed were meant for the reason line; as keys of
		// the queue they could do anything.
		return nil
	case s == "ctrl+c":
		m.close()
		return nil
	case s == "esc" || key.Matches(k, m.keys.Back) && k.Text == "":
		m.close()
		return nil
	case s == "enter":
		return m.forward(hasty)
	case d.step == stepReason && (s == "up" || s == "ctrl+p"):
		d.pick(-1)
	case d.step == stepReason && (s == "down" || s == "ctrl+n" || s == "tab"):
		d.pick(1)
	case s == "pgdown" || s == "pgup" || s == "ctrl+down" || s == "ctrl+up":
		if m.item != nil && m.item.pane != nil && d.purpose == forItem {
			m.scroll(s)
		}
	case d.step != stepConfirm:
		if d.input.key(k) {
			d.choice, d.why = -1, ""
		}
	}
	return nil
}

// pick selects among earlier reasons and presets.
func (d *dialog) pick(delta int) {
	if len(d.choices) == 0 {
		return
	}
	if d.choice < 0 {
		d.own = d.input.value()
	}
	n := len(d.choices) + 1 // the last choice is the reviewer's own text
	at := d.choice
	if at < 0 {
		at = n - 1
	}
	at = (at + delta + n) % n
	if at == n-1 {
		d.choice = -1
		d.input.set(d.own)
		return
	}
	d.choice = at
	d.input.set(d.choices[at])
}

// close closes the dialog without a decision and keeps what was typed.
func (m *Model) close() {
	d := m.dialog
	if d == nil {
		return
	}
	if d.step == stepReason {
		d.reason = d.input.value()
	}
	if d.purpose == forItem {
		m.reasons.keep(d.target.id, d.word, d.reason)
	}
	m.dialog = nil
}

// checkDialog marks a dialog as broken if its subject has changed since it was
// opened. It can then decide nothing, and the reviewer is told why.
func (m *Model) checkDialog() tea.Cmd {
	d := m.dialog
	if d == nil || d.sent || d.broken != "" {
		return nil
	}
	why := ""
	switch d.purpose {
	case forItem:
		why = m.moved(d)
	case forBatch:
		for _, s := range d.batch {
			e := m.queue.all[s.id]
			if e == nil || !e.waits(m.now()) || e.Digest != s.digest {
				why = "one of the marked changes has changed or ended"
				break
			}
		}
	}
	if why == "" {
		return nil
	}
	d.broken = why
	if d.purpose == forItem && d.row.Status == client.Stale && d.row.ReplacedBy != "" {
		d.broken = "the target has changed; " + first(m.keys.Compare) + " shows the difference"
	}
	return nil
}

// moved says what happened to a dialog's subject; "" if it is unchanged.
func (m *Model) moved(d *dialog) string {
	e := d.row
	switch {
	case m.item == nil || m.item.id != d.target.id:
		return "another change is on the screen"
	case e.gone:
		return "it has ended"
	case e.Status == client.Stale:
		return "the target has changed"
	case e.Status != client.Pending:
		return "it is now " + e.Status
	case !m.now().Before(e.deadline):
		return "it has expired"
	case e.Digest != d.target.digest || m.item.loaded && m.item.detail.Digest != d.target.digest:
		return "the change is different now; review it again"
	case m.item.print != d.target.print:
		return "its hazards or side effects have changed; review it again"
	}
	return ""
}

// forward handles Enter in a dialog.
func (m *Model) forward(hasty string) tea.Cmd {
	d := m.dialog
	d.why = ""
	if d.left(m.now()) > 0 {
		d.why = readyIn(d.left(m.now()))
		return m.keepInputGuard()
	}
	text := strings.TrimSpace(d.input.value())
	switch d.step {
	case stepUnread:
		if text != "unread" {
			d.why = "type unread to go on, or press Esc to read the rest"
			return nil
		}
	case stepCount:
		if text != fmt.Sprint(len(d.batch)) {
			d.why = fmt.Sprintf("type %d, the number of changes", len(d.batch))
			return nil
		}
	case stepReason:
		reason, err := guard.CheckReason(text)
		if err != nil {
			d.why = err.Error()
			return nil
		}
		d.reason = reason
	case stepTarget:
		if text != d.wanted() {
			d.why = "that is not the target; type it exactly"
			return nil
		}
	}
	for i, s := range d.steps {
		if s == d.step && i < len(d.steps)-1 {
			d.enter(d.steps[i+1])
			return m.keepInputGuard()
		}
	}
	if hasty != "" {
		d.why = hasty
		return nil
	}
	return m.send()
}

// send sends the decision on what was painted, and on nothing else.
func (m *Model) send() tea.Cmd {
	d := m.dialog
	switch d.purpose {
	case forPause:
		m.dialog = nil
		m.reasons.remember(d.tool, d.word, d.reason)
		return m.call.setSwitch(d.scope, d.reason)
	case forResume:
		m.dialog = nil
		return m.call.clearSwitch(d.scope)
	case forBatch:
		return m.sendBatch()
	}
	if why := m.moved(d); why != "" {
		return m.checkDialog() // fail closed: the subject is gone
	}
	if why := m.refusal(d.word); why != "" {
		d.why = why
		return m.keepInputGuard()
	}
	// fail closed: the digest on the screen now must be the one that the
	// dialog was opened for, whatever happened in between.
	if m.arm.on.id != d.target.id || m.arm.on.digest != d.target.digest || m.arm.on.print != d.target.print {
		d.why = "the screen shows a different change; review it again"
		return nil
	}
	reason := d.reason
	if d.unread > 0 {
		reason += " [" + unreadNote(d.unread) + "]"
	}
	d.sent = true
	m.reasons.remember(d.tool, d.word, d.reason)
	return tea.Batch(
		m.call.decide(d.target.id, client.DecisionRequest{Decision: d.word, Digest: d.target.digest, Reason: reason}, false),
		m.call.saveReasons(m.cfg.ReasonsFile, m.reasons.snapshot()))
}

// onDecided handles the result of a decision.
func (m *Model) onDecided(msg decidedMsg) tea.Cmd {
	if msg.batch {
		return m.onBatchDecided(msg)
	}
	d := m.dialog
	if d != nil && d.purpose == forItem && d.sent && d.target.id == msg.id {
		if msg.err != nil {
			d.sent = false
			m.close()
		} else {
			m.reasons.drop(msg.id)
			m.dialog = nil
		}
	}
	if msg.err == nil {
		m.takeDetail(msg.detail)
		if msg.word == client.Allow {
			m.mine[msg.id] = true
			m.say(good, "approved; it runs once, if nothing has changed since")
		} else {
			m.say(good, "denied; the agent gets your reason")
		}
		return m.settle()
	}
	return m.refused(msg)
}

// refused says why a decision did not count, and shows the present state.
func (m *Model) refused(msg decidedMsg) tea.Cmd {
	var p *client.Problem
	if !errors.As(msg.err, &p) {
		m.say(bad, "it is not known whether the decision was recorded: %v", msg.err)
		return m.resync()
	}
	text := p.Error()
	if p.Remedy != "" {
		text += ". " + p.Remedy
	}
	switch {
	case p.ReplacedBy != "":
		text = "the target has changed, and nothing ran; " + first(m.keys.Compare) + " shows the difference"
	case p.Code == client.CodeDigest:
		text = "the change is different now, and nothing ran; review it again"
	}
	m.say(bad, "%s", text)
	if p.Approval != nil {
		m.takeDetail(*p.Approval)
	}
	m.arm.rearm()
	return tea.Batch(m.call.detail(msg.id), m.settle())
}

// takeDetail stores an approval that came with a response.
func (m *Model) takeDetail(d client.Detail) {
	if it := m.items.items[d.ID]; it != nil {
		m.show(it, d, m.now())
		return
	}
	m.queue.take(d.Approval, m.now())
}

// tell reports the outcome of an approval that this reviewer allowed.
func (m *Model) tell(a client.Approval) {
	if !m.mine[a.ID] || a.Status == client.Pending || a.Status == client.Approved || a.Status == client.Executing {
		return
	}
	delete(m.mine, a.ID)
	if a.Status == client.Executed {
		m.say(good, "done: %s", a.Summary)
		return
	}
	m.say(bad, "%s: %s. %s", a.Status, a.Summary, a.Why)
}
