package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/hook"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/native"
	"github.com/mcpguard/mcpguard/internal/proxy"
	"github.com/mcpguard/mcpguard/internal/store"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

// Bounds of hooks.
const (
	hookTimeout  = 10 * time.Second // to hand over the input, and to take the answer
	clientLook   = 2 * time.Second  // between two looks whether a client still runs
	nativeGrace  = time.Second      // for what runs in a client when its session ends
	nativeDrain  = 3 * time.Second  // for its session to have recorded that, at the end of the daemon
	maxUses      = 4096             // tool uses whose context is remembered
	maxPromptIDs = 64               // prompts that are remembered per client
)

// natives are the sessions of clients' own tools, one per run, and what the
// clients' hooks have told. It is safe for concurrent use.
type natives struct {
	opening sync.Mutex // one session at a time begins

	mu      sync.Mutex
	runs    map[guard.RunID][]*nativeRun // the newest last
	clients map[ipc.ClientRef]*nativeRun // the newest
	uses    map[useKey]*use
	order   []useKey                   // keys of uses, the oldest first
	quiet   map[guard.UpstreamRef]bool // clients that run nothing of an earlier daemon's any more
}

// nativeRun is one such session.
type nativeRun struct {
	*session
	tools  *native.Session
	hooked atomic.Bool // the client has hooks, so it will report

	mu      sync.Mutex
	prompts map[string]diff.Digest
	recent  []string
}

// useKey names a tool use: its id is the client's own word.
type useKey struct {
	run guard.RunID
	id  string
}

// use is what is known of one tool use.
type use struct {
	context guard.Context
	foreign bool // let through because a guarded server would ask
	seen    bool // that server's session has seen the call
}

func newNatives() *natives {
	return &natives{
		runs: map[guard.RunID][]*nativeRun{}, clients: map[ipc.ClientRef]*nativeRun{},
		uses: map[useKey]*use{}, quiet: map[guard.UpstreamRef]bool{},
	}
}

// remember keeps what a hook said of a tool use.
func (n *natives) remember(k useKey, u use) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.uses[k]; !known {
		n.order = append(n.order, k)
	}
	n.uses[k] = &u
	for len(n.order) > maxUses {
		delete(n.uses, n.order[0])
		n.order = n.order[1:]
	}
}

// context returns proxy.Config.Context for the sessions of a run.
func (n *natives) context(run guard.RunID) func(id string) guard.Context {
	return func(id string) guard.Context {
		n.mu.Lock()
		defer n.mu.Unlock()
		u := n.uses[useKey{run, id}]
		if u == nil {
			return guard.Context{}
		}
		u.seen = true
		return u.context
	}
}

// unseen reports whether a tool use was let through for a guarded server that
// never got it.
func (n *natives) unseen(k useKey) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	u := n.uses[k]
	return u != nil && u.foreign && !u.seen
}

// isQuiet reports whether a client has said, to this daemon, that nothing runs
// any more of what an earlier one let begin.
func (n *natives) isQuiet(u guard.UpstreamRef) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.quiet[u]
}

// reserved serves what is no configured server: hooks and permission prompts.
func (d *daemon) reserved(ctx context.Context, h *ipc.Handover) (served bool) {
	switch h.Hello.Server {
	case ipc.HookPre, ipc.HookPost:
		if h.Welcome(ipc.Welcome{OK: true, Version: d.cfg.Version}) == nil {
			d.hook(ctx, h)
		}
	case config.PermissionServer:
		d.permission(ctx, h)
	case config.NativeServer:
		_ = h.Welcome(ipc.Welcome{Version: d.cfg.Version, Error: "the client's own tools are reached by its hooks, not as a server; run `mcpguardd hooks install`"})
	default:
		return false
	}
	return true
}

