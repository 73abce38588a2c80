package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/clienttools"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/hook"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/store"
)

// Bounds of hooks.
const (
	hookTimeout   = 10 * time.Second // to send the input and to read the answer
	reportSettles = 5 * time.Second  // for a report to be recorded
	clientLook    = 2 * time.Second  // between checks that a client still runs
	nativeGrace   = time.Second      // for what runs in a client when its session ends
	nativeDrain   = 3 * time.Second  // for its session to have recorded that, at the end of the daemon
	maxUses       = 4096             // tool uses whose context is remembered
	maxPromptIDs  = 64               // prompts that are remembered per client
)

// reserved serves the names that no configured server can have: hooks and
// permission prompts.
func (d *daemon) reserved(ctx context.Context, h *ipc.Handover) (served bool) {
	switch h.Hello.Server {
	case ipc.HookPre, ipc.HookPost:
		if h.Welcome(ipc.Welcome{OK: true, Version: d.cfg.Version}) == nil {
			d.hook(ctx, h)
		}
	case ipc.HookResult:
		if h.Welcome(ipc.Welcome{OK: true, Version: d.cfg.Version}) == nil {
			d.outcome(ctx, h)
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

// question decides whether the client may run a tool. Call lost if the client
// does not get the answer.
func (d *daemon) question(ctx context.Context, h *ipc.Handover, e hook.Event) (answer []byte, lost func()) {
	lost = func() {}
	if e.Name != hook.PreToolUse {
		return hook.Deny("mcpguard answers PreToolUse here; `mcpguardd hooks install` writes the settings"), lost
	}
	r, err := d.clientToolsOf(ctx, h)
	if err != nil {
		d.log.Warn("a question of a client was refused", "client_pid", h.Client.PID, "error", err)
		return hook.Deny("mcpguard: " + err.Error()), lost
	}
	r.hooked.Store(true)
	servers := d.guarded(r, e)
	u := newUse(r.contextOf(e), e, r.nameOf(e), servers)
	if len(servers) > 0 && u.input.IsZero() {
		return hook.Deny("mcpguard: the tool's input has no canonical form; use plain numbers and text"), lost
	}
	d.natives.remember(useKey{r.RunID, e.ToolUseID}, u)
	if len(servers) > 0 {
		// The session of that server handles the call itself, with its own
		// preview; asking here as well would need two approvals for one
		// action. Calls that its accepted policy allows were allowed by the
		// developer.
		return hook.Allow(""), lost
	}
	if unsaid := r.tools.Unsaid(); len(unsaid) > 0 {
		return hook.Deny("mcpguard: " + strings.Join(unsaid, "; ") + ". Read the files before you go on. This call was not looked at; make it again if it still fits."), lost
	}
	q := clienttools.Question{Tool: e.Tool, ToolUseID: e.ToolUseID, AgentID: e.AgentID, Input: e.Input, Folder: e.Cwd, Sandbox: sandboxOf(r, e.Tool)}
	d.contain(r, e, &q)
	a, r, err := d.ask(ctx, h, r, q)
	switch {
	case err != nil:
		return hook.Deny("mcpguard: " + err.Error()), lost
	case !a.Allow:
		return hook.Deny(a.Reason + unknownServer(e)), lost
	case a.Begun:
		lost = func() { r.tools.Lost(e.ToolUseID) }
	}
	if a.Input != "" {
		return hook.Rewrite("the guard has run it in a sandbox; this line shows what came of it", json.RawMessage(a.Input)), lost
	}
	if !a.Approved {
		// No human has decided: what the client would refuse or ask about by
		// itself, it still does.
		return hook.Abstain(), lost
	}
	return hook.Allow("approved in mcpguard"), lost
}

// ask asks the run's session, or a new one if that has just ended.
func (d *daemon) ask(ctx context.Context, h *ipc.Handover, r *clientToolsRun, q clienttools.Question) (clienttools.Answer, *clientToolsRun, error) {
	a, err := r.tools.Ask(ctx, q)
	if errors.Is(err, clienttools.ErrEnded) && ctx.Err() == nil {
		if r, err = d.clientToolsOf(ctx, h); err == nil {
			a, err = r.tools.Ask(ctx, q)
		}
	}
	return a, r, err
}

// reported takes a client's report. It decides nothing and never fails: a
// report is only the client's claim.
func (d *daemon) reported(ctx context.Context, h *ipc.Handover, e hook.Event) {
	client := d.clientOf(h)
	d.natives.mu.Lock()
	newest := d.natives.clients[client.Client.Ref()]
	var runs []*clientToolsRun
	if newest != nil {
		runs = slices.Clone(d.natives.runs[newest.RunID])
	}
	d.natives.mu.Unlock()
	switch e.Name {
	case hook.PostToolUse, hook.PostToolUseFailure:
		known := false
		for _, r := range runs {
			if r.tools.Report(e.ToolUseID, e.Input, e.Error, e.Name == hook.PostToolUseFailure) {
				known = true
				// The client continues when its hook has ended. Wait, so that
				// its next call finds the target free and this call completed.
				settled, cancel := context.WithTimeout(ctx, reportSettles)
				r.tools.Settled(settled, e.ToolUseID)
				cancel()
			}
		}
		if newest != nil && d.natives.wentPast(useKey{newest.RunID, e.ToolUseID}, e.Name == hook.PostToolUse) {
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
		for _, r := range runs {
			r.tools.Declined(e.AgentID)
		}
		if newest == nil {
			var err error
			if newest, err = d.clientToolsOf(ctx, h); err != nil {
				return // the first question will say so
			}
		}
		newest.prompt(e.PromptID, e.Prompt)
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
