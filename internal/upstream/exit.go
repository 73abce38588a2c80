package upstream

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// quotedLines is how many of the last lines of standard error an ExitError
// quotes, in addition to one that mentions an error.
const quotedLines = 3

// ExitError reports that an upstream ended by itself or had to be ended.
type ExitError struct {
	Name    string
	Started bool // it sent at least one frame
	Code    int  // exit status, -1 if ended by a signal
	Signal  syscall.Signal
	Cause   error    // why the guard ended it; nil if it ended by itself
	Stderr  []string // its last lines
}

// Error returns a sentence for people: how the upstream ended and its last
// lines, quoted as plain ASCII in one line.
func (e *ExitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "server %q ", e.Name)
	switch {
	case e.Cause != nil:
		fmt.Fprintf(&b, "was ended: %v", e.Cause)
	case e.Signal != 0:
		fmt.Fprintf(&b, "was ended by signal %d (%v)", int(e.Signal), e.Signal)
	default:
		fmt.Fprintf(&b, "exited with status %d", e.Code)
	}
	if !e.Started {
		b.WriteString(" before its first message")
	}
	if lines := quoted(e.Stderr); len(lines) > 0 {
		b.WriteString("; it last printed ")
		for i, line := range lines {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%+q", cut(line, 300))
		}
	}
	return b.String()
}

// quoted returns the lines to quote: the last ones, preceded by the first line
// that mentions an error if that is an earlier one. Node prints its version
// last, npm the name of a log file.
func quoted(lines []string) []string {
	from := max(0, len(lines)-quotedLines)
	for _, l := range lines[:from] {
		if strings.Contains(strings.ToLower(l), "error") {
			return append([]string{l}, lines[from:]...)
		}
	}
	return lines[from:]
}

// Unwrap returns the cause.
func (e *ExitError) Unwrap() error { return e.Cause }

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}

// ExitError returns why the upstream ended, as an *ExitError. It is nil while
// the upstream runs, and nil if Stop ended it.
func (p *Process) ExitError() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping && p.cause == nil {
		return nil
	}
	e := &ExitError{Name: p.spec.Name, Started: p.started.Load(), Code: -1, Cause: p.cause, Stderr: p.stderr.lines()}
	if ws, ok := sysState(p.state); ok {
		e.Code = ws.ExitStatus()
		if ws.Signaled() {
			e.Signal = ws.Signal()
		}
	}
	return e
}

func sysState(s *os.ProcessState) (syscall.WaitStatus, bool) {
	if s == nil {
		return 0, false
	}
	ws, ok := s.Sys().(syscall.WaitStatus)
	return ws, ok
}

// errClosed is returned by writes to an upstream that is being stopped.
var errClosed = errors.New("its input is closed")
