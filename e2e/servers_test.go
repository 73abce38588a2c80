package e2e

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// TestMemoryServer: its reads pass, its writes wait and are shown as what they
// do to the graph.
func TestMemoryServer(t *testing.T) {
	t.Parallel()
	script := node(t, memoryServer)
	g := newGuard(t, "")
	graph := filepath.Join(g.work, "graph.jsonl")
	g.addWith([]string{"MEMORY_FILE_PATH=" + graph}, "memory", "--env", "MEMORY_FILE_PATH", "--preset", "memory", "--", "node", script)
	c := g.sdk("agent", "memory")

	if r := c.call("read_graph", map[string]any{}); !r.ok() || !strings.Contains(r.text(), `"entities": []`) {
		t.Fatalf("an empty graph reads %s", r.raw)
	}
	entities := map[string]any{"entities": []any{map[string]any{"name": "Ada", "entityType": "person", "observations": []any{"likes engines"}}}}
	call := c.startCall("create_entities", entities, options{})
	a := g.one()
	d := g.show(a.ID)
	if a.Tier != "T1_REVERSIBLE_WRITE" || d.Diff.Type != "json_patch" || !strings.Contains(d.Diff.Text, "likes engines") {
		t.Errorf("the reviewer sees tier %s, a %s diff\n%s", a.Tier, d.Diff.Type, d.Diff.Text)
	}
	if g.read(graph) != "" {
		t.Error("the graph changed before the decision")
	}
	g.allow(a)
	if r := c.answer(call); !r.ok() {
		t.Fatalf("the approved write was answered %s", r.raw)
	}
	if got := strings.Count(g.read(graph), `"Ada"`); got != 1 {
		t.Errorf("Ada is in the graph %d times", got)
	}
	if d := g.ended(a.ID, client.Executed); d.Receipt.ReadBack != "verified" {
		t.Errorf("the write was read back as %q", d.Receipt.ReadBack)
	}
	if r := c.call("open_nodes", map[string]any{"names": []any{"Ada"}}); !strings.Contains(r.text(), "likes engines") {
		t.Errorf("the entity reads %s", r.raw)
	}

	// A delete cannot be taken back, and says how much it takes.
	call = c.startCall("delete_entities", map[string]any{"entityNames": []any{"Ada"}}, options{})
	a = g.one()
	if a.Tier != "T2_IRREVERSIBLE_WRITE" || !slices.Contains(a.SideEffects, "deletes 1 entities with their relations") {
		t.Errorf("a delete has tier %s and the side effects %q", a.Tier, a.SideEffects)
	}
	g.deny(a, "Ada stays")
	if w := c.answer(call).word(); w.Status != "denied" || w.Reason != "Ada stays" {
		t.Errorf("the agent reads %+v", w)
	}
	if !strings.Contains(g.read(graph), `"Ada"`) {
		t.Error("a denied delete deleted")
	}
}

