package claude

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// newBashWorld is a guard whose configuration wants the client's own Bash run in
// a sandbox first, in a repository with one commit.
func newBashWorld(t *testing.T) (w *world, settings string) {
	t.Helper()
	w, settings = newHookWorld(t, "commands:\n  rewrite: bash\n")
	setUp := exec.Command("bash", "-ec", "git init -q -b main; git config user.name Ada; git config user.email ada@example.com; git add .; git commit -qm first; mkdir sub; echo deep > sub/x; git add sub; git commit -qm second")
	setUp.Dir, setUp.Env = w.project, append(w.env(), "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := setUp.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return w, settings
}

func bash(command string) step {
	return call("Bash", map[string]any{"command": command, "description": "do it"})
}

// addSettings adds members to a file of settings.
func addSettings(t *testing.T, path string, members map[string]any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	for k, v := range members {
		all[k] = v
	}
	if data, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestBashInASandbox: of the client's own commands what reads passes without a
// question, sed shows its diff and a commit its meaning, and each lands once.
func TestBashInASandbox(t *testing.T) {
	w, settings := newBashWorld(t)
	a := serve(t, bash("cat README.md; git log --oneline; grep -c Shop README.md"), bash("grep -q nothing README.md"), bash("cd sub && cat x"), bash("pwd && cat x"),
		bash("cd "+w.project+" && sed -i 's/Shop/Store/' README.md"), bash("git commit -qam 'a better title' && git log -1 --format=%s"),
		bash("getent hosts registry.example.com; true"), bash("cat /etc/hostname"))
	s := w.startBare(a, "--settings", settings)

	edit := w.pending()
	if edit.Tool != "Bash" || !strings.Contains(edit.Diff.Text, "-# Shop\n+# Store\n") || edit.Tier != "T1_REVERSIBLE_WRITE" || w.read("README.md") != "# Shop\n" {
		t.Errorf("%s\n%s", edit.Tier, edit.Diff.Text)
	}
	w.decide(edit, client.Allow, "a better title")
	commit := w.pending()
	if !strings.Contains(commit.Diff.Text, "by Ada <ada@example.com>: a better title (1 files, +1 −1)") {
		t.Errorf("%s", commit.Diff.Text)
	}
	w.decide(commit, client.Allow, "commit it")
	host := w.pending()
	if host.Tier != "T3_EXECUTE" || !strings.Contains(hazards(host), "wanted host registry.example.com") {
		t.Errorf("%s: %s", host.Tier, hazards(host))
	}
	w.decide(host, client.Deny, "no network today")
	outside := w.pending()
	if outside.Tier != "T0_READ" {
		t.Errorf("%s: %s", outside.Tier, outside.Diff.Text)
	}
	w.decide(outside, client.Deny, "not outside")
	w.finish(s)
	told(t, a, "# Shop", "second", "Exit code 1", filepath.Join(w.project, "sub")+"\ndeep", "a better title", "no network today", "not outside")
	if got := w.read("README.md"); got != "# Store\n" {
		t.Errorf("README.md is %q", got)
	}
	log := exec.Command("git", "log", "--format=%s")
	log.Dir = w.project
	if out, err := log.CombinedOutput(); err != nil || string(out) != "a better title\nsecond\nfirst\n" {
		t.Errorf("%v\n%s", err, out)
	}
	for _, id := range []string{edit.ID, commit.ID} {
		end, err := w.api.Get(t.Context(), id)
		if err != nil || end.Status != client.Executed || end.Receipt == nil || end.Receipt.ReadBack != "verified" {
			t.Errorf("it ended as %s with %+v, %v", end.Status, end.Receipt, err)
		}
	}
	w.leaked()
}
