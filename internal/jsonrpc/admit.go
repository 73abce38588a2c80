package jsonrpc

import (
	"fmt"
	"unicode/utf8"
)

// Defaults and bounds of [Limits].
const (
	DefaultMaxFrame = 16 << 20 // bytes
	DefaultMaxDepth = 100      // nested objects and arrays, the envelope included

	maxMaxFrame = 1 << 30 // spans of names are kept in 32 bits
	maxMaxDepth = 10_000  // the scanner recurses
)

// Limits bounds a frame. Zero or negative fields take the defaults; values over
// 1 GiB and 10,000 levels are cut down to these.
type Limits struct {
	MaxFrame int // bytes, newline not counted
	MaxDepth int // nesting of objects and arrays
	// AllowCR takes a carriage return between tokens for white space, as JSON
	// does. It is for texts that are no frames, such as files.
	AllowCR bool
}

func (l Limits) withDefaults() Limits {
	if l.MaxFrame <= 0 {
		l.MaxFrame = DefaultMaxFrame
	}
	if l.MaxDepth <= 0 {
		l.MaxDepth = DefaultMaxDepth
	}
	l.MaxFrame = min(l.MaxFrame, maxMaxFrame)
	l.MaxDepth = min(l.MaxDepth, maxMaxDepth)
	return l
}

// Side says who sent a frame. Admission is the same for both; what a message
// means may differ. The zero value is invalid.
type Side uint8

// The two sides of a session.
const (
	FromClient Side = iota + 1
	FromServer
)

// MessageKind tells requests, notifications and responses apart. The zero value
// is invalid.
type MessageKind uint8

// The kinds of message.
const (
	Request MessageKind = iota + 1
	Notification
	Response
)

// String returns the kind in lower case.
func (k MessageKind) String() string {
	switch k {
	case Request:
		return "request"
	case Notification:
		return "notification"
	case Response:
		return "response"
	default:
		return "invalid"
	}
}

// Message is an admitted frame. Raw is the frame as it was given to [Admit],
// not a copy: whoever changes it changes the message. A Message may be read by
// several goroutines.
type Message struct {
	Raw    []byte
	Kind   MessageKind
	ID     ID     // zero for notifications, and for error responses that answer no known request
	Method string // decoded; empty for responses

	// Where the values are in Raw; zero where the member is absent. Params is an
	// object or null, Error an object, Result any value.
	IDSpan, Params, Result, Error Span
}

// ParamsRaw returns the bytes of params within Raw, nil if absent.
func (m *Message) ParamsRaw() []byte { return m.Params.bytes(m.Raw) }

// ResultRaw returns the bytes of result within Raw, nil if absent.
func (m *Message) ResultRaw() []byte { return m.Result.bytes(m.Raw) }

// ErrorRaw returns the bytes of error within Raw, nil if absent.
func (m *Message) ErrorRaw() []byte { return m.Error.bytes(m.Raw) }

// Param returns where the value of the named first-level member of params is.
func (m *Message) Param(name string) (Span, bool) { return Member(m.Raw, m.Params, name) }

// Admit decides whether a frame (without its newline) means one thing only, and
// what. Members that it does not know are kept. The error is always a
// *[Refusal]; the frame must then not be forwarded.
//
// A frame is refused when it is not one JSON object by RFC 8259; has two members
// of one decoded name in any object; has a member of the envelope or of params
// whose name differs from a known one only by case; has invalid UTF-8, a lone
// surrogate, a NUL in a name, a carriage return between tokens (readers that
// split lines there would see other frames); nests too deep or is too large; has
// a number in params.arguments that the canonical form would change; is a batch;
// lacks "jsonrpc": "2.0"; or is not exactly one of request, notification and
// response. An id is a string of at most 1024 bytes or an integer within ±2^53
// in plain decimal. Only the response {"error": …} may have the id null or none.
//
// It takes one pass, linear in the frame, and keeps no state.
func Admit(frame []byte, l Limits) (Message, error) {
	l = l.withDefaults()
	var names [48]nameRef
	s := scanner{b: frame, maxDepth: l.MaxDepth, names: names[:0]}
	m, ok := s.message(l.MaxFrame)
	if !ok {
		// fail closed: the zero Message, whatever was read so far.
		r := &Refusal{Reason: s.why, Offset: s.at, Detail: s.detail()}
		if len(frame) <= l.MaxFrame {
			var sn sniffer
			sn.write(frame)
			r.ID, r.Kind = sn.verdict()
		}
		return Message{}, r
	}
	return m, nil
}

