package clienttools

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// bench is a session whose commands get a substitute line, with the proxy's
// part of one call played by hand.
type bench struct {
	t      *testing.T
	s      *Session
	token  string
	landed atomic.Int32
	odd    []string
	fail   error

	mu       sync.Mutex
	kept     []string // records, in order; "landed" where one was
	failKeep error
	ended    []Outcome
	printed  int
}

func (b *bench) note(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept = append(b.kept, what)
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t}
	b.s = New(Config{
		Tools: func() []string { return []string{"Bash"} },
		Odd:   func(kind, _, _ string) { b.odd = append(b.odd, kind) },
		Issue: &Issue{
			Line: func(_, token string) string { b.token = token; return "result " + token },
			Keep: func(_ context.Context, token digest.Digest, r Ready) error {
				if token != digest.Sum([]byte(b.token)) {
					t.Errorf("kept under %s", token)
				}
				b.note(r.Record)
				return b.failKeep
			},
			Ended: func(_ digest.Digest, o Outcome) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.ended = append(b.ended, o)
			},
			Printed: func(digest.Digest) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.printed++
			},
			Land: func(_ context.Context, record string) (json.RawMessage, error) {
				b.landed.Add(1)
				b.note("landed")
				if b.fail != nil {
					return nil, b.fail
				}
				return Outcome{Exit: 3, Output: []Piece{{Text: record + " printed"}}}.Result()
			},
		},
	})
	return b
}

const lineInput = `{"command":"sed -i s/a/b/ x","description":"do it","timeout":9000}`

// play handles one call as the proxy does: approved, collected, sent with
// record.
func (b *bench) play(ctx context.Context, record string) error {
	return b.playAs(ctx, "r1", record)
}

// playAs is play for a command that was run anew before it was sent.
func (b *bench) playAs(ctx context.Context, first, record string) error {
	f, err := b.s.toPEP.next()
	if err != nil {
		return err
	}
	m, err := jsonrpc.Admit(f, jsonrpc.Limits{})
	if err != nil {
		return err
	}
	conn, client := b.s.Upstream(), b.s.Client()
	if err := b.s.Collect(ctx, m.ID, Ready{Call: "call_1", Record: first, Reviewed: true}); err != nil {
		client.Write(append(jsonrpc.Result(m.ID, map[string]any{"isError": true, "content": []map[string]string{{"type": "text", "text": err.Error()}}}), '\n'))
		return err
	}
	p := guard.Preview{Record: record}
	if record != "" {
		p.Change.Exec = &guard.ExecFacts{Run: &guard.ExecRun{}}
	}
	conn.Expect(m.ID, p)
	if err := conn.Write(f); err != nil {
		return err
	}
	answer, err := conn.Next()
	if err != nil {
		return err
	}
	_, err = client.Write(append(answer, '\n'))
	return err
}

func (o Outcome) text() (all string) {
	for _, p := range o.Output {
		all += p.Text
	}
	return all
}

