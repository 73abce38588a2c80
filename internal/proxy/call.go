package proxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/mcpguard/mcpguard/internal/approval"
	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/redact"
	"github.com/mcpguard/mcpguard/internal/store"
)

// call is one request that the session follows in a goroutine of its own.
type call struct {
	req    *request
	msg    jsonrpc.Message
	modern bool
	own    bool // made by the guard itself
	tc     guard.ToolCall
	vars   *expr.Vars
	memo   effect.Memo
	def    []byte // the tool's definition, as the upstream listed it

	room    claimed  // its share of the guard's memory
	away    *os.File // holds the bytes of msg while they are not in memory
	awaySum digest.Digest
	resting bool // parts that can be decoded again from msg are dropped

	told int // progress notifications of the guard's own

	repeats   bool // an identical call waits for its approval already
	continues bool // and this one joins it, so it is not counted again

	metered bool // the meter has been read for this call
	meter   reading

	intends bool  // it is about to be executed and has an intent
	files   bool  // it changes only files
	held    *Lock // the lock, until the execution begins
	running *Lock // the lock, from then on

	// For the record.
	argsSum   digest.Digest // of the canonical arguments
	recorded  bool          // the store has the record that opens the call
	decision  guard.Decision
	tier      guard.Tier
	sensitive bool
	asked     bool
	approval  guard.ApprovalID
	diff      digest.Digest
}

func (s *session) newCall(r *request, m jsonrpc.Message) *call {
	ses := s.cfg.Session
	ses.Origin = s.requester()
	c := &call{req: r, msg: m, modern: modern(&m)}
	c.tc = guard.ToolCall{ID: guard.NewCallID(), Session: ses, RequestedAt: s.now()}
	c.tc.CorrelationID = string(c.tc.ID)
	if at, ok := jsonrpc.Lookup(m.Raw, m.Params, "_meta", metaToolUse); ok {
		if id, ok := jsonrpc.String(m.Raw, at); ok && id != "" && len(id) <= maxLabel {
			c.tc.CorrelationID = id
		}
	}
	return c
}

// call runs one tools/call from its first step to its answer and its last
// record.
func (s *session) call(ctx context.Context, c *call) {
	defer s.recovered(c)
	defer c.leaveRoom()
	c.tc.Tool = c.req.tool // for the record, until more is known
	var frame []byte
	err := s.enterRoom(c) // limits the memory of calls that wait
	if err == nil {
		frame, err = s.follow(ctx, c)
	}
	if err != nil {
		frame = s.refuse(c, err)
	}
	if s.cfg.Commands != nil {
		s.cfg.Commands.Done(c.tc.ID)
	}
	c.req.slot.leave() // before the answer, since the next call may follow at once
	s.reply(c.req, frame)
}

