package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// server is the tool of the module in server/.
const server = "github.com/modelcontextprotocol/go-sdk/conformance/everything-server"

// tools of the server, but for those that come and go while it runs.
var tools = []string{
	"test_simple_text", "test_image_content", "test_audio_content", "test_embedded_resource", "test_multiple_content_types",
	"test_tool_with_logging", "test_tool_with_progress", "test_error_handling", "test_sampling", "test_elicitation",
	"test_elicitation_sep1034_defaults", "test_elicitation_sep1330_enums", "json_schema_2020_12_tool", "test_reconnection", "test_x_mcp_header",
	"test_missing_capability", "test_streaming_elicitation", "test_logging_tool", "test_trigger_tool_change", "test_trigger_prompt_change",
	"test_input_required_result_elicitation", "test_input_required_result_sampling", "test_input_required_result_list_roots",
	"test_input_required_result_request_state", "test_input_required_result_multiple_inputs", "test_input_required_result_multi_round",
	"test_input_required_result_tampered_state", "test_input_required_result_capabilities",
}

// TestNoRequiredScenarioDiffers runs both requirement sets of the suite, which
// differ in the version of the protocol, directly and through the guard.
func TestNoRequiredScenarioDiffers(t *testing.T) {
	suite := installed(t)
	bin := t.TempDir()
	everything := filepath.Join(bin, "everything-server")
	build(t, "server", everything, server)
	build(t, "../..", bin+"/", "./cmd/mcpguardd", "./cmd/mcpguard")
	home := guarded(t, bin, everything)
	for set, least := range map[string]int{"2025-11-25": 30, "2026-07-28": 37} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			required := suite.required(t, set)
			if len(required) < least {
				t.Fatalf("the set requires %d scenarios of a server, want %d", len(required), least)
			}
			direct := newBridge(t, func() *exec.Cmd { return exec.Command(everything) })
			through := newBridge(t, func() *exec.Cmd { return program(bin, home, "stdio", "all") })
			var want, got map[string][]string
			var wantErr, gotErr error
			var both sync.WaitGroup
			both.Go(func() { want, wantErr = suite.run(t, set, direct.URL) })
			both.Go(func() { got, gotErr = suite.run(t, set, through.URL) })
			both.Wait()
			if wantErr != nil || gotErr != nil {
				t.Fatalf("directly: %v; through the guard: %v", wantErr, gotErr)
			}
			for _, scenario := range slices.Sorted(maps.Keys(want)) {
				differs := !slices.Equal(want[scenario], got[scenario])
				switch {
				case !required[scenario]:
					if differs {
						t.Logf("not required: %s: directly %q, through the guard %q", scenario, want[scenario], got[scenario])
					}
				case differs:
					t.Errorf("%s: directly %q, through the guard %q", scenario, want[scenario], got[scenario])
				case slices.ContainsFunc(got[scenario], func(c string) bool { return strings.HasSuffix(c, "FAILURE") }):
					t.Errorf("%s fails directly and through the guard: %q", scenario, got[scenario])
				}
			}
			for scenario := range required {
				if len(want[scenario]) == 0 || len(got[scenario]) == 0 {
					t.Errorf("%s has not run", scenario)
				}
			}
		})
	}
}

// conformance is the installed suite.
type conformance struct{ node, folder string }

// installed finds the suite and its Node, and skips the test where they are not
// there; in CI that is a failure.
func installed(t *testing.T) conformance {
	t.Helper()
	missing := t.Skipf // without the suite there is nothing to run
	if os.Getenv("CI") != "" {
		missing = t.Fatalf
	}
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	c := conformance{
		node:   filepath.Join("node_modules", "node-"+runtime.GOOS+"-"+arch, "bin", "node"),
		folder: filepath.Join("node_modules", "@modelcontextprotocol", "conformance"),
	}
	for _, path := range []*string{&c.node, &c.folder} {
		whole, err := filepath.Abs(*path)
		if err == nil {
			_, err = os.Stat(whole)
		}
		if err != nil {
			missing("%s is not installed; run `npm ci` in e2e/conformance/", *path)
		}
		*path = whole
	}
	return c
}

