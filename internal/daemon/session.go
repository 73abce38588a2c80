package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/onboard"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/proxy"
	"github.com/mcpguard/mcpguard/internal/store"
	"github.com/mcpguard/mcpguard/internal/upstream"
	"github.com/mcpguard/mcpguard/internal/workspace"
)

// helloTimeout is how long a shim may take to send its hello.
const helloTimeout = 10 * time.Second

// acceptAgents serves each shim connection in its own goroutine until l is
// closed. The group is done when the last session has ended; ctx ends the
// sessions.
func (d *daemon) acceptAgents(ctx context.Context, l *ipc.Socket) *sync.WaitGroup {
	var sessions sync.WaitGroup
	d.serving, d.base = &sessions, ctx
	sessions.Go(func() { // ends when l is closed
		for {
			c, err := l.AcceptUnix()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				d.log.Error("accepting a shim", "error", err)
				select {
				case <-ctx.Done():
					return
				case <-time.After(50 * time.Millisecond): // probably out of descriptors
					continue
				}
			}
			sessions.Go(func() { d.agent(ctx, c) }) // ends with the session
		}
	})
	return &sessions
}

// agent serves one shim from its hello to the end of its session.
func (d *daemon) agent(ctx context.Context, c *net.UnixConn) {
	hello, cancel := context.WithTimeout(ctx, helloTimeout)
	h, err := ipc.Accept(hello, c)
	cancel()
	if errors.Is(err, io.EOF) {
		return // a probe that only checks whether the daemon runs
	}
	if err != nil {
		d.log.Warn("a shim was not served", "error", err)
		_ = c.Close()
		return
	}
	defer h.Close()
	if d.reserved(ctx, h) {
		return
	}
	s, err := d.open(ctx, h)
	if err != nil {
		d.log.Warn("a session was refused", "server", h.Hello.Server, "client_pid", h.Client.PID, "error", err)
		_ = h.Welcome(ipc.Welcome{Version: d.cfg.Version, Error: err.Error()}) // the shim may be gone
		return
	}
	defer d.endRuns()
	defer d.sessions.remove(s)
	if err := h.Welcome(ipc.Welcome{OK: true, Version: d.cfg.Version}); err != nil {
		d.log.Warn("a shim went away before its session began", "error", err)
	} else {
		d.run(ctx, s, h)
	}
	end, cancelEnd := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancelEnd()
	if err := d.store.CloseSession(end, s.ID, d.now(), audit.ForSession(audit.SessionClosed, s.Session, d.now())); err != nil {
		d.log.Error("recording the end of a session", "session", s.ID, "error", err)
	}
}

// open determines whose session it is and records it. Its errors are sentences
// for the developer and the client.
func (d *daemon) open(ctx context.Context, h *ipc.Handover) (*session, error) {
	set := d.policy.Load()
	name := h.Hello.Server
	server, ok := set.Server(name)
	if !ok && d.reload(ctx) == nil { // the server may just have been added
		set = d.policy.Load()
		server, ok = set.Server(name)
	}
	if !ok {
		if problem := d.problem.Load(); problem != nil && problem.none {
			return nil, fmt.Errorf("the configuration does not load, so nothing is allowed; run `mcpguardd check`")
		} else if problem != nil {
			return nil, fmt.Errorf("the configuration does not load, and the one before it, which is in force, has no server %q; run `mcpguardd check`", name)
		}
		return nil, fmt.Errorf("no server %q is configured; run `mcpguardd add %s -- COMMAND`", name, name)
	}
	run, err := d.runOf(ctx, h, set)
	if err != nil {
		return nil, err
	}
	s := &session{
		Session: guard.Session{
			ID: guard.NewSessionID(), RunID: run.ID, Tenant: run.Tenant, Environment: run.Environment, Workflow: run.Workflow,
			Profile: run.Profile, Server: name, Origin: d.origin(h.Client), OpenedAt: d.now(),
		},
		server: server, clients: h.Clients(), as: h.Hello.As, ours: d.owns(h), folder: run.Origin.Folder,
		changed: make(chan struct{}, 1), over: make(chan struct{}),
	}
	if !sameProfile(set, s.folder, s.Session) {
		return nil, fmt.Errorf("the profile of the folder %s has changed since the client started; start the client again", s.folder)
	}
	if s.roots, err = Workspaces(server.Config, h.Client.Cwd); err != nil {
		return nil, err
	}
	if server.Config.Builtin == "workspace" || name == config.NativeServer {
		s.commands = d.commandsOf(s.Session, s.roots, h.Client.PID)
	}
	if err := d.sessions.add(s, set.Config().Quotas.Sessions); err != nil {
		return nil, err
	}
	if err := d.store.OpenSession(ctx, s.Session, audit.ForSession(audit.SessionOpened, s.Session, d.now())); err != nil {
		d.sessions.remove(s)
		d.log.Error("recording a session", "error", err)
		return nil, errors.New("the session could not be recorded, so it is not served; run `mcpguardd doctor`")
	}
	s.renew(d.policy.Load()) // the policy may have changed before the session was registered
	return s, nil
}

