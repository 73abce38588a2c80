package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/demo"
	"github.com/mcpguard/mcpguard/internal/diff"
)

// claude stands for a Claude Code whose settings have the guard's hooks: it runs
// them as processes, and then does itself what they let it do.
type claude struct {
	t        *testing.T
	home, ws string
	env      []string
	api      *client.Client
	config   string
	next     int
}

func newClaude(t *testing.T, lines ...string) *claude {
	t.Helper()
	home, err := os.MkdirTemp("", "mg")
	if err != nil {
		t.Fatal(err)
	}
	ws, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd() // this process is the client, and works here
	if err != nil {
		t.Fatal(err)
	}
	c := &claude{t: t, home: home, ws: ws, config: filepath.Join(home, "config.yaml"),
		env: []string{"MCPGUARD_HOME=" + home, "HOME=" + ws, "PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"), "NO_COLOR=1"}}
	c.configure("roots: ["+quoted(here)+"]\napprovers: {unsigned: any}\nnative:\n  workspaces: ["+quoted(ws)+"]\n", lines...)
	c.api = client.New(filepath.Join(home, "approver.sock"))
	t.Cleanup(func() {
		c.api.Close()
		c.run("", "mcpguardd", "stop")
		if t.Failed() {
			if log, err := os.ReadFile(filepath.Join(home, "guard.log")); err == nil {
				t.Logf("%s", log)
			}
		}
		os.RemoveAll(home)
	})
	return c
}

func quoted(s string) string { b, _ := json.Marshal(s); return string(b) }

func (c *claude) configure(text string, lines ...string) {
	if err := os.WriteFile(c.config, []byte("version: 1\n"+text+strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// run runs a program and returns what it says and how it ends.
func (c *claude) run(stdin, name string, args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
	if name == "sh" {
		cmd = exec.CommandContext(ctx, "/bin/sh", args...)
	}
	cmd.Env, cmd.Dir, cmd.Stdin = c.env, c.ws, strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the code says it
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

type fields = map[string]any

func (c *claude) event(name string, more fields) string {
	e := fields{"session_id": "conversation", "transcript_path": "/t", "cwd": c.ws, "prompt_id": "p", "permission_mode": "default", "hook_event_name": name}
	for k, v := range more {
		e[k] = v
	}
	b, err := json.Marshal(e)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// toolUse is one tool that the model wants to run.
type toolUse struct {
	c     *claude
	id    string
	tool  string
	input fields
	done  chan struct{}
	allow bool
	words string // of a denial
	code  int
}

// ask runs the hook before a tool, as the settings name it.
func (c *claude) ask(tool string, input fields, more ...string) *toolUse {
	c.next++
	u := &toolUse{c: c, id: "toolu_" + string(rune('a'+c.next)), tool: tool, input: input, done: make(chan struct{})}
	event := c.event("PreToolUse", fields{"tool_name": tool, "tool_input": input, "tool_use_id": u.id})
	go func() { // ends with the hook
		defer close(u.done)
		out, errs, code := c.run(event, "sh", "-c", filepath.Join(bin, "mcpguardd")+" hook pre "+strings.Join(more, " ")+" || exit 2")
		u.words, u.code = errs, code
		var answer struct {
			Specific struct{ HookEventName, PermissionDecision, PermissionDecisionReason string } `json:"hookSpecificOutput"`
		}
		if code != 0 || json.Unmarshal([]byte(out), &answer) != nil {
			return
		}
		u.allow = answer.Specific.PermissionDecision == "allow" && answer.Specific.HookEventName == "PreToolUse"
		u.words = answer.Specific.PermissionDecisionReason
	}()
	return u
}

func (u *toolUse) wait(allow bool, words string) {
	u.c.t.Helper()
	select {
	case <-u.done:
	case <-time.After(patience):
		u.c.t.Fatalf("%s: the hook does not answer", u.tool)
	}
	if u.allow != allow || !strings.Contains(u.words, words) {
		u.c.t.Fatalf("%s: allow %v (%d), %q; want %v, %q", u.tool, u.allow, u.code, u.words, allow, words)
	}
	if !allow && u.code != 0 && u.code != 2 {
		u.c.t.Fatalf("%s: status %d would let the tool run", u.tool, u.code)
	}
}

// report runs the hook after a tool.
func (u *toolUse) report(name string, more fields) {
	u.c.t.Helper()
	e := fields{"tool_name": u.tool, "tool_input": u.input, "tool_use_id": u.id, "tool_response": fields{}}
	for k, v := range more {
		e[k] = v
	}
	if out, errs, code := u.c.run(u.c.event(name, e), "mcpguardd", "hook", "post"); code != 0 || out+errs != "" {
		u.c.t.Fatalf("post: %d, %q, %q", code, out, errs)
	}
}

// pending waits until n approvals wait, and returns the newest.
func (c *claude) pending(n int) client.Detail {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, err := range c.api.Watch(ctx) {
		if err != nil {
			c.t.Fatal(err)
		}
		list, err := c.api.ListAll(ctx, client.Filter{Status: []string{client.Pending}, Oldest: true})
		if err != nil || len(list) != n {
			continue
		}
		d, err := c.api.Get(ctx, list[n-1].ID)
		if err != nil {
			c.t.Fatal(err)
		}
		return d
	}
	c.t.Fatalf("there are not %d approvals", n)
	return client.Detail{}
}

// becomes waits until an approval has a status.
func (c *claude) becomes(id, status string) client.Detail {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	last := client.Detail{}
	for _, err := range c.api.Watch(ctx) {
		if err != nil {
			c.t.Fatal(err)
		}
		if d, err := c.api.Get(ctx, id); err == nil {
			if last = d; d.Status == status {
				return d
			}
		}
	}
	c.t.Fatalf("%s is %s, not %s", id, last.Status, status)
	return last
}

func (c *claude) decide(d client.Detail, verb string, args ...string) {
	c.t.Helper()
	if verb == "allow" {
		args = append(args, "--digest", d.Digest)
	}
	if _, errs, code := c.run("", "approve", append([]string{verb, d.ID, "--reason", "because I say so"}, args...)...); code != 0 {
		c.t.Fatalf("approve %s: %s", verb, errs)
	}
}

func (c *claude) alert(kind string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, err := range c.api.Watch(ctx) {
		if err != nil {
			c.t.Fatal(err)
		}
		list, err := c.api.Alerts(ctx, false)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, a := range list {
			if a.Kind == kind {
				return
			}
		}
	}
	c.t.Fatalf("no alert of kind %s", kind)
}

func (c *claude) write(name, text string) string {
	c.t.Helper()
	path := filepath.Join(c.ws, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
	return path
}

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

// connect starts a shim as a client does, and opens its session.
func (c *claude) connect(server string) *demo.Agent {
	c.t.Helper()
	cmd := exec.Command(filepath.Join(bin, "mcpguardd"), "stdio", server)
	cmd.Env, cmd.Stderr = c.env, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // its end is the session's
	})
	a := demo.NewAgent(out, in)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.Initialize(ctx, "story-claude"); err != nil {
		c.t.Fatal(err)
	}
	return a
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
