package jsonrpc

import "bytes"

// maxSniffName and maxSniffID bound what a sniffer keeps, in raw bytes; \u0069\u0064
// is a way to write id.
const (
	maxSniffName = 64
	maxSniffID   = 6*maxIDLen + 2
)

// sniffer tells the id and kind of a frame that is refused, possibly one that is
// no JSON or too large to be held. It follows strings and brackets only, one
// byte at a time, in constant memory. An id that is there twice (also as "ID")
// is no id.
type sniffer struct {
	depth    int
	inString bool
	escaped  bool
	dead     bool // not an object, or over

	wantName bool // at depth 1, between { or , and the name
	inName   bool
	name     []byte
	taking   bool // the value of an id is being read
	id       []byte
	ids      int

	method, answer bool
}

func (s *sniffer) write(p []byte) {
	for _, c := range p {
		if s.dead {
			return
		}
		s.step(c)
	}
}

func (s *sniffer) step(c byte) {
	if s.inString {
		s.keep(c)
		switch {
		case s.escaped:
			s.escaped = false
		case c == '\\':
			s.escaped = true
		case c == '"':
			s.inString = false
			s.inName = false
		}
		return
	}
	switch c {
	case ' ', '\t', '\n', '\r':
		return
	case '"':
		s.inString = true
		if s.depth == 1 && s.wantName {
			s.wantName, s.inName = false, true
			s.name = s.name[:0]
		}
		s.keep(c)
		s.dead = s.depth == 0
		return
	case '{', '[':
		s.depth++
		if s.depth == 1 {
			s.dead = c == '['
			s.wantName = true
			return
		}
	case '}', ']':
		s.depth--
		if s.depth <= 0 {
			s.dead = true
			return
		}
	case ',':
		if s.depth == 1 {
			s.taking, s.wantName = false, true
			return
		}
	case ':':
		if s.depth == 1 {
			s.member()
			return
		}
	}
	s.dead = s.depth == 0
	s.keep(c)
}

// keep stores a byte of the name or id being read.
func (s *sniffer) keep(c byte) {
	switch {
	case s.inName:
		if len(s.name) <= maxSniffName {
			s.name = append(s.name, c)
		}
	case s.taking:
		if len(s.id) <= maxSniffID {
			s.id = append(s.id, c)
		}
	}
}

// member is called at the colon after a name of the first level.
func (s *sniffer) member() {
	if len(s.name) < 2 || len(s.name) > maxSniffName {
		return
	}
	name, ok := appendDecoded(nil, s.name[1:len(s.name)-1])
	if !ok {
		return
	}
	s.name = s.name[:0]
	var buf [foldLen]byte
	low, _ := folded(&buf, name)
	switch string(low) {
	case "id":
		s.ids++
		s.taking = bytes.Equal(low, name)
		s.id = s.id[:0]
	case "method":
		s.method = true
	case "result", "error":
		s.answer = true
	}
}

func (s *sniffer) verdict() (ID, MessageKind) {
	var id ID
	if s.ids == 1 {
		var ok bool
		if id, ok = IDFrom(s.id, Span{0, len(s.id)}); !ok {
			id, _ = oddID(s.id)
		}
	}
	switch {
	case s.method && s.answer:
		return id, 0
	case s.method && s.ids > 0:
		return id, Request
	case s.method:
		return id, Notification
	case s.answer:
		return id, Response
	}
	return id, 0
}
