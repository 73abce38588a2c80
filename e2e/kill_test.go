package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/mcpguard/mcpguard/internal/client"
)

// kills is how often the daemon is killed, for each server: MCPGUARD_KILLS, or
// few. The long run is
//
//	MCPGUARD_KILLS=1000 go test ./e2e -run TestPromise5 -timeout 120m -v
func kills(t *testing.T) int {
	if s := os.Getenv("MCPGUARD_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("MCPGUARD_KILLS: %v", err)
		}
		return n
	}
	return 15
}

// crash is a guard whose daemon is killed again and again while calls are
// approved and executed. This process is the client of all sessions, so that
// they belong to one run.
type crash struct {
	*guard
	server string
	call   func(file, line string) (tool string, args map[string]any)
	random *rand.Rand
	daemon *exec.Cmd
	met    map[string]int // in which state the kills found the approvals
}

// deed is one line that one call puts into one file, once.
type deed struct {
	correlation, file, line string
}

// TestPromise5_KillTheDaemon kills the daemon with SIGKILL at random times
// while calls are approved and executed. After each restart no effect may have
// happened twice, no receipt may be without its effect, no effect without its
// intent; the database and the audit log are whole; and what was not done is
// done by calling again, once.
func TestPromise5_KillTheDaemon(t *testing.T) {
	linuxOnly(t)
	settings := fmt.Sprintf("roots: [%q]\nhold: {default: wait}\n", folder)
	unlimited := "    tools:\n      %s: {limits: {rate: 10000/m}}\n"
	t.Run("workspace", func(t *testing.T) {
		t.Parallel()
		g := newGuard(t, settings)
		g.add("work", "--builtin", "workspace", "--workspace", g.work)
		g.configure("    builtin: workspace\n", "    builtin: workspace\n"+fmt.Sprintf(unlimited, "append_file"))
		c := &crash{guard: g, server: "work", call: func(file, line string) (string, map[string]any) {
			return "append_file", map[string]any{"path": file, "content": line}
		}}
		c.rounds(t, kills(t))
	})
	t.Run("shown afterwards", func(t *testing.T) {
		t.Parallel()
		g := newGuard(t, settings)
		g.add("work", "--builtin", "workspace", "--workspace", g.work)
		g.configure("    builtin: workspace\n", "    builtin: workspace\n    tools:\n      append_file: {approval: {mode: post}, limits: {rate: 10000/m}}\n")
		c := &crash{guard: g, server: "work", call: func(file, line string) (string, map[string]any) {
			return "append_file", map[string]any{"path": file, "content": line}
		}}
		c.rounds(t, kills(t))
		if i := slices.IndexFunc(g.list(client.Executed), func(a client.Approval) bool { return !a.Post }); i >= 0 {
			t.Errorf("somebody was asked about one of %d changes", len(g.list(client.Executed)))
		}
		if alerts := g.run(nil, "approve", "ack"); strings.Count(alerts.out, client.AlertRanUnasked) != 1 {
			t.Errorf("one run is told of in %s", alerts)
		}
	})
	t.Run("filesystem", func(t *testing.T) {
		t.Parallel()
		script := node(t, filesystemServer)
		g := newGuard(t, settings)
		g.add("files", "--workspace", g.work, "--", "node", script, g.work)
		g.configure("    preset: filesystem\n", "    preset: filesystem\n"+fmt.Sprintf(unlimited, "edit_file"))
		c := &crash{guard: g, server: "files", call: func(file, line string) (string, map[string]any) {
			return "edit_file", edit(g.work+"/"+file, "start\n", "start\n"+line)
		}}
		c.rounds(t, kills(t))
	})
}

func (c *crash) rounds(t *testing.T, n int) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d kills, seed %d", n, seed)
	c.random, c.met = rand.New(rand.NewPCG(seed, 1)), map[string]int{}
	c.write("shared.txt", "start\n")
	t.Cleanup(c.stop)
	var all []deed
	span := c.undisturbed(&all)
	for round := range n {
		deeds := c.deeds(fmt.Sprintf("k%d", round))
		c.disturbed(deeds, time.Duration(c.random.Int64N(int64(span))))
		c.inspect(deeds)
		c.again(deeds)
		all = append(all, deeds...)
		if t.Failed() {
			t.Fatalf("after the kill in round %d", round)
		}
	}
	c.accounts(all)
	t.Logf("a round takes %s; the kills found approvals %v", span.Round(time.Millisecond), c.met)
}

// deeds makes four calls: two on files of their own, two on a shared one.
func (c *crash) deeds(name string) []deed {
	var out []deed
	for i := range 4 {
		d := deed{correlation: fmt.Sprintf("%s-%d", name, i), file: fmt.Sprintf("%s-%d.txt", name, i)}
		if i >= 2 {
			d.file = "shared.txt"
		} else {
			c.write(d.file, "start\n")
		}
		d.line = "done by " + d.correlation + "\n"
		out = append(out, d)
	}
	return out
}

