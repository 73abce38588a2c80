package onboard

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// TestEntries: a name is looked up where the client has it from, and nowhere
// else; what starts something else is not taken for the guard's.
func TestEntries(t *testing.T) {
	home, project := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	guarded := func(server string) string {
		return `{"command": "/opt/mcpguardd", "args": ["stdio", "` + server + `"]}`
	}
	const other = `{"command": "npx", "args": ["files"]}`
	write(filepath.Join(home, ".claude.json"), `{"mcpServers": {"fs": `+guarded("files")+`, "both": `+other+`, "my.db": `+guarded("db")+`},
		"projects": {"`+project+`": {"mcpServers": {"both": `+guarded("files")+`, "own": `+guarded("own")+`}},
		             "/elsewhere": {"mcpServers": {"far": `+guarded("files")+`}}}}`)
	write(filepath.Join(project, ".mcp.json"), `{"mcpServers": {"shared": `+guarded("shared")+`, "fs": `+other+`}}`)
	write(filepath.Join(project, "more.json"), `{"mcpServers": {"extra": `+guarded("extra")+`, "web": {"type": "http", "url": "https://example.com"}}}`)
	lookup := func(name string) (string, bool) { return home, name == "HOME" }
	ours := func(e *Entry) bool { return e.Command == "/opt/mcpguardd" }
	l := Lookup{Folder: project, Env: lookup, Ours: ours, Extra: []string{"more.json",
		`{"mcpServers": {"inline": ` + guarded("inline") + `, "fake": {"command": "./tools/mcpguardd", "args": ["stdio", "files"]}}}`, `{}`, "missing.json"}}
	for server, want := range map[string][]string{"files": {"both", "fs"}, "db": {"my.db"}, "extra": {"extra"}, "nobody": nil} {
		got := l.Names(server)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s is called %q, want %q", server, got, want)
		}
	}
	for _, c := range []struct {
		scope, name string
		want        Named
	}{
		{"user", "fs", Named{Servers: []string{"files"}}},
		{"project", "fs", Named{Past: true}},
		{"", "fs", Named{Servers: []string{"files"}, Past: true}},
		{"user", "both", Named{Past: true}},
		{"local", "both", Named{Servers: []string{"files"}}},
		{"user", "my_db", Named{Servers: []string{"db"}}},
		{"local", "own", Named{Servers: []string{"own"}}},
		{"local", "far", Named{}},
		{"project", "shared", Named{Servers: []string{"shared"}}},
		{"dynamic", "extra", Named{Servers: []string{"extra"}}},
		{"dynamic", "web", Named{Past: true}},
		{"dynamic", "fs", Named{}},
		{"dynamic", "inline", Named{Servers: []string{"inline"}}},
		{"dynamic", "fake", Named{Past: true}}, // the base name proves nothing
		{"plugin", "fs", Named{}},
		{"user", "nobody", Named{}},
	} {
		got := l.Entries(c.scope, c.name)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s in scope %q: %+v, want %+v", c.name, c.scope, got, c.want)
		}
	}
	// A file that the client reads and the guard does not may hold an entry of any
	// name.
	for _, text := range []string{`{"mcpServers": {"fs": ` + guarded("files") + `, "fs": ` + other + `}}`, `{"mcpServers": {}`} {
		write(filepath.Join(project, ".mcp.json"), text)
		if got := l.Entries("project", "fs"); !got.Past || len(got.Servers) > 0 {
			t.Errorf("%s: %+v", text, got)
		}
	}
}
