package diff

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// applyUnified applies the hunks of a patch to before. It is written from the
// format's description, shares no code with the writer, and is strict: every
// count, line number and context byte must fit.
func applyUnified(before, patch []byte) ([]byte, error) {
	var out []byte
	rest, consumed := before, 0
	take := func() ([]byte, error) {
		if len(rest) == 0 {
			return nil, errors.New("patch goes beyond the end of the file")
		}
		i := bytes.IndexByte(rest, '\n') + 1
		if i == 0 {
			i = len(rest)
		}
		line := rest[:i]
		rest = rest[i:]
		consumed++
		return line, nil
	}
	// Skip the header up to the first hunk.
	for len(patch) > 0 && !bytes.HasPrefix(patch, []byte("@@ ")) {
		i := bytes.IndexByte(patch, '\n')
		if i < 0 {
			return nil, errors.New("header without newline")
		}
		patch = patch[i+1:]
	}
	produced := 0
	for len(patch) > 0 {
		i := bytes.IndexByte(patch, '\n')
		if i < 0 {
			return nil, errors.New("hunk header without newline")
		}
		oldStart, oldLines, newStart, newLines, err := parseHunkHeader(string(patch[:i]))
		if err != nil {
			return nil, err
		}
		patch = patch[i+1:]
		first := oldStart - 1
		if oldLines == 0 {
			first = oldStart
		}
		for consumed < first {
			line, err := take()
			if err != nil {
				return nil, err
			}
			out = append(out, line...)
			produced++
		}
		if at := produced + min(newLines, 1); at != newStart {
			return nil, fmt.Errorf("hunk says new line %d, is at %d", newStart, at)
		}
		for oldLines > 0 || newLines > 0 {
			i := bytes.IndexByte(patch, '\n')
			if i < 1 {
				return nil, errors.New("hunk ends early")
			}
			kind, line := patch[0], patch[1:i+1]
			patch = patch[i+1:]
			if bytes.HasPrefix(patch, []byte(noEOL)) {
				line = line[:len(line)-1]
				patch = patch[len(noEOL):]
			}
			if kind != '+' {
				oldLines--
				have, err := take()
				if err != nil {
					return nil, err
				}
				if !bytes.Equal(have, line) {
					return nil, fmt.Errorf("line %d is %q, patch says %q", consumed, have, line)
				}
			}
			if kind != '-' {
				newLines--
				produced++
				out = append(out, line...)
			}
			if kind != '+' && kind != '-' && kind != ' ' {
				return nil, fmt.Errorf("unknown line kind %q", kind)
			}
		}
		if oldLines != 0 || newLines != 0 {
			return nil, errors.New("hunk counts do not fit its lines")
		}
	}
	return append(out, rest...), nil
}

func parseHunkHeader(s string) (oldStart, oldLines, newStart, newLines int, err error) {
	f := strings.Fields(s)
	if len(f) != 4 || f[0] != "@@" || f[3] != "@@" {
		return 0, 0, 0, 0, fmt.Errorf("bad hunk header %q", s)
	}
	side := func(s, sign string) (start, lines int) {
		s, ok := strings.CutPrefix(s, sign)
		from, count, has := strings.Cut(s, ",")
		if !has {
			count = "1"
		}
		var e1, e2 error
		start, e1 = strconv.Atoi(from)
		lines, e2 = strconv.Atoi(count)
		if !ok || e1 != nil || e2 != nil {
			err = fmt.Errorf("bad hunk header %q", s)
		}
		return start, lines
	}
	oldStart, oldLines = side(f[1], "-")
	newStart, newLines = side(f[2], "+")
	return oldStart, oldLines, newStart, newLines, err
}

// checkResult verifies what any right result satisfies, against before and
// after themselves.
func checkResult(before, after []byte, r Result) error {
	if r.Binary {
		if !isBinary(before) && !isBinary(after) {
			return errors.New("text called binary")
		}
		return nil
	}
	if bytes.Equal(before, after) != r.Equal() {
		return fmt.Errorf("equal contents %v, Equal() %v", bytes.Equal(before, after), r.Equal())
	}
	a, b := splitLines(before), splitLines(after)
	added, removed := 0, 0
	for _, h := range r.Hunks {
		olds, news := 0, 0
		for _, l := range h.Lines {
			want := bytes.Clone(l.Text)
			if !l.NoEOL {
				want = append(want, '\n')
			}
			if l.Kind == Delete {
				removed++
			}
			if l.Kind == Insert {
				added++
			}
			if l.Kind != Insert {
				olds++
				if !bytes.Equal(a[l.Old-1], want) {
					return fmt.Errorf("old line %d is %q, hunk says %q", l.Old, a[l.Old-1], want)
				}
			}
			if l.Kind != Delete {
				news++
				if !bytes.Equal(b[l.New-1], want) {
					return fmt.Errorf("new line %d is %q, hunk says %q", l.New, b[l.New-1], want)
				}
			}
			if (l.Kind == Insert) != (l.Old == 0) || (l.Kind == Delete) != (l.New == 0) {
				return fmt.Errorf("line %+v has the wrong numbers", l)
			}
		}
		if olds != h.OldLines || news != h.NewLines {
			return fmt.Errorf("hunk %s holds %d and %d lines", h.Header(), olds, news)
		}
	}
	if added != r.Added || removed != r.Removed || len(a)-removed != len(b)-added {
		return fmt.Errorf("%d added and %d removed, result says %d and %d", added, removed, r.Added, r.Removed)
	}
	return nil
}
