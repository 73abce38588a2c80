package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// TestRetryCountsOnce: a retry that the guard asked for joins its approval even
// if the limit of calls is reached; any other call is refused.
func TestRetryCountsOnce(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(strings.Replace(testConfig, "write: {tier: T1_REVERSIBLE_WRITE,", "write: {tier: T1_REVERSIBLE_WRITE, limits: {calls_per_run: 1},", 1))
		p := r.session("hasty")
		defer p.end()
		for range 3 {
			p.wantReply(p.write("write", "a.txt", "x"), replyBlocked, "")
		}
		p.wantReply(p.write("write", "a.txt", "y"), replyDenied, guard.RuleLimitCalls)
		r.decide(r.one(guard.Pending), true)
		p.wantDid(p.write("write", "a.txt", "x"), "write")
		r.wantContent("a.txt", "x")
		if n := r.store.CallsInRun("local", "run_00000000000000000000000001", "files", "write"); n != 2 {
			t.Errorf("%d calls are counted, want the first and the refused one", n)
		}
		p.wantReply(p.write("write", "a.txt", "x"), replyDenied, guard.RuleLimitCalls)
		r.wantCompleted("write", audit.StatusBlocked, audit.StatusBlocked, audit.StatusBlocked, audit.StatusDenied, audit.StatusOK, audit.StatusDenied)
	})
}

// TestReadsHaveARateByDefault: if the policy sets no rate, a T0 tool can be
// called 1,000 times at once and is then refused until a thousandth of a minute
// has passed.
func TestReadsHaveARateByDefault(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "x")
		p := r.session("patient")
		defer p.end()
		read := func() int { return p.call("read", `{"path":"`+r.file("a.txt")+`"}`) }
		for range 1000 {
			p.wantDid(read(), "read")
		}
		p.wantReply(read(), replyDenied, guard.RuleLimitRate)
		time.Sleep(time.Minute / 1000)
		p.wantDid(read(), "read")
		p.wantReply(read(), replyDenied, guard.RuleLimitRate)
	})
}

// TestRetryOfAnotherChangeCounts: a call that would make another change by now
// is not a retry.
func TestRetryOfAnotherChangeCounts(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(strings.Replace(testConfig, "write: {tier: T1_REVERSIBLE_WRITE,", "write: {tier: T1_REVERSIBLE_WRITE, limits: {calls_per_run: 1},", 1))
		r.put("a.txt", "before")
		p := r.session("hasty")
		defer p.end()
		p.wantReply(p.write("write", "a.txt", "x"), replyBlocked, "")
		r.put("a.txt", "changed")
		p.wantReply(p.write("write", "a.txt", "x"), replyDenied, guard.RuleLimitCalls)
	})
}

// TestChangedRateKeepsWhatWasUsed: after the rate has changed, a wider one adds
// to what is left, and a tighter one limits it.
func TestChangedRateKeepsWhatWasUsed(t *testing.T) {
	key, start := toolKey{"t", "s", "x"}, time.Unix(1000, 0)
	enter := func(m *Meter, n int, per time.Duration, at time.Duration) bool {
		defer m.leave(key)
		return m.enter(key, n, per, start.Add(at)).rateOK
	}
	for name, c := range map[string]struct {
		n    int
		per  time.Duration
		at   time.Duration
		want int // calls that are admitted at that time
	}{
		"the same":       {2, time.Hour, 0, 0},
		"more":           {5, time.Hour, 0, 3},
		"more, later":    {5, time.Hour, 30 * time.Minute, 4},
		"faster":         {2, time.Minute, 30 * time.Second, 1},
		"more in less":   {10, time.Minute, 0, 8},
		"less":           {1, time.Hour, time.Hour, 1},
		"less, at once":  {1, time.Hour, 0, 0},
		"none":           {0, 0, 0, 20},
		"slower, at end": {2, 24 * time.Hour, time.Hour, 2},
	} {
		t.Run(name, func(t *testing.T) {
			m := &Meter{}
			for i := range 3 {
				if ok := enter(m, 2, time.Hour, 0); ok != (i < 2) {
					t.Fatalf("call %d passed: %v", i, ok)
				}
			}
			got := 0
			for got < 20 && enter(m, c.n, c.per, c.at) {
				got++
			}
			if got != c.want {
				t.Errorf("%d calls pass at %s of %s, want %d", got, fmt.Sprint(c.n, "/", c.per), c.at, c.want)
			}
		})
	}
}

func TestClientCannotHideItsCalls(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("")
		defer p.end()
		p.answer(p.request("initialize", `{"clientInfo":{"name":"mcpguard","version":"1"}}`))
		p.wantDid(p.call("look", `{}`), "look")
		for _, e := range r.events(audit.ToolCallCompleted) {
			if e.Origin.Client == audit.Own {
				t.Errorf("a client's call is recorded as the guard's: %+v", e.Origin)
			}
		}
	})
}
