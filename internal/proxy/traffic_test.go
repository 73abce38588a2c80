package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/redact"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

func TestAdmittedBytesAreForwardedUnchanged(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Kind == jsonrpc.Request {
				f.send(`{ "id":%s ,"result": {"b":1.0,"a":"\u0041", "x":{"unknown":[1e2]}},"jsonrpc":"2.0" }`, m.ID.Raw())
			}
			return true
		})
		for i, frame := range []string{
			`{"params":{"z":1.0, "a":"\u0041"},"id":1,  "method":"initialize","jsonrpc":"2.0","extra":null}`,
			`{"jsonrpc":"2.0","id":2,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`,
			`{"jsonrpc":"2.0","id":3,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"}}}`,
			`{"jsonrpc":"2.0","id":4,"method":"logging/setLevel","params":{"level":"debug"}}`,
			`{"jsonrpc":"2.0","id":5,"method":"prompts/get","params":{"name":"p"}}`,
			`{"jsonrpc":"2.0","id":6,"method":"subscriptions/listen","params":{}}`,
			`{"jsonrpc":"2.0","id":7,"method":"tasks/list"}`,
		} {
			p.send("%s", frame)
			want := fmt.Sprintf(`{ "id":%d ,"result": {"b":1.0,"a":"\u0041", "x":{"unknown":[1e2]}},"jsonrpc":"2.0" }`, i+1)
			if got := p.frame(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			p.server.mu.Lock()
			if got := p.server.got[len(p.server.got)-1]; got != frame {
				t.Errorf("the server was sent %s, want %s", got, frame)
			}
			p.server.mu.Unlock()
		}
		for _, frame := range []string{
			`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data": {"a":1.0}}}`,
			`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x:y"}}`,
			`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`,
		} {
			p.server.send("%s", frame)
			if got := p.frame(); got != frame {
				t.Errorf("got %s", got)
			}
		}
	})
}

func TestPromise1_FramesWithTwoMeaningsAreRefused(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		for _, c := range []struct{ frame, want string }{
			{`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look","name":"write"}}`, `{"jsonrpc":"2.0","id":1,"error":`},
			{`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"look","Name":"write"}}`, `{"jsonrpc":"2.0","id":2,"error":`},
			{`[{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"look"}}]`, `{"jsonrpc":"2.0","id":3,"error":`},
			{`{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"look","arguments":{"n":9007199254740993}}}`, `{"jsonrpc":"2.0","id":4,"error":`},
		} {
			p.send("%s", c.frame)
			if got := p.frame(); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: got %s", c.frame, got)
			}
		}
		p.next = 10
		p.wantDid(p.call("look", `{}`), "look") // the session goes on
		n := 0
		for _, e := range r.events(audit.ToolCallDenied) {
			if e.Rule == guard.RuleAdmission {
				n++
			}
		}
		if n != 4 {
			t.Errorf("%d refusals are on record", n)
		}
		if got := p.server.received("tools/call"); len(got) != 1 {
			t.Errorf("the server was sent %v", got)
		}
	})
}

func TestAmbiguousServerAnswersAreRefused(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Method == "tools/list" || m.Kind != jsonrpc.Request {
				return false
			}
			f.send(`{"jsonrpc":"2.0","id":%s,"result":{"a":1,"a":2}}`, m.ID.Raw())
			return true
		})
		p.send(`{"jsonrpc":"2.0","id":"x","method":"ping"}`)
		if got := p.frame(); !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":"x","error"`) {
			t.Errorf("got %s", got)
		}
		p.wantReply(p.call("look", `{}`), replyError, "")
		// A write whose answer cannot be read is settled by the state of its
		// target.
		p.wantReply(p.write("scratch", "a.txt", "new\n"), replyUnknown, "")
		synctest.Wait()
		if open, _ := r.store.OpenIntents(); len(open) != 0 {
			t.Errorf("%d intents are open", len(open))
		}
	})
}

