package tui

import (
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
)

// A decision is bound to what was painted. Each frame notes which item and
// digest it shows in full view, at which size; a decision is possible only
// while that has stood on the screen for a moment, and it carries exactly the
// noted digest. Whatever changes the frame's subject, its size or who looks at
// it starts the moment again.

const (
	armAfter     = 400 * time.Millisecond
	armAfterHigh = time.Second // T3, T4 and whatever is not known to be lower
	armStep      = 100 * time.Millisecond
)

// subject is what a frame shows. The zero value is nothing that could be
// decided.
type subject struct {
	id, digest string
	print      string // of side effects and hazards, which stand beside the digest
	w, h       int    // of the screen
	zoom       bool
	epoch      int
}

// inputGuard is when the present subject was painted first.
type inputGuard struct {
	on    subject
	since time.Time
	epoch int
	wait  bool // an armMsg is under way
}

// paint notes what a frame shows; View alone calls it.
func (a *inputGuard) paint(s subject, now time.Time) {
	s.epoch = a.epoch
	if s == a.on {
		return
	}
	a.on, a.since = s, now
}

// nothing notes that a frame shows nothing that could be decided.
func (a *inputGuard) nothing() { a.on = subject{} }

// rearm starts the moment again, for whatever is on the screen.
func (a *inputGuard) rearm() { a.epoch++ }

// left is how long the subject has to stand before it may be decided.
func (a *inputGuard) left(now time.Time, tier string) time.Duration {
	need := armAfterHigh
	switch short(tier) {
	case "T0", "T1", "T2":
		need = armAfter
	}
	if a.on.id == "" || a.on.epoch != a.epoch {
		return need // fail closed: nothing was painted yet
	}
	return max(0, need-now.Sub(a.since))
}

// readyIn says how long a key is still refused.
func readyIn(d time.Duration) string { return fmt.Sprintf("ready in %.1f s", max(0.1, d.Seconds())) }

// keepInputGuard asks for another look while the item on the screen is not armed,
// so that the key line can say when it is.
func (m *Model) keepInputGuard() tea.Cmd {
	if m.arm.wait || m.screen != nil || m.item == nil || !m.item.decidable() {
		return nil
	}
	if m.arm.on.id == m.item.id && m.arm.left(m.now(), m.item.tier()) == 0 && (m.dialog == nil || m.dialog.left(m.now()) == 0) {
		return nil
	}
	m.arm.wait = true
	return m.call.later(armStep, armMsg{})
}

// short is the first two letters of a tier that has a number.
func short(tier string) string {
	if len(tier) >= 2 && tier[0] == 'T' && tier[1] >= '0' && tier[1] <= '4' {
		return tier[:2]
	}
	return "NEVER"
}

// keyPresses tells a press of a key from a key that is held down and from text
// that a terminal without brackets pastes.
type keyPresses struct {
	last    string
	at      time.Time            // of the last key
	keys    map[string]time.Time // when each deciding key came last
	pasted  time.Time
	touched bool
}

const (
	// burst is the gap below which two keys are no typing.
	burst = 35 * time.Millisecond
	// held is the longest that a held key waits before it repeats, with room.
	held = 800 * time.Millisecond
	// afterPaste is how long a paste keeps keys from deciding.
	afterPaste = 500 * time.Millisecond
)

// note takes a key in and says why it may not decide; empty where it may.
func (p *keyPresses) note(k tea.KeyPressMsg, now time.Time) string {
	s := k.String()
	if p.keys == nil {
		p.keys = map[string]time.Time{}
	}
	before, seen := p.keys[s]
	gap := now.Sub(p.at)
	touched := p.touched
	p.last, p.at, p.touched = s, now, true
	p.keys[s] = now
	if len(p.keys) > 64 {
		clear(p.keys)
		p.keys[s] = now
	}
	switch {
	case k.IsRepeat:
		return "a held key decides nothing; press it again"
	case seen && now.Sub(before) < held:
		return "pressed twice too quickly; press it again"
	case touched && gap < burst:
		return "too fast for typing, like a paste; press it again"
	case now.Sub(p.pasted) < afterPaste:
		return "too soon after a paste; press it again"
	}
	return ""
}
