package claude

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// newPluginWorld is a guard with the server that the plugin names and a policy
// for the client's own tools. The plugin finds mcpguardd on the PATH.
func newPluginWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "native:\n  preset: claude-native\n")
	add := exec.Command(filepath.Join(bin, "mcpguardd"), "add", "workspace", "--builtin", "workspace")
	add.Dir, add.Env = w.project, w.env()
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return w
}

// withGuard is a PATH on which the programs are.
func withGuard() string { return bin + string(os.PathListSeparator) + os.Getenv("PATH") }

// TestPluginValid: the client's own validator finds nothing wrong with the plugin.
func TestPluginValid(t *testing.T) {
	w := newWorld(t, "")
	exe, err := filepath.Abs(claudeBin)
	if err != nil {
		t.Fatal(err)
	}
	plugin, err := filepath.Abs("../../plugin")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "plugin", "validate", "--strict", plugin)
	cmd.Dir = w.project
	cmd.Env = append(w.env(), "DISABLE_TELEMETRY=1", "DISABLE_AUTOUPDATER=1", "DISABLE_ERROR_REPORTING=1",
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"Validation passed", "hooks: PreToolUse", "mcpServers: workspace", "skills: mcpguard:guarded-changes"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it did not say %q, but\n%s", want, out)
		}
	}
}

// TestPluginServer: a call to the plugin's server is held, once, although the
// plugin's hook sees it too.
func TestPluginServer(t *testing.T) {
	w := newPluginWorld(t)
	const tool = "mcp__plugin_mcpguard_workspace__write_file"
	a := serve(t, call(tool, map[string]any{"path": "README.md", "content": "# The Shop\n"}))
	s := w.startPlugin(a, withGuard(), tool)
	d := w.pending()
	if d.Server != "workspace" || d.Tool != "write_file" {
		t.Errorf("asked for %s/%s", d.Server, d.Tool)
	}
	w.decide(d, client.Allow, "a better title")
	w.finish(s)
	if got := w.read("README.md"); got != "# The Shop\n" {
		t.Errorf("README.md is %q; the model was told %v", got, a.told())
	}
	all, err := w.api.ListAll(t.Context(), client.Filter{})
	if err != nil || len(all) != 1 {
		t.Errorf("%d approvals for one call, %v", len(all), err)
	}
}

// TestPluginHooks: the client's own Write is held by the plugin's hook, and a
// denial reaches the model in the reviewer's words.
func TestPluginHooks(t *testing.T) {
	w := newPluginWorld(t)
	file := filepath.Join(w.project, "new.txt")
	a := serve(t, call("Write", map[string]any{"file_path": file, "content": "one\n"}),
		call("Write", map[string]any{"file_path": file, "content": "two\n"}))
	s := w.startPlugin(a, withGuard(), "Write")
	w.decide(w.pending(), client.Deny, "begin with two")
	w.decide(w.pending(), client.Allow, "as discussed")
	w.finish(s)
	told(t, a, "begin with two")
	if got := w.read("new.txt"); got != "two\n" {
		t.Errorf("new.txt is %q; the model was told %v", got, a.told())
	}
}

// TestPluginFailsClosed: without the program on the PATH nothing runs.
func TestPluginFailsClosed(t *testing.T) {
	w := newPluginWorld(t)
	file := filepath.Join(w.project, "new.txt")
	a := serve(t, call("Write", map[string]any{"file_path": file, "content": "one\n"}))
	w.finish(w.startPlugin(a, os.Getenv("PATH"), "Write"))
	told(t, a, "not found")
	if _, err := os.Stat(file); err == nil {
		t.Errorf("it was written without the guard; the model was told %v", a.told())
	}
}

// startPlugin starts the client with the plugin, and with path and the guard's
// folder in its environment.
func (w *world) startPlugin(a *api, path, tool string) *session {
	w.t.Helper()
	plugin, err := filepath.Abs("../../plugin")
	if err != nil {
		w.t.Fatal(err)
	}
	return w.startWith(a, path, "--plugin-dir", plugin, "--allowedTools", tool)
}

// startPlain starts the client with what it has in its own configuration.
func (w *world) startPlain(a *api, tool string) *session {
	w.t.Helper()
	return w.startWith(a, withGuard(), "--allowedTools", tool)
}

func (w *world) startWith(a *api, path string, args ...string) *session {
	w.t.Helper()
	exe, err := filepath.Abs(claudeBin)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &session{done: make(chan struct{}), cmd: exec.Command(exe, append([]string{"-p", "go on", "--output-format", "stream-json", "--verbose"}, args...)...)}
	s.cmd.Dir, s.cmd.Env = w.project, w.clientEnv(a, path, append(w.extra, "MCPGUARD_HOME="+w.guard)...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	if err := s.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { // ends with the client
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	w.t.Cleanup(func() {
		select {
		case <-s.done:
		default:
			_ = s.cmd.Process.Kill() // it may end just now
			<-s.done
		}
	})
	return s
}
