package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// guard is one guard with a folder of its own, and a workspace beside it.
type guard struct {
	t     testing.TB
	home  string // MCPGUARD_HOME
	work  string // where the clients work
	paths ipc.Paths
	api   *client.Client
}

// newGuard writes the beginning of a configuration: whoever can reach the
// socket may decide, and then settings. The daemon starts with the first
// client. At the end of the test everything is stopped, the audit log is
// verified, and no process may be left.
func newGuard(t testing.TB, settings string) *guard {
	t.Helper()
	// Not t.TempDir: the path of a socket has at most some hundred bytes.
	base, err := os.MkdirTemp("/tmp", "mg-")
	if err != nil {
		t.Fatal(err)
	}
	if base, err = filepath.EvalSymlinks(base); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	g := &guard{t: t, home: filepath.Join(base, "guard"), work: filepath.Join(base, "work")}
	for _, dir := range []string{g.home, g.work} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	g.paths = ipc.Paths{Config: g.home, State: g.home}
	text := "version: 1\napprovers: {unsigned: any}\n" + settings
	if err := os.WriteFile(g.paths.ConfigFile(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g.api = client.New(g.paths.ApproverSocket())
	t.Cleanup(g.close)
	return g
}

// close stops the daemon, verifies the audit log and looks for processes that
// outlived it. Clients are closed before: their cleanups were registered later.
func (g *guard) close() {
	g.api.Close()
	var mine []process
	if pid := g.daemon(); pid > 0 {
		mine = below(pid)
		if out := g.run(nil, "mcpguardd", "stop", "--force"); out.code != 0 {
			g.t.Errorf("stopping the daemon: %s", out)
		}
		mine = append(mine, process{pid: pid})
	}
	for _, p := range mine {
		if !gone(p.pid, 10*time.Second) {
			g.t.Errorf("still runs after the daemon was stopped: %v", p)
		}
	}
	if _, err := os.Stat(g.paths.DB()); err == nil {
		if out := g.run(nil, "mcpguardd", "audit", "verify"); out.code != 0 {
			g.t.Errorf("the audit log: %s", out)
		}
	}
	if g.t.Failed() {
		if log, err := os.ReadFile(g.paths.Log()); err == nil {
			g.t.Logf("the daemon's log:\n%s", tail(string(log), 60))
		}
	}
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// daemon returns the process id of the daemon, or 0 where none runs.
func (g *guard) daemon() int {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := g.api.Status(ctx)
	if err != nil {
		return 0
	}
	return s.PID
}

// output is what a command came to.
type output struct {
	command     string
	code        int
	out, errors string
}

func (o output) String() string {
	return o.command + " ended with " + string(mustJSON(o.code)) + "\n" + o.out + o.errors
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a value of the tests' own
	}
	return b
}

// environ is the environment of the programs: the test's own, without what would
// lead them to another guard or home folder.
func (g *guard) environ(extra ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "HOME=") || strings.HasPrefix(kv, "MCPGUARD_") || strings.HasPrefix(kv, "XDG_") || strings.HasPrefix(kv, "CLAUDE")
	})
	return append(append(env, "HOME="+filepath.Dir(g.home), ipc.EnvHome+"="+g.home, "NO_COLOR=1"), extra...)
}

// run runs one of the programs in the workspace, to its end.
func (g *guard) run(env []string, name string, args ...string) output {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(name), args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = g.work, g.environ(env...), &out, &errs
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		g.t.Fatalf("running %s: %v", name, err)
	}
	return output{name + " " + strings.Join(args, " "), cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// must runs one of the programs, which has to succeed, and returns what it printed.
func (g *guard) must(name string, args ...string) string {
	g.t.Helper()
	out := g.run(nil, name, args...)
	if out.code != 0 {
		g.t.Fatal(out)
	}
	return out.out
}

// addWith onboards a server with more in the environment.
func (g *guard) addWith(env []string, name string, command ...string) {
	g.t.Helper()
	if out := g.run(env, "mcpguardd", append([]string{"add", name}, command...)...); out.code != 0 {
		g.t.Fatal(out)
	}
}

// add onboards a server: mcpguardd add NAME FLAG… -- COMMAND ARG….
func (g *guard) add(name string, command ...string) {
	g.must("mcpguardd", append([]string{"add", name}, command...)...)
}

// addFiles onboards the real filesystem server for the workspace.
func (g *guard) addFiles(name string) {
	g.t.Helper()
	g.add(name, "--", "node", node(g.t, filesystemServer), g.work)
}

// configure replaces words of the configuration, as an editor would.
func (g *guard) configure(old, new string) {
	g.t.Helper()
	text := g.read(g.paths.ConfigFile())
	if !strings.Contains(text, old) {
		g.t.Fatalf("%q is not in the configuration:\n%s", old, text)
	}
	if err := os.WriteFile(g.paths.ConfigFile(), []byte(strings.Replace(text, old, new, 1)), 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.must("mcpguardd", "check")
}

// write puts a file into the workspace; read reads one, "" where there is none.
func (g *guard) write(name, content string) string {
	g.t.Helper()
	path := filepath.Join(g.work, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		g.t.Fatal(err)
	}
	return path
}

func (g *guard) read(name string) string {
	g.t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(g.work, name)
	}
	b, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		g.t.Fatal(err)
	}
	return string(b)
}

