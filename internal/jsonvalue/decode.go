package jsonvalue

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/strictjson"
)

// SyntaxError says where and why a JSON text was refused.
type SyntaxError = strictjson.SyntaxError

// DecodeStrict is [strictjson.DecodeStrict].
func DecodeStrict(raw []byte, into any) error { return strictjson.DecodeStrict(raw, into) }

// DecodeKnown is [strictjson.DecodeKnown].
func DecodeKnown(raw []byte, into any) error { return strictjson.DecodeKnown(raw, into) }

// Decode reads one JSON text as defined by RFC 8259 and refuses anything that two
// parsers might read differently: duplicate members, invalid UTF-8, lone
// surrogates, a byte order mark, nesting deeper than 100, exponents of more than
// nine digits, and anything after the value.
func Decode(raw []byte) (Value, error) {
	d := decoder{data: raw}
	v, err := d.document()
	if err != nil {
		return Value{}, fmt.Errorf("reading JSON: %w", err)
	}
	return v, nil
}

// DecodeDocument reads a JSON text as programs keep it in files. The last of
// several members of one name counts, and duplicates holds their paths. With
// relaxed set, comments and trailing commas are accepted (JSONC). Everything else
// is refused as in Decode. The values share one copy of the text, which lives as
// long as any of them.
func DecodeDocument(raw []byte, relaxed bool) (v Value, duplicates []string, err error) {
	d := decoder{data: raw, duplicates: &duplicates, relaxed: relaxed, text: string(raw)}
	v, err = d.document()
	return v, duplicates, err
}

// decoder reads one text. With relaxed set it accepts comments and trailing commas
// (JSONC). With duplicates set it records the paths of repeated members, of which
// the last counts, and continues.
type decoder struct {
	data       []byte
	at         int
	depth      int
	relaxed    bool
	duplicates *[]string
	path       []string // of the value being read; kept only for duplicates
	// text is data as a string, so that strings can be sliced from it without
	// copying. It is empty if values must not share memory.
	text   string
	vals   []Value // of the containers being read
	room   []Value // for the children of finished containers
	nodes  []node  // for the nodes of finished containers
	shapes [8][]string
	latest int // the index in shapes to replace next
}

// slice returns a part of the text as a string.
func (d *decoder) slice(from, to int) string {
	if d.text != "" {
		return d.text[from:to]
	}
	return string(d.data[from:to])
}

func (d *decoder) fail(format string, args ...any) error {
	return &SyntaxError{Offset: d.at, Reason: fmt.Sprintf(format, args...)}
}

func (d *decoder) document() (Value, error) {
	if err := d.blank(); err != nil {
		return Value{}, err
	}
	v, err := d.value()
	if err != nil {
		return Value{}, err
	}
	if err := d.blank(); err != nil {
		return Value{}, err
	}
	if d.at < len(d.data) {
		return Value{}, d.fail("unexpected %s after the value", d.here())
	}
	return v, nil
}

// here describes the next byte for an error.
func (d *decoder) here() string {
	if d.at >= len(d.data) {
		return "end"
	}
	return fmt.Sprintf("%q", d.data[d.at])
}

// peek returns the next byte, or 0 at the end. A NUL is legal nowhere outside
// strings, so the two need not be distinguished.
func (d *decoder) peek() byte {
	if d.at < len(d.data) {
		return d.data[d.at]
	}
	return 0
}

