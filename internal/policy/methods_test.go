package policy

import (
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
)

func TestMethods(t *testing.T) {
	sv := func(body string) *Server {
		s := compile(t, "version: 1\nroots: [/w]\nservers:\n  s:\n    command: /bin/x\n"+indent(body, "    "))
		x, _ := s.Server("s")
		return x
	}
	plain := sv("tools: {}\n")
	open := sv("resources: allow\nprompts: allow\nsampling: allow\nelicitation: deny\nmethods: {acme/thing: allow, completion/complete: deny, resources/subscribe: deny}\n")
	for _, c := range []struct {
		method      string
		client      bool
		plain, open bool
	}{
		{"initialize", true, true, true},
		{"initialize", false, false, false},
		{"server/discover", true, true, true},
		{"subscriptions/listen", true, true, true},
		{"ping", true, true, true},
		{"ping", false, true, true},
		{"tools/list", true, true, true},
		{"tools/call", true, true, true},
		{"tools/call", false, false, false},
		{"completion/complete", true, true, false},
		{"logging/setLevel", true, true, true},
		{"tasks/get", true, true, true},
		{"tasks/get", false, true, true},
		{"tasks/result", true, true, true},
		{"tasks/update", true, true, true},
		{"tasks/update", false, false, false},
		{"tasks/cancel", true, true, true},
		{"resources/list", true, false, true},
		{"resources/read", true, false, true},
		{"resources/read", false, false, false},
		{"resources/templates/list", true, false, true},
		{"resources/subscribe", true, false, false},
		{"prompts/get", true, false, true},
		{"sampling/createMessage", false, false, true},
		{"sampling/createMessage", true, false, false},
		{"elicitation/create", false, true, false},
		{"roots/list", false, false, false},
		{"roots/list", true, false, false},
		{"notifications/cancelled", true, true, true},
		{"notifications/cancelled", false, true, true},
		{"notifications/progress", false, true, true},
		{"notifications/initialized", true, true, true},
		{"notifications/message", false, true, true},
		{"notifications/tools/list_changed", false, true, true},
		{"notifications/tools/list_changed", true, false, false},
		{"notifications/tasks", false, true, true},
		{"notifications/tasks/status", false, true, true},
		{"notifications/subscriptions/acknowledged", false, true, true},
		{"notifications/elicitation/complete", false, true, true},
		{"acme/thing", true, false, true},
		{"acme/other", true, false, false},
		{"Tools/Call", true, false, false},
		{"", true, false, false},
	} {
		for _, x := range []struct {
			sv   *Server
			want bool
		}{{plain, c.plain}, {open, c.open}} {
			d := x.sv.Method(c.client, c.method)
			if (d.Verdict == guard.Allow) != x.want || d.Rule != guard.RuleMethod || (!x.want && d.Reason == "") {
				t.Errorf("%q from client %v: %+v, want %v", c.method, c.client, d, x.want)
			}
		}
	}
}
