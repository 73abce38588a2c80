package clienttools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pep connects both ends of a session as the proxy does: it refuses, passes
// reads, and executes what it is told to after release.
type pep struct {
	s     *Session
	conn  *Conn
	lines [][]byte // tools/call frames that came
	mode  func(tool string) string
	wg    sync.WaitGroup
	cause chan string // cancelled notifications
}

func start(t *testing.T, s *Session, mode func(tool string) string) *pep {
	p := &pep{s: s, conn: s.Upstream(), mode: mode, cause: make(chan string, 10)}
	in, out := s.Client(), s.Client()
	p.wg.Add(2)
	answers := make(chan []byte, 16)
	go func() { // ends with Stop
		defer p.wg.Done()
		for {
			f, err := p.conn.Next()
			if err != nil {
				close(answers)
				return
			}
			answers <- f
		}
	}()
	go func() { // ends with Stop, which ends both
		defer p.wg.Done()
		go func() { // ends with answers
			for f := range answers {
				out.Write(append(f, '\n'))
			}
		}()
		r := jsonrpc.NewReader(in, jsonrpc.Limits{})
		for {
			f, err := r.Next()
			if err != nil {
				return
			}
			m, err := jsonrpc.Admit(f, jsonrpc.Limits{})
			if err != nil {
				t.Errorf("not admitted: %v: %s", err, f)
				return
			}
			if m.Kind == jsonrpc.Notification {
				p.cause <- m.Method
				continue
			}
			p.lines = append(p.lines, bytes.Clone(f))
			at, _ := jsonrpc.Lookup(m.Raw, m.Params, "name")
			tool, _ := jsonrpc.String(m.Raw, at)
			switch p.mode(tool) {
			case "deny":
				out.Write(append(jsonrpc.Result(m.ID, map[string]any{"isError": true, "content": []map[string]string{{"type": "text",
					"text": `{"status":"denied","reason":"not now","repair":"do something else"}`}}}), '\n'))
			case "error":
				out.Write(append(jsonrpc.ErrorReply(m.ID, -32000, "broken", nil), '\n'))
			case "read":
				if err := p.conn.Write(f); err != nil {
					t.Error(err)
				}
			case "approved":
				p.conn.Approved(m.ID)
				p.conn.Expect(m.ID, guard.Preview{Effects: []guard.Effect{{Resource: guard.Target{Path: "a"}}}})
				if err := p.conn.Write(f); err != nil {
					t.Error(err)
				}
			case "asks": // as the proxy asks where a person has to decide
				if s.NeedsPerson(m.ID, guard.Preview{}) {
					p.conn.Approved(m.ID)
				}
				p.conn.Expect(m.ID, guard.Preview{Effects: []guard.Effect{{Resource: guard.Target{Path: "a"}}}})
				if err := p.conn.Write(f); err != nil {
					t.Error(err)
				}
			case "execute":
				p.conn.Expect(m.ID, guard.Preview{Effects: []guard.Effect{{Resource: guard.Target{Path: "a"}}}})
				if err := p.conn.Write(f); err != nil {
					t.Error(err)
				}
			case "run":
				p.conn.Expect(m.ID, guard.Preview{Effects: []guard.Effect{{}}})
				if err := p.conn.Write(f); err != nil {
					t.Error(err)
				}
			case "hold":
				out.Write(append(jsonrpc.Notify("notifications/progress", map[string]any{"progressToken": json.RawMessage(m.ID.Raw()), "progress": -1, "message": "waiting"}), '\n'))
			}
		}
	}()
	return p
}

func (p *pep) stop(t *testing.T) {
	if err := p.conn.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	p.wg.Wait()
}

func question(tool, use string) Question {
	return Question{Tool: tool, ToolUseID: use, Input: json.RawMessage(`{"a": 1}`), Folder: "/w"}
}