// recovered keeps a panic in one call from ending every session. The call is
// refused. If its execution had begun, the intent stays open and the target
// stays locked, as after a crash, and later calls on that target are refused
// with that reason.
func (s *session) recovered(c *call) {
	p := recover()
	if p == nil {
		return
	}
	s.cfg.Log.Error("a call panicked inside the guard", "session", s.cfg.Session.ID, "call", c.tc.ID, "tool", c.tc.Tool,
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if s.cfg.Commands != nil {
		s.cfg.Commands.Done(c.tc.ID)
	}
	if c.held != nil {
		c.held.Release()
	}
	if c.running != nil {
		c.running.Keep()
	}
	c.req.slot.leave()
	s.reply(c.req, ownResult(c, reply{Status: replyError, Rule: guard.RulePreviewFailed,
		Reason: "the guard failed on this call", Repair: "read the target before you go on; ask the user to look at the guard's log"}))
}

// follow runs the steps of a call in order and returns the answer. An error
// means that the call ended without an answer from the upstream.
func (s *session) follow(ctx context.Context, c *call) ([]byte, error) {
	tool, err := s.identifyTool(ctx, c) // fills in ToolCall and finds the policy
	if err != nil {
		return nil, err
	}
	targets, err := s.resolve(ctx, c, tool) // names only
	if err != nil {
		return nil, err
	}
	if err := s.admit(c, tool, targets); err != nil {
		return nil, err
	}
	preview, err := s.plan(ctx, c, tool, targets) // from the target itself
	if err != nil {
		return nil, err
	}
	verdict, err := s.decide(c, tool, targets, preview)
	if err != nil {
		return nil, err
	}
	if verdict.Verdict == guard.Allow && verdict.Tier == guard.T0Read {
		if err := s.collect(ctx, c, nil, ranAs(preview)); err != nil { // only where the client asks for it later
			return nil, err
		}
		return s.read(ctx, c, tool, preview, outputLimit(verdict))
	}
	ready, err := s.prepare(c, tool, targets, preview, verdict) // the digest of all that is approved
	if err != nil {
		return nil, err
	}
	if err := s.open(ctx, c, ready); err != nil { // recorded before anyone waits
		return nil, err
	}
	var ticket *approval.Waiter
	if verdict.Verdict == guard.Ask {
		if ticket, err = s.submit(ctx, c, ready); err != nil {
			return nil, err
		}
	}
	for round := 0; ; round++ {
		record := ranAs(ready.preview)                        // the preview is not kept while the call is held
		if err := s.hold(ctx, c, ticket, ready); err != nil { // waits for a human, if policy asks
			return nil, err
		}
		if err := s.collect(ctx, c, ticket, record); err != nil { // waits for the client, as above
			return nil, err
		}
		held, err := s.lock(ctx, c, ticket, ready)
		if err != nil {
			return nil, err
		}
		now, intent, err := s.begin(ctx, c, ticket, ready) // plan, decide, compare, intent
		if errors.Is(err, errStale) {                      // it is no longer what was approved: ask again
			held.Release()
			ready = now
			if ticket, err = s.resubmit(ctx, c, ticket, ready, round); err == nil {
				continue
			}
			return nil, err
		}
		if err != nil {
			held.Release()
			return nil, err
		}
		return s.execute(c, now, intent, held), nil // write, read back, receipt, unlock
	}
}

// refuse records how a call that did not run ended, and returns its answer.
func (s *session) refuse(c *call, err error) []byte {
	var r *refusal
	if !errors.As(err, &r) {
		// fail closed: an unexpected error refuses the call
		s.cfg.Log.Error("a call failed inside the guard", "session", s.cfg.Session.ID, "call", c.tc.ID, "tool", c.tc.Tool, "err", err)
		r = broken(guard.RulePreviewFailed, "the guard could not handle this call", "ask the user to look at the guard's log")
	}
	ctx, cancel := durably(s.ctx)
	defer cancel()
	if r.reply.Rule != "" {
		c.decision = guard.Decision{Verdict: guard.Deny, Rule: r.reply.Rule, Reason: r.reply.Reason}
	}
	var events []audit.Event
	if !c.recorded {
		events = append(events, s.callEvent(c, audit.ToolCallRequested))
	}
	if r.status == audit.StatusDenied {
		events = append(events, s.callEvent(c, audit.ToolCallDenied))
	}
	var recErr error
	if !c.recorded {
		recErr = s.cfg.Store.OpenCall(ctx, s.storeCall(c, 0), events...)
		c.recorded = recErr == nil
	} else if len(events) > 0 {
		recErr = s.cfg.Store.Record(ctx, events...)
	}
	done := s.completed(c, r.status)
	if c.decision.Reason == "" {
		done.Reason = r.reply.Reason
	}
	recErr = errors.Join(recErr, s.cfg.Store.CloseCall(ctx, c.tc.ID, done))
	if recErr != nil {
		s.cfg.Log.Error("recording a refused call", "call", c.tc.ID, "err", recErr)
	}
	if r.silent {
		return nil
	}
	return ownResult(c, r.reply)
}

func (s *session) storeCall(c *call, limit int) store.Call {
	return store.Call{
		ID: c.tc.ID, SessionID: c.tc.Session.ID, RunID: c.tc.Session.RunID, Tenant: c.tc.Session.Tenant,
		Server: c.tc.Session.Server, Tool: c.tc.Tool, CorrelationID: c.tc.CorrelationID, Limit: limit,
	}
}

// identifyTool finds the tool that is called, its policy and its definition in
// force.
func (s *session) identifyTool(ctx context.Context, c *call) (*policy.Tool, error) {
	if err := s.workOn(ctx, c); err != nil {
		return nil, err
	}
	at, ok := c.msg.Param("name")
	if ok {
		c.tc.Tool, ok = jsonrpc.String(c.msg.Raw, at)
	}
	if !ok || c.tc.Tool == "" {
		return nil, broken(guard.RuleSchema, "the call names no tool", "give the tool's name")
	}
	if len(c.tc.Tool) > maxLabel {
		// No policy names the tool, so a part of the name is enough for the
		// record.
		c.tc.Tool = strings.ToValidUTF8(c.tc.Tool[:maxLabel], "") + "…"
		return nil, notListed()
	}
	c.tc.Args = []byte("{}")
	if at, ok := c.msg.Param("arguments"); ok {
		c.tc.Args = at.Of(c.msg.Raw)
		if jsonrpc.TypeOf(c.msg.Raw, at) != jsonrpc.ObjectType {
			return nil, broken(guard.RuleSchema, "the arguments are not an object", "give the arguments as an object")
		}
	}
	c.tc.ArgsRaw = digest.Sum(c.tc.Args)
	err := c.readArgs()
	if c.tc.ArgsCanonical != nil && c.tc.CorrelationID != string(c.tc.ID) {
		c.tc.Context = s.cfg.Context(c.tc)
	}
	if err != nil {
		return nil, err
	}
	tool, err := s.toolInForce(c)
	if err != nil {
		return nil, err
	}
	if redact.ValueContainsMarker(c.vars.Args.Value) && tool.Tier != guard.T0Read {
		return nil, broken(guard.RuleRedactionMarker, "the arguments contain a place where the guard took out a secret; writing it would destroy the real value",
			"change only the part around the secret, with an edit that does not contain it")
	}
	d, err := s.definition(ctx, c, c.tc.Tool)
	if err != nil {
		if ctx.Err() != nil {
			return nil, gaveUp(context.Cause(ctx))
		}
		s.cfg.Log.Warn("listing the server's tools", "session", s.cfg.Session.ID, "server", s.cfg.Session.Server, "err", err)
		return nil, broken(guard.RulePinMissing, "the server did not list its tools, so the tool's definition cannot be checked", "try again later")
	}
	c.def, c.tc.Definition = d.raw, d.hash
	return tool, nil
}

// readArgs decodes the arguments in two forms: canonical, for digests, and as
// policy expressions see them.
func (c *call) readArgs() error {
	const repair = "use plain numbers and text in the arguments"
	v, err := jsonvalue.Decode(c.tc.Args)
	if err == nil {
		c.tc.ArgsCanonical, err = v.Canonical()
	}
	if err != nil {
		return broken(guard.RuleSchema, "the arguments have no canonical form", repair)
	}
	args, err := expr.ArgsOf(v)
	if err != nil {
		return broken(guard.RuleSchema, "the arguments could not be read", repair)
	}
	c.vars = &expr.Vars{Args: args, Tool: c.tc.Tool, Server: c.tc.Session.Server, Session: &c.tc.Session}
	return nil
}

// toolInForce returns the tool's policy as it is now.
func (s *session) toolInForce(c *call) (*policy.Tool, error) {
	server, ok := s.cfg.Policy().Server(c.tc.Session.Server)
	if ok {
		if tool, ok := server.Tool(c.tc.Tool); ok {
			c.tier = tool.Tier
			return tool, nil
		}
	}
	return nil, notListed()
}

// notListed is the default: the policy does not name the tool.
func notListed() error {
	return broken(guard.RuleNotListed, "the policy does not name this tool", "use one of the tools that are listed")
}

func (s *session) input(c *call) effect.Input {
	return effect.Input{Call: c.tc, Roots: s.cfg.Roots, Vars: c.vars, ServerRoots: s.cfg.ServerRoots, Home: s.cfg.Home, Reader: s.reader(c), Memo: &c.memo, Commands: s.cfg.Commands,
		Changed: func() ([]string, error) {
			return s.cfg.Store.ChangedInRun(c.tc.Session.Tenant, c.tc.Session.RunID, maxCallsLooked)
		}}
}

// maxCallsLooked bounds the calls that are looked through for what a run changed.
const maxCallsLooked = 5000

// resolve returns the targets of a call. A tool without an effect has none.
func (s *session) resolve(ctx context.Context, c *call, tool *policy.Tool) ([]guard.Target, error) {
	if tool.Binding == nil {
		return nil, nil
	}
	targets, err := tool.Binding.Resolve(ctx, s.input(c))
	if err != nil {
		// If the call is refused whatever its targets are, give that reason
		// instead.
		if d := tool.Admit(s.request(c, tool, nil)); d.Verdict != guard.Allow && d.Rule != guard.RulePath {
			return nil, denied(d)
		}
		return nil, s.effectRefusal(ctx, c, err)
	}
	c.vars.Targets = targets
	if len(targets) > 0 {
		c.vars.Target = &targets[0]
	}
	return targets, nil
}

// effectRefusal turns an error of an effect into a refusal. A tool whose
// effect fails is never treated as one without an effect.
func (s *session) effectRefusal(ctx context.Context, c *call, err error) error {
	var r *effect.Refusal
	switch {
	case errors.As(err, &r):
		return broken(r.Rule, r.Reason, r.Repair)
	case ctx.Err() != nil:
		return gaveUp(context.Cause(ctx))
	}
	// fail closed: the change is not known
	s.cfg.Log.Warn("computing an effect", "call", c.tc.ID, "tool", c.tc.Tool, "err", err)
	return broken(guard.RulePreviewFailed, "what this call would change could not be computed", "check the arguments, read the target again")
}

// admit asks the policy whether the call may be made at all.
func (s *session) admit(c *call, tool *policy.Tool, targets []guard.Target) error {
	d := tool.Admit(s.request(c, tool, targets))
	if d.Verdict != guard.Allow {
		return denied(d)
	}
	return nil
}

// request collects what the policy may look at. The meter is read once, when
// the call comes in; the look before execution uses the current state of
// everything else.
func (s *session) request(c *call, tool *policy.Tool, targets []guard.Target) policy.Request {
	if !c.metered {
		s.meter(c, tool)
	}
	calls := s.cfg.Store.CallsInRun(c.tc.Session.Tenant, c.tc.Session.RunID, c.tc.Session.Server, c.tc.Tool)
	if c.recorded || c.repeats {
		calls-- // do not count this call, or the one that it continues
		if n := callLimit(tool); n > 0 {
			calls = min(calls, n-1) // this one was admitted, however many were refused since
		}
	}
	return policy.Request{
		Call: c.tc, Definition: c.def, Targets: targets, Args: c.args(),
		Snapshot: policy.Snapshot{
			CallsInRun: calls, RateOK: c.meter.rateOK, InFlight: c.meter.others, ServerInFlight: c.meter.server,
			Switches: s.cfg.Store.Switches(), Now: s.now(), LastIdentical: c.meter.identical,
		},
	}
}

func (s *session) meter(c *call, tool *policy.Tool) {
	n, per := rateOf(tool)
	c.metered = true
	c.meter = c.req.slot.enter(s.cfg.Meter, keyOf(c.tc), limit{n, per}, s.now())
	if callLimit(tool) > 0 {
		c.repeats = s.cfg.Approvals.Waits(c.tc)
	}
	if tool.Tier != guard.T0Read || len(tool.Config.TiersWhen) > 0 { // only reads may be repeated
		c.meter.identical = s.cfg.Meter.lastRan(c.tc, s.now())
	}
}

// args returns the decoded arguments of the call.
func (c *call) args() expr.Args {
	if c.vars == nil {
		return expr.Args{}
	}
	return c.vars.Args
}

// plan computes the change from the current state of the target. A call that
// changes nothing has an empty preview.
func (s *session) plan(ctx context.Context, c *call, tool *policy.Tool, targets []guard.Target) (*guard.Preview, error) {
	if tool.Binding == nil {
		return &guard.Preview{}, nil
	}
	defer s.whileComputing(c)()
	preview, err := tool.Binding.Plan(ctx, s.input(c), targets)
	if err != nil {
		return nil, s.effectRefusal(ctx, c, err)
	}
	return &preview, nil
}

// decide asks the policy for its verdict on the change.
func (s *session) decide(c *call, tool *policy.Tool, targets []guard.Target, preview *guard.Preview) (*policy.Verdict, error) {
	v := tool.Decide(s.request(c, tool, targets), *preview)
	if s.cfg.Undoes != "" {
		v.AskFirst("what takes a change back waits for an approval of its own")
	}
	if s.cfg.NeedsPerson != nil && !c.own && s.cfg.NeedsPerson(c.req.id, *preview) {
		v.AskPerson("the client asks a person about this call")
	}
	c.decision, c.tier, c.sensitive = v.Decision, v.Tier, v.Sensitive
	c.asked = c.asked || v.Verdict == guard.Ask
	if v.Verdict == guard.Deny {
		return nil, denied(v.Decision)
	}
	return &v, nil
}

// open records the call durably before it is held or executed. It counts the
// call, unless it continues an identical one that already waits.
func (s *session) open(ctx context.Context, c *call, b *prepared) error {
	ctx, cancel := durably(ctx)
	defer cancel()
	opened := s.storeCall(c, callLimit(b.tool))
	if opened.Limit > 0 && b.verdict.Verdict == guard.Ask {
		var err error
		if c.continues, err = s.cfg.Approvals.Joins(s.approvalOf(c, b)); err != nil {
			return s.notRecorded(c, err)
		}
		opened.Continues = c.continues
	}
	err := s.cfg.Store.OpenCall(ctx, opened, s.callEvent(c, audit.ToolCallRequested))
	if err != nil {
		return s.notRecorded(c, err)
	}
	c.recorded = true
	return nil
}

// notRecorded refuses a call that could not be recorded: nothing runs
// unrecorded.
func (s *session) notRecorded(c *call, err error) error {
	if errors.Is(err, store.ErrLimit) {
		c.recorded = true // the store has recorded it all the same, so it must be completed
		return broken(guard.RuleLimitCalls, "the limit of calls of this tool in one run is reached", "ask the user to raise calls_per_run, or to start a new run")
	}
	s.cfg.Log.Error("recording a call", "call", c.tc.ID, "tool", c.tc.Tool, "err", err)
	return broken(guard.RuleStoreFailed, "the guard could not record this call, so it did not run", "ask the user to look at the guard's log")
}
