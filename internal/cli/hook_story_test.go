package cli_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/diff"
)

// TestHooksReadAndWrite: reads pass, a write waits, is seen as a diff, and is
// verified once the client has reported it.
func TestHooksReadAndWrite(t *testing.T) {
	c := newClaude(t)
	path := c.write("src/a.txt", "one\ntwo\n")
	c.write(".git/HEAD", "ref: refs/heads/feature/x\n")
	c.ask("Read", fields{"file_path": path}).wait(true, "")
	c.ask("TodoWrite", fields{"todos": []string{"a"}}).wait(true, "")
	if _, _, code := c.run(c.event("UserPromptSubmit", fields{"prompt": "make it so"}), "mcpguardd", "hook", "post"); code != 0 {
		t.Errorf("prompt: %d", code)
	}
	edit := fields{"file_path": path, "old_string": "two", "new_string": "TWO", "replace_all": false}
	u := c.ask("Edit", edit)
	d := c.pending(1)
	if d.Server != "native" || d.Tool != "Edit" || d.Target != "src/a.txt" || !strings.Contains(d.Diff.Text, "-two\n+TWO\n") || d.CorrelationID != u.id {
		t.Errorf("%+v", d)
	}
	if x := d.Context; x.ClientSession != "conversation" || x.Branch != "feature/x" || x.Worktree != c.ws ||
		x.PromptSHA256 != diff.Sum([]byte("make it so")).String() {
		t.Errorf("context %+v", x)
	}
	c.decide(d, "allow")
	u.wait(true, "")
	c.becomes(d.ID, client.Executing)
	c.write("src/a.txt", "one\nTWO\n")
	u.report("PostToolUse", nil)
	if got := c.becomes(d.ID, client.Executed); got.Receipt == nil || got.Receipt.ReadBack != "verified" {
		t.Errorf("receipt %+v", got.Receipt)
	}
	out, _, _ := c.run("", "mcpguardd", "audit", "export")
	if !strings.Contains(out, d.Context.PromptSHA256) || d.Context.PromptSHA256 == "" {
		t.Error("the log does not name the prompt")
	}
}

// TestHooksDeny: the model reads the reviewer's words, and what the policy does
// not name is refused.
func TestHooksDeny(t *testing.T) {
	c := newClaude(t)
	path := c.write("a.txt", "one\n")
	u := c.ask("Write", fields{"file_path": path, "content": "x\n"})
	c.decide(c.pending(1), "deny")
	u.wait(false, "because I say so")
	c.ask("Teleport", fields{}).wait(false, "does not name this tool")
	c.ask("Write", fields{"file_path": "/etc/passwd", "content": "x"}).wait(false, "outside of the workspace")
	c.ask("Write", fields{"file_path": filepath.Join(c.ws, ".git/config"), "content": "x"}).wait(false, "off limits")
	c.ask("Edit", fields{"file_path": path, "old_string": "nothere", "new_string": "x"}).wait(false, "is not in")
	c.ask("Edit", fields{"file_path": path, "old_string": "one", "new_string": "x", "fuzzy": true}).wait(false, "denied")
	c.ask("mcp__unguarded__write", fields{}).wait(false, "does not name this tool")
	if b, err := os.ReadFile(path); err != nil || string(b) != "one\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestHooksDiverged: what the file became is not what was approved.
func TestHooksDiverged(t *testing.T) {
	c := newClaude(t)
	path := c.write("a.txt", "one\n")
	u := c.ask("Write", fields{"file_path": path, "content": "x\n"})
	d := c.pending(1)
	c.decide(d, "allow")
	u.wait(true, "")
	c.write("a.txt", "something else\n")
	u.report("PostToolUse", nil)
	if got := c.becomes(d.ID, client.Executed); got.Receipt.ReadBack != "diverged" {
		t.Errorf("%+v", got.Receipt)
	}
	c.alert("diverged")

	// Another hook of the client changed the input after it was approved.
	u = c.ask("Bash", fields{"command": "true"})
	d = c.pending(1)
	c.decide(d, "allow")
	u.wait(true, "")
	u.input = fields{"command": "rm -rf ."}
	u.report("PostToolUse", nil)
	c.becomes(d.ID, client.Failed)
	c.alert("input_changed")
}

// TestHooksStale: the file moves after the reviewer looked, so it is asked for
// again.
func TestHooksStale(t *testing.T) {
	c := newClaude(t)
	path := c.write("a.txt", "one\n")
	u := c.ask("Edit", fields{"file_path": path, "old_string": "one", "new_string": "1"})
	d := c.pending(1)
	c.write("a.txt", "zero\none\n")
	c.decide(d, "allow")
	fresh := c.becomes(d.ID, client.Stale).ReplacedBy
	d = c.pending(1)
	if d.ID != fresh || !strings.Contains(d.Diff.Text, " zero\n-one\n+1\n") {
		t.Errorf("%+v", d)
	}
	c.decide(d, "allow")
	u.wait(true, "")
}

// TestHooksContested: two that wait to change one file are shown as such, both.
func TestHooksContested(t *testing.T) {
	c := newClaude(t)
	path := c.write("a.txt", "one\ntwo\n")
	one := c.ask("Edit", fields{"file_path": path, "old_string": "one", "new_string": "1"})
	first := c.pending(1)
	if len(first.Hazards) != 0 {
		t.Errorf("%+v", first.Hazards)
	}
	two := c.ask("Edit", fields{"file_path": path, "old_string": "two", "new_string": "2"})
	second := c.pending(2)
	list, err := c.api.ListAll(t.Context(), client.Filter{Status: []string{client.Pending}})
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	for _, a := range list {
		if len(a.Hazards) != 1 || a.Hazards[0].Kind != "contested" {
			t.Errorf("%+v", a.Hazards)
		}
	}
	if len(second.Hazards) != 1 || !strings.Contains(second.Hazards[0].Text, first.ID) {
		t.Errorf("%+v", second.Hazards)
	}
	c.decide(first, "deny")
	one.wait(false, "")
	if d := c.pending(1); len(d.Hazards) != 0 {
		t.Errorf("%+v", d.Hazards)
	}
	c.decide(second, "deny")
	two.wait(false, "")
}

// TestHooksExpire: nobody decides in the approval's time, or in the hook's own.
func TestHooksExpire(t *testing.T) {
	c := newClaude(t, "time_boxes: {T1_REVERSIBLE_WRITE: {ttl: 5s}}")
	path := c.write("a.txt", "one\n")
	c.ask("Write", fields{"file_path": path, "content": "x"}).wait(false, "expired")

	u := c.ask("Bash", fields{"command": "true"}, "--timeout", "1")
	u.wait(false, "before the client's own timeout")
	if u.code != 2 {
		t.Errorf("status %d", u.code)
	}
	if list, err := c.api.ListAll(t.Context(), client.Filter{Status: []string{client.Cancelled, client.Pending}}); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	} else {
		c.becomes(list[0].ID, client.Cancelled)
	}
}

