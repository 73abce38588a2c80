package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/redact"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

// TestCallWaitingForALockCanStillEnd: an approved call that waits for a lock
// can still be cancelled, superseded, or lapse.
func TestCallWaitingForALockCanStillEnd(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(p *peer, id int)
		want guard.Status
		word string
	}{
		"cancelled": {func(p *peer, id int) {
			p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, id)
		}, guard.Cancelled, ""},
		"lapsed": {func(*peer, int) { time.Sleep(3 * time.Minute) }, guard.Lapsed, replyLapsed},
		"superseded": {func(p *peer, _ int) {
			p.write("write", "a.txt", "second\n")
		}, guard.Approved, replySuperseded},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.put("a.txt", "old\n")
				r.setPolicy(strings.Replace(testConfig, "timeout: 30s", "timeout: 1h", 1))
				p := r.session("patient")
				got := p.silent("scratch", true)
				p.write("scratch", "a.txt", "first\n")
				m := <-got
				id := p.write("write", "a.txt", "second\n")
				r.decide(r.one(guard.Pending), true)
				p.quiet()
				c.do(p, id)
				r.one(c.want)
				if c.word != "" {
					if w := p.reply(id); w.Status != c.word {
						t.Errorf("got %+v", w)
					}
				}
				p.quiet()
				r.wantContent("a.txt", "first\n")
				p.server.send(`{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, m.ID.Raw())
				p.frame()
				p.end()
				if len(r.locks.claims) != 0 {
					t.Errorf("%d locks are left", len(r.locks.claims))
				}
			})
		})
	}
}

// TestCancelJustBeforeExecutionStopsTheCall cancels a call that has its lock
// but no intent yet.
func TestCancelJustBeforeExecutionStopsTheCall(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		id := p.write("write", "a.txt", "new\n")
		a := r.one(guard.Pending)
		// The check before execution lists the tools again, so the cancel
		// arrives during it.
		p.server.send(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		p.frame()
		asked := make(chan jsonrpc.Message, 1)
		p.server.set(func(_ *fakeServer, m jsonrpc.Message) bool {
			if m.Method == "tools/list" {
				asked <- m
			}
			return m.Method == "tools/list"
		})
		r.decide(a, true)
		m := <-asked
		p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, id)
		p.quiet() // the cancel has arrived: the two streams have no common order
		p.server.send(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID.Raw(), listOf(toolNames...))
		r.one(guard.Cancelled)
		p.quiet()
		r.wantContent("a.txt", "old\n")
		r.wantCompleted("write", audit.StatusCancelled)
		if len(r.locks.claims) != 0 {
			t.Errorf("%d locks are left", len(r.locks.claims))
		}
	})
}

func TestUnansweredReadsAreCancelledUpstream(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		got := p.silent("look", false)
		slow := p.call("look", `{}`)
		<-got
		w := p.wantReply(slow, replyError, "")
		if w.Reason != "the server did not answer within 30s" {
			t.Errorf("got %+v", w)
		}
		synctest.Wait()
		if n := len(p.server.received("notifications/cancelled")); n != 1 {
			t.Errorf("the server heard of %d cancels", n)
		}
		cancelled := p.call("look", `{}`)
		<-got
		p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, cancelled)
		p.quiet()
		p.server.set(func(*fakeServer, jsonrpc.Message) bool { return true })
		p.call("look", `{}`)
		p.send(`{"jsonrpc":"2.0","id":"x","method":"ping"}`)
		synctest.Wait()
		p.server.die()
		for range 2 {
			if got := p.frame(); !strings.Contains(got, "has ended") {
				t.Errorf("got %s", got)
			}
		}
		p.end()
		r.wantCompleted("look", audit.StatusError, audit.StatusCancelled, audit.StatusError)
		if len(p.notes) != 2 || !strings.Contains(p.notes[1], `the server "files" has ended`) {
			t.Errorf("the developer was told %q", p.notes)
		}
	})
}

// TestHowAServerEndedIsReported: the report has the server's last lines,
// without secrets.
func TestHowAServerEndedIsReported(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		p.server.mu.Lock()
		p.server.exit = &upstream.ExitError{Name: "files", Started: true, Code: 3,
			Stderr: []string{"cannot find module 'x'", "token ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"}}
		p.server.mu.Unlock()
		p.server.die()
		synctest.Wait()
		p.end()
		said := strings.Join(p.notes, "\n")
		for _, want := range []string{`server "files" exited with status 3`, "cannot find module 'x'", "REDACTED"} {
			if !strings.Contains(said, want) {
				t.Errorf("the developer does not read %q: %q", want, said)
			}
		}
		if strings.Contains(said, "ghp_") {
			t.Errorf("a secret reached the client's log: %q", said)
		}
	})
}

// TestUnknownOutcomeGoesToAHuman: the target is neither as before nor as
// approved.
func TestUnknownOutcomeGoesToAHuman(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		got := p.silent("write", false)
		id := p.write("write", "a.txt", "new\n")
		r.decide(r.one(guard.Pending), true)
		<-got
		r.put("a.txt", "something else\n")
		p.server.die()
		p.wantReply(id, replyUnknown, "")
		p.end()
		a := r.one(guard.Unknown)
		alerts, err := r.store.Alerts(false)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, al := range alerts {
			found = found || al.Kind == "outcome_unknown" && al.Subject == a.ID
		}
		if !found {
			t.Errorf("alerts: %+v", alerts)
		}
	})
}

func TestClientNameIsRecorded(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("")
		defer p.end()
		p.send(`{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"clientInfo":{"name":"patient","version":"9"}}}`)
		p.frame()
		began := time.Now()
		p.wantReply(p.write("write", "a.txt", "x"), replyExpired, guard.RuleTimeBox) // held until it expires
		if a := r.one(guard.Expired); a.RequestedBy.Client != "patient" || a.RequestedBy.Version != "9" || time.Since(began) < 15*time.Minute {
			t.Errorf("asked by %+v, after %s", a.RequestedBy, time.Since(began))
		}
	})
}

func TestLegacyTaskEndsWithItsResult(t *testing.T) {
	for _, c := range []struct {
		result string
		do     bool
		want   guard.Status
	}{
		{`{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t1"}}}`, true, guard.Executed},
		{`{"content":[],"isError":true,"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t1"}}}`, false, guard.Failed},
	} {
		inBubble(t, func(r *rig) {
			r.put("a.txt", "old\n")
			p := r.session("patient")
			defer p.end()
			p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
				switch m.Method {
				case "tools/call":
					if c.do {
						doTool(m)
					}
					f.send(`{"jsonrpc":"2.0","id":%s,"result":{"task":{"taskId":"t1","status":"working"}}}`, m.ID.Raw())
				case "tasks/result":
					f.send(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID.Raw(), c.result)
				default:
					return false
				}
				return true
			})
			p.answer(p.write("scratch", "a.txt", "new\n"))
			p.send(`{"jsonrpc":"2.0","id":"r","method":"tasks/result","params":{"taskId":"t1"}}`)
			if got := p.frame(); !strings.Contains(got, c.result) {
				t.Errorf("got %s", got)
			}
			want := audit.StatusOK
			if c.want == guard.Failed {
				want = audit.StatusError
			}
			synctest.Wait()
			r.wantCompleted("scratch", want)
		})
	}
}

