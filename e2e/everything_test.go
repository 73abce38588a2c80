package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// capabilities of a client that can do everything.
var capabilities = map[string]any{
	"roots":       map[string]any{"listChanged": true},
	"sampling":    map[string]any{},
	"elicitation": map[string]any{"form": map[string]any{}, "url": map[string]any{}},
	"tasks": map[string]any{"list": map[string]any{}, "cancel": map[string]any{}, "requests": map[string]any{
		"sampling":    map[string]any{"createMessage": map[string]any{}},
		"elicitation": map[string]any{"create": map[string]any{}},
	}},
}

// everythingIn is a guard with all of the everything server allowed, and the
// command that starts the same server without it.
func everythingIn(t *testing.T, settings string) (g *guard, command []string) {
	t.Helper()
	g = newGuard(t, settings)
	command = []string{"node", "--import", "file://" + filepath.Join(folder, "steady.mjs"), node(t, everythingServer)}
	g.add("all", append([]string{"--preset", "everything", "--"}, command...)...)
	g.configure("  all:\n", "  all:\n    sampling: allow\n    elicitation: allow\n    prompts: allow\n    resources: allow\n")
	return g, command
}

// companion answers what the everything server asks its client, the same way in
// every session. Sampling and elicitation that come with a task become tasks.
func companion() func(method string, params []byte) any {
	tasks := map[string]any{}
	next := 0
	return func(method string, params []byte) any {
		var p struct {
			TaskID string          `json:"taskId"`
			Task   json.RawMessage `json:"task"`
		}
		_ = json.Unmarshal(params, &p) // no such members: nothing to do with tasks
		task := func(id, status string) map[string]any {
			return map[string]any{"taskId": id, "status": status, "ttl": 60000, "pollInterval": 50,
				"createdAt": "2026-01-02T03:04:05.000Z", "lastUpdatedAt": "2026-01-02T03:04:05.000Z"}
		}
		var result any
		switch method {
		case "sampling/createMessage":
			result = map[string]any{"model": "a-model", "role": "assistant", "stopReason": "endTurn",
				"content": map[string]any{"type": "text", "text": "sampled"}}
		case "elicitation/create":
			result = map[string]any{"action": "accept", "content": map[string]any{"name": "Ada", "check": true, "color": "red", "interpretation": "snake"}}
		case "roots/list":
			return map[string]any{"roots": []any{}}
		case "tasks/get":
			return task(p.TaskID, "completed")
		case "tasks/result":
			return tasks[p.TaskID]
		default:
			return nil
		}
		if p.Task == nil {
			return result
		}
		next++
		id := fmt.Sprintf("client-task-%d", next)
		tasks[id] = result
		return map[string]any{"task": task(id, "working")}
	}
}

