package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

// openConfig allows everything that a server can offer besides its tools.
var openConfig = strings.Replace(testConfig, "    prompts: allow\n", "    prompts: allow\n    resources: allow\n    sampling: allow\n    resource_hosts: [docs.example]\n", 1)

// refused returns the rule by which the guard refused a request that is not a
// call.
func (p *peer) refused(id int) guard.Rule {
	p.Helper()
	m := p.answer(id)
	var e struct {
		Message string
		Data    struct {
			Rule   guard.Rule
			Reason string
		}
	}
	if m.Error.IsZero() || json.Unmarshal(m.ErrorRaw(), &e) != nil || !strings.HasPrefix(e.Message, "mcpguard: ") || e.Data.Reason == "" {
		p.Fatalf("not a refusal of the guard: %s", m.Raw)
	}
	return e.Data.Rule
}

func (p *peer) request(method, params string) int {
	p.Helper()
	p.next++
	p.send(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, p.next, method, params)
	return p.next
}

// TestServerIsNotStartedForOthers: a server that is closed to a session is not
// started for it and gets no secrets, and the client is told why.
func TestServerIsNotStartedForOthers(t *testing.T) {
	for name, c := range map[string]struct {
		pause bool
		head  string
		rule  string
	}{
		"tenant":   {head: "    tenants: [other]\n", rule: "tenant"},
		"workflow": {head: "    workflows: [release]\n", rule: "workflow"},
		"paused":   {pause: true, rule: "kill_switch"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				text := strings.Replace(testConfig, "roots: [%s]\n",
					"profiles:\n  default: {roots: [%s], tenant: local, environment: dev}\n  o: {roots: [/nowhere], tenant: other, environment: dev, workflow: release}\n", 1)
				if c.pause {
					text = testConfig
				} else {
					text = strings.Replace(text, "    command: files\n", "    command: files\n    environments: [dev]\n"+c.head, 1)
				}
				r.setPolicy(text)
				if c.pause {
					r.pause("files")
				}
				started := false
				r.elsewhere = func(cfg *Config) {
					cfg.Upstream = func(context.Context) (upstream.Conn, error) { started = true; return newFakeServer(), nil }
				}
				p := r.session("patient")
				p.send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`)
				if got := p.frame(); !strings.Contains(got, `"error"`) || !strings.Contains(got, "did not start the server") {
					t.Errorf("got %s", got)
				}
				if err := <-p.served; err == nil || started {
					t.Errorf("%v, started %v", err, started)
				}
				p.in.Close()
				if list := r.events(audit.ToolCallDenied); len(list) != 1 || string(list[0].Rule) != c.rule {
					t.Errorf("recorded: %+v", list)
				}
			})
		})
	}
}

func (r *rig) pause(scope string) {
	r.Helper()
	if err := r.store.SetSwitch(context.Background(), guard.Switch{Scope: scope, Reason: "for the test", By: guard.Approver{User: "1000"}}); err != nil {
		r.Fatal(err)
	}
}

// TestPauseStopsRequestsForOtherThanTools: a pause stops requests of both
// sides, including reads, and the session stays.
func TestPauseStopsRequestsForOtherThanTools(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(openConfig)
		p := r.session("patient")
		defer p.end()
		p.answer(p.request("initialize", `{}`))
		r.pause("")
		for method, params := range map[string]string{
			"resources/list": `{}`, "resources/read": `{"uri":"demo://a"}`, "resources/subscribe": `{"uri":"demo://a"}`,
			"prompts/list": `{}`, "prompts/get": `{"name":"p"}`, "completion/complete": `{"ref":{"type":"ref/prompt","name":"p"}}`,
			"subscriptions/listen": `{}`, "tasks/list": `{}`,
		} {
			if rule := p.refused(p.request(method, params)); rule != guard.RuleSwitch {
				t.Errorf("%s: refused by %q", method, rule)
			}
			if got := p.server.received(method); len(got) > 0 {
				t.Errorf("the server was sent %s", got)
			}
		}
		p.wantReply(p.call("look", `{}`), replyDenied, guard.RuleSwitch)
		p.server.send(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"demo://a"}}`)
		p.server.send(`{"jsonrpc":"2.0","id":"s1","method":"sampling/createMessage","params":{}}`)
		p.quiet()
		p.server.send(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		if got := p.frame(); !strings.Contains(got, "list_changed") {
			t.Errorf("got %s", got)
		}
		if err := r.store.ClearSwitch(context.Background(), "", guard.Approver{User: "1000"}); err != nil {
			t.Fatal(err)
		}
		if m := p.answer(p.request("resources/read", `{"uri":"demo://a"}`)); m.Result.IsZero() {
			t.Errorf("after the pause: %s", m.Raw)
		}
	})
}

// TestServerRefusesAModernSubscription: the modern era has other means, and a
// client that uses this one is told that there is no such method.
func TestServerRefusesAModernSubscription(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(openConfig)
		p := r.session("patient")
		defer p.end()
		const meta = `{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}`
		for _, method := range []string{"resources/subscribe", "resources/unsubscribe"} {
			if m := p.answer(p.request(method, meta)); m.Result.IsZero() {
				t.Errorf("%s: the guard answered %s", method, m.Raw)
			}
		}
		if rule := p.refused(p.request("resources/read", meta)); rule != guard.RulePath {
			t.Errorf("resources/read of nothing: refused by %q", rule)
		}
	})
}

