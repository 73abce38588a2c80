package proxy

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// pausable makes sessions that are told of switches. now sets a switch that
// takes effect at once.
func (r *rig) pausable() (now func(scope string)) {
	changed := make(chan struct{}, 1)
	r.elsewhere = func(c *Config) { c.Changed = changed }
	return func(scope string) {
		r.Helper()
		if err := r.store.SetSwitch(context.Background(), guard.Switch{Scope: scope, Reason: "for the test", By: guard.Approver{User: "1000"}, Now: true}); err != nil {
			r.Fatal(err)
		}
		changed <- struct{}{}
		synctest.Wait()
	}
}

// unanswering makes the server leave calls of a tool, and requests of a
// method, unanswered. The returned function answers them.
func (p *peer) unanswering(name string) (answer func(result string)) {
	var ids []jsonrpc.ID
	p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
		if m.Method == name || toolCalled(&m) == name {
			ids = append(ids, m.ID)
			return true
		}
		return m.Kind == jsonrpc.Notification
	})
	return func(result string) {
		for _, id := range ids {
			p.server.send(`{"jsonrpc":"2.0","id":%s,"result":%s}`, id.Raw(), result)
		}
	}
}

func (p *peer) wantEnded() {
	p.Helper()
	synctest.Wait()
	select {
	case <-p.server.done:
	default:
		p.Error("the server still runs")
	}
	p.end()
}

// TestPauseNowEndsWhatIsUnderWay: a pause that takes effect at once ends calls
// in flight, waiting calls, other requests, and the server.
func TestPauseNowEndsWhatIsUnderWay(t *testing.T) {
	for _, scope := range []string{"", "files"} {
		inBubble(t, func(r *rig) {
			now := r.pausable()
			p := r.session("patient")
			p.unanswering("look")
			read := p.call("look", `{}`)
			held := p.write("write", "a.txt", "x")
			a := r.one(guard.Pending)
			before := time.Now()
			now(scope)
			got := map[string]bool{}
			for range 2 {
				m, err := jsonrpc.Admit([]byte(p.frame()), jsonrpc.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				got[m.ID.String()] = true
			}
			if !got[jsonrpc.IntID(int64(read)).String()] || !got[jsonrpc.IntID(int64(held)).String()] {
				t.Errorf("answered: %v", got)
			}
			if list := p.server.received("notifications/cancelled"); len(list) != 1 {
				t.Errorf("the server was told %v", list)
			}
			p.wantEnded()
			if d := time.Since(before); d > 0 {
				t.Errorf("it took %s", d)
			}
			if now, err := r.store.Approval(a.ID); err != nil || now.Status != guard.Cancelled || now.Why != errPaused.Error() {
				t.Errorf("the approval is %s (%s), %v", now.Status, now.Why, err)
			}
			r.wantCompleted("look", audit.StatusCancelled)
			r.wantCompleted("write", audit.StatusCancelled)
		})
	}
}

func TestPauseNowSaysWhy(t *testing.T) {
	inBubble(t, func(r *rig) {
		now := r.pausable()
		p := r.session("patient")
		p.unanswering("look")
		id := p.call("look", `{}`)
		synctest.Wait()
		now("")
		p.wantReply(id, replyDenied, guard.RuleSwitch)
		p.wantEnded()
	})
}

// TestPauseNowFinishesWrites: a change of files that has begun is finished,
// with its receipt, before the server ends.
func TestPauseNowFinishesWrites(t *testing.T) {
	inBubble(t, func(r *rig) {
		now := r.pausable()
		p := r.session("patient")
		answer := p.unanswering("scratch")
		id := p.write("scratch", "a.txt", "x")
		synctest.Wait()
		now("")
		p.quiet()
		if list := p.server.received("notifications/cancelled"); len(list) != 0 {
			t.Errorf("the server was told %v", list)
		}
		time.Sleep(20 * time.Second) // in the bubble: longer than an ending session would wait otherwise
		p.wantReply(p.call("look", `{}`), replyDenied, guard.RuleSwitch)
		r.put("a.txt", "x")
		answer(`{"content":[]}`)
		if m := p.answer(id); string(m.ResultRaw()) != `{"content":[]}` {
			t.Errorf("got %s", m.Raw)
		}
		p.wantEnded()
		r.wantCompleted("scratch", audit.StatusOK)
	})
}

// TestPauseNowEndsOtherExecutions: a change of anything but files is cancelled;
// its outcome is unknown if the server ends without an answer.
func TestPauseNowEndsOtherExecutions(t *testing.T) {
	inBubble(t, func(r *rig) {
		now := r.pausable()
		p := r.session("patient")
		p.unanswering("blackbox")
		id := p.call("blackbox", `{}`)
		r.decide(r.one(guard.Pending), true)
		synctest.Wait()
		now("")
		if list := p.server.received("notifications/cancelled"); len(list) != 1 {
			t.Errorf("the server was told %v", list)
		}
		p.wantReply(id, replyUnknown, "")
		p.wantEnded()
	})
}

// TestPauseNowOfOneTool: calls of other tools go on, and none of the paused
// tool runs.
func TestPauseNowOfOneTool(t *testing.T) {
	inBubble(t, func(r *rig) {
		now := r.pausable()
		p := r.session("patient")
		held := p.write("write", "a.txt", "x")
		p.call("blackbox", `{}`)
		synctest.Wait()
		now("files/write")
		p.wantReply(held, replyDenied, guard.RuleSwitch)
		if a := r.one(guard.Pending); a.Tool != "blackbox" {
			t.Errorf("%s waits", a.Tool)
		}
		p.wantDid(p.call("look", `{}`), "look")
		p.unanswering("tasks/get")
		r.decide(r.one(guard.Pending), false)
		p.wantReply(2, replyDenied, guard.RuleReviewer)
		task := p.request("tasks/get", `{"taskId":"t"}`)
		synctest.Wait()
		now("files")
		if rule := p.refused(task); rule != guard.RuleSwitch {
			t.Errorf("refused by %q", rule)
		}
		p.wantEnded()
	})
}

func TestPauseWithoutNowLetsCallsEnd(t *testing.T) {
	inBubble(t, func(r *rig) {
		changed := make(chan struct{}, 1)
		r.elsewhere = func(c *Config) { c.Changed = changed }
		p := r.session("patient")
		defer p.end()
		answer := p.unanswering("look")
		id := p.call("look", `{}`)
		synctest.Wait()
		r.pause("")
		changed <- struct{}{}
		p.quiet()
		answer(`{"content":[]}`)
		if m := p.answer(id); string(m.ResultRaw()) != `{"content":[]}` {
			t.Errorf("got %s", m.Raw)
		}
	})
}
