package onboard

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
)

func TestPropose(t *testing.T) {
	known := map[string]guard.Tier{"known": guard.T1ReversibleWrite, "claims_read": guard.T2IrreversibleWrite}
	tools := []Tool{
		{Name: "known", ReadOnly: true, Destructive: true},
		{Name: "claims_read", ReadOnly: true},
		{Name: "reads", ReadOnly: true, Destructive: true},
		{Name: "adds", Idempotent: true},
		{Name: "adds_more"},
		{Name: "silent", Destructive: true},
	}
	want := map[string]struct {
		tier    guard.Tier
		claimed bool
	}{
		"known":       {guard.T1ReversibleWrite, false},
		"claims_read": {guard.T2IrreversibleWrite, false}, // a preset outranks an annotation
		"reads":       {guard.T0Read, true},
		"adds":        {guard.T1ReversibleWrite, true},
		"adds_more":   {guard.T2IrreversibleWrite, true},
		"silent":      {guard.T2IrreversibleWrite, true},
	}
	for _, p := range Propose(tools, known) {
		if w := want[p.Tool]; p.Tier != w.tier || p.Claimed != w.claimed || p.Reason == "" {
			t.Errorf("%s: %s claimed %v (%s), want %s claimed %v", p.Tool, p.Tier, p.Claimed, p.Reason, w.tier, w.claimed)
		}
	}
}

func TestTakeFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".mcp.json")
	err := os.WriteFile(path, []byte(`{"mcpServers": {
		"crm": {"command": "${BIN:-/opt}/crm", "args": ["--home", "${HOME}", "${UNSET}", "${}", "a${HOME"], "env": {"TOKEN": "${SECRET}", "MODE": "dev"}},
		"web": {"type": "http", "url": "http://localhost"}}}`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"HOME": "/home/me", "SECRET": "s3cret"}[name]
		return v, ok
	}
	r := Request{Name: "crm", Lookup: lookup}
	if err := r.TakeFrom(path); err != nil {
		t.Fatal(err)
	}
	if r.Command != "/opt/crm" || !slices.Equal(r.Args, []string{"--home", "/home/me", "${UNSET}", "${}", "a${HOME"}) {
		t.Errorf("command %q, arguments %q", r.Command, r.Args)
	}
	if v, _ := r.Lookup("TOKEN"); v != "s3cret" || !slices.Equal(r.Env, []string{"MODE", "TOKEN"}) {
		t.Errorf("TOKEN=%q, names %q", v, r.Env)
	}
	if v, _ := r.Lookup("HOME"); v != "/home/me" {
		t.Errorf("HOME=%q", v)
	}
	for _, name := range []string{"web", "none"} {
		if err := (&Request{Name: name, Lookup: lookup}).TakeFrom(path); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// TestTakeFromAFileWithOddEntries: what stands beside an entry does not keep it
// from being read; an entry that cannot be read says why, and a remote one how it
// can be guarded.
func TestTakeFromAFileWithOddEntries(t *testing.T) {
	path := filepath.Join("testdata", "import", "real", "ws", ".mcp.json")
	lookup := func(string) (string, bool) { return "", false }
	r := Request{Name: "mcpremote", Lookup: lookup}
	if err := r.TakeFrom(path); err != nil {
		t.Fatal(err)
	}
	if v, _ := r.Lookup("AUTH"); r.Args[3] != "Authorization:${AUTH}" || v != "Bearer abcdef0123456789" {
		t.Errorf("arguments %q, AUTH=%q", r.Args, v)
	}
	for name, want := range map[string]string{"num": "holds something that is not a text", "remote": "mcpguardd add remote --secret TOKEN=file:PATH -- npx -y mcp-remote URL"} {
		if err := (&Request{Name: name, Lookup: lookup}).TakeFrom(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
