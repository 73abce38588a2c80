package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/configs"
)

// TestPresetIsFoundByPackageName: a preset is found by the name that a registry gives its
// package, in every spelling of that registry, and by nothing else.
func TestPresetIsFoundByPackageName(t *testing.T) {
	for _, c := range []struct{ registry, name, want string }{
		{RegistryNPM, "@modelcontextprotocol/server-filesystem", "filesystem"},
		{RegistryNPM, "@modelcontextprotocol/server-memory", "memory"},
		{RegistryOCI, "mcp/memory", "memory"},
		{RegistryOCI, "mcp/memory:latest", "memory"},
		{RegistryOCI, "docker.io/mcp/memory", "memory"},
		{RegistryOCI, "mcp/memory@sha256:00", "memory"},
		{RegistryOCI, "localhost:5000/mcp/memory", ""},
		{RegistryNPM, "mcp/memory", ""},
		{RegistryPyPI, "@modelcontextprotocol/server-memory", ""},
		{RegistryNPM, "", ""},
		{"", "memory", ""},
	} {
		if got := PresetFor(c.registry, c.name); got != c.want {
			t.Errorf("%s:%s has the preset %q, want %q", c.registry, c.name, got, c.want)
		}
	}
	if got, want := registryName(RegistryPyPI, "MCP_Server.Git"), "mcp-server-git"; got != want {
		t.Errorf("a Python package is compared as %q, want %q", got, want)
	}
}

// TestPresetsStateTheirBasis: every preset states its basis, no two presets share
// a package, and a preset whose tools were called by tests names the versions.
func TestPresetsStateTheirBasis(t *testing.T) {
	owner := map[string]string{}
	for _, name := range configs.Presets() {
		c, err := Parse("c.yaml", []byte("version: 1\nroots: [/w]\nservers:\n  x: {preset: "+name+", command: /bin/x}\n"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s := c.Servers["x"]
		if !slices.Contains([]string{"run", "listed", "published"}, s.Basis) || s.About == "" {
			t.Errorf("%s rests on %q and is about %q", name, s.Basis, s.About)
		}
		if s.Package != "" && s.Basis != "published" && len(s.Versions) == 0 {
			t.Errorf("%s names %s and no version", name, s.Package)
		}
		ids := slices.Clone(s.Also)
		if s.Package != "" {
			ids = append(ids, RegistryNPM+":"+s.Package)
		}
		for _, id := range ids {
			registry, pkg, _ := strings.Cut(id, ":")
			if !slices.Contains([]string{RegistryNPM, RegistryPyPI, RegistryOCI}, registry) || pkg == "" {
				t.Errorf("%s: %q is no package of a registry", name, id)
			}
			if other := owner[id]; other != "" {
				t.Errorf("%s belongs to %s and to %s", id, other, name)
			}
			owner[id] = name
			if got := PresetFor(registry, pkg); got != name {
				t.Errorf("%s is found as the preset %q, want %q", id, got, name)
			}
		}
	}
}
