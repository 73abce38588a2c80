package claude

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// The table of what is covered, in README.md, rests on the tests of this package;
// the columns are the client's own tools, tools of guarded servers, tools of others:
//
//	default, accept edits, auto, bypassed     TestModes, all three; also TestInteractive, TestHeadlessBypass
//	headless                                  TestHookAllowAndDeny; TestWriteApproved, TestWriteExpired; TestLookAlike
//	headless with --permission-prompt-tool    TestPermissionPrompt, all three; what the client's rules allow: TestNotCovered
//	the client's sandbox on                   TestSandboxOn; TestSandboxAndServers, both
//	without hooks                             TestNotCovered; TestWriteApproved; TestNotCovered
//	subagents                                 TestSubagent
//	hooks that fail                           TestHookDaemonDown, TestHookTimeout, TestPluginFailsClosed
//	commands in skills                        TestSkill; of those that are typed: TestNotCovered
//	behind "!", hooks switched off            TestNotCovered
//	the client's own settings                 TestOwnSettings

// alsoLoose gives the client a server beside the guarded one that does not pass
// the guard.
func (w *world) alsoLoose(guarded map[string]string) {
	w.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	servers := map[string]any{"loose": map[string]any{"type": "stdio", "command": exe, "args": []string{serverWord}, "alwaysLoad": true}}
	for name, server := range guarded {
		servers[name] = w.entry(server)
	}
	w.mcpServers(servers)
}

// refusedLoose checks that no tool of that server has run, and that the model
// was told so by the guard.
func (w *world) refusedLoose(a *api) {
	w.t.Helper()
	if _, err := os.Stat(filepath.Join(w.project, "crashed")); err == nil {
		w.t.Error("a tool of a server that is not guarded has run")
	}
	told(w.t, a, "loose is not known to pass the guard")
}

// TestModes: in each mode of the client its own tools and those of a guarded
// server wait for the guard, once, and none asks a second time: what the guard
// has allowed runs. Tools of another server are refused.
func TestModes(t *testing.T) {
	for _, mode := range []string{"default", "auto", "acceptEdits", "bypassPermissions"} {
		t.Run(mode, func(t *testing.T) {
			w, settings := newHookWorld(t)
			w.extra = []string{"IS_SANDBOX=1"} // without it the client refuses to bypass as root
			w.alsoLoose(map[string]string{"work": "work"})
			a := serve(t, call("Write", map[string]any{"file_path": filepath.Join(w.project, "a.txt"), "content": "a\n"}),
				call("Bash", map[string]any{"command": "touch made", "description": "make a file"}),
				call("mcp__work__write_file", map[string]any{"path": "b.txt", "content": "b\n"}),
				call("mcp__loose__crash", map[string]any{}))
			x := w.openClaude(a, os.Getenv("PATH"), "--settings", settings, "--permission-mode", mode, "--mcp-config", w.mcp, "--strict-mcp-config")
			d := w.pending()
			x.shows("mcpguard: look at approve")
			if _, err := os.Stat(filepath.Join(w.project, "a.txt")); err == nil {
				t.Error("the write did not wait")
			}
			w.decide(d, client.Allow, "a new file")
			w.decide(w.pending(), client.Deny, "not this one")
			d = w.pending()
			if _, err := os.Stat(filepath.Join(w.project, "b.txt")); err == nil || d.Tool != "write_file" {
				t.Errorf("%s did not wait: %v", d.Tool, err)
			}
			w.decide(d, client.Allow, "another file")
			x.shows("● done")
			if got := w.read("a.txt") + w.read("b.txt"); got != "a\nb\n" {
				t.Errorf("the files are %q", got)
			}
			if _, err := os.Stat(filepath.Join(w.project, "made")); err == nil {
				t.Error("a denied command has run")
			}
			told(t, a, "not this one")
			w.refusedLoose(a)
			all, err := w.api.ListAll(t.Context(), client.Filter{})
			if err != nil || len(all) != 3 {
				t.Errorf("%d approvals for three calls, %v", len(all), err)
			}
		})
	}
}

