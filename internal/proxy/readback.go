package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/version"
)

// Names of the guard's own calls in the log.
const (
	ownClient      = audit.Own
	ownReadTimeout = 30 * time.Second // of one read of a record, whatever the timeout of its tool
	maxOwnExcerpt  = 8 << 10          // bytes of an answer that are searched for an excerpt
)

// records reads records for one call through other tools of its server.
type records struct {
	s  *session
	of *call
}

// ReadTool makes a call of the guard's own. It is admitted, counted and
// recorded like any other call, but it cannot wait for a human: a call that
// policy does not simply allow is refused. The client never sees its ID or its
// answer.
func (r records) ReadTool(ctx context.Context, name string, args []byte) ([]byte, error) {
	s := r.s
	c := s.ownCall(r.of, name, args)
	defer c.req.slot.leave()
	m, err := s.followOwn(ctx, c, r.of)
	if err == nil {
		done := s.completed(c, audit.StatusOK)
		result := payload(&m)
		text := ""
		if len(result) <= maxOwnExcerpt {
			text = s.excerpt(result)
		}
		done.Output = c.output(digest.Sum(result), text)
		s.cfg.Store.CloseCallAsync(c.tc.ID, done)
		return result, nil
	}
	if ctx.Err() != nil {
		err = gaveUp(context.Cause(ctx))
	}
	s.refuse(c, err) // records it; no one gets the answer
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var w *refusal
	why := "the guard could not handle the call"
	if errors.As(err, &w) {
		why = w.reply.Reason
	}
	// fail closed: what is not known cannot be shown
	return nil, &effect.Refusal{Rule: guard.RulePreviewFailed, Reason: "the record could not be read with " + name + ": " + why,
		Repair: "read the record with " + name + " yourself, and make the call once that works"}
}

// ownCall returns a call of the guard's own, made on behalf of another call.
func (s *session) ownCall(of *call, name string, args []byte) *call {
	c := &call{
		req: &request{id: jsonrpc.StringID(ownClient), method: "tools/call", modern: of.modern, answered: true},
		msg: of.msg, modern: of.modern, own: true,
	}
	c.tc = guard.ToolCall{
		ID: guard.NewCallID(), Session: of.tc.Session, Tool: name, CorrelationID: of.tc.CorrelationID,
		Args: args, ArgsRaw: digest.Sum(args), RequestedAt: s.now(), Context: of.tc.Context,
	}
	c.tc.Session.Origin.Client, c.tc.Session.Origin.Version = ownClient, version.Number
	return c
}

// followOwn runs the steps of a call of the guard's own. The error is a
// *refusal or an unexpected one.
func (s *session) followOwn(ctx context.Context, c, of *call) (jsonrpc.Message, error) {
	none := jsonrpc.Message{}
	tool, err := s.admitOwn(ctx, c, of)
	if err != nil {
		return none, err
	}
	limit := min(s.timeout(tool), ownReadTimeout)
	ctx, stop := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer stop()
	params := map[string]any{"name": c.tc.Tool, "arguments": json.RawMessage(c.tc.Args)}
	if meta := ownMeta(&of.msg); meta != nil {
		params["_meta"] = meta
	}
	type reply struct {
		m   jsonrpc.Message
		err error
	}
	answered := make(chan reply, 1)
	go func() { // ends with the answer, with the upstream, or with ctx, which stop ends
		m, err := s.ask(ctx, "tools/call", params)
		answered <- reply{m, err}
	}()
	if err := s.recordRead(ctx, c, tool); err != nil { // beside the upstream's work
		stop()
		<-answered
		return none, err // fail closed: an unrecorded answer is not used
	}
	a := <-answered
	switch {
	case errors.Is(a.err, errTimeout):
		return none, ownFailed("the server did not answer within " + limit.String())
	case errors.Is(a.err, errUpstreamGone):
		return none, ownFailed("the server has ended")
	case a.err != nil:
		return none, ownFailed("the server answered with an error")
	case taskOf(&a.m) != "":
		return none, ownFailed("the server answered with a task, not with the record")
	}
	switch outcomeOf(&a.m) {
	case guard.OutcomeOK:
		return a.m, nil
	case guard.OutcomeIncomplete:
		return none, ownFailed("the server asks for more input")
	default:
		return none, ownFailed("the server answered with an error")
	}
}

// ownFailed ends a call of the guard's own that reached, or should have
// reached, the server.
func ownFailed(reason string) *refusal {
	return &refusal{status: audit.StatusError, reply: reply{Status: replyError, Reason: reason}}
}

// admitOwn takes a call of the guard's own from its name to the policy's
// decision.
func (s *session) admitOwn(ctx context.Context, c, of *call) (*policy.Tool, error) {
	if err := c.readArgs(); err != nil {
		return nil, err
	}
	tool, err := s.toolInForce(c)
	if err != nil {
		return nil, err
	}
	if tool.Tier != guard.T0Read {
		// fail closed: the policy may have changed since it was checked
		return nil, broken(guard.RulePreviewFailed, "the tool is not at T0_READ", "ask the user")
	}
	d, err := s.definition(ctx, c, c.tc.Tool)
	if err != nil {
		return nil, broken(guard.RulePinMissing, "the server did not list its tools, so the tool's definition cannot be checked", "try again later")
	}
	c.def, c.tc.Definition = d.raw, d.hash
	s.meter(c, tool)
	if of.req.slot.taken() && c.meter.server > 0 {
		c.meter.server-- // the call that it serves waits for it, so it does not count
	}
	_, _, verdict, err := s.evaluate(ctx, c, tool)
	if err != nil {
		return nil, err
	}
	if verdict.Verdict != guard.Allow || verdict.Tier != guard.T0Read {
		// fail closed: a human decides about calls of the agent, not of the guard
		return nil, broken(verdict.Rule, "the call would have to be approved itself", "ask the user")
	}
	return tool, nil
}

// ownOrigin returns the origin of the guard's own calls.
func ownOrigin(folder string) audit.Origin {
	exe, err := os.Executable()
	if err != nil {
		exe = ""
	}
	return audit.Origin{Client: ownClient, Version: version.Number, PID: os.Getpid(), Executable: exe, Folder: folder}
}

// reader returns the reader of records for a call. The guard's own calls have
// none.
func (s *session) reader(c *call) effect.Reader {
	if c == nil || c.own {
		return nil
	}
	return records{s, c}
}

// holdsRecord reports whether one of the effects changes a record.
func holdsRecord(effects []guard.Effect) bool {
	for _, e := range effects {
		if e.Record != nil {
			return true
		}
	}
	return false
}

// touched returns what the server reports that a call has touched, without
// secrets.
func (s *session) touched(c *call, tool *policy.Tool, end ending) []guard.Touched {
	if end.outcome != guard.OutcomeOK || !tool.KeepsReceipts() {
		return nil
	}
	answer, err := effect.Answer(end.raw)
	if err != nil {
		return nil
	}
	var out []guard.Touched
	for _, t := range tool.Touched(c.vars, answer) {
		clean, _, err := s.cfg.Redactor.JSON(rawJSON(t.ID))
		if err != nil || clean == nil || json.Unmarshal(clean, &t.ID) != nil {
			continue // fail closed: unsearched text may be a secret
		}
		out = append(out, t)
	}
	return out
}
