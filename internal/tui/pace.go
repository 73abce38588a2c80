package tui

import (
	"reflect"
	"runtime/debug"
	"time"
	"unsafe"

	tea "charm.land/bubbletea/v2"
)

// The library looks for a changed frame at a fixed rate for ever: at 60 Hz that
// alone costs more than everything else that an idle console does, at 30 Hz a
// key waits too long for its frame. So the rate follows what happens. The
// library's option sets the rate once, before the start; it has nothing for
// later.
const (
	busyRate = time.Second / 200
	idleRate = time.Second / 4
	// calmAfter is how long nothing must have happened but the passing of time.
	calmAfter = 500 * time.Millisecond
	// freeEvery is how often a calm console gives memory back at most: what was
	// read of a long change or a long queue is a multiple of what is kept.
	freeEvery = 30 * time.Second
)

// pacer sets the rate of a program's renderer. The zero pacer does nothing.
type pacer struct {
	program *tea.Program
	set     bool // the rate is one of ours, not the library's
	slow    bool
	last    time.Time // something happened
	freed   time.Time // memory was given back
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
		if p.slow || !p.set {
			p.slow, p.set = false, true
			t.Reset(busyRate)
		}
		return
	}
	if !p.slow && now.Sub(p.last) > calmAfter {
		p.slow = true
		t.Reset(idleRate)
		if now.Sub(p.freed) > freeEvery {
			p.freed = now
			go debug.FreeOSMemory() // ends by itself, in milliseconds
		}
	}
}