func TestHeadlessBypass(t *testing.T) {
	w, settings := newHookWorld(t)
	w.extra = []string{"IS_SANDBOX=1"}
	a := serve(t, call("Bash", map[string]any{"command": "touch made"}), call("mcp__work__delete_file", map[string]any{"path": "README.md"}))
	s := w.start(a, "--settings", settings, "--dangerously-skip-permissions")
	w.decide(w.pending(), client.Deny, "not this one")
	w.decide(w.pending(), client.Deny, "nor that one")
	w.finish(s)
	if _, err := os.Stat(filepath.Join(w.project, "made")); err == nil {
		t.Error("a denied command has run")
	}
	if got := w.read("README.md"); got != "# Shop\n" {
		t.Errorf("README.md is %q", got)
	}
	told(t, a, "not this one", "nor that one")
}

// TestNotCovered is what passes the guard by, as the documentation says.
func TestNotCovered(t *testing.T) {
	t.Run("a command behind !", func(t *testing.T) {
		w, settings := newHookWorld(t)
		a := serve(t)
		x := w.openClaude(a, os.Getenv("PATH"), "--settings", settings)
		x.shows("● done", "✻") // the turn has ended
		x.keys("!")
		x.shows("! for shell mode")
		x.keys("touch made; echo answer-$((40+2))")
		x.shows("40+2")
		x.keys("Enter")
		x.shows("answer-42")
		if _, err := os.Stat(filepath.Join(w.project, "made")); err != nil {
			t.Error("the guard holds it, so the documentation is wrong")
		}
	})
	t.Run("a skill that is typed", func(t *testing.T) {
		w, settings := newHookWorld(t)
		w.skill()
		a := serve(t)
		x := w.openClaude(a, os.Getenv("PATH"), "--settings", settings)
		x.shows("● done", "✻")
		x.keys("/greet ")
		x.shows("/greet")
		x.keys("Enter")
		x.shows("❯ /greet\n\n● done")
		if _, err := os.Stat(filepath.Join(w.project, "made")); err != nil {
			t.Error("the guard holds it, so the documentation is wrong")
		}
	})
	t.Run("hooks switched off", func(t *testing.T) {
		w := newWorld(t, "native:\n  preset: claude-native\n")
		install := exec.Command(filepath.Join(bin, "mcpguardd"), "hooks", "install", "--write")
		install.Dir, install.Env = w.project, w.env()
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		a := serve(t, call("Write", map[string]any{"file_path": filepath.Join(w.project, "a.txt"), "content": "a\n"}))
		w.finish(w.start(a, "--settings", `{"disableAllHooks": true}`, "--allowedTools", "Write"))
		if got := w.read("a.txt"); got != "a\n" {
			t.Errorf("a.txt is %q, so the documentation is wrong", got)
		}
	})
	t.Run("what the client's rules allow, without hooks", func(t *testing.T) {
		w := newWorld(t, "native:\n  preset: claude-native\n")
		w.entries(map[string]string{"work": "work", "guard": "permission"})
		a := serve(t, call("Write", map[string]any{"file_path": filepath.Join(w.project, "a.txt"), "content": "a\n"}))
		w.finish(w.start(a, "--permission-prompt-tool", "mcp__guard__approve", "--allowedTools", "Write"))
		if got := w.read("a.txt"); got != "a\n" {
			t.Errorf("a.txt is %q, so the documentation is wrong", got)
		}
	})
	t.Run("a server that is not guarded, without hooks", func(t *testing.T) {
		w := newWorld(t, "")
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		w.mcpServers(map[string]any{"loose": map[string]any{"type": "stdio", "command": exe, "args": []string{serverWord}, "alwaysLoad": true}})
		a := serve(t, call("mcp__loose__crash", map[string]any{}))
		w.finish(w.start(a, "--allowedTools", "mcp__loose__crash"))
		if got := w.read("crashed"); got != "here\n" {
			t.Errorf("it did not run (%s), so the documentation is wrong", got)
		}
	})
}

