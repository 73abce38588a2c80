package cli_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/hook"
	"github.com/mcpguard/mcpguard/internal/version"
)

var updatePlugin = flag.Bool("update-plugin", false, "write the plugin's hooks anew")

// TestPluginHooksAreTheInstalledOnes: the plugin asks with the same commands and
// the same time limits as `mcpguardd hooks install`; with other limits an
// undecided call could run.
func TestPluginHooksAreTheInstalledOnes(t *testing.T) {
	settings, err := hook.Install(nil, "mcpguard")
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Indent(&want, settings, "", "  "); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "..", "plugin", "hooks", "hooks.json")
	if *updatePlugin {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("the plugin has\n%s\nwant\n%s", got, want.Bytes())
	}
}

// TestPluginIsWhole: manifest, server and skill say what this program is.
func TestPluginIsWhole(t *testing.T) {
	read := func(name string, into any) []byte {
		data, err := os.ReadFile(filepath.Join("..", "..", "plugin", name))
		if err != nil {
			t.Fatal(err)
		}
		if into != nil {
			if err := json.Unmarshal(data, into); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		return data
	}
	var manifest struct{ Name, Version string }
	read(".claude-plugin/plugin.json", &manifest)
	if manifest.Name != "mcpguard" || !strings.HasPrefix(version.Number, manifest.Version) {
		t.Errorf("the manifest is of %s %s, the program of %s", manifest.Name, manifest.Version, version.Number)
	}
	var servers struct {
		Servers map[string]struct {
			Command string
			Args    []string
		} `json:"mcpServers"`
	}
	read(".mcp.json", &servers)
	if s := servers.Servers["workspace"]; s.Command != "mcpguard" || strings.Join(s.Args, " ") != "stdio workspace" {
		t.Errorf("the server is %+v", s)
	}
	skill := read("skills/guarded-changes/SKILL.md", nil)
	if !regexp.MustCompile(`(?s)^---\nname: guarded-changes\ndescription: [^\n]{40,900}\n---\n`).Match(skill) {
		t.Error("the skill has no name and description")
	}
	for _, word := range []string{"blocked_pending_approval", "denied", "expired", "unknown"} { // as the guard answers
		if !bytes.Contains(skill, []byte(word)) {
			t.Errorf("the skill does not explain %q", word)
		}
	}
}
