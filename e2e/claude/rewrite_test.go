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

// newBashWorld is a guard that runs the client's own Bash in a sandbox first, as
// it does by default, in a repository with two commits.
func newBashWorld(t *testing.T, more ...string) (w *world, settings string) {
	t.Helper()
	w, settings = newHookWorld(t, more...)
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

	edit, commit := w.decideCommands("Bash")
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

// TestCommandsNeverWeaker: TestNeverWeaker for commands in a sandbox, with rules
// of the client that deny and ask. Nothing runs that the client alone refuses or
// asks about, where nobody approves anything.
func TestCommandsNeverWeaker(t *testing.T) {
	commands := []string{
		"cat README.md", "git log --oneline", "wc -l README.md", "cat /etc/passwd", "ls /", "cat ~/.netrc", "cat ../beside/x", "head -n1 $PWD/../beside/x",
		"touch made", "echo x > new.txt", "sed -i s/Shop/Store/ README.md", "cat README.md; git log", "bash -c 'git log'",
	}
	files := map[int]func(w *world) bool{
		8:  func(w *world) bool { return w.read("made") == "" },
		9:  func(w *world) bool { return w.read("new.txt") == "x\n" },
		10: func(w *world) bool { return w.read("README.md") != "# Shop\n" },
	}
	run := func(t *testing.T, mode string, hooks bool) (ran []bool, told []string) {
		w, settings := newBashWorld(t)
		w.extra = []string{"IS_SANDBOX=1"}
		if err := os.MkdirAll(filepath.Join(w.project, "..", "beside"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{filepath.Join(w.home, ".netrc"): "login y\n", filepath.Join(w.project, "..", "beside", "x"): "beside\n"} {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		rules := map[string]any{"permissions": map[string]any{"deny": []string{"Bash(git log:*)"}, "ask": []string{"Bash(wc:*)"}}}
		args := []string{"--permission-mode", mode, "--settings", settings}
		if !hooks {
			rules["hooks"] = map[string]any{}
		}
		addSettings(t, settings, rules)
		var steps []step
		for _, c := range commands {
			steps = append(steps, bash(c))
		}
		a := serve(t, steps...)
		s := w.startBare(a, args...)
		if hooks {
			w.denyAll(s)
		}
		w.finishIn(s, 3*patience)
		for i := range commands {
			end, ok := a.end(i)
			x := ok && !end.failed
			if made := files[i]; made != nil {
				x = made(w)
			}
			ran, told = append(ran, x), append(told, end.text)
		}
		return ran, told
	}
	modes := []string{"default", "auto"}
	if os.Getenv("MCPGUARD_LONG") != "" {
		// in which fewer are asked about, nothing is rewritten, or nothing asked
		modes = append(modes, "acceptEdits", "plan", "dontAsk", "bypassPermissions")
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			alone, _ := run(t, mode, false)
			guarded, told := run(t, mode, true)
			for i, c := range commands {
				if guarded[i] && !alone[i] {
					t.Errorf("%q runs with the guard, and not without: %.200q", c, told[i])
				}
			}
			if mode == "default" && (!alone[0] || alone[1] || alone[2] || !guarded[0]) {
				t.Errorf("alone %v, guarded %v, told %q: the table proves nothing", alone, guarded, told)
			}
			t.Logf("%s alone   %v\n%s guarded %v", mode, alone, mode, guarded)
		})
	}
}

// TestBashStaysText: what stands against another line in a command's place leaves
// it to its text, and says why.
func TestBashStaysText(t *testing.T) {
	for name, c := range map[string]struct {
		input    map[string]any
		settings map[string]any
		args     []string
		why      string
	}{
		"background":   {input: map[string]any{"command": "sleep 0", "run_in_background": true}, why: "in the background"},
		"unconfined":   {input: map[string]any{"command": "touch made", "dangerouslyDisableSandbox": true}, why: "outside of a sandbox"},
		"outside":      {input: map[string]any{"command": "pushd sub"}, why: "in which folder it ends"},
		"another hook": {input: map[string]any{"command": "touch made"}, settings: map[string]any{"hooks": nil}, why: "another hook before tools"},
		"an ask rule":  {input: map[string]any{"command": "touch made"}, settings: map[string]any{"permissions": map[string]any{"ask": []string{"Bash(touch:*)"}}}, why: "a rule of the client"},
		"its sandbox":  {input: map[string]any{"command": "touch made"}, settings: map[string]any{"sandbox": map[string]any{"enabled": true}}, why: "own sandbox"},
		"a flag":       {input: map[string]any{"command": "touch made"}, args: []string{"--disallowedTools", "Bash(touch made)"}, why: "a rule of the client"},
		"plan mode":    {input: map[string]any{"command": "touch made"}, args: []string{"--permission-mode", "plan"}, why: "in a mode"},
	} {
		t.Run(name, func(t *testing.T) {
			w, settings := newBashWorld(t)
			if _, other := c.settings["hooks"]; other {
				project := filepath.Join(w.project, ".claude")
				if err := os.MkdirAll(project, 0o755); err != nil {
					t.Fatal(err)
				}
				text := `{"hooks": {"PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": "true"}]}]}}`
				if err := os.WriteFile(filepath.Join(project, "settings.json"), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			} else {
				addSettings(t, settings, c.settings)
			}
			c.input["description"] = "do it"
			a := serve(t, call("Bash", c.input))
			s := w.startBare(a, append(c.args, "--settings", settings)...)
			d := w.pending()
			if d.Tier != "T3_EXECUTE" || !strings.Contains(d.Diff.Text, "not run in a sandbox") || !strings.Contains(d.Diff.Text, c.why) {
				t.Errorf("%s\n%s", d.Tier, d.Diff.Text)
			}
			w.decide(d, client.Deny, "not today")
			w.finish(s)
			told(t, a, "not today")
		})
	}
}

// TestTokenOfNobody: a token that was not given, and one from beside the client,
// show nothing.
func TestTokenOfNobody(t *testing.T) {
	w, settings := newBashWorld(t)
	a := serve(t, bash("sed -i s/Shop/Store/ README.md"))
	s := w.startBare(a, "--settings", settings)
	d := w.pending()
	result := exec.Command(filepath.Join(bin, "mcpguard"), "result", "AAAAAAAAAAAAAAAAAAAAAAAAAA")
	result.Dir, result.Env = w.project, w.env()
	out, err := result.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "knows of none that it stands for") {
		t.Errorf("%v\n%s", err, out)
	}
	w.decide(d, client.Allow, "go on")
	w.finish(s)
	if w.read("README.md") != "# Store\n" {
		t.Errorf("%s", w.read("README.md"))
	}
}
