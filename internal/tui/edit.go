package tui

import (
	"strings"
	"unicode"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"github.com/mcpguard/mcpguard/internal/safetext"
)

// editor is a single-line input. It drops control characters; a pasted newline
// becomes a space.
type editor struct {
	text []rune
	at   int // of the cursor, in runes
	max  int // runes
}

func (e *editor) value() string { return string(e.text) }

func (e *editor) set(s string) {
	e.text, e.at = nil, 0
	e.insert(s)
}

// insert inserts s at the cursor, as far as there is room.
func (e *editor) insert(s string) {
	var in []rune
	for _, r := range strings.ReplaceAll(s, "\r\n", "\n") {
		switch {
		case r == utf8.RuneError:
			continue
		case r == '\n' || r == '\t' || r == '\r':
			r = ' '
		case !unicode.IsPrint(r):
			continue
		}
		in = append(in, r)
	}
	if room := e.max - len(e.text); len(in) > room {
		in = in[:max(0, room)]
	}
	rest := append([]rune{}, e.text[e.at:]...)
	e.text = append(append(e.text[:e.at], in...), rest...)
	e.at += len(in)
}

// key handles a key press and reports whether it was an editing key.
func (e *editor) key(k tea.KeyPressMsg) bool {
	switch k.String() {
	case "left", "ctrl+b":
		e.at = max(0, e.at-1)
	case "right", "ctrl+f":
		e.at = min(len(e.text), e.at+1)
	case "home", "ctrl+a":
		e.at = 0
	case "end", "ctrl+e":
		e.at = len(e.text)
	case "backspace", "ctrl+h":
		if e.at > 0 {
			e.text = append(e.text[:e.at-1], e.text[e.at:]...)
			e.at--
		}
	case "delete", "ctrl+d":
		if e.at < len(e.text) {
			e.text = append(e.text[:e.at], e.text[e.at+1:]...)
		}
	case "ctrl+u":
		e.text, e.at = append([]rune{}, e.text[e.at:]...), 0
	case "ctrl+k":
		e.text = e.text[:e.at]
	case "ctrl+w", "alt+backspace":
		i := e.at
		for i > 0 && e.text[i-1] == ' ' {
			i--
		}
		for i > 0 && e.text[i-1] != ' ' {
			i--
		}
		e.text = append(e.text[:i], e.text[e.at:]...)
		e.at = i
	default:
		if k.Text == "" || k.Mod&^tea.ModShift != 0 {
			return false
		}
		e.insert(k.Text)
	}
	return true
}

// show returns the part of the line that fits into cols cells, and the
// cursor's column in it.
func (e *editor) show(p pen, cols int) (safetext.Line, int) {
	before, after := p.text(string(e.text[:e.at])), p.text(string(e.text[e.at:]))
	cut := 0
	if before.Width() >= cols {
		cut = before.Width() - cols + 1
		before = before.Skip(cut)
	}
	return safetext.Concat(before, after).Truncate(cols), min(before.Width(), cols-1)
}
