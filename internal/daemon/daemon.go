// Package daemon wires the parts of the guard together and defines the order
// in which they start and stop; no other package knows all of them. It
// contains no rule about calls: policy decides and proxy enforces.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mcpguard/mcpguard/internal/approval"
	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/clock"
	"github.com/mcpguard/mcpguard/internal/commands"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/proxy"
	"github.com/mcpguard/mcpguard/internal/store"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

// Config is the configuration of a daemon. Paths and Version are required.
type Config struct {
	Paths   ipc.Paths
	Version string
	// Stderr receives warnings when running in the foreground; nil when
	// detached.
	Stderr io.Writer
	// Ready is called once: with nil when both sockets accept connections, or
	// with the error that kept the daemon from starting.
	Ready func(error)
	// Sandbox is the program that becomes the first process of a sandbox; its
	// main calls sandbox.Main. If empty, commands are shown by their text.
	Sandbox string
	// Clock may be nil, which means the system clocks.
	Clock clock.Clock
}

// Bounds of the stop.
const (
	drainTimeout = 12 * time.Second // for sessions to record what they held
	apiTimeout   = 2 * time.Second  // for requests under way
)

// maxRemembered bounds the executed calls that are read per tenant at the
// start.
const maxRemembered = 2000

// daemon is a running daemon. Fields are set before the sockets are bound and
// then do not change, except those with their own synchronization.
type daemon struct {
	cfg       Config
	log       *slog.Logger
	clock     clock.Clock
	started   time.Time
	store     *store.Store
	approvals *approval.Approvals
	locks     *proxy.Locks
	meter     *proxy.Meter
	undoing   sync.Mutex // held while an undo is proposed
	secrets   *secrets
	programs  *ipc.Programs // this installation's
	kept      keptShims
	policy    atomic.Pointer[policy.Set]
	rule      atomic.Pointer[store.ApproverRule] // who may decide, as it is in force
	problem   atomic.Pointer[policyProblem]      // why the newest configuration is not in force
	// expected is true if there was a configuration. If the file is then
	// missing, that does not count as an empty one.
	expected atomic.Bool
	reloads  sync.Mutex
	first    bool // the database is new
	sessions *registry
	natives  *clientTools
	commands *commands.Runner // nil where commands cannot be contained
	serving  *sync.WaitGroup  // of sessions; set before the agents' socket is served
	base     context.Context  // of sessions that no shim ends; likewise
	stop     context.CancelCauseFunc
}

// errStopped is the cancel cause of an ordinary stop.
var errStopped = errors.New("stopped")

// Run runs a daemon. It returns when ctx ends, on SIGTERM or SIGINT, or if it
// could not start.
func Run(ctx context.Context, c Config) error {
	ready := sync.OnceFunc(func() {})
	if c.Ready != nil {
		report := c.Ready
		var once sync.Once
		c.Ready = func(err error) { once.Do(func() { report(err) }) }
	} else {
		c.Ready = func(error) { ready() }
	}
	err := run(ctx, c)
	c.Ready(err) // has an effect only if the start itself failed
	return err
}

func run(ctx context.Context, c Config) error {
	if c.Clock == nil {
		c.Clock = clock.System()
	}
	if err := c.Paths.Prepare(); err != nil {
		return err
	}
	debug.SetGCPercent(gcCalm)
	d := &daemon{cfg: c, clock: c.Clock, started: c.Clock.Now().Wall, secrets: newSecrets(), programs: ipc.OwnPrograms(), sessions: newRegistry(), natives: newClientTools()}
	closeLog := d.openLog()
	defer closeLog()
	if err := ipc.Nondumpable(); err != nil {
		d.log.Warn("this process can be read by others of the same user", "error", err)
	}
	ctx, d.stop = context.WithCancelCause(ctx)
	defer d.stop(errStopped)
	ctx, unnotify := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer unnotify()

	claim, err := d.cfg.Paths.Claim(ctx)
	if err != nil {
		return err
	}
	defer claim.Close()
	st, err := d.openStore()
	if err != nil {
		return err
	}
	d.store = st
	defer func() {
		if err := st.Close(); err != nil {
			d.log.Error("closing the database", "error", err)
		}
	}()
	return d.serve(ctx)
}

