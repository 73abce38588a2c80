package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/safetext"
)

// The guard's own answers reach the agent on the same stream as a server's. If
// a server sends text in the form of such an answer, that is marked: its
// metadata in the guard's name is removed, and texts and objects that look
// like the guard's answers say where they come from.

// guardMeta is the prefix of the guard's own members of _meta.
const guardMeta = "mcpguard/"

// plainVoice returns a message of the server as the client may see it. If
// nothing in it is in the guard's form, its bytes stay. A message that cannot
// be rewritten is returned without bytes.
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
		m.Raw = nil // fail closed: what cannot be rewritten is not passed on
		return m
	}
	return out
}

// builtinNative reports whether the session is of the client's own tools, whose
// upstream is part of the guard.
func (s *session) builtinNative() bool { return s.cfg.Session.Server == config.NativeServer }

// suspicious reports whether a frame may hold anything in the guard's form. It
// is a quick test that may report too much but not too little: text that is
// not ASCII, or escaped, may hide a name between invisible characters.
func suspicious(raw []byte) bool {
	return bytes.Contains(raw, []byte(`\u`)) || names(raw, "status") || names(raw, "waiting for approval") || names(raw, ownClient) ||
		bytes.IndexFunc(raw, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0
}

// names reports whether b contains an ASCII name, in any case.
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

// voice collects the edits of one frame.
type voice struct {
	raw      []byte
	mark     string
	metaOnly bool // texts stay: they were accepted
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
		text, _ := jsonrpc.String(v.raw, f.Value) // "" for anything but a string
		own.add(f.Name, text)
	}
	like := own.answer() && !v.metaOnly
	for _, f := range fields {
		switch {
		case strings.EqualFold(f.Name, "_meta"):
			if kept, cut := v.withoutOwn(f.Value); cut {
				v.edits = append(v.edits, jsonrpc.Edit{Span: f.Value, With: kept})
			}
		case like && said[strings.ToLower(f.Name)]:
			v.markAll(f.Value)
		default:
			v.value(f.Value)
		}
	}
}

// markAll marks each text in a value.
func (v *voice) markAll(at jsonrpc.Span) {
	switch jsonrpc.TypeOf(v.raw, at) {
	case jsonrpc.ObjectType:
		for f := range jsonrpc.Members(v.raw, at) {
			v.markAll(f.Value)
		}
	case jsonrpc.ArrayType:
		for el := range jsonrpc.Elements(v.raw, at) {
			v.markAll(el)
		}
	case jsonrpc.StringType:
		text, _ := jsonrpc.String(v.raw, at) // it was admitted
		v.edits = append(v.edits, jsonrpc.Edit{Span: at, With: jsonrpc.QuoteString(v.mark + text)})
	default:
		// no words in it
	}
}

// withoutOwn returns metadata without the guard's own members at any depth,
// and whether there were any.
func (v *voice) withoutOwn(at jsonrpc.Span) (kept []byte, cut bool) {
	add := func(name, value []byte) {
		if len(kept) > 1 {
			kept = append(kept, ',')
		}
		kept = append(append(kept, name...), value...)
	}
	switch jsonrpc.TypeOf(v.raw, at) {
	case jsonrpc.ObjectType:
		kept = append(kept, '{')
		for f := range jsonrpc.Members(v.raw, at) {
			if strings.HasPrefix(strings.TrimSpace(squeezed(f.Name)), guardMeta) {
				cut = true
				continue
			}
			value, within := v.withoutOwn(f.Value)
			cut = cut || within
			add(v.raw[f.Span.Start:f.Value.Start], value)
		}
		return append(kept, '}'), cut
	case jsonrpc.ArrayType:
		kept = append(kept, '[')
		for el := range jsonrpc.Elements(v.raw, at) {
			value, within := v.withoutOwn(el)
			cut = cut || within
			add(nil, value)
		}
		return append(kept, ']'), cut
	default:
		return at.Of(v.raw), false
	}
}

