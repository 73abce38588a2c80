package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// The guard speaks to the agent in answers of its own. What a server sends in
// their form is not the guard's: metadata in its name is taken out, and texts
// and objects that look like its answers say where they come from.

// guardMeta begins the members of _meta that are the guard's own.
const guardMeta = "mcpguard/"

// plainVoice returns a message of the server as the client may see it. Where
// nothing in it is in the guard's form its bytes stay. A message that could not
// be made plain is returned without bytes.
func (s *session) plainVoice(m jsonrpc.Message, metaOnly bool) jsonrpc.Message {
	if !suspicious(m.Raw) || s.builtinNative() {
		return m
	}
	v := voice{raw: m.Raw, mark: fmt.Sprintf("[from the server %q, not from mcpguard] ", s.cfg.Session.Server), metaOnly: metaOnly}
	for _, at := range []jsonrpc.Span{m.Params, m.Result, m.Error} {
		if !at.IsZero() {
			v.value(at)
		}
	}
	if len(v.edits) == 0 {
		return m
	}
	s.cfg.Log.Warn("a server spoke in the guard's name; it was taken out or marked", "session", s.cfg.Session.ID, "server", s.cfg.Session.Server, "places", len(v.edits))
	out, err := jsonrpc.Admit(jsonrpc.ReplaceSpans(m.Raw, v.edits), jsonrpc.Limits{MaxFrame: len(m.Raw) + len(v.edits)*2*len(v.mark) + 1024})
	if err != nil {
		m.Raw = nil // fail closed: what cannot be made plain does not go on
		return m
	}
	return out
}

// builtinNative reports whether the session is of the client's own tools, whose
// upstream is part of the guard.
func (s *session) builtinNative() bool { return s.cfg.Session.Server == config.NativeServer }

// suspicious reports whether a frame may hold anything in the guard's form. It
// is quick, and says yes too often rather than too rarely.
func suspicious(raw []byte) bool {
	return bytes.Contains(raw, []byte(`\u00`)) || bytes.Contains(raw, []byte("status")) || bytes.Contains(raw, []byte("waiting for approval")) || names(raw, ownClient)
}

// names finds an ASCII name in b, whatever the case of its letters.
func names(b []byte, name string) bool {
	lower := name[0] | 0x20
	for i := 0; i+len(name) <= len(b); i++ {
		next := bytes.IndexAny(b[i:], string([]byte{lower, lower &^ 0x20}))
		if next < 0 {
			return false
		}
		if i += next; i+len(name) <= len(b) && bytes.EqualFold(b[i:i+len(name)], []byte(name)) {
			return true
		}
	}
	return false
}

// voice collects what is to be changed in one frame.
type voice struct {
	raw      []byte
	mark     string
	metaOnly bool // texts stay: they are what was accepted
	edits    []jsonrpc.Edit
}

func (v *voice) value(at jsonrpc.Span) {
	switch jsonrpc.TypeOf(v.raw, at) {
	case jsonrpc.ObjectType:
		v.object(at)
	case jsonrpc.ArrayType:
		for el := range jsonrpc.Elements(v.raw, at) {
			v.value(el)
		}
	case jsonrpc.StringType:
		if v.metaOnly {
			return
		}
		if text, ok := jsonrpc.String(v.raw, at); ok && ownForm(text) {
			v.edits = append(v.edits, jsonrpc.Edit{Span: at, With: jsonrpc.QuoteString(v.mark + text)})
		}
	default:
		// no words in it
	}
}

