package tui

import (
	"strings"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"
)

// filteredList is a list that is read page by page, newest first. The daemon
// filters it by kind; the text filter is applied here.
type filteredList[T any] struct {
	list
	gen     int // of the awaited request
	all     []T
	shown   []int // indexes into all that match the text
	kind    int
	input   *editor // open filter line
	text    string
	loading bool
	older   bool // more can be read
	err     string
}

const pageSize = 100

// ask starts a new reading and returns its number.
func (s *filteredList[T]) ask() int {
	s.gen++
	s.loading = true
	return s.gen
}

// take adds a page and reports whether it was awaited. words returns the
// lower-case text that the filter searches.
func (s *filteredList[T]) take(gen int, page []T, behind bool, err error, words func(T) string) bool {
	if gen != s.gen {
		return false
	}
	s.loading, s.err = false, ""
	if err != nil {
		s.err = err.Error()
		return false
	}
	if !behind {
		s.all = nil
	}
	s.all = append(s.all, page...)
	s.sift(words)
	return true
}

// sift applies the text filter.
func (s *filteredList[T]) sift(words func(T) string) {
	s.shown = s.shown[:0]
	want := strings.ToLower(s.text)
	for i, v := range s.all {
		if want == "" || strings.Contains(words(v), want) {
			s.shown = append(s.shown, i)
		}
	}
	s.resize(len(s.shown))
}

// here returns the item under the cursor.
func (s *filteredList[T]) here() (v T, ok bool) {
	if s.cursor >= len(s.shown) {
		return v, false
	}
	return s.all[s.shown[s.cursor]], true
}

// search opens the filter line.
func (s *filteredList[T]) search() {
	s.input = &editor{max: 100}
	s.input.set(s.text)
}

// typing reports whether the filter line is open.
func (s *filteredList[T]) typing() bool { return s.input != nil }

// typed handles a key of the filter line, and reports whether the line is
// open.
func (s *filteredList[T]) typed(k tea.KeyPressMsg, words func(T) string) bool {
	if s.input == nil {
		return false
	}
	done := false
	switch k.String() {
	case "enter":
		done = true
	case "esc", "ctrl+c":
		s.input.set("")
		done = true
	default:
		s.input.key(k)
	}
	s.text = s.input.value()
	if done {
		s.input = nil
	}
	s.sift(words)
	return true
}

// hints returns the keys of a list.
func (s *filteredList[T]) hints(m *Model) []hint {
	k := m.keys
	return []hint{{b: k.Open, say: "details", on: s.n > 0}, {b: k.Filter, say: "kind", on: true}, {b: k.Search, say: "filter", on: true}, {b: k.More, say: "older", on: s.older}}
}

// filteredRows returns the tabs, the filter and the matching rows.
func filteredRows[T any](m *Model, s *filteredList[T], kind string, paint func(v T, here bool, w int) string, w, h int) []string {
	out := []string{m.tabs(w), filterRow(m, s, kind, w)}
	switch {
	case s.err != "":
		return block(append(out, m.wrapped(m.th.Bad, s.err, w)...), w, h)
	case len(s.shown) == 0 && !s.loading:
		word := "Nothing here yet."
		if s.text != "" || s.kind > 0 {
			word = "Nothing matches the filter."
		}
		return block(append(out, row{m.gap(1), {m.th.Dim, m.pen.text(word)}}.fit(w)), w, h)
	}
	from, to := s.window(h - len(out))
	for i := from; i < to; i++ {
		out = append(out, paint(s.all[s.shown[i]], i == s.cursor, w))
	}
	return block(out, w, h)
}

// filterRow describes the filter of a list.
func filterRow[T any](m *Model, s *filteredList[T], kind string, w int) string {
	title := row{{m.th.Dim, m.pen.text(kind)}}
	switch {
	case s.input != nil:
		title = append(title, seg{m.th.Prompt, m.pen.text(" / ")}, seg{m.th.Input, m.pen.text(s.input.value())}, seg{m.th.Prompt, m.pen.text("_")})
	case s.text != "":
		title = append(title, seg{m.th.Accent, m.pen.say(" / %s", s.text)})
	}
	count := plural2(len(s.shown), "entry", "entries")
	if s.older {
		count += ", more to load"
	}
	if s.loading {
		count = "reading" + m.sign.ellipsis
	}
	return m.rule(title, row{{m.th.Dim, m.pen.text(count)}}, w)
}

// listKey handles the movement keys of a list.
func (m *Model) listKey(k tea.KeyPressMsg, l *list) bool {
	page := max(1, m.h-5)
	switch {
	case key.Matches(k, m.keys.Down):
		l.move(1)
	case key.Matches(k, m.keys.Up):
		l.move(-1)
	case key.Matches(k, m.keys.PageDown):
		l.move(page)
	case key.Matches(k, m.keys.PageUp):
		l.move(-page)
	case key.Matches(k, m.keys.Top):
		l.move(-l.n)
	case key.Matches(k, m.keys.Bottom):
		l.move(l.n)
	default:
		return false
	}
	return true
}
