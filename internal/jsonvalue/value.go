package jsonvalue

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Type is the type of a JSON value. The zero value means no value.
type Type uint8

// The types of a value.
const (
	TypeAbsent Type = iota
	TypeNull
	TypeBool
	TypeNumber
	TypeString
	TypeArray
	TypeObject
)

// String returns the name of the type, as in RFC 8259.
func (t Type) String() string {
	names := [...]string{"absent", "null", "boolean", "number", "string", "array", "object"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// MaxDepth is how deeply arrays and objects may nest. It bounds recursion and
// matches the limit of admission.
const MaxDepth = 100

// Value is an immutable JSON value. Numbers keep their digits as written and
// objects the order of their members, so that reading and writing loses nothing.
// The zero Value is absent: no value at all, not null. Values share structure and
// are safe for concurrent use.
type Value struct {
	typ  Type
	text string // a number's token, a string's text, else the literal
	node *node  // of an array or object
}

// node holds the children of an array or object, and sums over them by which the
// cost of a patch is known.
type node struct {
	names  []string // nil for an array
	vals   []Value
	depth  int
	weight int
	count  int // number of values in it, itself included
}

// newNode computes the sums. weight saturates.
func newNode(names []string, vals []Value) *node {
	n := &node{names: names, vals: vals}
	n.sum()
	return n
}

func (n *node) sum() {
	for i := range n.vals {
		v := &n.vals[i]
		n.depth = max(n.depth, v.depth())
		n.weight = addWeight(n.weight, v.Weight())
		n.count = addWeight(n.count, v.count())
	}
	for _, name := range n.names {
		n.weight = addWeight(n.weight, len(name)+3)
	}
	n.depth++
	n.weight = addWeight(n.weight, 2)
	n.count = addWeight(n.count, 1)
}

func addWeight(a, b int) int {
	if a > math.MaxInt-b {
		return math.MaxInt
	}
	return a + b
}

// depth is 0 for a scalar and one more than the deepest child otherwise.
func (v Value) depth() int {
	if v.node == nil {
		return 0
	}
	return v.node.depth
}

// Weight is the approximate encoded size of v, in bytes.
func (v Value) Weight() int {
	if v.node == nil {
		return len(v.text) + 3
	}
	return v.node.weight
}

// count is the number of values in v, itself included.
func (v Value) count() int {
	if v.node == nil {
		return 1
	}
	return v.node.count
}

// Member is a member of an object.
type Member struct {
	Name  string
	Value Value
}

// Null returns the value null.
func Null() Value { return Value{typ: TypeNull, text: "null"} }

// Bool returns true or false.
func Bool(b bool) Value {
	if b {
		return Value{typ: TypeBool, text: "true"}
	}
	return Value{typ: TypeBool, text: "false"}
}

// Number returns the number with this JSON token and keeps every digit.
func Number(token string) (Value, error) {
	v, err := Decode([]byte(token))
	if err != nil || v.typ != TypeNumber || v.text != token {
		return Value{}, fmt.Errorf("%.64q is no JSON number", token)
	}
	return v, nil
}

// Int returns a whole number.
func Int(n int64) Value { return Value{typ: TypeNumber, text: strconv.FormatInt(n, 10)} }

// String returns a string value. Text that is not valid UTF-8 is refused, since
// JSON cannot hold it.
func String(s string) (Value, error) {
	if !utf8.ValidString(s) {
		return Value{}, errors.New("string is not valid UTF-8")
	}
	return Value{typ: TypeString, text: s}, nil
}

// Array returns an array of the elements, none of which may be absent.
func Array(elements ...Value) (Value, error) {
	for i, e := range elements {
		if !e.Present() {
			return Value{}, fmt.Errorf("array element %d is absent", i)
		}
	}
	return NewArray(append([]Value(nil), elements...))
}

// NewArray is Array without checking the elements. It takes ownership of vals.
func NewArray(vals []Value) (Value, error) {
	v := Value{typ: TypeArray, node: newNode(nil, vals)}
	if v.depth() > MaxDepth {
		return Value{}, ErrDepth
	}
	return v, nil
}

// Object returns an object with the members in this order. Duplicate names, absent
// values and names that are not valid UTF-8 are refused.
func Object(members ...Member) (Value, error) {
	names, vals := make([]string, len(members)), make([]Value, len(members))
	seen := make(map[string]bool, len(members))
	for i, m := range members {
		switch {
		case seen[m.Name]:
			return Value{}, fmt.Errorf("two members are named %.64q", m.Name)
		case !m.Value.Present():
			return Value{}, fmt.Errorf("member %.64q is absent", m.Name)
		case !utf8.ValidString(m.Name):
			return Value{}, fmt.Errorf("member name %.64q is not valid UTF-8", m.Name)
		}
		seen[m.Name] = true
		names[i], vals[i] = m.Name, m.Value
	}
	return NewObject(names, vals)
}

// NewObject is Object without checking the members. It takes ownership of names,
// which must be distinct and valid UTF-8, and of vals, none of which may be absent.
func NewObject(names []string, vals []Value) (Value, error) {
	v := Value{typ: TypeObject, node: newNode(names, vals)}
	if v.depth() > MaxDepth {
		return Value{}, ErrDepth
	}
	return v, nil
}

var ErrDepth = fmt.Errorf("arrays and objects nest deeper than %d", MaxDepth)

// Type returns the type of v.
func (v Value) Type() Type { return v.typ }

// Present reports whether v is a value; null is one.
func (v Value) Present() bool { return v.typ != TypeAbsent }

// Bool reports whether v is true.
func (v Value) Bool() bool { return v.typ == TypeBool && v.text == "true" }

// Text returns the text of a string, the token of a number, and "" otherwise.
func (v Value) Text() string {
	if v.typ == TypeString || v.typ == TypeNumber {
		return v.text
	}
	return ""
}

// Len returns the number of elements or members, and 0 for a scalar.
func (v Value) Len() int {
	if v.node == nil {
		return 0
	}
	return len(v.node.vals)
}

// Elem returns element i of an array, or absent.
func (v Value) Elem(i int) Value {
	if v.typ != TypeArray || i < 0 || i >= v.Len() {
		return Value{}
	}
	return v.node.vals[i]
}

// Member returns the member of an object with exactly this name, or absent. It
// takes time linear in the number of members.
func (v Value) Member(name string) Value {
	if v.typ == TypeObject {
		for i, n := range v.node.names {
			if n == name {
				return v.node.vals[i]
			}
		}
	}
	return Value{}
}

// Elems yields the elements of an array; nothing for other types.
func (v Value) Elems() iter.Seq2[int, Value] {
	return func(yield func(int, Value) bool) {
		for i := range v.Len() {
			if v.typ != TypeArray || !yield(i, v.node.vals[i]) {
				return
			}
		}
	}
}

// Members yields the members of an object in order; nothing for other types.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for i := range v.Len() {
			if v.typ != TypeObject || !yield(v.node.names[i], v.node.vals[i]) {
				return
			}
		}
	}
}

