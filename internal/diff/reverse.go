package diff

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// ErrNoReverse says that a patch cannot be taken back: it is not one that
// Unified makes, it states a binary change, or the content is not what it leads
// to.
var ErrNoReverse = errors.New("the patch cannot be taken back")

// Reverse returns the content before, given the one after and a patch by
// Unified between them. Every line that the patch states is compared; nothing is
// looked for elsewhere in the text. The result may be nil, which is empty.
func Reverse(after, patch []byte) (before []byte, err error) {
	at := bytes.Index(patch, []byte("\n@@ -"))
	if at < 0 {
		if bytes.Contains(patch, []byte("\nBinary files ")) {
			return nil, fmt.Errorf("%w: it is binary", ErrNoReverse)
		}
		return bytes.Clone(after), nil // a name or a mode alone
	}
	lines := splitLines(after)
	next := 0 // of after, not yet copied
	rest := patch[at+1:]
	for len(rest) > 0 {
		h, more, err := readHunk(rest)
		if err != nil {
			return nil, err
		}
		rest = more
		if h.start < next || h.start > len(lines) {
			return nil, fmt.Errorf("%w: its hunks do not fit", ErrNoReverse)
		}
		for _, l := range lines[next:h.start] {
			before = append(before, l...)
		}
		next = h.start
		for _, l := range h.lines {
			if l.sign != '-' {
				if next >= len(lines) || !bytes.Equal(lines[next], l.text) {
					return nil, fmt.Errorf("%w: line %d is another", ErrNoReverse, next+1)
				}
				next++
			}
			if l.sign != '+' {
				before = append(before, l.text...)
			}
		}
	}
	for _, l := range lines[next:] {
		before = append(before, l...)
	}
	return before, nil
}

type patchLine struct {
	sign byte
	text []byte // with its end
}

// patchHunk is one hunk; start is how many lines of the text after stand before
// it.
type patchHunk struct {
	start int
	lines []patchLine
}

// readHunk reads one hunk by the counts in its header.
func readHunk(b []byte) (h patchHunk, rest []byte, err error) {
	wrong := func() (patchHunk, []byte, error) {
		return patchHunk{}, nil, fmt.Errorf("%w: it is not one that is made here", ErrNoReverse)
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return wrong()
	}
	words := bytes.Fields(b[:end])
	if len(words) < 4 || string(words[0]) != "@@" || string(words[3]) != "@@" {
		return wrong()
	}
	_, old, ok1 := readRange(words[1], '-')
	from, fresh, ok2 := readRange(words[2], '+')
	if !ok1 || !ok2 {
		return wrong()
	}
	h.start = from - 1
	if fresh == 0 { // then the header names the line before
		h.start = from
	}
	b = b[end+1:]
	for old > 0 || fresh > 0 {
		end := bytes.IndexByte(b, '\n') + 1
		if end < 2 {
			return wrong()
		}
		l := patchLine{sign: b[0], text: b[1:end]}
		b = b[end:]
		if bytes.HasPrefix(b, []byte(noEOL)) {
			b = b[len(noEOL):]
			l.text = l.text[:len(l.text)-1]
		}
		switch l.sign {
		case ' ':
			old, fresh = old-1, fresh-1
		case '-':
			old--
		case '+':
			fresh--
		default:
			return wrong()
		}
		h.lines = append(h.lines, l)
	}
	if old != 0 || fresh != 0 || h.start < 0 {
		return wrong()
	}
	return h, b, nil
}

// readRange reads "-1,2" or "-1".
func readRange(word []byte, sign byte) (from, count int, ok bool) {
	if len(word) < 2 || word[0] != sign {
		return 0, 0, false
	}
	first, second, found := bytes.Cut(word[1:], []byte(","))
	from, err := strconv.Atoi(string(first))
	if count = 1; found && err == nil {
		count, err = strconv.Atoi(string(second))
	}
	return from, count, err == nil && from >= 0 && count >= 0
}
