package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/policy"
)

// readClient handles what the client sends until its stream ends. It never
// waits for a human or for an answer from the upstream.
func (s *session) readClient() {
	r := jsonrpc.NewReader(s.clientStream(), s.cfg.Limits)
	var lines jsonrpc.Lines
	for {
		if s.leaving.Load() {
			s.stopReading(r, nil)
			return
		}
		frame, err := r.Next()
		var refusal *jsonrpc.Refusal
		if errors.As(err, &refusal) {
			s.refuseClient(refusal)
			continue
		}
		if err != nil {
			s.stopReading(r, err)
			return
		}
		m, err := jsonrpc.Admit(frame, s.cfg.Limits)
		if errors.As(err, &refusal) {
			if refusal.Reason == jsonrpc.Batch {
				s.refuseAll(s.refuseClient, jsonrpc.Refused(frame, jsonrpc.Batch), refusal)
			} else {
				s.refuseClient(refusal)
			}
			// Each line of a message over several lines was refused by itself.
			if whole, _ := lines.Add(frame, s.cfg.maxFrame()); whole != nil {
				s.refuseAll(s.refuseClient, jsonrpc.Refused(whole, jsonrpc.SeveralLines), &jsonrpc.Refusal{Reason: jsonrpc.SeveralLines, Kind: jsonrpc.Notification})
			}
			continue
		}
		lines.Reset()
		if err != nil {
			return // fail closed: an error that is not a refusal admits nothing
		}
		s.fromClient(m)
	}
}

// refuseClient answers a frame that is refused as ambiguous or malformed.
func (s *session) refuseClient(r *jsonrpc.Refusal) {
	s.stopped(jsonrpc.FromClient, "", guard.Decision{Rule: guard.RuleAdmission, Reason: r.Error()})
	switch r.Kind {
	case jsonrpc.Notification:
		return
	case jsonrpc.Response:
		s.refuseReply(r)
		return
	}
	s.toClient(jsonrpc.ErrorReply(r.ID, r.Reason.Code(), "mcpguard refused this message "+refusedFor(r.Reason), nil))
}

// refuseReply tells the upstream that the client's answer to its request was
// refused, so that it does not wait for another.
func (s *session) refuseReply(r *jsonrpc.Refusal) {
	known := false
	s.update(func(in *inflight) {
		_, known = in.server[r.ID]
		delete(in.server, r.ID)
	})
	if known {
		_ = s.toUpstream(jsonrpc.ErrorReply(r.ID, jsonrpc.CodeInternalError, "the guard refused the client's answer: "+r.Reason.String(), nil))
	}
}

// refusedFor tells the client why a frame was refused and what to do.
func refusedFor(r jsonrpc.Reason) string {
	why := "because it can be read in more than one way"
	what := "Send it again as plain JSON."
	switch r {
	case jsonrpc.TooLarge:
		why, what = "because it is too large", "Send less at once."
	case jsonrpc.TooDeep:
		why, what = "because it is nested too deeply", "Send it with fewer levels."
	case jsonrpc.SeveralLines:
		why, what = "because it takes several lines", "Send it on one line."
	case jsonrpc.Batch:
		why, what = "because it holds several", "Send them one by one."
	case jsonrpc.NumberNotCanonical:
		why, what = "because a number in its arguments would not keep its value", "Send that number as text, or with fewer digits."
	case jsonrpc.Syntax, jsonrpc.InvalidUTF8, jsonrpc.LoneSurrogate, jsonrpc.TrailingData:
		why = "because it is not valid JSON"
	case jsonrpc.NotAnObject, jsonrpc.NotAMessage, jsonrpc.BadID, jsonrpc.BadVersion, jsonrpc.BadMethod, jsonrpc.BadParams:
		why, what = "because it is no message of JSON-RPC 2.0 as MCP has it", "Send it again as one."
	}
	return why + " (" + r.String() + "). " + what
}

// fromClient handles one message from the client.
func (s *session) fromClient(m jsonrpc.Message) {
	switch m.Kind {
	case jsonrpc.Request:
		s.clientRequest(m, nil)
	case jsonrpc.Notification:
		s.clientNotification(m)
	case jsonrpc.Response:
		s.clientResponse(m)
	default:
		// fail closed: a message of an unknown kind is dropped
	}
}

// clientRequest admits one request. If repeated is not nil, the guard repeats a
// request that an earlier daemon admitted, and the answer goes there.
func (s *session) clientRequest(m jsonrpc.Message, repeated chan<- []byte) {
	say := s.toClient
	if repeated != nil {
		say = func(frame []byte) { repeated <- frame }
	}
	s.identify(&m)
	d := s.method(true, m.Method)
	if strings.HasPrefix(m.Method, notificationPrefix) {
		d = notRequest()
	}
	if d.Verdict != guard.Allow {
		s.stopped(jsonrpc.FromClient, m.Method, d)
		say(methodDenied(m.ID, m.Method, d))
		return
	}
	asked := m
	m, why := s.ownRoots(m)
	d = guard.Decision{Verdict: guard.Deny, Rule: guard.RuleMethod, Reason: why}
	if why == "" {
		d = s.subscribes(&m)
	}
	if d.Verdict == guard.Deny {
		s.stopped(jsonrpc.FromClient, m.Method, d)
		say(methodDenied(m.ID, m.Method, d))
		return
	}
	r := &request{
		id: m.ID, method: m.Method, modern: modern(&m), listens: listens(&m), task: taskAsked(&m), tool: toolCalled(&m),
		standing: standing(&asked), repeated: repeated,
	}
	follow := s.follower(m.Method)
	if follow != nil {
		r.answer = make(chan answer, 1)
		r.token = progressToken(&m)
		var ctx context.Context
		ctx, r.cancel = context.WithCancelCause(s.ctx)
		if why := s.register(r); why != "" {
			r.cancel(nil)
			say(jsonrpc.ErrorReply(m.ID, jsonrpc.CodeInvalidRequest, "mcpguard refused this request: "+why, nil))
			return
		}
		c := s.newCall(r, m) // only the call keeps the message
		s.followers.run(s.ctx, func() {
			defer s.calls.Done()
			defer r.cancel(nil)
			follow(ctx, c)
		})
		return
	}
	r.stage = stageSent
	if why := s.register(r); why != "" {
		say(jsonrpc.ErrorReply(m.ID, jsonrpc.CodeInvalidRequest, "mcpguard refused this request: "+why, nil))
		return
	}
	s.opens(&asked)
	if err := s.toUpstream(m.Raw); err != nil {
		s.update(func(in *inflight) { r.received = true })
		s.reply(r, s.goneReply(m.ID))
	}
}

