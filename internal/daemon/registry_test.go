package daemon

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/proxy"
)

func TestSessionsAreBounded(t *testing.T) {
	r := newRegistry()
	of := func(run guard.RunID) *session {
		return &session{Session: guard.Session{ID: guard.NewSessionID(), RunID: run}}
	}
	const perClient = 60
	for range perClient {
		if err := r.add(of("run_greedy"), perClient); err != nil {
			t.Fatal("refused too early:", err)
		}
	}
	if err := r.add(of("run_greedy"), perClient); err == nil || !strings.Contains(err.Error(), "quotas.sessions") {
		t.Errorf("one client took one more: %v", err)
	}
	for i := range maxSessions - perClient {
		if err := r.add(of(guard.RunID(fmt.Sprint("run_", i))), perClient); err != nil {
			t.Fatal("another client was refused:", err)
		}
	}
	s := of("run_last")
	if err := r.add(s, perClient); err == nil {
		t.Error("more are served than there may be")
	}
	r.remove(r.all()[0])
	if err := r.add(s, perClient); err != nil {
		t.Error("refused although one has ended:", err)
	}
}

// TestSessionEndsWhenItsServerIsClosedToIt: a reload that closes a server to a
// session's tenant or workflow ends the session.
func TestSessionEndsWhenItsServerIsClosedToIt(t *testing.T) {
	compiled := func(server string) *policy.Set {
		t.Helper()
		cfg, err := config.Parse("config.yaml", []byte("version: 1\nprofiles:\n  p: {roots: [/w], tenant: acme, environment: dev, workflow: audit}\n  q: {roots: [/o], tenant: rival, environment: dev}\n"+
			"servers:\n  s: {command: /bin/x, environments: [dev], "+server+"}\n"))
		if err != nil {
			t.Fatal(err)
		}
		set, err := policy.Compile(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	for text, ends := range map[string]bool{
		"tenants: [acme]": false, "tenants: [acme, rival]": false, "tenants: [acme], workflows: [audit]": false,
		"tenants: [rival]": true, "tenants: []": true, "tenants: [acme, rival], workflows: []": true,
	} {
		before, _ := compiled("tenants: [acme]").Server("s")
		s := &session{
			Session: guard.Session{Server: "s", Tenant: "acme", Environment: "dev", Profile: "p", Workflow: "audit"}, server: before, folder: "/w/x",
			changed: make(chan struct{}, 1), over: make(chan struct{}),
		}
		s.renew(compiled(text))
		ended := false
		select {
		case <-s.over:
			ended = true
		default:
		}
		if ended != ends {
			t.Errorf("%s: the session ended: %v, want %v", text, ended, ends)
		}
	}
}

func TestWhatWaitsIsShownAsADiff(t *testing.T) {
	s := &session{}
	s.waits([]proxy.Waiting{
		{Tool: "changed", SHA256: digest.Sum([]byte("x")), Definition: []byte(`{"name":"changed","description":"now"}`), Accepted: []byte(`{"name":"changed","description":"once"}`)},
		{Tool: "new", Definition: []byte(`{"name":"new"}`)},
		{Tool: "twice", Accepted: []byte(`{"name":"twice"}`)},
	})
	got := s.state().Waiting
	if len(got) != 3 || got[0].Change != "changed" || got[1].Change != "new" || got[2].Change != "changed" {
		t.Fatalf("got %+v", got)
	}
	if !strings.Contains(got[0].Diff, "-  \"description\": \"once\"\n+  \"description\": \"now\"\n") || got[0].SHA256 != digest.Sum([]byte("x")).String() {
		t.Errorf("got %+v", got[0])
	}
	if !strings.Contains(got[1].Diff, "+  \"name\": \"new\"\n") || !strings.Contains(got[1].Diff, "--- /dev/null") {
		t.Errorf("got %+v", got[1])
	}
}

func TestProvenVersionIsTheOneThatRuns(t *testing.T) {
	const text = "version: 1\nroots: [/w]\nservers:\n  s:\n    preset: filesystem\n    command: npx\n    args: [-y, '@modelcontextprotocol/server-filesystem@%s', /w]\n"
	compiled := func(version string) *policy.Set {
		t.Helper()
		cfg, err := config.Parse("config.yaml", fmt.Appendf(nil, text, version))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Servers["s"].Detected, _ = config.DetectPackage(cfg.Servers["s"]) // as loading the file does
		set, err := policy.Compile(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	const known, unknown = "2026.8.31", "0.0.1"
	for _, c := range []struct {
		begun, installed string
		proven           bool
	}{
		{known, known, true}, {unknown, known, false}, {known, unknown, false}, {unknown, unknown, false},
	} {
		s := &session{Session: guard.Session{Server: "s"}}
		installed := compiled(c.installed)
		if s.policy(installed) != installed {
			t.Errorf("%+v: a session whose server was not started has a policy of its own", c)
		}
		s.begun.Store(&config.Package{Name: "@modelcontextprotocol/server-filesystem", Version: c.begun})
		for range 2 {
			sv, _ := s.policy(installed).Server("s")
			if tool, _ := sv.Tool("write_file"); tool.Proven() != c.proven {
				t.Errorf("%+v: proven is %v", c, tool.Proven())
			}
		}
		if other := compiled(known); c.begun == known && s.policy(other) != other {
			t.Errorf("%+v: a newer policy does not hold", c)
		}
	}
}
