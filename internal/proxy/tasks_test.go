package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// deferred makes the server answer each call with a task, and each question
// about it with the result of say.
func (p *peer) deferred(handle string, say func(method string) string) {
	p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
		switch {
		case m.Method == "tools/call":
			f.send(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID.Raw(), handle)
		case strings.HasPrefix(m.Method, "tasks/"):
			f.send(`{"jsonrpc":"2.0","id":%s,%s}`, m.ID.Raw(), say(m.Method))
		default:
			return false
		}
		return true
	})
}

const (
	legacyTask = `{"task":{"taskId":"t1","status":"working"}}`
	modernTask = `{"resultType":"task","taskId":"t1","status":"working"}`
)

func textResult(text string) string {
	return fmt.Sprintf(`{"content":[{"type":"text","text":%q}],"n":  1.0}`, text)
}

func TestPromise8_WhatComesThroughATaskIsRedactedAndCapped(t *testing.T) {
	const token = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
	long := strings.Repeat("x", 1<<10)
	related := func(result string) string {
		return `"result":` + strings.TrimSuffix(result, "}") + `,"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t1"}}}`
	}
	inline := func(result string) string {
		return `"result":{"resultType":"complete","taskId":"t1","status":"completed","ttlMs":null,"result":` + result + `}`
	}
	for name, c := range map[string]struct {
		handle, method, answer string
		want                   string // must be in what the client gets
		not                    string // must not be in it
	}{
		"legacy: a secret":       {legacyTask, "tasks/result", related(textResult(token)), `[REDACTED:github_token]`, token},
		"legacy: too long":       {legacyTask, "tasks/result", related(textResult(long)), `the policy lets 1024 through`, long},
		"legacy: short":          {legacyTask, "tasks/result", related(textResult("hello")), related(textResult("hello")), "mcpguard"},
		"legacy: a long error":   {legacyTask, "tasks/result", `"error":{"code":1,"message":"` + long + `"}`, `the policy lets 1024 through`, long},
		"modern: a secret":       {modernTask, "tasks/get", inline(textResult(token)), `[REDACTED:github_token]`, token},
		"modern: too long":       {modernTask, "tasks/get", inline(textResult(long)), `"status":"completed","ttlMs":null,"result":{"content":`, long},
		"modern: long and what":  {modernTask, "tasks/get", inline(textResult(long)), `The result of capped has`, long},
		"modern: short":          {modernTask, "tasks/get", inline(textResult("hello")), inline(textResult("hello")), "mcpguard"},
		"modern: a long failure": {modernTask, "tasks/get", `"result":{"taskId":"t1","status":"failed","error":{"code":1,"message":"` + long + `"}}`, `"error":{"code":-32603`, long},
		"long beside the result": {modernTask, "tasks/get", `"result":{"taskId":"t1","status":"completed","Result":"` + strings.Repeat(long, 4) + `"}`, `"error":{"code":-32603`, long},
		"long on cancel":         {modernTask, "tasks/cancel", inline(textResult(long)), `"result":{"content":`, long},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				p := r.session("patient")
				defer p.end()
				p.deferred(c.handle, func(string) string { return c.answer })
				if m := p.answer(p.call("capped", `{}`)); string(m.ResultRaw()) != c.handle {
					t.Fatalf("got %s", m.Raw)
				}
				p.send(`{"jsonrpc":"2.0","id":"q","method":%q,"params":{"taskId":"t1"}}`, c.method)
				got := p.frame()
				if !strings.Contains(got, c.want) || strings.Contains(got, c.not) || !strings.Contains(got, `"id":"q"`) {
					t.Errorf("got %s\nwant %s, without %s", got, c.want, c.not)
				}
			})
		})
	}
}

func TestPromise8_ATaskThatIsPushedIsRedactedAndCapped(t *testing.T) {
	const token = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
	long := strings.Repeat("x", 8<<10)
	for name, c := range map[string]struct{ params, want, not string }{
		"a secret": {`{"taskId":"t1","status":"completed","result":` + textResult(token) + `}`, `[REDACTED:github_token]`, token},
		"too long": {`{"taskId":"t1","status":"completed","result":` + textResult(long) + `}`, `The result of capped has`, long},
		"short":    {`{"taskId":"t1","status":"completed","result":` + textResult("hi") + `}`, `"n":  1.0}}`, "mcpguard"},
		"all long": {`{"taskId":"t1","status":"completed","statusMessage":"` + long + `"}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				p := r.session("patient")
				defer p.end()
				p.deferred(modernTask, nil)
				p.answer(p.call("capped", `{}`))
				p.server.send(`{"jsonrpc":"2.0","method":"notifications/tasks","params":%s}`, c.params)
				if c.want == "" {
					p.quiet()
					return
				}
				if got := p.frame(); !strings.Contains(got, c.want) || strings.Contains(got, c.not) {
					t.Errorf("got %s\nwant %s, without %s", got, c.want, c.not)
				}
			})
		})
	}
}

// A task whose call is not known may belong to any tool.
func TestPromise8_AnUnknownTaskHasTheTightestLimit(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		long := strings.Repeat("x", 1<<10)
		p.deferred(legacyTask, func(string) string { return `"result":` + textResult(long) })
		ask := func(task string) string {
			p.send(`{"jsonrpc":"2.0","id":"q","method":"tasks/result","params":{"taskId":%q}}`, task)
			return p.frame()
		}
		if got := ask("t9"); strings.Contains(got, long) || !strings.Contains(got, "the policy lets 1024 through") {
			t.Errorf("got %s", got)
		}
		p.answer(p.call("look", `{}`))
		if got := ask("t1"); !strings.Contains(got, long) {
			t.Errorf("got %s", got)
		}
	})
}

// In the tasks extension a task whose tool failed has the status completed.
func TestModernTaskOfAFailedToolIsCompleted(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		p.deferred(modernTask, func(string) string {
			return `"result":{"taskId":"t1","status":"completed","result":{"content":[],"isError":true}}`
		})
		p.answer(p.write("scratch", "a.txt", "new\n"))
		p.send(`{"jsonrpc":"2.0","id":"q","method":"tasks/get","params":{"taskId":"t1"}}`)
		p.frame()
		synctest.Wait()
		r.wantCompleted("scratch", audit.StatusError)
		if list := r.approvals(guard.Pending); len(list) != 0 {
			t.Errorf("%d approvals wait", len(list))
		}
	})
}

func TestOldestTaskIsDroppedFirst(t *testing.T) {
	var table taskTable
	for i := range maxTasks + 1 {
		table.add(fmt.Sprint(i), taskLimit{output: 10})
	}
	if _, ok := table.limits["0"]; ok || len(table.limits) != maxTasks || len(table.order) != maxTasks {
		t.Errorf("%d tasks are remembered, the first: %v", len(table.limits), ok)
	}
	table.add("1", taskLimit{output: 20})
	table.add("2", taskLimit{output: 5})
	if table.limits["1"].output != 10 || table.limits["2"].output != 5 {
		t.Errorf("of two limits the tighter does not hold: %v, %v", table.limits["1"], table.limits["2"])
	}
}
