package proxy

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// rootsValue returns the guard's list of roots as a JSON array.
func (s *session) rootsValue() []byte {
	type root struct {
		URI  string `json:"uri"`
		Name string `json:"name"`
	}
	roots := []root{}
	for _, r := range s.cfg.Roots {
		uri := (&url.URL{Scheme: "file", Path: filepath.ToSlash(r)}).String()
		roots = append(roots, root{URI: uri, Name: filepath.Base(r)})
	}
	return rawJSON(roots)
}

// rootsReply answers roots/list in place of the client, whose own answer could
// widen what a server may touch.
func (s *session) rootsReply(id jsonrpc.ID) []byte {
	return jsonrpc.Result(id, map[string]json.RawMessage{"roots": s.rootsValue()})
}

// ownRoots does the same in the modern era, where a client sends its answers
// with the next request: roots among them are replaced by the guard's. All
// other bytes stay. why says why that is not possible.
func (s *session) ownRoots(m jsonrpc.Message) (out jsonrpc.Message, why string) {
	answers, ok := m.Param("inputResponses")
	if !ok {
		return m, ""
	}
	var edits []jsonrpc.Edit
	for f := range jsonrpc.Members(m.Raw, answers) {
		for member := range jsonrpc.Members(m.Raw, f.Value) {
			switch {
			case member.Name == "roots":
				edits = append(edits, jsonrpc.Edit{Span: member.Value, With: s.rootsValue()})
			case strings.EqualFold(member.Name, "roots"):
				// fail closed: a reader that ignores case would take it for roots
				return m, "an answer has a member that some servers would take for roots"
			}
		}
	}
	if edits == nil {
		return m, ""
	}
	out, err := jsonrpc.Admit(jsonrpc.ReplaceSpans(m.Raw, edits), s.cfg.Limits)
	if err != nil {
		return m, "the roots in this answer could not be replaced by the guard's"
	}
	return out, ""
}
