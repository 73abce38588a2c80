package config

import (
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/configs"
)

// TestEverythingInConfigsLoads reads the example and a configuration around
// each preset.
func TestEverythingInConfigsLoads(t *testing.T) {
	c, err := Parse("config.example.yaml", configs.Example())
	if err != nil {
		t.Fatalf("the example:\n%v", err)
	}
	for _, n := range c.Notes {
		t.Errorf("the example: %s", n)
	}
	if len(configs.Presets()) < 4 {
		t.Fatalf("presets: %v", configs.Presets())
	}
	for _, name := range configs.Presets() {
		src := "version: 1\nroots: [/w]\nservers:\n  s: {preset: " + name + ", command: /bin/x}\n"
		if name == "workspace" {
			src = strings.Replace(src, "command: /bin/x", "builtin: workspace", 1)
		}
		c, err := Parse("c.yaml", []byte(src))
		if err != nil {
			t.Errorf("preset %s:\n%v", name, err)
			continue
		}
		if len(c.Notes) > 0 {
			t.Errorf("preset %s: %v", name, c.Notes)
		}
		if c.Servers["s"].About == "" {
			t.Errorf("preset %s does not say what it is for", name)
		}
	}
}
