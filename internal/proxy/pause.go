package proxy

import (
	"context"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/policy"
)

// pausedReply is the reply to a call that a pause has ended.
func pausedReply() reply {
	return reply{Status: replyDenied, Rule: guard.RuleSwitch, Reason: "a person has paused this, so the call was ended; nothing was changed by it",
		Repair: "wait until it is resumed; do not try again in a loop"}
}

// interrupt ends what is under way and stopped by a switch that takes effect
// at once. Calls are cancelled on both sides. A server may ignore that, so its
// process is ended once its session changes no more files.
func (s *session) interrupt() {
	whole, tools := s.stoppedNow()
	if !whole && len(tools) == 0 {
		return
	}
	var passing []*request
	var stops []context.CancelCauseFunc
	var cancels [][]byte
	server, ok := s.cfg.Policy().Server(s.cfg.Session.Server)
	ends := whole
	process := !ok || server.Config.Builtin == ""
	s.update(func(in *inflight) {
		for _, r := range in.client {
			if r.finish || r.received || !whole && !(r.method == "tools/call" && tools[r.tool]) || policy.Handshakes(r.method) && r.method != "tools/call" {
				continue
			}
			ends = ends || r.stage != stageHeld
			if r.answer == nil && !r.answered {
				passing = append(passing, r)
			}
			switch r.stage {
			case stageCommitted:
				r.forgotten = cancelNote(r.id)
			case stageSent:
				cancels = append(cancels, cancelNote(r.id))
			}
			r.stopped = !r.effect
			if r.cancel != nil {
				stops = append(stops, r.cancel)
			}
		}
	})
	for _, stop := range stops {
		stop(errPaused)
	}
	for _, r := range passing {
		s.reply(r, methodDenied(r.id, r.method, guard.Decision{Verdict: guard.Deny, Rule: guard.RuleSwitch, Reason: pausedReply().Reason, Repair: pausedReply().Repair}))
	}
	for _, c := range cancels {
		_ = s.toUpstream(c) // it ends next, or has ended
	}
	if ends && process { // after it has been told
		s.update(func(in *inflight) { in.halt = s.halted })
	}
}

// stoppedNow returns what switches stop at once: the whole server, or some of
// its tools.
func (s *session) stoppedNow() (whole bool, tools map[string]bool) {
	name := s.cfg.Session.Server
	for _, sw := range s.cfg.Store.Switches() {
		if !sw.Now {
			continue
		}
		if sw.Stops(name, "") {
			return true, nil
		}
		if tool, ok := strings.CutPrefix(sw.Scope, name+"/"); ok {
			if tools == nil {
				tools = map[string]bool{}
			}
			tools[tool] = true
		}
	}
	return false, tools
}

// checkHalt lets the server end once no call changes files any more and every
// cancelled call has its answer.
func (in *inflight) checkHalt() {
	if in.halt == nil {
		return
	}
	for _, r := range in.client {
		if r.finish || r.stopped && !r.answered {
			return
		}
	}
	select {
	case <-in.halt:
	default:
		close(in.halt)
	}
}

func cancelNote(id jsonrpc.ID) []byte {
	return jsonrpc.Notify("notifications/cancelled", map[string]any{"requestId": rawID(id), "reason": "paused"})
}

// onlyFiles reports whether a call changes only files, which are never left
// half written.
func onlyFiles(effects []guard.Effect) bool {
	for _, e := range effects {
		if e.Resource.Path == "" {
			return false
		}
	}
	return len(effects) > 0
}

// toolCalled returns the tool that a request calls, or "".
func toolCalled(m *jsonrpc.Message) string {
	if m.Method != "tools/call" {
		return ""
	}
	return textAt(m.Raw, m.Params, "name")
}
