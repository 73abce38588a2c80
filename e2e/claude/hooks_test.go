package claude

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// newHookWorld is a guard with a policy for the client's own tools, whose hooks
// are in the settings that it returns.
func newHookWorld(t *testing.T, more ...string) (w *world, settings string) {
	t.Helper()
	w = newWorld(t, "native:\n  preset: claude-native\n"+strings.Join(more, ""))
	settings = filepath.Join(w.home, "hooks.json")
	install := exec.Command(filepath.Join(bin, "mcpguardd"), "hooks", "install", "--settings", settings, "--write")
	install.Dir, install.Env = w.project, w.env()
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// The hooks have to find this guard, and the client has its own environment.
	data, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	all["env"] = map[string]string{"MCPGUARD_HOME": w.guard}
	if data, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(settings, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return w, settings
}

// TestHookAllowAndDeny: the client's own tools wait, run once approved, are read
// back, and a denial reaches the model in the reviewer's words.
func TestHookAllowAndDeny(t *testing.T) {
	w, settings := newHookWorld(t)
	file := filepath.Join(w.project, "README.md")
	a := serve(t, call("Read", map[string]any{"file_path": file}),
		call("Edit", map[string]any{"file_path": file, "old_string": "# Shop", "new_string": "# The Shop"}),
		call("Write", map[string]any{"file_path": filepath.Join(w.project, "new.txt"), "content": "x\n"}),
		call("Bash", map[string]any{"command": "touch made && exit 3", "description": "make a file"}))
	s := w.start(a, "--settings", settings, "--allowedTools", "Read,Edit,Write,Bash")
	edit := w.pending()
	if edit.Tool != "Edit" || !strings.Contains(edit.Diff.Text, "-# Shop\n+# The Shop\n") || edit.Context.ClientSession == "" || edit.Context.PromptSHA256 == "" {
		t.Errorf("%+v\n%s", edit.Approval, edit.Diff.Text)
	}
	w.decide(edit, client.Allow, "a better title")
	w.decide(w.pending(), client.Deny, "no more files")
	bash := w.pending()
	if bash.Diff.Type != "exec" || !strings.Contains(bash.Diff.Text, "touch made") || !strings.Contains(bash.Diff.Text, w.project) {
		t.Errorf("%s", bash.Diff.Text)
	}
	w.decide(bash, client.Allow, "only this one")
	w.finish(s)
	if w.read("README.md") != "# The Shop\n" {
		t.Errorf("README.md is %q", w.read("README.md"))
	}
	if _, err := os.Stat(filepath.Join(w.project, "new.txt")); err == nil {
		t.Error("a denied write was made")
	}
	told(t, a, "no more files", "Exit code 3")
	for id, want := range map[string]string{edit.ID: client.Executed, bash.ID: client.Failed} {
		if d, err := w.api.Get(t.Context(), id); err != nil || d.Status != want {
			t.Errorf("%s is %s, %v; want %s", id, d.Status, err, want)
		} else if id == edit.ID && d.Receipt.ReadBack != "verified" {
			t.Errorf("the edit was %s", d.Receipt.ReadBack)
		}
	}
	w.leaked()
}

// TestHookDaemonDown: the daemon dies while an allow-listed tool waits, and the
// tool does not run.
func TestHookDaemonDown(t *testing.T) {
	w, settings := newHookWorld(t)
	a := serve(t, call("Bash", map[string]any{"command": "touch made", "description": "make a file"}))
	s := w.start(a, "--settings", settings, "--allowedTools", "Bash")
	w.pending()
	status, err := w.api.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.finish(s)
	if _, err := os.Stat(filepath.Join(w.project, "made")); err == nil {
		t.Error("the command ran")
	}
	told(t, a, "daemon went away")
}

// TestPermissionPrompt: a headless run without hooks asks in the same queue.
func TestPermissionPrompt(t *testing.T) {
	w := newWorld(t, "native:\n  preset: claude-native\n")
	w.alsoLoose(map[string]string{"work": "work", "guard": "permission"})
	a := serve(t, call("Write", map[string]any{"file_path": filepath.Join(w.project, "a.txt"), "content": "a\n"}),
		call("Write", map[string]any{"file_path": filepath.Join(w.project, "b.txt"), "content": "b\n"}),
		call("mcp__work__append_file", map[string]any{"path": "README.md", "content": "Open.\n"}), // the client's rules do not allow it either
		call("mcp__loose__crash", map[string]any{}))
	s := w.start(a, "--permission-prompt-tool", "mcp__guard__approve")
	w.decide(w.pending(), client.Allow, "a new file")
	w.decide(w.pending(), client.Deny, "one is enough")
	guarded := w.pending()
	if guarded.Server != "work" {
		t.Errorf("asked for %s/%s", guarded.Server, guarded.Tool)
	}
	w.decide(guarded, client.Allow, "another file")
	w.finish(s)
	if got := w.read("a.txt") + w.read("README.md"); got != "a\n# Shop\nOpen.\n" {
		t.Errorf("the files are %q", got)
	}
	if all, err := w.api.ListAll(t.Context(), client.Filter{}); err != nil || len(all) != 3 {
		t.Errorf("%d approvals for three calls, %v", len(all), err)
	}
	if _, err := os.Stat(filepath.Join(w.project, "crashed")); err == nil {
		t.Error("a tool of a server that is not guarded has run")
	}
	if _, err := os.Stat(filepath.Join(w.project, "b.txt")); err == nil {
		t.Error("a denied write was made")
	}
	told(t, a, "one is enough", "does not name this tool")
}

// TestEditsAsComputed: what the real client makes of files is what the plan
// said, for each of its rules that the plan follows.
func TestEditsAsComputed(t *testing.T) {
	w, settings := newHookWorld(t)
	type file struct {
		before, old, new string
		all              bool
		after            string
	}
	files := map[string]file{
		"crlf":    {"one\r\ntwo\r\nthree\r\n", "one\ntwo", "1\n2", false, "1\r\n2\r\nthree\r\n"},
		"mixed":   {"one\r\ntwo\nthree\r\nfour\n", "three", "3", false, "one\ntwo\n3\nfour\n"},
		"mostly":  {"a\r\nb\r\nc\r\nd\n", "c", "C", false, "a\r\nb\r\nC\r\nd\r\n"},
		"bom":     {"\xef\xbb\xbfone\r\ntwo\r\n", "one", "1\n2", false, "\xef\xbb\xbf1\r\n2\r\ntwo\r\n"},
		"out":     {"one\ntwo\nthree\n", "two", "", false, "one\nthree\n"},
		"outall":  {"x two y two\ntwo z\n", "two", "", true, "x two y two z\n"},
		"dollar":  {"one\ntwo\n", "one", "$& $1 $$ $`", false, "$& $1 $$ $`\ntwo\n"},
		"overlap": {"aaaa a\n", "aa", "b", true, "bb a\n"},
		"trail":   {"one\ntwo\n", "one", "1   \nx  ", false, "1\nx\ntwo\n"},
		"curly":   {"it\u2019s\nit's\n", "it's", "that's", false, "it\u2019s\nthat's\n"},
		"lfnew":   {"a\nb\n", "a", "1\r\n2", false, "1\r\n2\nb\n"},
		"far":     {strings.Repeat("x\n", 3000) + "y\r\nz\r\n", "z", "Z", false, strings.Repeat("x\n", 3000) + "y\nZ\n"},
	}
	var steps []step
	for name, f := range files {
		w.write(name, f.before)
		steps = append(steps, call("Edit", map[string]any{"file_path": filepath.Join(w.project, name), "old_string": f.old, "new_string": f.new, "replace_all": f.all}))
	}
	a := serve(t, append(steps, call("Write", map[string]any{"file_path": filepath.Join(w.project, "deep/new.txt"), "content": "a\r\nb\n"}))...)
	s := w.start(a, "--settings", settings, "--allowedTools", "Edit,Write")
	for range len(files) + 1 { // the client makes them one after the other
		w.decide(w.pending(), client.Allow, "one of many")
	}
	w.finish(s)
	files["deep/new.txt"] = file{after: "a\r\nb\n"}
	for name, f := range files {
		if got := w.read(name); got != f.after {
			t.Errorf("%s is %.200q, want %.200q", name, got, f.after)
		}
	}
	done, err := w.api.ListAll(t.Context(), client.Filter{Status: []string{client.Executed}})
	if err != nil || len(done) != len(files) {
		t.Errorf("%d of %d were executed, %v", len(done), len(files), err)
	}
	for _, x := range done {
		if d, err := w.api.Get(t.Context(), x.ID); err != nil || d.Receipt == nil || d.Receipt.ReadBack != "verified" {
			t.Errorf("%s: %+v, %v", x.Summary, d.Receipt, err)
		}
	}
	alerts, err := w.api.Alerts(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range alerts {
		if x.Kind == "diverged" || x.Kind == "outcome_unknown" {
			t.Errorf("%s: %s", x.Kind, x.Text)
		}
	}
	if t.Failed() {
		t.Logf("%s", strings.Join(a.told(), "\n"))
	}
}

// TestHookTimeout: the client gives up on the hook before anybody has decided.
// The tool does not run, although the client's own rules allow it.
func TestHookTimeout(t *testing.T) {
	w, settings := newHookWorld(t)
	data, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	short := bytes.ReplaceAll(data, []byte(`"timeout":3600`), []byte(`"timeout":2`))
	if bytes.Equal(short, data) {
		t.Fatalf("the time was not found in %s", data)
	}
	if err := os.WriteFile(settings, short, 0o600); err != nil {
		t.Fatal(err)
	}
	a := serve(t, call("Write", map[string]any{"file_path": filepath.Join(w.project, "new.txt"), "content": "x\n"}))
	s := w.start(a, "--settings", settings, "--allowedTools", "Write")
	d := w.pending()
	w.finish(s)
	if _, err := os.Stat(filepath.Join(w.project, "new.txt")); err == nil {
		t.Errorf("the tool ran without a decision; the model was told %v", a.told())
	}
	if end := w.ended(d.ID); end.Status != client.Cancelled {
		t.Errorf("its approval ended as %s", end.Status)
	}
}

// TestHookDaemonRestarted: the daemon is killed while a hook waits. The tool does
// not run, and the next one is asked about by a new daemon, in the same session.
func TestHookDaemonRestarted(t *testing.T) {
	w, settings := newHookWorld(t)
	a := serve(t, call("Write", map[string]any{"file_path": filepath.Join(w.project, "a.txt"), "content": "a\n"}),
		call("Write", map[string]any{"file_path": filepath.Join(w.project, "b.txt"), "content": "b\n"}))
	s := w.start(a, "--settings", settings, "--allowedTools", "Write")
	first := w.pending()
	status, err := w.api.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var second client.Detail
	for second = w.pending(); second.ID == first.ID; second = w.pending() { // of the daemon that is just ending
	}
	w.decide(second, client.Allow, "a new file")
	w.finish(s)
	told(t, a, "went away while this call waited")
	if _, err := os.Stat(filepath.Join(w.project, "a.txt")); err == nil {
		t.Error("the tool ran without a decision")
	}
	if got := w.read("b.txt"); got != "b\n" {
		t.Errorf("b.txt is %q", got)
	}
	if end := w.ended(first.ID); end.Status != client.Cancelled {
		t.Errorf("the first ended as %s", end.Status)
	}
}
