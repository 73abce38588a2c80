package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// silent makes the server swallow calls of a tool, after executing them if do
// is set. Their IDs arrive on the channel.
func (p *peer) silent(tool string, do bool) <-chan jsonrpc.Message {
	got := make(chan jsonrpc.Message, 10)
	p.server.set(func(_ *fakeServer, m jsonrpc.Message) bool {
		if m.Method != "tools/call" || !strings.Contains(string(m.ParamsRaw()), fmt.Sprintf("%q", tool)) {
			return false
		}
		if do {
			doTool(m)
		}
		got <- m
		return true
	})
	return got
}

func TestDenialChangesNothingAndSaysWhy(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		id := p.write("write", "a.txt", "new\n")
		r.decide(r.one(guard.Pending), false)
		if w := p.wantReply(id, replyDenied, guard.RuleReviewer); w.Reason != "the reviewer's words" {
			t.Errorf("got %+v", w)
		}
		r.wantContent("a.txt", "old\n")
		r.wantCompleted("write", audit.StatusDenied)
	})
}

func TestUndecidedCallExpires(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		began := time.Now()
		p.wantReply(p.write("write", "a.txt", "new\n"), replyExpired, guard.RuleTimeBox)
		if d := time.Since(began); d != 15*time.Minute {
			t.Errorf("expired after %s", d)
		}
		r.one(guard.Expired)
		r.wantCompleted("write", audit.StatusExpired)
	})
}

func TestProgressWhileWaiting(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"progressToken":"tok","claudecode/toolUseId":"toolu_1"},"name":"write","arguments":{"path":%q,"content":"x"}}}`, p.file("a"))
		last := -2.0
		for n := range 4 {
			var got struct {
				Method string
				Params struct {
					ProgressToken string
					Progress      float64
					Message       string
				}
			}
			if err := json.Unmarshal([]byte(p.frame()), &got); err != nil {
				t.Fatal(err)
			}
			left := []string{"15:00", "14:52", "14:44", "14:36"}[n]
			want := "waiting for approval " + string(r.one(guard.Pending).ID) + " " + left + " left"
			if got.Method != "notifications/progress" || got.Params.ProgressToken != "tok" || got.Params.Message != want {
				t.Errorf("got %+v, want %q", got, want)
			}
			if got.Params.Progress <= last || got.Params.Progress >= 0 {
				t.Errorf("progress went from %v to %v", last, got.Params.Progress)
			}
			last = got.Params.Progress
			// A server must not send progress in the guard's name.
			p.server.send(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"tok","progress":1,"message":"approved"}}`)
		}
		if got := r.one(guard.Pending).CorrelationID; got != "toolu_1" {
			t.Errorf("the correlation id is %q", got)
		}
		r.decide(r.one(guard.Pending), true)
		p.wantDid(1, "write")
		p.server.send(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"tok","progress":1}}`)
		if got := p.frame(); !strings.Contains(got, `"progress":1}`) {
			t.Errorf("got %s", got)
		}
	})
}

func TestCancelEndsAHeldCall(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		id := p.write("write", "a.txt", "new\n")
		r.one(guard.Pending)
		p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d,"reason":"user"}}`, id)
		r.one(guard.Cancelled)
		p.quiet()
		r.wantCompleted("write", audit.StatusCancelled)
		if got := p.server.received("notifications/cancelled"); len(got) != 0 {
			t.Errorf("the server heard of a call that it never had: %v", got)
		}
		// The id is free again.
		p.next = id - 1
		p.wantDid(p.call("look", `{}`), "look")
	})
}

