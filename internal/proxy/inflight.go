package proxy

import (
	"context"
	"errors"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// Why the context of a call ended.
var (
	errCancelled    = errors.New("the client cancelled the call")
	errSessionEnded = errors.New("the session ended")
	errUpstreamGone = errors.New("the server ended")
	errPaused       = errors.New("a person has paused this")
)

// inflight is all that is under way in one session. Only [session.update]
// reads or changes it.
type inflight struct {
	client  map[jsonrpc.ID]*request // from the client, until both sides have answered
	server  map[jsonrpc.ID]string   // from the upstream, until the client answers; the value is the method
	own     map[jsonrpc.ID]chan answer
	tokens  map[jsonrpc.ID]*request // progress tokens of calls that were not sent yet
	tasks   map[string]openTask     // tasks that calls began, until they end
	began   taskTable               // which call began a task
	stray   string                  // the ID of the last answer that no request matches, as JSON
	gone    bool                    // the upstream has ended
	closing bool                    // the session is ending: nothing new may begin
	unsaid  []*request              // answered after writing to the client had stopped
	modern  bool                    // the client uses the era without initialize
	idle    chan struct{}           // while closing: closed when no passing request is left
	halt    chan struct{}           // while the server is to end: closed when no call changes files any more
}

// request is one request of the client.
type request struct {
	id     jsonrpc.ID
	method string
	modern bool // of the era without initialize
	token  jsonrpc.ID
	cancel context.CancelCauseFunc // of the goroutine that follows it; nil if it only passes
	answer chan answer             // for that goroutine; has room for one
	slot   slot                    // its share of the meter

	listens bool   // subscribed to changes of the tool list
	task    string // the task that it asks about
	tool    string // of a call that is sent: what it calls, and how much of the
	output  int    // answer the policy lets through, in bytes
	effect  bool   // it has an intent: its answer is the outcome
	finish  bool   // it changes files: do not interrupt it until its outcome is known
	stopped bool   // ended by a pause

	standing []byte        // the request, if it stays in force until taken back
	repeated chan<- []byte // has room for its answer, which the client does not get; nil for the client's own

	stage     stage
	received  bool   // the upstream has answered
	answered  bool   // the client has its answer, or wants none
	forgotten []byte // a cancel notification that came while the request was being sent
}

// stage is how far a request has come.
type stage uint8

const (
	stageHeld      stage = iota // the upstream does not know it
	stageCommitted              // it will be sent; nothing stops it any more
	stageSent
)

// answer is what the upstream returned for a request, or the error that took
// its place.
type answer struct {
	msg  jsonrpc.Message
	err  error        // the upstream ended, or sent what was refused
	task chan taskEnd // set if the answer was a task

	mended int // how many invalid characters U+FFFD replaced
}

// openTask is a task that the call which began it waits for.
type openTask struct {
	end chan taskEnd // holds one
	of  *request
}

// taskEnd is how a task ended: completed, failed or cancelled, or "" if not
// known.
type taskEnd struct{ status string }

// update is the only access to the requests in flight.
func (s *session) update(f func(*inflight)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.flight)
	s.flight.checkIdle()
	s.flight.checkHalt()
}

// checkIdle closes idle once every request that only passes through has its
// answer. Subscriptions do not count: they have no end.
func (in *inflight) checkIdle() {
	if !in.closing || in.idle == nil {
		return
	}
	for _, r := range in.client {
		if r.answer == nil && !r.answered && r.method != "subscriptions/listen" {
			return
		}
	}
	close(in.idle)
	in.idle = nil
}

// register adds a request, or returns why it cannot.
func (s *session) register(r *request) (why string) {
	s.update(func(in *inflight) {
		switch {
		case in.client[r.id] != nil:
			why = "a request with this id is in flight already"
		case in.gone || in.closing:
			why = "the session is ending"
		case len(in.client) >= maxInFlight:
			why = "too many requests are in flight; wait for answers"
		default:
			in.client[r.id] = r
			in.modern = r.modern
			if r.answer != nil {
				s.calls.Add(1) // here, so that none is added once close waits
			}
			if r.cancel != nil && !r.token.IsZero() {
				in.tokens[r.token] = r
			}
		}
	})
	return why
}

// commit marks the point after which a request is sent whatever the client
// does. output is how many bytes of its answer the policy lets through. The
// error is errCancelled or errUpstreamGone.
func (s *session) commit(c *call, output int) (err error) {
	r := c.req
	s.update(func(in *inflight) {
		switch {
		case r.answered:
			err = errCancelled
		case in.gone:
			err = errUpstreamGone
		default:
			r.stage = stageCommitted
			r.tool, r.output = c.tc.Tool, output
			r.effect, r.finish = c.intends, c.intends && c.files
			in.release(r)
		}
	})
	return err
}

// uncommit undoes commit: the request was not sent.
func (s *session) uncommit(r *request) {
	s.update(func(*inflight) { r.stage, r.effect, r.finish = stageHeld, false, false })
}

// sent records that the upstream has the request, and returns a cancel
// notification that came meanwhile.
func (s *session) sent(r *request) (cancel []byte) {
	s.update(func(*inflight) {
		r.stage = stageSent
		cancel, r.forgotten = r.forgotten, nil
	})
	return cancel
}

// release lets the upstream's progress notifications for a request through.
func (in *inflight) release(r *request) {
	if !r.token.IsZero() && in.tokens[r.token] == r {
		delete(in.tokens, r.token)
	}
}

// settle forgets a request that neither side will mention again.
func (in *inflight) settle(r *request) {
	if r.answered && (r.received || r.stage == stageHeld || in.gone) {
		in.release(r)
		delete(in.client, r.id)
	}
}

// reply sends the client its answer, unless it has one or wants none. A nil
// frame only settles the request.
func (s *session) reply(r *request, frame []byte) {
	send := false
	s.update(func(in *inflight) {
		send = !r.answered && frame != nil
		r.answered = true
		in.settle(r)
	})
	if send && r.repeated != nil {
		r.repeated <- frame
		return
	}
	if send && !s.out.put(frame) {
		s.update(func(in *inflight) { in.unsaid = append(in.unsaid, r) })
	}
}

// onlyAsked returns the ID of the one request that the upstream has to answer,
// or none if there are several: an answer whose ID cannot be read is to it.
func (s *session) onlyAsked() (id jsonrpc.ID) {
	n := 0
	s.update(func(in *inflight) {
		for own := range in.own {
			id, n = own, n+1
		}
		for _, r := range in.client {
			if !r.received && r.stage != stageHeld && r.method != "subscriptions/listen" {
				id, n = r.id, n+1
			}
		}
	})
	if n != 1 {
		return jsonrpc.ID{}
	}
	return id
}
