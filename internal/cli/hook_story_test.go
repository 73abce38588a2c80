package cli_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/digest"
)

// TestHooksReadAndWrite: reads pass, a write waits, is seen as a diff, and is
// verified once the client has reported it.
func TestHooksReadAndWrite(t *testing.T) {
	c := newClaude(t)
	path := c.write("src/a.txt", "one\ntwo\n")
	c.write(".git/HEAD", "ref: refs/heads/feature/x\n")
	c.ask("Read", fields{"file_path": path}).wait("", "")
	c.ask("TodoWrite", fields{"todos": []string{"a"}}).wait("", "")
	if _, _, code := c.run(c.event("UserPromptSubmit", fields{"prompt": "make it so"}), "mcpguard", "hook", "post"); code != 0 {
		t.Errorf("prompt: %d", code)
	}
	edit := fields{"file_path": path, "old_string": "two", "new_string": "TWO", "replace_all": false}
	u := c.ask("Edit", edit)
	d := c.pending(1)
	if d.Server != "native" || d.Tool != "Edit" || d.Target != "src/a.txt" || !strings.Contains(d.Diff.Text, "-two\n+TWO\n") || d.CorrelationID != u.id {
		t.Errorf("%+v", d)
	}
	if x := d.Context; x.ClientSession != "conversation" || x.Branch != "feature/x" || x.Worktree != c.ws ||
		x.PromptSHA256 != digest.Sum([]byte("make it so")).String() {
		t.Errorf("context %+v", x)
	}
	c.decide(d, "allow")
	u.wait("allow", "")
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
	u.wait("deny", "because I say so")
	c.ask("Teleport", fields{}).wait("deny", "does not name this tool")
	c.ask("Write", fields{"file_path": "/etc/passwd", "content": "x"}).wait("deny", "outside of the workspace")
	c.ask("Write", fields{"file_path": filepath.Join(c.ws, ".git/config"), "content": "x"}).wait("deny", "off limits")
	c.ask("Edit", fields{"file_path": path, "old_string": "nothere", "new_string": "x"}).wait("deny", "is not in")
	c.ask("Edit", fields{"file_path": path, "old_string": "one", "new_string": "x", "fuzzy": true}).wait("deny", "denied")
	c.ask("mcp__unguarded__write", fields{}).wait("deny", "does not name this tool")
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
	u.wait("allow", "")
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
	u.wait("allow", "")
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
	u.wait("allow", "")
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
	one.wait("deny", "")
	if d := c.pending(1); len(d.Hazards) != 0 {
		t.Errorf("%+v", d.Hazards)
	}
	c.decide(second, "deny")
	two.wait("deny", "")
}

// TestHooksExpire: nobody decides in the approval's time, or in the hook's own.
func TestHooksExpire(t *testing.T) {
	c := newClaude(t, "time_boxes: {T1_REVERSIBLE_WRITE: {ttl: 5s}}")
	path := c.write("a.txt", "one\n")
	c.ask("Write", fields{"file_path": path, "content": "x"}).wait("deny", "expired")

	// The time counts from the start of the hook's process. On a busy machine it may
	// be over before the daemon has heard of the call, and then nothing waits: give
	// it more until something has.
	var waited []client.Approval
	for seconds := 1; len(waited) == 0; seconds *= 2 {
		if seconds > 60 {
			t.Fatal("no approval waited, however long the hook did")
		}
		u := c.ask("Bash", fields{"command": "true"}, "--timeout", strconv.Itoa(seconds))
		u.wait("deny", "before the client's own timeout")
		if u.code != 2 {
			t.Errorf("status %d", u.code)
		}
		var err error
		if waited, err = c.api.ListAll(t.Context(), client.Filter{Status: []string{client.Cancelled, client.Pending}}); err != nil {
			t.Fatal(err)
		}
	}
	c.becomes(waited[0].ID, client.Cancelled)
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
	u.wait("deny", "daemon")
	if u.code != 2 {
		t.Errorf("status %d", u.code)
	}
	u.report("PostToolUse", nil)

	c.env[0] = "MCPGUARD_HOME=/proc/nowhere" // where none can be started
	u = c.ask("Read", fields{"file_path": "/x"})
	u.wait("deny", "")
	if u.code != 2 {
		t.Errorf("status %d", u.code)
	}
	u.report("PostToolUse", nil)
	c.env[0] = "MCPGUARD_HOME=" + c.home

	// No section in the configuration: nothing is allowed.
	c.configure("roots: [/]\n")
	c.ask("Read", fields{"file_path": "/x"}).wait("deny", "native")
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
	if d.Claim != "x" {
		t.Errorf("the agent claims %q", d.Claim)
	}
	kinds := ""
	for _, h := range d.Hazards {
		kinds += h.Kind + " "
	}
	if kinds != "no_sandbox not_contained " { // the version of this client is not known
		t.Errorf("hazards %s", kinds)
	}
	c.decide(d, "allow")
	u.wait("allow", "")
	u.report("PostToolUseFailure", fields{"error": "Exit code 3", "is_interrupt": false})
	c.becomes(d.ID, client.Failed)

	// The client never says how a write ended, and says that its turn is over: it
	// is read back.
	path := c.write("a.txt", "one\n")
	u = c.ask("Write", fields{"file_path": path, "content": "x\n"})
	d = c.pending(1)
	c.decide(d, "allow")
	u.wait("allow", "")
	c.write("a.txt", "x\n")
	c.run(c.event("Stop", nil), "mcpguard", "hook", "post")
	if got := c.becomes(d.ID, client.Executed); !got.Receipt.Reconciled || got.Receipt.ReadBack != "verified" {
		t.Errorf("%+v", got.Receipt)
	}
	// And so where it changed nothing.
	u = c.ask("Write", fields{"file_path": path, "content": "y\n"})
	d = c.pending(1)
	c.decide(d, "allow")
	u.wait("allow", "")
	c.run(c.event("Stop", nil), "mcpguard", "hook", "post")
	if got := c.becomes(d.ID, client.Failed); got.Receipt.ReadBack != "untouched" {
		t.Errorf("%+v", got.Receipt)
	}
}

