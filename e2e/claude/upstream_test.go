package claude

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
)

// serverWord makes this test's program an MCP server instead.
const serverWord = "be-an-mcp-server"

// mcpServer is a server with four tools: environment tells what it was started
// with, wait takes half a second to answer, outside writes a file into its home
// folder, and crash writes one where it is and dies without a word.
func mcpServer() {
	tools := `[{"name":"environment","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}},` +
		`{"name":"wait","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}},` +
		`{"name":"outside","inputSchema":{"type":"object"}},{"name":"crash","inputSchema":{"type":"object"}}]`
	in := bufio.NewScanner(os.Stdin)
	answer := func(id json.RawMessage, result string) {
		fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", id, result)
	}
	text := func(s string) string {
		b, _ := json.Marshal(s) // strings always encode
		return `{"content":[{"type":"text","text":` + string(b) + `}]}`
	}
	for in.Scan() {
		var m struct {
			ID     json.RawMessage
			Method string
			Params struct{ Name, ProtocolVersion string }
		}
		if json.Unmarshal(in.Bytes(), &m) != nil || m.ID == nil {
			continue
		}
		switch m.Method + " " + m.Params.Name {
		case "initialize ":
			answer(m.ID, `{"protocolVersion":"`+m.Params.ProtocolVersion+`","capabilities":{"tools":{}},"serverInfo":{"name":"frail","version":"1.0.0"}}`)
		case "tools/list ":
			answer(m.ID, `{"tools":`+tools+`}`)
		case "tools/call environment":
			answer(m.ID, text(strings.Join(os.Environ(), "\n")))
		case "tools/call wait":
			go func() { // ends with the process, if not before
				time.Sleep(500 * time.Millisecond) // this server is slow
				answer(m.ID, text("waited"))
			}()
		case "tools/call outside":
			if err := os.WriteFile(filepath.Join(os.Getenv("HOME"), "outside"), []byte("here\n"), 0o600); err != nil {
				panic(err)
			}
			answer(m.ID, text("written"))
		case "tools/call crash":
			if err := os.WriteFile("crashed", []byte("here\n"), 0o600); err != nil {
				panic(err)
			}
			os.Exit(3)
		default:
			fmt.Printf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`+"\n", m.ID)
		}
	}
}

// newFrailWorld is a guard with that server, whose tiers are what add proposes, and the client's entry for it.
func newFrailWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	add := exec.Command(filepath.Join(bin, "mcpguardd"), "add", "frail", "--", exe, serverWord)
	add.Dir, add.Env = w.project, w.env()
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.entries(map[string]string{"work": "work", "frail": "frail"})
	return w
}

// entries writes the client's configuration: its names of servers, and the
// guard's.
func (w *world) entries(names map[string]string) {
	w.t.Helper()
	servers := map[string]any{}
	for name, server := range names {
		servers[name] = w.entry(server)
	}
	w.mcpServers(servers)
}

// entry starts the guard for one of its servers.
func (w *world) entry(words string) map[string]any {
	return map[string]any{
		"type": "stdio", "command": filepath.Join(bin, "mcpguard"), "args": strings.Fields("stdio " + words),
		"env": map[string]string{"MCPGUARD_HOME": w.guard}, "alwaysLoad": true,
	}
}

func (w *world) mcpServers(servers map[string]any) {
	w.t.Helper()
	data, err := json.Marshal(map[string]any{"mcpServers": servers})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.mcp, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// TestUpstreamCrash: a server dies while it executes what was approved. The
// outcome is unknown and said so, to the model and to the developer.
func TestUpstreamCrash(t *testing.T) {
	w := newFrailWorld(t)
	a := serve(t, call("mcp__frail__crash", map[string]any{}))
	s := w.start(a, "--allowedTools", "mcp__frail__crash")
	d := w.pending()
	w.decide(d, client.Allow, "let us see")
	w.finish(s)
	if got := w.read("crashed"); got != "here\n" {
		t.Errorf("the server did not run: %s", got)
	}
	end := w.ended(d.ID)
	if end.Status != client.Unknown {
		t.Errorf("it ended as %s with %+v", end.Status, end.Receipt)
	}
	told(t, a, "unknown")
}

// TestEnvironment: the server gets what the policy names, not what the client
// hands to the shim.
func TestEnvironment(t *testing.T) {
	w := newFrailWorld(t)
	a := serve(t, call("mcp__frail__environment", map[string]any{}))
	w.finish(w.start(a, "--allowedTools", "mcp__frail__environment"))
	told(t, a, "PATH=", "HOME=")
	for _, line := range strings.Split(strings.Join(a.told(), "\n"), "\n") {
		name, _, _ := strings.Cut(line, "=")
		switch name {
		case "PATH", "HOME", "LANG", "TMPDIR", "MCPGUARD_UPSTREAM":
		default:
			t.Errorf("the server was given %q", line)
		}
	}
	w.leaked()
}

// TestReadsBesideWrite: reads of one turn run at the same time, and before the
// decision about the write that waits beside them.
func TestReadsBesideWrite(t *testing.T) {
	w := newFrailWorld(t)
	read := use{"mcp__frail__wait", map[string]any{}}
	a := serve(t, step{calls: []use{read, read, read, {"mcp__work__write_file", map[string]any{"path": "a.txt", "content": "a\n"}}}})
	s := w.start(a, "--allowedTools", "mcp__frail__wait")
	d := w.pending()
	events := exec.Command(filepath.Join(bin, "approve"), "log", "--json", "--type", "tool_call_completed")
	events.Env = w.env()
	out, err := events.Output()
	if err != nil {
		t.Fatal(err)
	}
	var done []struct {
		Event struct {
			Timestamp time.Time `json:"timestamp"`
			Duration  float64   `json:"duration_ms"`
			Tool      struct{ Name string }
		}
	}
	if err := json.Unmarshal(out, &done); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var first, last time.Time
	for _, entry := range done {
		e := entry.Event
		if e.Tool.Name != "wait" {
			t.Errorf("%+v has ended", e)
			continue
		}
		begun := e.Timestamp.Add(-time.Duration(e.Duration * float64(time.Millisecond)))
		if first.IsZero() || e.Timestamp.Before(first) {
			first = e.Timestamp
		}
		if begun.After(last) {
			last = begun
		}
	}
	if len(done) != 3 || !last.Before(first) {
		t.Errorf("the reads were not at the same time: %s", out)
	}
	w.decide(d, client.Allow, "a new file")
	w.finish(s)
	if got := w.read("a.txt"); got != "a\n" {
		t.Errorf("a.txt is %q", got)
	}
}
