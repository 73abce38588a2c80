package clienttools

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// A command that has run in a sandbox is not run again by the client. Once it
// is allowed, the client is given a substitute line that names a token.
// Nothing is applied before that line has run and presented the token, because
// the client's own rules, its user or another hook may still refuse it. Then
// the guard applies ("lands") the changes that the sandbox recorded.

// Issue is what a session needs to substitute lines for commands.
type Issue struct {
	// Line returns the command line that presents a token, to run instead of
	// the command of a tool use.
	Line func(toolUseID, token string) string
	// Keep makes durable that a token stands for the outcome of a record. It is
	// called before the client gets the token, and again before another record
	// is landed for it.
	Keep func(ctx context.Context, token digest.Digest, r Ready) error
	// Ended is told of the outcome of a call, before the client; Printed that
	// the outcome was delivered. Neither may block.
	Ended   func(token digest.Digest, o Outcome)
	Printed func(token digest.Digest)
	// Land applies a record completely or not at all, and returns the result
	// of a call: what the command printed and how it ended.
	Land func(ctx context.Context, record string) (json.RawMessage, error)
}

// Ready is a command that has run in a sandbox and may be landed.
type Ready struct {
	Call     guard.CallID
	Record   string // of that run
	Reviewed bool   // a human approved it
}

// issued is the state of a substitute line.
type issued struct {
	token   digest.Digest
	line    json.RawMessage // the whole input with the substitute line
	sum     digest.Digest   // of that
	kept    Ready           // what Keep was told of
	record  string          // what Land applies
	shown   bool            // the token was presented
	shows   chan struct{}   // closed when shown is set
	dropped chan struct{}   // closed if the token will not be presented any more
	why     string          // of that
	printed bool            // the outcome was delivered
}

// unshown is how long a token may stay unused if no approval sets a limit.
const unshown = 10 * time.Minute

// maxOutcomes is how many ended calls keep their output in memory. The others'
// are printed again from the store; see Issue.Keep.
const maxOutcomes = 8

// ErrToken means that the session knows no such token. It may have been issued
// by an earlier session.
var ErrToken = errors.New("this line shows the outcome of one command of this session, and the guard knows of none that waits for it; whether that command ran is not known here. Read the files before you make the call again, with the command itself")