// TestInvalidCharactersInAnswersAreReplaced: an answer with invalid characters
// arrives with U+FFFD in their place alone, and its record says so.
func TestInvalidCharactersInAnswersAreReplaced(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Method != "tools/call" {
				return false
			}
			doTool(m)
			f.send(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"cut \ud83d, caf%s"}]}}`, m.ID.Raw(), "\xe9")
			return true
		})
		p.call("look", `{}`)
		if got := p.frame(); !strings.Contains(got, `"text":"cut \ufffd, caf`+"\ufffd"+`"`) {
			t.Errorf("got %s", got)
		}
		p.write("scratch", "a.txt", "new\n")
		if got := p.frame(); !strings.Contains(got, `"text":"cut \ufffd, caf`+"\ufffd"+`"`) {
			t.Errorf("got %s", got)
		}
		synctest.Wait()
		done := r.events(audit.ToolCallCompleted)
		if len(done) != 2 {
			t.Fatalf("%d calls completed", len(done))
		}
		for _, e := range done {
			if e.Reason != "the server's answer had 2 bytes or surrogates that are no characters; U+FFFD stands in their places" {
				t.Errorf("the record of %s says %q", e.Tool.Name, e.Reason)
			}
		}
	})
}

// TestAnswerWithAStringIDMatchesANumber: a server that turns each ID into a
// string is understood if only one request can be meant; otherwise the client
// is told what came.
func TestAnswerWithAStringIDMatchesANumber(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Method != "tools/call" {
				return false
			}
			f.send(`{"jsonrpc":"2.0","id":"%s","result":{"content":[]}}`, strings.Trim(string(m.ID.Raw()), `"`))
			return true
		})
		id := p.call("look", `{}`)
		if got, want := p.frame(), fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{"content":[]}}`, id); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		// If two requests match, the one with exactly that ID is meant.
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool { return m.Method == "ping" })
		p.send(`{"jsonrpc":"2.0","id":70,"method":"ping"}`)
		p.send(`{"jsonrpc":"2.0","id":"70","method":"ping"}`)
		synctest.Wait()
		p.server.send(`{"jsonrpc":"2.0","id":"70","result":{}}`)
		if got := p.frame(); got != `{"jsonrpc":"2.0","id":"70","result":{}}` {
			t.Errorf("got %s", got)
		}
		p.server.send(`{"jsonrpc":"2.0","id":70,"result":{}}`)
		if got := p.frame(); got != `{"jsonrpc":"2.0","id":70,"result":{}}` {
			t.Errorf("got %s", got)
		}
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			f.send(`{"jsonrpc":"2.0","id":"call-%s","result":{}}`, strings.Trim(string(m.ID.Raw()), `"`))
			return true
		})
		id = p.call("look", `{}`)
		if w := p.wantReply(id, replyError, ""); w.Reason != fmt.Sprintf(`the server did not answer within 30s (it sent an answer to the id "call-%d", which no open request has)`, id) {
			t.Errorf("got %q", w.Reason)
		}
	})
}

// TestRefusalEchoesAnOddID: the client needs the ID to find its request.
func TestRefusalEchoesAnOddID(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.send(`{"jsonrpc":"2.0","id":1.5,"method":"ping"}`)
		if got := p.frame(); !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":1.5,"error"`) {
			t.Errorf("got %s", got)
		}
	})
}

func TestRequestIDsCannotBeReusedOrForged(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		id := p.write("write", "a.txt", "x")
		r.one(guard.Pending)
		p.send(`{"jsonrpc":"2.0","id":%d,"method":"ping"}`, id)
		if got := p.frame(); !strings.Contains(got, "in flight already") {
			t.Errorf("got %s", got)
		}
		// A server cannot answer a call that was not sent to it, nor answer
		// twice.
		p.server.send(`{"jsonrpc":"2.0","id":%d,"result":{"forged":true}}`, id)
		p.server.send(`{"jsonrpc":"2.0","id":99,"result":{}}`)
		p.quiet()
		r.decide(r.one(guard.Pending), true)
		p.wantDid(id, "write")
		p.server.send(`{"jsonrpc":"2.0","id":%d,"result":{"again":true}}`, id)
		p.quiet()
	})
}

