package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/config"
)

// TestHooksSettings: what install writes is shown first, works, and is undone
// exactly.
func TestHooksSettings(t *testing.T) {
	c := newClaude(t)
	const before = "{\n  \"model\": \"x\"\n}"
	path := c.write(".claude/settings.local.json", before)
	if out, errs, code := c.run("", "mcpguardd", "hooks", "install"); code != 0 || !strings.Contains(out, "+    \"PreToolUse\": [") || !strings.Contains(out, "--write") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if b, _ := os.ReadFile(path); string(b) != before {
		t.Errorf("showing has written: %s", b)
	}
	if out, errs, code := c.run("", "mcpguardd", "hooks", "install", "--write"); code != 0 {
		t.Errorf("%d %s %s", code, out, errs)
	}
	var doc struct {
		Hooks map[string][]struct{ Hooks []struct{ Command string } }
	}
	b, _ := os.ReadFile(path)
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	event := c.event("PreToolUse", fields{"tool_name": "Read", "tool_input": fields{"file_path": path}, "tool_use_id": "u"})
	if out, errs, code := c.run(event, "sh", "-c", doc.Hooks["PreToolUse"][0].Hooks[0].Command); code != 0 || out != "{}\n" {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if out, _, code := c.run("", "mcpguardd", "hooks", "install"); code != 0 || !strings.Contains(out, "already") {
		t.Errorf("%d %s", code, out)
	}
	if _, errs, code := c.run("", "mcpguardd", "hooks", "remove", "--write"); code != 0 {
		t.Errorf("%d %s", code, errs)
	}
	if b, _ := os.ReadFile(path); string(b) != before {
		t.Errorf("after removing: %q", b)
	}
	if left, _ := filepath.Glob(filepath.Join(c.ws, ".claude", "*")); len(left) != 1 {
		t.Errorf("left behind: %q", left)
	}
}

// TestHooksOddSettings: files that are not as Claude Code leaves them are put
// back exactly, or refused and left alone.
func TestHooksOddSettings(t *testing.T) {
	c := newClaude(t)
	path := filepath.Join(c.ws, ".claude", "settings.local.json")
	read := func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	for name, before := range map[string]string{"empty": "", "blank": "\n", "crlf": "{\r\n  \"model\": \"x\"\r\n}\r\n", "one line": `{"a":1}`} {
		c.write(".claude/settings.local.json", before)
		for _, word := range []string{"install", "remove"} {
			if _, errs, code := c.run("", "mcpguardd", "hooks", word, "--write"); code != 0 {
				t.Errorf("%s, %s: %d %s", name, word, code, errs)
			}
			if has := strings.Contains(read(), "hook pre"); has != (word == "install") {
				t.Errorf("%s, %s: %s", name, word, read())
			}
		}
		if got := read(); got != before {
			t.Errorf("%s: %q, want %q", name, got, before)
		}
	}

	// Hooks in a file that cannot be read for sure are not said to be absent.
	if _, errs, code := c.run("", "mcpguardd", "hooks", "install", "--write"); code != 0 {
		t.Fatal(errs)
	}
	commented := "// mine\n" + read()
	c.write(".claude/settings.local.json", commented)
	for _, word := range []string{"install", "remove"} {
		if _, errs, code := c.run("", "mcpguardd", "hooks", word, "--write"); code != 1 || !strings.Contains(errs, "line 1, column 1: a comment") || read() != commented {
			t.Errorf("%s: %d %s", word, code, errs)
		}
	}

	c.write(".claude/settings.local.json", "{}\n")
	if err := os.Chmod(path, 0o444); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := c.run("", "mcpguardd", "hooks", "install", "--write"); code != 1 || !strings.Contains(errs, "read-only") || read() != "{}\n" {
		t.Errorf("read-only: %d %s", code, errs)
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere.json", path); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := c.run("", "mcpguardd", "hooks", "install", "--write"); code != 1 || !strings.Contains(errs, "leads nowhere") {
		t.Errorf("a link to nowhere: %d %s", code, errs)
	}
	target := c.write("real.json", "{}\n")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := c.run("", "mcpguardd", "hooks", "install", "--write"); code != 0 {
		t.Errorf("a link: %d %s", code, errs)
	}
	if st, err := os.Lstat(path); err != nil || st.Mode()&os.ModeSymlink == 0 || !strings.Contains(read(), "hook pre") {
		t.Errorf("a link: %v %s", err, read())
	}
}

// TestHooksDoctor: doctor says whether the client's own tools ask in this folder.
func TestHooksDoctor(t *testing.T) {
	c := newClaude(t)
	doctor := func(want string) {
		t.Helper()
		if out, _, _ := c.run("", "mcpguardd", "doctor"); !strings.Contains(out, want) {
			t.Errorf("it did not say %q, but\n%s", want, out)
		}
	}
	doctor("do not ask here")
	if _, errs, code := c.run("", "mcpguardd", "hooks", "install", "--write"); code != 0 {
		t.Fatal(errs)
	}
	doctor("has the hooks")
	path := filepath.Join(c.ws, ".claude", "settings.local.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c.write(".claude/settings.local.json", strings.Replace(string(b), "|| exit 2", "|| exit 0", 1))
	doctor("would write otherwise")
	c.write(".claude/settings.local.json", "// mine\n"+string(b))
	doctor("cannot be told: line 1, column 1: a comment")
}

// TestHooksShared: settings that git would take along are named.
func TestHooksShared(t *testing.T) {
	c := newClaude(t)
	install := func() string {
		out, errs, code := c.run("", "mcpguardd", "hooks", "install")
		if code != 0 {
			t.Errorf("%d %s", code, errs)
		}
		return out
	}
	if out := install(); strings.Contains(out, "may be shared") {
		t.Errorf("without a repository: %s", out)
	}
	if out, err := exec.Command("git", "init", "-q", c.ws).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if out := install(); !strings.Contains(out, "may be shared") {
		t.Errorf("in a repository: %s", out)
	}
	c.write(".git/info/exclude", ".claude/settings.local.json\n")
	if out := install(); strings.Contains(out, "may be shared") {
		t.Errorf("ignored: %s", out)
	}
}

// TestHooksAnotherFolder: a folder that the guard does not serve yet is served
// from then on; with the user's settings that stays the developer's choice.
func TestHooksAnotherFolder(t *testing.T) {
	c := newClaude(t)
	other, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c.ws = other
	out, errs, code := c.run("", "mcpguardd", "hooks", "install", "--scope", "user")
	if code != 0 || !strings.Contains(out, "note: these hooks hold in every folder") || strings.Contains(out, other) {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if out, errs, code = c.run("", "mcpguardd", "hooks", "install", "--write"); code != 0 || !strings.Contains(out, ", "+other+"]") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if cfg, err := config.Load(c.config); err != nil || !slices.Contains(cfg.Roots, other) {
		t.Errorf("%+v, %v", cfg, err)
	}
	if out, _, code = c.run("", "mcpguardd", "hooks", "install"); code != 0 || !strings.Contains(out, "already") {
		t.Errorf("%d %s", code, out)
	}
}
