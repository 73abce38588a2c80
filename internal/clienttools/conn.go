package clienttools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// Conn is the upstream end of a session: the client in its role of running
// tools. It implements upstream.Conn.
type Conn struct{ s *Session }

// Upstream returns the end that the proxy uses as the server.
func (s *Session) Upstream() *Conn { return &Conn{s} }

// Next returns what the client has reported, as responses to calls.
func (c *Conn) Next() ([]byte, error) { return c.s.toUp.next() }

// Ref identifies the client process.
func (c *Conn) Ref() guard.UpstreamRef { return c.s.cfg.Ref }

// Done is closed once the session has ended and no tool that it let begin can
// change anything any more: all were reported or given up, or the client is
// dead.
func (c *Conn) Done() <-chan struct{} { return c.s.done }

// Stop ends the session: it takes no more questions and gives no more answers.
// The client and the tools that it runs go on.
func (c *Conn) Stop(context.Context) error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		s.toUp.close()
		s.toPEP.close()
		close(s.stopped)
	}
	s.finish()
	return nil
}

// finish closes done when nothing is running any more; mu is held.
func (s *Session) finish() {
	if !s.ended || s.finished {
		return
	}
	for _, c := range s.uses {
		if c.begun && !c.answered {
			return
		}
	}
	s.finished = true
	close(s.done)
}

// Gone reports that the client process is dead: tools that it ran but did not
// report have an unknown outcome and change nothing more.
func (s *Session) Gone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.uses {
		s.abandon(c)
	}
}

// Expect marks the call with this id as one that changes something: it is
// answered only after the client has reported.
func (c *Conn) Expect(id jsonrpc.ID, approved guard.Preview) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if x := c.s.callOf(id); x != nil {
		if x.issued != nil {
			x.issued.record = ""
			if effect.Ran(approved) != nil {
				x.issued.record = approved.Record
			}
		}
		x.executes, x.readable = true, slices.ContainsFunc(approved.Effects, func(e guard.Effect) bool { return e.Resource.Path != "" })
	}
}

// Approved marks the call with this id as approved by a human. For all others
// the client still applies its own rules and questions.
func (c *Conn) Approved(id jsonrpc.ID) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if x := c.s.callOf(id); x != nil {
		x.approved = true
	}
}

// Unreported reports whether a call was answered only with the statement that
// the client did not report how its tool ended.
func (c *Conn) Unreported(id jsonrpc.ID) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	n, ok := number(id)
	return ok && c.s.unsaid[n]
}

// Write takes one frame of the proxy.
func (c *Conn) Write(frame []byte) error {
	m, err := jsonrpc.Admit(frame, jsonrpc.Limits{})
	if err != nil {
		return fmt.Errorf("reading a frame: %w", err)
	}
	if m.Kind != jsonrpc.Request {
		return nil // too late to cancel: the client was told to go on
	}
	switch m.Method {
	case "tools/list":
		c.s.toUp.put(jsonrpc.Result(m.ID, map[string]any{"tools": c.s.definitions()}))
	case "tools/call":
		return c.s.begin(m)
	default:
		c.s.toUp.put(jsonrpc.ErrorReply(m.ID, jsonrpc.CodeMethodNotFound, "the client's own tools know no such method", nil))
	}
	return nil
}

func (s *Session) definitions() []json.RawMessage {
	out := []json.RawMessage{}
	for _, name := range s.cfg.Tools() {
		out = append(out, Definition(name))
	}
	return out
}

// begin tells the client to go on with a call that the proxy has let through.
func (s *Session) begin(m jsonrpc.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.callOf(m.ID)
	if c == nil || s.ended {
		return errors.New("no such question is open")
	}
	if c.issued != nil {
		s.land(c)
		return nil
	}
	if !c.executes {
		s.answer(c, "", false) // it changes nothing; the proxy holds the answer until it is on record
		return nil
	}
	if c.lost {
		s.answer(c, "the client had given up before it was told to go on, so nothing was run", true)
		return nil
	}
	c.begun = true
	if c.silent && !c.readable {
		// No report will come, and nothing can be read back.
		close(c.begins)
		s.answer(c, "", false)
		return nil
	}
	patience := s.cfg.Patience
	if c.silent {
		patience = s.cfg.Linger
	}
	c.timer = time.AfterFunc(patience, func() { s.giveUp(c) })
	close(c.begins)
	return nil
}

