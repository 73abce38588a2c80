package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/clienttools"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/proxy"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

// clientToolsOf returns the session for a client's own tools, and opens one if
// there is none.
func (d *daemon) clientToolsOf(ctx context.Context, h *ipc.Handover) (*clientToolsRun, error) {
	c := d.clientOf(h)
	find := func() *clientToolsRun {
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
	r := &clientToolsRun{session: s, client: c.Client}
	r.tools = clienttools.New(clienttools.Config{
		Ref: d.refOf(c.Client), Tools: d.clientToolNames, Issue: d.issueOf(r), Unsaid: d.unsaid(s),
		Odd: func(kind, id, text string) { d.odd(s, kind, id, text) },
	})
	d.natives.mu.Lock()
	d.natives.runs[s.RunID] = append(d.natives.runs[s.RunID], r)
	d.natives.clients[c.Client.Ref()] = r
	d.natives.mu.Unlock()
	d.serving.Go(func() { d.serveClientTools(d.base, r, c.Client) }) // ends with the client, with its configuration, or with the daemon
	return r, nil
}

// clientName is the name that the client with these hooks uses elsewhere.
const clientName = "claude-code"

// clientToolNames names the tools that the policy in force knows.
func (d *daemon) clientToolNames() []string {
	var out []string
	if sv, ok := d.policy.Load().Server(config.NativeServer); ok {
		for _, t := range sv.Tools() {
			out = append(out, t.Name)
		}
	}
	return out
}

// serveClientTools serves one session until its client is gone.
func (d *daemon) serveClientTools(ctx context.Context, r *clientToolsRun, client ipc.Proc) {
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
		ended <- d.proxyClientTools(ctx, r)
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
	d.endRuns()
	end, cancelEnd := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancelEnd()
	if err := d.store.CloseSession(end, r.ID, d.now(), audit.ForSession(audit.SessionClosed, r.Session, d.now())); err != nil {
		d.log.Error("recording the end of a session", "session", r.ID, "error", err)
	}
}

func (d *daemon) proxyClientTools(ctx context.Context, r *clientToolsRun) error {
	return proxy.Serve(ctx, proxy.Config{
		Session: r.Session, Client: r.tools.Client(),
		Upstream: func(context.Context) (upstream.Conn, error) { return r.tools.Upstream(), nil },
		Policy:   d.policy.Load,
		Store:    d.store, Approvals: d.approvals, Locks: d.locks, Meter: d.meter,
		Redactor: d.secrets, Clock: d.clock, Spill: d.cfg.Paths.State, Roots: r.roots, Grace: nativeGrace,
		Commands: d.nativeCommands(r), Collect: r.collect,
		Log:    d.log.With("session", r.ID, "server", r.Server),
		Notice: r.notice, Waiting: r.waits, Changed: r.changed, Context: d.natives.context(r.session), NeedsPerson: r.tools.NeedsPerson,
	})
}

// collect implements proxy.Config.Collect.
func (r *clientToolsRun) collect(ctx context.Context, c proxy.Collected) error {
	return r.tools.Collect(ctx, c.ID, clienttools.Ready{Call: c.Call, Record: c.Record, Reviewed: c.Reviewed})
}
