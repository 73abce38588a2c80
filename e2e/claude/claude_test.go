package claude

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
)

const (
	patience = 60 * time.Second
	inside   = "MCPGUARD_TEST_NETNS" // set in the process that has the namespace
)

// claudeBin is the native binary of the package, which needs no install script.
var claudeBin = map[string]string{
	"amd64": "node_modules/@anthropic-ai/claude-code-linux-x64/claude",
	"arm64": "node_modules/@anthropic-ai/claude-code-linux-arm64/claude",
}[runtime.GOARCH]

var bin string // folder of the built programs

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serverWord {
		mcpServer()
		return
	}
	os.Exit(run(m))
}

// run starts the tests again inside a network namespace that has loopback
// alone: whatever the client tries to reach, it cannot.
func run(m *testing.M) int {
	if os.Getenv(inside) == "" && installed() == nil {
		cmd := exec.Command(os.Args[0], os.Args[1:]...)
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if os.Getuid() != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		err := cmd.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "making a network namespace:", err)
			return 1
		}
		return 0
	}
	if os.Getenv(inside) != "" {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "bringing loopback up: %v %s\n", err, out)
			return 1
		}
		dir, err := os.MkdirTemp("", "mcpguard-bin-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = dir
		build := exec.Command("go", "build", "-o", dir, "../../cmd/mcpguardd", "../../cmd/mcpguard", "../../cmd/approve")
		build.Env = append(os.Environ(), "GOPROXY=off")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the programs: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

func installed() error {
	_, err := os.Stat(claudeBin)
	return err
}

// world is one guard, one project and what the client is started with.
type world struct {
	t       *testing.T
	home    string // of the client
	guard   string
	project string
	mcp     string // configuration file of the client
	api     *client.Client

	extra []string // of the client's environment
}

func newWorld(t *testing.T, settings string) *world {
	t.Helper()
	if err := installed(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("Claude Code is not installed: %v; run npm ci in e2e/claude", err)
		}
		t.Skip("Claude Code is not installed; run npm ci in e2e/claude") // without the client there is nothing to drive; CI fails above
	}
	guard, err := os.MkdirTemp("", "mgc")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, home: t.TempDir(), guard: guard, project: t.TempDir()}
	if w.project, err = filepath.EvalSymlinks(w.project); err != nil {
		t.Fatal(err)
	}
	w.write("README.md", "# Shop\n")
	add := exec.Command(filepath.Join(bin, "mcpguardd"), "add", "work", "--builtin", "workspace")
	add.Dir, add.Env = w.project, w.env()
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	config := filepath.Join(guard, "config.yaml")
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append(data, "approvers: {unsigned: any}\n"+settings...), 0o600); err != nil {
		t.Fatal(err)
	}
	w.mcp = filepath.Join(w.home, "mcp.json")
	entry := map[string]any{"mcpServers": map[string]any{"work": map[string]any{
		"type": "stdio", "command": filepath.Join(bin, "mcpguard"), "args": []string{"stdio", "work"},
		"env": map[string]string{"MCPGUARD_HOME": guard}, "alwaysLoad": true,
	}}}
	data, err = json.Marshal(entry)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.mcp, data, 0o600); err != nil {
		t.Fatal(err)
	}
	w.api = client.New(filepath.Join(guard, "approver.sock"))
	t.Cleanup(func() {
		w.api.Close()
		stop := exec.Command(filepath.Join(bin, "mcpguardd"), "stop", "--force")
		stop.Env = w.env()
		_ = stop.Run() // 3 where none runs
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(guard, "guard.log"))
			t.Logf("%s", log)
		}
		os.RemoveAll(guard)
	})
	return w
}

func (w *world) env() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.home, "MCPGUARD_HOME=" + w.guard, "TERM=dumb"}
}

