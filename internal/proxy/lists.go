package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/store"
)

// tools is what the upstream has listed in this session.
type tools struct {
	mu       sync.Mutex
	known    map[string]definition
	complete bool            // the guard has listed all tools since the last change
	changes  int             // how often the server has reported a change of its list
	waiting  []Waiting       // for acceptance, as last reported
	missing  missing         // as last reported
	shown    map[string]bool // whether the client's last list had the tool; nil before the first
	alerted  map[string]digest.Digest
	listing  sync.Mutex // allows one list of the guard's own at a time
}

// definition is one tool as the upstream described it.
type definition struct {
	raw  []byte
	hash digest.Digest // zero if it cannot be computed or is ambiguous
}

func (t *tools) invalidate() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known, t.complete = nil, false
	t.changes++
}

// version returns how often the server has reported that its list changed.
func (t *tools) version() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changes
}

// replace replaces all of the server's tools, unless its list has changed
// since version.
func (t *tools) replace(all map[string]definition, version int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changes != version {
		return false
	}
	t.known, t.complete = all, true
	return true
}

func (t *tools) get(name string) (d definition, known, complete bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d, known = t.known[name]
	return d, known, t.complete
}

func (t *tools) put(page map[string]definition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known = map[string]definition{}
	}
	for name, d := range page {
		t.known[name] = d
	}
}

// definition returns the tool's definition in this session. The guard lists
// the tools itself if the client has not, or if the server has reported a
// change since.
func (s *session) definition(ctx context.Context, c *call, name string) (definition, error) {
	if d, known, complete := s.defs.get(name); known || complete {
		return d, nil
	}
	s.defs.listing.Lock()
	defer s.defs.listing.Unlock()
	if d, known, complete := s.defs.get(name); known || complete {
		return d, nil
	}
	all, err := s.ownList(ctx, c)
	if err != nil {
		return definition{}, err
	}
	return all[name], nil
}

// ownListTries is how often the guard lists again because the list changed
// while it was read.
const ownListTries = 5

// ownList lists all tools, to compare them with the accepted definitions. The
// client cannot guess its request IDs and never sees its answers. A list that
// changes between two pages is read again. Some servers report a change around
// each listing although nothing changes: if two readings are equal, the list
// is used.
func (s *session) ownList(ctx context.Context, c *call) (map[string]definition, error) {
	ctx, cancel := context.WithTimeout(ctx, ownListTimeout)
	defer cancel()
	var last map[string]definition
	for range ownListTries {
		version := s.defs.version()
		all, err := s.ownPages(ctx, c)
		if err != nil {
			return nil, err
		}
		if s.defs.replace(all, version) {
			s.compare(all)
			return all, nil
		}
		if last != nil && maps.EqualFunc(last, all, func(a, b definition) bool { return a.hash == b.hash && !a.hash.IsZero() }) {
			s.compare(all)
			return all, nil // not stored: the next call reads the list again
		}
		last = all
	}
	return nil, errors.New("the server's list of tools changed each time it was read")
}

func (s *session) ownPages(ctx context.Context, c *call) (map[string]definition, error) {
	all, cursor := map[string]definition{}, ""
	for range ownListPages {
		params := map[string]any{}
		if cursor != "" {
			params["cursor"] = cursor
		}
		if meta := ownMeta(&c.msg); meta != nil {
			params["_meta"] = meta
		}
		m, err := s.ask(ctx, "tools/list", params)
		if err != nil {
			return nil, err
		}
		page, _, err := pageOf(&m)
		if err != nil {
			return nil, err
		}
		for name, d := range page {
			if _, twice := all[name]; twice {
				d = definition{} // fail closed: it is unclear which of the two would be called
			}
			all[name] = d
		}
		next, ok := jsonrpc.Member(m.Raw, m.Result, "nextCursor")
		if cursor, _ = jsonrpc.String(m.Raw, next); !ok || cursor == "" {
			return all, nil
		}
	}
	return nil, fmt.Errorf("the server lists more than %d pages of tools", ownListPages)
}

// ownMeta returns the metadata that the modern era requires in each request:
// version, client and capabilities, copied from the client's own request. It
// never copies the progress token.
func ownMeta(m *jsonrpc.Message) map[string]json.RawMessage {
	meta, ok := m.Param("_meta")
	if !ok {
		return nil
	}
	var out map[string]json.RawMessage
	for f := range jsonrpc.Members(m.Raw, meta) {
		switch f.Name {
		case metaProtocolVersion, metaClientInfo, "io.modelcontextprotocol/clientCapabilities":
			if out == nil {
				out = map[string]json.RawMessage{}
			}
			out[f.Name] = f.Value.Of(m.Raw)
		}
	}
	return out
}

// ask sends a request of the guard's own and waits for its answer.
func (s *session) ask(ctx context.Context, method string, params any) (jsonrpc.Message, error) {
	id := jsonrpc.StringID("mcpguard-" + rand.Text())
	return s.askWith(ctx, id, method, jsonrpc.NewRequest(id, method, params))
}

