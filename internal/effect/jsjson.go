package effect

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// jsValue is a JSON value as JavaScript holds it between JSON.parse and
// JSON.stringify. It is mutable.
type jsValue struct {
	typ   jsonvalue.Type
	text  string   // of a scalar, as JSON.stringify writes it
	names []string // of an object
	items []*jsValue
}

// jsParse is JSON.parse of a strictly decoded text. A number that a double cannot
// hold is written back with the double's digits; if those are not a plain number,
// it is refused.
func jsParse(v jsonvalue.Value) (*jsValue, error) {
	out := &jsValue{typ: v.Type()}
	var err error
	switch out.typ {
	case jsonvalue.TypeNumber:
		out.text, err = jsNumber(v.Text())
	case jsonvalue.TypeString:
		out.text = jsQuote(v.Text())
	case jsonvalue.TypeArray:
		for _, el := range v.Elems() {
			item, err := jsParse(el)
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, item)
		}
	case jsonvalue.TypeObject:
		for name, m := range v.Members() {
			item, err := jsParse(m)
			if err != nil {
				return nil, err
			}
			out.names, out.items = append(out.names, name), append(out.items, item)
		}
		out.order()
	default:
		out.text = string(v.Encode())
	}
	return out, err
}

// order moves members whose names are array indices to the front, sorted by number
// (ECMAScript, OrdinaryOwnPropertyKeys). The others keep their order.
func (o *jsValue) order() {
	if !slices.ContainsFunc(o.names, func(s string) bool { _, ok := jsIndex(s); return ok }) {
		return
	}
	at := make([]int, len(o.names))
	for i := range at {
		at[i] = i
	}
	slices.SortStableFunc(at, func(i, j int) int {
		a, first := jsIndex(o.names[i])
		b, second := jsIndex(o.names[j])
		switch {
		case first && second && a != b:
			return map[bool]int{true: -1, false: 1}[a < b]
		case first != second:
			return map[bool]int{true: -1, false: 1}[first]
		}
		return 0
	})
	names, items := make([]string, len(at)), make([]*jsValue, len(at))
	for i, from := range at {
		names[i], items[i] = o.names[from], o.items[from]
	}
	o.names, o.items = names, items
}

// jsIndex reports whether a name is an array index: a canonical number below
// 2^32-1.
func jsIndex(name string) (n uint64, ok bool) {
	n, err := strconv.ParseUint(name, 10, 64)
	return n, err == nil && n < 1<<32-1 && strconv.FormatUint(n, 10) == name
}

// jsNumber is Number::toString of the double nearest to a token.
func jsNumber(token string) (string, error) {
	if text, err := jsonvalue.Canonical([]byte(token)); err == nil {
		return string(text), nil
	}
	f, err := strconv.ParseFloat(token, 64)
	if err != nil {
		return "", fmt.Errorf("the number %.40s is out of range", token)
	}
	text, err := jsonvalue.Canonical([]byte(strconv.FormatFloat(f, 'g', -1, 64)))
	if err != nil {
		return "", fmt.Errorf("the number %.40s would lose digits", token)
	}
	return string(text), nil
}

// jsQuote is QuoteJSONString. s is valid UTF-8, so it has no lone surrogates.
func jsQuote(s string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range s {
		switch r {
		case '"', '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case '\b':
			out.WriteString(`\b`)
		case '\t':
			out.WriteString(`\t`)
		case '\n':
			out.WriteString(`\n`)
		case '\f':
			out.WriteString(`\f`)
		case '\r':
			out.WriteString(`\r`)
		default:
			if r < ' ' {
				fmt.Fprintf(&out, `\u%04x`, r)
				continue
			}
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
	return out.String()
}

// jsText makes a string; jsLiteral makes null, true, false or a number.
func jsText(s string) *jsValue       { return &jsValue{typ: jsonvalue.TypeString, text: jsQuote(s)} }
func jsLiteral(text string) *jsValue { return &jsValue{text: text} }

// member returns a member of an object, or nil.
func (o *jsValue) member(name string) *jsValue {
	if o != nil && o.typ == jsonvalue.TypeObject {
		if i := slices.Index(o.names, name); i >= 0 {
			return o.items[i]
		}
	}
	return nil
}

// set replaces a member or appends it. The name must not be an array index.
func (o *jsValue) set(name string, v *jsValue) {
	if i := slices.Index(o.names, name); i >= 0 {
		o.items[i] = v
		return
	}
	o.names, o.items = append(o.names, name), append(o.items, v)
}

// is reports whether o is the string s.
func (o *jsValue) is(s string) bool {
	return o != nil && o.typ == jsonvalue.TypeString && o.text == jsQuote(s)
}

// stringify is JSON.stringify(o, null, 1).
func (o *jsValue) stringify() []byte {
	var out bytes.Buffer
	o.write(&out, 0)
	return out.Bytes()
}

func (o *jsValue) write(out *bytes.Buffer, depth int) {
	open, end := byte('['), byte(']')
	switch o.typ {
	case jsonvalue.TypeArray:
	case jsonvalue.TypeObject:
		open, end = '{', '}'
	default:
		out.WriteString(o.text)
		return
	}
	out.WriteByte(open)
	for i, item := range o.items {
		if i > 0 {
			out.WriteByte(',')
		}
		newLine(out, depth+1)
		if o.typ == jsonvalue.TypeObject {
			out.WriteString(jsQuote(o.names[i]) + ": ")
		}
		item.write(out, depth+1)
	}
	if len(o.items) > 0 {
		newLine(out, depth)
	}
	out.WriteByte(end)
}

func newLine(out *bytes.Buffer, depth int) {
	out.WriteByte('\n')
	for range depth {
		out.WriteByte(' ')
	}
}
