package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
)

// TestTrafficFlowsWhileAWriteIsHeld: pings, reads, lists and other calls are
// answered while one call waits for a human, and reads run beside each other.
func TestTrafficFlowsWhileAWriteIsHeld(t *testing.T) {
	t.Parallel()
	g, path := holding(t, "")
	w := g.wire("files")
	w.initialize("claude-code", nil)
	_, held := w.startCall("write_file", map[string]any{"path": path, "content": "two\n"})
	a := g.one()

	type started struct {
		what   string
		answer <-chan []byte
		want   string
	}
	var all []started
	for i := range 16 {
		name := fmt.Sprintf("r%d.txt", i)
		p := g.write(name, "content of "+name)
		_, answer := w.startCall("read_text_file", map[string]any{"path": p})
		all = append(all, started{"a read", answer, "content of " + name})
		_, answer = w.start("ping", nil)
		all = append(all, started{"a ping", answer, `"result":{}`})
	}
	_, answer := w.start("tools/list", nil)
	all = append(all, started{"a list", answer, `"read_text_file"`})
	for _, s := range all {
		if r := w.await(s.what, s.answer); !strings.Contains(r.raw, s.want) {
			t.Errorf("%s was answered %s", s.what, r.raw)
		}
	}
	// A second write waits beside the first, and can be decided before it.
	_, other := w.startCall("write_file", map[string]any{"path": filepath.Join(g.work, "b.txt"), "content": "b\n"})
	both := g.pending(2)
	i := slices.IndexFunc(both, func(b client.Approval) bool { return b.ID != a.ID })
	g.allow(both[i])
	if r := w.await("the second write", other); !r.ok() || g.read("b.txt") != "b\n" {
		t.Errorf("the second write was answered %s", r.raw)
	}
	select {
	case frame := <-held:
		t.Fatalf("the held call was answered %s", frame)
	default:
	}
	g.allow(a)
	if r := w.await("the held write", held); !r.ok() || g.read("a.txt") != "two\n" {
		t.Errorf("the held write was answered %s", r.raw)
	}
}

// TestSimultaneousEdits: two edits of one file, approved together, end as if
// one came after the other: the second is stale and asks again.
func TestSimultaneousEdits(t *testing.T) {
	t.Parallel()
	g, path := holding(t, "hold: {default: wait}\n")
	g.write("a.txt", "one\ntwo\n")
	first, second := g.sdk("agent-1", "files"), g.sdk("agent-2", "files")
	answers := map[string]func() reply{}
	callOf := func(c *sdkClient, old, new string) {
		id := c.startCall("edit_file", edit(path, old, new), options{})
		answers[new] = func() reply { return c.answer(id) }
	}
	callOf(first, "one\n", "ONE\n")
	callOf(second, "two\n", "TWO\n")
	both := g.pending(2)
	done := make(chan output, 2)
	for _, a := range both {
		go func() { // ends with the command
			done <- g.run(nil, "approve", "allow", a.ID, "--digest", a.Digest, "--reason", "approved together")
		}()
	}
	for range both {
		if o := <-done; o.code != 0 {
			t.Error(o)
		}
	}
	fresh := g.one()
	var ran, stale client.Detail
	for _, a := range both {
		if a.ID == fresh.Replaces {
			stale = g.ended(a.ID, client.Stale)
		} else {
			ran = g.ended(a.ID, client.Executed)
		}
	}
	if stale.ID == "" || ran.ID == "" {
		t.Fatalf("of two approvals, %q ran and %q went stale", ran.ID, stale.ID)
	}
	half := g.read("a.txt")
	if half != "ONE\ntwo\n" && half != "one\nTWO\n" {
		t.Fatalf("after the first edit the file holds %q", half)
	}
	g.allow(fresh)
	for what, answer := range answers {
		if r := answer(); !r.ok() {
			t.Errorf("the edit to %q was answered %s", what, r.raw)
		}
	}
	if got := g.read("a.txt"); got != "ONE\nTWO\n" {
		t.Errorf("after both edits the file holds %q", got)
	}
}

// TestBareServerLosesAnEdit shows what TestSimultaneousEdits is worth: the same
// two edits, sent together to the server without the guard, can lose one.
func TestBareServerLosesAnEdit(t *testing.T) {
	t.Parallel()
	script := node(t, filesystemServer)
	g := newGuard(t, "")
	w := g.bare("node", script, g.work)
	w.initialize("agent", nil)
	for round := range 50 {
		path := g.write("a.txt", "one\ntwo\n")
		_, first := w.startCall("edit_file", edit(path, "one\n", "ONE\n"))
		_, second := w.startCall("edit_file", edit(path, "two\n", "TWO\n"))
		if a, b := w.await("the first edit", first), w.await("the second edit", second); !a.ok() || !b.ok() {
			t.Fatalf("the edits were answered %s and %s", a.raw, b.raw)
		}
		if got := g.read("a.txt"); got != "ONE\nTWO\n" {
			t.Logf("in round %d both edits succeeded and the file holds %q", round+1, got)
			return
		}
	}
	t.Log("no edit was lost in 50 rounds on this machine")
}

// TestPromise8_SecretsStayOnThisSide: a server gets the environment that the
// policy names and nothing of the client's, and a configured secret that it
// says, in an answer or on standard error, does not get past the guard.
func TestPromise8_SecretsStayOnThisSide(t *testing.T) {
	t.Parallel()
	const secret, clients = "s3cr3t-value-of-the-configuration", "the-clients-own-key"
	script := node(t, everythingServer)
	g := newGuard(t, "")
	file := filepath.Join(filepath.Dir(g.home), "token")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.add("all", "--preset", "everything", "--secret", "API_TOKEN=file:"+file, "--",
		"node", "--import", "data:text/javascript,console.error('my token is '+process.env.API_TOKEN)", script)
	w := newWire(t, g.work, g.environ("ANTHROPIC_API_KEY="+clients, "LD_LIBRARY_PATH=/nowhere"), "/bin/sh", "-c", `"$0" stdio "$1"; exit $?`, program("mcpguard"), "all")
	w.initialize("agent", nil)

	r := w.call("get-env", map[string]any{})
	var env map[string]string
	if err := json.Unmarshal([]byte(r.text()), &env); err != nil {
		t.Fatalf("the server's environment: %v\n%s", err, r.raw)
	}
	for name := range env {
		if !slices.Contains([]string{"HOME", "LANG", "PATH", "TMPDIR", "API_TOKEN"}, name) {
			t.Errorf("the server has %s in its environment", name)
		}
	}
	if env["API_TOKEN"] == "" || strings.Contains(env["API_TOKEN"], "s3cr3t") {
		t.Errorf("the token reads %q", env["API_TOKEN"])
	}
	// The redacted text must not come back as content.
	if r := w.call("echo", map[string]any{"message": "it was " + secret}); strings.Contains(r.raw, secret) {
		t.Errorf("an answer carries the secret: %s", r.raw)
	}
	w.close()
	log, audit := g.read(g.paths.Log()), g.must("mcpguardd", "audit", "export")
	if !strings.Contains(log, "my token is ") {
		t.Errorf("the server's standard error is not in the log:\n%s", log)
	}
	for what, text := range map[string]string{"log": log, "audit log": audit, "standard error of the client": w.stderr.String(), "configuration": g.read(g.paths.ConfigFile())} {
		if strings.Contains(text, secret) || strings.Contains(text, clients) {
			t.Errorf("a secret is in the %s", what)
		}
	}
}

// TestPromise1_DefaultDeny: what no policy names is neither listed nor
// callable, whatever the server offers.
func TestPromise1_DefaultDeny(t *testing.T) {
	t.Parallel()
	script := node(t, everythingServer)
	g := newGuard(t, "")
	g.add("all", "--", "node", script)
	text := g.read(g.paths.ConfigFile())
	if !strings.Contains(text, "    preset: everything\n") || strings.Contains(text, "    tools:") {
		t.Fatalf("the preset does not name all tools:\n%s", text)
	}
	g.configure("    preset: everything\n", "    tools:\n      echo: {tier: T0_READ}\n")
	w := g.wire("all")
	w.initialize("agent", nil)
	if names := w.request("tools/list", nil).names(); !slices.Equal(names, []string{"echo"}) {
		t.Errorf("the client sees %q", names)
	}
	if r := w.call("echo", map[string]any{"message": "hello"}); r.text() != "Echo: hello" {
		t.Errorf("what is named was answered %s", r.raw)
	}
	for _, tool := range []string{"get-env", "get-sum", "Echo", "echo ", "no-such-tool", ""} {
		if r := w.call(tool, map[string]any{"a": 1, "b": 2}); r.ok() || r.Error == nil && r.word().Status != "denied" {
			t.Errorf("%q was answered %s", tool, r.raw)
		}
	}
	for _, method := range []string{"prompts/list", "prompts/get", "resources/list", "resources/read", "no/such/method"} {
		if r := w.request(method, map[string]any{"name": "simple-prompt", "uri": "demo://resource/dynamic/text/1"}); r.Error == nil {
			t.Errorf("%s was answered %s", method, r.raw)
		}
	}
}

// TestServerThatDoesNotStart: the client reads that, and the developer why.
func TestServerThatDoesNotStart(t *testing.T) {
	t.Parallel()
	g, path := holding(t, "")
	g.configure("command: node", "command: /nowhere/node")
	w := g.wire("files")
	r := w.request("initialize", map[string]any{"protocolVersion": "2025-11-25", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "x", "version": "1"}})
	if r.Error == nil || !strings.Contains(r.Error.Message, `could not start the server "files"`) {
		t.Errorf("the client reads %s", r.raw)
	}
	w.close()
	if line := w.stderr.String(); !strings.Contains(line, "/nowhere/node") {
		t.Errorf("the developer reads %q", line)
	}
	if g.read(path) != "one\n" {
		t.Error("the file changed")
	}
}
