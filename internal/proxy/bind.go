package proxy

import (
	"fmt"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/policy"
)

// prepared is a call that is ready to be approved or executed: its change and
// the decision on it, under one digest.
type prepared struct {
	tool    *policy.Tool
	targets []guard.Target
	locks   []guard.Target // the targets; for a command, the files that it changes
	preview *guard.Preview
	verdict *policy.Verdict
	digest  digest.Digest
}

// prepare computes the digest that the reviewer approves and that is compared
// again before execution.
func (s *session) prepare(c *call, tool *policy.Tool, targets []guard.Target, preview *guard.Preview, verdict *policy.Verdict) (*prepared, error) {
	preview.SideEffects = append(preview.SideEffects[:len(preview.SideEffects):len(preview.SideEffects)], verdict.SideEffects...)
	preview.SideEffects = append(preview.SideEffects, s.firstTimes(c, preview.Change)...)
	if s.cfg.Note != "" {
		preview.SideEffects = append(preview.SideEffects, guard.SideEffect{Text: s.cfg.Note})
	}
	preview.Hazards = append(preview.Hazards[:len(preview.Hazards):len(preview.Hazards)], verdict.Hazards...)
	raw, beside := c.boundBytes()
	if beside {
		preview.Hazards = append(preview.Hazards, guard.Hazard{Kind: "beside_arguments",
			Text: "the call carries more than its arguments, for example answers to the server's questions"})
	}
	if verdict.Post && len(preview.Hazards) > 0 {
		// fail closed: hazards are shown before the call runs, not afterwards
		verdict.AskFirst("writes wait for an approval")
		c.decision, c.asked = verdict.Decision, true
	}
	sum, err := guard.Binding{
		Tenant: c.tc.Session.Tenant, Run: c.tc.Session.RunID, Server: c.tc.Session.Server, Tool: c.tc.Tool,
		Tier: verdict.Tier, Folder: c.tc.Session.Origin.Folder, Roots: s.cfg.Roots,
		Definition: c.tc.Definition, Policy: tool.Hash, Args: c.tc.ArgsCanonical, ArgsRaw: raw,
		Effects: preview.Effects, Change: preview.Change,
	}.Digest()
	if err != nil {
		return nil, fmt.Errorf("computing the digest of a call: %w", err)
	}
	c.diff = digest.Digest{}
	if preview.Change.Text != "" {
		c.diff = digest.Sum([]byte(preview.Change.Text))
	}
	return &prepared{tool: tool, targets: targets, locks: locksOf(targets, preview), preview: preview, verdict: verdict, digest: sum}, nil
}

// locksOf returns the targets to lock for a call. The files that a command
// changes are known only once it has run.
func locksOf(targets []guard.Target, preview *guard.Preview) []guard.Target {
	if effect.Ran(*preview) == nil || len(preview.Effects) == 0 {
		return targets
	}
	out := make([]guard.Target, len(preview.Effects))
	for i, e := range preview.Effects {
		out[i] = e.Resource
	}
	return out
}

// boundBytes returns the digest of all bytes that a server may act on: the
// arguments as received and the rest of params, such as the answers and state
// in a retry of the modern era. Only metadata that the protocol itself defines
// is left out: it differs between retries and does not change what is done.
// beside reports whether there is more than the arguments, which a reviewer
// does not see.
func (c *call) boundBytes() (sum digest.Digest, beside bool) {
	h := digest.NewHasher("mcpguard/params/v1")
	h.Field("arguments", c.tc.ArgsRaw[:])
	more := false
	for f := range jsonrpc.Members(c.msg.Raw, c.msg.Params) {
		switch f.Name {
		case "name", "arguments":
			continue
		case "_meta":
			for meta := range jsonrpc.Members(c.msg.Raw, f.Value) {
				if !protocolMeta(meta.Name) {
					more, beside = true, true
					h.Field("_meta."+meta.Name, meta.Value.Of(c.msg.Raw))
				}
			}
			continue
		case "task": // how to answer, not what to do
		default:
			beside = true
		}
		more = true
		h.Field(f.Name, f.Value.Of(c.msg.Raw))
	}
	if !more {
		return c.tc.ArgsRaw, false
	}
	return h.Digest(), beside
}

// protocolMeta reports whether a member of _meta is defined by the protocol or
// is a label for records. Servers have no reason to act on either.
func protocolMeta(name string) bool {
	switch name {
	case "progressToken", "traceparent", "tracestate", "baggage", metaToolUse, metaProtocolVersion, metaClientInfo,
		"io.modelcontextprotocol/clientCapabilities", "io.modelcontextprotocol/logLevel":
		return true
	}
	return false
}
