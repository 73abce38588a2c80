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
		c.run("", "mcpguardd", "stop", "--force")
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
	says  string // "allow", "deny", "" for no decision
	words string // of a decision
	code  int
}

// ask runs the hook before a tool, as the settings name it.
func (c *claude) ask(tool string, input fields, more ...string) *toolUse {
	c.next++
	u := &toolUse{c: c, id: "toolu_" + string(rune('a'+c.next)), tool: tool, input: input, done: make(chan struct{})}
	event := c.event("PreToolUse", fields{"tool_name": tool, "tool_input": input, "tool_use_id": u.id})
	go func() { // ends with the hook
		defer close(u.done)
		out, errs, code := c.run(event, "sh", "-c", filepath.Join(bin, "mcpguard")+" hook pre "+strings.Join(more, " ")+" || exit 2")
		u.says, u.words, u.code = "deny", errs, code
		var answer struct {
			Specific struct{ HookEventName, PermissionDecision, PermissionDecisionReason string } `json:"hookSpecificOutput"`
		}
		if code != 0 || json.Unmarshal([]byte(out), &answer) != nil {
			return
		}
		u.says, u.words = answer.Specific.PermissionDecision, answer.Specific.PermissionDecisionReason
		if u.says != "" && answer.Specific.HookEventName != "PreToolUse" {
			u.says = "an answer to " + answer.Specific.HookEventName
		}
	}()
	return u
}

// wait waits for the hook's answer: "allow", "deny", or "" where it decides
// nothing.
func (u *toolUse) wait(want, words string) {
	u.c.t.Helper()
	select {
	case <-u.done:
	case <-time.After(patience):
		u.c.t.Fatalf("%s: the hook does not answer", u.tool)
	}
	if u.says != want || !strings.Contains(u.words, words) {
		u.c.t.Fatalf("%s: %q (%d), %q; want %q, %q", u.tool, u.says, u.code, u.words, want, words)
	}
	if want == "deny" && u.code != 0 && u.code != 2 {
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
	if out, errs, code := u.c.run(u.c.event(name, e), "mcpguard", "hook", "post"); code != 0 || out+errs != "" {
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

// connect starts a shim as a client does, and opens its session.
func (c *claude) connect(server string) *demo.Agent {
	c.t.Helper()
	cmd := exec.Command(filepath.Join(bin, "mcpguard"), "stdio", server)
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