// TestHooksDecideNothingUnasked: what no human approved gets no decision from
// the hook, in each way in which the policy lets a call run by itself.
func TestHooksDecideNothingUnasked(t *testing.T) {
	c := newClaude(t, "  tools:\n    Write: {approval: {mode: post}}\n    Edit: {approval: {mode: post}}")
	path := c.write("a.txt", "one\n")
	for _, x := range []struct {
		tool  string
		input fields
	}{
		{"Read", fields{"file_path": "/etc/hostname"}},
		{"WebSearch", fields{"query": "x"}},
		{"Grep", fields{"pattern": "x"}},
		{"Write", fields{"file_path": path, "content": "x\n"}},
		{"Edit", fields{"file_path": path, "old_string": "one", "new_string": "two"}},
	} {
		u := c.ask(x.tool, x.input)
		u.wait("", "")
		if u.words != "" {
			t.Errorf("%s: no decision, and yet %q", x.tool, u.words)
		}
		u.report("PostToolUseFailure", fields{"error": "the user does not want it"})
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
	u.wait("allow", "")
	twin.wait("allow", "")
	if got := <-prompt; got != `{"behavior":"allow","updatedInput":{"content":"x\n","file_path":`+quoted(path)+`}}` {
		t.Errorf("prompt: %s", got)
	}
	c.write("a.txt", "x\n")
	u.report("PostToolUse", nil)
	c.becomes(d.ID, client.Executed)
	c.next-- // it has run: once
	c.ask("Write", input).wait("deny", "has run already")

	// A read runs without a human as far as the guard goes, so its hook decides
	// nothing; where the client then prompts for it, a human is asked.
	u = c.ask("Read", fields{"file_path": path})
	u.wait("", "")
	go func() { // ends with the answer
		a, err := prompts.Call(context.Background(), "approve", fields{"tool_name": "Read", "input": u.input, "tool_use_id": u.id})
		if err != nil {
			a.Text = err.Error()
		}
		prompt <- a.Text
	}()
	c.decide(c.pending(1), "deny")
	if got := <-prompt; !strings.Contains(got, `"behavior":"deny"`) || !strings.Contains(got, "because I say so") {
		t.Errorf("prompt: %s", got)
	}

	// A tool of a server that passes the guard is let through at once: that
	// server's session asks.
	c.ask("mcp__files__write_file", fields{"path": "a"}).wait("deny", "does not name this tool")
	c.connect("files")
	u = c.ask("mcp__files__write_file", fields{"path": "a"})
	u.wait("allow", "")
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
	// What the policy lets run the client asks a person about all the same: a
	// prompt is the client's own question.
	for verb, want := range map[string]string{"allow": `"behavior":"allow"`, "deny": `"behavior":"deny"`} {
		w = call("Read", fields{"file_path": path})
		d = c.pending(1)
		if d.Tool != "Read" || d.Tier != "T0_READ" {
			t.Errorf("asked for %s, %s", d.Tool, d.Tier)
		}
		c.decide(d, verb)
		if got := <-w; !strings.Contains(got, want) {
			t.Errorf("%s: got %s", verb, got)
		}
	}
	if got := <-call("", nil); !strings.Contains(got, "deny") {
		t.Errorf("got %s", got)
	}
}

// TestPermissionPromptsOutliveARestart: the session of a permission prompt server goes
// on with the next daemon; a prompt that waited is answered with an error.
func TestPermissionPromptsOutliveARestart(t *testing.T) {
	c := newClaude(t)
	path := c.write("a.txt", "one\n")
	prompts := c.connect("permission")
	args := fields{"tool_name": "Write", "input": fields{"file_path": path, "content": "two\n"}, "tool_use_id": "toolu_p1"}
	failed := make(chan error, 1)
	go func() { // ends with the answer
		_, err := prompts.Call(context.Background(), "approve", args)
		failed <- err
	}()
	c.pending(1)
	if _, errs, code := c.run("", "mcpguardd", "stop", "--force"); code != 0 {
		t.Fatalf("stop: %s", errs)
	}
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "was restarted") {
		t.Errorf("the prompt that waited: %v", err)
	}
	args["tool_use_id"] = "toolu_p2"
	answer := make(chan string, 1)
	go func() { // ends with the answer
		a, err := prompts.Call(context.Background(), "approve", args)
		if err != nil {
			a.Text = err.Error()
		}
		answer <- a.Text
	}()
	c.decide(c.pending(1), "allow")
	if got := <-answer; !strings.Contains(got, `"behavior":"allow"`) {
		t.Errorf("got %s", got)
	}
}
