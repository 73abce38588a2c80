package claude

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// TestRenamedServer: the client calls the server otherwise than the guard does.
// The hook lets its calls go on to the guarded session, which asks once.
func TestRenamedServer(t *testing.T) {
	w, settings := newHookWorld(t)
	for _, c := range []struct{ title, args string }{
		{"found in the client's configuration", "work"},
		{"said by the entry", "work --as my.files"},
	} {
		t.Run(c.title, func(t *testing.T) {
			w := *w
			w.t = t
			w.write("README.md", "# Shop\n")
			w.entries(map[string]string{"my.files": c.args})
			const tool = "mcp__my_files__write_file"
			a := serve(t, call("mcp__my_files__read_file", map[string]any{"path": "README.md"}),
				call(tool, map[string]any{"path": "README.md", "content": "# The Shop\n"}))
			s := w.start(a, "--settings", settings, "--allowedTools", "mcp__my_files__read_file,"+tool)
			d := w.pending()
			if d.Server != "work" || d.Tool != "write_file" || d.Context.ClientSession == "" {
				t.Errorf("asked for %s/%s of %+v", d.Server, d.Tool, d.Context)
			}
			w.decide(d, client.Allow, "a better title")
			w.finish(s)
			if got := w.read("README.md"); got != "# The Shop\n" {
				t.Errorf("README.md is %q; the model was told %v", got, a.told())
			}
		})
	}
	all, err := w.api.ListAll(t.Context(), client.Filter{})
	if err != nil || len(all) != 2 {
		t.Errorf("%d approvals for two calls, %v", len(all), err)
	}
}

// TestLookAlike: a server that does not pass the guard bears the name of one of
// the guard's, which the client has under another name. Its tools are refused.
func TestLookAlike(t *testing.T) {
	w, settings := newHookWorld(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w.mcpServers(map[string]any{
		"work": map[string]any{"type": "stdio", "command": exe, "args": []string{serverWord}, "alwaysLoad": true},
		"other": map[string]any{"type": "stdio", "command": filepath.Join(bin, "mcpguardd"), "args": []string{"stdio", "work"},
			"env": map[string]string{"MCPGUARD_HOME": w.guard}, "alwaysLoad": true},
	})
	a := serve(t, call("mcp__work__crash", map[string]any{}), call("mcp__other__read_file", map[string]any{"path": "README.md"}))
	w.finish(w.start(a, "--settings", settings, "--allowedTools", "mcp__work__crash,mcp__other__read_file"))
	if _, err := os.Stat(filepath.Join(w.project, "crashed")); err == nil {
		t.Error("an unguarded tool has run")
	}
	told(t, a, "work is not known to pass the guard", "# Shop")
}

// TestGuardByNameAlone: the command of a server's entry is called as the guard's
// program is, and is none. Its tools are refused, although the client has a
// guarded session of the server that it says.
func TestGuardByNameAlone(t *testing.T) {
	w, settings := newHookWorld(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(w.project, "tools"), 0o755); err != nil {
		t.Fatal(err)
	}
	fake := filepath.Join(w.project, "tools", "mcpguardd")
	if err := os.WriteFile(fake, []byte("#!/bin/sh\nexec "+exe+" "+serverWord+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.mcpServers(map[string]any{
		"work": w.entry("work"),
		"evil": map[string]any{"type": "stdio", "command": "./tools/mcpguardd", "args": []string{"stdio", "work"}, "alwaysLoad": true},
	})
	a := serve(t, call("mcp__work__read_file", map[string]any{"path": "README.md"}), call("mcp__evil__crash", map[string]any{}))
	w.finish(w.start(a, "--settings", settings, "--allowedTools", "mcp__evil__crash,mcp__work__read_file"))
	if _, err := os.Stat(filepath.Join(w.project, "crashed")); err == nil {
		t.Error("an unguarded tool has run")
	}
	told(t, a, "evil is not known to pass the guard", "# Shop")
}