// TestSubagent: what a subagent wants to do waits like anything else.
func TestSubagent(t *testing.T) {
	w, settings := newHookWorld(t)
	file := filepath.Join(w.project, "a.txt")
	a := serve(t, call("Agent", map[string]any{"description": "write a file", "prompt": "write it", "subagent_type": "general-purpose"}),
		call("Write", map[string]any{"file_path": file, "content": "a\n"}))
	s := w.start(a, "--settings", settings, "--allowedTools", "Write,Agent")
	d := w.pending()
	if d.Tool != "Write" {
		t.Errorf("asked for %s", d.Tool)
	}
	w.decide(d, client.Deny, "not by a subagent")
	w.finish(s)
	if _, err := os.Stat(file); err == nil {
		t.Error("a denied write was made")
	}
	told(t, a, "not by a subagent")
}

// skill writes a skill of the project whose text runs a command as it is loaded.
func (w *world) skill() {
	w.t.Helper()
	dir := filepath.Join(w.project, ".claude", "skills", "greet")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	text := "---\nname: greet\ndescription: say hello\nallowed-tools: Bash(touch:*)\n---\nIt says: !`touch " + filepath.Join(w.project, "made") + "`\n"
	if err := os.WriteFile(filepath.Join(dir, "SKILL.md"), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// TestSkill: the commands in a skill's text run without a hook, so the skill
// itself waits.
func TestSkill(t *testing.T) {
	w, settings := newHookWorld(t)
	w.skill()
	a := serve(t, call("Skill", map[string]any{"skill": "greet"}), call("Skill", map[string]any{"skill": "greet"}))
	s := w.start(a, "--settings", settings, "--allowedTools", "Skill,Bash")
	d := w.pending()
	if d.Tool != "Skill" || d.Tier != "T3_EXECUTE" || !strings.Contains(strings.Join(d.SideEffects, "\n"), "run as it is loaded") {
		t.Errorf("it is %s, %s: %q", d.Tool, d.Tier, d.SideEffects)
	}
	w.decide(d, client.Deny, "not this skill")
	d = w.pending()
	if _, err := os.Stat(filepath.Join(w.project, "made")); err == nil {
		t.Error("a denied skill has run its commands")
	}
	w.decide(d, client.Allow, "read it")
	w.finish(s)
	if _, err := os.Stat(filepath.Join(w.project, "made")); err != nil {
		t.Errorf("the approved skill has run nothing: %v; the model was told %v", err, a.told())
	}
	told(t, a, "not this skill")
}

// TestSkillInSkill: a skill that runs as an agent of its own loads another one
// before it has ended. Neither waits for the other.
func TestSkillInSkill(t *testing.T) {
	w, settings := newHookWorld(t)
	w.skill()
	dir := filepath.Join(w.project, ".claude", "skills", "outer")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "SKILL.md"), []byte("---\nname: outer\ndescription: greet by another\ncontext: fork\n---\nGreet.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	a := serve(t, call("Skill", map[string]any{"skill": "outer"}), call("Skill", map[string]any{"skill": "greet"}))
	s := w.start(a, "--settings", settings, "--allowedTools", "Skill,Bash")
	outer := w.pending()
	w.decide(outer, client.Allow, "read it")
	inner := w.pending()
	if !strings.Contains(inner.Diff.Text, "greet") {
		t.Errorf("asked for %s", inner.Diff.Text)
	}
	w.decide(inner, client.Allow, "read it too")
	w.finish(s)
	if _, err := os.Stat(filepath.Join(w.project, "made")); err != nil {
		t.Errorf("the inner skill has not run: %v; the model was told %v", err, a.told())
	}
}

// TestSandboxOn: with the client's own sandbox switched on and required, the
// approval of a command says that this is not seen by the guard, and there is
// one. Where the command asks to run without, or the settings leave a way out, it
// says so.
func TestSandboxOn(t *testing.T) {
	for _, tool := range []string{"bwrap", "socat"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(tool + ", which the client's sandbox needs, is not installed") // the client has no sandbox without; CI fails above
		}
	}
	for _, c := range []struct {
		title, sandbox string
		unconfined     bool
		want           string // hazard
		inside         bool   // of the sandbox
	}{
		{"on", `{"enabled": true, "failIfUnavailable": true}`, false, "client_sandbox not_contained ", true},
		{"asked to run without", `{"enabled": true, "failIfUnavailable": true}`, true, "unconfined not_contained ", false},
		{"not required", `{"enabled": true}`, false, "no_sandbox not_contained ", true},
		{"off", `{}`, false, "", false}, // it has run in the guard's
	} {
		t.Run(c.title, func(t *testing.T) {
			w, settings := newHookWorld(t)
			own := filepath.Join(w.project, ".claude", "settings.local.json")
			if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(own, []byte(`{"sandbox": `+c.sandbox+`}`), 0o600); err != nil {
				t.Fatal(err)
			}
			input := map[string]any{"command": "touch inside; touch " + filepath.Join(w.home, "outside")}
			if c.unconfined {
				input["dangerouslyDisableSandbox"] = true
			}
			a := serve(t, call("Bash", input))
			s := w.start(a, "--settings", settings, "--allowedTools", "Bash")
			d := w.pending()
			kinds := ""
			for _, h := range d.Hazards {
				kinds += h.Kind + " "
			}
			if kinds != c.want {
				t.Errorf("hazards %+v, want %q", d.Hazards, c.want)
			}
			w.decide(d, client.Allow, "let us see")
			w.finish(s)
			if c.unconfined { // the client asks its own question too, which nobody answers here
				told(t, a, "Run outside of the sandbox")
				return
			}
			if _, err := os.Stat(filepath.Join(w.project, "inside")); err != nil {
				t.Errorf("it did not run: %v; the model was told %v", err, a.told())
			}
			if _, err := os.Stat(filepath.Join(w.home, "outside")); (err == nil) == c.inside {
				t.Errorf("in the sandbox: %v, want %v; the model was told %v", err != nil, c.inside, a.told())
			}
		})
	}
}

// TestSandboxAndServers: with the client's sandbox on, a guarded server's tool
// waits like everywhere, and is not held by the sandbox; another server's is
// refused.
func TestSandboxAndServers(t *testing.T) {
	w, settings := newHookWorld(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	add := exec.Command(filepath.Join(bin, "mcpguardd"), "add", "frail", "--", exe, serverWord)
	add.Dir, add.Env = w.project, w.env()
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.alsoLoose(map[string]string{"frail": "frail"})
	own := filepath.Join(w.project, ".claude", "settings.local.json")
	if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, []byte(`{"sandbox": {"enabled": true, "failIfUnavailable": true}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	a := serve(t, call("mcp__frail__outside", map[string]any{}), call("mcp__loose__crash", map[string]any{}))
	s := w.start(a, "--settings", settings, "--allowedTools", "mcp__frail__outside,mcp__loose__crash")
	d := w.pending()
	outside := filepath.Join(w.home, "outside")
	if _, err := os.Stat(outside); err == nil || d.Server != "frail" {
		t.Errorf("%s did not wait: %v", d.Server, err)
	}
	w.decide(d, client.Allow, "let us see")
	w.finish(s)
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("the sandbox holds servers too, so the documentation is wrong: %v; the model was told %v", err, a.told())
	}
	w.refusedLoose(a)
}

// TestOwnSettings: a change of the client's own settings, by which it could take
// the hooks out, is held like any other, and as one that counts more.
func TestOwnSettings(t *testing.T) {
	w, settings := newHookWorld(t)
	file := filepath.Join(w.project, ".claude", "settings.json")
	a := serve(t, call("Write", map[string]any{"file_path": file, "content": "{\"disableAllHooks\": true}\n"}))
	s := w.start(a, "--settings", settings, "--allowedTools", "Write")
	d := w.pending()
	if d.Tier != "T2_IRREVERSIBLE_WRITE" || !strings.Contains(d.Diff.Text, "disableAllHooks") {
		t.Errorf("it is %s, and shows\n%s", d.Tier, d.Diff.Text)
	}
	w.decide(d, client.Deny, "the hooks stay")
	w.finish(s)
	if _, err := os.Stat(file); err == nil {
		t.Error("a denied write was made")
	}
}