func (w *world) write(name, content string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.project, name), []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(name string) string {
	data, err := os.ReadFile(filepath.Join(w.project, name))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// session is a run of the client without a terminal.
type session struct {
	done chan struct{}
	out  bytes.Buffer
	err  error
	cmd  *exec.Cmd
}

// start runs Claude Code with a made-up key and nothing of this environment.
func (w *world) start(a *api, extra ...string) *session {
	w.t.Helper()
	return w.startBare(a, append([]string{"--allowedTools", "mcp__work__write_file,mcp__work__edit_file,mcp__work__read_file,mcp__work__delete_file"}, extra...)...)
}

// startBare is start without a rule of the client's own that allows a tool.
func (w *world) startBare(a *api, extra ...string) *session {
	w.t.Helper()
	args := append([]string{"-p", "go on", "--mcp-config", w.mcp, "--strict-mcp-config", "--output-format", "stream-json", "--verbose"}, extra...)
	exe, err := filepath.Abs(claudeBin)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &session{done: make(chan struct{}), cmd: exec.Command(exe, args...)}
	s.cmd.Dir, s.cmd.Env = w.project, w.clientEnv(a, os.Getenv("PATH"), w.extra...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	if err := s.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { // ends with the client
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	w.t.Cleanup(func() {
		select {
		case <-s.done:
		default:
			_ = s.cmd.Process.Kill() // it may end just now
			<-s.done
		}
	})
	return s
}

func (w *world) finish(s *session) {
	w.t.Helper()
	select {
	case <-s.done:
	case <-time.After(patience):
		w.t.Fatalf("Claude Code did not end within %s:\n%s", patience, s.out.String())
	}
	if s.err != nil {
		w.t.Fatalf("Claude Code: %v\n%s", s.err, s.out.String())
	}
}

// pending waits for the one approval that is pending.
func (w *world) pending() client.Detail {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for _, err := range w.api.Watch(ctx) { // the daemon is started by the client: the watch goes on trying
		if err != nil {
			w.t.Fatal(err)
		}
		list, err := w.api.ListAll(ctx, client.Filter{Status: []string{client.Pending}})
		if err != nil || len(list) == 0 {
			continue
		}
		d, err := w.api.Get(ctx, list[0].ID)
		if err != nil {
			w.t.Fatal(err)
		}
		return d
	}
	w.t.Fatal("nothing came to be approved")
	return client.Detail{}
}

func (w *world) decide(d client.Detail, word, reason string) {
	w.t.Helper()
	if _, err := w.api.Decide(w.t.Context(), d.ID, client.DecisionRequest{Decision: word, Digest: d.Digest, Reason: reason}); err != nil {
		w.t.Fatal(err)
	}
}

// leaked looks for the client's key in everything that the guard keeps. The
// client hands its whole environment to the servers that it starts.
func (w *world) leaked() {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.guard, "*"))
	if err != nil || len(files) < 4 {
		w.t.Fatalf("the guard keeps %v, %v", files, err)
	}
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil && bytes.Contains(data, []byte("made-up-key")) {
			w.t.Errorf("the client's key is in %s", f)
		}
	}
}

func randomID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func told(t *testing.T, a *api, want ...string) {
	t.Helper()
	all := strings.Join(a.told(), "\n")
	for _, x := range want {
		if !strings.Contains(all, x) {
			t.Errorf("the model was not told %q, but:\n%s", x, all)
		}
	}
}

func TestWriteApproved(t *testing.T) {
	w := newWorld(t, "")
	a := serve(t, call("mcp__work__read_file", map[string]any{"path": "README.md"}),
		call("mcp__work__write_file", map[string]any{"path": "README.md", "content": "# The Shop\n"}))
	s := w.start(a)
	d := w.pending()
	if d.RequestedBy.Client != "claude-code" || !strings.Contains(d.Diff.Text, "-# Shop\n+# The Shop\n") {
		t.Errorf("asked by %q:\n%s", d.RequestedBy.Client, d.Diff.Text)
	}
	if !strings.HasPrefix(d.CorrelationID, "toolu_") {
		t.Errorf("the correlation id is %q, not the client's tool use", d.CorrelationID)
	}
	if w.read("README.md") != "# Shop\n" {
		t.Error("the write did not wait")
	}
	w.decide(d, client.Allow, "a better title")
	w.finish(s)
	if got := w.read("README.md"); got != "# The Shop\n" {
		t.Errorf("README.md is %q", got)
	}
	told(t, a, "# Shop", `"path":"README.md","changed":true`)
	if !slices.Contains(a.offered(), "mcp__work__delete_file") {
		t.Errorf("the client offered %v", a.offered())
	}
	w.leaked()
	end, err := w.api.Get(t.Context(), d.ID)
	if err != nil || end.Status != client.Executed || end.Receipt == nil || end.Receipt.ReadBack != "verified" {
		t.Errorf("it ended as %s with %+v, %v", end.Status, end.Receipt, err)
	}
}

func TestWriteDenied(t *testing.T) {
	w := newWorld(t, "")
	a := serve(t, call("mcp__work__delete_file", map[string]any{"path": "README.md"}))
	s := w.start(a)
	w.decide(w.pending(), client.Deny, "the title page stays")
	w.finish(s)
	if got := w.read("README.md"); got != "# Shop\n" {
		t.Errorf("README.md is %q", got)
	}
	told(t, a, `"status":"denied"`, "the title page stays")
}

