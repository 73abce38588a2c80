package proxy

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/store"
)

// TestHeldBytesAreBounded: waiting calls take no more than the quota, a call
// beyond it is refused with that reason, and there is room again afterwards.
func TestHeldBytesAreBounded(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(testConfig + "quotas: {held: 1MiB}\n")
		p := r.session("patient")
		defer p.end()
		text := strings.Repeat("x\\n", 200<<10) // 600 KiB
		write := func(name string) int {
			return p.call("write", fmt.Sprintf(`{"path":%q,"content":"%s"}`, r.file(name), text))
		}
		first := write("a.txt")
		r.one(guard.Pending)
		w := p.wantReply(write("b.txt"), replyDenied, guard.RuleQuota)
		if !strings.Contains(w.Reason, "quotas.held") || !strings.Contains(w.Reason, "1 MiB") {
			t.Errorf("got %+v", w)
		}
		p.wantDid(p.call("look", `{}`), "look")
		r.decide(r.one(guard.Pending), false)
		p.wantReply(first, replyDenied, guard.RuleReviewer)
		write("b.txt")
		r.one(guard.Pending)
		r.wantCompleted("write", audit.StatusDenied, audit.StatusDenied)
	})
}

func TestHeldCallsOfAClientAreBounded(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(testConfig + "quotas: {held_calls: 2}\n")
		p, other := r.session("patient"), r.session("patient")
		defer p.end()
		defer other.end()
		first := p.write("write", "a.txt", "x")
		r.one(guard.Pending)
		other.write("write", "b.txt", "x")
		if n := len(r.approvals(guard.Pending)); n != 2 {
			t.Fatalf("%d approvals wait", n)
		}
		if w := p.wantReply(p.write("write", "c.txt", "x"), replyDenied, guard.RuleQuota); !strings.Contains(w.Reason, "quotas.held_calls") {
			t.Errorf("got %+v", w)
		}
		p.wantDid(p.write("scratch", "d.txt", "x"), "scratch") // it does not wait for approval
		p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, first)
		r.one(guard.Pending)
		p.write("write", "c.txt", "x")
		if n := len(r.approvals(guard.Pending)); n != 2 {
			t.Errorf("%d approvals wait", n)
		}
	})
}

// TestLongCallsWaitOutsideOfMemory: long calls take almost no memory while they
// wait, run with the bytes that came, and leave nothing on the disk.
func TestLongCallsWaitOutsideOfMemory(t *testing.T) {
	inBubble(t, func(r *rig) {
		spill := t.TempDir()
		r.elsewhere = func(c *Config) { c.Spill = spill }
		p := r.session("patient")
		defer p.end()
		const calls, size = 10, 1 << 20
		args := func(i int) string {
			return fmt.Sprintf(`{ "path":%q , "content":"%d%s"}`, r.file(fmt.Sprint(i, ".txt")), i, strings.Repeat(" x\\n", size/4))
		}
		heap := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		p.call("write", args(calls)) // a first call allocates what is allocated once
		r.one(guard.Pending)
		before := heap()
		for i := range calls {
			p.call("write", args(i))
		}
		synctest.Wait()
		waiting, err := r.store.Approvals(store.Filter{Status: []guard.Status{guard.Pending}})
		if err != nil || len(waiting) != calls+1 {
			t.Fatalf("%d approvals wait, %v", len(waiting), err)
		}
		p.server.mu.Lock()
		p.server.got = nil
		p.server.mu.Unlock()
		if grown := heap() - before; grown > calls*size/4 {
			t.Errorf("%d calls of %d bytes take %d bytes of memory", calls, size, grown)
		}
		if files, err := os.ReadDir(spill); err != nil || len(files) > 0 {
			t.Errorf("there are files with names: %v, %v", files, err)
		}
		last := slices.IndexFunc(waiting, func(a guard.Approval) bool { return a.Preview.Effects[0].Resource.Path == fmt.Sprint(calls-1, ".txt") })
		r.decide(waiting[last], true)
		synctest.Wait()
		if got := p.server.received("tools/call"); len(got) != 1 || !strings.Contains(got[0], args(calls-1)) {
			t.Errorf("the server was sent %d calls, or other bytes", len(got))
		}
		if r.content(fmt.Sprint(calls-1, ".txt")) != fmt.Sprint(calls-1)+strings.Repeat(" x\n", size/4) {
			t.Error("something else was written")
		}
	})
}

// TestLongCallThatWasChangedOnTheDiskDoesNotRun: a call runs only with the
// bytes that were admitted.
func TestLongCallThatWasChangedOnTheDiskDoesNotRun(t *testing.T) {
	inBubble(t, func(r *rig) {
		s := &session{cfg: Config{Spill: t.TempDir()}.withDefaults()}
		c := &call{}
		c.msg.Raw = []byte(strings.Repeat("x", longCall))
		c.room.bytes = longCall
		s.putAway(c)
		if c.away == nil || c.msg.Raw != nil {
			t.Fatal("it is still in memory")
		}
		if _, err := c.away.WriteAt([]byte("y"), 10); err != nil {
			t.Fatal(err)
		}
		if err := s.takeOut(c); err == nil || c.msg.Raw != nil {
			t.Errorf("it was read back: %v", err)
		}
	})
}