func TestMethodsFollowThePolicy(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		for _, method := range []string{"resources/read", "resources/list", "no/such"} {
			p.send(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{}}`, method)
			if got := p.frame(); !strings.Contains(got, `"code":-32601`) {
				t.Errorf("%s: got %s", method, got)
			}
		}
		p.server.send(`{"jsonrpc":"2.0","id":"s1","method":"sampling/createMessage","params":{}}`)
		synctest.Wait()
		p.server.send(`{"jsonrpc":"2.0","id":"s2","method":"elicitation/create","params":{"m": 1.0}}`)
		if got := p.frame(); got != `{"jsonrpc":"2.0","id":"s2","method":"elicitation/create","params":{"m": 1.0}}` {
			t.Errorf("got %s", got)
		}
		for _, frame := range []string{`{"jsonrpc":"2.0","id":"s2","result":{"action": "accept"}}`, `{"jsonrpc":"2.0","id":"s2","result":{"twice":true}}`, `{"jsonrpc":"2.0","id":"s1","result":{"model":"x"}}`} {
			p.send("%s", frame)
		}
		synctest.Wait()
		p.server.mu.Lock()
		defer p.server.mu.Unlock()
		if got := strings.Join(p.server.got, "\n"); !strings.Contains(got, `{"jsonrpc":"2.0","id":"s1","error":`) || strings.Count(got, `"s1"`) != 1 ||
			!strings.Contains(got, `{"jsonrpc":"2.0","id":"s2","result":{"action": "accept"}}`) || strings.Count(got, `"s2"`) != 1 {
			t.Errorf("the server was sent\n%s", got)
		}
	})
}

func TestRootsAreTheGuards(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.server.send(`{"jsonrpc":"2.0","id":1,"method":"roots/list"}`)
		p.quiet()
		p.send(`{"jsonrpc":"2.0","id":1,"result":{"roots":[{"uri":"file:///"}]}}`)
		p.send(`{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`)
		p.send(`{"jsonrpc":"2.0","id":"t","method":"tools/call","params":{"name":"look","inputResponses":{"q":{"roots":[{"uri":"file:///"}]}}}}`)
		if got := p.frame(); !strings.Contains(got, `did look`) {
			t.Errorf("got %s", got)
		}
		p.send(`{"jsonrpc":"2.0","id":"u","method":"tools/call","params":{"name":"look","inputResponses":{"q":{"Roots":[]}}}}`)
		if got := p.frame(); !strings.Contains(got, `"error"`) {
			t.Errorf("got %s", got)
		}
		p.server.mu.Lock()
		defer p.server.mu.Unlock()
		want := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"result":{"roots":[{"uri":"file://%s","name":"001"}]}}`, r.root)
		if p.server.got[0] != want {
			t.Errorf("got  %s\nwant %s", p.server.got[0], want)
		}
		want = fmt.Sprintf(`{"jsonrpc":"2.0","id":"t","method":"tools/call","params":{"name":"look","inputResponses":{"q":{"roots":[{"uri":"file://%s","name":"001"}]}}}}`, r.root)
		if len(p.server.got) != 3 || p.server.got[2] != want {
			t.Errorf("the server was sent %v", p.server.got)
		}
	})
}

func TestInputRequestsFollowTheMethodPolicy(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Method != "tools/call" {
				return false
			}
			f.send(`{"jsonrpc":"2.0","id":%s,"result":{"resultType":"input_required","inputRequests":{"q":{"method":"sampling/createMessage","params":{}}}}}`, m.ID.Raw())
			return true
		})
		p.wantReply(p.call("look", `{}`), replyError, guard.RuleMethod)
	})
}

func TestGuardListsToolsItself(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.server.list = func(cursor string) string {
			if cursor == "" {
				return `{"tools":[` + definitionOf("read") + `],"nextCursor":"more"}`
			}
			return `{"tools":[` + definitionOf("look") + `]}`
		}
		p.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look","_meta":{"progressToken":5,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"}}}}`)
		p.wantDid(1, "look")
		own := p.server.received("tools/list")
		if len(own) != 2 || !strings.Contains(own[1], `"cursor":"more"`) || strings.Contains(own[0], "progressToken") ||
			!strings.Contains(own[0], `"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"}`) || !strings.Contains(own[0], `"id":"mcpguard-`) {
			t.Errorf("the guard asked %v", own)
		}
		p.next = 1
		p.wantDid(p.call("look", `{}`), "look") // the guard need not list again
		// A client can neither answer nor guess an ID of the guard's own.
		p.wantReply(p.call("write", `{}`), replyDenied, guard.RuleUnlisted) // it is not listed
		if n := len(p.server.received("tools/list")); n != 2 {
			t.Errorf("the guard listed %d times", n)
		}
		p.server.list = nil
		p.server.send(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		p.frame()
		p.wantDid(p.call("look", `{}`), "look")
		if n := len(p.server.received("tools/list")); n != 3 {
			t.Errorf("the guard listed %d times", n)
		}
	})
}

func TestPromise1_AnAmbiguousListIsNotPassedOn(t *testing.T) {
	for name, list := range map[string]string{
		"another spelling": `{"tools":[],"Tools":[` + definitionOf("wipe") + `]}`,
		"no array":         `{"tools":{}}`,
		"none":             `{}`,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				p := r.session("patient")
				defer p.end()
				p.server.list = func(string) string { return list }
				p.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
				if got := p.frame(); !strings.Contains(got, `"error"`) {
					t.Errorf("got %s", got)
				}
			})
		})
	}
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.server.list = func(string) string { return listOf("look", "look", "read") }
		p.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		if got := p.frame(); strings.Contains(got, `"look"`) || !strings.Contains(got, `"read"`) {
			t.Errorf("got %s", got)
		}
		p.next = 1
		p.wantReply(p.call("look", `{}`), replyDenied, guard.RuleUnlisted)
	})
}

