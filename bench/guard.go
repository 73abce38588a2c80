package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// guard is a guard in a folder of its own. This process is its clients' client,
// and works in the folder that the guard serves.
type guard struct {
	home string
	bin  string
	env  []string
	api  *client.Client
}

// servers is the configuration of the servers: nothing is limited, and writes of
// the echo server wait.
const servers = `
roots: [%q]
native: {preset: claude-native}
quotas: {held_calls: 10000}
servers:
  echo:
    command: %q
    tools:
      echo: {tier: T0_READ, limits: {rate: 1000000/s}}
      stall: {tier: T0_READ}
      note: {tier: T1_REVERSIBLE_WRITE, effect: opaque, limits: {rate: 100000/m}}
  work:
    builtin: workspace
    preset: workspace
`

// everythingServer is one more, where its script is at hand.
const everythingServer = `
  everything:
    preset: everything
    command: node
    args: [%q]
    env: [PATH]
`

// newGuard makes a guard with the given way of recording reads and onboards the
// servers; everything may be empty. The first session starts the daemon.
func newGuard(bin, base, reads, everything string) (*guard, error) {
	return newGuardIn(filepath.Join(base, reads), bin, reads, everything)
}

func newGuardIn(home, bin, reads, everything string) (*guard, error) {
	g := &guard{home: home, bin: bin}
	if err := os.Mkdir(g.home, 0o700); err != nil {
		return nil, err
	}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "MCPGUARD_") {
			g.env = append(g.env, kv)
		}
	}
	g.env = append(g.env, ipc.EnvHome+"="+g.home)
	// add pins the definitions; what it writes as the policy is replaced.
	add := [][]string{
		{"add", "echo", "--", g.program("echo")},
		{"add", "work", "--builtin", "workspace"},
	}
	if everything != "" {
		add = append(add, []string{"add", "everything", "--preset", "everything", "--", "node", everything})
	}
	for _, args := range add {
		if out, err := g.run("mcpguardd", args...); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", args, err, out)
		}
	}
	folder, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	paths := ipc.Paths{Config: g.home, State: g.home}
	config := "version: 1\napprovers: {unsigned: any}\nhold: {default: wait}\naudit: {reads: " + reads + "}" +
		fmt.Sprintf(servers, folder, g.program("echo"))
	if everything != "" {
		config += fmt.Sprintf(everythingServer, everything)
	}
	if err := os.WriteFile(paths.ConfigFile(), []byte(config), 0o600); err != nil {
		return nil, err
	}
	if out, err := g.run("mcpguardd", "check"); err != nil {
		return nil, fmt.Errorf("checking the configuration: %w\n%s", err, out)
	}
	g.api = client.New(paths.ApproverSocket())
	return g, nil
}

func (g *guard) program(name string) string { return filepath.Join(g.bin, name) }

// run runs one of the programs to its end.
func (g *guard) run(name string, args ...string) ([]byte, error) {
	cmd := exec.Command(g.program(name), args...)
	cmd.Env = g.env
	return cmd.CombinedOutput()
}

// session opens a session with a server behind the guard; the first one starts
// the daemon.
func (g *guard) session(server string) (*wire, error) {
	return open(g.env, g.program("mcpguard"), "stdio", server)
}

// pending waits until n approvals wait, and returns them.
func (g *guard) pending(ctx context.Context, n int) ([]client.Approval, error) {
	for _, err := range g.api.Watch(ctx) {
		if err != nil {
			return nil, err
		}
		count, err := g.api.Count(ctx, client.Filter{Status: []string{client.Pending}})
		if err != nil {
			return nil, err
		}
		if count >= n {
			return g.api.ListAll(ctx, client.Filter{Status: []string{client.Pending}})
		}
	}
	return nil, ctx.Err()
}

// stop ends the daemon, where a measurement has started one.
func (g *guard) stop() error {
	defer g.api.Close()
	if _, err := g.api.Status(context.Background()); errors.Is(err, client.ErrUnreachable) {
		return nil
	}
	out, err := g.run("mcpguardd", "stop", "--force")
	if err != nil {
		return fmt.Errorf("stopping the daemon: %w\n%s", err, out)
	}
	return nil
}

// used returns the processor time that the daemon has used so far; zero where
// that cannot be read.
func (g *guard) used() time.Duration {
	s, err := g.api.Status(context.Background())
	if err != nil {
		return 0
	}
	return used(s.PID)
}

// used reads the processor time of a process from /proc/PID/stat (proc(5)), in
// hundredths of a second.
func used(pid int) time.Duration {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	var ticks time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0
		}
		ticks += time.Duration(n)
	}
	return ticks * (time.Second / 100)
}