func TestWriteExpired(t *testing.T) {
	w := newWorld(t, "time_boxes: {T1_REVERSIBLE_WRITE: {ttl: 5s}}\n")
	a := serve(t, call("mcp__work__write_file", map[string]any{"path": "README.md", "content": "late\n"}))
	s := w.start(a)
	w.finish(s)
	if got := w.read("README.md"); got != "# Shop\n" {
		t.Errorf("README.md is %q", got)
	}
	told(t, a, `"status":"expired"`)
}

func TestWriteStale(t *testing.T) {
	w := newWorld(t, "")
	a := serve(t, call("mcp__work__edit_file", map[string]any{"path": "README.md", "edits": []map[string]any{{"old_text": "# Shop", "new_text": "# The Shop"}}}))
	s := w.start(a)
	first := w.pending()
	w.write("README.md", "# Shop\n\nOpen all day.\n")
	w.decide(first, client.Allow, "a better title")
	second := w.pending()
	if second.Replaces != first.ID || !strings.Contains(second.Diff.Text, "Open all day.") {
		t.Errorf("%s replaces %q and shows:\n%s", second.ID, second.Replaces, second.Diff.Text)
	}
	w.decide(second, client.Allow, "still better")
	w.finish(s)
	if got := w.read("README.md"); got != "# The Shop\n\nOpen all day.\n" {
		t.Errorf("README.md is %q", got)
	}
}

// TestTwoSessions: reads of one session run while a write of another waits, and
// both share one queue.
func TestTwoSessions(t *testing.T) {
	w := newWorld(t, "")
	writing := serve(t, call("mcp__work__write_file", map[string]any{"path": "a.txt", "content": "a\n"}))
	held := w.start(writing)
	d := w.pending()
	reading := serve(t, step{calls: []use{
		{"mcp__work__read_file", map[string]any{"path": "README.md"}},
		{"mcp__work__read_file", map[string]any{"path": "README.md"}},
	}})
	w.finish(w.start(reading))
	told(t, reading, "# Shop")
	w.decide(d, client.Allow, "a new file")
	w.finish(held)
	if got := w.read("a.txt"); got != "a\n" {
		t.Errorf("a.txt is %q", got)
	}
}

// TestDaemonGoneWhileHeld: the daemon is killed while a call waits. The client
// is told, nothing is written, and the approval is not left open.
func TestDaemonGoneWhileHeld(t *testing.T) {
	w := newWorld(t, "")
	a := serve(t, call("mcp__work__write_file", map[string]any{"path": "README.md", "content": "gone\n"}))
	s := w.start(a)
	d := w.pending()
	status, err := w.api.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.finish(s)
	if got := w.read("README.md"); got != "# Shop\n" {
		t.Errorf("README.md is %q", got)
	}
	show := exec.Command(filepath.Join(bin, "approve"), "show", d.ID)
	show.Env = w.env()
	if out, err := show.CombinedOutput(); err != nil || !strings.Contains(string(out), "cancelled") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestHeldLong holds a call for 150 s, past the 120 s after which an
// interactive client would move it to the background.
func TestHeldLong(t *testing.T) {
	w := newWorld(t, "")
	w.heldLong("mcp__work__write_file", map[string]any{"path": "README.md", "content": "patience\n"})
}

// TestHookHeldLong is the same with a tool of the client's own.
func TestHookHeldLong(t *testing.T) {
	w, settings := newHookWorld(t)
	w.write("README.md", "")
	w.heldLong("Edit", map[string]any{"file_path": filepath.Join(w.project, "README.md"), "old_string": "", "new_string": "patience\n"}, "--settings", settings)
}

// heldLong lets a change of README.md wait.
func (w *world) heldLong(tool string, input map[string]any, args ...string) {
	long := os.Getenv("MCPGUARD_LONG")
	if long == "" {
		w.t.Skip("takes 150 s; set MCPGUARD_LONG=1, or to a time such as 11m") // longer than a run of CI can spare
	}
	wait, err := time.ParseDuration(long)
	if err != nil {
		wait = 150 * time.Second
	}
	s := w.start(serve(w.t, call(tool, input)), append(args, "--allowedTools", tool)...)
	d := w.pending()
	<-time.After(wait)
	w.decide(d, client.Allow, "thought about it")
	w.finish(s)
	if got := w.read("README.md"); got != "patience\n" {
		w.t.Errorf("README.md is %q", got)
	}
}