func (d *daemon) openLog() (closeLog func()) {
	log, file := openLog(d.cfg.Paths.Log(), d.secrets.text)
	if d.cfg.Stderr != nil {
		log = slog.New(tee{log.Handler(), slog.NewTextHandler(&cleanWriter{d.cfg.Stderr, d.secrets.text}, &slog.HandlerOptions{Level: slog.LevelWarn})})
	}
	d.log = log
	return func() { _ = file.Close() }
}

func (d *daemon) openStore() (*store.Store, error) {
	_, err := os.Stat(d.cfg.Paths.DB())
	d.first = errors.Is(err, fs.ErrNotExist)
	st, err := store.Open(store.Options{
		Path: d.cfg.Paths.DB(), Clock: d.clock, Log: d.log,
		CreateNew: d.first,
		// The previous daemon may still be reading its file before it releases
		// it.
		LockTimeout: 3 * time.Second,
	})
	if errors.Is(err, store.ErrMissing) {
		return nil, fmt.Errorf("opening %s: %w\n%s", d.cfg.Paths.DB(), err, store.WayOut(d.cfg.Paths.DB()))
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", d.cfg.Paths.DB(), err)
	}
	return st, nil
}

// serve runs from an open store to the end of the last session.
func (d *daemon) serve(ctx context.Context) error {
	found, err := d.store.Startup(ctx)
	if err != nil {
		return fmt.Errorf("recovering what an earlier daemon left: %w", err)
	}
	changed := d.notice()
	defer changed.close()
	if err := d.loadPolicy(ctx); err != nil {
		return err
	}
	if err := d.record(ctx, audit.Daemon(audit.DaemonStarted, d.cfg.Version, os.Getpid(), recovered(found), d.now())); err != nil {
		return err
	}
	d.locks, d.meter = &proxy.Locks{}, &proxy.Meter{}
	ran, err := d.store.RecentlyRun(d.now().Add(-proxy.IdenticalFor), maxRemembered)
	if err != nil {
		return err
	}
	d.meter.Remember(ran)
	d.approvals = approval.New(approval.Config{Store: d.store, Clock: d.clock, Log: d.log})
	// Background work keeps running while sessions drain; it ends with this function.
	work, endWork := context.WithCancel(context.WithoutCancel(ctx))
	defer endWork()
	if err := d.approvals.Start(work); err != nil {
		return err
	}
	defer d.approvals.Stop()
	var background sync.WaitGroup
	defer background.Wait()
	defer endWork()
	d.startCommands()
	recovery, err := proxy.Recover(ctx, proxy.RecoveryConfig{Store: d.store, Locks: d.locks, Clock: d.clock, Alive: d.alive, Resume: d.resumeLanding, Log: d.log})
	if err != nil {
		return err
	}
	background.Go(func() { recovery.Run(work) }) // these five end with work
	background.Go(func() { d.watchSwitches(work) })
	background.Go(func() { d.collectToFit(work) })
	background.Go(func() { d.watchPolicy(work, changed) })
	background.Go(func() { d.prune(work) })

	if err := d.kept.load(d.keptFile(), d.clock.Now().BootID); err != nil {
		d.log.Warn("which shims have kept their sessions cannot be read", "error", err)
	}
	agents, err := ipc.Bind(d.cfg.Paths.AgentSocket())
	if err != nil {
		return err
	}
	defer agents.Close()
	approvers, err := ipc.Bind(d.cfg.Paths.ApproverSocket())
	if err != nil {
		return err
	}
	defer approvers.Close()
	background.Go(func() { // ends with work
		ipc.RestoreEvery(socketLook, work.Done(), []*ipc.Socket{agents, approvers}, d.socketMissed)
	})

	api := d.serveAPI(approvers)
	sessions := d.acceptAgents(ctx, agents)
	d.log.Info("ready", "version", d.cfg.Version, "pid", os.Getpid(), "folder", d.cfg.Paths.State)
	d.cfg.Ready(nil)

	<-ctx.Done()
	return d.shutdown(agents, sessions, api)
}