func (d *daemon) origin(p ipc.Proc) guard.Origin {
	return guard.Origin{PID: p.PID, StartTime: p.StartTime, Executable: p.Executable, Folder: p.Cwd, User: strconv.Itoa(p.UID)}
}

// runOf returns the run of a client: the run that it or one of its ancestors
// already has, or else a new one in the profile of its folder. So a client
// cannot change its profile by changing folders or by starting another client.
func (d *daemon) runOf(ctx context.Context, h *ipc.Handover, set *policy.Set) (guard.Run, error) {
	boot := d.clock.Now().BootID
	runs, err := d.store.Runs()
	if err != nil {
		return guard.Run{}, fmt.Errorf("looking for the client's run failed; run `mcpguardd doctor`")
	}
	known := map[ipc.ClientRef]guard.Run{}
	for _, r := range runs {
		if r.BootID == boot {
			known[ipc.ClientRef{PID: r.Origin.PID, StartTime: r.Origin.StartTime}] = r
		}
	}
	for _, p := range append([]ipc.Proc{h.Client}, h.Ancestors...) {
		if r, ok := known[p.Ref()]; ok {
			return r, nil
		}
	}
	folder := h.Client.Cwd
	profile, ok := set.ProfileFor(folder)
	if !ok {
		return guard.Run{}, fmt.Errorf("the folder %s belongs to no profile; add it to `roots` in %s", folder, d.cfg.Paths.ConfigFile())
	}
	run := guard.Run{
		ID: guard.NewRunID(), Tenant: profile.Tenant, Profile: profile.Name, Environment: profile.Environment, Workflow: profile.Workflow,
		Origin: d.origin(h.Client), BootID: boot, StartedAt: d.now(),
	}
	run, err = d.store.OpenRun(ctx, run, store.RunKey{BootID: boot, PID: h.Client.PID, StartTime: h.Client.StartTime})
	if err != nil {
		d.log.Error("recording a run", "error", err)
		return guard.Run{}, errors.New("the run could not be recorded, so it is not served; run `mcpguardd doctor`")
	}
	return run, nil
}

// Workspaces resolves the folders that a server may touch.
func Workspaces(s *config.Server, clientFolder string) ([]string, error) {
	words := s.Workspaces
	if len(words) == 0 {
		words = []string{"client"}
	}
	roots := make([]string, 0, len(words))
	for _, w := range words {
		if w == "client" {
			w = clientFolder
		}
		real, err := filepath.EvalSymlinks(w)
		if err != nil || !filepath.IsAbs(real) {
			return nil, fmt.Errorf("the workspace folder %q of server %s cannot be used: it does not exist or cannot be read", w, s.Name)
		}
		if real == "/" {
			return nil, fmt.Errorf("the workspace of server %s would be the whole disk; start the client in a project's folder, or set `workspaces`", s.Name)
		}
		roots = append(roots, real)
	}
	return roots, nil
}