// TestResourcesAreHeldToTheWorkspace: in every method, the addresses of
// resources must be in the workspace or on hosts that the policy names.
func TestResourcesAreHeldToTheWorkspace(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(openConfig)
		r.put("in.txt", "x")
		if err := os.Symlink("/etc/hostname", r.file("out")); err != nil {
			t.Fatal(err)
		}
		p := r.session("patient")
		defer p.end()
		inside := "file://" + r.file("in.txt")
		for params, allowed := range map[string]bool{
			fmt.Sprintf(`{"uri":%q}`, inside):                        true,
			fmt.Sprintf(`{"uri":%q}`, "file://"+r.file("out")):       false,
			fmt.Sprintf(`{"uri":%q}`, inside+"/../../../etc/passwd"): false,
			`{"uri":"file:///etc/passwd"}`:                           false,
			`{"uri":"file:///%65tc/passwd"}`:                         false,
			`{"uri":"/etc/passwd"}`:                                  false,
			`{"uri":7}`:                                              false,
			`{}`:                                                     false,
			`{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"},"uri":"file:///etc/passwd"}`: false,
			`{"uri":"demo://a"}`:                       true,
			`{"uri":"https://docs.example/a"}`:         true,
			`{"uri":"https://evil.example/?q=secret"}`: false,
		} {
			for _, method := range []string{"resources/read", "resources/subscribe"} {
				sent := len(p.server.received(method))
				id := p.request(method, params)
				if allowed {
					if m := p.answer(id); m.Result.IsZero() {
						t.Errorf("%s %s: %s", method, params, m.Raw)
					}
					continue
				}
				if rule := p.refused(id); rule != guard.RulePath {
					t.Errorf("%s %s: refused by %q", method, params, rule)
				}
				if len(p.server.received(method)) != sent {
					t.Errorf("%s %s: the server was asked", method, params)
				}
			}
		}
		for params, allowed := range map[string]bool{
			`{"ref":{"type":"ref/resource","uri":"file:///{+path}"},"argument":{"name":"path","value":"etc/pas"}}`:                   false,
			fmt.Sprintf(`{"ref":{"type":"ref/resource","uri":"file://{+path}"},"argument":{"name":"path","value":%q}}`, r.file("i")): true,
			`{"ref":{"type":"ref/resource","URI":"file:///{+path}"},"argument":{"name":"path","value":"etc/pas"}}`:                   false,
			`{"ref":{"type":"ref/resource","uri":"demo://{id}"},"argument":{"name":"id","value":"a"}}`:                               true,
			`{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"id","value":"file:///etc"}}`:                                true,
		} {
			id := p.request("completion/complete", params)
			if allowed {
				if m := p.answer(id); m.Result.IsZero() {
					t.Errorf("%s: %s", params, m.Raw)
				}
			} else if rule := p.refused(id); rule != guard.RulePath {
				t.Errorf("%s: refused by %q", params, rule)
			}
		}
		for _, params := range []string{
			`{"notifications":{"resourceSubscriptions":["demo://a","file:///etc/passwd"]}}`,
			`{"notifications":{"resourcesubscriptions":["demo://a"]}}`,
			`{"notifications":{"resourceSubscriptions":[3]}}`,
		} {
			if rule := p.refused(p.request("subscriptions/listen", params)); rule != guard.RulePath {
				t.Errorf("%s: refused by %q", params, rule)
			}
		}
	})
}

func TestSubscriptionsNeedResources(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient") // resources are not allowed
		defer p.end()
		m := p.answer(p.request("subscriptions/listen", `{"notifications":{"resourceSubscriptions":["demo://a"]}}`))
		if m.Error.IsZero() || len(p.server.received("subscriptions/listen")) > 0 {
			t.Errorf("got %s", m.Raw)
		}
	})
}

// TestRequestsHaveLimits: requests for anything but tools are held to the rate
// and the output limit of their server.
func TestRequestsHaveLimits(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(strings.Replace(openConfig, "    timeout: 30s\n", "    timeout: 30s\n    limits: {rate: 2/h, output: 100}\n", 1))
		p := r.session("patient")
		defer p.end()
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Method == "prompts/get" {
				f.send(`{"jsonrpc":"2.0","id":%s,"result":{"description":%q}}`, m.ID.Raw(), strings.Repeat("x", 100))
				return true
			}
			return false
		})
		if rule := p.refused(p.request("prompts/get", `{"name":"p"}`)); rule != ruleOutput {
			t.Errorf("refused by %q", rule)
		}
		for i, want := range []guard.Rule{"", "", guard.RuleLimitRate} {
			id := p.request("resources/read", `{"uri":"demo://a"}`)
			if want == "" {
				p.answer(id)
			} else if rule := p.refused(id); rule != want {
				t.Errorf("request %d: refused by %q", i, rule)
			}
		}
		synctest.Wait()
		r.wantCompleted("resources/read", audit.StatusOK, audit.StatusOK, audit.StatusDenied)
	})
}
