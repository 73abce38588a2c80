package tui

import (
	"context"
	"errors"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/client"
)

// TestPromise2_KeysThatNeverDecide holds the console to its word: none of
// these brings a decision about.
func TestPromise2_KeysThatNeverDecide(t *testing.T) {
	t.Run("enter and esc while browsing", func(t *testing.T) {
		d := newDesk(t, two())
		for range 20 {
			d.press("enter", "esc", "space", "tab")
		}
		d.said(0)
		if d.m.dialog != nil {
			t.Fatal("a dialog is open")
		}
	})
	t.Run("before it was looked at", func(t *testing.T) {
		d := newDesk(t, two())
		d.key("a")
		d.sees("ready in 0.4 s")
		d.wait(300 * time.Millisecond)
		d.key("d")
		d.sees("ready in 0.1 s")
		d.wait(2 * time.Second)
		d.key("a")
		d.sees("APPROVE")
	})
	t.Run("T3 takes a second", func(t *testing.T) {
		f := newFake()
		f.put(sample(1, t3, "run", "make"))
		d := newDesk(t, f)
		d.wait(900 * time.Millisecond)
		d.key("a")
		d.sees("ready in 0.1 s")
	})
	for name, disturb := range map[string]func(d *desk){
		"resize": func(d *desk) { d.size(90, 30) },
		"focus":  func(d *desk) { d.send(tea.FocusMsg{}) },
		"resume": func(d *desk) { d.send(tea.ResumeMsg{}) },
		"moving": func(d *desk) { d.key("down") },
		"view":   func(d *desk) { d.key("2"); d.key("1") },
		"zoom":   func(d *desk) { d.key("z") },
		"hazard": func(d *desk) {
			v := *d.f.items[d.m.item.id]
			v.Hazards = append(v.Hazards, clientHazard())
			d.f.put(v)
			d.changed(v.ID)
		},
	} {
		t.Run("after "+name, func(t *testing.T) {
			d := newDesk(t, two())
			d.wait(2 * time.Second)
			disturb(d)
			d.wait(100 * time.Millisecond)
			d.key("a")
			d.sees("ready in")
			d.wait(2 * time.Second)
			d.key("a")
			d.sees("APPROVE")
		})
	}
	t.Run("a held key", func(t *testing.T) {
		d := newDesk(t, two())
		d.wait(2 * time.Second)
		d.send(tea.KeyPressMsg{Code: 'a', Text: "a", IsRepeat: true})
		d.sees("a held key decides nothing")
		d.press("a")
		d.write("held down")
		d.wait(time.Second)
		for range 40 { // Enter is held: at most the step it was pressed for
			d.key("enter")
			d.wait(30 * time.Millisecond)
		}
		d.said(1) // T1 has one step
		d.press("esc", "esc", "esc", "down", "a", "down")
		d.wait(time.Second)
		for range 40 {
			d.key("enter")
			d.wait(30 * time.Millisecond)
		}
		d.said(1) // T2 has two, the second wants a fresh press
		d.press("enter")
		d.said(2)
	})
	t.Run("a paste without brackets", func(t *testing.T) {
		d := newDesk(t, two())
		d.wait(2 * time.Second)
		for _, k := range []string{"x", "a", "o", "k", "a", "y", "enter", "enter"} {
			d.key(k)
			d.wait(time.Millisecond)
		}
		d.said(0)
	})
	t.Run("a paste", func(t *testing.T) {
		d := newDesk(t, two())
		d.wait(2 * time.Second)
		d.send(tea.PasteMsg{Content: "a\nlooks good\n\n"})
		d.said(0)
		d.sees("pasted text is ignored here")
		d.press("a")
		d.send(tea.PasteMsg{Content: "looks good\n\n"})
		d.wait(450 * time.Millisecond)
		d.key("enter")
		d.said(0)
		d.sees("too soon after a paste")
		d.press("enter")
		if w := d.said(1)[0]; w.Reason != "looks good" {
			t.Fatalf("got %q", w.Reason)
		}
	})
	t.Run("without a daemon", func(t *testing.T) {
		d := newDesk(t, two())
		d.wait(2 * time.Second)
		d.events(client.Event{Kind: client.EventLost, Error: "connection refused"})
		d.press("a")
		d.said(0)
		d.sees("the daemon does not answer", "no daemon for")
	})
	t.Run("with a log that is not the one seen before", func(t *testing.T) {
		d := newDesk(t, two(), func(c *Config) {
			c.Vouch = func(context.Context) error { return errors.New("ALARM: the audit log does not continue") }
		})
		d.press("a")
		d.write("fine")
		d.press("enter")
		d.said(0)
		d.sees("ALARM")
		d.press("d")
		d.write("no matter what")
		d.press("enter")
		d.said(1)
	})
	t.Run("a click", func(t *testing.T) {
		d := newDesk(t, two())
		d.press("M")
		for y := range 24 {
			for x := 0; x < 80; x += 4 {
				d.send(tea.MouseClickMsg{X: x, Y: y, Button: tea.MouseLeft})
			}
		}
		d.said(0)
		if d.m.queue.cursor != sample(2, t2, "", "").ID {
			t.Error("a click selects nothing")
		}
	})
}