// required returns the scenarios of a server that a set requires.
func (c conformance) required(t *testing.T, set string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.folder, "requirements", set+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Server []string `yaml:"server"`
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, name := range doc.Server {
		out[name] = true
	}
	return out
}

// folderName is how the suite names the folder of a scenario's results.
var folderName = regexp.MustCompile(`^server-(.+?)-\d{4}-\d\d-\d\dT`)

// run runs a requirement set and returns the checks of each scenario with how
// they ended.
func (c conformance) run(t *testing.T, set, url string) (map[string][]string, error) {
	out := t.TempDir()
	cmd := exec.CommandContext(deadline(t), c.node, filepath.Join(c.folder, "dist", "index.js"), "server", "--url", url+"/mcp", "--requirements", set, "-o", out)
	text, err := cmd.CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		return nil, fmt.Errorf("running the suite: %w", err)
	}
	folders, err := os.ReadDir(out)
	if err != nil || len(folders) == 0 {
		return nil, fmt.Errorf("the suite left no results (%v): %s", err, text)
	}
	results := map[string][]string{}
	for _, f := range folders {
		name := folderName.FindStringSubmatch(f.Name())
		if name == nil {
			return nil, fmt.Errorf("results in %q", f.Name())
		}
		raw, err := os.ReadFile(filepath.Join(out, f.Name(), "checks.json"))
		var checks []struct{ ID, Status, ErrorMessage string }
		if err == nil {
			err = json.Unmarshal(raw, &checks)
		}
		if err != nil {
			return nil, fmt.Errorf("results of %s: %w", name[1], err)
		}
		for _, check := range checks {
			line := check.ID + " " + check.Status
			if check.ErrorMessage != "" {
				line = check.ErrorMessage + ": " + line
			}
			results[name[1]] = append(results[name[1]], line)
		}
		slices.Sort(results[name[1]])
	}
	return results, nil
}

func build(t *testing.T, dir, out string, packages ...string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"build", "-o", out}, packages...)...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %q: %v\n%s", packages, err, text)
	}
}

// program is one of the guard's, with a home of its own.
func program(bin, home string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, "mcpguardd"), args...)
	cmd.Dir = filepath.Dir(home)
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "HOME=") && !strings.HasPrefix(kv, "MCPGUARD_") && !strings.HasPrefix(kv, "XDG_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+filepath.Dir(home), ipc.EnvHome+"="+home)
	return cmd
}

// guarded returns the home of a guard whose server "all" is the command, with
// all that it offers allowed. The daemon ends with the test.
func guarded(t *testing.T, bin, command string) string {
	t.Helper()
	base, err := os.MkdirTemp("/tmp", "mg-") // the test's own folder can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	home := filepath.Join(base, "guard")
	folder, err := os.Getwd() // the client's, which is this process
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "version: 1\napprovers: {unsigned: any}\nroots: [%s]\nservers:\n  all:\n    command: %s\n", folder, command)
	text.WriteString("    sampling: allow\n    elicitation: allow\n    prompts: allow\n    resources: allow\n    tools:\n")
	for _, name := range tools {
		fmt.Fprintf(&text, "      %s: {tier: T0_READ}\n", name)
	}
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "config.yaml"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := program(bin, home, "accept", "all").CombinedOutput(); err != nil {
		t.Fatalf("accepting the tools: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		out, err := program(bin, home, "stop", "--force").CombinedOutput()
		if err != nil {
			t.Errorf("stopping the daemon: %v\n%s", err, out)
		}
		if t.Failed() {
			if log, err := os.ReadFile(filepath.Join(home, "guard.log")); err == nil {
				t.Logf("the daemon's log: %s", log[max(0, len(log)-8000):])
			}
		}
	})
	return home
}
