package clienttools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// Config describes a session. Ref and Tools are required.
type Config struct {
	// Ref is the client process, which runs the tools.
	Ref guard.UpstreamRef
	// Tools returns the names that the policy in force knows.
	Tools func() []string
	// Patience is how long a tool may run without a report before its outcome
	// counts as unknown; zero means 15 minutes.
	Patience time.Duration
	// Linger replaces Patience for a tool that the client may never have begun
	// or that will not be reported; zero means 5 seconds.
	Linger time.Duration
	// Issue substitutes lines for commands; nil means that the client runs its
	// own.
	Issue *Issue
	// Unsaid are sentences about landings of earlier sessions of this client
	// whose outcome may not have been printed. The next hook tells them.
	Unsaid []string
	// Odd is told of events that a human should look at: a tool that ran with
	// other input than was approved, or after its outcome was settled. May be
	// nil.
	Odd func(kind, toolUseID, text string)
}

// Defaults and limits.
const (
	defaultPatience = 15 * time.Minute
	defaultLinger   = 5 * time.Second
	maxSettled      = 512      // tool uses that are remembered after their end
	maxAnswer       = 4 << 10  // bytes of a failure that are kept
	maxInput        = 15 << 20 // bytes of a tool's input
	maxUseID        = 200      // bytes of a tool use's id
)

// Session handles the client's own tools in one run of the client. It is safe
// for concurrent use, except that Conn.Next and the client end's Read are each
// for one goroutine, the proxy's.
type Session struct {
	cfg   Config
	toPEP *queue // what the client end says: frames with their newlines
	toUp  *queue // what the upstream end says: frames
	// stopped is closed when no more questions are taken; done is closed when,
	// in addition, no tool runs.
	stopped, done chan struct{}

	mu              sync.Mutex
	next            int64
	calls           map[int64]*call  // in flight, by request id
	uses            map[string]*call // the newest of each tool use, also settled ones
	tokens          map[digest.Digest]*call
	settled         []*call        // tool uses that are settled, the oldest first
	unsaid          map[int64]bool // calls whose client never said how they ended
	unsaidBefore    []string       // see Config.Unsaid
	ended, finished bool
}

// call is a question being handled.
type call struct {
	id        int64
	tool, use string
	agent     string // of a subagent
	input     digest.Digest
	progress  func(string)
	person    bool   // the client asks a person here
	contained bool   // it may get a substitute line
	input0    []byte // if contained, the original input on one line

	// Guarded by the session.
	approved   bool // a human let it through
	askers     int  // who waits for the answer
	lost       bool // all askers left before it began: it must not begin
	executes   bool // it changes something: the answer waits for a report
	readable   bool // what it changes can be read back
	begun      bool
	issued     *issued // the substitute line; nil before there is one
	landing    bool    // the guard itself runs it
	answered   bool    // the upstream end has answered
	unreported bool
	silent     bool // no report will come
	timer      *time.Timer

	begins chan struct{} // closed when the client may go on
	ends   chan struct{} // closed when the proxy has answered
	frame  []byte        // its answer, set before ends is closed
}

// New returns a session. It starts nothing.
func New(c Config) *Session {
	if c.Patience == 0 {
		c.Patience = defaultPatience
	}
	if c.Linger == 0 {
		c.Linger = defaultLinger
	}
	if c.Odd == nil {
		c.Odd = func(string, string, string) {}
	}
	return &Session{
		cfg: c, toPEP: newQueue(), toUp: newQueue(), stopped: make(chan struct{}), done: make(chan struct{}),
		calls: map[int64]*call{}, uses: map[string]*call{}, unsaid: map[int64]bool{}, unsaidBefore: c.Unsaid, tokens: map[digest.Digest]*call{},
	}
}

// Question is one tool that the client wants to run.
type Question struct {
	Tool      string
	ToolUseID string
	AgentID   string
	Input     json.RawMessage // an object that was parsed strictly
	Folder    string          // where a command would run
	Sandbox   string          // whether the client's own confines a command: "on", or why that is not said
	// Silent means that no report will follow because the client has no hooks
	// for it.
	Silent bool
	// Person means that the client asks here what it would otherwise ask its
	// user: only a human approval lets the tool run, even if the policy needs
	// none.
	Person bool
	// Contained means that the client can run a substitute line for the
	// command, so the command runs in a sandbox.
	Contained bool
	// Doubt means that a contained command needs a human approval to pass.
	Doubt bool
	// Progress is told what the question waits for. It must not block; may be
	// nil.
	Progress func(message string)
}