// TestEverythingThroughTheSDK: what the official client makes of the guarded
// server is what it makes of the bare one, for every tool, prompt and resource.
func TestEverythingThroughTheSDK(t *testing.T) {
	t.Parallel()
	g, command := everythingIn(t, "")
	abilities := map[string]any{"sampling": map[string]any{}, "elicitation": map[string]any{"form": map[string]any{}}}
	answers := map[string]any{
		"sampling/createMessage": map[string]any{"model": "m", "role": "assistant", "content": map[string]any{"type": "text", "text": "sampled"}},
		"elicitation/create":     map[string]any{"action": "accept", "content": map[string]any{"name": "Ada"}},
	}
	guarded := g.sdkWith(sdkConfig{Name: "sdk", Command: program("mcpguard"), Args: []string{"stdio", "all"}, Capabilities: abilities, Answers: answers})
	bare := g.sdkWith(sdkConfig{Name: "sdk", Command: command[0], Args: command[1:], Capabilities: abilities, Answers: answers, Env: map[string]string{}})

	first := func(s *sdkClient) string {
		return string(s.event("the session", func(e sdkEvent) bool { return e.Ready != nil }).Ready)
	}
	if got, want := first(guarded), first(bare); got != want {
		t.Errorf("the session begins differently\n   guarded %s\n unguarded %s", got, want)
	}
	for _, s := range []*sdkClient{guarded, bare} {
		s.event("the tools for capable clients", func(e sdkEvent) bool {
			return strings.Contains(string(e.Notification), "tools/list_changed")
		})
	}
	compare := func(method string, params any) (result json.RawMessage) {
		t.Helper()
		got := guarded.start(method, params, options{})
		if strings.Contains(string(mustJSON(params)), "gzip-file-as-resource") {
			g.allow(g.one())
		}
		a, b := guarded.result(got), bare.request(method, params)
		if string(a.Result) != string(b.Result) || (a.Error == nil) != (b.Error == nil) || a.Error != nil && a.Error.Message != b.Error.Message {
			t.Errorf("%s %s differs\n   guarded %s\n unguarded %s", method, mustJSON(params), clip(a.raw), clip(b.raw))
		}
		return a.Result
	}

	var tools struct{ Tools []struct{ Name string } }
	read(t, compare("tools/list", nil), &tools)
	arguments := map[string]map[string]any{
		"echo":                           {"message": "hello"},
		"get-sum":                        {"a": 2, "b": 3},
		"get-annotated-message":          {"messageType": "success", "includeImage": true},
		"get-structured-content":         {"location": "New York"},
		"trigger-long-running-operation": {"duration": 0.1, "steps": 2},
		"trigger-sampling-request":       {"prompt": "hello"},
		"gzip-file-as-resource":          {"name": "x.gz", "data": "data:text/plain,x"},
		"simulate-research-query":        {"topic": "x"}, // refused without a task, by the server itself
	}
	called := 0
	for _, tool := range tools.Tools {
		if tool.Name == "get-env" {
			continue // its answer is the environment, which the SDK's transport makes up for the bare server
		}
		args := arguments[tool.Name]
		if args == nil {
			args = map[string]any{}
		}
		compare("tools/call", map[string]any{"name": tool.Name, "arguments": args})
		called++
	}
	if called < 14 {
		t.Errorf("only %d tools were called", called)
	}

	var prompts struct{ Prompts []struct{ Name string } }
	read(t, compare("prompts/list", nil), &prompts)
	for _, p := range prompts.Prompts {
		compare("prompts/get", map[string]any{"name": p.Name, "arguments": map[string]any{
			"city": "Bonn", "department": "Sales", "name": "Eve", "resourceType": "Text", "resourceId": "1"}})
	}
	var resources struct{ Resources []struct{ URI string } }
	read(t, compare("resources/list", nil), &resources)
	for _, r := range resources.Resources {
		compare("resources/read", map[string]any{"uri": r.URI})
	}
	if len(prompts.Prompts) != 4 || len(resources.Resources) < 7 {
		t.Errorf("there were %d prompts and %d resources", len(prompts.Prompts), len(resources.Resources))
	}
	compare("resources/templates/list", nil)
	compare("completion/complete", map[string]any{"ref": map[string]any{"type": "ref/prompt", "name": "completable-prompt"},
		"argument": map[string]any{"name": "department", "value": "S"}})
}

func read(t *testing.T, raw json.RawMessage, into any) {
	t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("a result that cannot be read: %v\n%s", err, raw)
	}
}

// modern is the _meta of each request in the era of 2026-07-28.
const modern = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"modern-client","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{}}}}`

