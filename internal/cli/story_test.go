// Package cli_test tells stories: daemon, shim and approve run together as
// real processes, with a scripted agent. Each story stands in testdata/story.
package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/demo"
)

// bin is the folder with the programs, built once.
var bin string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mcpguard-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	out, err := exec.Command("go", "build", "-o", dir, "../../cmd/mcpguardd", "../../cmd/mcpguard", "../../cmd/approve").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "building the programs: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/story",
		Setup: setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"agent":     cmdAgent,
			"pending":   cmdPending,
			"guarded":   cmdGuarded,
			"killall":   cmdKill,
			"status":    cmdStatus,
			"alert":     cmdAlert,
			"run":       cmdRun,
			"reachable": cmdReachable,
		},
	})
}

// patience bounds every wait of a story; it is no measure of speed.
const patience = 30 * time.Second

// setup gives a story a home of its own, short enough for sockets, a workspace
// and agents. What runs at the end of the story is ended.
func setup(env *testscript.Env) error {
	home, err := os.MkdirTemp("", "mg")
	if err != nil {
		return err
	}
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	ws := filepath.Join(env.WorkDir, "ws")
	if err := os.MkdirAll(ws, 0o755); err != nil {
		return err
	}
	env.Setenv("MCPGUARD_HOME", home)
	env.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	env.Setenv("WS", ws)
	env.Setenv("HERE", here)
	env.Setenv("NO_COLOR", "1")
	agents := &agents{env: env, open: map[string]*agent{}, calls: map[string]*call{}}
	env.Values["agents"] = agents
	env.Defer(func() {
		agents.close()
		end(env, home)
	})
	return nil
}

// end stops the daemon of a story and makes sure that it is gone.
func end(env *testscript.Env, home string) {
	stop := exec.Command(filepath.Join(bin, "mcpguardd"), "stop", "--force")
	stop.Env = env.Vars
	out, err := stop.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) { // 3: it does not run
		env.T().Log("stopping the daemon: ", err, string(out))
	}
	// What the daemon says of a story is shown where the story fails.
	if log, err := os.ReadFile(filepath.Join(home, "guard.log")); err == nil {
		env.T().Log(string(log[max(0, len(log)-8<<10):]))
	}
	os.RemoveAll(home)
}

// agents are the sessions of one story. All of them belong to one client: this
// process.
type agents struct {
	env   *testscript.Env
	open  map[string]*agent
	calls map[string]*call
}

type agent struct {
	*demo.Agent
	cmd    *exec.Cmd
	ends   []*os.File
	stderr *os.File
}

type call struct {
	done   chan struct{}
	cancel context.CancelFunc
	answer demo.Answer
	err    error
}

func (a *agents) close() {
	for name, s := range a.open {
		s.close()
		delete(a.open, name)
	}
}

func (s *agent) close() {
	for _, f := range s.ends {
		f.Close()
	}
	gone := make(chan struct{})
	go func() { s.cmd.Wait(); close(gone) }() // ends with the shim, at the latest by the signal
	select {
	case <-gone:
	case <-time.After(patience):
		s.cmd.Process.Kill()
		<-gone
	}
	s.stderr.Close()
}

// cmdAgent is
//
//	agent open NAME SERVER        start a session
//	agent tools NAME              the tools it sees, into NAME.tools
//	agent call NAME TOOL ARGS     call and wait; the answer into NAME.answer
//	agent start ID NAME TOOL ARGS call without waiting
//	agent wait ID                 wait for it; the answer into ID.answer
//	agent close NAME              end the session
//	agent ended NAME              wait until the guard has ended it
//	agent crowd N SERVER          start N sessions at once: crowd1 …, and say in
//	                              crowd.out how many daemons there are
//
// and, negated, expects a call to be answered with an error.
func cmdAgent(ts *testscript.TestScript, neg bool, args []string) {
	all := ts.Value("agents").(*agents)
	if len(args) < 2 {
		ts.Fatalf("agent: what?")
	}
	switch verb := args[0]; verb {
	case "open":
		s, err := all.start(ts, args[2])
		if neg != (err != nil) {
			ts.Fatalf("opening a session of %s: %v", args[2], err)
		}
		if err == nil {
			all.open[args[1]] = s
		}
	case "tools":
		names, err := all.open[args[1]].Tools(context.Background())
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[1]+".tools"), []byte(strings.Join(names, "\n")+"\n"), 0o644))
	case "call":
		c := all.call(all.open[args[1]], args[2], args[3])
		c.finish(ts, neg, args[1])
	case "start":
		all.calls[args[1]] = all.call(all.open[args[2]], args[3], args[4])
	case "wait":
		all.calls[args[1]].finish(ts, neg, args[1])
	case "crowd":
		all.crowd(ts, args[1], args[2])
	case "close":
		all.open[args[1]].close()
		delete(all.open, args[1])
	case "ended":
		s := all.open[args[1]]
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for err := error(nil); err == nil; {
			_, err = s.Tools(ctx) // fails once the stream has ended
		}
		ts.Check(ctx.Err())
		s.close()
		delete(all.open, args[1])
	default:
		ts.Fatalf("agent: unknown verb %q", verb)
	}
}