// askWith sends a request with an ID of the guard's own.
func (s *session) askWith(ctx context.Context, id jsonrpc.ID, method string, frame []byte) (jsonrpc.Message, error) {
	c := make(chan answer, 1)
	gone := false
	s.update(func(in *inflight) {
		if gone = in.gone; !gone {
			in.own[id] = c
		}
	})
	if gone {
		return jsonrpc.Message{}, errUpstreamGone
	}
	if err := s.toUpstream(frame); err != nil {
		s.update(func(in *inflight) { delete(in.own, id) })
		return jsonrpc.Message{}, fmt.Errorf("asking the server for %s: %w", method, err)
	}
	select {
	case a := <-c:
		switch {
		case a.err != nil:
			return jsonrpc.Message{}, a.err
		case !a.msg.Error.IsZero():
			return jsonrpc.Message{}, fmt.Errorf("the server answered %s with an error", method)
		}
		return a.msg, nil
	case <-ctx.Done():
		// No one is waiting for a late answer, so drop it.
		s.update(func(in *inflight) { delete(in.own, id) })
		if method == "tools/call" {
			_ = s.toUpstream(jsonrpc.Notify("notifications/cancelled", map[string]any{"requestId": rawID(id), "reason": "no longer waited for"}))
		}
		return jsonrpc.Message{}, fmt.Errorf("waiting for the server's answer to %s: %w", method, context.Cause(ctx))
	}
}

var errAmbiguousList = errors.New("the server's list of tools can be read in more than one way")

// learn records the tools of one page that goes to the client, and returns
// where the array of tools is.
func (s *session) learn(m *jsonrpc.Message) (jsonrpc.Span, error) {
	page, list, err := pageOf(m)
	if err == nil {
		s.defs.put(page)
		s.compare(page)
	}
	return list, err
}

// pageOf returns the tools of one page and where their array is.
func pageOf(m *jsonrpc.Message) (page map[string]definition, list jsonrpc.Span, err error) {
	for f := range jsonrpc.Members(m.Raw, m.Result) {
		if !strings.EqualFold(f.Name, "tools") {
			continue
		}
		if f.Name != "tools" || jsonrpc.TypeOf(m.Raw, f.Value) != jsonrpc.ArrayType {
			// fail closed: a reader that ignores case would see other tools
			return nil, list, errAmbiguousList
		}
		list = f.Value
	}
	if list.IsZero() {
		return nil, list, errAmbiguousList
	}
	page = map[string]definition{}
	for el := range jsonrpc.Elements(m.Raw, list) {
		name, ok := toolName(m.Raw, el)
		if !ok {
			continue
		}
		raw := append([]byte(nil), el.Of(m.Raw)...)
		hash, err := config.DefinitionHash(raw)
		if err != nil {
			hash = digest.Digest{} // fail closed: no pin equals it
		}
		if _, twice := page[name]; twice {
			raw, hash = nil, digest.Digest{} // fail closed: it is unclear which of the two would be called
		}
		page[name] = definition{raw: raw, hash: hash}
	}
	return page, list, nil
}

func toolName(raw []byte, tool jsonrpc.Span) (string, bool) {
	at, ok := jsonrpc.Member(raw, tool, "name")
	if !ok {
		return "", false
	}
	return jsonrpc.String(raw, at)
}

// filterList removes the tools that the policy does not offer from a page. All
// other bytes stay.
func (s *session) filterList(m *jsonrpc.Message) []byte {
	if m.Result.IsZero() {
		return m.Raw
	}
	list, err := s.learn(m)
	if err != nil {
		s.stopped(jsonrpc.FromServer, "tools/list", guard.Decision{Rule: guard.RuleAdmission, Reason: err.Error()})
		return jsonrpc.ErrorReply(m.ID, jsonrpc.CodeInternalError, "mcpguard: "+err.Error(), nil)
	}
	plain := func(frame []byte) []byte {
		if page, err := jsonrpc.Admit(frame, s.cfg.Limits); err == nil {
			return s.plainVoice(page, true).Raw
		}
		return nil
	}
	out := jsonrpc.DeleteElements(m.Raw, list, func(_ int, el jsonrpc.Span) bool {
		name, ok := toolName(m.Raw, el)
		if !ok {
			return true
		}
		d, _, _ := s.defs.get(name)
		yes := s.offered(name, d)
		s.defs.show(name, yes)
		return !yes
	})
	if out != nil && suspicious(out) {
		out = plain(out)
	}
	if out == nil {
		return jsonrpc.ErrorReply(m.ID, jsonrpc.CodeInternalError, "mcpguard could not filter the server's list of tools", nil)
	}
	return out
}

// offered reports whether clients may see a tool with this definition.
func (s *session) offered(name string, d definition) bool {
	server, ok := s.cfg.Policy().Server(s.cfg.Session.Server)
	if !ok {
		return false
	}
	tool, ok := server.Tool(name)
	return ok && !d.hash.IsZero() && tool.Listed(s.cfg.Session, d.raw)
}

