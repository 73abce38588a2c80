package jsonrpc

import (
	"bytes"
	"fmt"
	"hash/maphash"
)

// context says which rules hold for an object's members or a value beyond those
// that always hold.
type context uint8

const (
	plain     context = iota
	envelope          // the frame's object: names by case, spans noted
	params            // its params: names by case
	arguments         // params.arguments and everything below: canonical numbers
)

// quadratic is the number of members up to which names are compared one by one.
const quadratic = 16

// nameRef is a decoded member name: in the frame, or in the scanner's arena
// where it had escapes. The length's top bit tells which; frames are shorter.
type nameRef struct{ start, length uint32 }

const inArena = 1 << 31

// scanner reads one frame, once, from left to right. Its methods take the index
// of the value's first byte and return the index after it, or -1 once fail was
// called.
type scanner struct {
	b        []byte
	maxDepth int
	allowCR  bool

	names []nameRef // names of all open objects, innermost last
	arena []byte    // decoded names
	seed  maphash.Seed
	table []uint32 // hash table for large objects, reused

	env struct{ version, id, method, params, result, err Span }

	why  Reason
	at   int
	note string
}

func (s *scanner) fail(why Reason, at int) int {
	s.why, s.at = why, at
	return -1
}

// space skips white space. A carriage return is white space to JSON but the end
// of a line to some readers of lines, and is refused; the one before the newline
// has been taken off by the Reader.
func (s *scanner) space(i int) int {
	for i < len(s.b) {
		switch s.b[i] {
		case ' ', '\t', '\n':
			i++
		case '\r':
			if !s.allowCR {
				return s.fail(BareCR, i)
			}
			i++
		default:
			return i
		}
	}
	return i
}

// value reads the value at i. depth is the number of containers around it.
func (s *scanner) value(i, depth int, ctx context) int {
	if i >= len(s.b) {
		return s.fail(Syntax, i)
	}
	switch c := s.b[i]; c {
	case '{', '[':
		if depth >= s.maxDepth {
			return s.fail(TooDeep, i)
		}
		if c == '{' {
			return s.object(i, depth+1, ctx)
		}
		return s.array(i, depth+1, ctx)
	case '"':
		end, _ := s.str(i)
		return end
	case 't':
		return s.literal(i, "true")
	case 'f':
		return s.literal(i, "false")
	case 'n':
		return s.literal(i, "null")
	default:
		return s.number(i, ctx)
	}
}

func (s *scanner) literal(i int, lit string) int {
	if len(s.b)-i < len(lit) || string(s.b[i:i+len(lit)]) != lit {
		return s.fail(Syntax, i)
	}
	return i + len(lit)
}

// str reads the string at i and reports whether it has escapes.
func (s *scanner) str(i int) (end int, escaped bool) {
	for i++; ; {
		i = plainEnd(s.b, i)
		if i == len(s.b) {
			return s.fail(Syntax, i), false
		}
		switch s.b[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			_, n, why := escape(s.b[i:])
			if n == 0 {
				return s.fail(why, i), false
			}
			escaped = true
			i += n
		default:
			return s.fail(Syntax, i), false
		}
	}
}

func (s *scanner) digits(i int) int {
	for i < len(s.b) && '0' <= s.b[i] && s.b[i] <= '9' {
		i++
	}
	return i
}

func (s *scanner) number(start int, ctx context) int {
	i := start
	if s.b[i] == '-' {
		i++
	}
	j := s.digits(i)
	if j == i || s.b[i] == '0' && j > i+1 {
		return s.fail(Syntax, start)
	}
	i = j
	if i < len(s.b) && s.b[i] == '.' {
		if j = s.digits(i + 1); j == i+1 {
			return s.fail(Syntax, start)
		}
		i = j
	}
	if i < len(s.b) && s.b[i]|0x20 == 'e' {
		i++
		if i < len(s.b) && (s.b[i] == '+' || s.b[i] == '-') {
			i++
		}
		if j = s.digits(i); j == i {
			return s.fail(Syntax, start)
		}
		i = j
	}
	if ctx == arguments && !survivesCanonical(s.b[start:i]) {
		return s.fail(NumberNotCanonical, start)
	}
	return i
}

func (s *scanner) array(i, depth int, ctx context) int {
	if ctx != arguments {
		ctx = plain
	}
	if i = s.space(i + 1); i < 0 {
		return -1
	}
	if i < len(s.b) && s.b[i] == ']' {
		return i + 1
	}
	for {
		if i = s.value(i, depth, ctx); i < 0 {
			return -1
		}
		if i = s.space(i); i < 0 {
			return -1
		}
		if i == len(s.b) {
			return s.fail(Syntax, i)
		}
		switch s.b[i] {
		case ']':
			return i + 1
		case ',':
		default:
			return s.fail(Syntax, i)
		}
		if i = s.space(i + 1); i < 0 {
			return -1
		}
	}
}