// serve starts the daemon in the foreground and waits until it is ready.
func (c *crash) serve() {
	c.t.Helper()
	c.daemon = exec.Command(program("mcpguardd"), "serve")
	c.daemon.Dir, c.daemon.Env = c.work, c.environ()
	out, err := c.daemon.StderrPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.daemon.Start(); err != nil {
		c.t.Fatal(err)
	}
	said := []string{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "is ready in") {
			go func() { // ends with the daemon
				for lines.Scan() {
				}
			}()
			return
		}
		said = append(said, lines.Text())
	}
	c.t.Fatalf("the daemon did not start: %s", strings.Join(said, "\n"))
}

// kill ends the daemon without a chance to do anything.
func (c *crash) kill() {
	_ = c.daemon.Process.Kill()
	_ = c.daemon.Wait() // the signal is its exit
	c.daemon = nil
}

func (c *crash) stop() {
	if c.daemon != nil {
		_ = c.daemon.Process.Signal(os.Interrupt)
		_ = c.daemon.Wait() // its exit code does not matter here
	}
}

// session connects this process as the client.
func (c *crash) session() *wire {
	c.t.Helper()
	w := newWire(c.t, folder, c.environ(), program("mcpguard"), "stdio", c.server, "--no-autostart")
	w.initialize("killer", nil)
	return w
}

// begin sends the calls of deeds, all at once.
func (c *crash) begin(w *wire, deeds []deed, attempt int) []<-chan []byte {
	var out []<-chan []byte
	for _, d := range deeds {
		tool, args := c.call(d.file, d.line)
		_, answer := w.start("tools/call", map[string]any{"name": tool, "arguments": args,
			"_meta": map[string]any{"claudecode/toolUseId": fmt.Sprintf("%s.%d", d.correlation, attempt)}})
		out = append(out, answer)
	}
	return out
}

// reviewer approves whatever waits, until the returned function is called. It
// counts what it approved.
func (c *crash) reviewer() (stop func() int) {
	api := client.New(c.paths.ApproverSocket())
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	approved := 0
	done.Go(func() { // ends with stop
		for _, err := range api.Watch(ctx) {
			if err != nil {
				return
			}
			page, err := api.List(ctx, client.Filter{Status: []string{client.Pending}})
			if err != nil {
				continue // the daemon is gone; the next event comes when it is back
			}
			for _, a := range page.Approvals {
				if _, err := api.Decide(ctx, a.ID, client.DecisionRequest{Decision: client.Allow, Digest: a.Digest, Reason: "approved at once"}); err == nil {
					approved++
				}
			}
		}
	})
	return func() int { cancel(); done.Wait(); api.Close(); return approved }
}

// undisturbed plays rounds without a kill and returns how long one takes.
func (c *crash) undisturbed(all *[]deed) time.Duration {
	c.t.Helper()
	var longest time.Duration
	c.serve()
	for i := range 3 {
		deeds := c.deeds(fmt.Sprintf("calm%d", i))
		w, stop := c.session(), c.reviewer()
		began := time.Now()
		for _, answer := range c.begin(w, deeds, 0) {
			if r := w.await("an undisturbed call", answer); !r.ok() {
				c.t.Fatalf("an undisturbed call was answered %s", r.raw)
			}
		}
		longest = max(longest, time.Since(began))
		stop()
		w.close()
		c.inspect(deeds)
		*all = append(*all, deeds...)
	}
	c.kill()
	c.serve()
	return longest + longest/5
}

// disturbed begins the calls and kills the daemon some time after that; then it
// starts another.
func (c *crash) disturbed(deeds []deed, after time.Duration) {
	c.t.Helper()
	w, stop := c.session(), c.reviewer()
	servers := below(c.daemon.Process.Pid)
	timer := time.NewTimer(after)
	c.begin(w, deeds, 0)
	<-timer.C
	c.kill()
	stop()
	w.close()
	for _, p := range servers {
		if !gone(p.pid, 10*time.Second) {
			c.t.Errorf("the server outlived the daemon: %v", p)
		}
	}
	c.check()
	c.serve()
}

// check looks into the database as the kill has left it.
func (c *crash) check() {
	c.t.Helper()
	db, err := bolt.Open(c.paths.DB(), 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		c.t.Fatalf("the database after a kill: %v", err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		var all error
		for err := range tx.Check() {
			all = errors.Join(all, err)
		}
		return all
	})
	if err := errors.Join(err, db.Close()); err != nil {
		c.t.Errorf("the database after a kill: %v", err)
	}
	if out := c.run(nil, "mcpguardd", "audit", "verify"); out.code != 0 {
		c.t.Errorf("the audit log after a kill: %s", out)
	}
}