// until looks after each change in the daemon until look has seen what it
// waits for. what names that for the failure.
func (g *guard) until(what string, look func(all []client.Approval) bool) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var last []client.Approval
	for _, err := range g.api.Watch(ctx) {
		if err == nil {
			last, err = g.api.ListAll(ctx, client.Filter{})
		}
		if err != nil {
			g.t.Fatalf("waiting for %s: %v; the approvals were %s", what, err, statuses(last))
		}
		if look(last) {
			return
		}
	}
}

func statuses(all []client.Approval) string {
	var b strings.Builder
	for _, a := range all {
		b.WriteString(a.ID + " " + a.Tool + " " + a.Status + " " + a.Why + "; ")
	}
	return b.String()
}

// pending waits until exactly n approvals wait for a decision with a call held
// for each, and returns them, the oldest first.
func (g *guard) pending(n int) []client.Approval {
	g.t.Helper()
	var found []client.Approval
	g.until("approvals to wait", func(all []client.Approval) bool {
		found = found[:0]
		for _, a := range all {
			if a.Status == client.Pending && a.Held {
				found = append(found, a)
			}
		}
		return len(found) == n
	})
	slices.SortFunc(found, func(a, b client.Approval) int { return strings.Compare(a.ID, b.ID) })
	return found
}

// one waits for the one approval that waits.
func (g *guard) one() client.Approval { g.t.Helper(); return g.pending(1)[0] }

// ended waits until an approval has a status, and returns it in full as
// `approve show --json` prints it.
func (g *guard) ended(id string, want ...string) client.Detail {
	g.t.Helper()
	g.until(id+" to be "+strings.Join(want, " or "), func(all []client.Approval) bool {
		return slices.ContainsFunc(all, func(a client.Approval) bool { return a.ID == id && slices.Contains(want, a.Status) })
	})
	return g.show(id)
}

// show is `approve show --json`.
func (g *guard) show(id string) client.Detail {
	g.t.Helper()
	var d client.Detail
	if err := json.Unmarshal([]byte(g.must("approve", "show", id, "--json")), &d); err != nil {
		g.t.Fatalf("approve show: %v", err)
	}
	return d
}

// list is `approve --list --json` for a status, the oldest first.
func (g *guard) list(status string) []client.Approval {
	g.t.Helper()
	var all []client.Approval
	if err := json.Unmarshal([]byte(g.must("approve", "--list", "--json", "--status", status)), &all); err != nil {
		g.t.Fatalf("approve --list: %v", err)
	}
	slices.SortFunc(all, func(a, b client.Approval) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// allow and deny are what a reviewer does.
func (g *guard) allow(a client.Approval) {
	g.t.Helper()
	g.must("approve", "allow", a.ID, "--digest", a.Digest, "--reason", "reviewed by the test")
}

func (g *guard) deny(a client.Approval, reason string) {
	g.t.Helper()
	g.must("approve", "deny", a.ID, "--reason", reason)
}

// record is one line of `mcpguardd audit export`.
type record struct {
	Event         string `json:"event"`
	CorrelationID string `json:"correlation_id"`
	Status        string `json:"status"`
	Verdict       string `json:"verdict"`
	Rule          string `json:"rule"`
	Reason        string `json:"reason"`
	Tool          struct {
		Server, Name string
	} `json:"tool"`
}

// audited returns the audit log.
func (g *guard) audited() []record {
	g.t.Helper()
	var out []record
	for line := range strings.Lines(g.must("mcpguardd", "audit", "export")) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			g.t.Fatalf("a line of the audit log: %v\n%s", err, line)
		}
		out = append(out, r)
	}
	return out
}
