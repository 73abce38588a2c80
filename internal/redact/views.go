package redact

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// view is the text with one layer of escapes undone, and the original position of
// each of its bytes and of its end.
type view struct {
	text []byte
	from []int32 // nil for the original itself
}

func (v view) origin(i int) int {
	if v.from == nil {
		return i
	}
	return int(v.from[i])
}

// maxLayers is how many layers of backslashes and percent signs are undone. Text
// escaped more often is not readable anyway.
const maxLayers = 4

// views calls scan for the text and for every layer beneath it.
func (r *Redactor) views(b []byte, scan func(view)) {
	v := view{text: b}
	scan(v)
	for range maxLayers {
		if !r.backslashes(v.text) {
			break
		}
		next := peel(v, '\\', unescape)
		if len(next.text) == len(v.text) {
			break
		}
		v = next
		scan(v)
	}
	for range maxLayers {
		if !percents(v.text) {
			break
		}
		next := peel(v, '%', unpercent)
		if len(next.text) == len(v.text) {
			break
		}
		v = next
		scan(v)
	}
}

// backslashes reports whether undoing escapes could reveal a secret: always for
// escapes that can spell any letter, otherwise only if a configured secret has
// characters that are escaped.
func (r *Redactor) backslashes(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+1 >= len(b) {
			return false
		}
		if r.escapes {
			return true
		}
		switch b[i+1] {
		case 'u', 'U', 'x', '/':
			return true
		case '\\':
			// A deeper layer may hold one of these.
			rest := bytes.TrimLeft(b[i:], `\`)
			if len(rest) > 0 && (rest[0] == 'u' || rest[0] == 'x' || rest[0] == '/') {
				return true
			}
			b = rest
			continue
		}
		b = b[i+2:]
	}
}

func percents(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '%')
		if i < 0 || i+2 >= len(b) {
			return false
		}
		if hexDigits[b[i+1]] && hexDigits[b[i+2]] {
			return true
		}
		b = b[i+1:]
	}
}

// peel undoes one layer of escapes that begin with mark.
func peel(v view, mark byte, undo func(b []byte) (r rune, raw bool, n int)) view {
	out := view{text: make([]byte, 0, len(v.text)), from: make([]int32, 0, len(v.text)+1)}
	put := func(i int, text ...byte) {
		for range text {
			out.from = append(out.from, int32(v.origin(i)))
		}
		out.text = append(out.text, text...)
	}
	for i := 0; i < len(v.text); {
		c := v.text[i]
		if c != mark {
			put(i, c)
			i++
			continue
		}
		r, raw, n := undo(v.text[i:])
		switch {
		case n == 0:
			put(i, c)
			n = 1
		case raw:
			put(i, byte(r))
		default:
			var buf [utf8.UTFMax]byte
			put(i, buf[:utf8.EncodeRune(buf[:], r)]...)
		}
		i += n
	}
	out.from = append(out.from, int32(v.origin(len(v.text))))
	return out
}

// unescape reads one escape of JSON, JavaScript, Go or Python.
func unescape(b []byte) (r rune, raw bool, n int) {
	if len(b) < 2 {
		return 0, false, 0
	}
	switch b[1] {
	case 'n':
		return '\n', false, 2
	case 'r':
		return '\r', false, 2
	case 't':
		return '\t', false, 2
	case 'b':
		return '\b', false, 2
	case 'f':
		return '\f', false, 2
	case '"', '\'', '\\', '/', '`':
		return rune(b[1]), false, 2
	case 'x':
		if v, ok := hexValue(b, 2, 2); ok {
			return v, true, 4
		}
	case 'u':
		v, ok := hexValue(b, 2, 4)
		if !ok {
			return 0, false, 0
		}
		if 0xd800 <= v && v < 0xdc00 && len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
			if low, ok := hexValue(b, 8, 4); ok && 0xdc00 <= low && low < 0xe000 {
				return 0x10000 + (v-0xd800)<<10 + (low - 0xdc00), false, 12
			}
		}
		return v, false, 6
	case 'U':
		if v, ok := hexValue(b, 2, 8); ok {
			return v, false, 10
		}
	}
	return 0, false, 0
}

func unpercent(b []byte) (r rune, raw bool, n int) {
	if v, ok := hexValue(b, 1, 2); ok {
		return v, true, 3
	}
	return 0, false, 0
}

func hexValue(b []byte, from, digits int) (rune, bool) {
	if len(b) < from+digits {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[from:from+digits]), 16, 31)
	return rune(v), err == nil
}