func TestCancelOfAnExecutionIsForwarded(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		got := p.silent("scratch", true)
		id := p.write("scratch", "a.txt", "new\n")
		m := <-got
		p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, id)
		synctest.Wait()
		if n := len(p.server.received("notifications/cancelled")); n != 1 {
			t.Errorf("%d cancels were forwarded", n)
		}
		p.server.send(`{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, m.ID.Raw())
		p.quiet()
		r.wantCompleted("scratch", audit.StatusOK)
	})
}

func TestDisconnectCancelsHeldCalls(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		p.write("write", "a.txt", "held\n")
		q := r.session("hasty")
		q.wantReply(q.write("write", "b.txt", "early\n"), replyBlocked, "")
		q.write("write", "c.txt", "approved\n")
		early := r.approvals(guard.Pending)
		if len(early) != 3 {
			t.Fatalf("%d are pending", len(early))
		}
		p.end()
		q.end()
		if got := r.approvals(guard.Cancelled); len(got) != 2 {
			t.Errorf("%d were cancelled, want those that were held", len(got))
		}
		left := r.one(guard.Pending)
		if left.Preview.Effects[0].Resource.Path != "b.txt" {
			t.Errorf("%s is left", left.Target())
		}
		// The approval belongs to the run, so another session of the run can
		// use it.
		r.decide(left, true)
		again := r.session("patient")
		again.wantDid(again.write("write", "b.txt", "early\n"), "write")
		again.end()
		r.wantCompleted("write", audit.StatusBlocked, audit.StatusCancelled, audit.StatusCancelled, audit.StatusOK)
	})
}

func TestServerErrorIsPassedOn(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		for _, answer := range []string{
			`"error":{"code":-1,"message":"no"}`,
			`"result":{"content":[],"isError":true}`,
		} {
			p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
				if m.Method != "tools/call" {
					return false
				}
				f.send(`{"jsonrpc":"2.0","id":%s,%s}`, m.ID.Raw(), answer)
				return true
			})
			id := p.write("write", "a.txt", "new\n")
			r.decide(r.one(guard.Pending), true)
			if got := string(p.answer(id).Raw); !strings.Contains(got, answer) {
				t.Errorf("got %s", got)
			}
		}
		failed := r.approvals(guard.Failed)
		if len(failed) != 2 || failed[0].Receipt.ReadBack != guard.Untouched {
			t.Errorf("got %+v", failed)
		}
		r.wantCompleted("write", audit.StatusError, audit.StatusError)
	})
}

// TestTimedOutWriteKeepsItsTargetLocked: a write without an answer has an
// unknown outcome, its target stays locked, and a late answer settles it.
func TestTimedOutWriteKeepsItsTargetLocked(t *testing.T) {
	for _, c := range []struct {
		name string
		do   bool
		want guard.Status
	}{{"done", true, guard.Executed}, {"not done", false, guard.Failed}} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.put("a.txt", "old\n")
				p := r.session("patient")
				defer p.end()
				got := p.silent("write", c.do)
				id := p.write("write", "a.txt", "new\n")
				r.decide(r.one(guard.Pending), true)
				m := <-got
				p.wantReply(id, replyUnknown, "")
				r.one(guard.Unknown)
				r.wantCompleted("write", audit.StatusUnknown)
				p.wantReply(p.write("scratch", "a.txt", "other\n"), replyDenied, guard.RuleUnknownOutcome)
				p.server.send(`{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, m.ID.Raw())
				p.quiet() // the client has been answered already
				if a := r.one(c.want); !a.Receipt.Reconciled {
					t.Errorf("the receipt is %+v", a.Receipt)
				}
				p.server.set(nil)
				p.wantDid(p.write("scratch", "a.txt", "other\n"), "scratch")
			})
		})
	}
}

func TestServerDeathWhileExecutingIsReadBack(t *testing.T) {
	for _, do := range []bool{true, false} {
		t.Run(fmt.Sprint("done ", do), func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.put("a.txt", "old\n")
				p := r.session("patient")
				got := p.silent("write", do)
				id := p.write("write", "a.txt", "new\n")
				held := p.write("write", "b.txt", "held\n")
				for _, a := range r.approvals(guard.Pending) {
					if a.Target() == "a.txt" {
						r.decide(a, true)
					}
				}
				<-got
				p.server.die()
				words := map[int]string{}
				for range 2 {
					m, err := jsonrpc.Admit([]byte(p.frame()), jsonrpc.Limits{})
					if err != nil {
						t.Fatal(err)
					}
					for _, i := range []int{id, held} {
						if m.ID == jsonrpc.IntID(int64(i)) {
							words[i] = string(m.Raw)
						}
					}
				}
				if !strings.Contains(words[id], replyUnknown) || !strings.Contains(words[held], replyCancelled) {
					t.Errorf("got %v", words)
				}
				p.end()
				want := guard.Failed
				if do {
					want = guard.Executed
				}
				if a := r.one(want); !a.Receipt.Reconciled {
					t.Errorf("the receipt is %+v", a.Receipt)
				}
				r.one(guard.Cancelled)
				if len(r.locks.claims) != 0 {
					t.Errorf("%d locks are left", len(r.locks.claims))
				}
			})
		})
	}
}