// start launches the shim as a client does and opens the session.
func (a *agents) start(ts *testscript.TestScript, server string) (*agent, error) {
	inR, inW, err := os.Pipe()
	ts.Check(err)
	outR, outW, err := os.Pipe()
	ts.Check(err)
	stderr, err := os.OpenFile(ts.MkAbs("shim.stderr"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	ts.Check(err)
	cmd := exec.Command(filepath.Join(bin, "mcpguard"), "stdio", server)
	cmd.Env = []string{
		"MCPGUARD_HOME=" + ts.Getenv("MCPGUARD_HOME"), "PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"),
		"AGENT_SECRET=leaked-if-you-see-this",
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, stderr
	ts.Check(cmd.Start())
	inR.Close()
	outW.Close()
	s := &agent{Agent: demo.NewAgent(outR, inW), cmd: cmd, ends: []*os.File{inW, outR}, stderr: stderr}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Initialize(ctx, "story-agent"); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// crowd starts sessions at once, where no daemon runs yet.
func (a *agents) crowd(ts *testscript.TestScript, count, server string) {
	n, err := strconv.Atoi(count)
	ts.Check(err)
	started := make([]*agent, n)
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { started[i], errs[i] = a.start(ts, server) })
	}
	all.Wait()
	for i, s := range started {
		if s != nil {
			a.open["crowd"+strconv.Itoa(i+1)] = s
		}
	}
	ts.Check(errors.Join(errs...))
	daemons := len(daemonsOf(ts.Getenv("MCPGUARD_HOME")))
	ts.Check(os.WriteFile(ts.MkAbs("crowd.out"), []byte(fmt.Sprintf("%d daemon\n", daemons)), 0o644))
}

func (a *agents) call(s *agent, tool, args string) *call {
	ctx, cancel := context.WithCancel(context.Background())
	c := &call{done: make(chan struct{}), cancel: cancel}
	args = os.Expand(args, a.env.Getenv)
	go func() { // ends with the answer, or with the session
		defer close(c.done)
		c.answer, c.err = s.Call(ctx, tool, rawJSON(args))
	}()
	return c
}

// rawJSON is JSON that a story wrote.
type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

func (c *call) finish(ts *testscript.TestScript, neg bool, name string) {
	select {
	case <-c.done:
	case <-time.After(patience):
		ts.Fatalf("%s: no answer within %s", name, patience)
	}
	text := c.answer.Text
	if c.err != nil {
		text = "error: " + c.err.Error()
	}
	ts.Check(os.WriteFile(ts.MkAbs(name+".answer"), []byte(text+"\n"), 0o644))
	ts.Logf("%s: %s", name, text)
	if failed := c.err != nil || c.answer.IsError; failed != neg {
		ts.Fatalf("%s: failed %v, expected %v: %s", name, failed, neg, text)
	}
}

// cmdPending waits until as many approvals are pending as it is told, and sets
// ID, DIGEST (of the newest), ID1, DIGEST1 … (the oldest first).
func cmdPending(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	api := client.New(filepath.Join(ts.Getenv("MCPGUARD_HOME"), "approver.sock"))
	defer api.Close()
	n := -1
	for _, err := range api.Watch(ctx) {
		ts.Check(err)
		list, err := api.ListAll(ctx, client.Filter{Status: []string{client.Pending}, Oldest: true})
		if err != nil {
			continue // the watch says when it is back
		}
		if n = len(list); n != want {
			continue
		}
		for i, a := range list {
			ts.Setenv("ID"+strconv.Itoa(i+1), a.ID)
			ts.Setenv("DIGEST"+strconv.Itoa(i+1), a.Digest)
			ts.Setenv("ID", a.ID)
			ts.Setenv("DIGEST", a.Digest)
		}
		return
	}
	ts.Fatalf("%d approvals are pending, not %d", n, want)
}

// cmdStatus waits until an approval has a status: status ID STATUS. It sets
// REPLACED_BY where there is a fresh one.
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	api := client.New(filepath.Join(ts.Getenv("MCPGUARD_HOME"), "approver.sock"))
	defer api.Close()
	last := ""
	for _, err := range api.Watch(ctx) {
		ts.Check(err)
		a, err := api.Get(ctx, args[0])
		if err != nil {
			continue
		}
		last = a.Status
		if a.Status == args[1] {
			ts.Setenv("REPLACED_BY", a.ReplacedBy)
			return
		}
	}
	ts.Fatalf("%s is %s, not %s", args[0], last, args[1])
}

