package daemon

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// refOf identifies a client as the upstream that runs its own tools.
func (d *daemon) refOf(p ipc.Proc) guard.UpstreamRef {
	return guard.UpstreamRef{PID: p.PID, StartTime: p.StartTime, BootID: d.clock.Now().BootID}
}

// clientOf returns the handover with its client found behind the shells in
// which clients run hooks.
func (d *daemon) clientOf(h *ipc.Handover) *ipc.Handover {
	out := &ipc.Handover{Hello: ipc.Hello{Server: config.NativeServer}, Client: h.Client, Wrappers: h.Wrappers, Ancestors: h.Ancestors}
	for len(out.Ancestors) > 0 && inShell(out.Client) && startsClients(out.Ancestors[0]) {
		out.Wrappers = append(slices.Clone(out.Wrappers), out.Client)
		out.Client, out.Ancestors = out.Ancestors[0], out.Ancestors[1:]
	}
	return out
}

// inShell reports whether a process is a shell started to run one command; an
// interactive shell is not.
func inShell(p ipc.Proc) bool {
	switch filepath.Base(p.Executable) {
	case "sh", "bash", "dash", "zsh", "ash", "ksh", "busybox", "fish":
		return len(p.Cmdline) > 1 && strings.HasPrefix(p.Cmdline[1], "-") && strings.Contains(p.Cmdline[1], "c")
	}
	return false
}

// startsClients reports whether a process may itself be a client. A process
// that keeps a person's terminals or logins is not: treating it as one would
// make all processes of that person clients.
func startsClients(p ipc.Proc) bool {
	switch filepath.Base(p.Executable) {
	case "tmux", "screen", "zellij", "sshd", "sshd-session", "login", "su", "sudo", "systemd", "launchd", "init":
		return false
	}
	return p.PID > 1
}
