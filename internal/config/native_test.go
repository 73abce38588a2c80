package config

import (
	"strings"
	"testing"
)

func TestNative(t *testing.T) {
	c, err := Parse("c.yaml", []byte("version: 1\nroots: [/w]\nnative:\n  workspaces: [client, /tmp/x]\n  tools:\n    Bash: {deny: [{when: \"true\", says: no}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := c.Servers[NativeServer]
	if s == nil || c.Native != s || s.Builtin != NativeServer || s.Preset != "claude-native" || s.Tools["Write"] == nil || len(s.Tools["Bash"].Deny) != 1 || len(s.Workspaces) != 2 {
		t.Errorf("%+v", s)
	}
	if c, err = Parse("c.yaml", []byte("version: 1\nroots: [/w]\nnative:\n")); err != nil || c.Native == nil {
		t.Errorf("an empty section: %v", err)
	}
	if c, err = Parse("c.yaml", []byte("version: 1\n")); err != nil || c.Native != nil {
		t.Errorf("no section: %v", err)
	}
	for src, want := range map[string]string{
		"native: {command: x}":                           "is started",
		"native: {builtin: workspace}":                   "built-in",
		"native: 3":                                      "mapping",
		"native: {preset: x}":                            "no preset",
		"native: {}\nservers: {native: {command: x}}":    "both",
		"servers: {native: {command: x}}":                "uses itself",
		"servers: {permission: {command: x}}":            "uses itself",
		"servers: {x: {builtin: native}}":                "built-in",
		"native: {tools: {Bash: {tier: T0_READ}}}":       "cannot be exec",
		"native: {tools: {Edit: {effect: {exec: 3}}}}":   "mapping",
		"native: {tools: {X: {tier: T3_EXECUTE}}}":       "effect: opaque",
		"native: {tools: {X: {effect: {exec: {a: b}}}}}": "no tier",
	} {
		_, err := Parse("c.yaml", []byte("version: 1\nroots: [/w]\n"+src+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", src, err, want)
		}
	}
}