// cmdGuarded writes a configuration with the built-in server under the name
// files, accepts its tools, and lets anyone approve. Further arguments are
// lines of the server's configuration.
func cmdGuarded(ts *testscript.TestScript, neg bool, args []string) {
	home := ts.Getenv("MCPGUARD_HOME")
	path := filepath.Join(home, "config.yaml")
	const approvers = "approvers: {unsigned: any}\n"
	if _, err := os.Stat(path); os.IsNotExist(err) {
		// A daemon that runs already must not read a configuration without them:
		// that more may decide would wait for a decision.
		ts.Check(os.WriteFile(path, []byte("version: 1\n"+approvers), 0o600))
	}
	ts.Check(ts.Exec("mcpguardd", "add", "files", "--builtin", "workspace", "--workspace", ts.Getenv("WS")))
	data, err := os.ReadFile(path)
	ts.Check(err)
	text := string(data)
	if !strings.Contains(text, approvers) {
		text += approvers
	}
	if !strings.Contains(text, ts.Getenv("HERE")) {
		text = strings.Replace(text, "roots: [", "roots: ["+strconv.Quote(ts.Getenv("HERE"))+", ", 1)
	}
	for _, line := range args {
		text += line + "\n"
	}
	ts.Check(os.WriteFile(path, []byte(text), 0o600))
}

// cmdKill kills the daemon, as the system would when memory runs out.
func cmdKill(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	api := client.New(filepath.Join(ts.Getenv("MCPGUARD_HOME"), "approver.sock"))
	defer api.Close()
	s, err := api.Status(ctx)
	ts.Check(err)
	ts.Check(syscall.Kill(s.PID, syscall.SIGKILL))
	for _, err := range api.Watch(ctx) { // until it is gone
		ts.Check(err)
		if _, err := api.Status(ctx); err != nil {
			return
		}
	}
}

// cmdAlert waits until an alert of a kind is raised.
func cmdAlert(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	api := client.New(filepath.Join(ts.Getenv("MCPGUARD_HOME"), "approver.sock"))
	defer api.Close()
	for _, err := range api.Watch(ctx) {
		ts.Check(err)
		list, err := api.Alerts(ctx, false)
		ts.Check(err)
		for _, a := range list {
			if a.Kind == args[0] {
				return
			}
		}
	}
	ts.Fatalf("no alert of kind %s", args[0])
}

// cmdReachable waits until the daemon answers.
func cmdReachable(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	api := client.New(filepath.Join(ts.Getenv("MCPGUARD_HOME"), "approver.sock"))
	defer api.Close()
	for _, err := range api.Watch(ctx) {
		ts.Check(err)
		if _, err := api.Status(ctx); err == nil {
			return
		}
	}
}

// cmdRun sets RUN to the run of the newest session.
func cmdRun(ts *testscript.TestScript, neg bool, args []string) {
	api := client.New(filepath.Join(ts.Getenv("MCPGUARD_HOME"), "approver.sock"))
	defer api.Close()
	list, err := api.Sessions(context.Background())
	ts.Check(err)
	for _, s := range list {
		ts.Setenv("RUN", s.RunID)
	}
}

// daemonsOf returns the daemons that logged a start in a home.
func daemonsOf(home string) (pids []int) {
	data, err := os.ReadFile(filepath.Join(home, "guard.log"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		var record struct {
			Msg string `json:"msg"`
			PID int    `json:"pid"`
		}
		if json.Unmarshal([]byte(line), &record) == nil && record.Msg == "ready" {
			pids = append(pids, record.PID)
		}
	}
	return pids
}
