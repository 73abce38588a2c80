package proxy

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/store"
)

// postConfig lets write run first. Its limits are low.
var postConfig = strings.Replace(testConfig, "write: {tier: T1_REVERSIBLE_WRITE,",
	"write: {tier: T1_REVERSIBLE_WRITE, approval: {mode: post}, limits: {calls_per_run: 4, rate: 3/h},", 1)

func inPost(t *testing.T, f func(*rig, *peer)) {
	t.Helper()
	inBubble(t, func(r *rig) {
		r.setPolicy(postConfig)
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		f(r, p)
	})
}

// raised returns the unacknowledged alerts, except the one about the tool
// "moved".
func (r *rig) raised() []store.Alert {
	r.Helper()
	synctest.Wait()
	list, err := r.store.Alerts(false)
	if err != nil {
		r.Fatal(err)
	}
	return slices.DeleteFunc(list, func(a store.Alert) bool { return a.Kind == "tool_definition_changed" })
}

// alerts returns the kinds of those alerts.
func (r *rig) alerts() string {
	r.Helper()
	var out []string
	for _, a := range r.raised() {
		out = append(out, fmt.Sprintf("%s ×%d", a.Kind, a.Count))
	}
	return strings.Join(out, ", ")
}

// TestPostRunsAndIsShown: the call runs and is shown with its diff, its receipt
// and one alert; the log says that no one was asked.
func TestPostRunsAndIsShown(t *testing.T) {
	inPost(t, func(r *rig, p *peer) {
		p.wantDid(p.write("write", "a.txt", "new\n"), "write")
		a := r.one(guard.Executed)
		if !a.Post || a.Rule != guard.RulePost || len(a.Signoffs) != 0 || a.Receipt == nil || a.Receipt.ReadBack != guard.Verified ||
			!strings.Contains(a.Preview.Change.Text, "+new") || a.CallID == "" {
			t.Errorf("%+v", a)
		}
		if got := r.alerts(); got != "ran_unasked ×1" {
			t.Errorf("alerts: %s", got)
		}
		var seen []audit.Type
		for _, e := range r.events(audit.ToolCallRequested, audit.ToolCallAuthorized, audit.ApprovalRequested, audit.ApprovalDecided, audit.ToolCallCompleted) {
			if e.CallID != a.CallID {
				continue
			}
			seen = append(seen, e.Event)
			if e.Gates.RequiresApproval || e.Event != audit.ToolCallRequested && (e.Gates.ApprovalID != a.ID || e.Rule != guard.RulePost || e.DiffSHA256.IsZero()) {
				t.Errorf("%s: %+v by %s", e.Event, e.Gates, e.Rule)
			}
		}
		if fmt.Sprint(seen) != "[tool_call_requested tool_call_authorized tool_call_completed]" {
			t.Errorf("events: %v", seen)
		}
	})
}

// TestPostKeepsLimits: calls that run unasked count toward the limits too.
func TestPostKeepsLimits(t *testing.T) {
	inPost(t, func(r *rig, p *peer) {
		for i := range 3 {
			p.wantDid(p.write("write", "a.txt", fmt.Sprint(i)), "write")
		}
		p.wantReply(p.write("write", "a.txt", "too fast"), replyDenied, guard.RuleLimitRate)
		time.Sleep(time.Hour)
		p.wantReply(p.write("write", "a.txt", "too many"), replyDenied, guard.RuleLimitCalls)
		r.wantContent("a.txt", "2")
		if got := r.alerts(); got != "ran_unasked ×3" {
			t.Errorf("alerts: %s", got)
		}
	})
}