func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Tools: func() []string { return []string{"Read"} }})
		p := start(t, s, func(tool string) string { return tool })
		defer p.stop(t)
		for _, c := range []struct {
			tool string
			want Answer
		}{
			{"deny", Answer{Reason: "mcpguard: denied: not now. Do something else."}},
			{"error", Answer{Reason: "mcpguard could not handle this call; ask the user to look at the guard's log"}},
			{"read", Answer{Allow: true}},
			{"execute", Answer{Allow: true, Begun: true}},
			{"approved", Answer{Allow: true, Approved: true, Begun: true}},
		} {
			got, err := s.Ask(t.Context(), question(c.tool, c.tool))
			if err != nil || got != c.want {
				t.Errorf("%s: %+v, %v", c.tool, got, err)
			}
			// Asking about the same use again is the same question.
			if got, err := s.Ask(t.Context(), question(c.tool, c.tool)); err != nil || got != c.want {
				t.Errorf("%s, again: %+v, %v", c.tool, got, err)
			}
			other := question(c.tool, c.tool)
			other.Input = json.RawMessage(`{"a": 2}`)
			if _, err := s.Ask(t.Context(), other); err == nil {
				t.Errorf("%s: one use stood for two actions", c.tool)
			}
		}
		if len(p.lines) != 5 {
			t.Errorf("%d calls were made", len(p.lines))
		}
		if !s.Report("execute", []byte(`{"a":1}`), "", false) || s.Report("read", nil, "", false) || s.Report("nobody", nil, "", false) {
			t.Error("what was reported is not told apart")
		}
		synctest.Wait()
		if _, err := s.Ask(t.Context(), question("execute", "execute")); err == nil || !strings.Contains(err.Error(), "has run") {
			t.Errorf("asked again after it had run: %v", err)
		}
	})
}

// TestPromptNeedsPerson: a call that a hook allowed without a human is a new
// question when the client prompts for it; one that a human approved is not.
// No prompt is answered with yes without a human.
func TestPromptNeedsPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Tools: func() []string { return nil }})
		p := start(t, s, func(tool string) string { return tool })
		defer p.stop(t)
		ask := func(tool string, person bool) Answer {
			t.Helper()
			q := question(tool, tool)
			q.Person = person
			a, err := s.Ask(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		for _, c := range []struct {
			tool         string
			hook, prompt Answer
			calls        int
		}{
			{"approved", Answer{Allow: true, Approved: true, Begun: true}, Answer{Allow: true, Approved: true, Begun: true}, 1},
			{"asks", Answer{Allow: true, Begun: true}, Answer{Allow: true, Approved: true, Begun: true}, 2},
			{"deny", Answer{Reason: "mcpguard: denied: not now. Do something else."}, Answer{Reason: "mcpguard: denied: not now. Do something else."}, 1},
			// A call for which the proxy still asks no one.
			{"read", Answer{Allow: true}, Answer{Reason: "mcpguard: nobody has approved this call, and the client asks for a person's word"}, 3},
		} {
			before := len(p.lines)
			if got := ask(c.tool, false); got != c.hook {
				t.Errorf("%s: the hook got %+v, want %+v", c.tool, got, c.hook)
			}
			if got := ask(c.tool, true); got != c.prompt {
				t.Errorf("%s: the prompt got %+v, want %+v", c.tool, got, c.prompt)
			}
			if got := len(p.lines) - before; got != c.calls {
				t.Errorf("%s: %d calls went down the line, want %d", c.tool, got, c.calls)
			}
		}
		if !s.Report("asks", []byte(`{"a":1}`), "", false) {
			t.Error("the report is not of the call that the person has approved")
		}
	})
}

