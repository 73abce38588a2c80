package tui

import (
	"fmt"
	"runtime"
	"strings"

	tea "charm.land/bubbletea/v2"
)

// crash is a recovered panic. The console then ends as on quitting, so that
// the terminal is restored, and the panic becomes an error. The library's own
// handler would print the panic value, which may be untrusted text.
type crash struct {
	value any
	at    string // the line of code
}

func (c *crash) Error() string {
	return fmt.Sprintf("the console failed at %s; nothing was decided by that: %v", c.at, c.value)
}

// caught makes a crash of the value that recover returned.
func caught(v any) *crash {
	c := &crash{value: v, at: "an unknown place"}
	pc := make([]uintptr, 32)
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc)])
	for {
		f, more := frames.Next()
		if f.File != "" && !strings.HasPrefix(f.Function, "runtime.") {
			c.at = fmt.Sprintf("%s:%d", f.File[strings.LastIndexByte(f.File, '/')+1:], f.Line)
			return c
		}
		if !more {
			return c
		}
	}
}

// crashMsg reports a panic in a command.
type crashMsg struct{ crash *crash }

// fails ends the console with a crash.
func (m *Model) fails(c *crash) tea.Cmd {
	if m.crash == nil {
		m.crash = c
	}
	return tea.Quit
}

// safely runs a command, and the commands that it starts, so that a panic only
// ends the console.
func safely(cmd tea.Cmd) tea.Cmd {
	if cmd == nil {
		return nil
	}
	return func() (msg tea.Msg) {
		defer func() {
			if v := recover(); v != nil {
				msg = crashMsg{caught(v)}
			}
		}()
		msg = cmd()
		if batch, ok := msg.(tea.BatchMsg); ok {
			for i, c := range batch {
				batch[i] = safely(c)
			}
		}
		return msg
	}
}
