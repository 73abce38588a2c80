package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/client"
)

// diskServer is an MCP server whose writes do not depend on the guard's disk:
// put and scratch write a file, and answer once the file `gate` is there, if
// they name one.
const diskServer = `
import { createInterface } from "node:readline";
import { existsSync, watch, writeFileSync } from "node:fs";
import { dirname } from "node:path";
const text = (t) => ({ content: [{ type: "text", text: t }] });
const file = { type: "object", properties: { path: { type: "string" }, content: { type: "string" }, gate: { type: "string" } } };
const tools = [
  { name: "look", inputSchema: { type: "object", properties: {} } },
  { name: "put", inputSchema: file },
  { name: "scratch", inputSchema: file },
];
const appears = (path) => new Promise((done) => {
  const w = watch(dirname(path), look);
  function look() { if (existsSync(path)) { w.close(); done(); } }
  look();
});
const call = async ({ name, arguments: a }) => {
  if (name === "look") return text("looked");
  writeFileSync(a.path, a.content);
  if (a.gate) await appears(a.gate);
  return text("written");
};
createInterface({ input: process.stdin }).on("line", async (line) => {
  const m = JSON.parse(line);
  if (m.id === undefined) return;
  const result = m.method === "initialize" ? { protocolVersion: m.params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: "disk", version: "1" } }
    : m.method === "tools/list" ? { tools } : m.method === "tools/call" ? await call(m.params) : {};
  process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id: m.id, result }) + "\n");
});
`

// onDisk is a guard with that server.
func onDisk(t *testing.T) *guard {
	t.Helper()
	program, err := exec.LookPath("node")
	if err != nil {
		node(t, filesystemServer) // skips, or fails in CI
	}
	g := newGuard(t, "")
	script := filepath.Join(filepath.Dir(g.home), "disk.mjs")
	if err := os.WriteFile(script, []byte(diskServer), 0o600); err != nil {
		t.Fatal(err)
	}
	g.configure("version: 1\n", fmt.Sprintf(`version: 1
roots: [%q]
servers:
  disk:
    command: %q
    args: [%q]
    tools:
      look: {tier: T0_READ}
      put: {tier: T1_REVERSIBLE_WRITE, effect: {file.write: {path: args.path, content: args.content}}}
      scratch: {tier: T1_REVERSIBLE_WRITE, approval: {required: false}, limits: {rate: 10000/s}, effect: {file.write: {path: args.path, content: args.content}}}
`, g.work, program, script))
	g.must("mcpguardd", "accept", "disk", "--yes")
	return g
}

// unwritable makes every write of the daemon to a file fail, until the returned
// function is called. Sockets, and processes that it started before, are not
// concerned.
func (g *guard) unwritable() (mend func()) {
	g.t.Helper()
	pid := g.daemon()
	var was unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, nil, &was); err != nil {
		g.t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 0, Max: was.Max}
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &none, nil); err != nil {
		g.t.Fatal(err)
	}
	mend = func() {
		if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &was, nil); err != nil && err != unix.ESRCH {
			g.t.Error(err)
		}
	}
	g.t.Cleanup(mend)
	return mend
}

// well waits until the daemon says of its database what it should.
func (g *guard) well(want bool) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		s, err := g.api.Status(ctx)
		if err != nil {
			g.t.Fatal(err)
		}
		if (s.StoreProblem == "") == want {
			return
		}
		time.Sleep(20 * time.Millisecond) // there is no event of a store that cannot write
	}
}

// wantUnrecorded checks that a call was refused because nothing could be
// recorded, in words that the agent can use.
func wantUnrecorded(t *testing.T, what string, r reply) {
	t.Helper()
	w := r.word()
	if w.Status != "denied" || w.Rule != "record_failed" || !strings.Contains(w.Reason, "could not record this call, so it did not run") || w.Repair == "" {
		t.Errorf("%s was answered %+v: %s", what, w, r.raw)
	}
}

