package cli_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestShimStartsBeforeTheRest holds the order of initialisation that
// internal/shim/express relies on: where a daemon answers, `mcpguardd stdio` has
// handed the session over before anything slow is initialised. A client waits
// for this command at each start, for each server.
func TestShimStartsBeforeTheRest(t *testing.T) {
	home, err := os.MkdirTemp("", "mg")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	run := func(env string, args ...string) string {
		cmd := exec.Command(filepath.Join(bin, "mcpguardd"), args...)
		cmd.Env = []string{env, "MCPGUARD_HOME=" + home, "HOME=" + home, "PATH=" + os.Getenv("PATH")}
		cmd.Stdin = strings.NewReader("") // a pipe, as a client's is
		var stderr, stdout bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, stderr.String())
		}
		return stderr.String()
	}
	trace := func(args ...string) string { return run("GODEBUG=inittrace=1", args...) }
	run("X=", "add", "files", "--builtin", "workspace", "--workspace", home)
	run("X=", "stdio", "files") // starts the daemon
	defer run("X=", "stop")
	slow := []string{"init google.golang.org/protobuf", "init cel.dev/cel-go/parser", "init github.com/santhosh-tekuri/jsonschema", "init github.com/mark3labs/mcp-go"}
	full := trace("--version")
	for _, s := range slow {
		if !strings.Contains(full, s) {
			t.Fatalf("the trace of --version does not name %q: this test looks for the wrong thing\n%s", s, full)
		}
	}
	got := trace("stdio", "files")
	for _, s := range slow {
		if strings.Contains(got, s) {
			t.Errorf("`mcpguardd stdio` waited for %q", s)
		}
	}
}