// TestHooksWithoutDaemon: a daemon that cannot be started, or dies while a call
// waits, allows nothing; a report never stands in the way.
func TestHooksWithoutDaemon(t *testing.T) {
	c := newClaude(t)
	u := c.ask("Bash", fields{"command": "true"})
	c.pending(1)
	status, err := c.api.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(status.PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	u.wait(false, "daemon")
	if u.code != 2 {
		t.Errorf("status %d", u.code)
	}
	u.report("PostToolUse", nil)

	c.env[0] = "MCPGUARD_HOME=/proc/nowhere" // where none can be started
	u = c.ask("Read", fields{"file_path": "/x"})
	u.wait(false, "")
	if u.code != 2 {
		t.Errorf("status %d", u.code)
	}
	u.report("PostToolUse", nil)
	c.env[0] = "MCPGUARD_HOME=" + c.home

	// No section in the configuration: nothing is allowed.
	c.configure("roots: [/]\n")
	c.ask("Read", fields{"file_path": "/x"}).wait(false, "native")
}

// TestHooksFailure: the tool failed, was let go unreported, or the client runs
// nothing any more.
func TestHooksFailure(t *testing.T) {
	c := newClaude(t)
	u := c.ask("Bash", fields{"command": "exit 3", "description": "x"})
	d := c.pending(1)
	if d.Diff.Type != "exec" || !strings.Contains(d.Diff.Text, "exit 3") || !strings.Contains(d.Diff.Text, c.ws) || d.Tier != "T3_EXECUTE" {
		t.Errorf("%+v", d.Diff)
	}
	kinds := ""
	for _, h := range d.Hazards {
		kinds += h.Kind + " "
	}
	if kinds != "no_sandbox " {
		t.Errorf("hazards %s", kinds)
	}
	c.decide(d, "allow")
	u.wait(true, "")
	u.report("PostToolUseFailure", fields{"error": "Exit code 3", "is_interrupt": false})
	c.becomes(d.ID, client.Failed)

	// The client never says how a write ended, and says that its turn is over: it
	// is read back.
	path := c.write("a.txt", "one\n")
	u = c.ask("Write", fields{"file_path": path, "content": "x\n"})
	d = c.pending(1)
	c.decide(d, "allow")
	u.wait(true, "")
	c.write("a.txt", "x\n")
	c.run(c.event("Stop", nil), "mcpguardd", "hook", "post")
	if got := c.becomes(d.ID, client.Executed); !got.Receipt.Reconciled || got.Receipt.ReadBack != "verified" {
		t.Errorf("%+v", got.Receipt)
	}
	// And so where it changed nothing.
	u = c.ask("Write", fields{"file_path": path, "content": "y\n"})
	d = c.pending(1)
	c.decide(d, "allow")
	u.wait(true, "")
	c.run(c.event("Stop", nil), "mcpguardd", "hook", "post")
	if got := c.becomes(d.ID, client.Failed); got.Receipt.ReadBack != "untouched" {
		t.Errorf("%+v", got.Receipt)
	}
}

// TestHooksOneApproval: an action that a hook and a permission prompt both see
// is asked for once, and so is one that a guarded server will see.
func TestHooksOneApproval(t *testing.T) {
	c := newClaude(t, "servers: {files: {builtin: workspace}}")
	path := c.write("a.txt", "one\n")
	input := fields{"file_path": path, "content": "x\n"}
	u := c.ask("Write", input)
	d := c.pending(1)
	c.next-- // the same use, from a second hook
	twin := c.ask("Write", input)
	prompts := c.connect("permission")
	prompt := make(chan string)
	go func() { // ends with the answer
		a, err := prompts.Call(context.Background(), "approve", fields{"tool_name": "Write", "input": input, "tool_use_id": u.id})
		if err != nil {
			a.Text = err.Error()
		}
		prompt <- a.Text
	}()
	c.pending(1)
	c.decide(d, "allow")
	u.wait(true, "")
	twin.wait(true, "")
	if got := <-prompt; got != `{"behavior":"allow","updatedInput":{"content":"x\n","file_path":`+quoted(path)+`}}` {
		t.Errorf("prompt: %s", got)
	}
	c.write("a.txt", "x\n")
	u.report("PostToolUse", nil)
	c.becomes(d.ID, client.Executed)
	c.next-- // it has run: once
	c.ask("Write", input).wait(false, "has run already")

	// A tool of a server that passes the guard is let through at once: that
	// server's session asks.
	c.ask("mcp__files__write_file", fields{"path": "a"}).wait(false, "does not name this tool")
	c.connect("files")
	u = c.ask("mcp__files__write_file", fields{"path": "a"})
	u.wait(true, "")
	u.report("PostToolUse", nil) // and the guard never saw it
	c.alert("unguarded_tool")
}

// TestPermissionPrompts: a client without hooks asks in the same queue.
func TestPermissionPrompts(t *testing.T) {
	c := newClaude(t)
	path := c.write("a.txt", "one\n")
	prompts := c.connect("permission")
	call := func(tool string, input fields) chan string {
		out := make(chan string, 1)
		c.next++
		args := fields{"tool_name": tool, "input": input, "tool_use_id": "toolu_p" + string(rune('a'+c.next))}
		go func() { // ends with the answer
			a, err := prompts.Call(context.Background(), "approve", args)
			if err != nil {
				a.Text = err.Error()
			}
			out <- a.Text
		}()
		return out
	}
	w := call("Write", fields{"file_path": path, "content": "<x>\n"})
	d := c.pending(1)
	c.decide(d, "allow")
	if got := <-w; !strings.Contains(got, `"behavior":"allow"`) {
		t.Errorf("got %s", got)
	}
	c.write("a.txt", "<x>\n")
	if got := c.becomes(d.ID, client.Executed); !got.Receipt.Reconciled || got.Receipt.ReadBack != "verified" { // read back: nobody reports
		t.Errorf("%+v", got.Receipt)
	}
	w = call("Bash", fields{"command": "true"})
	c.decide(c.pending(1), "deny")
	if got := <-w; !strings.Contains(got, `"behavior":"deny"`) || !strings.Contains(got, "because I say so") {
		t.Errorf("got %s", got)
	}
	w = call("Bash", fields{"command": "true"})
	d = c.pending(1)
	c.decide(d, "allow")
	<-w
	if got := c.becomes(d.ID, client.Executed); got.Receipt.ReadBack != "unverifiable" {
		t.Errorf("%+v", got.Receipt)
	}
	if got := <-call("Read", fields{"file_path": path}); !strings.Contains(got, "allow") {
		t.Errorf("got %s", got)
	}
	if got := <-call("", nil); !strings.Contains(got, "deny") {
		t.Errorf("got %s", got)
	}
}

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
	if out, errs, code := c.run(event, "sh", "-c", doc.Hooks["PreToolUse"][0].Hooks[0].Command); code != 0 || !strings.Contains(out, `"allow"`) {
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