func (v *voice) object(at jsonrpc.Span) {
	var fields []jsonrpc.Field
	own := ownFields{}
	for f := range jsonrpc.Members(v.raw, at) {
		fields = append(fields, f)
		if jsonrpc.TypeOf(v.raw, f.Value) == jsonrpc.StringType {
			if text, ok := jsonrpc.String(v.raw, f.Value); ok {
				own.add(f.Name, text)
			}
		}
	}
	like := own.answer() && !v.metaOnly
	for _, f := range fields {
		switch {
		case strings.EqualFold(f.Name, "_meta") && jsonrpc.TypeOf(v.raw, f.Value) == jsonrpc.ObjectType:
			v.meta(f.Value)
		case like && said[f.Name] && jsonrpc.TypeOf(v.raw, f.Value) == jsonrpc.StringType:
			text, _ := jsonrpc.String(v.raw, f.Value) // read above
			v.edits = append(v.edits, jsonrpc.Edit{Span: f.Value, With: jsonrpc.QuoteString(v.mark + text)})
		default:
			v.value(f.Value)
		}
	}
}

// meta takes the guard's own members out of an object of metadata.
func (v *voice) meta(at jsonrpc.Span) {
	var kept []byte
	cut := false
	for f := range jsonrpc.Members(v.raw, at) {
		if len(f.Name) >= len(guardMeta) && strings.EqualFold(f.Name[:len(guardMeta)], guardMeta) {
			cut = true
			continue
		}
		if len(kept) > 0 {
			kept = append(kept, ',')
		}
		kept = append(kept, f.Span.Of(v.raw)...)
	}
	if cut {
		v.edits = append(v.edits, jsonrpc.Edit{Span: at, With: append(append([]byte{'{'}, kept...), '}')})
	}
}

// said are the members of an answer that are read as the guard's words.
var said = map[string]bool{"reason": true, "repair": true, "next": true}

// ownFields is what an object has of an answer of the guard's.
type ownFields struct {
	status string
	fields int // besides the status and the reason
	reason bool
}

func (o *ownFields) add(name, text string) {
	switch name {
	case "status":
		o.status = text
	case "reason":
		o.reason = true
	case "rule", "repair", "approvalId", "expiresAt", "next":
		o.fields++
	}
}

// answer reports whether they make an answer of the guard's. Of the statuses
// that others use, too, a reason alone makes none.
func (o *ownFields) answer() bool {
	switch o.status {
	case wordBlocked, wordDenied, wordLapsed, wordStale, wordSuperseded:
		return o.fields > 0 || o.reason
	case wordExpired, wordCancelled, wordUnknown, wordError:
		return o.fields > 0
	}
	return false
}

// ownWords begin the sentences that the guard writes itself, in lower case.
var ownWords = []string{"mcpguard:", "mcpguard refused", "mcpguard could not", "mcpguard did not", "waiting for approval appr_"}

// maxForms bounds how many objects in one text are looked at.
const maxForms = 64

// ownForm reports whether a text, or a line of it, is in the form of the guard's
// own answers.
func ownForm(text string) bool {
	if !suspicious([]byte(text)) {
		return false
	}
	forms := 0
	for len(text) > 0 {
		line, _, _ := strings.Cut(text, "\n")
		bare := strings.TrimLeft(line, " \t\r>*`#-\ufeff\u200b\u200c\u200d\u2060")
		for _, w := range ownWords {
			if len(bare) >= len(w) && strings.EqualFold(bare[:len(w)], w) {
				return true
			}
		}
		if strings.HasPrefix(bare, "{") && forms < maxForms {
			forms++
			if ownObject(text[len(line)-len(bare):]) {
				return true
			}
		}
		text = text[min(len(line)+1, len(text)):]
	}
	return false
}

// maxForm bounds how long an object may be to be taken for an answer, in bytes.
const maxForm = 16 << 10

// ownObject reports whether a text begins with an object that is in the form of
// the guard's own answers.
func ownObject(text string) bool {
	var obj map[string]any
	if json.NewDecoder(strings.NewReader(text[:min(len(text), maxForm)])).Decode(&obj) != nil {
		return false
	}
	own := ownFields{}
	for name, x := range obj {
		if s, ok := x.(string); ok {
			own.add(name, s)
		}
	}
	return own.answer()
}