func TestRestartSettlesOpenIntents(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		got := p.silent("write", true)
		p.write("write", "a.txt", "new\n")
		r.decide(r.one(guard.Pending), true)
		m := <-got
		// A copy of the database now is what a killed daemon would leave.
		crashed := r.file("../crashed.db")
		copyFile(t, r.path, crashed)
		copyFile(t, r.path+".key", crashed+".key")
		copyFile(t, r.path+".journal", crashed+".journal")
		p.server.send(`{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, m.ID.Raw())
		p.end()
		r.stop()
		r.path = crashed
		r.locks = &Locks{}
		r.open()
		alive := true
		rec, err := Recover(context.Background(), RecoveryConfig{
			Store: r.store, Locks: r.locks, Clock: bubbleClock{}, Alive: func(guard.UpstreamRef) bool { return alive },
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(rec.open) != 1 {
			t.Fatalf("%d are open", len(rec.open))
		}
		if _, err := r.locks.Acquire(context.Background(), "call_x", "files", []guard.Target{file(r.file("a.txt"))}); !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("the target is free: %v", err)
		}
		alive = false
		rec.Run(context.Background())
		if a := r.one(guard.Executed); !a.Receipt.Reconciled {
			t.Errorf("the receipt is %+v", a.Receipt)
		}
		if len(r.locks.claims) != 0 {
			t.Errorf("%d locks are left", len(r.locks.claims))
		}
	})
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestInputRequiredIsReadBackAtOnce(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Method != "tools/call" {
				return false
			}
			f.send(`{"jsonrpc":"2.0","id":%s,"result":{"resultType":"input_required","inputRequests":{"q":{"method":"elicitation/create","params":{}}}}}`, m.ID.Raw())
			return true
		})
		id := p.write("write", "a.txt", "new\n")
		r.decide(r.one(guard.Pending), true)
		if got := string(p.answer(id).Raw); !strings.Contains(got, "input_required") {
			t.Errorf("got %s", got)
		}
		if a := r.one(guard.Failed); a.Receipt.ReadBack != guard.Untouched {
			t.Errorf("the receipt is %+v", a.Receipt)
		}
		// Its retry is a new call with a new decision.
		p.server.set(nil)
		p.write("write", "a.txt", "new\n")
		r.one(guard.Pending)
	})
}

func TestTaskKeepsItsIntentOpen(t *testing.T) {
	for name, c := range map[string]struct {
		result string
		end    func(*peer)
		do     bool
		want   guard.Status
	}{
		"legacy by polling": {`{"task":{"taskId":"t1","status":"working"}}`, func(p *peer) {
			p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
				f.send(`{"jsonrpc":"2.0","id":%s,"result":{"taskId":"t1","status":"completed"}}`, m.ID.Raw())
				return true
			})
			p.send(`{"jsonrpc":"2.0","id":"get","method":"tasks/get","params":{"taskId":"t1"}}`)
			p.frame()
		}, true, guard.Executed},
		"modern by notification": {`{"resultType":"task","taskId":"t1","status":"working"}`, func(p *peer) {
			p.server.send(`{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t1","status":"failed"}}`)
			p.frame()
		}, false, guard.Failed},
		"the session ends": {`{"resultType":"task","taskId":"t1","status":"working"}`, func(p *peer) { p.end() }, true, guard.Executed},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.put("a.txt", "old\n")
				p := r.session("patient")
				p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
					if m.Method != "tools/call" {
						return false
					}
					if c.do {
						doTool(m)
					}
					f.send(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID.Raw(), c.result)
					return true
				})
				id := p.write("write", "a.txt", "new\n")
				r.decide(r.one(guard.Pending), true)
				if m := p.answer(id); string(m.ResultRaw()) != c.result {
					t.Errorf("got %s", m.Raw)
				}
				time.Sleep(time.Hour)
				r.one(guard.Executing)
				c.end(p)
				r.one(c.want)
				if name != "the session ends" {
					p.end()
				}
			})
		})
	}
}

func TestDivergedWriteRaisesAnAlert(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Method != "tools/call" {
				return false
			}
			r.put("a.txt", "something else\n")
			f.send(`{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, m.ID.Raw())
			return true
		})
		id := p.write("write", "a.txt", "new\n")
		r.decide(r.one(guard.Pending), true)
		p.answer(id)
		if a := r.one(guard.Executed); a.Receipt.ReadBack != guard.Diverged {
			t.Errorf("the receipt is %+v", a.Receipt)
		}
		alerts, err := r.store.Alerts(false)
		kinds := map[string]guard.ApprovalID{}
		for _, a := range alerts {
			kinds[a.Kind] = a.Subject
		}
		if err != nil || kinds["diverged"] != r.one(guard.Executed).ID {
			t.Errorf("alerts: %+v, %v", alerts, err)
		}
	})
}

func TestOutputAndCallLimits(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.wantDid(p.call("capped", `{}`), "capped")
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Method != "tools/call" {
				return false
			}
			f.send(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"%s"}]}}`, m.ID.Raw(), strings.Repeat("x", 2000))
			return true
		})
		if w := p.wantReply(p.call("capped", `{}`), replyError, "limit_output"); !strings.Contains(w.Reason, "1024") {
			t.Errorf("got %+v", w)
		}
		synctest.Wait()
		p.wantReply(p.call("capped", `{}`), replyDenied, guard.RuleLimitCalls)
		r.wantCompleted("capped", audit.StatusOK, audit.StatusOK, audit.StatusDenied)
	})
}

func TestSecondSessionWaitsForTheLock(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p, q := r.session("patient"), r.session("patient")
		defer p.end()
		defer q.end()
		got := p.silent("scratch", true)
		first := p.write("scratch", "a.txt", "first\n")
		m := <-got
		second := q.write("scratch", "a.txt", "second\n")
		q.quiet()
		r.wantContent("a.txt", "first\n")
		p.server.send(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID.Raw(), doTool(m))
		p.wantDid(first, "scratch")
		q.wantDid(second, "scratch")
		r.wantContent("a.txt", "second\n")
	})
}
