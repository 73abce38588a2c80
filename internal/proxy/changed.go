package proxy

import (
	"encoding/json"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// show records whether the client's newest list has a tool.
func (t *tools) show(name string, yes bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shown == nil {
		t.shown = map[string]bool{}
	}
	t.shown[name] = yes
}

// outdated reports whether the client's list differs from the one that it
// would get now.
func (s *session) outdated() bool {
	s.defs.mu.Lock()
	shown, known := make(map[string]bool, len(s.defs.shown)), make(map[string]definition, len(s.defs.shown))
	for name, yes := range s.defs.shown {
		if d, ok := s.defs.known[name]; ok {
			shown[name], known[name] = yes, d
		}
	}
	s.defs.mu.Unlock()
	for name, yes := range shown {
		if s.offered(name, known[name]) != yes {
			return true
		}
	}
	return false
}

// watchPolicy ends what a switch stops at once. It tells the client to list
// its tools again when the policy offers other tools than the client has seen.
func (s *session) watchPolicy() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.cfg.Changed:
		}
		s.interrupt()
		s.compare(nil)
		if s.outdated() {
			s.listChanged()
		}
	}
}

// listChanged sends the notification in the form of the client's era. In the
// modern era only clients that asked for it get it, once per subscription.
func (s *session) listChanged() {
	const method = "notifications/tools/list_changed"
	var listening []jsonrpc.ID
	modern := false
	s.update(func(in *inflight) {
		modern = in.modern
		for id, r := range in.client {
			if r.listens && !r.answered {
				listening = append(listening, id)
			}
		}
	})
	if !modern {
		s.toClient(jsonrpc.Notify(method, nil))
		return
	}
	for _, id := range listening {
		s.toClient(jsonrpc.Notify(method, map[string]any{
			"_meta": map[string]json.RawMessage{metaSubscription: rawID(id)},
		}))
	}
}

// listens reports whether a request subscribes to changes of the tool list.
func listens(m *jsonrpc.Message) bool {
	if m.Method != "subscriptions/listen" {
		return false
	}
	at, ok := jsonrpc.Lookup(m.Raw, m.Params, "notifications", "toolsListChanged")
	if !ok {
		return false
	}
	yes, _ := jsonrpc.Bool(m.Raw, at)
	return yes
}
