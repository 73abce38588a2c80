package effect

import (
	"strings"
	"unicode/utf8"
)

// The functions of this file behave like JavaScript in Node.js: its decoding of
// bytes and its definition of white space. Text is UTF-8 without surrogates, so
// searching, splitting and replacing give the same results as on JavaScript's
// UTF-16.

// decodeUTF8 decodes bytes as Node's Buffer.toString does: each maximal invalid
// prefix becomes one U+FFFD (WHATWG Encoding, "UTF-8 decoder"). A byte order mark
// is kept.
func decodeUTF8(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out strings.Builder
	out.Grow(len(b) + len(b)/8)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r != utf8.RuneError || n > 1 {
			out.Write(b[:n])
			b = b[n:]
			continue
		}
		out.WriteRune(utf8.RuneError)
		b = b[badPrefix(b):]
	}
	return out.String()
}

// badPrefix returns the length of the invalid prefix of b that one U+FFFD replaces.
// b must not begin with a valid sequence.
func badPrefix(b []byte) int {
	need, lo, hi := 0, byte(0x80), byte(0xBF)
	switch c := b[0]; {
	case c >= 0xC2 && c <= 0xDF:
		need = 1
	case c >= 0xE0 && c <= 0xEF:
		need = 2
		if c == 0xE0 {
			lo = 0xA0
		}
		if c == 0xED {
			hi = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		need = 3
		if c == 0xF0 {
			lo = 0x90
		}
		if c == 0xF4 {
			hi = 0x8F
		}
	}
	n := 1
	for ; n <= need && n < len(b) && b[n] >= lo && b[n] <= hi; n++ {
		lo, hi = 0x80, 0xBF
	}
	return n
}

// jsSpace reports whether String.prototype.trim and \s treat r as white space: the
// WhiteSpace and LineTerminator productions of ECMAScript, without U+0085 and
// U+180E.
func jsSpace(r rune) bool {
	switch r {
	case '\t', '\n', '\v', '\f', '\r', ' ', 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF:
		return true
	}
	return r >= 0x2000 && r <= 0x200A
}

func jsTrim(s string) string      { return strings.TrimFunc(s, jsSpace) }
func jsTrimStart(s string) string { return strings.TrimLeftFunc(s, jsSpace) }

// jsIndent returns the leading white space of a line, /^\s*/.
func jsIndent(s string) string { return s[:len(s)-len(jsTrimStart(s))] }

// utf16Len returns the length of s in UTF-16 code units.
func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		if n++; r > 0xFFFF {
			n++
		}
	}
	return n
}

// lf replaces each CRLF with LF.
func lf(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }
