package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/safetext/hostile"
)

// TestPromise2_AnotherFileBehindTheNameIsNotWritten: between the review and the
// decision a link that leads out of the workspace takes the place of what the
// reviewer saw.
func TestPromise2_AnotherFileBehindTheNameIsNotWritten(t *testing.T) {
	t.Parallel()
	g, _ := holding(t, "")
	outside := filepath.Join(filepath.Dir(g.work), "outside")
	for _, dir := range []string{outside, filepath.Join(g.work, "dir")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("one\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := g.sdk("agent", "files")
	call := c.startCall("write_file", map[string]any{"path": filepath.Join(g.work, "dir", "a.txt"), "content": "two\n"}, options{})
	a := g.one()
	if err := os.RemoveAll(filepath.Join(g.work, "dir")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(g.work, "dir")); err != nil {
		t.Fatal(err)
	}
	g.allow(a)
	if w := c.answer(call).word(); w.Status != "denied" && w.Status != "stale" {
		t.Errorf("the agent reads %+v", w)
	}
	if got := g.read(filepath.Join(outside, "a.txt")); got != "one\n" {
		t.Errorf("the file outside holds %q", got)
	}
	if d := g.show(a.ID); d.Status != client.Stale || d.Receipt != nil {
		t.Errorf("the approval is %s with receipt %+v", d.Status, d.Receipt)
	}
}

// TestPromise2_PathsOutsideTheWorkspace: none of the ways to name a file outside
// reaches the server, which was itself given the folder above.
func TestPromise2_PathsOutsideTheWorkspace(t *testing.T) {
	t.Parallel()
	script := node(t, filesystemServer)
	g := newGuard(t, "")
	base := filepath.Dir(g.work)
	for _, dir := range []string{g.work + "-evil", filepath.Join(g.work, "sub")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(base, "secret.txt")
	if err := os.WriteFile(secret, []byte("nobody reads this"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(g.work, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(base, filepath.Join(g.work, "up")); err != nil {
		t.Fatal(err)
	}
	g.add("files", "--", "node", script, base) // the server itself would serve all of it
	w := g.wire("files")
	w.initialize("agent", nil)
	for _, path := range []string{
		secret, g.work + "/../secret.txt", "../secret.txt", g.work + "/link", g.work + "/up/secret.txt",
		g.work + "/sub/../../secret.txt", g.work + "-evil/new.txt", "~/secret.txt", "file://" + secret, g.work + "/link\x00.txt", "",
	} {
		for tool, args := range map[string]map[string]any{
			"read_text_file":      {"path": path},
			"read_multiple_files": {"paths": []string{path}},
			"write_file":          {"path": path, "content": "x"},
			"edit_file":           edit(path, "nobody", "everybody"),
			"move_file":           {"source": path, "destination": g.work + "/here.txt"},
		} {
			r := w.call(tool, args)
			if r.ok() || r.Error == nil && r.word().Status != "denied" || strings.Contains(r.raw, "nobody reads") {
				t.Errorf("%s of %q was answered %s", tool, path, r.raw)
			}
		}
	}
	if g.read(secret) != "nobody reads this" {
		t.Error("the file outside was changed")
	}
	if all := g.list("all"); len(all) != 0 {
		t.Errorf("approvals were asked for: %s", statuses(all))
	}
}

// TestPromise3_OneApprovalOneExecution: identical calls share one approval and
// one execution; of many decisions one wins; what has run asks anew.
func TestPromise3_OneApprovalOneExecution(t *testing.T) {
	t.Parallel()
	g, path := holding(t, "")
	c := g.sdk("claude-code", "files")
	args := edit(path, "one\n", "one\ntwo\n")
	first := c.startCall("edit_file", args, options{})
	a := g.one()
	second := c.startCall("edit_file", args, options{})
	if w := c.answer(first).word(); w.Status != "superseded" || w.ApprovalID != a.ID {
		t.Errorf("the older of two identical calls was answered %+v", w)
	}
	if b := g.one(); b.ID != a.ID {
		t.Errorf("an identical call made approval %s beside %s", b.ID, a.ID)
	}
	const deciders = 6
	done := make(chan output, deciders)
	for i := range deciders {
		go func() { // ends with the command
			done <- g.run(nil, "approve", "allow", a.ID, "--digest", a.Digest, "--reason", fmt.Sprint("decision ", i))
		}()
	}
	won := 0
	for range deciders {
		switch o := <-done; o.code {
		case 0:
			won++
		case 4: // already decided
		default:
			t.Error(o)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d decisions won", won, deciders)
	}
	if r := c.answer(second); !r.ok() {
		t.Fatalf("the newer call was answered %s", r.raw)
	}
	landedOnce(t, g, a.ID, "a.txt", "one\ntwo\n")

	again := c.startCall("edit_file", args, options{})
	b := g.one()
	if b.ID == a.ID {
		t.Error("an approval that was used is used again")
	}
	if out := g.run(nil, "approve", "allow", b.ID, "--digest", a.Digest, "--reason", "the digest of the first"); out.code != 4 {
		t.Errorf("a decision about another change: %s", out)
	}
	g.deny(b, "once is enough")
	if w := c.answer(again).word(); w.Status != "denied" || g.read("a.txt") != "one\ntwo\n" {
		t.Errorf("the third call was answered %+v, and the file holds %q", w, g.read("a.txt"))
	}
}

// TestPromise7_HostileTextStaysText pushes every hostile text through a file's
// name and content and through a reviewer's reason, and looks at what the
// commands print.
func TestPromise7_HostileTextStaysText(t *testing.T) {
	t.Parallel()
	g, _ := holding(t, "hold: {default: wait}\n")
	g.configure("    preset: filesystem\n", "    preset: filesystem\n    tools:\n      write_file: {limits: {rate: 10000/m}}\n")
	w := g.wire("files")
	w.initialize("agent\x1b[31m", nil)
	calls := 0
	for _, h := range hostile.Corpus() {
		if !utf8.ValidString(h.Text) || strings.ContainsAny(h.Text, "\x00") {
			continue // refused before anybody could see it
		}
		name := strings.NewReplacer("/", "-", "\\", "-").Replace(h.Text)
		if len(name) > 100 {
			name = h.Name
		}
		// A name that cannot be is refused; its content is then tried alone.
		for _, path := range []string{filepath.Join(g.work, "x"+name), filepath.Join(g.work, h.Name)} {
			w.startCall("write_file", map[string]any{"path": path, "content": "before\n" + h.Text + "\nafter\n"})
			calls++
		}
	}
	g.until("every call to be asked about or refused", func(all []client.Approval) bool {
		return len(all)+refused(w) == calls
	})
	all := g.list("all")
	if len(all) < 60 {
		t.Fatalf("only %d of %d calls became approvals", len(all), calls)
	}
	for _, args := range [][]string{{"--list"}, {"--list", "--status", "all"}, {"log"}} {
		out := g.run(nil, "approve", args...)
		// In a pipe tabs separate the columns; a tab of a field would make one more.
		columns := strings.Count(strings.SplitN(out.out, "\n", 2)[0], "\t")
		for line := range strings.Lines(out.out) {
			if n := strings.Count(line, "\t"); n != columns || n == 0 {
				t.Errorf("%s: a line has %d tabs, the first has %d: %q", out.command, n, columns, line)
			}
		}
		if err := hostile.Check([]byte(strings.ReplaceAll(out.out+out.errors, "\t", " ")), false); err != nil {
			t.Errorf("%s: %v", out.command, err)
		}
	}
	for _, a := range all {
		out := g.run(nil, "approve", "show", a.ID)
		if err := hostile.Check([]byte(out.out+out.errors), false); err != nil || out.code != 0 {
			t.Errorf("%s: %v\n%q", out.command, err, out.out)
		}
	}
	out := g.run(nil, "approve", "deny", all[0].ID, "--reason", "no\x1b]0;owned\x07 way")
	if err := hostile.Check([]byte(strings.ReplaceAll(out.out+out.errors, "\t", " ")), false); err != nil {
		t.Errorf("%s: %v", out.command, err)
	}
	if log := g.read(g.paths.Log()); strings.ContainsAny(log, "\x1b\x07") {
		t.Error("the log has control characters")
	}
}

// refused counts the calls that the guard has answered with a no.
func refused(w *wire) int {
	n := 0
	for _, f := range w.all() {
		if strings.Contains(f, `"isError":true`) && strings.Contains(f, `"status":"denied"`) {
			n++
		}
	}
	return n
}

// TestTenClientsStartOneDaemon: ten clients that come at once, with no daemon
// there, share the one that one of them starts.
func TestTenClientsStartOneDaemon(t *testing.T) {
	t.Parallel()
	g := newGuard(t, "")
	g.add("work", "--builtin", "workspace")
	var all []*wire
	for range 10 {
		all = append(all, g.wire("work"))
	}
	for _, w := range all {
		w.initialize("agent", nil)
	}
	if n := strings.Count(g.read(g.paths.Log()), `"msg":"ready"`); n != 1 {
		t.Errorf("%d daemons became ready", n)
	}
	if out := g.must("mcpguardd", "status"); !strings.Contains(out, "sessions  10") {
		t.Errorf("the daemon does not have ten sessions:\n%s", out)
	}
}

// TestRootsAreTheGuards: what a client says its roots are cannot widen what a
// server may touch; the guard answers by itself.
func TestRootsAreTheGuards(t *testing.T) {
	t.Parallel()
	script := node(t, everythingServer)
	g := newGuard(t, "")
	g.add("all", "--preset", "everything", "--", "node", script)
	w := g.wire("all")
	w.respond = func(method string, _ []byte) any {
		if method == "roots/list" {
			t.Error("the client was asked for its roots")
			return map[string]any{"roots": []any{map[string]any{"uri": "file:///"}}}
		}
		return nil
	}
	w.initialize("agent", map[string]any{"roots": map[string]any{"listChanged": true}})
	w.frame("notifications/tools/list_changed")
	w.notify("notifications/roots/list_changed", map[string]any{})
	if r := w.call("get-roots-list", map[string]any{}); !r.ok() || !strings.Contains(r.text(), "Current MCP Roots (1 total)") || !strings.Contains(r.text(), "URI: file://"+g.work) {
		t.Errorf("the server sees the roots %s", r.raw)
	}
}
