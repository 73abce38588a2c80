package tui

import (
	"reflect"
	"time"
	"unsafe"

	tea "charm.land/bubbletea/v2"
)

// The library looks for a changed frame at a fixed rate for ever: at 60 Hz that
// alone costs more than everything else that an idle console does, at 30 Hz a
// key waits too long for its frame. So the rate follows what happens.
const (
	busyRate = time.Second / 120
	idleRate = time.Second / 4
	// calmAfter is how long nothing must have happened but the passing of time.
	calmAfter = 500 * time.Millisecond
)

// pacer sets the rate of a program's renderer. The zero pacer does nothing.
type pacer struct {
	program *tea.Program
	slow    bool
	last    time.Time // something happened
}

// ticker returns the renderer's ticker, nil where the library has none under
// that name: then its own rate holds. The library has no call for it; it is
// pinned, and a test tells when a newer one differs. Called by the program's
// loop alone, which is also what sets the field.
func (p *pacer) ticker() *time.Ticker {
	if p.program == nil {
		return nil
	}
	f := reflect.ValueOf(p.program).Elem().FieldByName("ticker")
	if !f.IsValid() || f.Type() != reflect.TypeFor[*time.Ticker]() {
		return nil
	}
	return *(**time.Ticker)(unsafe.Pointer(f.UnsafeAddr()))
}

// happened follows one message.
func (p *pacer) happened(msg tea.Msg) {
	t := p.ticker()
	if t == nil {
		return
	}
	now := time.Now()
	if _, passing := msg.(tickMsg); !passing {
		p.last = now
		if p.slow {
			p.slow = false
			t.Reset(busyRate)
		}
		return
	}
	if !p.slow && now.Sub(p.last) > calmAfter {
		p.slow = true
		t.Reset(idleRate)
	}
}
