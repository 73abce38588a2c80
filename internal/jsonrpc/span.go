package jsonrpc

import (
	"iter"
)

// Span is a range of bytes, End excluded, within the raw bytes that it was made
// from; it means nothing in other bytes. The zero Span is no range: no value in
// a message starts and ends at 0.
type Span struct{ Start, End int }

// IsZero reports whether there is no range.
func (s Span) IsZero() bool { return s == Span{} }

// Len returns the length in bytes.
func (s Span) Len() int { return s.End - s.Start }

// Of returns the bytes of raw in s without copying, nil where s is zero or out
// of range.
func (s Span) Of(raw []byte) []byte { return s.bytes(raw) }

func (s Span) bytes(raw []byte) []byte {
	if s.Start < 0 || s.End > len(raw) || s.Start >= s.End {
		return nil
	}
	return raw[s.Start:s.End:s.End]
}

// Root returns the span of the one value in raw, without the white space around
// it. It reports false when raw is not one balanced value.
func Root(raw []byte) (Span, bool) {
	i := skipSpace(raw, 0)
	end := skipValue(raw, i)
	if end < 0 || skipSpace(raw, end) != len(raw) {
		return Span{}, false
	}
	return Span{i, end}, true
}

// Field is a member of an object.
type Field struct {
	Name  string // decoded
	Key   Span   // the name as it is written, quotes included
	Span  Span   // from the name to the end of the value
	Value Span
}

// Members yields the members of the object at obj in their order, nothing if
// there is no object. Like all helpers here it expects bytes that were admitted;
// with others it may yield too little, but it does not panic or loop.
func Members(raw []byte, obj Span) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for key, val := range members(raw, obj) {
			name, ok := String(raw, key)
			if !ok || !yield(Field{Name: name, Key: key, Span: Span{key.Start, val.End}, Value: val}) {
				return
			}
		}
	}
}

// members yields the spans of names and values.
func members(raw []byte, obj Span) iter.Seq2[Span, Span] {
	return func(yield func(key, val Span) bool) {
		b, i, ok := open(raw, obj, '{')
		if !ok {
			return
		}
		for {
			key := Span{i, skipString(b, i)}
			if key.End < 0 {
				return
			}
			if i = skipSpace(b, key.End); i >= len(b) || b[i] != ':' {
				return
			}
			i = skipSpace(b, i+1)
			val := Span{i, skipValue(b, i)}
			if val.End < 0 || !yield(key, val) {
				return
			}
			if i = skipSpace(b, val.End); i >= len(b) || b[i] != ',' {
				return
			}
			i = skipSpace(b, i+1)
		}
	}
}

// open returns the bytes up to the end of the container at s, and the index of
// its first element.
func open(raw []byte, s Span, bracket byte) (b []byte, first int, ok bool) {
	v := s.bytes(raw)
	if len(v) < 2 || v[0] != bracket || v[len(v)-1] != bracket+2 {
		return nil, 0, false
	}
	b = raw[:s.End-1]
	first = skipSpace(b, s.Start+1)
	return b, first, first < len(b)
}

// Elements yields the spans of the elements of the array at arr in their order,
// nothing if there is no array.
func Elements(raw []byte, arr Span) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		b, i, ok := open(raw, arr, '[')
		if !ok {
			return
		}
		for {
			el := Span{i, skipValue(b, i)}
			if el.End < 0 || !yield(el) {
				return
			}
			if i = skipSpace(b, el.End); i >= len(b) || b[i] != ',' {
				return
			}
			i = skipSpace(b, i+1)
		}
	}
}

// Member returns the span of the value of the first member of the object at obj
// whose decoded name is name; false where there is none or no object.
func Member(raw []byte, obj Span, name string) (Span, bool) {
	for key, val := range members(raw, obj) {
		in := raw[key.Start+1 : key.End-1]
		if string(in) == name {
			return val, true
		}
		if plainEnd(in, 0) < len(in) {
			if dec, ok := appendDecoded(nil, in); ok && string(dec) == name {
				return val, true
			}
		}
	}
	return Span{}, false
}

// Lookup follows names down from the object at root: Lookup(raw, root, "a", "b")
// is root.a.b. Without names it returns root.
func Lookup(raw []byte, root Span, names ...string) (Span, bool) {
	for _, name := range names {
		var ok bool
		if root, ok = Member(raw, root, name); !ok {
			return Span{}, false
		}
	}
	return root, !root.IsZero()
}

// Integer reads the value at s, which must be an integer within ±2^53 in plain
// decimal.
func Integer(raw []byte, s Span) (int64, bool) { return plainInteger(s.bytes(raw)) }

// Bool reads the value at s, which must be true or false.
func Bool(raw []byte, s Span) (value, ok bool) {
	v := string(s.bytes(raw))
	return v == "true", v == "true" || v == "false"
}

// Type is the type of a JSON value; zero is none.
type Type uint8

// The types of JSON values.
const (
	NullType Type = iota + 1
	BoolType
	NumberType
	StringType
	ArrayType
	ObjectType
)

// TypeOf tells the type of the value at s by its first byte.
func TypeOf(raw []byte, s Span) Type {
	v := s.bytes(raw)
	if len(v) == 0 {
		return 0
	}
	switch c := v[0]; {
	case c == '{':
		return ObjectType
	case c == '[':
		return ArrayType
	case c == '"':
		return StringType
	case c == 't' || c == 'f':
		return BoolType
	case c == 'n':
		return NullType
	case c == '-' || '0' <= c && c <= '9':
		return NumberType
	}
	return 0
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the index after the string at i, -1 if there is none.
func skipString(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	for i++; ; {
		i = plainEnd(b, i)
		if i >= len(b) {
			return -1
		}
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i += 2
		default:
			return -1
		}
		if i > len(b) {
			return -1
		}
	}
}

// skipValue returns the index after the value at i, -1 if there is none. It
// counts brackets without telling their kinds apart.
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
	default:
		start := i
		for i < len(b) && scalarByte(b[i]) {
			i++
		}
		if i == start {
			return -1
		}
		return i
	}
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if i = skipString(b, i); i < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return -1
}

func scalarByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'E'
}