// TestModernEra drives a server made with the second generation of the official
// SDK: the same bytes for what passes, and a write that asks for input between
// its two calls waits for a decision on each.
func TestModernEra(t *testing.T) {
	t.Parallel()
	node(t, modernServer)
	g := newGuard(t, "")
	command := []string{"node", filepath.Join(folder, "modern-server.mjs"), g.work}
	g.add("modern", append([]string{"--"}, command...)...)
	g.configure("  modern:\n", "  modern:\n    prompts: allow\n    resources: allow\n")
	guarded, bare := g.wire("modern"), g.bare(command...)
	for _, f := range []struct{ id, frame string }{
		{`"server-discover-probe-1"`, `{"jsonrpc":"2.0","id":"server-discover-probe-1","method":"server/discover","params":{` + modern + `}}`},
		{`1`, `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + modern + `,"another":{"member":1}}}`},
		{`2`, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"read-notes","arguments":{},` + modern + `}}`},
		{`3`, `{"jsonrpc":"2.0","id":3,"method":"prompts/list","params":{` + modern + `}}`},
		{`4`, `{"jsonrpc":"2.0","id":4,"method":"prompts/get","params":{"name":"greet",` + modern + `}}`},
		{`5`, `{"jsonrpc":"2.0","id":5,"method":"resources/list","params":{` + modern + `}}`},
		{`6`, `{"jsonrpc":"2.0","id":6,"method":"resources/read","params":{"uri":"demo://motto",` + modern + `}}`},
		{`7`, `{"jsonrpc":"2.0","id":7,"method":"resources/read","params":{"uri":"demo://nowhere",` + modern + `}}`},
		{`8`, `{"jsonrpc":"2.0","id":8,"method":"ping","params":{` + modern + `}}`},
		{`9`, `{"jsonrpc":"2.0","id":9,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"1999-01-01"}}}`},
	} {
		if got, want := guarded.raw(f.id, f.frame).raw, bare.raw(f.id, f.frame).raw; got != want {
			t.Errorf("the answer to %s differs\n   guarded %s\n unguarded %s", f.frame, got, want)
		}
	}
	listen := `{"jsonrpc":"2.0","id":10,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},` + modern + `}}`
	for _, w := range []*wire{guarded, bare} {
		w.begin(`10`, listen) // stays open until the session ends
	}
	if got, want := guarded.frame("subscriptions/acknowledged"), bare.frame("subscriptions/acknowledged"); got != want {
		t.Errorf("a subscription begins with\n   guarded %s\n unguarded %s", got, want)
	}

	ask := guarded.begin(`11`, `{"jsonrpc":"2.0","id":11,"method":"tools/call","params":{"name":"add-signed-note","arguments":{"note":"first"},`+modern+`}}`)
	a := g.one()
	g.allow(a)
	if r := guarded.await("the first call", ask); r.Result == nil || r.Result.ResultType != "input_required" {
		t.Fatalf("the first call was answered %s", r.raw)
	}
	again := guarded.begin(`12`, `{"jsonrpc":"2.0","id":12,"method":"tools/call","params":{"name":"add-signed-note","arguments":{"note":"first"},"inputResponses":{"name":{"action":"accept","content":{"name":"Ada"}}},`+modern+`}}`)
	b := g.one()
	if b.ID == a.ID || g.read("notes.txt") != "" {
		t.Errorf("the second call used approval %s; the notes are %q", b.ID, g.read("notes.txt"))
	}
	g.allow(b)
	if r := guarded.await("the second call", again); !r.ok() || r.text() != "signed" {
		t.Fatalf("the second call was answered %s", r.raw)
	}
	if got := g.read("notes.txt"); got != "first (Ada)\n" {
		t.Errorf("the notes are %q", got)
	}

	denied := guarded.begin(`13`, `{"jsonrpc":"2.0","id":13,"method":"tools/call","params":{"name":"add-note","arguments":{"note":"second"},`+modern+`}}`)
	g.deny(g.one(), "one note is enough")
	r := guarded.await("the denied call", denied)
	if w := r.word(); w.Status != "denied" || w.Reason != "one note is enough" || r.Result.ResultType != "complete" {
		t.Errorf("the denied call was answered %s", r.raw)
	}
}