// said names the members of an answer that are read as text of the guard.
var said = map[string]bool{"reason": true, "repair": true, "next": true}

// ownFields is what an object has of the guard's own answers.
type ownFields struct {
	status string
	fields int // besides the status and the reason
	reason bool
}

// add records a member. If a name appears twice, both count, since readers
// differ in which one they use.
func (o *ownFields) add(name, text string) {
	switch strings.ToLower(name) {
	case "status":
		if text = strings.ToLower(strings.TrimSpace(text)); o.status == "" || ownStatus(text) {
			o.status = text
		}
	case "reason":
		o.reason = true
	case "rule", "repair", "approvalid", "expiresat", "next":
		o.fields++
	}
}

func ownStatus(text string) bool {
	switch text {
	case replyBlocked, replyDenied, replyLapsed, replyStale, replySuperseded, replyExpired, replyCancelled, replyUnknown, replyError:
		return true
	}
	return false
}

// answer reports whether the members form an answer of the guard. With a
// status that others use too, a reason alone is not enough.
func (o *ownFields) answer() bool {
	switch o.status {
	case replyBlocked, replyDenied, replyLapsed, replyStale, replySuperseded:
		return o.fields > 0 || o.reason
	case replyExpired, replyCancelled, replyUnknown, replyError:
		return o.fields > 0
	}
	return false
}

// ownWords are the beginnings, in lower case, of sentences that the guard
// writes itself. Clients put text of their own before them.
var ownWords = []string{"mcpguard:", "mcpguard refused", "mcpguard could not", "mcpguard did not", "waiting for approval appr_", replyBlocked}

// ownForm reports whether a text, or a part of it, has the form of the guard's
// own answers.
func ownForm(text string) bool {
	if !suspicious([]byte(text)) {
		return false
	}
	plain := squeezed(text)
	for _, w := range ownWords {
		for rest := plain; ; {
			before, after, found := strings.Cut(rest, w)
			if !found {
				break
			}
			if last, _ := utf8.DecodeLastRuneInString(before); !unicode.IsLetter(last) && !unicode.IsDigit(last) && !strings.ContainsRune("_-/.", last) {
				return true
			}
			rest = after
		}
	}
	return (strings.Contains(plain, "status") || strings.Contains(text, `\u`)) && ownObject(text)
}

// squeezed returns a text in lower case, without invisible characters, and
// with every kind of blank as one.
func squeezed(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r > ' ' && r < utf8.RuneSelf:
			return unicode.ToLower(r)
		case unicode.IsSpace(r):
			return ' '
		case !safetext.Seen(r):
			return -1
		}
		return unicode.ToLower(r)
	}, text)
}

// Limit of the search for objects in a text, in bytes that may be read in
// vain: an object that is never closed is read to the end for each object
// within it.
const maxVain = 1 << 20

// ownObject reports whether an object in a text has the form of the guard's
// own answers. Objects within another one are its data.
func ownObject(text string) bool {
	vain := maxVain + 4*len(text)
	for {
		at := strings.IndexByte(text, '{')
		if at < 0 {
			return false
		}
		text = text[at:]
		if inner := strings.TrimLeft(text[1:], " \t\r\n"); inner == "" || inner[0] != '"' {
			text = text[1:]
			continue
		}
		from := strings.NewReader(text)
		d := json.NewDecoder(from)
		var object json.RawMessage
		if d.Decode(&object) != nil {
			if vain -= len(text) - from.Len(); vain < 0 {
				return true // fail closed: unsearched text may be in the guard's form
			}
			text = text[1:]
			continue
		}
		if ownMembers(object) {
			return true
		}
		text = text[len(object):]
	}
}

func ownMembers(object []byte) bool {
	own := ownFields{}
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil {
		return true // fail closed: it was just read
	}
	for d.More() {
		name, err := d.Token()
		var value any
		if err != nil || d.Decode(&value) != nil {
			return true // fail closed: as above
		}
		text, _ := value.(string)
		member, _ := name.(string)
		own.add(member, text)
	}
	return own.answer()
}