// frames that a client sends to the everything server, each with its id. They
// cover every tool, prompt and resource, and the protocol around them: unknown
// members, numbers beyond a float, escapes, cursors, errors.
var everythingFrames = []struct{ id, frame string }{
	{`"list"`, `{"jsonrpc":"2.0","id":"list","method":"tools/list"}`},
	{`10`, `{"jsonrpc":"2.0","id":10,"method":"tools/list","params":{"cursor":""}}`},
	{`11`, `{"jsonrpc":"2.0","id":11,"method":"tools/list","params":{"cursor":"nowhere","_meta":{"x/y":[1,2.50,{"z":null}]}}}`},
	{`12`, `{"id":12,"jsonrpc":"2.0","method":"ping"}`},
	{`13`, `{"jsonrpc":"2.0","id":13,"method":"prompts/list","params":{}}`},
	{`14`, `{"jsonrpc":"2.0","id":14,"method":"resources/list"}`},
	{`15`, `{"jsonrpc":"2.0","id":15,"method":"resources/templates/list","params":{"_meta":{}}}`},
	{`16`, `{"jsonrpc":"2.0","id":16,"method":"logging/setLevel","params":{"level":"debug"}}`},
	{`17`, `{"jsonrpc":"2.0","id":17,"method":"logging/setLevel","params":{"level":"no such level"}}`},

	{`20`, `{"jsonrpc":"2.0","id":20,"method":"tools/call","params":{"name":"echo","arguments":{"message":"a \"quote\", \u0041, é, \ud83d\ude00, \\ and /"}}}`},
	{`-7`, `{"jsonrpc":"2.0","id":-7,"method":"tools/call","params":{"arguments":{"message":""},"name":"echo","another":{"member":[1,2.0]}}}`},
	{`"i d"`, `{"jsonrpc":"2.0","id":"i d","method":"tools/call","params":{"name":"get-sum","arguments":{"a":0.1,"b":2e2},"_meta":{"progressToken":"t-1","claudecode/toolUseId":"toolu_1"}}}`},
	{`21`, `{"jsonrpc":"2.0","id":21,"method":"tools/call","params":{"name":"get-annotated-message","arguments":{"messageType":"error","includeImage":true}}}`},
	{`22`, `{"jsonrpc":"2.0","id":22,"method":"tools/call","params":{"name":"get-annotated-message","arguments":{"messageType":"debug"}}}`},
	{`23`, `{"jsonrpc":"2.0","id":23,"method":"tools/call","params":{"name":"get-env","arguments":{}}}`},
	{`24`, `{"jsonrpc":"2.0","id":24,"method":"tools/call","params":{"name":"get-resource-links","arguments":{"count":5}}}`},
	{`25`, `{"jsonrpc":"2.0","id":25,"method":"tools/call","params":{"name":"get-resource-reference","arguments":{"resourceType":"Blob","resourceId":2}}}`},
	{`26`, `{"jsonrpc":"2.0","id":26,"method":"tools/call","params":{"name":"get-resource-reference","arguments":{"resourceType":"Text","resourceId":-1}}}`},
	{`27`, `{"jsonrpc":"2.0","id":27,"method":"tools/call","params":{"name":"get-structured-content","arguments":{"location":"Chicago"}}}`},
	{`28`, `{"jsonrpc":"2.0","id":28,"method":"tools/call","params":{"name":"get-tiny-image"}}`},
	{`29`, `{"jsonrpc":"2.0","id":29,"method":"tools/call","params":{"name":"trigger-long-running-operation","arguments":{"duration":0.2,"steps":4},"_meta":{"progressToken":29}}}`},
	{`30`, `{"jsonrpc":"2.0","id":30,"method":"tools/call","params":{"name":"trigger-elicitation-request","arguments":{}}}`},
	{`31`, `{"jsonrpc":"2.0","id":31,"method":"tools/call","params":{"name":"trigger-sampling-request","arguments":{"prompt":"hello","maxTokens":10}}}`},
	{`32`, `{"jsonrpc":"2.0","id":32,"method":"tools/call","params":{"name":"trigger-url-elicitation","arguments":{"url":"https://example.com/x","elicitationId":"e1"}}}`},
	{`33`, `{"jsonrpc":"2.0","id":33,"method":"tools/call","params":{"name":"trigger-url-elicitation","arguments":{"url":"https://example.com/y","errorPath":true}}}`},
	{`34`, `{"jsonrpc":"2.0","id":34,"method":"tools/call","params":{"name":"trigger-sampling-request-async","arguments":{"prompt":"later"}}}`},
	{`35`, `{"jsonrpc":"2.0","id":35,"method":"tools/call","params":{"name":"trigger-elicitation-request-async","arguments":{}}}`},
	{`36`, `{"jsonrpc":"2.0","id":36,"method":"tools/call","params":{"name":"gzip-file-as-resource","arguments":{"name":"a.gz","data":"data:text/plain,hello","outputType":"resourceLink"}}}`},
	{`37`, `{"jsonrpc":"2.0","id":37,"method":"tools/call","params":{"name":"gzip-file-as-resource","arguments":{"name":"b.gz","data":"data:text/plain,hello","outputType":"resource"}}}`},

	{`40`, `{"jsonrpc":"2.0","id":40,"method":"tools/call","params":{"name":"simulate-research-query","arguments":{"topic":"python","ambiguous":false},"task":{"ttl":60000}}}`},
	{`41`, `{"jsonrpc":"2.0","id":41,"method":"tasks/result","params":{"taskId":"$TASK"}}`},
	{`42`, `{"jsonrpc":"2.0","id":42,"method":"tasks/get","params":{"taskId":"$TASK"}}`},
	{`43`, `{"jsonrpc":"2.0","id":43,"method":"tasks/list"}`},
	{`44`, `{"jsonrpc":"2.0","id":44,"method":"tasks/cancel","params":{"taskId":"$TASK"}}`},
	{`45`, `{"jsonrpc":"2.0","id":45,"method":"tasks/get","params":{"taskId":"no-such-task"}}`},

	{`50`, `{"jsonrpc":"2.0","id":50,"method":"prompts/get","params":{"name":"simple-prompt"}}`},
	{`51`, `{"jsonrpc":"2.0","id":51,"method":"prompts/get","params":{"name":"args-prompt","arguments":{"city":"Bonn","state":"NRW"}}}`},
	{`52`, `{"jsonrpc":"2.0","id":52,"method":"prompts/get","params":{"name":"completable-prompt","arguments":{"department":"Sales","name":"Eve"}}}`},
	{`53`, `{"jsonrpc":"2.0","id":53,"method":"prompts/get","params":{"name":"resource-prompt","arguments":{"resourceType":"Text","resourceId":"1"}}}`},
	{`54`, `{"jsonrpc":"2.0","id":54,"method":"prompts/get","params":{"name":"no-such-prompt"}}`},
	{`55`, `{"jsonrpc":"2.0","id":55,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"completable-prompt"},"argument":{"name":"name","value":""},"context":{"arguments":{"department":"Sales"}}}}`},
	{`56`, `{"jsonrpc":"2.0","id":56,"method":"completion/complete","params":{"ref":{"type":"ref/resource","uri":"demo://resource/dynamic/text/{resourceId}"},"argument":{"name":"resourceId","value":"3"}}}`},

	{`60`, `{"jsonrpc":"2.0","id":60,"method":"resources/read","params":{"uri":"demo://resource/dynamic/text/1"}}`},
	{`61`, `{"jsonrpc":"2.0","id":61,"method":"resources/read","params":{"uri":"demo://resource/dynamic/blob/2"}}`},
	{`62`, `{"jsonrpc":"2.0","id":62,"method":"resources/read","params":{"uri":"demo://resource/session/a.gz"}}`},
	{`63`, `{"jsonrpc":"2.0","id":63,"method":"resources/read","params":{"uri":"demo://nowhere"}}`},
	{`64`, `{"jsonrpc":"2.0","id":64,"method":"resources/subscribe","params":{"uri":"demo://resource/dynamic/text/1"}}`},
	{`65`, `{"jsonrpc":"2.0","id":65,"method":"tools/call","params":{"name":"toggle-subscriber-updates","arguments":{}}}`},
	{`66`, `{"jsonrpc":"2.0","id":66,"method":"tools/call","params":{"name":"toggle-subscriber-updates","arguments":{}}}`},
	{`67`, `{"jsonrpc":"2.0","id":67,"method":"resources/unsubscribe","params":{"uri":"demo://resource/dynamic/text/1"}}`},
	{`68`, `{"jsonrpc":"2.0","id":68,"method":"tools/call","params":{"name":"toggle-simulated-logging","arguments":{}}}`},
	{`69`, `{"jsonrpc":"2.0","id":69,"method":"tools/call","params":{"name":"toggle-simulated-logging","arguments":{}}}`},

	// the modern era, which this server does not speak: its own words come back
	{`"server-discover-probe-1"`, `{"jsonrpc":"2.0","id":"server-discover-probe-1","method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`},
	{`70`, `{"jsonrpc":"2.0","id":70,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}`},
}