// object reads the object at i, which is at the given depth itself.
func (s *scanner) object(i, depth int, ctx context) int {
	base, arena := len(s.names), len(s.arena)
	if i = s.space(i + 1); i < 0 {
		return -1
	}
	if i < len(s.b) && s.b[i] == '}' {
		return i + 1
	}
	for {
		var name []byte
		if name, i = s.memberName(i, base, ctx); i < 0 {
			return -1
		}
		child := plain
		switch {
		case ctx == arguments, ctx == params && string(name) == "arguments":
			child = arguments
		case ctx == envelope && string(name) == "params":
			child = params
		}
		start := i
		if i = s.value(i, depth, child); i < 0 {
			return -1
		}
		if ctx == envelope {
			s.noteEnvelope(name, Span{start, i})
		}
		if i = s.space(i); i < 0 {
			return -1
		}
		if i == len(s.b) {
			return s.fail(Syntax, i)
		}
		if s.b[i] == '}' {
			break
		}
		if s.b[i] != ',' {
			return s.fail(Syntax, i)
		}
		if i = s.space(i + 1); i < 0 {
			return -1
		}
	}
	if len(s.names)-base > quadratic && !s.distinct(base, i) {
		return -1
	}
	s.names, s.arena = s.names[:base], s.arena[:arena]
	return i + 1
}

// memberName reads the name at i and the colon, and returns the decoded name
// and the index of the member's value. The name is good until the next one.
func (s *scanner) memberName(i, base int, ctx context) ([]byte, int) {
	if i >= len(s.b) || s.b[i] != '"' {
		return nil, s.fail(Syntax, i)
	}
	start := i
	i, escaped := s.str(i)
	if i < 0 {
		return nil, -1
	}
	ref := nameRef{uint32(start + 1), uint32(i - start - 2)}
	if escaped {
		from := len(s.arena)
		s.arena, _ = appendDecoded(s.arena, s.b[start+1:i-1]) // valid: str has read it
		ref = nameRef{uint32(from), uint32(len(s.arena)-from) | inArena}
	}
	name := s.name(ref)
	if escaped && bytes.IndexByte(name, 0) >= 0 {
		return nil, s.fail(NulInName, start)
	}
	if len(s.names)-base < quadratic {
		for _, r := range s.names[base:] {
			if r.length&^inArena == uint32(len(name)) && bytes.Equal(s.name(r), name) {
				return nil, s.fail(DuplicateMember, start)
			}
		}
	}
	s.names = append(s.names, ref)
	if ctx != envelope && ctx != params {
		return s.colon(name, i)
	}
	if twin := foldTwin(name, ctx); twin != "" {
		s.note = fmt.Sprintf("%+.64q is %q but for case", name, twin)
		return nil, s.fail(CaseFoldedMember, start)
	}
	return s.colon(name, i)
}

func (s *scanner) colon(name []byte, i int) ([]byte, int) {
	if i = s.space(i); i < 0 {
		return nil, -1
	}
	if i >= len(s.b) || s.b[i] != ':' {
		return nil, s.fail(Syntax, i)
	}
	return name, s.space(i + 1)
}

func (s *scanner) name(r nameRef) []byte {
	from, n := s.b, r.length
	if n&inArena != 0 {
		from, n = s.arena, n&^inArena
	}
	return from[r.start : r.start+n]
}

// distinct reports whether the names from base on are all different, by a hash
// table with a random seed: linear, and no input can make it otherwise.
func (s *scanner) distinct(base, end int) bool {
	names := s.names[base:]
	if s.table == nil {
		s.seed = maphash.MakeSeed()
	}
	size := 64
	for size < 2*len(names) {
		size *= 2
	}
	if cap(s.table) < size {
		s.table = make([]uint32, size)
	}
	table := s.table[:size]
	clear(table)
	mask := uint64(size - 1)
	for i, r := range names {
		name := s.name(r)
		h := maphash.Bytes(s.seed, name) & mask
		for ; table[h] != 0; h = (h + 1) & mask {
			if bytes.Equal(s.name(names[table[h]-1]), name) {
				s.note = fmt.Sprintf("%+.64q twice in the object that ends here", name)
				s.fail(DuplicateMember, end)
				return false
			}
		}
		table[h] = uint32(i + 1)
	}
	return true
}

func (s *scanner) noteEnvelope(name []byte, v Span) {
	switch string(name) {
	case "jsonrpc":
		s.env.version = v
	case "id":
		s.env.id = v
	case "method":
		s.env.method = v
	case "params":
		s.env.params = v
	case "result":
		s.env.result = v
	case "error":
		s.env.err = v
	}
}
