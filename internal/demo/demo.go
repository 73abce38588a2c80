// Package demo is `mcpguardd demo`: a guard in a folder of its own, a sample
// workspace, a scripted agent that proposes changes, and, where nobody is there
// to decide, a reviewer that plays its part. Everything goes the way it does in
// earnest: the agent speaks MCP to the daemon, the reviewer uses the control
// API. It touches nothing outside its folder, which it removes.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/clock"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/daemon"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/onboard"
	"github.com/mcpguard/mcpguard/internal/store"
	"github.com/mcpguard/mcpguard/internal/upstream"
	"github.com/mcpguard/mcpguard/internal/workspace"
)

// Config is how a demo is run.
type Config struct {
	Out     io.Writer
	Version string
	// Interactive leaves the decisions to a person in another pane, who is told
	// to run Approve with the given environment.
	Interactive bool
	Approve     string // the command line of approve
}

// serverName is what the sample configuration calls the built-in server.
const serverName = "shop"

// files is the sample workspace.
var files = map[string]string{
	"src/prices.py": `VAT = 0.19

def gross(net):
    return round(net * (1 + VAT), 2)

def discount(net, percent):
    return net - net * percent / 100
`,
	"config/app.json": `{
  "currency": "EUR",
  "payment": {
    "provider": "sandbox",
    "retries": 3
  },
  "features": ["search"]
}
`,
	"notes/backup-codes.txt": "4411-9923\n1107-5520\n",
	"notes/draft.md":         "# Refunds\n\nTo be written.\n",
	"README.md":              "# Shop\n\nA small shop.\n",
}

// settings is the sample configuration. The short time box lets one approval
// expire while the demo runs; the agent waits for a person as long as it takes.
const settings = `version: 1
roots: %s
approvers: {unsigned: any}
hold: {default: wait}
servers:
  shop:
    builtin: workspace
    preset: workspace
    workspaces: [%q]
    tools:
      append_file:
        approval: {ttl: %s}
`