// answer sends the upstream's answer to a call; mu is held. failure is the
// client's text about a tool that failed.
func (s *Session) answer(c *call, failure string, failed bool) {
	if c.answered {
		return
	}
	c.answered = true
	if c.timer != nil {
		c.timer.Stop()
	}
	s.finish()
	text := "The client says that the tool has run."
	switch {
	case failed:
		text = failure
	case c.silent:
		text = "The client was told to run the tool. It does not report how tools end."
	}
	id := jsonrpc.IntID(c.id)
	s.toUp.put(jsonrpc.Result(id, map[string]any{
		"content": []map[string]string{{"type": "text", "text": text}}, "isError": failed,
	}))
}

// giveUp stops waiting for a report.
func (s *Session) giveUp(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandon(c)
}

// abandon answers a call that the client did not report; mu is held.
func (s *Session) abandon(c *call) {
	s.dropIssued(c, "the client has gone, so nothing was changed")
	if c.answered || !c.begun || c.landing {
		return // what the guard itself runs ends by itself
	}
	c.unreported, s.unsaid[c.id] = true, true
	s.answer(c, "The client did not report how the tool ended.", true)
}

// Report takes the client's report of how a tool ended. input is what the tool
// ran with, nil if unknown. known reports whether the tool use belongs to this
// session.
func (s *Session) Report(toolUseID string, input []byte, failure string, failed bool) (known bool) {
	s.mu.Lock()
	c := s.uses[toolUseID]
	late := c != nil && c.begun && c.answered
	other := false
	if c != nil && c.issued != nil {
		other = s.reportIssued(c, input)
		s.mu.Unlock()
		if other {
			s.cfg.Odd("input_changed", toolUseID, "The client ran "+c.tool+" with another line than it was given in the place of the command, perhaps changed by another hook. Look at what it did.")
		}
		return true
	}
	if c != nil && c.begun && !c.answered {
		if input != nil {
			sum, err := inputSum(input)
			other = err != nil || sum != c.input
		}
		switch {
		case other:
			// The input that ran is not the approved one, whatever the
			// outcome.
			s.answer(c, "the client ran the tool with other input than was approved", true)
		default:
			s.answer(c, clip(failure), failed)
		}
	}
	unreported := late && c.unreported
	s.mu.Unlock()
	switch {
	case other:
		s.cfg.Odd("input_changed", toolUseID, "The client ran "+c.tool+" with other input than was approved, perhaps changed by another hook. Look at what it did.")
	case unreported && !c.silent:
		s.cfg.Odd("late_report", toolUseID, "The client reported the end of "+c.tool+" after its outcome had been settled. Look at what it did.")
	}
	return c != nil && c.begun
}

// Settled waits until the report of a tool use is recorded and its targets are
// free, or until ctx ends.
func (s *Session) Settled(ctx context.Context, toolUseID string) {
	s.mu.Lock()
	c := s.uses[toolUseID]
	begun := c != nil && c.begun
	s.mu.Unlock()
	if !begun {
		return
	}
	select {
	case <-c.ends:
	case <-s.stopped:
	case <-ctx.Done():
	}
}

// Lost reports that the client may not have been told to go on: if no report
// comes soon, none will.
func (s *Session) Lost(toolUseID string) {
	s.dropWaiting(func(c *call) bool { return c.use == toolUseID })
	s.hasten(func(c *call) bool { return c.use == toolUseID })
}

// Idle reports that the client, or one agent of it, runs no tool any more:
// reports that have not come by now will not come.
func (s *Session) Idle(agentID string) {
	s.dropWaiting(func(c *call) bool { return c.agent == agentID })
	s.hasten(func(c *call) bool { return c.agent == agentID })
}

// dropWaiting stops waiting for substitute lines that will not run any more.
func (s *Session) dropWaiting(which func(*call) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.uses {
		if c.waits() && which(c) {
			s.dropIssued(c, "the client did not run the line that it was given, so nothing was changed")
		}
	}
}

// Declined reports that an agent of the client has moved on. Calls allowed
// without a human and not reported may have been refused by the client's own
// rules or by its user.
func (s *Session) Declined(agentID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.declined(agentID)
}

func (s *Session) hasten(which func(*call) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hastenLocked(which)
}

// hastenLocked is hasten; mu is held.
func (s *Session) hastenLocked(which func(*call) bool) {
	for _, c := range s.uses {
		if c.timer != nil && c.begun && !c.answered && which(c) {
			c.timer.Reset(s.cfg.Linger)
		}
	}
}

// clip shortens a text that a tool printed.
func clip(text string) string {
	if len(text) > maxAnswer {
		text = string(bytes.ToValidUTF8([]byte(text[:maxAnswer]), nil)) + " …"
	}
	return text
}
