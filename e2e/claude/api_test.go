package claude

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// api is a scripted Messages API on loopback: it answers each turn of the one
// conversation that has tools with the next step of its script, and everything
// else (titles, token counts) with a word.
type api struct {
	url string

	mu      sync.Mutex
	steps   []step
	turn    int
	results []string       // what the client sent back for the tools, in order
	ends    map[int]result // likewise, of the first call of each step, from 0
	heard   []string       // messages as JSON, those of the client's own included
	seen    []string       // names of the tools that it offered last
}

// step is a tool call, several in one turn, or a closing text.
type step struct {
	calls []use
	text  string
	turn  int
}

// result is what the client sent back for a tool.
type result struct {
	use, text string
	failed    bool
}

type use struct {
	tool  string
	input map[string]any
}

func call(tool string, input map[string]any) step {
	return step{calls: []use{{tool, input}}}
}

// serve starts the API; it ends with the test.
func serve(t *testing.T, steps ...step) *api {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &api{url: "http://" + l.Addr().String(), steps: steps, ends: map[int]result{}}
	srv := &http.Server{Handler: a}
	go srv.Serve(l) // ends with Close
	t.Cleanup(func() { srv.Close() })
	return a
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/v1/messages") {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"input_tokens": 1}`)
		return
	}
	var req struct {
		Tools    []struct{ Name string }
		Messages []struct {
			Role    string
			Content json.RawMessage
		}
		Stream bool
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if len(req.Tools) == 0 {
		answer(w, req.Stream, step{text: "ok"})
		return
	}
	a.mu.Lock()
	a.seen = nil
	for _, t := range req.Tools {
		a.seen = append(a.seen, t.Name)
	}
	since := len(req.Messages)
	for since > 0 && req.Messages[since-1].Role != "assistant" {
		since--
	}
	for _, m := range req.Messages[since:] { // what is new in this turn
		a.heard = append(a.heard, string(m.Content))
		for _, r := range toolResults(m.Content) {
			a.results = append(a.results, r.text)
			if _, at, ok := strings.Cut(r.use, "_step"); ok {
				if n, err := strconv.Atoi(at); err == nil {
					a.ends[n] = r
				}
			}
		}
	}
	next := step{text: "done"}
	if a.turn < len(a.steps) {
		next = a.steps[a.turn]
		next.turn = a.turn
		a.turn++
	}
	a.mu.Unlock()
	answer(w, req.Stream, next)
}

func (a *api) told() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.results...)
}

// end returns how the first call of a step ended.
func (a *api) end(step int) (result, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.ends[step]
	return r, ok
}

// said returns all that the client has sent to the model, as JSON.
func (a *api) said() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.heard, "\n")
}

func (a *api) offered() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.seen...)
}

func toolResults(content json.RawMessage) (out []result) {
	var blocks []struct {
		Type    string
		Use     string `json:"tool_use_id"`
		Content json.RawMessage
		IsError bool `json:"is_error"`
	}
	if json.Unmarshal(content, &blocks) != nil {
		return nil
	}
	for _, b := range blocks {
		if b.Type != "tool_result" {
			continue
		}
		r := result{use: b.Use, failed: b.IsError}
		if json.Unmarshal(b.Content, &r.text) == nil {
			out = append(out, r)
			continue
		}
		var parts []struct{ Text string }
		_ = json.Unmarshal(b.Content, &parts) // other kinds of blocks have no text
		for _, p := range parts {
			r.text += p.Text
		}
		out = append(out, r)
	}
	return out
}

func useID(step, i int) string {
	if i > 0 {
		return fmt.Sprintf("toolu_%s_%d", randomID(), i)
	}
	return fmt.Sprintf("toolu_%s_step%d", randomID(), step)
}

// answer writes one assistant message, as events or whole.
func answer(w http.ResponseWriter, stream bool, s step) {
	stop := "end_turn"
	var blocks []map[string]any
	if s.text != "" {
		blocks = append(blocks, map[string]any{"type": "text", "text": s.text})
	}
	for i, c := range s.calls {
		stop = "tool_use"
		blocks = append(blocks, map[string]any{"type": "tool_use", "id": useID(s.turn, i), "name": c.tool, "input": c.input})
	}
	msg := map[string]any{"id": "msg_" + randomID(), "type": "message", "role": "assistant", "model": "claude-test",
		"stop_reason": nil, "stop_sequence": nil, "usage": map[string]any{"input_tokens": 1, "output_tokens": 1}, "content": []any{}}
	if !stream {
		msg["content"], msg["stop_reason"] = blocks, stop
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(msg) // a client that went away shows in the test
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	event := func(name string, v map[string]any) {
		v["type"] = name
		data, _ := json.Marshal(v) // plain values
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, data)
	}
	event("message_start", map[string]any{"message": msg})
	for i, b := range blocks {
		start, delta := map[string]any{"type": "text", "text": ""}, map[string]any{"type": "text_delta", "text": b["text"]}
		if b["type"] == "tool_use" {
			input, _ := json.Marshal(b["input"])
			start = map[string]any{"type": "tool_use", "id": b["id"], "name": b["name"], "input": map[string]any{}}
			delta = map[string]any{"type": "input_json_delta", "partial_json": string(input)}
		}
		event("content_block_start", map[string]any{"index": i, "content_block": start})
		event("content_block_delta", map[string]any{"index": i, "delta": delta})
		event("content_block_stop", map[string]any{"index": i})
	}
	event("message_delta", map[string]any{"delta": map[string]any{"stop_reason": stop, "stop_sequence": nil}, "usage": map[string]any{"output_tokens": 1}})
	event("message_stop", map[string]any{})
}
