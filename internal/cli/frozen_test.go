package cli_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFrozenDaemon: while the daemon is stopped by a signal, no command hangs.
// A hook keeps its own deadline and leaves none of the client's descriptors
// open, and each command names the process and says what to do.
func TestFrozenDaemon(t *testing.T) {
	c := newClaude(t)
	path := c.write("a.txt", "one\n")
	c.ask("Read", fields{"file_path": path}).wait("", "") // starts it
	s, err := c.api.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(s.PID, syscall.SIGCONT)

	began := time.Now()
	cmd := exec.Command("/bin/sh", "-c", filepath.Join(bin, "mcpguard")+" hook pre --timeout 2 || exit 2")
	cmd.Env, cmd.Dir = c.env, c.ws
	cmd.Stdin = strings.NewReader(c.event("PreToolUse", fields{"tool_name": "Write", "tool_use_id": "use", "tool_input": fields{"file_path": path, "content": "x\n"}}))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	errs, err := os.Create(filepath.Join(c.ws, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	cmd.Stdout, cmd.Stderr = w, errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	r.SetReadDeadline(time.Now().Add(patience))
	if out, err := io.ReadAll(r); err != nil || len(out) > 0 {
		t.Errorf("the hook's output: %q, %v", out, err)
	}
	cmd.Wait()
	if took := time.Since(began); took > 8*time.Second { // its own two, and a busy machine
		t.Errorf("the hook took %s", took)
	}
	said, err := os.ReadFile(errs.Name())
	if err != nil || cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(said), "kill -CONT") {
		t.Errorf("the hook ended with %d: %s, %v", cmd.ProcessState.ExitCode(), said, err)
	}
	for _, words := range []string{"mcpguardd status", "mcpguardd stop", "mcpguardd audit verify", "approve --list", "approve pause all --reason because", "mcpguardd doctor"} {
		name, args, _ := strings.Cut(words, " ")
		out, errs, code := c.run("", name, strings.Fields(args)...)
		if code == 0 || code == -1 || !strings.Contains(out+errs, "kill -CONT") {
			t.Errorf("%s: %d, %s%s", words, code, out, errs)
		}
	}
	if out, errs, code := c.run("", "mcpguardd", "stop", "--force"); code != 0 || !strings.Contains(out, "stopped") {
		t.Errorf("stop --force: %d, %s%s", code, out, errs)
	}
}

// TestEntriesOfEarlierVersions start the daemon's program, with the one for
// clients beside it and without.
func TestEntriesOfEarlierVersions(t *testing.T) {
	alone := t.TempDir()
	program, err := os.ReadFile(filepath.Join(bin, "mcpguardd"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(alone, "mcpguardd"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{bin, alone} {
		c := newClaude(t)
		run := func(stdin string, args ...string) (string, int) {
			cmd := exec.Command(filepath.Join(folder, "mcpguardd"), args...)
			cmd.Env, cmd.Stdin = c.env, strings.NewReader(stdin)
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil {
				t.Fatal(err)
			}
			return string(out), cmd.ProcessState.ExitCode()
		}
		event := c.event("PreToolUse", fields{"tool_name": "Teleport", "tool_use_id": "use", "tool_input": fields{}})
		if out, code := run(event, "hook", "pre", "--timeout", "30"); code != 0 || !strings.Contains(out, `"deny"`) {
			t.Errorf("a question: %d, %s", code, out)
		}
		if out, code := run(c.event("Stop", nil), "hook", "post"); code != 0 || out != "" {
			t.Errorf("a report: %d, %s", code, out)
		}
		if out, code := run(event, "hook", "pre", "--timeout", "x"); code != 2 {
			t.Errorf("a wrong question: %d, %s", code, out)
		}
		if out, code := run(`{"jsonrpc":"2.0","id":1,"method":"ping"}`+"\n", "stdio", "none"); code != 4 || !strings.Contains(out, `no server`) {
			t.Errorf("a server: %d, %s", code, out)
		}
	}
}