// explosive panics on one answer.
type explosive struct{ Redactor }

func (e explosive) JSON(v []byte) ([]byte, []redact.Finding, error) {
	if strings.Contains(string(v), "boom") {
		panic("boom")
	}
	return e.Redactor.JSON(v)
}

func TestPanicEndsOnlyItsCall(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.redactor = explosive{redact.New(redact.Config{})}
		p := r.session("patient")
		defer p.end()
		if w := p.reply(p.write("scratch", "boom.txt", "x")); w.Status != replyError {
			t.Errorf("got %+v", w)
		}
		p.wantDid(p.call("look", `{}`), "look")
		if len(r.locks.claims) != 0 {
			t.Errorf("%d locks are left", len(r.locks.claims))
		}
		if got := r.content("boom.txt"); !strings.Contains(got, "no such file") {
			t.Errorf("it was written: %s", got)
		}
	})
}

func TestApprovedReadsRun(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(strings.Replace(testConfig, "look: {tier: T0_READ}", "look: {tier: T0_READ, approval: {required: true}}", 1))
		p := r.session("patient")
		defer p.end()
		first, second := p.call("look", `{"path":"a"}`), p.call("look", `{"path":"b"}`)
		for _, a := range r.approvals(guard.Pending) {
			r.decide(a, true)
		}
		seen := map[jsonrpc.ID]bool{}
		for range 2 {
			m, err := jsonrpc.Admit([]byte(p.frame()), jsonrpc.Limits{})
			if err != nil || !strings.Contains(string(m.Raw), "did look") {
				t.Errorf("got %s", m.Raw)
			}
			seen[m.ID] = true
		}
		if !seen[jsonrpc.IntID(int64(first))] || !seen[jsonrpc.IntID(int64(second))] {
			t.Errorf("answers to %v", seen)
		}
		if got := r.approvals(guard.Executed); len(got) != 2 {
			t.Errorf("%d were executed", len(got))
		}
	})
}

