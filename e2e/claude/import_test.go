package claude

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// TestImport guards what the client itself has written down, lets the client use
// it, and puts it back.
func TestImport(t *testing.T) {
	w := newWorld(t, "")
	exe, err := filepath.Abs(claudeBin)
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("../node_modules/@modelcontextprotocol/server-filesystem/dist/index.js")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(script); err != nil {
		t.Fatalf("%v; run npm ci in e2e", err)
	}
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = w.project
		cmd.Env = append(w.env(), "PATH="+withGuard(), "DISABLE_TELEMETRY=1", "DISABLE_AUTOUPDATER=1", "DISABLE_ERROR_REPORTING=1",
			"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	run(exe, "mcp", "add", "files", "-s", "user", "-e", "FILES_TOKEN=Zx81kQ0v7LmN4pR2tY6w", "--", "node", script, w.project)
	own := filepath.Join(w.home, ".claude.json")
	before, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	out := run(filepath.Join(bin, "mcpguardd"), "import", "--write")
	for _, want := range []string{"preset   filesystem", "14, of secure-filesystem-server", "FILES_TOKEN: secret file", "1 server is guarded"} {
		if !strings.Contains(out, want) {
			t.Errorf("it did not say %q, but\n%s", want, out)
		}
	}
	if list := run(exe, "mcp", "list"); !strings.Contains(list, "mcpguard stdio files") || !strings.Contains(list, "Connected") {
		t.Errorf("the client lists\n%s", list)
	}
	// It may have written its file since: the exact undo is for one that did not.
	guarded, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}

	const tool = "mcp__files__write_file"
	a := serve(t, call(tool, map[string]any{"path": filepath.Join(w.project, "README.md"), "content": "# The Shop\n"}))
	s := w.startPlain(a, tool)
	w.decide(w.pending(), client.Allow, "a better title")
	w.finish(s)
	if got := w.read("README.md"); got != "# The Shop\n" {
		t.Errorf("README.md is %q; the model was told %v", got, a.told())
	}

	after, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(after, guarded) {
		t.Log("the client has not written its configuration")
	} else {
		undo := exec.Command(filepath.Join(bin, "mcpguardd"), "import", "--undo")
		undo.Env = w.env()
		if out, err := undo.CombinedOutput(); err == nil || !strings.Contains(string(out), "was changed since") {
			t.Errorf("%v\n%s", err, out)
		}
		run(filepath.Join(bin, "mcpguardd"), "import", "--undo", "--keep-changes")
		if now, err := os.ReadFile(own); err != nil || bytes.Contains(now, []byte("mcpguardd")) || !bytes.Contains(now, []byte("Zx81kQ0v7LmN4pR2tY6w")) {
			t.Errorf("%v\n%s", err, now)
		}
		if err := os.WriteFile(own, before, 0o600); err != nil {
			t.Fatal(err)
		}
		run(filepath.Join(bin, "mcpguardd"), "import", "--write")
	}
	run(filepath.Join(bin, "mcpguardd"), "import", "--undo")
	if now, err := os.ReadFile(own); err != nil || !bytes.Equal(now, before) {
		t.Errorf("%v\n%s\nwant\n%s", err, now, before)
	}
}