// Collect waits until the substitute line of a command has run, if the command
// ran in a sandbox and its changes are to be landed; for other calls it
// returns at once. An error means that the line did not run.
func (s *Session) Collect(ctx context.Context, id jsonrpc.ID, r Ready) error {
	s.mu.Lock()
	c := s.callOf(id)
	if c == nil || !c.contained || s.cfg.Issue == nil {
		s.mu.Unlock()
		return nil
	}
	c.approved = c.approved || r.Reviewed
	i := c.issued
	s.mu.Unlock()
	if i == nil {
		var err error
		if i, err = s.issue(ctx, c, r); err != nil {
			return err
		}
	}
	var over <-chan time.Time
	if !r.Reviewed {
		timer := time.NewTimer(unshown)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-i.shows:
		return nil
	case <-i.dropped:
	case <-over:
	case <-s.stopped:
		return ErrEnded
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i.shown { // at the same time
		return nil
	}
	s.dropIssued(c, "the client did not run the line that it was given, so nothing was changed")
	return errors.New(i.why)
}

// issue creates the substitute line and tells the client to run it. Only the
// goroutine of the call issues its line.
func (s *Session) issue(ctx context.Context, c *call, r Ready) (*issued, error) {
	token := rand.Text() // at least 128 bits, letters and digits
	root, ok := jsonrpc.Root(c.input0)
	if !ok {
		return nil, errors.New("the command's input cannot be read")
	}
	line := jsonrpc.SetMember(c.input0, root, "command", jsonrpc.QuoteString(s.cfg.Issue.Line(c.use, token)))
	if line == nil {
		return nil, errors.New("the command's input cannot be read")
	}
	sum, err := inputSum(line)
	if err != nil {
		return nil, err
	}
	i := &issued{token: digest.Sum([]byte(token)), line: line, sum: sum, kept: r, shows: make(chan struct{}), dropped: make(chan struct{})}
	if err := s.cfg.Issue.Keep(ctx, i.token, r); err != nil {
		// fail closed: after a crash the outcome could not be told
		return nil, errors.New("the guard could not keep what came of the command, so nothing was changed; ask the user to look at the guard's log")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.issued = i
	s.tokens[i.token] = c
	close(c.begins)
	return i, nil
}

// dropIssued stops waiting for a token; mu is held.
func (s *Session) dropIssued(c *call, why string) {
	i := c.issued
	if i == nil || i.shown || i.why != "" {
		return
	}
	i.why = why
	delete(s.tokens, i.token)
	close(i.dropped)
}

// Fetch presents a token. The first use makes the call go on; every use waits
// for its end and gets its answer. The end of ctx ends the wait and the call,
// but not a landing that has begun.
func (s *Session) Fetch(ctx context.Context, token string) (Outcome, error) {
	s.mu.Lock()
	c := s.tokens[digest.Sum([]byte(token))]
	if c == nil {
		s.mu.Unlock()
		return Outcome{}, ErrToken
	}
	if !c.issued.shown {
		c.issued.shown = true
		close(c.issued.shows)
	}
	s.mu.Unlock()
	select {
	case <-c.ends:
	case <-s.stopped:
		return Outcome{}, ErrToken // the store knows what became of it
	case <-c.issued.dropped: // another line with this token was ended
		return Outcome{}, ErrToken
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		if i := c.issued; !c.begun && c.frame == nil && i.why == "" {
			// A call that is cancelled gets no answer, so nobody may wait for it.
			i.why = "the line was ended before the guard had begun, so nothing was changed"
			delete(s.tokens, i.token)
			close(i.dropped)
			s.toPEP.put(cancelFrame(c.id))
		}
		return Outcome{}, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return outcomeOf(c.frame), nil
}

// Printed reports that the line that presented a token received the outcome.
func (s *Session) Printed(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := digest.Sum([]byte(token))
	if c := s.tokens[sum]; c != nil {
		c.issued.printed = true
	}
	s.cfg.Issue.Printed(sum)
}

// Outcome is what a command printed and how it ended, as far as the model may
// know. Land returns its JSON as the structured content of a result.
type Outcome struct {
	Exit      int     `json:"exit_code"`
	Signal    int     `json:"signal,omitempty"`
	Output    []Piece `json:"output,omitempty"` // in order
	Truncated bool    `json:"truncated,omitempty"`
	// Refused is the reason if there is no outcome.
	Refused string `json:"refused,omitempty"`
}

// Piece is what a command wrote to one of its streams before it wrote to the
// other.
type Piece struct {
	Stderr bool   `json:"stderr,omitempty"`
	Text   string `json:"text"`
}

// Result returns the outcome as the result of a call.
func (o Outcome) Result() (json.RawMessage, error) {
	return json.Marshal(map[string]any{
		"content":           []map[string]string{{"type": "text", "text": "The guard has carried the command out."}},
		"structuredContent": o,
	})
}

// outcomeOf extracts the outcome from the proxy's answer to a landed command.
func outcomeOf(frame []byte) Outcome {
	if a := read(frame); !a.Allow {
		return Outcome{Refused: a.Reason}
	}
	var answer struct {
		Result struct {
			Outcome *Outcome `json:"structuredContent"`
		} `json:"result"`
	}
	if err := json.Unmarshal(frame, &answer); err != nil || answer.Result.Outcome == nil {
		return Outcome{Refused: "mcpguard could not read what the command printed; what it changes has happened. Read the files before you go on"}
	}
	return *answer.Result.Outcome
}

// Unsaid returns, once each, sentences about landings whose outcome was not
// delivered because the line that waited for it was killed.
func (s *Session) Unsaid() (sentences []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.settled {
		if i := c.issued; i != nil && i.shown && !i.printed && c.frame != nil {
			i.printed = true
			s.cfg.Issue.Printed(i.token)
			if o := outcomeOf(c.frame); o.Refused != "" {
				sentences = append(sentences, "what an earlier command of this session changes ended without its line: "+strings.TrimRight(o.Refused, "."))
				continue
			}
			sentences = append(sentences, UnsaidLanding)
		}
	}
	sentences = append(sentences, s.unsaidBefore...)
	s.unsaidBefore = nil
	return sentences
}

// UnsaidLanding is the sentence about a landing whose outcome may not have
// been printed.
const UnsaidLanding = "what an earlier command of this session changes has happened, although the line that was to show it may have been ended before"

// land applies what a call has recorded; mu is held.
func (s *Session) land(c *call) {
	id, record, token := jsonrpc.IntID(c.id), c.issued.record, c.issued.token
	again := c.issued.kept
	again.Record = record
	switch {
	case !c.issued.shown:
		// fail closed: the substitute line has not run
		s.answer(c, "the line that stands for this command has not run, so nothing was changed", true)
		return
	case c.issued.why != "":
		// fail closed: its line was told that nothing happens
		s.answer(c, c.issued.why, true)
		return
	case record == "":
		s.answer(c, "the command wants more now than what was shown before, so nothing was run; make the call again", true)
		return
	}
	c.begun, c.landing = true, true
	go func() { // ends with the landing
		var result json.RawMessage
		var err error
		if c.issued.kept.Record != record { // it has run again since
			if err = s.cfg.Issue.Keep(context.Background(), token, again); err != nil {
				// fail closed: after a crash another outcome would be told
				err = errors.New("the guard could not keep what came of the command, so nothing was changed; ask the user to look at the guard's log")
			}
		}
		if err == nil {
			result, err = s.cfg.Issue.Land(context.Background(), record)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		c.issued.kept = again
		if err != nil {
			s.answer(c, err.Error(), true)
			return
		}
		c.answered = true
		s.toUp.put(jsonrpc.Result(id, result))
		s.finish()
	}()
}

// reportIssued takes the client's report of a substitute line; the landing has
// already determined the outcome. mu is held.
func (s *Session) reportIssued(c *call, input []byte) (other bool) {
	if input != nil {
		sum, err := inputSum(input)
		other = err != nil || sum != c.issued.sum
	}
	s.dropIssued(c, "the client ended the tool without running the line that it was given, so nothing was changed")
	return other
}

// forgetOutcomes drops the output of all but the newest ended calls; mu is
// held.
func (s *Session) forgetOutcomes() {
	left := maxOutcomes
	for n := len(s.settled) - 1; n >= 0; n-- {
		if c := s.settled[n]; c.issued != nil && s.tokens[c.issued.token] == c {
			if left--; left < 0 {
				delete(s.tokens, c.issued.token)
			}
		}
	}
}

// waits reports whether a call was answered with a substitute line that the
// client may still run.
func (c *call) waits() bool { return c.issued != nil && !c.issued.shown && c.issued.why == "" }

// Contained reports whether the command of a tool use may get a substitute
// line.
func (s *Session) Contained(toolUseID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.uses[toolUseID]
	return c != nil && c.contained
}
