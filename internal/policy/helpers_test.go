package policy

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

const head = "version: 1\nprofiles:\n  p: {roots: [/w], tenant: acme, environment: dev}\n  prod: {roots: [/live], tenant: acme, environment: prod}\n  other: {roots: [/o], tenant: rival, environment: dev}\nservers:\n"

// tool wraps the body of one tool in a whole configuration.
func tool(body string) string {
	return head + "  s:\n    command: /bin/x\n    tenants: [acme]\n    environments: [dev, prod]\n    tools:\n      t:\n" + indent(body, "        ")
}

func indent(s, by string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimRight(s, "\n") + "\n") {
		b.WriteString(by + line)
	}
	return b.String()
}

const anySchema = `{"type":"object","properties":{"path":{"type":"string"},"content":{"type":"string"},"n":{"type":"integer"},"list":{"type":"array","items":{"type":"string"}},"dry":{"type":"boolean"}}}`

func definitionOf(name, schema string) []byte {
	return fmt.Appendf(nil, `{"name":%q,"description":"d","inputSchema":%s}`, name, schema)
}

func compile(t testing.TB, src string, defs ...[]byte) *Set {
	t.Helper()
	s, err := tryCompile(t, src, defs...)
	if err != nil {
		t.Fatalf("compiling:\n%v", err)
	}
	return s
}

func tryCompile(t testing.TB, src string, defs ...[]byte) (*Set, error) {
	t.Helper()
	cfg, err := config.Parse("config.yaml", []byte(src))
	if err != nil {
		return nil, err
	}
	lock := &config.Lock{}
	for _, d := range defs {
		var named struct{ Name string }
		if err := json.Unmarshal(d, &named); err != nil {
			t.Fatal(err)
		}
		for server := range cfg.Servers {
			if err := lock.Put(guard.Pin{Server: server, Tool: named.Name, Definition: d, AcceptedAt: time.Unix(0, 0), AcceptedBy: "test"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return Compile(cfg, lock)
}

// one compiles a configuration with the single tool s/t.
func one(t testing.TB, body string) *Tool {
	t.Helper()
	def := definitionOf("t", anySchema)
	sv, _ := compile(t, tool(body), def).Server("s")
	x, ok := sv.Tool("t")
	if !ok {
		t.Fatal("the tool is not there")
	}
	return x
}

func file(path string) guard.Target {
	return guard.Target{Kind: "file", Key: "/w/" + path, Path: path, Root: "/w", Write: true}
}

// request is a call that a permissive policy admits.
func request(args string, targets ...guard.Target) Request {
	return Request{
		Call: guard.ToolCall{
			ID: "call_1", Tool: "t", Args: []byte(args), ArgsCanonical: []byte(args), ArgsRaw: digest.Sum([]byte(args)),
			Session: guard.Session{RunID: "run_1", Tenant: "acme", Environment: "dev", Server: "s", Origin: guard.Origin{Client: "claude-code"}},
		},
		Definition: definitionOf("t", anySchema),
		Targets:    targets,
		Snapshot:   Snapshot{RateOK: true, Now: time.Unix(1000, 0)},
	}
}

func preview(kind string, targets ...guard.Target) guard.Preview {
	p := guard.Preview{Change: guard.Change{Added: 2, Removed: 1}}
	for _, x := range targets {
		p.Effects = append(p.Effects, guard.Effect{Kind: kind, Resource: x, Before: guard.State{Exists: true, Size: 10, Computed: true}, After: guard.State{Exists: true, Size: 12, Computed: true}})
	}
	return p
}

type listed struct {
	Tools []json.RawMessage `json:"tools"`
}

func packageTools(t testing.TB, name string) map[string]json.RawMessage {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name + "-2026.8.31.json")
	if err != nil {
		t.Fatal(err)
	}
	var l listed
	if err := json.Unmarshal(raw, &l); err != nil {
		t.Fatal(err)
	}
	out := map[string]json.RawMessage{}
	for _, x := range l.Tools {
		var named struct{ Name string }
		if err := json.Unmarshal(x, &named); err != nil {
			t.Fatal(err)
		}
		out[named.Name] = x
	}
	return out
}
