package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommandsFinishWithClosedOutput: a reader that goes away, such as head,
// ends the output but not the work.
func TestCommandsFinishWithClosedOutput(t *testing.T) {
	home, ws := t.TempDir(), t.TempDir()
	run := func(args ...string) {
		t.Helper()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		defer w.Close()
		cmd := exec.Command(filepath.Join(bin, "mcpguardd"), args...)
		cmd.Dir, cmd.Stdout = ws, w
		cmd.Env = []string{"MCPGUARD_HOME=" + home, "HOME=" + home, "PATH=/usr/bin:/bin"}
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			t.Errorf("%v: %v\n%s", args, err, stderr.String())
		}
	}
	has := func(name, text string) bool {
		data, err := os.ReadFile(filepath.Join(home, name))
		return err == nil && strings.Contains(string(data), text)
	}
	run("add", "files", "--builtin", "workspace")
	if !has("config.yaml", "files:") || !has("tools.lock", `"read_file"`) {
		t.Error("add wrote nothing")
	}
	if err := os.Remove(filepath.Join(home, "tools.lock")); err != nil {
		t.Fatal(err)
	}
	run("accept", "files")
	if !has("tools.lock", `"read_file"`) {
		t.Error("accept wrote nothing")
	}
	run("remove", "files")
	if has("config.yaml", "files:") {
		t.Error("remove wrote nothing")
	}
}
