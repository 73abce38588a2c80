package audit

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/digest"
)

// timestampFormat is RFC 3339 in UTC with milliseconds.
const timestampFormat = "2006-01-02T15:04:05.000Z"

// Encode normalises e and returns its canonical JSON (RFC 8785), in the form of
// its version. Two events with one encoding are the same event. The writer is
// made by hand because it runs several times for each tool call; a test holds
// it to the general canonical form.
func (e Event) Encode() ([]byte, error) {
	e = e.Normalize()
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("encoding audit event: %w", err)
	}
	w := writer{make([]byte, 0, 2048)}
	w.object(members[:], &e)
	return w.b, nil
}

// MarshalJSON returns the canonical form, so that an export shows what was
// recorded and not a second spelling of it.
func (e Event) MarshalJSON() ([]byte, error) { return e.Encode() }

// writer appends canonical JSON. Names are plain ASCII; values are valid UTF-8.
type writer struct{ b []byte }

func (w *writer) raw(s string) { w.b = append(w.b, s...) }

// object writes those members that a record of the event's version has. Each
// object has one that is of version 1, which comes first.
func (w *writer) object(list []member, e *Event) {
	before := byte('{')
	for i := range list {
		m := &list[i]
		if m.since > e.Version {
			continue
		}
		w.b = append(w.b, before, '"')
		w.b = append(w.b, m.name...)
		w.b = append(w.b, '"', ':')
		m.value.write(w, e)
		before = ','
	}
	w.b = append(w.b, '}')
}

func (w *writer) str(s string) { w.b = appendString(w.b, s) }

func (w *writer) num(n int64) { w.b = strconv.AppendInt(w.b, n, 10) }

func (w *writer) boolean(v bool) { w.b = strconv.AppendBool(w.b, v) }

func (w *writer) digest(d digest.Digest) {
	if d.IsZero() {
		w.raw("null")
		return
	}
	w.raw(`"sha256:`) // as digest.Digest spells itself
	w.b = hex.AppendEncode(w.b, d[:])
	w.raw(`"`)
}

func (w *writer) timestamp(e *Event) {
	w.b = append(e.Timestamp.AppendFormat(append(w.b, '"'), timestampFormat), '"')
}

func (w *writer) receipts(e *Event) {
	w.raw("[")
	for i, r := range e.Receipts {
		if i > 0 {
			w.raw(",")
		}
		w.raw(`{"id":`)
		w.str(r.ID)
		w.raw(`,"kind":`)
		w.str(r.Kind)
		w.raw("}")
	}
	w.raw("]")
}

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string as RFC 8785, section 3.2.2.2 has it: only
// the quotation mark, the backslash and the control characters are escaped.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf || c >= utf8.RuneSelf {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\f':
			b = append(b, `\f`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