// ask asks a question and returns what the client is to run.
func (b *bench) ask(q Question) Answer {
	b.t.Helper()
	q.Tool, q.ToolUseID, q.Input = "Bash", "u", json.RawMessage(lineInput)
	a, err := b.s.Ask(b.t.Context(), q)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func (b *bench) begin(record string) (done chan error) {
	done = make(chan error, 1)
	go func() { done <- b.play(b.t.Context(), record) }() // ends with the call
	return done
}

// TestLandsWhenTheTokenIsShown: nothing lands before the token is presented;
// then it lands once, however often the token is presented.
func TestLandsWhenTheTokenIsShown(t *testing.T) {
	b := newBench(t)
	done := b.begin("r1")
	a := b.ask(Question{Contained: true})
	if want := `{"command":"result ` + b.token + `","description":"do it","timeout":9000}`; a.Input != want || !a.Allow || len(b.token) < 26 {
		t.Errorf("%+v, want %s", a, want)
	}
	if strings.Contains(a.Input, "sed") || b.landed.Load() != 0 {
		t.Errorf("%q, %d landings", a.Input, b.landed.Load())
	}
	if o, err := b.s.Fetch(t.Context(), b.token+"x"); !errors.Is(err, ErrToken) {
		t.Errorf("another token gave %+v, %v", o, err)
	}
	for range 3 {
		o, err := b.s.Fetch(t.Context(), b.token)
		if err != nil || o.Exit != 3 || o.text() != "r1 printed" || o.Refused != "" {
			t.Errorf("%+v, %v", o, err)
		}
	}
	if err := <-done; err != nil || b.landed.Load() != 1 {
		t.Errorf("%v, %d landings", err, b.landed.Load())
	}
	if len(b.ended) != 1 || b.ended[0].text() != "r1 printed" || !slices.Equal(b.kept, []string{"r1", "landed"}) {
		t.Errorf("ended %+v, kept %q", b.ended, b.kept)
	}
	if !b.s.Report("u", []byte(a.Input), "", false) || len(b.odd) != 0 {
		t.Errorf("alerts %v", b.odd)
	}
	if u := b.s.Unsaid(); len(u) != 1 || len(b.s.Unsaid()) != 0 {
		t.Errorf("nobody has printed it, and the next hook says %q", u)
	}
	if again, err := b.s.Ask(t.Context(), Question{Tool: "Bash", ToolUseID: "u", Input: json.RawMessage(lineInput), Contained: true}); err == nil {
		t.Errorf("asked for again it was answered with %+v", again)
	}
}

// TestALineIsKeptBeforeTheClientGetsIt: where it cannot be, the client gets none;
// and another run of the command is kept before it is landed.
func TestALineIsKeptBeforeTheClientGetsIt(t *testing.T) {
	b := newBench(t)
	b.failKeep = errors.New("the disk is full")
	done := b.begin("r1")
	if a := b.ask(Question{Contained: true}); a.Allow || a.Input != "" {
		t.Errorf("%+v", a)
	}
	if err := <-done; err == nil || b.landed.Load() != 0 {
		t.Errorf("%v, %d landings", err, b.landed.Load())
	}

	b = newBench(t)
	done = make(chan error, 1)
	go func() { done <- b.playAs(b.t.Context(), "r1", "r2") }() // ends with the call
	b.ask(Question{Contained: true})
	if o, err := b.s.Fetch(t.Context(), b.token); err != nil || o.text() != "r2 printed" {
		t.Errorf("%+v, %v", o, err)
	}
	if err := <-done; err != nil || !slices.Equal(b.kept, []string{"r1", "r2", "landed"}) {
		t.Errorf("%v, kept %q", err, b.kept)
	}

	b = newBench(t)
	done = make(chan error, 1)
	go func() { done <- b.playAs(b.t.Context(), "r1", "r2") }() // ends with the call
	b.ask(Question{Contained: true})
	b.failKeep = errors.New("the disk is full")
	if o, err := b.s.Fetch(t.Context(), b.token); err != nil || o.Refused == "" {
		t.Errorf("%+v, %v", o, err)
	}
	if <-done; b.landed.Load() != 0 {
		t.Errorf("%d landings", b.landed.Load())
	}
}

// TestWhatEarlierSessionsDidNotPrintIsToldOnce: by the next hook.
func TestWhatEarlierSessionsDidNotPrintIsToldOnce(t *testing.T) {
	s := New(Config{Unsaid: []string{UnsaidLanding}})
	if got := s.Unsaid(); len(got) != 1 || got[0] != UnsaidLanding || len(s.Unsaid()) != 0 {
		t.Errorf("%q", got)
	}
}

// TestNothingLandsWithoutTheLine: any sign that the line will not run ends the
// wait and invalidates its token.
func TestNothingLandsWithoutTheLine(t *testing.T) {
	for name, over := range map[string]func(b *bench){
		"the answer was lost": func(b *bench) { b.s.Lost("u") },
		"the agent is idle":   func(b *bench) { b.s.Idle("") },
		"the client is gone":  func(b *bench) { b.s.Gone() },
		"it failed first":     func(b *bench) { b.s.Report("u", nil, "not run", true) },
		"it ran another line": func(b *bench) { b.s.Report("u", []byte(lineInput), "", false) },
	} {
		b := newBench(t)
		done := b.begin("r1")
		b.ask(Question{Contained: true})
		over(b)
		if err := <-done; err == nil || b.landed.Load() != 0 {
			t.Errorf("%s: %v, %d landings", name, err, b.landed.Load())
		}
		if o, err := b.s.Fetch(t.Context(), b.token); !errors.Is(err, ErrToken) {
			t.Errorf("%s: its token gave %+v, %v", name, o, err)
		}
		if (len(b.odd) == 1) != (name == "it ran another line") {
			t.Errorf("%s: alerts %v", name, b.odd)
		}
		if a, err := b.s.Ask(t.Context(), Question{Tool: "Bash", ToolUseID: "u", Input: json.RawMessage(lineInput)}); err == nil && a.Allow {
			t.Errorf("%s: the command itself was let through: %+v", name, a)
		}
	}
}

// TestALineThatIsEndedBeforeTheLandingEndsTheCall: nothing lands then, and whoever
// presents the token again does not wait for an answer that never comes.
func TestALineThatIsEndedBeforeTheLandingEndsTheCall(t *testing.T) {
	b := newBench(t)
	asked := make(chan Answer, 1)
	go func() { // ends with the answer
		a, _ := b.s.Ask(t.Context(), Question{Tool: "Bash", ToolUseID: "u", Input: json.RawMessage(lineInput), Contained: true})
		asked <- a
	}()
	id := jsonrpc.IntID(1)
	if _, err := b.s.toPEP.next(); err != nil { // the proxy has got the call
		t.Fatal(err)
	}
	collected := make(chan error, 1)
	go func() { collected <- b.s.Collect(t.Context(), id, Ready{Call: "call_1", Record: "r1", Reviewed: true}) }() // ends with the token
	if a := <-asked; a.Input == "" {
		t.Fatalf("%+v", a)
	}
	killed, kill := context.WithCancel(t.Context())
	kill()
	if o, err := b.s.Fetch(killed, b.token); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", o, err)
	}
	if err := <-collected; err != nil {
		t.Error(err)
	}
	if o, err := b.s.Fetch(t.Context(), b.token); !errors.Is(err, ErrToken) {
		t.Errorf("again: %+v, %v", o, err)
	}
	// The proxy was past the point at which a cancel counts.
	p := guard.Preview{Record: "r1"}
	p.Change.Exec = &guard.ExecFacts{Run: &guard.ExecRun{}}
	conn := b.s.Upstream()
	conn.Expect(id, p)
	frame := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"Bash","arguments":{}}}`)
	if err := conn.Write(frame); err != nil {
		t.Fatal(err)
	}
	if answer, err := conn.Next(); err != nil || !strings.Contains(string(answer), "nothing was changed") || b.landed.Load() != 0 {
		t.Errorf("%s, %v, %d landings", answer, err, b.landed.Load())
	}
}

// TestWhoCannotRewriteIsRefused: a permission prompt cannot substitute a line,
// so it must not let the command itself run.
func TestWhoCannotRewriteIsRefused(t *testing.T) {
	b := newBench(t)
	done := b.begin("r1")
	b.ask(Question{Contained: true})
	for _, q := range []Question{{}, {Person: true}} {
		if a := b.ask(q); a.Allow {
			t.Errorf("%+v", a)
		}
	}
	b.s.Lost("u")
	<-done
}

// TestAnotherRunIsNotLanded: a command that by now needs more than was shown
// is not landed, and a failed landing is reported.
func TestAnotherRunIsNotLanded(t *testing.T) {
	for _, record := range []string{"", "r1"} {
		b := newBench(t)
		b.fail = errors.New("the files changed meanwhile")
		done := b.begin(record)
		b.ask(Question{Contained: true})
		o, err := b.s.Fetch(t.Context(), b.token)
		if err != nil || o.Refused == "" || o.Exit != 0 || o.text() != "" {
			t.Errorf("%q: %+v, %v", record, o, err)
		}
		if <-done; int(b.landed.Load()) != len(record)/2 {
			t.Errorf("%q: %d landings", record, b.landed.Load())
		}
	}
}

// TestChangesNeedAPerson: whatever the policy allows without a human, what the
// guard lands for the client needs one.
func TestChangesNeedAPerson(t *testing.T) {
	preview := func(files int) guard.Preview {
		return guard.Preview{Change: guard.Change{Facts: guard.Facts{Exec: &guard.ExecFacts{Run: &guard.ExecRun{Files: files}}}}}
	}
	for _, q := range []Question{{}, {Contained: true}, {Contained: true, Doubt: true}} {
		b := newBench(t)
		q.Tool, q.ToolUseID, q.Input = "Bash", "u", json.RawMessage(lineInput)
		if _, _, err := b.s.enter(q); err != nil {
			t.Fatal(err)
		}
		for files := range 2 {
			if got, want := b.s.NeedsPerson(jsonrpc.IntID(1), preview(files)), q.Doubt || q.Contained && files > 0; got != want {
				t.Errorf("%+v, %d files: %v", q, files, got)
			}
		}
	}
}