// hook answers one hook of a client.
func (d *daemon) hook(ctx context.Context, h *ipc.Handover) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the hook's process, at the latest when the handover is closed
		<-h.Done()
		cancel()
	}()
	_ = h.In.SetReadDeadline(time.Now().Add(hookTimeout)) // no deadline: the hook's own timeout ends it
	raw, err := io.ReadAll(io.LimitReader(h.In, hook.MaxInput+1))
	var e hook.Event
	if err == nil {
		e, err = hook.Parse(raw)
	}
	if h.Hello.Server == ipc.HookPost {
		if err != nil {
			d.log.Warn("a report of a client could not be read", "error", err)
			return
		}
		d.reported(ctx, h, e)
		return
	}
	answer, lost := hook.Deny("mcpguard could not read what the client asked; make the call again"), func() {}
	if err != nil {
		d.log.Warn("a question of a client could not be read", "error", err)
	} else {
		answer, lost = d.question(ctx, h, e)
	}
	_ = h.Out.SetWriteDeadline(time.Now().Add(hookTimeout))
	if ctx.Err() != nil {
		lost()
		return
	}
	if _, err := h.Out.Write(answer); err != nil {
		lost()
	}
}

// question decides about one tool that the client wants to run. lost is to be
// called if the client does not get the answer.
func (d *daemon) question(ctx context.Context, h *ipc.Handover, e hook.Event) (answer []byte, lost func()) {
	lost = func() {}
	if e.Name != hook.PreToolUse {
		return hook.Deny("mcpguard answers PreToolUse here; `mcpguardd hooks install` writes the settings"), lost
	}
	r, err := d.nativeOf(ctx, h)
	if err != nil {
		d.log.Warn("a question of a client was refused", "client_pid", h.Client.PID, "error", err)
		return hook.Deny("mcpguard: " + err.Error()), lost
	}
	r.hooked.Store(true)
	foreign := d.guarded(r, e.Tool)
	d.natives.remember(useKey{r.RunID, e.ToolUseID}, use{context: r.contextOf(e), foreign: foreign})
	if foreign {
		// The session of that server holds the call by itself, with its own
		// preview; asked here as well, one action would need two approvals.
		return hook.Allow(""), lost
	}
	a, r, err := d.ask(ctx, h, r, native.Question{Tool: e.Tool, ToolUseID: e.ToolUseID, AgentID: e.AgentID, Input: e.Input, Folder: e.Cwd})
	switch {
	case err != nil:
		return hook.Deny("mcpguard: " + err.Error()), lost
	case !a.Allow:
		return hook.Deny(a.Reason), lost
	case a.Begun:
		lost = func() { r.tools.Lost(e.ToolUseID) }
	}
	return hook.Allow("allowed by mcpguard"), lost
}

// ask puts a question to the run's session, or to a new one where that one has
// just ended.
func (d *daemon) ask(ctx context.Context, h *ipc.Handover, r *nativeRun, q native.Question) (native.Answer, *nativeRun, error) {
	a, err := r.tools.Ask(ctx, q)
	if errors.Is(err, native.ErrEnded) && ctx.Err() == nil {
		if r, err = d.nativeOf(ctx, h); err == nil {
			a, err = r.tools.Ask(ctx, q)
		}
	}
	return a, r, err
}

// guarded reports whether a tool belongs to an MCP server that this client
// reaches through the guard.
func (d *daemon) guarded(r *nativeRun, tool string) bool {
	rest, ok := strings.CutPrefix(tool, "mcp__")
	if !ok {
		return false
	}
	rest = strings.TrimPrefix(rest, "plugin_mcpguard_") // the guard's own plugin
	for _, s := range d.sessions.all() {
		if s.RunID == r.RunID && s.Server != config.NativeServer && strings.HasPrefix(rest, mcpName(s.Server)+"__") {
			return true
		}
	}
	return rest == config.PermissionServer+"__approve"
}

// mcpName is a server's name as Claude Code spells it in names of tools.
func mcpName(server string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, server)
}

