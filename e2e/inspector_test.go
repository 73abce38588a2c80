package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// inspect runs the MCP Inspector's command line on a guarded server.
func (g *guard) inspect(server string, args ...string) (out []byte, errors string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, node(g.t, inspector), append([]string{"--cli", "-e", "MCPGUARD_HOME=" + g.home, program("mcpguard"), "stdio", server}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = g.work, g.environ(), &stdout, &stderr
	_ = cmd.Run() // an error of the tool is an exit code too; what it printed is looked at
	return stdout.Bytes(), stderr.String()
}

// TestInspector: the Inspector sees what policy allows and nothing else, reads,
// and shows a denial in the reviewer's words.
func TestInspector(t *testing.T) {
	t.Parallel()
	g, path := holding(t, "")
	g.configure("    preset: filesystem\n", "    preset: filesystem\n    tools:\n      directory_tree: {tier: NEVER, says: use list_directory}\n")

	out, errs := g.inspect("files", "--method", "tools/list")
	var list struct{ Tools []struct{ Name string } }
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("tools/list: %v\n%s%s", err, out, errs)
	}
	names := ""
	for _, tool := range list.Tools {
		names += tool.Name + " "
	}
	if len(list.Tools) != 13 || strings.Contains(names, "directory_tree") || !strings.Contains(names, "write_file") {
		t.Errorf("the Inspector sees %s", names)
	}

	out, errs = g.inspect("files", "--method", "tools/call", "--tool-name", "read_text_file", "--tool-arg", "path="+path)
	if r := (&wire{t: t}).reply([]byte(`{"result":` + string(out) + `}`)); r.text() != "one\n" {
		t.Errorf("a read gives %s%s", out, errs)
	}

	out, errs = g.inspect("files", "--method", "tools/call", "--tool-name", "directory_tree", "--tool-arg", "path="+g.work)
	if !strings.Contains(string(out)+errs, "not found") {
		t.Errorf("a tool that is never allowed gives %s%s", out, errs)
	}

	type outcome struct {
		out    []byte
		errors string
	}
	done := make(chan outcome, 1)
	go func() { // ends with the Inspector
		out, errs := g.inspect("files", "--method", "tools/call", "--tool-name", "write_file", "--tool-arg", "path="+path, "--tool-arg", "content=two")
		done <- outcome{out, errs}
	}()
	g.deny(g.one(), "we do not touch this one")
	o := <-done
	if !strings.Contains(string(o.out), "we do not touch this one") || g.read("a.txt") != "one\n" {
		t.Errorf("a denied write gives %s%s, and the file %q", o.out, o.errors, g.read("a.txt"))
	}
}
