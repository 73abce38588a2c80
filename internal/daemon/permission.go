package daemon

import (
	"context"
	"crypto/rand"

	"github.com/mcpguard/mcpguard/internal/clienttools"
	"github.com/mcpguard/mcpguard/internal/hook"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// permission serves the tool that a client asks before it runs something.
func (d *daemon) permission(ctx context.Context, h *ipc.Handover) {
	r, err := d.clientToolsOf(ctx, h)
	if err != nil {
		_ = h.Welcome(ipc.Welcome{Version: d.cfg.Version, Error: err.Error()})
		return
	}
	if err := h.Welcome(ipc.Welcome{OK: true, Version: d.cfg.Version}); err != nil {
		return
	}
	ours := d.owns(h)
	if ours { // a call of its tool is let through for it alone
		r.prompters.Add(1)
		defer r.prompters.Add(-1)
	}
	var leave <-chan struct{}
	if h.Hello.Keeps {
		leave, ctx = ctx.Done(), context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var unread []byte
	if h.Kept != nil {
		unread = h.Kept.Unread
	}
	go func() { // ends with the shim, at the latest when the handover is closed
		<-h.Done()
		cancel()
	}()
	rest, err := clienttools.Permission{Version: d.cfg.Version, Leave: leave, Unread: unread, Ask: func(ctx context.Context, q clienttools.Question) clienttools.Answer {
		if q.ToolUseID == "" {
			q.ToolUseID = "prompt-" + rand.Text()
		}
		if len(d.guarded(r, hook.Event{Tool: q.Tool})) > 0 {
			return clienttools.Answer{Allow: true} // its server's session asks by itself
		}
		q.Person = true // whoever configured the prompt wants to be asked what the client's rules leave open
		q.Silent, q.Folder, q.Sandbox = !r.hooked.Load(), r.Origin.Folder, sandboxOf(r, q.Tool)
		a, at, err := d.ask(ctx, h, r, q)
		if err != nil {
			return clienttools.Answer{Reason: "mcpguard: " + err.Error()}
		}
		if a.Begun && ctx.Err() != nil {
			at.tools.Lost(q.ToolUseID) // the answer can no longer be written
		}
		return a
	}}.Serve(ctx, duplex{h.In, h.Out})
	if err != nil {
		d.log.Warn("permission prompts ended", "error", err)
	}
	if rest != nil {
		d.giveBack(ours, h, ipc.Handback{InFlight: rest.InFlight, Unread: rest.Unread})
	}
}
