package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// TestHookOfAKilledClientIsCancelled: a client that is killed cancels nothing by
// itself. Its question ends with it, whether the hook's answer has lost its
// reader or another process of the client holds on to it.
func TestHookOfAKilledClientIsCancelled(t *testing.T) {
	for name, reader := range map[string]string{"reader gone": "", "reader stays": " | cat"} {
		t.Run(name, func(t *testing.T) {
			c := newClaude(t)
			path := c.write("a.txt", "one\n")
			script := filepath.Join(c.ws, "client")
			event := c.event("PreToolUse", fields{"tool_name": "Write", "tool_use_id": "use", "tool_input": fields{"file_path": path, "content": "x\n"}})
			if err := os.WriteFile(script, []byte("#!/bin/sh\nprintf %s "+quotedWord(event)+" | "+filepath.Join(bin, "mcpguard")+" hook pre"+reader+"\nexit 0\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("/bin/sh", script)
			cmd.Env = c.env
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			d := c.pending(1)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if reader == "" {
				out.Close()
			}
			c.becomes(d.ID, client.Cancelled)
			out.Close()
			cmd.Wait()
		})
	}
}

// quotedWord is one word for a POSIX shell.
func quotedWord(s string) string { return "'" + s + "'" }