// settled waits until nothing is executing or unknown any more.
func (c *crash) settled(api *client.Client) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience/3)
	defer cancel()
	var left []client.Approval
	for _, err := range api.Watch(ctx) {
		if err == nil {
			left, err = api.ListAll(ctx, client.Filter{Status: []string{client.Executing, client.Unknown}})
		}
		if err != nil {
			for _, a := range left {
				c.t.Logf("%s", c.must("approve", "show", a.ID, "--json"))
			}
			alerts, _ := api.Alerts(context.Background(), false)
			c.t.Logf("the alerts: %s", mustJSON(alerts))
			c.t.Fatalf("waiting for the outcomes: %v; without one are %s", err, statuses(left))
		}
		if len(left) == 0 {
			return
		}
	}
}

// approvals returns the newest approvals, by deed.
func (c *crash) approvals(api *client.Client) map[string][]client.Approval {
	c.t.Helper()
	page, err := api.ListAll(context.Background(), client.Filter{Limit: 60})
	if err != nil {
		c.t.Fatal(err)
	}
	out := map[string][]client.Approval{}
	for _, a := range page {
		name, _, _ := strings.Cut(a.CorrelationID, ".")
		out[name] = append(out[name], a)
	}
	return out
}

func (c *crash) count(d deed) int { return strings.Count(c.read(d.file), d.line) }

// inspect compares what is in the files with what the guard says of it.
func (c *crash) inspect(deeds []deed) {
	c.t.Helper()
	api := client.New(c.paths.ApproverSocket())
	defer api.Close()
	c.settled(api)
	of := c.approvals(api)
	for _, d := range deeds {
		executed := 0
		for _, a := range of[d.correlation] {
			c.met[a.Status]++
			switch a.Status {
			case client.Executed:
				executed++
			case client.Approved, client.Cancelled, client.Stale, client.Failed, client.Lapsed:
			default:
				c.t.Errorf("%s: approval %s is %s", d.correlation, a.ID, a.Status)
			}
		}
		if len(of[d.correlation]) == 0 {
			c.met["none"]++
		}
		if n := c.count(d); n != executed {
			c.t.Errorf("%s happened %d times and was executed %d times by the guard's word: %s", d.correlation, n, executed, statuses(of[d.correlation]))
		}
	}
}

// again makes the calls that did not happen once more. Those that were approved
// run without another decision, unless their ground has moved.
func (c *crash) again(deeds []deed) {
	c.t.Helper()
	api := client.New(c.paths.ApproverSocket())
	defer api.Close()
	of := c.approvals(api)
	w := c.session()
	var missing, approved []deed
	for _, d := range deeds {
		if c.count(d) > 0 {
			continue
		}
		own := d.file != "shared.txt"
		if own && slices.ContainsFunc(of[d.correlation], func(a client.Approval) bool { return a.Status == client.Approved }) {
			approved = append(approved, d)
		} else {
			missing = append(missing, d)
		}
	}
	// Nobody is there to decide: the decision from before the kill counts.
	for i, answer := range c.begin(w, approved, 1) {
		if r := w.await("an approved call", answer); !r.ok() {
			c.t.Errorf("%s was approved before the kill and was answered %s", approved[i].correlation, r.raw)
		}
	}
	stop := c.reviewer()
	for i, answer := range c.begin(w, missing, 1) {
		if r := w.await("a repeated call", answer); !r.ok() {
			c.t.Errorf("%s was answered %s", missing[i].correlation, r.raw)
		}
	}
	stop()
	w.close()
	c.met["approved, run after the restart"] += len(approved)
	for _, d := range deeds {
		if n := c.count(d); n != 1 {
			c.t.Errorf("%s happened %d times in the end", d.correlation, n)
		}
	}
}

// accounts reads the whole audit log: each call was completed exactly once, and
// each effect has the one intent that came before it and no more.
func (c *crash) accounts(all []deed) {
	c.t.Helper()
	requested, completed, authorized, ok := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	counts := map[string]map[string]int{"tool_call_requested": requested, "tool_call_completed": completed, "tool_call_authorized": authorized}
	for line := range strings.Lines(c.must("mcpguardd", "audit", "export")) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			c.t.Fatalf("a line of the audit log: %v", err)
		}
		if m := counts[r.Event]; m != nil {
			m[r.CorrelationID]++
			if r.Event == "tool_call_completed" && r.Status == "ok" {
				name, _, _ := strings.Cut(r.CorrelationID, ".")
				ok[name]++
			}
		}
	}
	for id, n := range requested {
		if n != 1 || completed[id] != 1 {
			c.t.Errorf("%s was requested %d times and completed %d times", id, n, completed[id])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(completed)) {
		if requested[id] == 0 {
			c.t.Errorf("%s was completed and never requested", id)
		}
	}
	for _, d := range all {
		begun := authorized[d.correlation+".0"] + authorized[d.correlation+".1"]
		if begun == 0 {
			c.t.Errorf("%s happened without an intent", d.correlation)
		}
		if ok[d.correlation] > 1 {
			c.t.Errorf("%s has %d receipts", d.correlation, ok[d.correlation])
		}
	}
}
