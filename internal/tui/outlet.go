package tui

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/charmbracelet/x/term"
)

// A terminal that no one reads (a stopped multiplexer, a frozen connection)
// takes a few kilobytes and then blocks the writer indefinitely. A console
// that is told to end must not wait for it.

// outletPatience is how long a console that was told to end waits for a
// terminal that takes nothing.
const outletPatience = 500 * time.Millisecond

var errUnread = errors.New("the terminal takes nothing any more")

// outlet writes to out until giveUp. After that it writes nothing, and a
// blocked write is abandoned.
type outlet struct {
	out   io.Writer
	given chan struct{} // closed by giveUp
	once  sync.Once
}

func newOutlet(out io.Writer) *outlet { return &outlet{out: out, given: make(chan struct{})} }

// giveUp ends all writing.
func (o *outlet) giveUp() { o.once.Do(func() { close(o.given) }) }

// Write writes p, or fails once the outlet is given up.
func (o *outlet) Write(p []byte) (int, error) {
	select {
	case <-o.given:
		return 0, errUnread
	default:
	}
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	own := append([]byte(nil), p...) // the caller may reuse p once this write is abandoned
	go func() {                      // ends with the write, or with the program
		n, err := o.out.Write(own)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return r.n, r.err
	case <-o.given:
		return 0, errUnread
	}
}

// terminalOutlet is the outlet of a terminal, which the library queries for
// its size and modes.
type terminalOutlet struct {
	term.File
	*outlet
}

// Write writes through the outlet.
func (t terminalOutlet) Write(p []byte) (int, error) { return t.outlet.Write(p) }

// writer returns what the library writes to.
func (o *outlet) writer() io.Writer {
	if f, ok := o.out.(term.File); ok {
		return terminalOutlet{f, o}
	}
	return o
}
