package jsonvalue

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gowebpki/jcs"
)

// Canonical returns the canonical form of a JSON text (RFC 8785), which is the same
// for all spellings of a value and is used for hashing. Beyond what [Decode]
// refuses, it refuses numbers that the form would change: whole numbers beyond
// ±2^53, several of which would share one form, numbers out of a double's range,
// and numbers with more digits than a double holds. -0 becomes 0, as the RFC says.
func Canonical(raw []byte) ([]byte, error) {
	v, err := Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("making JSON canonical: %w", err)
	}
	return v.Canonical()
}

// Canonical returns the canonical form of v; see the function Canonical. An absent
// value is an error.
func (v Value) Canonical() ([]byte, error) {
	room := min(v.Weight(), 16<<20)
	out, err := v.appendCanonical(make([]byte, 0, room+room/16))
	if err != nil {
		return nil, fmt.Errorf("making JSON canonical: %w", err)
	}
	return out, nil
}

func (v Value) appendCanonical(dst []byte) (_ []byte, err error) {
	switch v.typ {
	case TypeAbsent:
		return nil, fmt.Errorf("the value is absent")
	case TypeString:
		return appendString(dst, v.text), nil
	case TypeNumber:
		return appendNumber(dst, v.text)
	case TypeArray:
		dst = append(dst, '[')
		for i, e := range v.node.vals {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = e.appendCanonical(dst); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	case TypeObject:
		dst = append(dst, '{')
		for i, at := range v.canonicalOrder() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, v.node.names[at]), ':')
			if dst, err = v.node.vals[at].appendCanonical(dst); err != nil {
				return nil, err
			}
		}
		return append(dst, '}'), nil
	}
	return append(dst, v.text...), nil
}

// canonicalOrder returns the indices of the members, sorted by name in UTF-16 code
// units (RFC 8785, section 3.2.3).
func (v Value) canonicalOrder() []int {
	order := make([]int, len(v.node.names))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return compareUTF16(v.node.names[i], v.node.names[j]) })
	return order
}

// compareUTF16 compares by UTF-16 code units. Byte order differs from it only if
// one of the differing characters is beyond the basic plane.
func compareUTF16(a, b string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	for i > 0 && i < len(a) && !utf8.RuneStart(a[i]) {
		i--
	}
	x, _ := utf8.DecodeRuneInString(a[i:])
	y, _ := utf8.DecodeRuneInString(b[i:])
	if i == len(a) || i == len(b) || x <= 0xFFFF && y <= 0xFFFF {
		return strings.Compare(a[i:], b[i:])
	}
	return cmp.Or(slices.Compare(utf16.Encode([]rune{x}), utf16.Encode([]rune{y})), strings.Compare(a[i:], b[i:]))
}

// appendNumber writes a number as ECMAScript does, and refuses one whose value that
// would change.
func appendNumber(dst []byte, token string) ([]byte, error) {
	if err := survives(token); err != nil {
		return nil, err
	}
	f, err := strconv.ParseFloat(token, 64)
	if err != nil {
		return nil, err
	}
	text, err := jcs.NumberToJSON(f)
	if err != nil {
		return nil, err
	}
	return append(dst, text...), nil
}
