package daemon

import (
	"fmt"
	"maps"
	"slices"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// Level is the security level of this version, and what may be claimed for it;
// see docs/security.md.
const (
	Level      = "L0"
	LevelClaim = "stops accidents and the obvious command; a process of the same user that sets out to deceive can get around it"
)

// Weaknesses lists, in sentences, what remains open on this machine and with
// this configuration. unsigned is approvers.unsigned as it is in force.
func Weaknesses(c *config.Config, unsigned string) []string {
	var out []string
	for _, p := range ipc.Capabilities() {
		if !p.OK {
			out = append(out, p.Note)
		}
	}
	if unsigned == "any" {
		out = append(out, "approvers.unsigned is any: every process of this user may approve, the agent's too; meant for closed test set-ups")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Servers)) {
		s := c.Servers[name]
		switch {
		case s.Proven():
		case s.Dialect != "":
			out = append(out, fmt.Sprintf("server %s: its version is not one that the preset was proven with; the effects of its writes are not computed", name))
		default:
			out = append(out, fmt.Sprintf("server %s: its version is not known, or not one that the preset was compared with; its tools may do something else by now", name))
		}
		if s.Basis == "listed" || s.Basis == "published" {
			out = append(out, fmt.Sprintf("server %s: the preset %s was not tried with the running server", name, s.Preset))
		}
		for _, tool := range slices.Sorted(maps.Keys(s.Tools)) {
			t := s.Tools[tool]
			at := name + "/" + tool
			switch {
			case t.Tier == guard.T3Execute && t.Sandbox == "none":
				out = append(out, at+": runs commands without a sandbox (sandbox: none)")
			case t.Tier == guard.T3Execute && t.Sandbox == "client":
				out = append(out, at+": runs commands in the client's own sandbox at best; each approval says where that is not on (sandbox: client)")
			case t.Tier == guard.T4IdentityMoneyOutbound && bool(t.Signed):
				out = append(out, at+": may be approved without a signature (signed: no)")
			case t.Tier == guard.T1ReversibleWrite && t.Approval.Required != nil && !*t.Approval.Required:
				out = append(out, at+": writes without an approval (approval.required: false)")
			case t.Tier == guard.T1ReversibleWrite && t.Approval.Mode == "post":
				out = append(out, at+": writes first and is shown afterwards (approval.mode: post)")
			}
			if r := t.Effect.Record; r != nil && t.Tier == guard.T1ReversibleWrite && len(r.Paths.Allow) > 0 {
				out = append(out, at+": changes of some fields run without an approval (paths.allow)")
			}
		}
	}
	for _, at := range c.Unconfirmed() {
		out = append(out, at+": its tier is only the server's own claim; confirm it by removing the comment")
	}
	return out
}