func TestOpaqueCallsRunOneAtATime(t *testing.T) {
	inBubble(t, func(r *rig) {
		p, q := r.session("patient"), r.session("patient")
		defer p.end()
		defer q.end()
		got := p.silent("blackbox", false)
		first := p.call("blackbox", `{"content":"1"}`)
		second := q.call("blackbox", `{"content":"2"}`)
		pending := r.approvals(guard.Pending)
		if len(pending) != 2 || pending[0].Preview.Change.Type != guard.ChangeOpaque {
			t.Fatalf("pending: %+v", pending)
		}
		for _, a := range pending {
			if a.SessionID == p.id {
				r.decide(a, true)
			}
		}
		m := <-got
		r.decide(r.one(guard.Pending), true)
		q.quiet()
		if n := len(q.server.received("tools/call")); n != 0 {
			t.Errorf("%d opaque calls run beside another", n)
		}
		p.server.send(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID.Raw(), doTool(m))
		p.wantDid(first, "blackbox")
		q.wantDid(second, "blackbox")
		if a := r.approvals(guard.Executed); len(a) != 2 || a[0].Receipt.ReadBack != guard.Unverifiable {
			t.Errorf("executed: %+v", a)
		}
	})
}

func TestIdenticalCallsAreMentioned(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		args := fmt.Sprintf(`{"path":%q,"content":"new\n"}`, r.file("a.txt"))
		id := p.call("write", args)
		r.decide(r.one(guard.Pending), true)
		p.wantDid(id, "write")
		time.Sleep(2 * time.Minute)
		r.put("a.txt", "old\n")
		p.call("write", args)
		if got := fmt.Sprint(r.one(guard.Pending).Preview.SideEffects); !strings.Contains(got, "identical call ran 2 min ago") {
			t.Errorf("side effects: %s", got)
		}
	})
}

// TestIdenticalCallsAreMentionedAfterARestart: calls of another run of the same
// tenant, made under an earlier daemon, are mentioned too.
func TestIdenticalCallsAreMentionedAfterARestart(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		args := fmt.Sprintf(`{"path":%q,"content":"new\n"}`, r.file("a.txt"))
		id := p.call("write", args)
		r.decide(r.one(guard.Pending), true)
		p.wantDid(id, "write")
		p.end()
		time.Sleep(3 * time.Hour)
		again := func(want bool) {
			t.Helper()
			ran, err := r.store.RecentlyRun(time.Now().Add(-IdenticalFor), 100)
			if err != nil {
				t.Fatal(err)
			}
			r.meter = &Meter{}
			r.meter.Remember(ran)
			r.put("a.txt", "old\n")
			q := r.session("patient")
			defer q.end()
			q.call("write", args)
			a := r.one(guard.Pending)
			if got := fmt.Sprint(a.Preview.SideEffects); strings.Contains(got, "identical call ran 3 h ago") != want || strings.Contains(got, "identical") != want {
				t.Errorf("side effects: %s", got)
			}
			r.decide(a, false)
		}
		again(true)
		time.Sleep(22 * time.Hour)
		again(false)
	})
}

// TestRefusedFramesSayWhatHelps: each kind of reason has its own sentence, and
// only ambiguous frames are called ambiguous.
func TestRefusedFramesSayWhatHelps(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		for frame, want := range map[string]string{
			`{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`: "can be read in more than one way (duplicate_member)",
			`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`:      "it holds several (batch). Send them one by one.",
			`{"jsonrpc":"2.0","id":1.5,"method":"ping"}`:      "no message of JSON-RPC 2.0 as MCP has it (bad_id)",
			`{"jsonrpc":"2.0","id":3,"method":"ping"`:         "not valid JSON (syntax)",
			`{"jsonrpc":"2.0","id":4,"params":` + strings.Repeat(`{"a":`, 200) + `1` + strings.Repeat("}", 200) + `,"method":"ping"}`: "nested too deeply (too_deep)",
			`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"look","arguments":{"n":9007199254740993}}}`:              "would not keep its value (number_not_canonical)",
		} {
			p.send("%s", frame)
			if got := p.frame(); !strings.Contains(got, want) {
				t.Errorf("%.80s: got %s, want %q", frame, got, want)
			}
		}
	})
}
