package jsonrpc

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// maxSafeInteger is 2^53: every integer up to it survives a float64.
const maxSafeInteger = 1 << 53

// maxIDLen bounds the decoded length of a string id in bytes: ids are kept as
// map keys for as long as a call is open.
const maxIDLen = 1024

type idKind uint8

const (
	idNone idKind = iota
	idInt
	idString
	idOdd // only to be sent back: what came, which no request may have
)

// ID is a JSON-RPC id (or a progress token, which has the same form): a string
// or an integer within ±2^53. IDs are equal (==, as map keys) exactly when
// their decoded values are, so "\u0031" equals "1", and neither equals 1. The
// zero ID is no id.
//
// A [Refusal] may carry an odd id, which Admit takes from nobody: the sender's own
// text, such as 1.0, for the answer that says so. No admitted message has one.
type ID struct {
	kind idKind
	num  int64
	str  string
}

// StringID returns the id with the string value s, which must be valid UTF-8.
func StringID(s string) ID { return ID{kind: idString, str: s} }

// IntID returns the id with the integer value n, which must be within ±2^53.
func IntID(n int64) ID { return ID{kind: idInt, num: n} }

// AsInteger returns the integer that a text id spells, as servers answer that
// make a text of each id.
func (id ID) AsInteger() (ID, bool) {
	if id.kind != idString {
		return ID{}, false
	}
	n, ok := plainInteger([]byte(id.str))
	return IntID(n), ok
}

// IsZero reports whether there is no id.
func (id ID) IsZero() bool { return id.kind == idNone }

// Raw returns the id as JSON in its shortest spelling, "null" for the zero ID.
// The result is the caller's.
func (id ID) Raw() []byte { return id.appendTo(nil) }

// String returns what Raw does, so that "1" and 1 stay apart in a log.
func (id ID) String() string { return string(id.appendTo(nil)) }

func (id ID) appendTo(dst []byte) []byte {
	switch id.kind {
	case idInt:
		return strconv.AppendInt(dst, id.num, 10)
	case idString:
		return appendQuoted(dst, id.str)
	case idOdd:
		return append(dst, id.str...)
	default:
		return append(dst, "null"...)
	}
}

// IDFrom reads the value at s as an id: a request's id, a requestId or a
// progressToken. It reports false for anything that Admit would refuse as one.
func IDFrom(raw []byte, s Span) (ID, bool) {
	v := s.bytes(raw)
	if len(v) == 0 {
		return ID{}, false
	}
	if v[0] == '"' {
		if len(v) > 6*maxIDLen+2 {
			return ID{}, false
		}
		str, ok := String(raw, s)
		if !ok || len(str) > maxIDLen {
			return ID{}, false
		}
		return StringID(str), true
	}
	n, ok := plainInteger(v)
	if !ok {
		return ID{}, false
	}
	return IntID(n), true
}

// oddID keeps the text of an id that IDFrom refuses, where it is one scalar. It
// reports false for null, which is no id, and for what would not be JSON again.
func oddID(raw []byte) (ID, bool) {
	if len(raw) == 0 || len(raw) > maxIDLen || bytes.IndexByte([]byte("{[n"), raw[0]) >= 0 || !utf8.Valid(raw) || !json.Valid(raw) {
		return ID{}, false
	}
	return ID{kind: idOdd, str: string(raw)}, true
}

// plainInteger reads an integer within ±2^53 in plain decimal: no fraction, no
// exponent, no leading zero, no -0.
func plainInteger(v []byte) (int64, bool) {
	digits := v
	neg := false
	if len(digits) > 0 && digits[0] == '-' {
		neg, digits = true, digits[1:]
	}
	if len(digits) == 0 || len(digits) > 16 || digits[0] == '0' && (neg || len(digits) > 1) {
		return 0, false
	}
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if n > maxSafeInteger {
		return 0, false
	}
	if neg {
		n = -n
	}
	return n, true
}
