package claude

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
)

// ended waits until an approval has an end, and returns it.
func (w *world) ended(id string) client.Detail {
	w.t.Helper()
	for _, err := range w.api.Watch(w.t.Context()) {
		if err != nil {
			w.t.Fatal(err)
		}
		d, err := w.api.Get(w.t.Context(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		switch d.Status {
		case client.Pending, client.Approved, client.Executing:
		default:
			return d
		}
	}
	w.t.Fatalf("%s did not end", id)
	return client.Detail{}
}

// TestInteractive: a person at the client sees what the call waits for, approves
// it in the guard, and the client goes on. The default mode, "auto", in which
// the client asks nothing by itself.
func TestInteractive(t *testing.T) {
	w := newWorld(t, "")
	a := serve(t, call("mcp__work__write_file", map[string]any{"path": "README.md", "content": "# The Shop\n"}))
	x := w.openClaude(a, os.Getenv("PATH"), "--mcp-config", w.mcp, "--strict-mcp-config", "--allowedTools", "mcp__work__write_file")
	d := w.pending()
	x.shows("waiting for approval "+d.ID, "left", "auto mode on")
	w.decide(d, client.Allow, "a better title")
	x.shows("● done")
	if got := w.read("README.md"); got != "# The Shop\n" {
		t.Errorf("README.md is %q", got)
	}
}

// TestEscape: Esc takes the call back, and its approval with it.
func TestEscape(t *testing.T) {
	w := newWorld(t, "")
	a := serve(t, call("mcp__work__write_file", map[string]any{"path": "README.md", "content": "# The Shop\n"}))
	x := w.openClaude(a, os.Getenv("PATH"), "--mcp-config", w.mcp, "--strict-mcp-config", "--allowedTools", "mcp__work__write_file")
	d := w.pending()
	x.keys("Escape")
	if end := w.ended(d.ID); end.Status != client.Cancelled {
		t.Errorf("it ended as %s", end.Status)
	}
	x.shows("Interrupted")
	if _, err := w.api.Decide(t.Context(), d.ID, client.DecisionRequest{Decision: client.Allow, Digest: d.Digest, Reason: "too late"}); err == nil {
		t.Error("what was cancelled was approved")
	}
	if got := w.read("README.md"); got != "# Shop\n" {
		t.Errorf("README.md is %q", got)
	}
}

// TestEscapeHook: Esc takes back what the client's own tool has asked by a hook.
func TestEscapeHook(t *testing.T) {
	w, settings := newHookWorld(t)
	a := serve(t, call("Bash", map[string]any{"command": "touch made"}))
	x := w.openClaude(a, os.Getenv("PATH"), "--settings", settings)
	d := w.pending()
	x.keys("Escape")
	if end := w.ended(d.ID); end.Status != client.Cancelled {
		t.Errorf("it ended as %s", end.Status)
	}
	x.shows("Interrupted")
	if _, err := os.Stat(w.project + "/made"); err == nil {
		t.Error("the command has run")
	}
}

// background: the client moves a call that takes long to the background, tells
// the model so, and gives it the result in a turn of its own.
func background(t *testing.T, after time.Duration, extra ...string) {
	w := newWorld(t, "")
	w.extra = extra
	a := serve(t, call("mcp__work__write_file", map[string]any{"path": "README.md", "content": "# The Shop\n"}))
	x := w.openClaude(a, os.Getenv("PATH"), "--mcp-config", w.mcp, "--strict-mcp-config", "--allowedTools", "mcp__work__write_file")
	d := w.pending()
	x.showsWithin(after+patience, "1 MCP task still running")
	told(t, a, "is still running")
	if got := w.read("README.md"); got != "# Shop\n" {
		t.Errorf("README.md is %q before the decision", got)
	}
	w.decide(d, client.Allow, "took a while")
	x.shows("(work/write_file) completed.\n\n● done") // the turn that it opened has ended
	if got := w.read("README.md"); got != "# The Shop\n" {
		t.Errorf("README.md is %q", got)
	}
	if said := a.said(); !strings.Contains(said, `\"changed\":true`) {
		t.Errorf("the model did not get the result, but … %s", said[max(0, len(said)-2000):])
	}
}

func TestBackground(t *testing.T) {
	background(t, 0, "CLAUDE_CODE_MCP_AUTO_BACKGROUND_MS=3000")
}

// TestInteractiveLong is the same with the client's own 120 s.
func TestInteractiveLong(t *testing.T) {
	if os.Getenv("MCPGUARD_LONG") == "" {
		t.Skip("takes over 120 s; set MCPGUARD_LONG=1") // TestBackground is the same with 3 s
	}
	background(t, 2*time.Minute)
}

// TestStatusLine: the client's status line has the number of what waits.
func TestStatusLine(t *testing.T) {
	w, settings := newHookWorld(t)
	data, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	all["statusLine"] = map[string]any{"type": "command", "refreshInterval": 1,
		"command": `n=$(approve --count --no-autostart 2>/dev/null) && [ "$n" -gt 0 ] && echo "mcpguard: $n waiting" || echo mcpguard`}
	if data, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(settings, data, 0o600); err != nil {
		t.Fatal(err)
	}
	a := serve(t, call("Write", map[string]any{"file_path": filepath.Join(w.project, "a.txt"), "content": "a\n"}))
	x := w.openClaude(a, withGuard(), "--settings", settings)
	d := w.pending()
	x.shows("mcpguard: 1 waiting")
	w.decide(d, client.Allow, "a new file")
	x.shows("● done", "  mcpguard\n")
}