// Check applies the rules for values (no duplicate names, depth, UTF-8,
// surrogates, size, grammar) to any single JSON value with white space around
// it. The error is a *[Refusal].
func Check(value []byte, l Limits) error {
	l = l.withDefaults()
	var names [48]nameRef
	s := scanner{b: value, maxDepth: l.MaxDepth, allowCR: l.AllowCR, names: names[:0]}
	if !s.lone(l.MaxFrame) {
		return &Refusal{Reason: s.why, Offset: s.at, Detail: s.detail()}
	}
	return nil
}

func (s *scanner) fits(maxFrame int) bool {
	if len(s.b) > maxFrame {
		s.fail(TooLarge, 0)
		return false
	}
	if !utf8.Valid(s.b) {
		i := 0
		for {
			r, n := utf8.DecodeRune(s.b[i:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			i += n
		}
		s.fail(InvalidUTF8, i)
		return false
	}
	return true
}

func (s *scanner) lone(maxFrame int) bool {
	if !s.fits(maxFrame) {
		return false
	}
	i := s.space(0)
	if i < 0 {
		return false
	}
	if i = s.value(i, 0, plain); i < 0 {
		return false
	}
	return s.end(i)
}

func (s *scanner) end(i int) bool {
	if i = s.space(i); i < 0 {
		return false
	}
	if i < len(s.b) {
		s.fail(TrailingData, i)
		return false
	}
	return true
}

// message reads the whole frame.
func (s *scanner) message(maxFrame int) (Message, bool) {
	if !s.fits(maxFrame) {
		return Message{}, false
	}
	i := s.space(0)
	if i < 0 {
		return Message{}, false
	}
	if i == len(s.b) {
		s.fail(Syntax, i)
		return Message{}, false
	}
	switch s.b[i] {
	case '{':
	case '[':
		s.fail(Batch, i)
		return Message{}, false
	default:
		if j := s.value(i, 0, plain); j >= 0 && s.end(j) {
			s.fail(NotAnObject, i)
		}
		return Message{}, false
	}
	if i = s.object(i, 1, envelope); i < 0 || !s.end(i) {
		return Message{}, false
	}
	return s.classify()
}

// classify turns the envelope's spans into a message.
func (s *scanner) classify() (Message, bool) {
	e := &s.env
	m := Message{Raw: s.b, IDSpan: e.id, Params: e.params, Result: e.result, Error: e.err}
	refuse := func(why Reason, at Span) (Message, bool) {
		s.fail(why, at.Start)
		return Message{}, false
	}
	if !s.isVersion2(e.version) {
		return refuse(BadVersion, e.version)
	}
	nullID := !e.id.IsZero() && s.b[e.id.Start] == 'n'
	if !e.id.IsZero() && !nullID {
		id, ok := IDFrom(s.b, e.id)
		if !ok {
			return refuse(BadID, e.id)
		}
		m.ID = id
	}
	if !e.params.IsZero() && s.b[e.params.Start] != '{' && s.b[e.params.Start] != 'n' {
		return refuse(BadParams, e.params)
	}
	hasResult, hasError := !e.result.IsZero(), !e.err.IsZero()
	if !e.method.IsZero() {
		if hasResult || hasError {
			return refuse(NotAMessage, e.method)
		}
		if nullID {
			return refuse(BadID, e.id)
		}
		in, ok := inside(s.b, e.method)
		if !ok {
			return refuse(BadMethod, e.method)
		}
		if plainEnd(in, 0) < len(in) {
			in, _ = appendDecoded(nil, in) // valid: the scanner has read it
		}
		m.Method = methodName(in)
		m.Kind = Notification
		if !m.ID.IsZero() {
			m.Kind = Request
		}
		return m, true
	}
	if hasResult == hasError || !e.params.IsZero() {
		return refuse(NotAMessage, Span{})
	}
	if hasResult && m.ID.IsZero() {
		return refuse(BadID, e.id)
	}
	if hasError && s.b[e.err.Start] != '{' {
		return refuse(NotAMessage, e.err)
	}
	m.Kind = Response
	return m, true
}

func (s *scanner) isVersion2(v Span) bool {
	if string(v.bytes(s.b)) == `"2.0"` {
		return true
	}
	str, ok := String(s.b, v)
	return ok && str == "2.0"
}

// detail says where the scanner stopped, and at what.
func (s *scanner) detail() string {
	if s.why == TooLarge {
		return fmt.Sprintf("%d bytes", len(s.b))
	}
	if s.note != "" {
		return fmt.Sprintf("at byte %d: %s", s.at, s.note)
	}
	if s.at >= len(s.b) {
		return fmt.Sprintf("at byte %d: end of frame", s.at)
	}
	return fmt.Sprintf("at byte %d: %+q", s.at, s.b[s.at:min(len(s.b), s.at+32)])
}
