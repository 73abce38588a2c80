package policy

import (
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// profiles has two tenants, two workflows and prod.
const profiles = `version: 1
profiles:
  a: {roots: [/w], tenant: acme, environment: dev, workflow: audit}
  b: {roots: [/live], tenant: acme, environment: prod, workflow: release}
  c: {roots: [/o], tenant: rival, environment: dev}
servers:
  s:
    command: /bin/x
    resources: allow
`

func serverOf(t *testing.T, body string) *Server {
	t.Helper()
	sv, ok := compile(t, profiles+indent(body, "    ")).Server("s")
	if !ok {
		t.Fatal("the server is not there")
	}
	return sv
}

// TestServerRestrictionsCoverItsTools: tenant, environment and workflow of a
// server apply to everything that it offers.
func TestServerRestrictionsCoverItsTools(t *testing.T) {
	ses := func(tenant, environment, workflow string) guard.Session {
		return guard.Session{Tenant: tenant, Environment: environment, Workflow: workflow, Server: "s"}
	}
	for _, c := range []struct {
		name, body string
		session    guard.Session
		want       guard.Rule // "" if it may be used
	}{
		{"named", "tenants: [acme]\nenvironments: [dev]\ntools: {}\n", ses("acme", "dev", ""), ""},
		{"other tenant", "tenants: [acme]\nenvironments: [dev]\ntools: {}\n", ses("rival", "dev", ""), guard.RuleTenant},
		{"other environment", "tenants: [acme]\nenvironments: [dev]\ntools: {}\n", ses("acme", "prod", ""), guard.RuleEnvironment},
		{"workflow", "tenants: [acme]\nenvironments: [dev, prod]\nworkflows: [audit]\ntools: {}\n", ses("acme", "dev", "audit"), ""},
		{"other workflow", "tenants: [acme]\nenvironments: [dev, prod]\nworkflows: [audit]\ntools: {}\n", ses("acme", "prod", "release"), guard.RuleWorkflow},
		{"no workflow", "tenants: [acme, rival]\nenvironments: [dev]\nworkflows: [audit]\ntools: {}\n", ses("rival", "dev", ""), guard.RuleWorkflow},
		{"by a tool", "tools: {t: {tier: T0_READ, tenants: [acme], environments: [dev]}}\n", ses("acme", "dev", ""), ""},
		{"by a tool, elsewhere", "tools: {t: {tier: T0_READ, tenants: [acme], environments: [dev]}}\n", ses("acme", "prod", ""), guard.RuleTenant},
		{"by no tool", "tools: {t: {tier: T0_READ, tenants: [acme], environments: [dev]}}\n", ses("rival", "dev", ""), guard.RuleTenant},
		{"a wider tool", "tenants: [acme]\nenvironments: [dev]\ntools: {t: {tier: T0_READ, tenants: [acme, rival]}}\n", ses("rival", "dev", ""), guard.RuleTenant},
		{"nobody is named", "tools: {}\n", ses("acme", "dev", ""), guard.RuleTenant},
	} {
		sv := serverOf(t, c.body)
		starts := sv.Starts(c.session, nil)
		d := sv.Pass(Message{Session: c.session, Method: "resources/read", FromClient: true})
		if c.want == "" {
			if d.Verdict != guard.Allow || starts.Verdict != guard.Allow {
				t.Errorf("%s: %+v, %+v", c.name, starts, d)
			}
			continue
		}
		if d.Verdict != guard.Deny || d.Rule != c.want || starts.Verdict != guard.Deny || starts.Rule != c.want || d.Reason == "" {
			t.Errorf("%s: %+v, %+v, want %s", c.name, starts, d, c.want)
		}
	}
}

func TestServerLimitsHoldForItsTools(t *testing.T) {
	sv := serverOf(t, "tenants: [acme]\nenvironments: [dev]\ntools: {t: {tier: T0_READ, tenants: [acme, rival], environments: [dev]}}\n")
	tool, _ := sv.Tool("t")
	if d := tool.Admit(Request{Call: guard.ToolCall{Session: guard.Session{Tenant: "rival", Environment: "dev"}}}); d.Rule != guard.RuleTenant {
		t.Errorf("%+v", d)
	}
	sv = serverOf(t, "tenants: [acme]\nenvironments: [dev, prod]\ntools: {t: {tier: T0_READ, workflows: [audit]}}\n")
	tool, _ = sv.Tool("t")
	if d := tool.Admit(Request{Call: guard.ToolCall{Session: guard.Session{Tenant: "acme", Environment: "dev", Workflow: "release"}}}); d.Rule != guard.RuleWorkflow {
		t.Errorf("%+v", d)
	}
}

func TestPauseStopsAllButTheHandshake(t *testing.T) {
	sv := serverOf(t, "prompts: allow\ntenants: [acme]\nenvironments: [dev]\nsampling: allow\ntools: {}\n")
	ses := guard.Session{Tenant: "acme", Environment: "dev", Server: "s"}
	for _, scope := range []string{"", "s"} {
		switches := []guard.Switch{{Scope: scope}}
		for method, fromClient := range map[string]bool{
			"resources/read": true, "resources/list": true, "resources/subscribe": true, "prompts/get": true, "prompts/list": true,
			"completion/complete": true, "subscriptions/listen": true, "tasks/result": true, "logging/setLevel": true,
			"sampling/createMessage": false, "elicitation/create": false, "notifications/resources/updated": false, "notifications/message": false,
		} {
			if d := sv.Pass(Message{Session: ses, Method: method, FromClient: fromClient, Switches: switches}); d.Verdict != guard.Deny || d.Rule != guard.RuleSwitch {
				t.Errorf("%q paused, %s: %+v", scope, method, d)
			}
			if d := sv.Pass(Message{Session: ses, Method: method, FromClient: fromClient, Switches: []guard.Switch{{Scope: "other"}, {Scope: "s/t"}}}); d.Verdict != guard.Allow {
				t.Errorf("something else paused, %s: %+v", method, d)
			}
		}
		for _, method := range []string{"initialize", "ping", "tools/list", "tools/call", "notifications/cancelled"} {
			if d := sv.Pass(Message{Session: ses, Method: method, FromClient: true, Switches: switches}); d.Verdict != guard.Allow {
				t.Errorf("%q paused, %s: %+v", scope, method, d)
			}
		}
		if d := sv.Starts(ses, switches); d.Rule != guard.RuleSwitch {
			t.Errorf("%q paused: the server would be started: %+v", scope, d)
		}
	}
}

func TestAddressesOfResources(t *testing.T) {
	sv := serverOf(t, "tenants: [acme]\nenvironments: [dev]\nresource_hosts: [docs.example, \"*.cdn.example\"]\ntools: {}\n")
	for uri, want := range map[string]string{ // the file, "allow" or "deny"
		"file:///w/a.txt":                       "/w/a.txt",
		"FILE:///w/a%20b.txt":                   "/w/a b.txt",
		"file://localhost/etc/passwd":           "/etc/passwd",
		"file://other/etc/passwd":               "deny",
		"file:/etc/passwd":                      "/etc/passwd",
		"file:etc/passwd":                       "deny",
		"file:///w/%252e%252e/etc":              "deny",
		"file:///w/a?x=1":                       "deny",
		"file:///w/a#/../b":                     "deny",
		"/etc/passwd":                           "deny",
		"etc/passwd":                            "deny",
		"":                                      "deny",
		" file:///etc/passwd":                   "deny",
		"jar:file:///etc/x":                     "deny",
		"view-source:https://a/":                "deny",
		"git+file:///w":                         "deny",
		"https://docs.example/x":                "allow",
		"HTTPS://Docs.Example./x":               "allow",
		"https://docs.example:8443/x":           "allow",
		"https://docs.example@evil.example/":    "deny",
		"https://a.cdn.example/x":               "allow",
		"https://cdn.example/x":                 "deny",
		"https://evilcdn.example/x":             "deny",
		"http://169.254.169.254/latest":         "deny",
		"git+ssh://evil.example/x":              "deny",
		"https:docs.example":                    "deny",
		"demo://resource/static/document/a.md":  "allow",
		"memo://insights":                       "allow",
		"postgres://u@db.internal/table/schema": "allow",
		"embedded:info":                         "allow",
	} {
		d, file := sv.Resource(uri)
		got := file
		if file == "" {
			got = d.Verdict.String()
		}
		if got != want || want == "deny" && (d.Rule != guard.RulePath || d.Reason == "") {
			t.Errorf("%q: %q (%+v), want %q", uri, got, d, want)
		}
	}
}
