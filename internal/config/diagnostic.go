package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pos is a position in a file. Line and Col count from 1; Line 0 means the whole
// file.
type Pos struct {
	File      string
	Line, Col int
}

func (p Pos) String() string {
	switch {
	case p.Line > 0:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
	case p.File == "":
		return "configuration"
	}
	return p.File
}

// Diagnostic is one problem: a sentence, and a suggestion if there is one.
type Diagnostic struct {
	Pos
	Message    string
	Suggestion string
}

func (d Diagnostic) String() string {
	if d.Suggestion == "" {
		return d.Pos.String() + ": " + d.Message
	}
	return d.Pos.String() + ": " + d.Message + " – " + d.Suggestion
}

// Error holds every problem of a configuration, in file order.
type Error struct {
	Diagnostics []Diagnostic
}

func (e *Error) Error() string {
	lines := make([]string, len(e.Diagnostics))
	for i, d := range e.Diagnostics {
		lines[i] = d.String()
	}
	return strings.Join(lines, "\n")
}

// NewError returns an *Error with the problems in file order, or nil if there are
// none.
func NewError(list []Diagnostic) error {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return &Error{Diagnostics: slices.Compact(list)}
}

// didYouMean suggests the known word nearest to word, or lists the known words if
// none is near and there are few.
func didYouMean(word string, known []string) string {
	best, at := "", len(word)/3+2
	for _, k := range known {
		d := distance(fold(word), fold(k))
		if strings.HasPrefix(fold(k), fold(word)) && len(word) >= 2 {
			d = min(d, 1)
		}
		if d < at {
			best, at = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	if len(known) > 0 && len(known) <= 16 {
		return "known: " + strings.Join(known, ", ")
	}
	return ""
}

func fold(s string) string {
	return strings.ReplaceAll(strings.ToLower(s), "-", "_")
}

// distance is the number of insertions, deletions, replacements and swaps of
// characters.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 64 || len(y) > 64 {
		return 64
	}
	rows := [3][]int{}
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
	}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(x); i++ {
		before, last, row := rows[0], rows[1], rows[2]
		row[0] = i
		for j := 1; j <= len(y); j++ {
			sub := 1
			if x[i-1] == y[j-1] {
				sub = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+sub)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		rows[0], rows[1], rows[2] = last, row, before
	}
	return rows[1][len(y)]
}
