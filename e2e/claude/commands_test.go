package claude

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// TestCommands gives the client the guard's tool for commands: what reads passes
// without a question, sed shows its diff, a commit its meaning, and what wants
// the network is asked about by its text.
func TestCommands(t *testing.T) {
	w := newWorld(t, "")
	setUp := exec.Command("bash", "-ec", "git init -q -b main; git config user.name Ada; git config user.email ada@example.com; git add .; git commit -qm first")
	setUp.Dir, setUp.Env = w.project, append(w.env(), "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := setUp.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const tool = "mcp__work__run_command"
	line := func(command string) step { return call(tool, map[string]any{"command": command}) }
	a := serve(t, line("cat README.md; git log --oneline; grep -c Shop README.md"), line("sed -i 's/Shop/Store/' README.md"),
		line("git commit -qam 'a better title' && git log -1 --format=%s"), line("getent hosts registry.example.com; true"))
	s := w.startBare(a, "--allowedTools", tool)

	edit, commit := w.decideCommands("run_command")
	w.finish(s)
	told(t, a, "# Shop", "first", "a better title", "no network today")
	if got := w.read("README.md"); got != "# Store\n" {
		t.Errorf("README.md is %q", got)
	}
	log := exec.Command("git", "log", "--format=%s")
	log.Dir = w.project
	if out, err := log.CombinedOutput(); err != nil || string(out) != "a better title\nfirst\n" {
		t.Errorf("%v\n%s", err, out)
	}
	for _, id := range []string{edit.ID, commit.ID} {
		end, err := w.api.Get(t.Context(), id)
		if err != nil || end.Status != client.Executed || end.Receipt == nil || end.Receipt.ReadBack != "verified" {
			t.Errorf("it ended as %s with %+v, %v", end.Status, end.Receipt, err)
		}
	}
}

func hazards(d client.Detail) string {
	var out []string
	for _, h := range d.Hazards {
		out = append(out, h.Text)
	}
	return strings.Join(out, "; ")
}

// decideCommands allows an edit and a commit, which it returns, and denies a command that wants the
// network, as each is held.
func (w *world) decideCommands(tool string) (edit, commit client.Detail) {
	t := w.t
	t.Helper()
	edit = w.pending()
	if edit.Tool != tool || !strings.Contains(edit.Diff.Text, "-# Shop\n+# Store\n") || edit.Tier != "T1_REVERSIBLE_WRITE" || w.read("README.md") != "# Shop\n" {
		t.Errorf("%s: %s\n%s", edit.Tier, hazards(edit), edit.Diff.Text)
	}
	w.decide(edit, client.Allow, "a better title")
	commit = w.pending()
	if !strings.Contains(commit.Diff.Text, "by Ada <ada@example.com>: a better title (1 file, +1 −1)") {
		t.Errorf("%s: %s\n%s", commit.Tier, hazards(commit), commit.Diff.Text)
	}
	w.decide(commit, client.Allow, "commit it")
	host := w.pending()
	if host.Tier != "T3_EXECUTE" || !strings.Contains(hazards(host), "wanted host registry.example.com") {
		t.Errorf("%s: %s", host.Tier, hazards(host))
	}
	w.decide(host, client.Deny, "no network today")
	return edit, commit
}
