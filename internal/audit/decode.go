package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/digest"
)

// ErrLaterVersion means that a later version of the program wrote the record.
var ErrLaterVersion = errors.New("a later version of mcpguard wrote it")

// Decode reads what Encode of this or an earlier version wrote and nothing else.
// Members are found by their names; that the bytes are the one encoding of
// their event is checked by encoding it again in the form of its version. So
// unknown, missing or doubled members, other orders, blanks and other spellings
// of the same value are errors.
func Decode(data []byte) (Event, error) {
	e := Event{Version: 1}
	r := scanner{rest: string(data)}
	r.object(members[:], &e)
	if r.err == nil && r.rest != "" {
		r.fail("something follows the event")
	}
	if v := laterVersion(data, r.err, e); v > 0 {
		return Event{}, fmt.Errorf("decoding audit event: %w: it is of version %d, this program knows those up to %d", ErrLaterVersion, v, Version)
	}
	if r.err != nil {
		return Event{}, fmt.Errorf("decoding audit event: %w", r.err)
	}
	// What is left, such as bounds and escapes, Encode knows.
	again, err := e.Encode()
	if err != nil {
		return Event{}, fmt.Errorf("decoding audit event: %w", err)
	}
	if !bytes.Equal(again, data) {
		return Event{}, errors.New("decoding audit event: it is not in canonical form")
	}
	return e, nil
}

// laterVersion returns the version of a record that is later than this
// program's, else 0. It only words an error: the record is refused either way.
func laterVersion(data []byte, err error, e Event) int {
	if err != nil {
		var v struct {
			Version int `json:"version"`
		}
		if json.Unmarshal(data, &v) != nil {
			return 0
		}
		e.Version = v.Version
	}
	if e.Version <= Version {
		return 0
	}
	return e.Version
}

// scanner consumes JSON from the front. After its first error it returns zero
// values.
type scanner struct {
	rest string
	err  error
}

func (r *scanner) fail(why string) {
	if r.err == nil {
		r.err = errors.New(why)
	}
	r.rest = ""
}

func (r *scanner) want(literal string) {
	rest, ok := strings.CutPrefix(r.rest, literal)
	if !ok {
		r.fail("it does not have " + strconv.Quote(literal) + " where it should")
		return
	}
	r.rest = rest
}

// object reads an object whose members stand in list. The order of that is the
// likely one, and nothing more.
func (r *scanner) object(list []member, e *Event) {
	r.want("{")
	for next := 0; r.err == nil; next++ {
		name := r.str()
		r.want(":")
		if r.err != nil {
			return
		}
		for range list {
			if next >= len(list) {
				next = 0
			}
			if list[next].name == name {
				break
			}
			next++
		}
		if next >= len(list) || list[next].name != name {
			r.fail("it has the unknown member " + strconv.Quote(clip(name, 64)))
			return
		}
		list[next].value.read(r, e)
		if strings.HasPrefix(r.rest, "}") {
			break
		}
		r.want(",")
	}
	r.want("}")
}

// str reads a string. Strings without escapes are the rule.
func (r *scanner) str() string {
	r.want(`"`)
	if r.err != nil {
		return ""
	}
	for i := 0; i < len(r.rest); i++ {
		switch c := r.rest[i]; {
		case c == '"':
			s := r.rest[:i]
			r.rest = r.rest[i+1:]
			if !utf8.ValidString(s) {
				r.fail("a string is not valid UTF-8")
			}
			return s
		case c < 0x20:
			r.fail("a string has a control character")
			return ""
		case c == '\\':
			return r.escaped(i)
		}
	}
	r.fail("a string does not end")
	return ""
}

// escaped reads the rest of a string whose first escape is at i.
func (r *scanner) escaped(i int) string {
	for ; i < len(r.rest) && r.rest[i] != '"'; i++ {
		if r.rest[i] == '\\' {
			i++
		}
	}
	if i >= len(r.rest) {
		r.fail("a string does not end")
		return ""
	}
	var s string
	if err := json.Unmarshal([]byte(`"`+r.rest[:i+1]), &s); err != nil {
		r.fail("a string is malformed")
		return ""
	}
	r.rest = r.rest[i+1:]
	return s
}

func (r *scanner) num() int64 {
	i := 0
	for i < len(r.rest) && (r.rest[i] == '-' || r.rest[i] >= '0' && r.rest[i] <= '9') {
		i++
	}
	n, err := strconv.ParseInt(r.rest[:i], 10, 64)
	if err != nil {
		r.fail("a number is malformed")
		return 0
	}
	r.rest = r.rest[i:]
	return n
}

func (r *scanner) boolean() bool {
	if rest, ok := strings.CutPrefix(r.rest, "true"); ok {
		r.rest = rest
		return true
	}
	r.want("false")
	return false
}

func (r *scanner) digest() digest.Digest {
	if rest, ok := strings.CutPrefix(r.rest, "null"); ok {
		r.rest = rest
		return digest.Digest{}
	}
	d, err := digest.ParseDigest(r.str())
	if err != nil {
		r.fail("a digest is malformed")
	}
	return d
}

func (r *scanner) timestamp(e *Event) {
	var err error
	if e.Timestamp, err = time.Parse(timestampFormat, r.str()); err != nil {
		r.fail("the timestamp has another format")
	}
}

func (r *scanner) receipts(e *Event) {
	e.Receipts = nil
	r.want("[")
	for r.err == nil && !strings.HasPrefix(r.rest, "]") {
		if len(e.Receipts) > 0 {
			r.want(",")
		}
		r.want(`{"id":`)
		id := r.str()
		r.want(`,"kind":`)
		e.Receipts = append(e.Receipts, Receipt{ID: id, Kind: r.str()})
		r.want("}")
	}
	r.want("]")
}