// TestDeclinedCallIsGivenUp: a call that no human approved and that was not
// reported is given up soon after its agent goes on; an approved one is not.
func TestDeclinedCallIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Tools: func() []string { return nil }})
		p := start(t, s, func(tool string) string { return tool })
		for _, tool := range []string{"execute", "approved"} {
			if a, err := s.Ask(t.Context(), question(tool, tool)); err != nil || !a.Begun {
				t.Fatal(a, err)
			}
		}
		if _, err := s.Ask(t.Context(), question("read", "next")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		if !p.conn.Unreported(jsonrpc.IntID(1)) || p.conn.Unreported(jsonrpc.IntID(2)) {
			t.Errorf("given up: %v, and the approved one: %v", p.conn.Unreported(jsonrpc.IntID(1)), p.conn.Unreported(jsonrpc.IntID(2)))
		}
		s.Gone()
		p.stop(t)
	})
}

// TestInputIsForwardedUnchanged: a call has the input unchanged, and a command
// also its folder.
func TestInputIsForwardedUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Tools: func() []string { return nil }})
		p := start(t, s, func(string) string { return "read" })
		defer p.stop(t)
		q := question("Write", "u1")
		q.Input = json.RawMessage("{ \"b\": 1.50,\n \"a\": \"\\u00e4<\" }")
		if _, err := s.Ask(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		q = question("Bash", "u2")
		q.Input, q.Sandbox = json.RawMessage(`{"command":"x"}`), "on"
		if _, err := s.Ask(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{
			`"arguments":{"b":1.50,"a":"\u00e4<"},"_meta":{"progressToken":1,"claudecode/toolUseId":"u1"}`,
			`"arguments":{"command":"x","cwd":"/w","sandbox":"on"},"_meta":{"progressToken":2,"claudecode/toolUseId":"u2"}`,
		} {
			if !strings.Contains(string(p.lines[i]), want) {
				t.Errorf("got %s, want %s", p.lines[i], want)
			}
		}
		for _, bad := range []Question{
			{}, {Tool: "x", ToolUseID: strings.Repeat("x", 300), Input: json.RawMessage(`{}`)},
			{Tool: "Bash", ToolUseID: "u3", Input: json.RawMessage(`{"cwd":"/elsewhere"}`)},
			{Tool: "Bash", ToolUseID: "u5", Input: json.RawMessage(`{"sandbox":"on"}`)},
			{Tool: "Write", ToolUseID: "u4", Input: json.RawMessage(`{"a":1e999}`)},
		} {
			if _, err := s.Ask(t.Context(), bad); err == nil {
				t.Errorf("%+v was asked", bad)
			}
		}
	})
}

func TestCancelAndProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Tools: func() []string { return nil }})
		p := start(t, s, func(tool string) string { return "hold" })
		defer p.stop(t)
		said := make(chan string, 1)
		ctx, cancel := context.WithCancel(t.Context())
		q := question("x", "u")
		q.Progress = func(m string) { said <- m; cancel() }
		if _, err := s.Ask(ctx, q); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		if got := <-said; got != "waiting" {
			t.Errorf("%q", got)
		}
		if got := <-p.cause; got != "notifications/cancelled" {
			t.Errorf("%q", got)
		}
	})
}

