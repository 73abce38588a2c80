package redact

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"slices"
	"sort"
	"strings"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// DefaultMaxScan is the default of Config.MaxScan, in bytes.
const DefaultMaxScan = 4 << 20

const markerPrefix = "[REDACTED:"

// ErrTooLarge says that the input exceeds Config.MaxScan and was not scanned.
var ErrTooLarge = errors.New("not fully scanned for secrets: too large")

// errUnstable says that masking kept uncovering more secrets.
var errUnstable = errors.New("not fully scanned for secrets: masking does not settle")

// Marker returns the text that replaces a secret of the kind.
func Marker(kind string) string { return markerPrefix + kind + "]" }

// ContainsMarker reports whether b holds a marker, also one written with \u
// escapes: writing it would replace the real value. A "[" and the rest of the
// prefix with the first letter of a kind are enough.
func ContainsMarker(b []byte) bool {
	if hasMarker(b) {
		return true
	}
	v := view{text: b}
	for range maxLayers {
		if !bytes.Contains(v.text, []byte(`\u`)) && !bytes.Contains(v.text, []byte(`\x`)) {
			return false
		}
		if v = peel(v, '\\', unescape); hasMarker(v.text) {
			return true
		}
	}
	return false
}

// ValueContainsMarker reports whether a text or a name in v holds a marker.
func ValueContainsMarker(v jsonvalue.Value) bool {
	switch v.Type() {
	case jsonvalue.TypeString:
		return ContainsMarker([]byte(v.Text()))
	case jsonvalue.TypeArray:
		for _, e := range v.Elems() {
			if ValueContainsMarker(e) {
				return true
			}
		}
	case jsonvalue.TypeObject:
		for name, m := range v.Members() {
			if ContainsMarker([]byte(name)) || ValueContainsMarker(m) {
				return true
			}
		}
	}
	return false
}

func hasMarker(b []byte) bool {
	for {
		i := bytes.Index(b, []byte(markerPrefix))
		if i < 0 {
			return false
		}
		b = b[i+len(markerPrefix):]
		if len(b) > 0 && 'a' <= b[0] && b[0] <= 'z' {
			return true
		}
	}
}

// Finding is the number of masked secrets of a kind.
type Finding struct {
	Kind  string
	Count int
}

// Config says what a Redactor looks for beyond the known shapes.
type Config struct {
	// Secrets are values that must not leave. Surrounding white space is ignored;
	// values under four bytes are not searched for.
	Secrets []string
	// MaxScan is the largest input in bytes; zero means DefaultMaxScan.
	MaxScan int
}

// Redactor masks secrets. It is immutable and safe for concurrent use.
type Redactor struct {
	max     int
	escapes bool // a configured secret has characters that JSON escapes

	machine  *automaton
	patterns []pattern // the meaning of each pattern of the automaton
	shapes   []shape
	encoded  []encoded
	spelled  []spelling
}

type patternType uint8

const (
	patShape patternType = iota + 1
	patKeyword
	patEncoded
	patSpelling
)

type pattern struct {
	typ   patternType
	index int
}

// New returns a Redactor for the configured secrets.
func New(cfg Config) *Redactor {
	r := &Redactor{max: cfg.MaxScan, shapes: shapes(), spelled: spellings(cfg.Secrets)}
	if r.max <= 0 {
		r.max = DefaultMaxScan
	}
	var texts [][]byte
	add := func(text []byte, typ patternType, index int) {
		texts = append(texts, text)
		r.patterns = append(r.patterns, pattern{typ, index})
	}
	for i, s := range r.shapes {
		add([]byte(s.anchor), patShape, i)
		if slices.Contains(encodedShapes, s.anchor) {
			for shift := range 3 {
				core, lead := base64Core(base64.RawStdEncoding, []byte(s.anchor), shift)
				r.encoded = append(r.encoded, encoded{i, core, lead, shift})
				add(core, patEncoded, len(r.encoded)-1)
			}
		}
	}
	for i, k := range keywords {
		add([]byte(k), patKeyword, i)
	}
	for i, s := range r.spelled {
		add(s.text[:min(len(s.text), maxPrefix)], patSpelling, i)
		r.escapes = r.escapes || bytes.ContainsAny(s.text, "\"\\\n\r\t\b\f'`")
	}
	r.machine = newAutomaton(texts)
	return r
}

// Text masks the secrets in plain text: a line of a log or of standard error. Text
// that is one JSON value is treated like JSON. It returns b itself if there is
// nothing to mask. Text over the limit is replaced with a marker as a whole.
func (r *Redactor) Text(b []byte) ([]byte, []Finding) {
	if len(b) > r.max {
		// fail closed: what was not scanned does not pass.
		return []byte(Marker(kindUnscanned)), []Finding{{kindUnscanned, 1}}
	}
	t := counts{}
	out, err := r.leaf(b, 0, t)
	if err != nil {
		// fail closed: the same for what does not settle.
		return []byte(Marker(kindUnscanned)), []Finding{{kindUnscanned, 1}}
	}
	return out, t.findings()
}

