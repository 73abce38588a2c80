package proxy

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/redact"
	"github.com/mcpguard/mcpguard/internal/store"
)

// slowStore delays one kind of record that ends a call until gate is closed.
type slowStore struct {
	Store
	slow string
	gate chan struct{}
}

func (s slowStore) wait(what string) {
	if what == s.slow {
		<-s.gate
	}
}

func (s slowStore) CloseCallAsync(id guard.CallID, e audit.Event) {
	s.wait("read")
	s.Store.CloseCallAsync(id, e)
}

func (s slowStore) CloseCall(ctx context.Context, id guard.CallID, e audit.Event) error {
	s.wait("refusal")
	return s.Store.CloseCall(ctx, id, e)
}

func (s slowStore) Finish(ctx context.Context, r guard.Receipt, e audit.Event) (guard.Approval, error) {
	s.wait("execution")
	return s.Store.Finish(ctx, r, e)
}

// slowly makes the next sessions slow to record the end of a read, a refusal
// or an execution, until open is called.
func (r *rig) slowly(what string) (open func()) {
	gate := make(chan struct{})
	r.elsewhere = func(c *Config) { c.Store = slowStore{c.Store, what, gate} }
	return func() { close(gate) }
}

// oneAtATime allows one call of each tool in flight.
func oneAtATime(config string) string {
	config = strings.ReplaceAll(config, "look: {tier: T0_READ}", "look: {tier: T0_READ, limits: {concurrency: 1}}")
	config = strings.ReplaceAll(config, "scratch: {tier: T1_REVERSIBLE_WRITE,", "scratch: {tier: T1_REVERSIBLE_WRITE, limits: {concurrency: 1},")
	return strings.ReplaceAll(config, "\n      write: {tier: T1_REVERSIBLE_WRITE,", "\n      write: {tier: T1_REVERSIBLE_WRITE, limits: {concurrency: 1},")
}

// TestAnswerFreesItsSlot: an agent that has its answer may make the next call
// at once, even if only one call at a time is allowed.
func TestAnswerFreesItsSlot(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(strings.ReplaceAll(oneAtATime(testConfig), "concurrency: 1}", "concurrency: 1, rate: 10000/s}"))
		p := r.session("patient")
		defer p.end()
		for range 300 {
			p.wantDid(p.call("look", `{}`), "look")
			p.wantDid(p.write("scratch", "a", "text"), "scratch")
		}
	})
}

// TestReadFreesItsSlot: what is recorded after the answer does not occupy the
// slot for the next call.
func TestReadFreesItsSlot(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(oneAtATime(testConfig))
		open := r.slowly("read")
		p := r.session("patient")
		defer p.end()
		defer open()
		for range 3 {
			p.wantDid(p.call("look", `{}`), "look")
		}
	})
}

// TestCancelledCallFreesItsSlot: a client that cancels a waiting call may make
// it again at once.
func TestCancelledCallFreesItsSlot(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(oneAtATime(testConfig))
		open := r.slowly("refusal")
		p := r.session("patient")
		defer p.end()
		defer open()
		id := p.write("write", "a.txt", "new\n")
		r.one(guard.Pending)
		p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, id)
		p.write("write", "a.txt", "newer\n")
		r.one(guard.Cancelled)
		r.decide(r.one(guard.Pending), true)
		synctest.Wait()
		r.wantContent("a.txt", "newer\n")
		if got := r.meter.servers; len(got) != 0 {
			t.Errorf("places are taken: %v", got)
		}
	})
}

// TestTaskFreesItsSlot: a client that is told of the end of a task may begin
// the next one.
func TestTaskFreesItsSlot(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(oneAtATime(testConfig))
		open := r.slowly("execution")
		p := r.session("patient")
		defer p.end()
		defer open()
		task := 0
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			switch m.Method {
			case "tools/call":
				task++
				f.send(`{"jsonrpc":"2.0","id":%s,"result":{"resultType":"task","taskId":"t%d","status":"working"}}`, m.ID.Raw(), task)
			case "tasks/get":
				f.send(`{"jsonrpc":"2.0","id":%s,"result":{"taskId":"t%d","status":"completed","result":{"content":[]}}}`, m.ID.Raw(), task)
			default:
				return false
			}
			return true
		})
		for n := range 3 {
			if m := p.answer(p.write("scratch", fmt.Sprint("file", n), "new\n")); !strings.Contains(string(m.Raw), `"working"`) {
				t.Fatalf("got %s", m.Raw)
			}
			p.send(`{"jsonrpc":"2.0","id":"q%d","method":"tasks/get","params":{"taskId":"t%d"}}`, n, n+1)
			p.frame()
		}
	})
}