func TestEachPageOfToolsIsFiltered(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.server.list = func(cursor string) string {
			if cursor == "" {
				return `{"tools":[` + definitionOf("extra") + `,` + definitionOf("read") + `] ,"nextCursor":"more","ttlMs":7}`
			}
			return `{"tools":[ ` + definitionOf("wipe") + ` ]}`
		}
		p.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		if got, want := p.frame(), `{"jsonrpc":"2.0","id":1,"result":{"tools":[`+definitionOf("read")+`] ,"nextCursor":"more","ttlMs":7}}`; got != want {
			t.Errorf("got %s", got)
		}
		p.send(`{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"cursor":"more"}}`)
		if got := p.frame(); !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":2,"result":{"tools":[`) || strings.Contains(got, "wipe") {
			t.Errorf("got %s", got)
		}
	})
}

func TestPromptsAreRecordedAsReads(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.send(`{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"p"}}`)
		p.frame()
		synctest.Wait()
		r.wantCompleted("prompts/get", audit.StatusOK)
		for _, e := range r.events(audit.ToolCallRequested) {
			if e.ArgsSHA256.IsZero() || e.Risk != "safe" {
				t.Errorf("recorded %+v", e)
			}
		}
	})
}

func TestModernAnswersHaveAResultType(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wipe","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"}}}}`)
		if got := p.frame(); !strings.Contains(got, `"resultType":"complete"`) || !strings.Contains(got, "use the console") {
			t.Errorf("got %s", got)
		}
	})
}

func TestPromise7_AStartFailureIsToldInSafeText(t *testing.T) {
	inBubble(t, func(r *rig) {
		fromClient, toGuard := io.Pipe()
		fromGuard, toClient := io.Pipe()
		var notes []string
		served := make(chan error, 1)
		go func() { // ends with the first answer
			served <- Serve(context.Background(), Config{
				Session:  guard.Session{ID: guard.NewSessionID(), Server: "files", Tenant: "local", Environment: "dev"},
				Client:   duplex{fromClient, toClient, func() { fromClient.Close(); toClient.Close() }},
				Upstream: func(context.Context) (upstream.Conn, error) { return nil, errors.New("no such \x1b[31mcommand") },
				Policy:   r.policy.Load, Store: r.store, Approvals: r.desk, Locks: r.locks, Meter: r.meter,
				Redactor: redact.New(redact.Config{}), Clock: bubbleClock{}, Notice: func(l string) { notes = append(notes, l) },
			})
		}()
		go fmt.Fprintf(toGuard, "%s\n", `{"jsonrpc":"2.0","id":0,"method":"initialize"}`) // ends when it is read
		frame, err := jsonrpc.NewReader(fromGuard, jsonrpc.Limits{}).Next()
		if err != nil || !strings.Contains(string(frame), `"id":0,"error"`) || !strings.Contains(string(frame), `could not start the server`) {
			t.Errorf("got %s, %v", frame, err)
		}
		if err := <-served; err == nil {
			t.Error("Serve reports no error")
		}
		if len(notes) != 1 || strings.Contains(notes[0], "\x1b") {
			t.Errorf("the developer was told %q", notes)
		}
	})
}

func TestRelaxedReadsAreRecordedSoon(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(testConfig + "audit: {reads: relaxed}\n")
		p := r.session("patient")
		defer p.end()
		for range 5 {
			p.wantDid(p.call("look", `{}`), "look")
		}
		r.wantCompleted("look", audit.StatusOK, audit.StatusOK, audit.StatusOK, audit.StatusOK, audit.StatusOK)
		if n := len(r.events(audit.ToolCallRequested, audit.ToolCallAuthorized)); n != 10 {
			t.Errorf("%d records", n)
		}
	})
}

// TestReadsAreAnsweredAfterTheInputEnds: a client that closes its input right
// after its last request still gets the answers.
func TestReadsAreAnsweredAfterTheInputEnds(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		held := make(chan jsonrpc.Message, 2)
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Method == "tools/call" || m.Method == "ping" {
				held <- m
				return true
			}
			return false
		})
		p.call("look", `{}`)
		p.send(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
		synctest.Wait()
		p.in.Close()
		synctest.Wait()
		for range 2 {
			p.server.send(`{"jsonrpc":"2.0","id":%s,"result":{"late":true}}`, (<-held).ID.Raw())
		}
		for range 2 {
			if got := p.frame(); !strings.Contains(got, `{"late":true}`) {
				t.Errorf("got %s", got)
			}
		}
		p.end()
	})
}