// counts are how often each kind was masked.
type counts map[string]int

func (c counts) findings() []Finding {
	if len(c) == 0 {
		return nil
	}
	out := make([]Finding, 0, len(c))
	for k, n := range c {
		out = append(out, Finding{k, n})
	}
	slices.SortFunc(out, func(a, b Finding) int { return strings.Compare(a.Kind, b.Kind) })
	return out
}

func (c counts) add(other counts) {
	for k, n := range other {
		c[k] += n
	}
}

// leaf masks text, or the JSON in it. nest is the number of enclosing JSON texts.
func (r *Redactor) leaf(b []byte, nest int, t counts) ([]byte, error) {
	if nest < maxLayers && looksJSON(b) {
		// A configured secret may be JSON itself, so that no single string holds
		// it.
		b = t.mask(b, r.scan(b, patSpelling))
		inner := counts{}
		if out, err := r.json(b, nest+1, inner); err == nil {
			t.add(inner)
			return out, nil
		}
	}
	return r.plain(b, t)
}

// maxRounds bounds how often text is scanned again after masking: what is next to a
// marker may now be the beginning of a word.
const maxRounds = 8

func (r *Redactor) plain(b []byte, t counts) ([]byte, error) {
	for range maxRounds {
		found := r.scan(b, 0)
		if len(found) == 0 {
			return b, nil
		}
		b = t.mask(b, found)
	}
	return nil, errUnstable
}

// mask returns b with markers in place of the matches, or b itself if there are
// none.
func (c counts) mask(b []byte, found []match) []byte {
	if len(found) == 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	at := 0
	for _, m := range found {
		out = append(append(out, b[at:m.start]...), Marker(m.kind)...)
		at = m.end
		c[m.kind]++
	}
	return append(out, b[at:]...)
}

type match struct {
	start, end int
	kind       string
}

// scan returns what to mask in b, in order and without overlaps. If only is not
// zero, it uses only patterns of that type.
func (r *Redactor) scan(b []byte, only patternType) []match {
	var found []match
	if only == patSpelling && len(r.spelled) == 0 {
		return nil
	}
	r.views(b, func(v view) {
		done := 0 // everything before is masked already
		r.machine.find(v.text, func(id, i int) bool {
			p := r.patterns[id]
			if i < done && p.typ != patSpelling || only != 0 && p.typ != only {
				return true
			}
			if m, ok := r.match(v.text, p, i, i+r.machine.length[id]); ok {
				done = max(done, m.end)
				from := v.origin(m.start)
				found = append(found, match{from, max(v.origin(m.end), from), m.kind})
			}
			return true
		})
	})
	return merge(found)
}

// match evaluates an occurrence of a pattern at b[i:end].
func (r *Redactor) match(b []byte, p pattern, i, end int) (m match, ok bool) {
	switch p.typ {
	case patShape:
		s := &r.shapes[p.index]
		if !s.folds() && string(b[i:end]) != s.anchor {
			return match{}, false
		}
		m.kind = s.kind
		m.start, m.end, ok = s.match(b, i)
	case patKeyword:
		m.kind = kindAssignment
		m.start, m.end, ok = matchAssignment(b, i, end)
	case patEncoded:
		e := &r.encoded[p.index]
		m.kind = r.shapes[e.shape].kind
		m.start, m.end, ok = e.at(b, i, &r.shapes[e.shape])
	case patSpelling:
		m.kind = kindConfigured
		m.start, m.end, ok = r.spelled[p.index].at(b, i)
	}
	return m, ok && m.start < m.end
}

// merge sorts matches and joins overlapping ones.
func merge(found []match) []match {
	if len(found) < 2 {
		return found
	}
	sort.SliceStable(found, func(i, j int) bool { return cmp.Less(found[i].start, found[j].start) })
	out := found[:1]
	for _, m := range found[1:] {
		last := &out[len(out)-1]
		if m.start >= last.end {
			out = append(out, m)
			continue
		}
		last.end = max(last.end, m.end)
	}
	return out
}

// quiet reports, from one pass over the raw bytes, that JSON text b holds nothing
// to mask. Escapes that can spell letters make it false; other escapes do not occur
// in tokens. Secret names are left to the walk.
func (r *Redactor) quiet(b []byte) bool {
	if r.backslashes(b) || percents(b) {
		return false
	}
	quiet := true
	r.machine.find(b, func(id, i int) bool {
		p := r.patterns[id]
		if p.typ != patKeyword && !(p.typ == patShape && r.shapes[p.index].around) {
			if _, ok := r.match(b, p, i, i+r.machine.length[id]); !ok {
				return true
			}
		}
		quiet = false
		return false
	})
	return quiet
}
