package jsonrpc

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainEnd returns the index of the first byte of b at or after i that is a
// quote, a backslash or a control character, len(b) if there is none. It looks
// at eight bytes at a time: the lowest flag of each term is exact, and only the
// lowest of all counts.
func plainEnd(b []byte, i int) int {
	for i+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[i:])
		q := w ^ ones*'"'
		s := w ^ ones*'\\'
		m := ((w-ones*0x20)&^w | (q-ones)&^q | (s-ones)&^s) & highs
		if m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
		i += 8
	}
	for i < len(b) && b[i] >= 0x20 && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// hex4 reads four hex digits at the start of b.
func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// escape reads the escape sequence at the start of b, which begins with a
// backslash. n is its length in bytes; on failure it is 0 and why says what is
// wrong.
func escape(b []byte) (r rune, n int, why Reason) {
	if len(b) < 2 {
		return 0, 0, Syntax
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2, 0
	case 'b':
		return '\b', 2, 0
	case 'f':
		return '\f', 2, 0
	case 'n':
		return '\n', 2, 0
	case 'r':
		return '\r', 2, 0
	case 't':
		return '\t', 2, 0
	case 'u':
	default:
		return 0, 0, Syntax
	}
	r, ok := hex4(b[2:])
	if !ok {
		return 0, 0, Syntax
	}
	if r < 0xd800 || r > 0xdfff {
		return r, 6, 0
	}
	if r >= 0xdc00 || len(b) < 12 || b[6] != '\\' || b[7] != 'u' {
		return 0, 0, LoneSurrogate
	}
	low, ok := hex4(b[8:])
	if !ok || low < 0xdc00 || low > 0xdfff {
		return 0, 0, LoneSurrogate
	}
	return 0x10000 + (r-0xd800)<<10 + (low - 0xdc00), 12, 0
}

// appendDecoded appends the decoded form of the inside of a JSON string.
func appendDecoded(dst, in []byte) ([]byte, bool) {
	for i := 0; i < len(in); {
		j := plainEnd(in, i)
		dst = append(dst, in[i:j]...)
		if j == len(in) {
			return dst, true
		}
		if in[j] != '\\' {
			return nil, false
		}
		r, n, _ := escape(in[j:])
		if n == 0 {
			return nil, false
		}
		dst = utf8.AppendRune(dst, r)
		i = j + n
	}
	return dst, true
}

// inside returns the bytes between the quotes of the string value at s.
func inside(raw []byte, s Span) ([]byte, bool) {
	v := s.bytes(raw)
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
		return nil, false
	}
	return v[1 : len(v)-1], true
}

// String decodes the JSON string at s. It reports false when the value there is
// not a string, or one that Admit would refuse.
func String(raw []byte, s Span) (string, bool) {
	in, ok := inside(raw, s)
	if !ok || !utf8.Valid(in) {
		return "", false
	}
	if plainEnd(in, 0) == len(in) {
		return string(in), true
	}
	out, ok := appendDecoded(make([]byte, 0, len(in)), in)
	return string(out), ok
}

// QuoteString returns s as a JSON string: quote, backslash, control characters,
// DEL, U+2028 and U+2029 escaped, bytes that are not UTF-8 replaced by U+FFFD,
// everything else as it is.
func QuoteString(s string) []byte { return appendQuoted(make([]byte, 0, len(s)+2), s) }

func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c == '"' || c == '\\':
				dst = append(dst, '\\', c)
			case c == '\n':
				dst = append(dst, `\n`...)
			case c == '\r':
				dst = append(dst, `\r`...)
			case c == '\t':
				dst = append(dst, `\t`...)
			case c < 0x20 || c == 0x7f:
				dst = append(dst, `\u00`...)
				dst = append(dst, hex[c>>4], hex[c&15])
			default:
				dst = append(dst, c)
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\u2028':
			dst = append(dst, `\u2028`...)
		case r == '\u2029':
			dst = append(dst, `\u2029`...)
		default:
			dst = utf8.AppendRune(dst, r)
		}
		i += n
	}
	return append(dst, '"')
}