// TestPromise4_NothingRunsWhileTheDiskIsUnwritable takes the disk away from a
// daemon that serves: nothing above a read runs, no read is answered, no change
// can be allowed. What is refused stays refused. Once the disk is there again
// the guard goes on by itself.
func TestPromise4_NothingRunsWhileTheDiskIsUnwritable(t *testing.T) {
	t.Parallel()
	g := onDisk(t)
	w := g.wire("disk")
	w.initialize("patient", nil)
	put := func(tool, name string) m { return m{"path": filepath.Join(g.work, name), "content": "new\n"} }
	if r := w.call("look", m{}); !r.ok() {
		t.Fatalf("a read was answered %s", r.raw)
	}
	_, first := w.startCall("put", put("put", "allowed.txt"))
	allowed := g.pending(1)[0]
	_, second := w.startCall("put", put("put", "denied.txt"))
	denied := g.pending(2)[1]

	mend := g.unwritable()
	wantUnrecorded(t, "a read", w.call("look", m{}))
	wantUnrecorded(t, "a write", w.call("scratch", put("scratch", "scratch.txt")))
	wantUnrecorded(t, "a write that asks", w.call("put", put("put", "asked.txt")))
	g.well(false)
	if out := g.run(nil, "approve", "allow", allowed.ID, "--digest", allowed.Digest, "--reason", "reviewed by the test"); out.code == 0 || !strings.Contains(out.errors, "denying still works") {
		t.Errorf("a change was allowed, or refused without a word: %s", out)
	}
	if out := g.run(nil, "approve", "--list"); !strings.Contains(out.errors, "nothing can run at the moment") {
		t.Errorf("the list does not say so: %s", out)
	}
	g.deny(denied, "not while the disk is full")
	if a := w.await("the denied call", second).word(); a.Status != "denied" || a.Reason != "not while the disk is full" {
		t.Errorf("the denied call was answered %+v", a)
	}
	late := g.wire("disk")
	if r := late.request("initialize", m{"protocolVersion": "2025-11-25", "capabilities": m{}, "clientInfo": m{"name": "late", "version": "1"}}); r.Error == nil {
		t.Errorf("a session that could not be recorded was served: %s", r.raw)
	}
	for _, name := range []string{"allowed.txt", "denied.txt", "scratch.txt", "asked.txt"} {
		if got := g.read(name); got != "" {
			t.Errorf("%s was written: %q", name, got)
		}
	}

	mend()
	g.well(true)
	if r := w.call("look", m{}); !r.ok() {
		t.Errorf("a read was answered %s", r.raw)
	}
	if r := w.call("scratch", put("scratch", "scratch.txt")); !r.ok() || g.read("scratch.txt") != "new\n" {
		t.Errorf("a write was answered %s", r.raw)
	}
	g.allow(allowed)
	if r := w.await("the allowed call", first); !r.ok() || g.read("allowed.txt") != "new\n" {
		t.Errorf("the allowed call was answered %s", r.raw)
	}
	if d := g.ended(denied.ID, client.Denied); len(d.Decisions) != 1 || d.Decisions[0].Reason != "not while the disk is full" {
		t.Errorf("the denied approval is %+v", d)
	}
	g.alerted("store_write_failed")
	g.eachOnRecord(map[string]string{"allowed.txt": "new\n", "scratch.txt": "new\n"})
}

// TestPromise4_AnUnrecordedOutcomeIsNotBuiltUpon takes the disk away while a
// write runs: what became of it is on record once the disk is there again, and
// until then nothing else changes its target.
func TestPromise4_AnUnrecordedOutcomeIsNotBuiltUpon(t *testing.T) {
	t.Parallel()
	g := onDisk(t)
	w := g.wire("disk")
	w.initialize("patient", nil)
	path, gate := filepath.Join(g.work, "a.txt"), filepath.Join(g.work, "gate")
	_, running := w.startCall("put", m{"path": path, "content": "first\n", "gate": gate})
	a := g.one()
	g.allow(a)
	g.ended(a.ID, client.Executing)

	mend := g.unwritable()
	g.write("gate", "")
	if got := w.await("the call", running).word(); got.Status != "unknown" || got.Rule != "record_failed" {
		t.Errorf("the call was answered %+v", got)
	}
	wantUnrecorded(t, "another write", w.call("scratch", m{"path": path, "content": "second\n"}))
	if got := g.read("a.txt"); got != "first\n" {
		t.Errorf("the file holds %q", got)
	}
	mend()
	if d := g.ended(a.ID, client.Executed); d.Receipt == nil || d.Receipt.ReadBack != "verified" {
		t.Errorf("the approval has the receipt %+v", d.Receipt)
	}
	if r := w.call("scratch", m{"path": path, "content": "second\n"}); !r.ok() || g.read("a.txt") != "second\n" {
		t.Errorf("a write afterwards was answered %s", r.raw)
	}
}

// alerted waits for an alert of a kind.
func (g *guard) alerted(kind string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, err := range g.api.Watch(ctx) {
		if err != nil {
			g.t.Fatal(err)
		}
		list, err := g.api.Alerts(ctx, false)
		if err != nil {
			g.t.Fatal(err)
		}
		for _, a := range list {
			if a.Kind == kind {
				return
			}
		}
	}
}

// eachOnRecord checks that the workspace has exactly these files, and that the
// log has an intent and a completion for each.
func (g *guard) eachOnRecord(files map[string]string) {
	g.t.Helper()
	list, err := os.ReadDir(g.work)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range list {
		if want, ok := files[f.Name()]; !ok || g.read(f.Name()) != want {
			g.t.Errorf("%s holds %q", f.Name(), g.read(f.Name()))
		}
	}
	type line struct {
		Event, Status string
		Call          string `json:"call_id"`
		Receipts      []struct{ ID string }
	}
	intents, done := map[string]bool{}, map[string]int{}
	for text := range strings.Lines(g.must("mcpguardd", "audit", "export")) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			g.t.Fatal(err)
		}
		switch {
		case l.Event == "tool_call_authorized":
			intents[l.Call] = true
		case l.Event == "tool_call_completed" && l.Status == "ok":
			for _, r := range l.Receipts {
				if !intents[l.Call] {
					g.t.Errorf("%s was written before its intent", r.ID)
				}
				done[r.ID]++
			}
		}
	}
	for name := range files {
		if done[name] != 1 {
			g.t.Errorf("%s is %d times on record", name, done[name])
		}
	}
}