// reported takes what a client says after the fact. It decides nothing and
// never fails: a client's report is only its claim.
func (d *daemon) reported(ctx context.Context, h *ipc.Handover, e hook.Event) {
	client := d.clientOf(h)
	d.natives.mu.Lock()
	newest := d.natives.clients[client.Client.Ref()]
	var runs []*nativeRun
	if newest != nil {
		runs = slices.Clone(d.natives.runs[newest.RunID])
	}
	d.natives.mu.Unlock()
	switch e.Name {
	case hook.PostToolUse, hook.PostToolUseFailure:
		known := false
		for _, r := range runs {
			known = r.tools.Report(e.ToolUseID, e.Input, e.Error, e.Name == hook.PostToolUseFailure) || known
		}
		if newest != nil && d.natives.unseen(useKey{newest.RunID, e.ToolUseID}) {
			d.odd(newest.session, "unguarded_tool", e.ToolUseID, "The client ran "+e.Tool+" on a server of that name which does not pass the guard. Look at the client's configuration.")
		}
		if !known && (newest == nil || !d.natives.has(useKey{newest.RunID, e.ToolUseID})) {
			d.natives.calm(d.refOf(client.Client)) // it began under an earlier daemon
		}
	case hook.Stop, hook.SubagentStop, hook.SessionEnd:
		for _, r := range runs {
			r.tools.Idle(e.AgentID)
		}
		if e.Name != hook.SubagentStop {
			d.natives.calm(d.refOf(client.Client))
		}
	case hook.UserPromptSubmit:
		if newest == nil {
			var err error
			if newest, err = d.nativeOf(ctx, h); err != nil {
				return // the first question will say so
			}
		}
		newest.prompt(e.PromptID, e.Prompt)
	}
}

func (n *natives) has(k useKey) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.uses[k] != nil
}

// calm notes that a client runs nothing any more of what an earlier daemon let
// begin.
func (n *natives) calm(ref guard.UpstreamRef) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.quiet[ref] = true
}

// prompt keeps the hash of what the user said.
func (r *nativeRun) prompt(id string, sum diff.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.prompts == nil {
		r.prompts = map[string]diff.Digest{}
	}
	r.prompts[id] = sum
	r.recent = append(r.recent, id)
	if len(r.recent) > maxPromptIDs {
		delete(r.prompts, r.recent[0])
		r.recent = r.recent[1:]
	}
}

// contextOf says what a question belongs to.
func (r *nativeRun) contextOf(e hook.Event) guard.Context {
	c := guard.Context{ClientSession: e.SessionID}
	c.Worktree, c.Branch = checkout(e.Cwd)
	r.mu.Lock()
	defer r.mu.Unlock()
	c.Prompt = r.prompts[e.PromptID]
	return c
}

// refOf identifies a client as the upstream that runs its own tools.
func (d *daemon) refOf(p ipc.Proc) guard.UpstreamRef {
	return guard.UpstreamRef{PID: p.PID, StartTime: p.StartTime, BootID: d.clock.Now().BootID}
}

// clientOf is the handover with its client found behind the shells that clients
// run hooks in.
func (d *daemon) clientOf(h *ipc.Handover) *ipc.Handover {
	out := &ipc.Handover{Hello: ipc.Hello{Server: config.NativeServer}, Client: h.Client, Wrappers: h.Wrappers, Ancestors: h.Ancestors}
	for len(out.Ancestors) > 0 && inShell(out.Client) && startsClients(out.Ancestors[0]) {
		out.Wrappers = append(slices.Clone(out.Wrappers), out.Client)
		out.Client, out.Ancestors = out.Ancestors[0], out.Ancestors[1:]
	}
	return out
}

// inShell reports whether a process is a shell that was started to run one
// command. An interactive shell is none.
func inShell(p ipc.Proc) bool {
	switch filepath.Base(p.Executable) {
	case "sh", "bash", "dash", "zsh", "ash", "ksh", "busybox", "fish":
		return len(p.Cmdline) > 1 && strings.HasPrefix(p.Cmdline[1], "-") && strings.Contains(p.Cmdline[1], "c")
	}
	return false
}

// startsClients reports whether a process may be a client itself: what keeps a
// person's terminals or logins is none, and to take it for one would make every
// process of the person one.
func startsClients(p ipc.Proc) bool {
	switch filepath.Base(p.Executable) {
	case "tmux", "screen", "zellij", "sshd", "sshd-session", "login", "su", "sudo", "systemd", "launchd", "init":
		return false
	}
	return p.PID > 1
}