// blank skips white space and, in JSONC, comments.
func (d *decoder) blank() error {
	for d.at < len(d.data) {
		switch c := d.data[d.at]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			d.at++
		case c == '/' && d.relaxed:
			if err := d.comment(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

func (d *decoder) comment() error {
	rest := d.data[d.at:]
	open, end := []byte("//"), []byte("\n")
	if bytes.HasPrefix(rest, []byte("/*")) {
		open, end = []byte("/*"), []byte("*/")
	} else if !bytes.HasPrefix(rest, open) {
		return d.fail("unexpected %s", d.here())
	}
	i := bytes.Index(rest[len(open):], end)
	switch {
	case i >= 0:
		rest = rest[:len(open)+i+len(end)]
	case end[0] == '*':
		return d.fail("comment without an end")
	}
	if !utf8.Valid(rest) {
		return d.fail("invalid UTF-8 in a comment")
	}
	d.at += len(rest)
	return nil
}

func (d *decoder) value() (Value, error) {
	switch c := d.peek(); {
	case c == '{':
		return d.nested((*decoder).object)
	case c == '[':
		return d.nested((*decoder).array)
	case c == '"':
		s, err := d.str()
		return Value{typ: TypeString, text: s}, err
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	}
	for _, v := range [...]Value{{TypeNull, "null", nil}, {TypeBool, "true", nil}, {TypeBool, "false", nil}} {
		if bytes.HasPrefix(d.data[d.at:], []byte(v.text)) {
			d.at += len(v.text)
			return v, nil
		}
	}
	return Value{}, d.fail("unexpected %s", d.here())
}

func (d *decoder) nested(read func(*decoder) (Value, error)) (Value, error) {
	if d.depth++; d.depth > MaxDepth {
		return Value{}, d.fail("%v", ErrDepth)
	}
	v, err := read(d)
	d.depth--
	return v, err
}

// next moves past a comma to the next item, or past the closing byte.
func (d *decoder) next(closing byte) (done bool, err error) {
	if err := d.blank(); err != nil {
		return false, err
	}
	switch d.peek() {
	case closing:
		d.at++
		return true, nil
	case ',':
		d.at++
	default:
		return false, d.fail("want a comma or %q, found %s", closing, d.here())
	}
	return d.first(closing, d.relaxed)
}

// first moves to an item, or past the closing byte if one is allowed.
func (d *decoder) first(closing byte, mayClose bool) (done bool, err error) {
	if err := d.blank(); err != nil {
		return false, err
	}
	if mayClose && d.peek() == closing {
		d.at++
		return true, nil
	}
	return false, nil
}

func (d *decoder) array() (Value, error) {
	d.at++
	base := len(d.vals)
	done, err := d.first(']', true)
	for ; !done && err == nil; done, err = d.next(']') {
		if d.duplicates != nil {
			d.push(strconv.Itoa(len(d.vals) - base))
		}
		v, err := d.value()
		if err != nil {
			return Value{}, err
		}
		d.pop()
		d.vals = append(d.vals, v)
	}
	if err != nil {
		return Value{}, err
	}
	return d.container(TypeArray, nil, base), nil
}

// member reads the colon and the value after a member's name.
func (d *decoder) member() (Value, error) {
	if err := d.blank(); err != nil {
		return Value{}, err
	}
	if d.peek() != ':' {
		return Value{}, d.fail("want a colon, found %s", d.here())
	}
	d.at++
	if err := d.blank(); err != nil {
		return Value{}, err
	}
	return d.value()
}

func (d *decoder) push(step string) {
	if d.duplicates != nil {
		d.path = append(d.path, step)
	}
}

func (d *decoder) pop() {
	if d.duplicates != nil {
		d.path = d.path[:len(d.path)-1]
	}
}

func (d *decoder) number() (Value, error) {
	start := d.at
	digits := func() int {
		from := d.at
		for c := d.peek(); c >= '0' && c <= '9'; c = d.peek() {
			d.at++
		}
		return d.at - from
	}
	if d.peek() == '-' {
		d.at++
	}
	leading := d.peek()
	if n := digits(); n == 0 || leading == '0' && n > 1 {
		return Value{}, d.fail("malformed number")
	}
	if d.peek() == '.' {
		d.at++
		if digits() == 0 {
			return Value{}, d.fail("malformed number")
		}
	}
	if c := d.peek(); c == 'e' || c == 'E' {
		d.at++
		if c := d.peek(); c == '+' || c == '-' {
			d.at++
		}
		switch n := digits(); {
		case n == 0:
			return Value{}, d.fail("malformed number")
		case n > maxExponentDigits:
			return Value{}, d.fail("exponent of more than %d digits", maxExponentDigits)
		}
	}
	return Value{typ: TypeNumber, text: d.slice(start, d.at)}, nil
}

// str reads a string; the next byte is its opening quote.
func (d *decoder) str() (string, error) {
	d.at++
	start := d.at
	for d.at < len(d.data) { // most strings have no escape
		c := d.data[d.at]
		if c == '"' || c == '\\' || c < ' ' {
			break
		}
		d.at++
	}
	if err := d.validUTF8(start); err != nil {
		return "", err
	}
	if d.peek() == '"' {
		d.at++
		return d.slice(start, d.at-1), nil
	}
	buf := append([]byte(nil), d.data[start:d.at]...)
	for d.at < len(d.data) {
		switch c := d.data[d.at]; {
		case c == '"':
			d.at++
			return string(buf), nil
		case c < ' ':
			return "", d.fail("control character in a string")
		case c == '\\':
			r, err := d.escape()
			if err != nil {
				return "", err
			}
			buf = utf8.AppendRune(buf, r)
		default:
			from := d.at
			for d.at < len(d.data) && d.data[d.at] != '"' && d.data[d.at] != '\\' && d.data[d.at] >= ' ' {
				d.at++
			}
			if err := d.validUTF8(from); err != nil {
				return "", err
			}
			buf = append(buf, d.data[from:d.at]...)
		}
	}
	return "", d.fail("string without an end")
}

func (d *decoder) validUTF8(from int) error {
	if !utf8.Valid(d.data[from:d.at]) {
		d.at = from
		return d.fail("invalid UTF-8 in a string")
	}
	return nil
}

func (d *decoder) escape() (rune, error) {
	d.at++
	c := d.peek()
	if i := bytes.IndexByte([]byte(`"\/bfnrt`), c); i >= 0 && c != 0 {
		d.at++
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		return 0, d.fail("unknown escape")
	}
	r, err := d.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if d.peek() != '\\' || d.at+1 >= len(d.data) || d.data[d.at+1] != 'u' {
		return 0, d.fail("lone surrogate")
	}
	d.at++
	low, err := d.hex4()
	if err != nil {
		return 0, err
	}
	pair := utf16.DecodeRune(r, low)
	if pair == utf8.RuneError {
		return 0, d.fail("lone surrogate")
	}
	return pair, nil
}

// hex4 reads "u" and four hexadecimal digits.
func (d *decoder) hex4() (rune, error) {
	d.at++
	var r rune
	for range 4 {
		c := d.peek()
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, d.fail("malformed \\u escape")
		}
		r = r<<4 | rune(c)
		d.at++
	}
	return r, nil
}