// Run plays the demo until its script or ctx ends.
func Run(ctx context.Context, c Config) (err error) {
	home, err := os.MkdirTemp("", "mcpguard-demo-")
	if err != nil {
		return fmt.Errorf("making a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	if home, err = filepath.EvalSymlinks(home); err != nil {
		return fmt.Errorf("making a folder for the demo: %w", err)
	}
	g, err := start(ctx, c, home)
	if err != nil {
		return err
	}
	if err := errors.Join(g.play(ctx), g.stop()); ctx.Err() != nil {
		fmt.Fprintf(c.Out, "\nended; nothing is left in %s\n", home) // as it was told, whatever that cut short
		return nil
	} else if err != nil {
		return err
	}
	return g.closing(ctx)
}

// guard is the running demo.
type guard struct {
	Config
	paths     ipc.Paths
	workspace string
	api       *client.Client
	agent     *Agent
	newest    string // the approval that the last step ended with
	link      io.Closer
	ends      []*os.File
	cancel    context.CancelFunc
	done      sync.WaitGroup
	failed    error // of the daemon
}

// start writes workspace and configuration, starts the daemon in this process
// and connects the agent to it.
func start(ctx context.Context, c Config, home string) (*guard, error) {
	g := &guard{Config: c, workspace: filepath.Join(home, "shop")}
	state := filepath.Join(home, "guard")
	g.paths = ipc.Paths{Config: state, State: state}
	for name, content := range files {
		path := filepath.Join(g.workspace, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("writing the sample workspace: %w", err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return nil, fmt.Errorf("writing the sample workspace: %w", err)
		}
	}
	if err := g.configure(ctx); err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(ctx)
	g.cancel = cancel
	ready := make(chan error, 1)
	g.done.Go(func() { // ends in stop
		g.failed = daemon.Run(run, daemon.Config{Paths: g.paths, Version: c.Version, Ready: func(err error) { ready <- err }})
	})
	if err := <-ready; err != nil {
		cancel()
		g.done.Wait()
		return nil, fmt.Errorf("starting the guard: %w", err)
	}
	g.api = client.New(g.paths.ApproverSocket())
	if err := g.connect(ctx); err != nil {
		return nil, errors.Join(err, g.stop())
	}
	return g, nil
}

// configure writes the configuration and accepts the tools of the built-in
// server, as `mcpguardd add` does.
func (g *guard) configure(ctx context.Context) error {
	if err := g.paths.Prepare(); err != nil {
		return err
	}
	ttl := 5 * time.Second // the shortest there is
	if g.Interactive {
		ttl = time.Minute
	}
	roots, err := json.Marshal(g.folders())
	if err != nil {
		return err
	}
	text := fmt.Sprintf(settings, roots, g.workspace, ttl)
	if err := os.WriteFile(g.paths.ConfigFile(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the sample configuration: %w", err)
	}
	var conn upstream.Conn
	conn, err = workspace.Open(workspace.Config{Roots: []string{g.workspace}, Version: g.Version})
	if err != nil {
		return err
	}
	l, err := onboard.Probe(ctx, conn)
	if err := errors.Join(err, conn.Stop(ctx)); err != nil {
		return err
	}
	lock, err := config.LoadLock(g.paths.ToolsLock())
	if err != nil {
		return err
	}
	if err := onboard.Accept(lock, serverName, l.Tools, "demo", time.Now()); err != nil {
		return err
	}
	return lock.Save(g.paths.ToolsLock())
}

// folders are those in which the agent may be said to work: the daemon takes
// the folder of the process that started the shim, which here is this one.
func (g *guard) folders() []string {
	out := []string{g.workspace}
	for _, pid := range []int{os.Getpid(), os.Getppid()} {
		if p, err := ipc.Inspect(pid); err == nil && p.Cwd != "" {
			out = append(out, p.Cwd)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// connect does what a shim does: it hands one end of a socket pair to the
// daemon and speaks MCP at the other.
func (g *guard) connect(ctx context.Context) error {
	conn, err := ipc.Dial(ctx, g.paths.AgentSocket())
	if err != nil {
		return err
	}
	g.link = conn
	near, far, err := socketPair()
	if err != nil {
		return err
	}
	g.ends = append(g.ends, near)
	w, err := ipc.Offer(ctx, conn, ipc.NewHello(serverName, g.Version), far, far)
	if err := errors.Join(err, far.Close()); err != nil {
		return err
	}
	if !w.OK {
		return errors.New(w.Error)
	}
	g.agent = NewAgent(near, near)
	return g.agent.Initialize(ctx, "demo-agent")
}

// socketPair returns the two ends of a stream, with deadlines and Close that
// wake readers.
func socketPair() (near, far *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a socket pair: %w", err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, nil, fmt.Errorf("making a socket pair: %w", err)
		}
	}
	return os.NewFile(uintptr(fds[0]), "agent"), os.NewFile(uintptr(fds[1]), "guard"), nil
}

// stop ends agent and daemon, in this order, and waits for them.
func (g *guard) stop() error {
	for _, f := range g.ends {
		_ = f.Close() // the daemon sees the end
	}
	if g.link != nil {
		_ = g.link.Close()
	}
	g.cancel()
	g.done.Wait()
	if errors.Is(g.failed, context.Canceled) {
		return nil
	}
	return g.failed
}

// closing verifies the audit log, with the daemon gone, and says what is in it.
func (g *guard) closing(ctx context.Context) error {
	log, err := store.OpenLog(store.Options{Path: g.paths.DB(), Clock: clock.System()})
	if err != nil {
		return fmt.Errorf("opening the audit log: %w", err)
	}
	defer log.Close()
	report, err := log.Verify(ctx)
	if err != nil {
		return fmt.Errorf("verifying the audit log: %w", err)
	}
	if !report.OK() {
		return fmt.Errorf("the audit log does not verify: %s", report.Problem)
	}
	events, err := log.Events(store.EventFilter{})
	if err != nil {
		return err
	}
	counts := map[audit.Type]int{}
	for _, e := range events {
		counts[e.Event.Event]++
	}
	fmt.Fprintf(g.Out, "\n── The audit log verifies: %d records\n", len(events))
	for _, t := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(g.Out, "%12d  %s\n", counts[t], t)
	}
	return nil
}