// notificationPrefix begins the method of every notification of the protocol,
// and of nothing else.
const notificationPrefix = "notifications/"

// notRequest denies requests without an ID and notifications with one.
func notRequest() guard.Decision {
	return guard.Decision{Rule: guard.RuleMethod, Reason: "the method and the id do not fit: it is neither a request nor a notification of the protocol"}
}

// follower returns the function that follows a request in a goroutine of its
// own, or nil if the request only passes through.
func (s *session) follower(method string) func(context.Context, *call) {
	switch method {
	case "tools/call":
		return s.call
	case "initialize", "server/discover", "ping", "tools/list", "logging/setLevel", "subscriptions/listen",
		"tasks/get", "tasks/result", "tasks/list", "tasks/cancel", "tasks/update":
		return nil
	}
	return s.methodRead
}

func (s *session) goneReply(id jsonrpc.ID) []byte {
	return jsonrpc.ErrorReply(id, jsonrpc.CodeInternalError,
		fmt.Sprintf("mcpguard: the server %q has ended, the request was not answered. The client has to start it again.", s.cfg.Session.Server), nil)
}

func methodDenied(id jsonrpc.ID, method string, d guard.Decision) []byte {
	code, message := jsonrpc.CodeMethodNotFound, "mcpguard: the policy for this server does not allow this method"
	if d.Rule != guard.RuleMethod {
		// Do not answer "method not found": the refusal may be temporary, and
		// a client could conclude that the server never has the method.
		code, message = jsonrpc.CodeInternalError, "mcpguard: "+d.Reason
	}
	return jsonrpc.ErrorReply(id, code, message, map[string]any{
		"status": "denied", "method": method, "rule": d.Rule, "reason": d.Reason, "repair": d.Repair,
	})
}

// method asks the policy in force about a method.
func (s *session) method(fromClient bool, method string) guard.Decision {
	server, ok := s.cfg.Policy().Server(s.cfg.Session.Server)
	if !ok {
		// fail closed: a server that the policy no longer names may do nothing
		return guard.Decision{Rule: guard.RuleNotListed, Reason: "the policy does not name this server any more"}
	}
	return server.Pass(policy.Message{Session: s.cfg.Session, Method: method, FromClient: fromClient, Switches: s.cfg.Store.Switches()})
}

func (s *session) clientNotification(m jsonrpc.Message) {
	if !strings.HasPrefix(m.Method, notificationPrefix) {
		// fail closed: a server may execute a tools/call without an ID
		s.stopped(jsonrpc.FromClient, m.Method, notRequest())
		return
	}
	switch m.Method {
	case "notifications/cancelled":
		s.cancelled(m)
		return
	case "notifications/roots/list_changed":
		// The upstream gets its roots from the guard, and they stay the same
		// for the session. Passing this on would only make it ask again.
		return
	}
	if d := s.method(true, m.Method); d.Verdict != guard.Allow {
		s.stopped(jsonrpc.FromClient, m.Method, d)
		return
	}
	s.opens(&m)
	_ = s.toUpstream(m.Raw) // a notification has no one to report an error to
}

// cancelled ends a call that is held. For a request that the upstream has, it
// forwards the notification.
func (s *session) cancelled(m jsonrpc.Message) {
	at, ok := m.Param("requestId")
	if !ok {
		return
	}
	id, ok := jsonrpc.IDFrom(m.Raw, at)
	if !ok {
		return
	}
	forward := false
	var stop context.CancelCauseFunc
	s.update(func(in *inflight) {
		r := in.client[id]
		if r == nil || r.answered {
			return
		}
		r.answered = true // per the protocol, no answer follows
		switch r.stage {
		case stageHeld:
			r.slot.leave() // it will not run; the client may call again at once
			stop = r.cancel
		case stageCommitted:
			r.forgotten = m.Raw
			stop = r.cancel
		case stageSent:
			forward = true
			stop = r.cancel
		}
	})
	if stop != nil {
		stop(errCancelled)
	}
	if forward {
		_ = s.toUpstream(m.Raw)
	}
}

// clientResponse forwards the client's answer to a request of the upstream.
func (s *session) clientResponse(m jsonrpc.Message) {
	known := false
	s.update(func(in *inflight) {
		_, known = in.server[m.ID]
		delete(in.server, m.ID)
	})
	if !known {
		s.cfg.Log.Debug("dropped an answer to a request that is not open", "session", s.cfg.Session.ID, "id", m.ID.String())
		return
	}
	_ = s.toUpstream(m.Raw)
}

func progressToken(m *jsonrpc.Message) jsonrpc.ID {
	at, ok := jsonrpc.Lookup(m.Raw, m.Params, "_meta", "progressToken")
	if !ok {
		return jsonrpc.ID{}
	}
	id, _ := jsonrpc.IDFrom(m.Raw, at)
	return id
}