// compare reports tools that differ from the accepted ones to the human and
// the log.
func (s *session) compare(page map[string]definition) {
	server, ok := s.cfg.Policy().Server(s.cfg.Session.Server)
	if !ok {
		return
	}
	for name, d := range page {
		if tool, ok := server.Tool(name); ok && tool.Tier != guard.Never {
			if pin, pinned := tool.Pin(); pinned && pin.SHA256 != d.hash {
				s.definitionChanged(name, pin, d)
			}
		}
	}
	if n, more := s.waiting(server); more {
		s.notice("%s", n.say(s.cfg.Session.Server))
	}
}

// missing counts the server's tools that the client does not see.
type missing struct {
	waiting int // the policy names them, but their definition is not accepted
	unnamed int // the policy does not name them
	closed  int // the policy does not open them to this session
}

// say returns one line for the developer, so that no tool is missing without a
// reason.
func (m missing) say(server string) string {
	var parts []string
	add := func(n int, one, many, first, more string) {
		switch {
		case n == 0:
		case len(parts) > 0:
			parts = append(parts, fmt.Sprintf("%d more %s", n, more))
		case n == 1:
			parts = append(parts, fmt.Sprintf("1 tool of %s %s %s", server, one, first))
		default:
			parts = append(parts, fmt.Sprintf("%d tools of %s %s %s", n, server, many, first))
		}
	}
	add(m.waiting, "waits", "wait", "for acceptance: mcpguardd accept "+server, "")
	add(m.unnamed, "is", "are", "not named by the policy: mcpguardd accept "+server+" lists what there is", "not named by the policy")
	add(m.closed, "is", "are", "closed by the policy", "closed by the policy")
	return strings.Join(parts, "; ")
}

// waiting counts the tools that the client does not see. If the list of those
// that wait for acceptance or that no policy names has changed, it passes the
// list on. more reports whether the developer must be told.
func (s *session) waiting(server *policy.Server) (n missing, more bool) {
	s.defs.mu.Lock()
	defer s.defs.mu.Unlock()
	var list []Waiting
	for name, d := range s.defs.known {
		tool, named := server.Tool(name)
		var pin guard.Pin
		pinned := false
		if named {
			pin, pinned = tool.Pin()
		}
		switch {
		case named && tool.Tier == guard.Never, config.CheckToolName(name) != nil: // no policy can name it
			n.closed++
		case !pinned || pin.SHA256 != d.hash:
			list = append(list, Waiting{Tool: name, SHA256: d.hash, Definition: d.raw, Accepted: pin.Definition})
			if named {
				n.waiting++
			} else {
				n.unnamed++
			}
		case !tool.Listed(s.cfg.Session, d.raw):
			n.closed++
		}
	}
	slices.SortFunc(list, func(a, b Waiting) int { return strings.Compare(a.Tool, b.Tool) })
	told := s.defs.waiting
	same := slices.EqualFunc(list, told, func(a, b Waiting) bool {
		return a.Tool == b.Tool && a.SHA256 == b.SHA256 && bytes.Equal(a.Accepted, b.Accepted)
	})
	more = n != missing{} && n != s.defs.missing
	s.defs.waiting, s.defs.missing = list, n
	if !same {
		s.cfg.Waiting(slices.Clone(list))
	}
	return n, more
}

// definitionChanged records once per session that a tool differs from the
// accepted one, and raises an alert.
func (s *session) definitionChanged(name string, pin guard.Pin, d definition) {
	s.defs.mu.Lock()
	if s.defs.alerted == nil {
		s.defs.alerted = map[string]digest.Digest{}
	}
	known, told := s.defs.alerted[name]
	s.defs.alerted[name] = d.hash
	s.defs.mu.Unlock()
	if told && known == d.hash {
		return
	}
	e := s.event(audit.ToolDefinitionChanged)
	e.Tool = audit.Tool{Server: s.cfg.Session.Server, Name: name, Version: s.serverVersion(), DefinitionSHA256: d.hash}
	e.Verdict, e.Rule = guard.Deny.String(), guard.RulePinChanged
	e.Reason = "accepted was " + pin.SHA256.String()
	s.cfg.Store.RecordAsync(e)
	s.alert(store.Alert{
		Kind: "tool_definition_changed", Key: s.cfg.Session.Server + "/" + name,
		Text: "The definition of " + s.cfg.Session.Server + "/" + name + " is not the one that was accepted; the tool is blocked until it is accepted again.",
	})
}

// alert raises an alert in the session's tenant.
func (s *session) alert(a store.Alert) {
	ctx, cancel := durably(s.ctx)
	defer cancel()
	a.Tenant = s.cfg.Session.Tenant
	if err := s.cfg.Store.RaiseAlert(ctx, a); err != nil {
		s.cfg.Log.Error("raising an alert", "kind", a.Kind, "key", a.Key, "err", err)
	}
}
