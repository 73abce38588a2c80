package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// envClient makes this test binary a client with hooks: what it is to do comes
// as lines of JSON, what the model was told goes out likewise.
const envClient = "MCPGUARD_E2E_CLIENT"

// task is one command of the model, or one line that is run again.
type task struct {
	ID      string
	Command string
	Line    string        // run only this
	Kill    string        // "hook" or "line": which process to kill
	After   time.Duration // and when, counted from its start
}

// end is what became of a task, as the client sees it.
type end struct {
	Denied string // the hook's reason
	Failed bool   // the hook was killed; the client blocks the tool
	Line   string // what it ran in place of the command
	Code   int
	Killed bool // the line was
	Stdout string
	Stderr string
}

// bashClient serves tasks until its standard input ends.
func bashClient() int {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var t task
		if err := in.Decode(&t); errors.Is(err, io.EOF) {
			return 0
		} else if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := out.Encode(t.do()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
}

func (t task) do() (e end) {
	if t.Line != "" {
		e.Line = t.Line
		t.run(&e, false)
		return e
	}
	input := map[string]any{"command": t.Command, "description": "do it"}
	stdout, stderr, code, killed := t.start(t.Kill == "hook", t.event("PreToolUse", input), program("mcpguard"), "hook", "pre")
	switch {
	case killed:
		e.Failed = true
		return e
	case code == 2:
		e.Denied = stderr
		return e
	}
	var answer struct {
		Out struct {
			Decision string `json:"permissionDecision"`
			Reason   string `json:"permissionDecisionReason"`
			Input    struct {
				Command string `json:"command"`
			} `json:"updatedInput"`
		} `json:"hookSpecificOutput"`
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || answer.Out.Decision != "allow" || answer.Out.Input.Command == "" {
		e.Denied = answer.Out.Reason
		if e.Denied == "" {
			e.Denied = fmt.Sprintf("the hook said %q, %q and ended with %d", stdout, stderr, code)
		}
		return e
	}
	e.Line = answer.Out.Input.Command
	t.run(&e, t.Kill == "line")
	name, report := "PostToolUse", map[string]any{"command": e.Line, "description": "do it"}
	if e.Code != 0 || e.Killed {
		name = "PostToolUseFailure"
	}
	t.start(false, t.event(name, report), program("mcpguard"), "hook", "post")
	return e
}

func (t task) run(e *end, kill bool) {
	e.Stdout, e.Stderr, e.Code, e.Killed = t.start(kill, nil, "bash", "-c", e.Line)
}

// start runs a program as the client does and kills it in between if wanted.
func (t task) start(kill bool, stdin []byte, name string, args ...string) (stdout, stderr string, code int, killed bool) {
	var out, errs bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = patience // for what it may leave behind with its ends of the pipes
	if err := cmd.Start(); err != nil {
		return "", err.Error(), -1, false
	}
	if kill {
		timer := time.AfterFunc(t.After, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // it may have ended
		defer timer.Stop()
	}
	_ = cmd.Wait() // its state says more
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return out.String(), errs.String(), cmd.ProcessState.ExitCode(), status.Signaled()
}

func (t task) event(name string, input map[string]any) []byte {
	cwd, _ := os.Getwd() // the session's folder
	e := map[string]any{
		"hook_event_name": name, "session_id": "one", "transcript_path": filepath.Join(cwd, "none"), "cwd": cwd, "permission_mode": "default",
		"tool_name": "Bash", "tool_input": input, "tool_use_id": t.ID,
	}
	if name == "PostToolUseFailure" {
		e["error"] = "it failed"
	}
	return mustJSON(e)
}

// bashWire is a started client.
type bashWire struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// newBashClient starts a client that counts as Claude Code: its program lies in
// a package of that name.
func newBashClient(g *guard) *bashWire {
	g.t.Helper()
	dir := filepath.Join(filepath.Dir(g.home), "client")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		g.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		g.t.Fatal(err)
	}
	exe := filepath.Join(dir, "claude")
	if data, err := os.ReadFile(self); err != nil {
		g.t.Fatal(err)
	} else if err := os.WriteFile(exe, data, 0o700); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"name": "@anthropic-ai/claude-code-linux-x64", "version": "2.1.329"}`), 0o600); err != nil {
		g.t.Fatal(err)
	}
	w := &bashWire{t: g.t, cmd: exec.Command(exe)}
	w.cmd.Dir, w.cmd.Env, w.cmd.Stderr = g.work, g.environ(envClient+"="+programs), os.Stderr
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		g.t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	w.out = bufio.NewReader(out)
	if err := w.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(w.close)
	return w
}

func (w *bashWire) close() {
	w.in.Close()
	_ = w.cmd.Wait() // its exit code says nothing
}

// begin starts a task; the returned channel has its end.
func (w *bashWire) begin(t task) <-chan end {
	w.t.Helper()
	if _, err := w.in.Write(append(mustJSON(t), '\n')); err != nil {
		w.t.Fatal(err)
	}
	done := make(chan end, 1)
	go func() { // ends with the task, or with the client
		defer close(done)
		line, err := w.out.ReadBytes('\n')
		var e end
		if err == nil && json.Unmarshal(line, &e) == nil {
			done <- e
		}
	}()
	return done
}

func (w *bashWire) await(done <-chan end) end {
	w.t.Helper()
	select {
	case e, ok := <-done:
		if !ok {
			w.t.Fatal("the client has ended")
		}
		return e
	case <-time.After(patience):
		w.t.Fatal("the client does not come to an end")
	}
	return end{}
}

func (w *bashWire) do(t task) end {
	w.t.Helper()
	return w.await(w.begin(t))
}