// nativeOf returns the session for a client's own tools, and opens it where
// there is none.
func (d *daemon) nativeOf(ctx context.Context, h *ipc.Handover) (*nativeRun, error) {
	c := d.clientOf(h)
	find := func() *nativeRun {
		d.natives.mu.Lock()
		defer d.natives.mu.Unlock()
		r := d.natives.clients[c.Client.Ref()]
		if r == nil || r.tools.Ended() {
			return nil
		}
		return r
	}
	if r := find(); r != nil {
		return r, nil
	}
	d.natives.opening.Lock()
	defer d.natives.opening.Unlock()
	if r := find(); r != nil {
		return r, nil
	}
	if c.Client.PID == h.Shim.PID {
		return nil, errors.New("the hook was not started by a client")
	}
	if set := d.policy.Load(); set.Config().Native == nil && d.reload(ctx) == nil && d.policy.Load().Config().Native == nil {
		return nil, errors.New("the configuration has no section `native`, so none of the client's own tools is allowed; add it, or run `mcpguardd hooks remove`")
	}
	s, err := d.open(ctx, c)
	if err != nil {
		return nil, err
	}
	s.identified(clientName, "")
	r := &nativeRun{session: s, tools: native.New(native.Config{
		Ref: d.refOf(c.Client), Tools: d.nativeTools,
		Odd: func(kind, id, text string) { d.odd(s, kind, id, text) },
	})}
	d.natives.mu.Lock()
	d.natives.runs[s.RunID] = append(d.natives.runs[s.RunID], r)
	d.natives.clients[c.Client.Ref()] = r
	d.natives.mu.Unlock()
	d.serving.Go(func() { d.serveNative(d.base, r, c.Client) }) // ends with the client, with its configuration, or with the daemon
	return r, nil
}

// clientName is what a client whose hooks these are calls itself elsewhere.
const clientName = "claude-code"

// nativeTools names the tools that the policy in force knows.
func (d *daemon) nativeTools() []string {
	var out []string
	if sv, ok := d.policy.Load().Server(config.NativeServer); ok {
		for _, t := range sv.Tools() {
			out = append(out, t.Name)
		}
	}
	return out
}

// serveNative serves one session until its client is gone.
func (d *daemon) serveNative(ctx context.Context, r *nativeRun, client ipc.Proc) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan struct{})
	watched := make(chan struct{})
	go func() { // ends when the session has been served
		defer close(watched)
		tick := time.NewTicker(clientLook)
		defer tick.Stop()
		over := r.over
		for {
			select {
			case <-served:
				return
			case <-over:
				over = nil
				cancel()
			case <-tick.C:
				if !ipc.Running(client.PID, client.StartTime) {
					r.tools.Gone()
					cancel()
				}
			}
		}
	}()
	ended := make(chan error, 1)
	go func() { // ends with the session; at the end of the daemon with the process, where the client still runs something
		ended <- d.proxyNative(ctx, r)
	}()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		wait := time.NewTimer(nativeDrain)
		defer wait.Stop()
		left := wait.C
		if d.base.Err() == nil {
			left = nil // the daemon lives on: what runs is settled when it ends
		}
		select {
		case err = <-ended:
		case <-left:
			d.log.Warn("a client still runs what was approved; its outcome is unknown until the next start", "session", r.ID)
		}
	}
	if err != nil && ctx.Err() == nil {
		d.log.Warn("a session ended", "session", r.ID, "server", r.Server, "error", err)
	}
	close(served)
	<-watched
	d.natives.forget(r, client.Ref())
	d.sessions.remove(r.session)
	end, cancelEnd := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancelEnd()
	if err := d.store.CloseSession(end, r.ID, d.now(), audit.ForSession(audit.SessionClosed, r.Session, d.now())); err != nil {
		d.log.Error("recording the end of a session", "session", r.ID, "error", err)
	}
}