// TestReportSettlesTheCall: how a tool ended, and what happens if no report comes.
func TestReportSettlesTheCall(t *testing.T) {
	type end struct {
		failed, unreported bool
		text               string
	}
	for name, c := range map[string]struct {
		after func(s *Session)
		want  end
		odd   string
	}{
		"done":          {func(s *Session) { s.Report("u", []byte(`{"a":1}`), "", false) }, end{text: "The client says that the tool has run."}, ""},
		"input unknown": {func(s *Session) { s.Report("u", nil, "", false) }, end{text: "The client says that the tool has run."}, ""},
		"failed":        {func(s *Session) { s.Report("u", []byte(`{"a":1}`), "Exit code 3", true) }, end{failed: true, text: "Exit code 3"}, ""},
		"other input":   {func(s *Session) { s.Report("u", []byte(`{"a":2}`), "", false) }, end{failed: true, text: "the client ran the tool with other input than was approved"}, "input_changed"},
		"never": {func(s *Session) { time.Sleep(16 * time.Minute) },
			end{failed: true, unreported: true, text: "The client did not report how the tool ended."}, ""},
		"idle":      {func(s *Session) { s.Idle(""); time.Sleep(6 * time.Second) }, end{failed: true, unreported: true, text: "The client did not report how the tool ended."}, ""},
		"not told":  {func(s *Session) { s.Lost("u"); time.Sleep(6 * time.Second) }, end{failed: true, unreported: true, text: "The client did not report how the tool ended."}, ""},
		"idle, but": {func(s *Session) { s.Idle(""); s.Report("u", nil, "", false) }, end{text: "The client says that the tool has run."}, ""},
		"dead":      {func(s *Session) { s.Gone() }, end{failed: true, unreported: true, text: "The client did not report how the tool ended."}, ""},
		"late": {func(s *Session) { time.Sleep(16 * time.Minute); s.Report("u", nil, "", false) },
			end{failed: true, unreported: true, text: "The client did not report how the tool ended."}, "late_report"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				odd := ""
				s := New(Config{Tools: func() []string { return nil }, Odd: func(kind, use, text string) { odd = kind }})
				conn := s.Upstream()
				asked := make(chan Answer)
				go func() { // ends when the call begins
					a, _ := s.Ask(t.Context(), question("x", "u"))
					asked <- a
				}()
				frame, err := jsonrpc.NewReader(s.Client(), jsonrpc.Limits{}).Next()
				if err != nil {
					t.Fatal(err)
				}
				conn.Expect(jsonrpc.IntID(1), guard.Preview{Effects: []guard.Effect{{Resource: guard.Target{Path: "a"}}}})
				if err := conn.Write(frame); err != nil {
					t.Fatal(err)
				}
				if a := <-asked; !a.Begun {
					t.Fatalf("%+v", a)
				}
				c.after(s)
				answer, err := conn.Next()
				if err != nil {
					t.Fatal(err)
				}
				var got struct {
					Result struct {
						IsError bool
						Content []struct{ Text string }
					}
				}
				if err := json.Unmarshal(answer, &got); err != nil {
					t.Fatal(err)
				}
				e := end{got.Result.IsError, conn.Unreported(jsonrpc.IntID(1)), got.Result.Content[0].Text}
				if e != c.want || odd != c.odd {
					t.Errorf("got %+v, %q", e, odd)
				}
				conn.Stop(t.Context())
				<-conn.Done()
			})
		})
	}
}

// TestSilentCallIsReadBack: if the client does not report, what can be read
// back is settled soon; the rest counts as handed over.
func TestSilentCallIsReadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Tools: func() []string { return nil }})
		p := start(t, s, func(tool string) string { return tool })
		defer p.stop(t)
		q := question("execute", "u1")
		q.Silent = true
		if a, err := s.Ask(t.Context(), q); err != nil || !a.Allow {
			t.Fatal(a, err)
		}
		time.Sleep(6 * time.Second)
		if !p.conn.Unreported(jsonrpc.IntID(1)) {
			t.Error("a write without a report is not read back")
		}
		q = question("run", "u2")
		q.Silent = true
		if a, err := s.Ask(t.Context(), q); err != nil || !a.Allow {
			t.Fatal(a, err)
		}
		if p.conn.Unreported(jsonrpc.IntID(2)) {
			t.Error("a command without a report is not handed over")
		}
	})
}

// TestStopWaitsForRunningTools: a stopped session says so, and is done only
// when nothing runs in the client any more.
func TestStopWaitsForRunningTools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Tools: func() []string { return nil }})
		p := start(t, s, func(tool string) string { return tool })
		if a, err := s.Ask(t.Context(), question("execute", "u")); err != nil || !a.Begun {
			t.Fatal(a, err)
		}
		p.stop(t)
		select {
		case <-p.conn.Done():
			t.Error("over while the client runs a tool")
		default:
		}
		if _, err := s.Ask(t.Context(), question("x", "u2")); !errors.Is(err, ErrEnded) || !s.Ended() {
			t.Errorf("%v", err)
		}
		s.Report("u", nil, "", false)
		<-p.conn.Done()
	})
}