// play sends all frames, one after the other, and returns everything that came
// back: the answers by their ids, and the other frames in their order.
func play(t *testing.T, w *wire, approve func()) (answers map[string]string, others []string) {
	t.Helper()
	w.respond = companion()
	answers = map[string]string{"initialize": w.initialize("e2e", capabilities).raw}
	w.frame("notifications/tools/list_changed") // the tools for capable clients are there
	w.frame("Roots updated")                    // it asks for them after a while, and numbers its requests in one row
	task := ""
	for _, f := range everythingFrames {
		frame := strings.ReplaceAll(f.frame, "$TASK", task)
		answer := w.begin(f.id, frame)
		if strings.Contains(frame, "gzip-file-as-resource") && approve != nil {
			approve()
		}
		r := w.await(frame, answer)
		answers[f.id] = r.raw
		if f.id == `40` {
			task = taskOf(t, r.raw)
		}
	}
	for _, frame := range w.all() {
		if !slices.Contains(values(answers), frame) {
			others = append(others, frame)
		}
	}
	return answers, others
}

func values(m map[string]string) []string {
	var out []string
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

func taskOf(t *testing.T, raw string) string {
	t.Helper()
	var r struct {
		Result struct {
			Task struct {
				TaskID string `json:"taskId"`
			}
		}
	}
	if err := json.Unmarshal([]byte(raw), &r); err != nil || r.Result.Task.TaskID == "" {
		t.Fatalf("no task was made: %s", raw)
	}
	return r.Result.Task.TaskID
}

// TestEverythingAnswersAsUnguarded compares, byte for byte, what the protocol's
// own test server says behind the guard and without it. What it makes of the
// clock and of chance is made repeatable; roots are the guard's own.
func TestEverythingAnswersAsUnguarded(t *testing.T) {
	t.Parallel()
	g, command := everythingIn(t, "")
	wantAnswers, wantOthers := play(t, g.bare(command...), nil)
	gotAnswers, gotOthers := play(t, g.wire("all"), func() { g.allow(g.one()) })
	for id, want := range wantAnswers {
		if got := gotAnswers[id]; got != want {
			t.Errorf("the answer to %s differs\n   guarded %s\n unguarded %s", id, clip(got), clip(want))
		}
	}
	compareOthers(t, gotOthers, wantOthers)
}

// compareOthers compares what came without being an answer. The server's own
// timers decide how that mixes with its answers, so only the order within one
// method counts. Progress of a waiting approval is the guard's own; roots, and
// the server's report on them, differ.
func compareOthers(t *testing.T, got, want []string) {
	t.Helper()
	pick := func(frames []string) map[string][]string {
		out := map[string][]string{}
		for _, f := range frames {
			var m struct{ Method string }
			_ = json.Unmarshal([]byte(f), &m) // play has read it before
			switch {
			case m.Method == "roots/list", strings.Contains(f, "Roots updated"), strings.Contains(f, "no roots set"), strings.Contains(f, "waiting for approval"):
			default:
				out[m.Method] = append(out[m.Method], f)
			}
		}
		return out
	}
	g, w := pick(got), pick(want)
	for method, frames := range w {
		if !slices.Equal(g[method], frames) {
			t.Errorf("%s differs\n   guarded %s\n unguarded %s", method, strings.Join(g[method], "\n           "), strings.Join(frames, "\n           "))
		}
	}
	for method := range g {
		if w[method] == nil {
			t.Errorf("only the guarded server sent %s: %q", method, g[method])
		}
	}
}

func clip(s string) string {
	if len(s) > 2000 {
		return s[:1000] + " … " + s[len(s)-1000:]
	}
	return s
}
