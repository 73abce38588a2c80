package redact

import (
	"bytes"
	"fmt"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// JSON masks the secrets in a JSON value. It searches every decoded string,
// including strings that are themselves JSON or escaped text, and masks the whole
// value of a member named like a secret (unless it holds a JSON Schema). Member
// names that contain a secret are masked too. Numbers, booleans, null and every
// byte outside the masked strings stay; what [jsonrpc.Check] accepts stays valid.
// If there is nothing to mask it returns raw itself, whose grammar it may then not
// have checked.
//
// The errors are [ErrTooLarge] for input over the limit, and others for input that
// is not JSON or cannot be masked. On error there is no output, and the input must
// not be passed on.
func (r *Redactor) JSON(raw []byte) ([]byte, []Finding, error) {
	if len(raw) > r.max {
		return nil, nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(raw), r.max) // fail closed
	}
	t := counts{}
	out, err := r.json(raw, 0, t)
	if err != nil {
		return nil, nil, err
	}
	return out, t.findings(), nil
}

func looksJSON(b []byte) bool {
	for _, c := range b {
		switch c {
		case ' ', '\t', '\n', '\r':
		case '{', '[':
			return true
		default:
			return false
		}
	}
	return false
}

func limits(n int) jsonrpc.Limits { return jsonrpc.Limits{MaxFrame: max(n, 1)} }

func (r *Redactor) json(raw []byte, nest int, t counts) ([]byte, error) {
	for range maxRounds {
		if r.quiet(raw) {
			return raw, nil
		}
		if err := jsonrpc.Check(raw, limits(len(raw))); err != nil {
			return nil, fmt.Errorf("reading JSON to redact: %w", err)
		}
		w, err := r.walk(raw, nest)
		if err != nil {
			return nil, err
		}
		if len(w.edits) == 0 {
			return raw, nil
		}
		t.add(w.counts)
		out := jsonrpc.ReplaceSpans(raw, w.edits)
		if err := jsonrpc.Check(out, limits(len(out))); err != nil {
			return nil, fmt.Errorf("redacting member names: %w", err) // fail closed
		}
		raw = out
	}
	return nil, errUnstable
}

func (r *Redactor) walk(raw []byte, nest int) (*walker, error) {
	w := &walker{r: r, raw: raw, nest: nest, counts: counts{}}
	w.value(w.space(0), false)
	return w, w.err
}

// walker walks a JSON value that jsonrpc.Check accepted, so it need not check the
// grammar; the same check bounds its depth.
type walker struct {
	r      *Redactor
	raw    []byte
	nest   int
	edits  []jsonrpc.Edit
	counts counts
	err    error
}

func (w *walker) space(i int) int {
	for i < len(w.raw) && w.raw[i] <= ' ' {
		i++
	}
	return i
}

// value walks the value at i and returns the index after it. named says that its
// member is named like a secret.
func (w *walker) value(i int, named bool) int {
	switch w.raw[i] {
	case '{':
		return w.object(i, named)
	case '[':
		option := false // the element before is --password or the like
		for i = w.space(i + 1); w.raw[i] != ']'; {
			at := i
			i = w.space(w.value(i, named || option && w.optionValue(i)))
			option = w.isOption(at)
			if w.raw[i] == ',' {
				i = w.space(i + 1)
			}
		}
		return i + 1
	case '"':
		end := w.stringEnd(i)
		w.text(jsonrpc.Span{Start: i, End: end}, named)
		return end
	}
	for i < len(w.raw) && w.raw[i] > ' ' && w.raw[i] != ',' && w.raw[i] != ']' && w.raw[i] != '}' {
		i++
	}
	return i
}

// isOption reports whether the string at i is an option of a command that takes a
// secret as its next argument.
func (w *walker) isOption(i int) bool {
	if w.raw[i] != '"' {
		return false
	}
	text := w.decode(jsonrpc.Span{Start: i, End: w.stringEnd(i)})
	name := bytes.TrimLeft(text, "-")
	return len(name) < len(text) && len(name) <= maxName && (secretName(name) || weakName(name))
}

// optionValue reports whether the string at i may be the secret after such an option.
func (w *walker) optionValue(i int) bool {
	if w.raw[i] != '"' {
		return false
	}
	text := w.decode(jsonrpc.Span{Start: i, End: w.stringEnd(i)})
	return len(text) >= 3 && text[0] != '-' && !bytes.ContainsAny(text, " \t\n") && secretWord(text) && !stopWord(text)
}

func (w *walker) object(i int, named bool) int {
	if named && w.schema(i) {
		named = false
	}
	kind := w.kind(i)
	i = w.space(i + 1)
	for n := 0; w.raw[i] != '}'; n++ {
		key := jsonrpc.Span{Start: i, End: w.stringEnd(i)}
		name := w.decode(key)
		if out := w.masked(name); out != nil {
			// Two names must not become equal.
			w.edit(key, fmt.Appendf(out, "#%d", n))
		}
		i = w.space(w.space(key.End) + 1)
		i = w.space(w.value(i, named || w.holdsSecret(kind, name, i)))
		if w.raw[i] == ',' {
			i = w.space(i + 1)
		}
	}
	return i + 1
}