// socketLook is how often the daemon checks that its socket files exist.
const socketLook = time.Second

// socketMissed handles a socket file that was removed. If the folder is gone
// too, nothing can be recorded where anyone finds it.
func (d *daemon) socketMissed(path string, err error) {
	switch {
	case err == nil:
		d.log.Warn("a socket was taken away and is made anew", "path", path)
	case errors.Is(err, ipc.ErrFolderGone):
		d.log.Error("the daemon ends", "error", err)
		d.stop(err) // fail closed: what runs could not be recorded
	default:
		d.log.Error("a socket was taken away", "path", path, "error", err)
	}
}

// shutdown stops things in the order that loses nothing: no new sessions, then
// open sessions record how they end, then the control API, then the last
// record.
func (d *daemon) shutdown(agents net.Listener, sessions *sync.WaitGroup, stopAPI func()) error {
	d.log.Info("stopping")
	_ = agents.Close()
	drained := make(chan struct{})
	go func() { sessions.Wait(); close(drained) }() // ends with the last session
	select {
	case <-drained:
	case <-time.After(drainTimeout):
		d.log.Error("sessions did not end in time; what they were executing is unknown until the next start")
	}
	stopAPI()
	if err := d.kept.save(d.keptFile(), d.clock.Now().BootID); err != nil {
		d.log.Error("recording which shims keep their sessions", "error", err)
	}
	return d.record(context.Background(), audit.Daemon(audit.DaemonStopped, d.cfg.Version, os.Getpid(), "", d.now()))
}

// alive reports whether an upstream started by an earlier daemon, or any
// process of its group, still runs: a launcher may have ended before its
// server.
func (d *daemon) alive(u guard.UpstreamRef) bool {
	if u.PID == 0 || u.BootID != d.clock.Now().BootID {
		return false // no process, or one from before the machine started
	}
	if d.natives.isQuiet(u) {
		return false // a client that lives on, but has ended what it ran
	}
	return !upstream.Gone(u) // in doubt it lives, and its target stays locked
}

func (d *daemon) now() time.Time { return d.clock.Now().Wall }

func (d *daemon) record(ctx context.Context, e audit.Event) error {
	if err := d.store.Record(ctx, e); err != nil {
		return fmt.Errorf("recording %s: %w", e.Event, err)
	}
	return nil
}

// recovered describes in a sentence what an earlier daemon left open; "" for
// nothing.
func recovered(r store.Recovered) string {
	if len(r.Sessions)+len(r.Calls)+len(r.Unknown)+len(r.Cancelled)+len(r.Ended) == 0 {
		return ""
	}
	return fmt.Sprintf("the daemon before did not stop in order: %d sessions, %d calls and %d approvals ended, %d outcomes unknown",
		len(r.Sessions), len(r.Calls), len(r.Cancelled)+len(r.Ended), len(r.Unknown))
}

// pruneEvery is how often the contents of old approvals are pruned.
const pruneEvery = time.Hour

func (d *daemon) prune(ctx context.Context) {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		keep := d.policy.Load().Config().Retention.Keep()
		if _, err := d.store.Prune(ctx, d.now().Add(-keep)); err != nil && ctx.Err() == nil {
			d.log.Error("removing the contents of old approvals", "error", err)
		}
		if _, err := d.store.PruneLines(ctx, d.now().Add(-keepLines)); err != nil && ctx.Err() == nil {
			d.log.Error("removing lines that stand for commands", "error", err)
		}
		if d.commands != nil {
			if err := d.commands.Prune(d.now().Add(-keep)); err != nil {
				d.log.Error("removing what is kept of old commands", "error", err)
			}
			d.endRuns()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