// index returns the index of each member by name.
func (v Value) index() map[string]int {
	m := make(map[string]int, v.Len())
	for i, name := range v.node.names {
		m[name] = i
	}
	return m
}

// Equal reports whether v and w are the same value as defined in RFC 6902 section
// 4.6: numbers by exact numeric value, objects regardless of order. Absent equals
// only absent.
func (v Value) Equal(w Value) bool {
	if v.typ != w.typ || v.Len() != w.Len() {
		return false
	}
	switch v.typ {
	case TypeNumber:
		return v.text == w.text || decimalOf(v.text) == decimalOf(w.text)
	case TypeArray:
		for i, e := range v.node.vals {
			if v.node != w.node && !e.Equal(w.node.vals[i]) {
				return false
			}
		}
		return true
	case TypeObject:
		if v.node == w.node {
			return true
		}
		var at map[string]int // needed only if the orders differ
		for i, name := range v.node.names {
			j, ok := i, w.node.names[i] == name
			if !ok {
				if at == nil {
					at = w.index()
				}
				j, ok = at[name]
			}
			if !ok || !v.node.vals[i].Equal(w.node.vals[j]) {
				return false
			}
		}
		return true
	}
	return v.text == w.text
}

// Encode returns v as JSON without white space, with members in order and numbers
// as written; nil if v is absent.
func (v Value) Encode() []byte {
	if !v.Present() {
		return nil
	}
	return v.appendJSON(nil)
}

// MarshalJSON returns the encoding of v and refuses an absent value.
func (v Value) MarshalJSON() ([]byte, error) {
	if !v.Present() {
		return nil, errors.New("encoding JSON: the value is absent")
	}
	return v.Encode(), nil
}

// UnmarshalJSON reads strictly, as Decode does.
func (v *Value) UnmarshalJSON(raw []byte) error {
	w, err := Decode(raw)
	if err == nil {
		*v = w
	}
	return err
}

// String returns the encoding of v as text.
func (v Value) String() string { return string(v.Encode()) }

func (v Value) appendJSON(dst []byte) []byte {
	switch v.typ {
	case TypeString:
		return appendString(dst, v.text)
	case TypeArray:
		dst = append(dst, '[')
		for i, e := range v.node.vals {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = e.appendJSON(dst)
		}
		return append(dst, ']')
	case TypeObject:
		dst = append(dst, '{')
		for i, e := range v.node.vals {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, v.node.names[i]), ':')
			dst = e.appendJSON(dst)
		}
		return append(dst, '}')
	}
	return append(dst, v.text...)
}

// appendString writes s with exactly the escapes that RFC 8785 section 3.2.2.2
// requires.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		if short := strings.IndexByte("\b\t\n\f\r\"\\", c); short >= 0 {
			dst = append(dst, '\\', "btnfr\"\\"[short])
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
