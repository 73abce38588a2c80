package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"html"
	"strings"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

const (
	// minSecret is the minimum length in bytes of a configured secret that is
	// searched for: a shorter one would occur in ordinary words.
	minSecret = 4
	// maxPrefix is how much of a spelling is in the automaton; the rest is
	// compared.
	maxPrefix = 12
)

// spelling is one way in which a configured secret may be written.
type spelling struct {
	text  []byte
	folds bool // hex digits in either case
	edges bool // base64: the character before and after holds bits of it too
}

// spellings returns how the configured secrets may be written. JSON and URL escapes
// are undone before the search, so they are not among them.
func spellings(secrets []string) []spelling {
	var out []spelling
	seen := map[string]bool{}
	add := func(s spelling) {
		if len(s.text) >= minSecret && !seen[string(s.text)] {
			seen[string(s.text)] = true
			out = append(out, s)
		}
	}
	for _, s := range parts(secrets) {
		add(spelling{text: []byte(s)})
		add(spelling{text: []byte(html.EscapeString(s))})
		add(spelling{text: []byte(strings.ReplaceAll(s, " ", "+"))})
		add(spelling{text: []byte(hex.EncodeToString([]byte(s))), folds: true})
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			for shift := range 3 {
				text, _ := base64Core(enc, []byte(s), shift)
				add(spelling{text: text, edges: true})
			}
		}
	}
	return out
}

// parts trims the secrets and adds the long lines of multi-line ones: a key file
// may be shown with other line endings, or indented.
func parts(secrets []string) []string {
	var out []string
	for _, s := range secrets {
		s = strings.TrimSpace(s)
		if len(s) < minSecret || strings.Contains(Marker(kindConfigured), s) {
			continue // searching for it would mask ordinary text, or the markers
		}
		out = append(out, s)
		if looksJSON([]byte(s)) {
			out = append(out, jsonParts([]byte(s))...)
		}
		if strings.Contains(s, "\n") {
			for line := range strings.Lines(s) {
				if line = strings.TrimSpace(line); len(line) >= 16 && !strings.HasPrefix(line, "-----") {
					out = append(out, line)
				}
			}
		}
	}
	return out
}

// jsonParts returns the long strings of a secret that is a JSON document, such as a
// service account's key file.
func jsonParts(doc []byte) []string {
	root, ok := jsonrpc.Root(doc)
	if !ok || jsonrpc.Check(doc, jsonrpc.Limits{}) != nil {
		return nil
	}
	var out []string
	var walk func(s jsonrpc.Span)
	walk = func(s jsonrpc.Span) {
		if str, ok := jsonrpc.String(doc, s); ok && len(str) >= 16 && !strings.Contains(str, "://") {
			out = append(out, parts([]string{str})...)
		}
		for e := range jsonrpc.Elements(doc, s) {
			walk(e)
		}
		for f := range jsonrpc.Members(doc, s) {
			walk(f.Value)
		}
	}
	walk(root)
	return out
}

// base64Core returns the characters common to every base64 text in which s begins
// shift bytes after a group of three, and how many characters of the first group
// precede them.
func base64Core(enc *base64.Encoding, s []byte, shift int) (core []byte, lead int) {
	padded := append(make([]byte, shift, shift+len(s)), s...)
	text := enc.EncodeToString(padded)
	lead = (shift*8 + 5) / 6
	return []byte(text[lead : len(padded)*8/6]), lead
}

// at reports whether the spelling occurs at b[i:], and what to mask.
func (s *spelling) at(b []byte, i int) (start, end int, ok bool) {
	end = i + len(s.text)
	if end > len(b) {
		return 0, 0, false
	}
	if s.folds {
		ok = bytes.EqualFold(b[i:end], s.text)
	} else {
		ok = bytes.Equal(b[i:end], s.text)
	}
	if ok && s.edges {
		if i > 0 && base64Any[b[i-1]] {
			i--
		}
		if end < len(b) && base64Any[b[end]] {
			end++
		}
	}
	return i, end, ok
}

// encodedShapes are the kinds of token also searched for in base64.
var encodedShapes = []string{
	"AKIA", "ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "sk_live_", "sk-ant-", "sk-proj-", "AIza", "npm_",
	"-----BEGIN", "AGE-SECRET-KEY-1",
}

// encoded is the base64 form of a shape's anchor.
type encoded struct {
	shape int
	core  []byte
	lead  int // characters of the group before core
	shift int // bytes of the group before the anchor
}

// probe is how many base64 characters are decoded to examine a token.
const probe = 256

// at decodes around the core found at b[i:] and searches for the token there.
func (e *encoded) at(b []byte, i int, s *shape) (start, end int, ok bool) {
	group := i - e.lead
	if group < 0 || !bytes.Equal(b[i:i+len(e.core)], e.core) {
		return 0, 0, false
	}
	n := base64Any.run(b, group, probe) - group
	if n < e.lead+len(e.core) {
		return 0, 0, false
	}
	var text [probe]byte
	for k, c := range b[group : group+n] {
		switch c {
		case '-':
			c = '+'
		case '_':
			c = '/'
		}
		text[k] = c
	}
	if n%4 == 1 {
		n--
	}
	var dec [probe]byte
	m, err := base64.RawStdEncoding.Decode(dec[:], text[:n])
	if err != nil && m == 0 {
		return 0, 0, false
	}
	from, to, ok := s.match(dec[e.shift:m], 0)
	if !ok {
		return 0, 0, false
	}
	start = group + (e.shift+from)*8/6
	if end = group + ((e.shift+to)*8+5)/6; e.shift+to >= m-2 {
		end = base64Any.run(b, min(end, len(b)), len(b))
	}
	return start, min(end, len(b)), true
}