// run serves the session until the shim, the client or the daemon ends it. A
// daemon that stops gives the session back to a shim that can keep it for the
// next one.
func (d *daemon) run(ctx context.Context, s *session, h *ipc.Handover) {
	life := ctx
	var leave <-chan struct{}
	if h.Hello.Keeps {
		ctx, leave = context.WithoutCancel(ctx), life.Done()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	returned := false
	stop := make(chan struct{})
	defer close(stop)
	go func() { // ends with run, or with what ends the session
		select {
		case <-h.Done():
		case <-s.over:
			_ = h.Notice(fmt.Sprintf("the configuration of the server %q or of its folder has changed, so this session ends; connect again", s.Server))
		case <-stop:
		}
		cancel()
	}()
	s.tell = func(line string) { s.notice(line); _ = h.Notice(line) } // the shim may be gone
	err := proxy.Serve(ctx, proxy.Config{
		Session:  s.Session,
		Client:   duplex{h.In, h.Out},
		Upstream: func(ctx context.Context) (upstream.Conn, error) { return d.startUpstream(ctx, s, h.Client.Cwd) },
		Policy:   func() *policy.Set { return s.policy(d.policy.Load()) },
		Store:    d.store, Approvals: d.approvals, Locks: d.locks, Meter: d.meter,
		Redactor: d.secrets, Clock: d.clock, Spill: d.cfg.Paths.State,
		Roots: s.roots, ServerRoots: FolderArgs(s.server.Config), Home: d.home(s.server.Config),
		Commands:   s.commands.effects(),
		Log:        d.log.With("session", s.ID, "server", s.Server),
		Notice:     s.tell,
		ServerInfo: func(name, version string) { d.compareReported(s, name, version) },
		Identified: s.identified, Waiting: s.waits, Changed: s.changed, Context: d.natives.context(s),
		Leave: leave, Kept: h.Kept, Left: func(b ipc.Handback) { returned = d.giveBack(s.ours, h, b) },
	})
	if leave != nil && life.Err() != nil && !returned {
		_ = h.Notice("the guard daemon ends and this session with it, since it could not be kept; connect again") // the shim may be gone
	}
	if err != nil && ctx.Err() == nil {
		d.log.Warn("a session ended", "session", s.ID, "server", s.Server, "error", err)
	}
}

// startUpstream starts the server of a session, with the environment that the
// policy names and nothing else. folder is the client's.
func (d *daemon) startUpstream(ctx context.Context, s *session, folder string) (upstream.Conn, error) {
	c := s.server.Config
	if c.Builtin == "workspace" {
		conn, err := workspace.Open(workspace.Config{Roots: s.roots, Version: d.cfg.Version, Commands: s.commands.orNil()})
		if err != nil {
			return nil, err
		}
		s.started(nil)
		return conn, nil
	}
	installed, _ := config.DetectPackage(c)
	if installed != c.Detected {
		// The package on disk is not the one that the policy was compiled for:
		// decide again whether its effects are proven.
		if err := d.reload(ctx); err != nil {
			s.failed(err)
			return nil, fmt.Errorf("the server's package changed and the policy could not be read again: %w", err)
		}
	}
	spec, err := UpstreamSpec(ctx, d.cfg.Paths, c, folder)
	if err != nil {
		s.failed(err)
		return nil, err
	}
	d.secrets.learn(spec.Secrets)
	spec.Redact = d.secrets.text
	stderr := newStderrLog(d.log.With("session", s.ID, "server", s.Server))
	spec.OnStderr = func(line []byte) { stderr.line(line, d.now()) }
	d.compareProgram(s, onboard.ProgramOf(c, spec.Spec))
	p, err := upstream.Start(ctx, spec.Spec)
	if err != nil {
		s.failed(err)
		return nil, err
	}
	if now, _ := config.DetectPackage(c); now != installed {
		installed = config.Package{} // fail closed: which of the two was started is not known
	}
	s.begun.Store(&installed)
	s.started(p)
	return p, nil
}

// home returns the home folder in the environment of a server, or "". A path
// that begins with ~ is resolved as the server would.
func (d *daemon) home(c *config.Server) string {
	if !slices.Contains(c.Env, "HOME") {
		return ""
	}
	recorded, err := config.LoadEnvironment(d.cfg.Paths.EnvironmentFile())
	if err != nil {
		return "" // such paths are refused then; starting the server says what is wrong
	}
	home, _ := recorded.Lookup(c.Name, "HOME")
	return home
}

// Spec describes how to start a server, with the values of its secrets for
// callers that must keep them out of logs.
type Spec struct {
	upstream.Spec
	Secrets map[string]string
}

// UpstreamSpec resolves a server's command, folder, recorded environment and
// secrets. clientFolder is where the client works.
func UpstreamSpec(ctx context.Context, p ipc.Paths, c *config.Server, clientFolder string) (Spec, error) {
	recorded, err := config.LoadEnvironment(p.EnvironmentFile())
	if err != nil {
		return Spec{}, err
	}
	values, err := c.ResolveSecrets(ctx, func(name string) (string, bool) { return recorded.Lookup(c.Name, name) })
	if err != nil {
		return Spec{}, err
	}
	environ, missing := c.Environ(recorded, values)
	if len(missing) > 0 {
		return Spec{}, fmt.Errorf("the environment variables %v of server %s were not recorded; run `mcpguardd accept %s` where they are set", missing, c.Name, c.Name)
	}
	dir := c.Cwd
	if dir == "" || dir == "client" {
		dir = clientFolder
	}
	return Spec{Secrets: values, Spec: upstream.Spec{
		Name: c.Name, Command: c.Command, Args: c.Args, Env: environ, Dir: dir, StartTimeout: time.Duration(c.StartTimeout),
	}}, nil
}

// FolderArgs returns the folders among a server's arguments.
func FolderArgs(c *config.Server) []string {
	var out []string
	for _, a := range c.Args {
		if real, err := filepath.EvalSymlinks(a); err == nil && filepath.IsAbs(a) && isDir(real) {
			out = append(out, real)
		}
	}
	return out
}
