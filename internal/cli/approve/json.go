package approve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/safetext"
)

// fields is the value of --json[=fields].
type fields struct {
	on   bool
	only []string
}

// allFields stands for --json without a value.
const allFields = "*"

func (f *fields) String() string { return strings.Join(f.only, ",") }
func (f *fields) Type() string   { return "fields" }

// Set implements pflag.Value.
func (f *fields) Set(s string) error {
	f.on = true
	if s == allFields {
		return nil
	}
	for word := range strings.SplitSeq(s, ",") {
		if word = strings.TrimSpace(word); word != "" && !slices.Contains(f.only, word) {
			f.only = append(f.only, word)
		}
	}
	if len(f.only) == 0 {
		return fmt.Errorf("no field is named")
	}
	return nil
}

// check reports the named fields that a value of type T does not have.
func check[T any](f fields) error {
	known := fieldsOf(reflect.TypeFor[T]())
	for _, name := range f.only {
		if !slices.Contains(known, name) {
			return fmt.Errorf("there is no field %q; the fields are %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// fieldsOf lists the JSON members of a struct, in order.
func fieldsOf(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			out = append(out, fieldsOf(f.Type)...)
			continue
		}
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			out = append(out, name)
		}
	}
	return out
}

// encode returns v as one line of JSON, with the requested fields in the
// requested order, safe for a terminal.
func (f fields) encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	raw := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(f.only) > 0 {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil {
			return nil, fmt.Errorf("writing JSON: %w", err)
		}
		var out bytes.Buffer
		for i, name := range f.only {
			out.WriteByte("{,"[min(i, 1)])
			value, ok := members[name]
			if !ok {
				value = json.RawMessage("null") // empty, and omitted elsewhere
			}
			fmt.Fprintf(&out, "%q:%s", name, value)
		}
		out.WriteByte('}')
		raw = out.Bytes()
	}
	return escape(raw), nil
}

// escape makes JSON safe for a terminal without changing its meaning: every
// rune that safetext would mark is written as \uXXXX. Outside strings JSON is
// ASCII, so only strings change.
func escape(raw []byte) []byte {
	clean := true
	for _, c := range raw {
		clean = clean && c < 0x7f
	}
	if clean {
		return raw
	}
	out := make([]byte, 0, len(raw)+len(raw)/8)
	shown := map[rune]bool{}
	for i := 0; i < len(raw); {
		r, n := utf8.DecodeRune(raw[i:])
		ok := r < 0x7f
		if !ok {
			known := false
			if ok, known = shown[r]; !known {
				s := string(r)
				ok = r != utf8.RuneError && safetext.Text(s).String() == s
				shown[r] = ok
			}
		}
		switch {
		case ok:
			out = append(out, raw[i:i+n]...)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += n
	}
	return out
}

// array writes values as one JSON array, indented on a terminal.
func (p *page) array(list []json.RawMessage) error {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, v := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(escape(v))
	}
	b.WriteByte(']')
	return p.json(b.Bytes())
}

// value writes v as JSON, with the requested fields.
func (p *page) value(v any, f fields) error {
	raw, err := f.encode(v)
	if err != nil {
		return err
	}
	return p.json(raw)
}

// json writes one JSON value made by encode, indented on a terminal.
func (p *page) json(raw []byte) error {
	if p.app.terminal {
		if err := json.Indent(&p.buf, raw, "", "  "); err != nil {
			return fmt.Errorf("writing JSON: %w", err)
		}
	} else {
		p.buf.Write(raw)
	}
	p.buf.WriteByte('\n')
	return nil
}