// Answer is what the client is to do.
type Answer struct {
	// Allow means that the guard does not object, Approved that a human
	// approved this very call. If only Allow is set, the client's own rules
	// and questions still decide.
	Allow, Approved bool

	Reason string // why not: sentences for the model
	// Input is the JSON input that the client is to run the tool with instead
	// of its own; "" means its own.
	Input string
	// Begun means that the tool counts as running until it is reported. If the
	// client did not get this answer, call Session.Lost.
	Begun bool
}

// ErrEnded means that the session takes no more questions.
var ErrEnded = errors.New("the guard's session for this client has ended; make the call again")

// Ask sends a question to the proxy and waits until it is answered or the
// client may go on. The end of ctx cancels it; if the call is allowed at that
// very moment, the caller must report that with Lost. A tool use that both a
// hook and a permission prompt ask about is one question. If the policy
// allowed it without a human, the prompt is a new question.
func (s *Session) Ask(ctx context.Context, q Question) (Answer, error) {
	a, err := s.askOnce(ctx, q)
	if err == nil && a.Input != "" && !q.Contained {
		// fail closed: this caller would run the command itself
		return Answer{Reason: "mcpguard: another line was given in the place of this command already; make the call again"}, nil
	}
	if err == nil && q.Person && a.Allow && !a.Approved { // it joined a question that no human answered
		a, err = s.askOnce(ctx, q)
	}
	if err == nil && q.Person && a.Allow && !a.Approved {
		// fail closed: the client wants a person's decision, and there is none
		return Answer{Reason: "mcpguard: nobody has approved this call, and the client asks for a person's word"}, nil
	}
	return a, err
}

func (s *Session) askOnce(ctx context.Context, q Question) (Answer, error) {
	c, joined, err := s.enter(q)
	if err != nil {
		return Answer{}, err
	}
	if !joined {
		frame, err := c.request(q)
		if err != nil {
			s.drop(c)
			return Answer{}, err
		}
		s.toPEP.put(frame)
	}
	select {
	case <-c.begins:
	case <-c.ends:
	case <-ctx.Done():
	case <-s.stopped:
	}
	return s.leave(ctx, c)
}

// leave ends the wait of one asker with the current state of the call. If
// several things happened at once, "begun" takes precedence.
func (s *Session) leave(ctx context.Context, c *call) (Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.askers--
	switch {
	case c.issued != nil && c.issued.why == "" && c.frame == nil:
		// An approval, or the sandbox's proof that the command changes
		// nothing, allows the line to run; the command waits for its token.
		return Answer{Allow: true, Approved: true, Begun: true, Input: string(c.issued.line)}, nil
	case c.issued != nil && c.frame != nil:
		// fail closed: it has ended, and the command itself must not run
		return Answer{Reason: "mcpguard: this command was decided already; make the call again"}, nil
	case c.issued != nil && c.issued.why != "":
		return Answer{Reason: "mcpguard: " + c.issued.why + "; make the call again"}, nil
	case c.begun:
		return Answer{Allow: true, Approved: c.approved, Begun: true}, nil
	case c.frame != nil:
		a := read(c.frame)
		a.Approved = a.Allow && c.approved
		return a, nil
	case ctx.Err() == nil:
		return Answer{}, ErrEnded
	}
	if c.askers == 0 {
		c.lost = true
		if s.uses[c.use] == c {
			delete(s.uses, c.use) // no answer will come; if asked again it is a new question
		}
		s.toPEP.put(cancelFrame(c.id))
	}
	return Answer{}, fmt.Errorf("waiting for the guard: %w", context.Cause(ctx))
}

// enter registers a question, or finds an identical one.
func (s *Session) enter(q Question) (c *call, joined bool, err error) {
	if q.Tool == "" || q.ToolUseID == "" || len(q.ToolUseID) > maxUseID || len(q.Input) > maxInput {
		return nil, false, errors.New("the question names no tool, or is too long")
	}
	sum, err := inputSum(q.Input)
	if err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, false, ErrEnded
	}
	if old := s.uses[q.ToolUseID]; old != nil {
		if old.tool != q.Tool || old.input != sum {
			// fail closed: one id stands for one action
			return nil, false, errors.New("this tool use was asked for with other input already; make the call again")
		}
		switch {
		case q.Person && old.unasked():
			// The client asks its user before it runs a tool, so it has not run yet.
			s.answer(old, "the client has asked its user first; nothing has run yet", true)
		case !old.answered || old.ended():
			old.askers++
			return old, true, nil
		default:
			return nil, false, errors.New("this tool use has run already; make the call again")
		}
	}
	s.declined(q.AgentID)
	s.next++
	c = &call{
		askers: 1, id: s.next, tool: q.Tool, use: q.ToolUseID, agent: q.AgentID, input: sum, silent: q.Silent, person: q.Person || q.Doubt, progress: q.Progress,
		contained: q.Contained && RunsCommand(q.Tool) && s.cfg.Issue != nil,
		begins:    make(chan struct{}), ends: make(chan struct{}),
	}
	s.calls[c.id], s.uses[c.use] = c, c
	return c, false, nil
}

