package tui

import (
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
)

// A decision is tied to what was painted. Each frame notes which item and
// digest it shows in full view, and at which size. A decision is possible only
// after that has been on the screen for a moment, and it carries exactly the
// noted digest. A change of the frame's subject, of its size or of who looks
// at it restarts the delay.

const (
	armAfter     = 400 * time.Millisecond
	armAfterHigh = time.Second // T3, T4 and unknown tiers
	armStep      = 100 * time.Millisecond
)

// subject is what a frame shows. The zero value is nothing that can be
// decided.
type subject struct {
	id, digest string
	print      string // of side effects and hazards, which the digest does not cover
	w, h       int    // of the screen
	zoom       bool
	epoch      int
}

// inputGuard records since when the present subject has been painted.
type inputGuard struct {
	on    subject
	since time.Time
	epoch int
	wait  bool // an armMsg is pending
}

// paint records what a frame shows; only View calls it.
func (a *inputGuard) paint(s subject, now time.Time) {
	s.epoch = a.epoch
	if s == a.on {
		return
	}
	a.on, a.since = s, now
}

// nothing records that a frame shows nothing that can be decided.
func (a *inputGuard) nothing() { a.on = subject{} }

// rearm restarts the delay for whatever is on the screen.
func (a *inputGuard) rearm() { a.epoch++ }

// left returns how long the subject must still be shown before it can be
// decided.
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

// keepInputGuard schedules another check while the item on the screen is not
// yet armed, so that the key line can show when it is.
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

// short returns the first two letters of a numbered tier.
func short(tier string) string {
	if len(tier) >= 2 && tier[0] == 'T' && tier[1] >= '0' && tier[1] <= '4' {
		return tier[:2]
	}
	return "NEVER"
}

// keyPresses distinguishes a key press from a held key and from text pasted by
// a terminal without bracketed paste.
type keyPresses struct {
	last    string
	at      time.Time            // of the last key
	keys    map[string]time.Time // when each deciding key came last
	pasted  time.Time
	touched bool
}

const (
	// burst is the gap below which two keys were not typed by hand.
	burst = 35 * time.Millisecond
	// held is the longest delay before a held key repeats, with a margin.
	held = 800 * time.Millisecond
	// afterPaste is how long after a paste keys cannot decide.
	afterPaste = 500 * time.Millisecond
)

// note records a key and says why it may not decide; "" if it may.
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