func TestDefinitions(t *testing.T) {
	for name := range schemas() {
		var d struct {
			Name        string
			InputSchema struct {
				Type                 string
				AdditionalProperties *bool
			}
		}
		if err := json.Unmarshal(Definition(name), &d); err != nil || d.Name != name || d.InputSchema.Type != "object" ||
			d.InputSchema.AdditionalProperties == nil || *d.InputSchema.AdditionalProperties {
			t.Errorf("%s: %v %+v", name, err, d)
		}
	}
	if got := string(Definition("x\"y")); !strings.Contains(got, `"name":"x\"y"`) || !json.Valid([]byte(got)) {
		t.Error(got)
	}
}

// pipe is one end of a connection in memory.
type pipe struct {
	io.Reader
	io.WriteCloser
	in io.Closer
}

func (p pipe) Close() error { p.in.Close(); return p.WriteCloser.Close() }

func TestPermissionServer(t *testing.T) {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	served := make(chan error)
	go func() { // ends with the client's stream
		_, err := Permission{Version: "1", Ask: func(ctx context.Context, q Question) Answer {
			switch q.Tool {
			case "Wait":
				q.Progress("waiting for approval")
				<-ctx.Done()
			case "Edit":
				return Answer{Allow: true}
			}
			return Answer{Reason: "no: " + q.Tool + " " + q.ToolUseID}
		}}.Serve(context.Background(), pipe{inR, outW, inR})
		served <- err
	}()
	r := jsonrpc.NewReader(outR, jsonrpc.Limits{})
	for _, c := range []struct{ send, want string }{
		{`{"jsonrpc":"2.0","id":"server-discover-probe-1","method":"server/discover"}`, `"code":-32601`},
		{`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`, `"protocolVersion":"2025-11-25"`},
		{`{"jsonrpc":"2.0","id":2,"method":"ping"}`, `"result":{}`},
		{`{"jsonrpc":"2.0","id":3,"method":"tools/list"}`, `"name":"approve"`},
		{`{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"approve","arguments":{"tool_name":"Edit","input":{"a":1.50},"tool_use_id":"u"}}}`,
			`"text":"{\"behavior\":\"allow\",\"updatedInput\":{\"a\":1.50}}"`},
		{`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"approve","arguments":{"tool_name":"Bash","input":{},"tool_use_id":"u"}}}`,
			`"text":"{\"behavior\":\"deny\",\"message\":\"no: Bash u\"}"`},
		{`{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"approve","arguments":{"tool_name":"Bash"}}}`, `\"behavior\":\"deny\"`},
		{`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"other","arguments":{}}}`, `\"behavior\":\"deny\"`},
		{`{"jsonrpc":"2.0","id":8,"method":"ping","params":{"a":1,"a":2}}`, `"error"`},
		{`{"jsonrpc":"2.0","id":10,"method":"tools/call","params":{"name":"approve","arguments":{"tool_name":"Wait","input":{}},"_meta":{"progressToken":"t"}}}`,
			`"message":"waiting for approval"`},
		{`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":10}}` + "\n" + `{"jsonrpc":"2.0","id":11,"method":"ping"}`, `"id":11`},
	} {
		if _, err := inW.Write([]byte(c.send + "\n")); err != nil {
			t.Fatal(err)
		}
		got, err := r.Next()
		if err != nil || !strings.Contains(string(got), c.want) {
			t.Errorf("%s:\ngot %s, %v\nwant %s", c.send, got, err, c.want)
		}
	}
	inW.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