// ended reports whether the proxy has answered a call that never began.
func (c *call) ended() bool {
	select {
	case <-c.ends:
		return !c.begun
	default:
		return false
	}
}

// unasked reports whether a call was allowed without a human and is not known
// to have run.
func (c *call) unasked() bool {
	return c.issued == nil && !c.approved && !c.silent && (c.begun && !c.answered || c.ended() && read(c.frame).Allow)
}

// declined is Declined; mu is held.
func (s *Session) declined(agent string) {
	s.hastenLocked(func(c *call) bool { return c.agent == agent && !c.approved })
}

// NeedsPerson reports whether the call with this id needs a human whatever the
// policy says. Changes that the guard lands for a command always do: the
// client does not run that command, so it would not ask its own questions
// about it.
func (s *Session) NeedsPerson(id jsonrpc.ID, p guard.Preview) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.callOf(id)
	run := effect.Ran(p)
	return c != nil && (c.person || c.contained && run != nil && !run.Unchanged())
}

func (s *Session) drop(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, c.id)
	delete(s.uses, c.use)
}

// Client returns the end that the proxy serves as its client.
func (s *Session) Client() io.ReadWriteCloser { return (*clientEnd)(s) }

// End ends the session from the client's side, as if the client closed its
// stream.
func (s *Session) End() { s.toPEP.close() }

// clientEnd is the proxy's view of the client.
type clientEnd Session

// Read returns what the client says.
func (e *clientEnd) Read(p []byte) (int, error) { return e.toPEP.Read(p) }

// Write takes whole frames for the client.
func (e *clientEnd) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		(*Session)(e).fromPEP(bytes.TrimRight(line, "\n"))
	}
	return len(p), nil
}

// Close ends both directions.
func (e *clientEnd) Close() error {
	e.toPEP.close()
	return nil
}

// fromPEP handles one frame of the proxy: an answer, or a progress message.
func (s *Session) fromPEP(frame []byte) {
	m, err := jsonrpc.Admit(frame, jsonrpc.Limits{})
	if err != nil {
		return
	}
	switch {
	case m.Kind == jsonrpc.Response:
		s.mu.Lock()
		c := s.callOf(m.ID)
		var i *issued
		if c != nil {
			i = c.issued
		}
		s.mu.Unlock()
		if c == nil {
			return
		}
		if i != nil { // before the client gets it; there is one answer to a call
			s.cfg.Issue.Ended(i.token, outcomeOf(frame))
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		c.frame = bytes.Clone(frame)
		delete(s.calls, c.id)
		s.settle(c)
		close(c.ends)
	case m.Kind == jsonrpc.Notification && m.Method == "notifications/progress":
		at, ok := m.Param("progressToken")
		said, has := m.Param("message")
		if !ok || !has {
			return
		}
		id, _ := jsonrpc.IDFrom(m.Raw, at)
		text, _ := jsonrpc.String(m.Raw, said)
		s.mu.Lock()
		c := s.callOf(id)
		s.mu.Unlock()
		if c != nil && c.progress != nil {
			c.progress(text)
		}
	}
}

// callOf finds a call in flight; mu is held.
func (s *Session) callOf(id jsonrpc.ID) *call {
	n, ok := number(id)
	if !ok {
		return nil
	}
	return s.calls[n]
}

func number(id jsonrpc.ID) (int64, bool) {
	n, err := strconv.ParseInt(string(id.Raw()), 10, 64)
	return n, err == nil
}

// settle keeps a tool use for a while after its end; mu is held.
func (s *Session) settle(c *call) {
	s.settled = append(s.settled, c)
	if c.issued != nil {
		s.forgetOutcomes()
	}
	for len(s.settled) > maxSettled {
		if old := s.settled[0]; s.uses[old.use] == old {
			delete(s.uses, old.use)
		}
		s.settled = s.settled[1:]
	}
}

// Ended reports whether the session takes no more questions.
func (s *Session) Ended() bool {
	select {
	case <-s.stopped:
		return true
	default:
		return false
	}
}
