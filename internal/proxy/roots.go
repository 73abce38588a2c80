package proxy

import (
	"net/url"
	"path/filepath"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// rootURIs are the workspace folders as the protocol spells them.
func (s *session) rootURIs() []string {
	uris := []string{}
	for _, r := range s.cfg.Roots {
		uris = append(uris, (&url.URL{Scheme: "file", Path: filepath.ToSlash(r)}).String())
	}
	return uris
}

// rootsReply answers roots/list in the client's place: a client's own answer
// could widen what a server may touch.
func (s *session) rootsReply(id jsonrpc.ID) []byte {
	type root struct {
		URI  string `json:"uri"`
		Name string `json:"name"`
	}
	roots := []root{}
	for i, u := range s.rootURIs() {
		roots = append(roots, root{URI: u, Name: filepath.Base(s.cfg.Roots[i])})
	}
	return jsonrpc.Result(id, map[string]any{"roots": roots})
}

// rootURIs reads the uris of an array of roots, as a JSON array of strings; nil
// if any of them is not understood.
func rootURIs(raw []byte, arr jsonrpc.Span) []byte {
	if jsonrpc.TypeOf(raw, arr) != jsonrpc.ArrayType {
		return nil
	}
	uris := []string{}
	for el := range jsonrpc.Elements(raw, arr) {
		at, ok := jsonrpc.Member(raw, el, "uri")
		if !ok {
			return nil
		}
		u, ok := jsonrpc.String(raw, at)
		if !ok {
			return nil
		}
		uris = append(uris, u)
	}
	return rawJSON(uris)
}