// A call that leaves before it has taken its slot takes none.
func TestSlotIsReleasedForGood(t *testing.T) {
	var m Meter
	var p slot
	k := toolKey{tool: "t"}
	p.leave()
	if r := p.enter(&m, k, limit{}, time.Unix(1, 0)); r.others != 0 || p.taken() || m.tools[k].inFlight != 0 || len(m.servers) != 0 {
		t.Errorf("a place was taken that had been left: %+v, %v", r, m.servers)
	}
	p = slot{}
	p.enter(&m, k, limit{}, time.Unix(1, 0))
	if !p.taken() || m.tools[k].inFlight != 1 {
		t.Error("no place was taken")
	}
	p.leave()
	p.leave()
	if p.taken() || m.tools[k].inFlight != 0 || len(m.servers) != 0 {
		t.Errorf("places are taken: %v, %v", m.tools[k], m.servers)
	}
}

// TestLastAnswerOfAnEndingServerCounts: the last answer of a server counts,
// even if the server has ended before it is read.
func TestLastAnswerOfAnEndingServerCounts(t *testing.T) {
	for range 20 {
		inBubble(t, func(r *rig) {
			p := r.session("patient")
			got := p.silent("blackbox", false)
			id := p.call("blackbox", `{}`)
			r.decide(r.one(guard.Pending), true)
			m := <-got
			p.wantReply(id, replyUnknown, "")
			r.one(guard.Unknown)
			p.server.send(`{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, m.ID.Raw())
			p.server.die()
			p.end()
			r.one(guard.Executed)
		})
	}
}

// TestCallArrivingAsItsSessionEndsIsCancelled: a call that asks for approval
// after the session has cancelled its pending calls is cancelled too.
func TestCallArrivingAsItsSessionEndsIsCancelled(t *testing.T) {
	inBubble(t, func(r *rig) {
		submit := make(chan struct{})
		r.elsewhere = func(c *Config) { c.Store = lateStore{c.Store, submit} }
		p := r.session("patient")
		p.write("write", "a.txt", "new\n")
		synctest.Wait() // about to submit
		p.in.Close()
		synctest.Wait() // the session has cancelled what was pending
		close(submit)
		r.one(guard.Cancelled)
		if err := <-p.served; err != nil {
			t.Error(err)
		}
		r.wantCompleted("write", audit.StatusCancelled)
		if got := r.desk.Rivals(); got != nil {
			t.Errorf("the desk still has %v", got)
		}
	})
}

// lateStore delays opening calls until gate is closed.
type lateStore struct {
	Store
	gate chan struct{}
}

func (s lateStore) OpenCall(ctx context.Context, c store.Call, events ...audit.Event) error {
	<-s.gate
	return s.Store.OpenCall(ctx, c, events...)
}

// TestPanicAfterBeginKeepsTheTargetLocked: a call that panics after its
// execution began keeps its target locked, and later calls on the target are
// refused with that reason.
func TestPanicAfterBeginKeepsTheTargetLocked(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.redactor = panicking{}
		p := r.session("patient")
		defer p.end()
		p.wantReply(p.write("scratch", "a.txt", "new\n"), replyError, guard.RulePreviewFailed)
		p.wantReply(p.write("scratch", "a.txt", "newer\n"), replyDenied, guard.RuleUnknownOutcome)
		r.wantContent("a.txt", "new\n")
	})
}

type panicking struct{}

func (panicking) JSON(b []byte) ([]byte, []redact.Finding, error) {
	if strings.Contains(string(b), "did scratch") {
		panic("an answer that nobody can read")
	}
	return b, nil, nil
}
