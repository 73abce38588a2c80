package onboard

import (
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Proposal is a tier for a tool, and why.
type Proposal struct {
	Tool   string
	Tier   guard.Tier
	Reason string
	// Claimed is true if the tier rests on the server's own claims.
	Claimed bool
	// Preset is true where the preset has the tool; nothing is written for it.
	Preset bool
}

// Propose suggests a tier for each tool. known has the tools of the preset, or
// is empty. An annotation can raise the tier or suggest a read, nothing else:
// an unknown tool is proposed as irreversible.
func Propose(tools []Tool, known map[string]guard.Tier) []Proposal {
	out := make([]Proposal, 0, len(tools))
	for _, t := range tools {
		p := Proposal{Tool: t.Name, Claimed: true}
		tier, ok := known[t.Name]
		switch {
		case ok:
			p.Tier, p.Reason, p.Claimed, p.Preset = tier, "from the preset", false, true
		case t.ReadOnly:
			p.Tier, p.Reason = guard.T0Read, "the server says that it only reads"
		case !t.Destructive && t.Idempotent:
			p.Tier, p.Reason = guard.T1ReversibleWrite, "the server says that it adds without destroying, and may be repeated"
		default:
			p.Tier, p.Reason = guard.T2IrreversibleWrite, "the server does not say that it only reads; treated as irreversible"
		}
		out = append(out, p)
	}
	return out
}