// TestPostWithAHazardAsksFirst: a call with a hazard, or outside of what may
// run unasked, waits for approval first.
func TestPostWithAHazardAsksFirst(t *testing.T) {
	inPost(t, func(r *rig, p *peer) {
		if err := os.WriteFile(r.file("run.sh"), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		p.write("write", "run.sh", "#!/bin/sh\nrm -rf x\n")
		a := r.one(guard.Pending)
		if a.Post || a.Rule != guard.RuleTierDefault {
			t.Errorf("an executable file: %+v", a)
		}
		r.decide(a, false)
		// A member beside the arguments is a hazard, so the call waits.
		p.answer(p.next)
		p.next++
		p.send(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"write","arguments":{"path":%q,"content":"x"},"_meta":{"vendor/confirmed":true}}}`, p.next, r.file("a.txt"))
		a = r.one(guard.Pending)
		if a.Post || !strings.Contains(fmt.Sprint(a.Preview.Hazards), "beside_arguments") {
			t.Errorf("more than arguments: %+v", a)
		}
		for _, e := range r.events(audit.ApprovalRequested) {
			if !e.Gates.RequiresApproval || e.Verdict != "ask" {
				t.Errorf("asked: %+v, %s", e.Gates, e.Verdict)
			}
		}
		r.decide(a, false)
		p.answer(p.next)
		r.wantContent("a.txt", "old\n")
	})
}

// TestDivergedPostRaisesALouderAlert: a call that did something else than shown
// raises a louder alert.
func TestDivergedPostRaisesALouderAlert(t *testing.T) {
	inPost(t, func(r *rig, p *peer) {
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Method != "tools/call" {
				return false
			}
			r.put("a.txt", "something else\n")
			f.send(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"did write"}]}}`, m.ID.Raw())
			return true
		})
		p.answer(p.write("write", "a.txt", "new\n"))
		a := r.one(guard.Executed)
		if a.Receipt.ReadBack != guard.Diverged {
			t.Errorf("%+v", a.Receipt)
		}
		if got := r.alerts(); got != "diverged ×0, ran_unasked ×1" {
			t.Errorf("alerts: %s", got)
		}
		if text := r.raised()[0].Text; !strings.Contains(text, "without asking") {
			t.Error(text)
		}
	})
}

// TestUnansweredPostKeepsItsTargetLocked: the target stays locked until the
// outcome is known, and the human is alerted either way.
func TestUnansweredPostKeepsItsTargetLocked(t *testing.T) {
	for _, done := range []bool{true, false} {
		inPost(t, func(r *rig, p *peer) {
			p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
				if m.Method != "tools/call" {
					return false
				}
				if done {
					doTool(m)
				}
				f.die()
				return true
			})
			id := p.write("write", "a.txt", "new\n")
			if w := p.reply(id); w.Status != replyUnknown {
				t.Errorf("%+v", w)
			}
			synctest.Wait()
			want := map[bool]guard.Status{true: guard.Executed, false: guard.Failed}[done]
			a := r.one(want)
			if !a.Post || !a.Receipt.Reconciled {
				t.Errorf("%+v", a)
			}
			list := r.raised()
			if len(list) != 1 || list[0].Kind != store.AlertRanUnasked || !strings.Contains(list[0].Text, "("+string(want)) {
				t.Errorf("alerts: %+v", list)
			}
		})
	}
}

// TestPostSurvivesTheDaemon: a call that ran when the daemon died is found,
// shown, and settled by the state of its target.
func TestPostSurvivesTheDaemon(t *testing.T) {
	inPost(t, func(r *rig, p *peer) {
		got := make(chan struct{})
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Method != "tools/call" {
				return false
			}
			doTool(m)
			close(got)
			return true
		})
		p.write("write", "a.txt", "new\n")
		<-got
		found := r.one(guard.Executing)
		out, err := r.store.Startup(context.Background()) // as the next daemon does
		if err != nil || len(out.Unknown) != 1 {
			t.Fatalf("%+v %v", out, err)
		}
		if a := r.one(guard.Unknown); a.ID != found.ID || !a.Post {
			t.Errorf("%+v", a)
		}
		rec, err := Recover(context.Background(), RecoveryConfig{Store: r.store, Locks: &Locks{}, Clock: bubbleClock{},
			Alive: func(guard.UpstreamRef) bool { return false }})
		if err != nil {
			t.Fatal(err)
		}
		rec.Run(context.Background())
		a := r.one(guard.Executed)
		if a.ID != found.ID || !a.Receipt.Reconciled || a.Receipt.ReadBack != guard.Verified {
			t.Errorf("%+v", a.Receipt)
		}
		if got := r.alerts(); got != "ran_unasked ×1" {
			t.Errorf("alerts: %s", got)
		}
		p.server.die()
	})
}