func (d *daemon) proxyNative(ctx context.Context, r *nativeRun) error {
	return proxy.Serve(ctx, proxy.Config{
		Session: r.Session, Client: r.tools.Client(),
		Upstream: func(context.Context) (upstream.Conn, error) { return r.tools.Upstream(), nil },
		Policy:   d.policy.Load,
		Store:    d.store, Desk: d.desk, Locks: d.locks, Meter: d.meter,
		Redactor: d.secrets, Clock: d.clock, Roots: r.roots, Grace: nativeGrace,
		Log:    d.log.With("session", r.ID, "server", r.Server),
		Notice: r.notice, Waiting: r.waits, Changed: r.changed, Context: d.natives.context(r.RunID),
	})
}

func (n *natives) forget(r *nativeRun, client ipc.ClientRef) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.runs[r.RunID] = slices.DeleteFunc(n.runs[r.RunID], func(x *nativeRun) bool { return x == r })
	if len(n.runs[r.RunID]) == 0 {
		delete(n.runs, r.RunID)
	}
	if n.clients[client] == r {
		delete(n.clients, client)
	}
}

// odd raises an alert about a tool use.
func (d *daemon) odd(s *session, kind, id, text string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := d.store.RaiseAlert(ctx, store.Alert{Tenant: s.Tenant, Kind: kind, Key: id, Text: text}); err != nil {
		d.log.Error("raising an alert", "kind", kind, "error", err)
	}
}

// permission serves the tool that a client asks before it runs something.
func (d *daemon) permission(ctx context.Context, h *ipc.Handover) {
	r, err := d.nativeOf(ctx, h)
	if err != nil {
		_ = h.Welcome(ipc.Welcome{Version: d.cfg.Version, Error: err.Error()})
		return
	}
	if err := h.Welcome(ipc.Welcome{OK: true, Version: d.cfg.Version}); err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the shim, at the latest when the handover is closed
		<-h.Done()
		cancel()
	}()
	err = native.Permission{Version: d.cfg.Version, Ask: func(ctx context.Context, q native.Question) native.Answer {
		if q.ToolUseID == "" {
			q.ToolUseID = "prompt-" + rand.Text()
		}
		if d.guarded(r, q.Tool) {
			return native.Answer{Allow: true} // its server's session asks by itself
		}
		q.Silent, q.Folder = !r.hooked.Load(), r.Origin.Folder
		a, _, err := d.ask(ctx, h, r, q)
		if err != nil {
			return native.Answer{Reason: "mcpguard: " + err.Error()}
		}
		return a
	}}.Serve(ctx, duplex{h.In, h.Out})
	if err != nil {
		d.log.Warn("permission prompts ended", "error", err)
	}
}

// checkout finds the repository that a folder belongs to, and its branch. Both
// are labels.
func checkout(folder string) (top, branch string) {
	if !filepath.IsAbs(folder) {
		return "", ""
	}
	dir := filepath.Clean(folder)
	for range 64 {
		git := filepath.Join(dir, ".git")
		if st, err := os.Lstat(git); err == nil {
			if st.Mode().IsRegular() { // of a worktree: it says where its data is
				line, _ := strings.CutPrefix(head(git), "gitdir: ")
				if git = line; !filepath.IsAbs(git) {
					git = filepath.Join(dir, git)
				}
			}
			ref, _ := strings.CutPrefix(head(filepath.Join(git, "HEAD")), "ref: refs/heads/")
			return dir, ref
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return "", ""
}

// head returns the first line of a small regular file, "" where there is none.
func head(name string) string {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0) // a pipe must not hold the daemon
	if err != nil {
		return ""
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return ""
	}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// nativePins accepts the definitions of the client's own tools: they are part
// of this program.
func nativePins(cfg *config.Config, lock *config.Lock) error {
	if cfg.Native == nil {
		return nil
	}
	for name := range cfg.Native.Tools {
		if err := lock.Put(guard.Pin{Server: config.NativeServer, Tool: name, Definition: native.Definition(name), AcceptedBy: "mcpguardd"}); err != nil {
			return fmt.Errorf("describing the client's own tools: %w", err)
		}
	}
	return nil
}
