package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/store"
)

func TestPromise4_NoIntentNoCall(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		p.server.set(func(_ *fakeServer, m jsonrpc.Message) bool {
			if m.Method == "tools/call" {
				if open, err := r.store.OpenIntents(); err != nil || len(open) != 1 {
					t.Errorf("a write reached the server with %d intents on record (%v)", len(open), err)
				}
			}
			return false
		})
		p.wantDid(p.write("scratch", "a.txt", "new\n"), "scratch")
		p.end()
		if open, _ := r.store.OpenIntents(); len(open) != 0 {
			t.Errorf("%d intents are open", len(open))
		}
		var order []audit.Type
		for _, e := range r.events(audit.ToolCallRequested, audit.ToolCallAuthorized, audit.ToolCallCompleted) {
			order = append(order, e.Event)
		}
		if fmt.Sprint(order) != "[tool_call_requested tool_call_authorized tool_call_completed]" {
			t.Errorf("recorded: %v", order)
		}
	})
}

func TestPromise4_AReadIsOnRecordBeforeItsAnswer(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		id := p.call("look", `{}`)
		p.answer(id)
		found := 0
		for _, e := range r.events(audit.ToolCallRequested, audit.ToolCallAuthorized) {
			if e.Tool.Name == "look" {
				found++
			}
		}
		if found != 2 {
			t.Errorf("%d records", found)
		}
		synctest.Wait()
		r.wantCompleted("look", audit.StatusOK)
	})
}

// TestPromise4_AFailingDiskStopsWrites makes the store fail at each commit of a
// write in turn. The server never sees a write without a durable intent, and a
// write whose receipt cannot be stored leaves its target locked.
func TestPromise4_AFailingDiskStopsWrites(t *testing.T) {
	for _, c := range []struct {
		name    string
		at      int // number of the commit, counted from when the call came in
		reached bool
	}{{"the request", 1, false}, {"the intent", 2, false}, {"the receipt", 3, true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &rig{TB: t}
				var n atomic.Int64
				armed := atomic.Bool{}
				r.hook = func(p store.Point) error {
					if p == store.PointBeforeCommit && armed.Load() && n.Add(1) >= int64(c.at) {
						return errors.New("disk full")
					}
					return nil
				}
				r.setup()
				defer r.stop()
				r.put("a.txt", "old\n")
				p := r.session("patient")
				p.send(`{"jsonrpc":"2.0","id":"list","method":"tools/list"}`)
				p.frame()
				r.events()
				armed.Store(true)
				w := p.reply(p.write("scratch", "a.txt", "new\n"))
				if w.Rule != guard.RuleStoreFailed {
					t.Errorf("got %+v", w)
				}
				armed.Store(false)
				if got := len(p.server.received("tools/call")) == 1; got != c.reached {
					t.Errorf("the server was reached: %v", got)
				}
				if !c.reached {
					r.wantContent("a.txt", "old\n")
				} else if _, err := r.locks.Acquire(context.Background(), "call_x", "files", []guard.Target{file(r.file("a.txt"))}); !errors.Is(err, ErrUnknownOutcome) {
					t.Errorf("the target is free: %v", err)
				}
				if c.reached { // once the disk works, the outcome is recorded and the target free
					time.Sleep(time.Minute)
					r.wantCompleted("scratch", audit.StatusOK)
					p.wantDid(p.write("scratch", "a.txt", "newer\n"), "scratch")
				}
				p.end()
			})
		})
	}
}

func TestPromise4_AReadThatCannotBeRecordedHasNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{TB: t}
		armed := atomic.Bool{}
		r.hook = func(p store.Point) error {
			if p == store.PointBeforeCommit && armed.Load() {
				return errors.New("disk full")
			}
			return nil
		}
		r.setup()
		defer r.stop()
		p := r.session("patient")
		armed.Store(true)
		p.wantReply(p.call("look", `{}`), replyDenied, guard.RuleStoreFailed)
		p.quiet()
		armed.Store(false)
		p.end()
	})
}
