package daemon

import (
	"context"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/localapi"
	"github.com/mcpguard/mcpguard/internal/policy"
)

// serveAPI serves the approver socket. stop ends it and waits, at most
// apiTimeout.
func (d *daemon) serveAPI(l net.Listener) (stop func()) {
	api := localapi.New(localapi.Config{
		Store: d.store, Approvals: d.approvals, Live: live{d}, Clock: d.clock, Version: d.cfg.Version,
		Watch:    func() localapi.Watcher { return d.store.Watch() },
		Unsigned: d.unsignedOf, Approvers: d.decideApprovers,
		Clients:  d.clients,
		UserName: userName,
		Log:      d.log,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends in stop
		defer close(done)
		if err := api.Serve(ctx, l, apiTimeout); err != nil {
			d.log.Error("serving the control API", "error", err)
		}
	}()
	return func() { cancel(); <-done }
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return ""
}

// clients returns every process that has been a client since boot, and the
// wrappers of the current ones. Neither they nor their descendants may decide,
// whether they still have a session or not.
func (d *daemon) clients() []ipc.ClientRef {
	out := d.sessions.clients()
	runs, err := d.store.Runs()
	if err != nil {
		d.log.Error("loading the known clients", "error", err)
		// fail closed: process 1 is an ancestor of every process, so no one
		// may decide
		return append(out, initProcess())
	}
	boot := d.clock.Now().BootID
	for _, r := range runs {
		if r.BootID == boot {
			out = append(out, ipc.ClientRef{PID: r.Origin.PID, StartTime: r.Origin.StartTime})
		}
	}
	return out
}

func initProcess() ipc.ClientRef {
	p, err := ipc.Inspect(1)
	if err != nil {
		return ipc.ClientRef{PID: os.Getpid()}
	}
	return p.Ref()
}

// live implements localapi.Live.
type live struct{ *daemon }

// Sessions implements localapi.Live.
func (l live) Sessions() []client.Session {
	out := []client.Session{}
	for _, s := range l.sessions.all() {
		v := s.state()
		one := localapi.SessionOf(v.Session)
		one.UpstreamPID, one.Problem, one.Notices = v.UpstreamPID, v.Problem, v.Notices
		out = append(out, one)
	}
	return out
}

// Servers implements localapi.Live.
func (l live) Servers() []client.Server {
	out := []client.Server{}
	sessions := l.sessions.all()
	set := l.policy.Load()
	names := set.Config().ToolNames()
	for _, sv := range set.Servers() {
		v := client.Server{Name: sv.Name, Preset: sv.Config.Preset, Command: l.command(sv), Health: client.HealthIdle, Tools: []client.ServerTool{}, Names: config.CloseNames(names, sv.Name)}
		for _, t := range sv.Tools() {
			_, accepted := t.Pin()
			v.Tools = append(v.Tools, client.ServerTool{Name: t.Name, Tier: t.Tier.String(), Accepted: accepted})
		}
		for _, s := range sessions {
			if s.Server == sv.Name {
				describe(&v, s)
			}
		}
		out = append(out, v)
	}
	return out
}

// describe adds a session to the description of its server.
func describe(v *client.Server, s *session) {
	now := s.state()
	v.Sessions = append(v.Sessions, string(now.ID))
	if v.Health != client.HealthFailed {
		v.Health = client.HealthRunning
	}
	if now.Problem != "" {
		v.Health, v.Problem = client.HealthFailed, now.Problem
	}
	if now.UpstreamPID > 0 {
		v.PIDs = append(v.PIDs, now.UpstreamPID)
	}
	v.Stderr = append(v.Stderr, now.Stderr...)
	for _, line := range now.Behind {
		if !slices.Contains(v.Changed, line) {
			v.Changed = append(v.Changed, line)
		}
	}
	for _, w := range now.Waiting {
		if !slices.ContainsFunc(v.Waiting, func(x client.DefinitionDiff) bool { return x.Tool == w.Tool }) {
			v.Waiting = append(v.Waiting, w)
		}
	}
}

// command returns the command line for display. Arguments are redacted, since
// some contain keys.
func (l live) command(sv *policy.Server) string {
	if sv.Config.Builtin != "" {
		return "built in: " + sv.Config.Builtin
	}
	words := append([]string{sv.Config.Command}, sv.Config.Args...)
	return string(l.secrets.text([]byte(strings.Join(words, " "))))
}

// Status implements localapi.Live.
func (l live) Status() client.Status {
	set := l.policy.Load()
	s := client.Status{
		Version: l.cfg.Version, PID: os.Getpid(), StartedAt: l.started, Folder: filepath.Clean(l.cfg.Paths.State),
		Level: Level, Claim: LevelClaim, Weaknesses: Weaknesses(set.Config(), l.unsignedOf()), PolicyHash: set.Hash(),
	}
	if p := l.problem.Load(); p != nil {
		s.PolicyProblem, s.PolicyNone = p.text, p.none
	}
	s.StoreProblem, s.StoreDamage = l.store.Problem(), l.store.Damage()
	s.ApproversWait, s.ApproversRefused = l.approversWait()
	return s
}