// holdsSecret reports whether the value at i is a secret by its member's name or,
// if the name is not conclusive, by its content.
func (w *walker) holdsSecret(kind objectKind, name []byte, i int) bool {
	switch kind {
	case keyObject:
		if oneOf(string(name), jwkNames) {
			return true
		}
	case kubernetesSecret:
		if string(name) == "data" || string(name) == "stringData" {
			return true
		}
	}
	strong := secretName(name)
	if w.raw[i] != '"' {
		return strong
	}
	val := w.decode(jsonrpc.Span{Start: i, End: w.stringEnd(i)})
	switch {
	case strong:
		switch {
		case endsFold(name, "authorization"):
			return !wordy(val)
		case endsFold(name, "cookie"):
			return bytes.IndexByte(val, '=') > 0
		}
		return true
	case endsFold(name, "auth"):
		return isBasic(val)
	case weakName(name) && len(val) > 0:
		return passMember(name, val) || secretWord(val) && literal(val[:min(len(val), window)], name, true, true)
	}
	return false
}

func endsFold(name []byte, end string) bool {
	return len(name) >= len(end) && bytes.EqualFold(name[len(name)-len(end):], []byte(end))
}

// objectKind is the kind of an object that holds secrets, told by its other
// members.
type objectKind uint8

const (
	keyObject        objectKind = iota + 1 // a JSON web key
	kubernetesSecret                       // kind: Secret
)

// kind returns the kind of the object at i.
func (w *walker) kind(i int) objectKind {
	const near = 2048 // bytes examined: objects nest, and each is checked
	stop := i + near
	for i = w.space(i + 1); i < stop && w.raw[i] == '"'; {
		end := w.stringEnd(i)
		name := string(w.raw[i+1 : end-1])
		i = w.space(w.space(end) + 1)
		switch {
		case name == "kty":
			return keyObject
		case name == "kind" && bytes.HasPrefix(w.raw[i:], []byte(`"Secret"`)):
			return kubernetesSecret
		}
		if i = w.space(w.skip(i, stop)); w.raw[i] == ',' {
			i = w.space(i + 1)
		}
	}
	return 0
}

// schema reports whether the object at i describes a value rather than being one,
// as in the input schema of a tool that takes a password, or a package whose name
// ends in "token".
func (w *walker) schema(i int) bool {
	const near = 4096 // bytes examined: objects nest, and each is checked
	stop := i + near
	i = w.space(i + 1)
	for i < stop && w.raw[i] == '"' {
		end := w.stringEnd(i)
		name := string(w.raw[i+1 : end-1])
		i = w.space(w.space(end) + 1)
		if oneOf(name, schemaWords) {
			return true
		}
		if name == "type" && (w.raw[i] == '[' || w.raw[i] == '"' && oneOf(string(w.raw[i+1:w.stringEnd(i)-1]), schemaTypes)) {
			return true
		}
		if i = w.space(w.skip(i, stop)); w.raw[i] == ',' {
			i = w.space(i + 1)
		}
	}
	return false
}

var (
	schemaWords = []string{"$ref", "anyOf", "oneOf", "allOf", "enum", "const", "description", "version", "resolved", "integrity"}
	schemaTypes = []string{"string", "number", "integer", "boolean", "object", "array", "null"}
)

// skip returns the index after the value at i, or some index at or after stop.
func (w *walker) skip(i, stop int) int {
	for depth := 0; i < stop; {
		switch w.raw[i] {
		case '"':
			if i = w.stringEnd(i); depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // the end of the object around a scalar
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return i
}

func (w *walker) stringEnd(i int) int {
	for i++; ; {
		i += bytes.IndexAny(w.raw[i:], `"\`)
		if w.raw[i] == '"' {
			return i + 1
		}
		i += 2
	}
}

func (w *walker) decode(s jsonrpc.Span) []byte {
	in := w.raw[s.Start+1 : s.End-1]
	if bytes.IndexByte(in, '\\') < 0 {
		return in
	}
	str, _ := jsonrpc.String(w.raw, s)
	return []byte(str)
}

func (w *walker) text(s jsonrpc.Span, named bool) {
	if s.Len() == 2 {
		return
	}
	if !named || isReference(w.decode(s)) {
		if out := w.masked(w.decode(s)); out != nil {
			w.edit(s, out)
		}
		return
	}
	if in := w.raw[s.Start+1 : s.End-1]; !isMarker(in) {
		w.counts[kindMember]++
		w.edit(s, []byte(Marker(kindMember)))
	}
}

// isReference reports whether the value of a member named like a secret only says
// where something is, or which version: package names end like secrets too.
func isReference(v []byte) bool {
	return isVersion(v) || bytes.HasPrefix(v, []byte("./")) || bytes.HasPrefix(v, []byte("../"))
}

// masked returns the text without its secrets, or nil if there are none.
func (w *walker) masked(text []byte) []byte {
	found := counts{}
	out, err := w.r.leaf(text, w.nest, found)
	switch {
	case err != nil:
		w.err = err
		return nil
	case len(found) == 0:
		return nil
	}
	w.counts.add(found)
	return out
}

func (w *walker) edit(s jsonrpc.Span, text []byte) {
	w.edits = append(w.edits, jsonrpc.Edit{Span: s, With: jsonrpc.QuoteString(string(text))})
}

// isMarker reports whether b is exactly one marker.
func isMarker(b []byte) bool {
	kind, ok := bytes.CutPrefix(b, []byte(markerPrefix))
	if !ok {
		return false
	}
	kind, ok = bytes.CutSuffix(kind, []byte("]"))
	if !ok || len(kind) == 0 {
		return false
	}
	for _, c := range kind {
		if (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return true
}
