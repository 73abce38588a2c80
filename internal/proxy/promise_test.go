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
)

func TestPromise1_OnlyAcceptedToolsAreListed(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.send(`{"jsonrpc":"2.0","id":7,"method":"tools/list"}`)
		got := p.frame()
		want := `{"jsonrpc":"2.0","id":7,"result":` + listOf("read", "look", "write", "edit", "scratch", "blackbox", "capped") + `}`
		if strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		for _, name := range []string{"read", "capped"} {
			if !strings.Contains(got, definitionOf(name)) {
				t.Errorf("the bytes of %s were changed", name)
			}
		}
		// Every missing tool has a reason: "moved" waits, no policy names
		// "extra", and "wipe" is NEVER.
		if want := "1 tool of files waits for acceptance: mcpguardd accept files; 1 more not named by the policy; 1 more closed by the policy"; len(p.notes) != 1 || p.notes[0] != want {
			t.Errorf("the developer was told %q, want %q", p.notes, want)
		}
		if ev := r.events(audit.ToolDefinitionChanged); len(ev) != 1 || ev[0].Tool.Name != "moved" {
			t.Errorf("recorded: %v", ev)
		}
	})
}

func TestPromise1_WhatNoPolicyNamesIsNotCallable(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		for _, c := range []struct {
			tool, args string
			rule       guard.Rule
		}{
			{"extra", `{}`, guard.RuleNotListed},
			{"Write", `{}`, guard.RuleNotListed},
			{"wipe", `{}`, guard.RuleNever},
			{"moved", `{}`, guard.RulePinChanged},
			{"read", `{"path":"/etc/passwd"}`, guard.RulePath},
			{"write", `{"path":"/etc/passwd","content":"x"}`, guard.RulePath},
			{"write", `{"path":"` + r.file("a") + `","content":"x","more":1}`, guard.RuleSchema},
			{"edit", `{"path":"` + r.file("a") + `"}`, guard.RulePreviewFailed},
			{"edit", `{"path":"` + r.file("missing") + `","old":"a","new":"b"}`, guard.RulePreviewFailed},
			{"write", `[]`, guard.RuleSchema},
		} {
			w := p.reply(p.call(c.tool, c.args))
			if w.Status != replyDenied || w.Rule != c.rule {
				t.Errorf("%s %s: got %+v, want %s", c.tool, c.args, w, c.rule)
			}
		}
		if got := p.server.received("tools/call"); len(got) != 0 {
			t.Errorf("the server was sent %v", got)
		}
		if got := r.approvals(guard.Pending); len(got) != 0 {
			t.Errorf("%d approvals are pending", len(got))
		}
		r.wantCompleted("extra", audit.StatusDenied)
		r.wantCompleted("wipe", audit.StatusDenied)
	})
}

func TestPromise1_ACallWithoutAnIDGoesNowhere(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.send(`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"write","arguments":{"path":%q,"content":"x"}}}`, r.file("a.txt"))
		p.send(`{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}`)
		if got := p.frame(); !strings.Contains(got, `"error"`) {
			t.Errorf("got %s", got)
		}
		p.server.send(`{"jsonrpc":"2.0","method":"sampling/createMessage","params":{}}`)
		p.quiet()
		p.server.mu.Lock()
		defer p.server.mu.Unlock()
		if len(p.server.got) != 0 {
			t.Errorf("the server was sent %v", p.server.got)
		}
	})
}

func TestPromise2_WhatStandsBesideTheArgumentsIsBoundToo(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		for i, extra := range []string{``, `,"inputResponses":{"q":{"action":"accept"}}`, `,"inputResponses":{"q":{"action":"decline"}}`} {
			p.send(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"blackbox","arguments":{"content":"x"}%s}}`, i, extra)
		}
		pending := r.approvals(guard.Pending)
		if len(pending) != 3 {
			t.Fatalf("%d are pending: they joined", len(pending))
		}
		marked := 0
		for _, a := range pending {
			if strings.Contains(fmt.Sprint(a.Preview.Hazards), "beside_arguments") {
				marked++
			}
		}
		if marked != 2 {
			t.Errorf("%d are marked, want those that carry more", marked)
		}
	})
}

func TestPromise2_AWriteWaitsAndRunsOnceAsApproved(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		id := p.write("write", "a.txt", "new\n")
		a := r.one(guard.Pending)
		r.wantContent("a.txt", "old\n")
		if !strings.Contains(a.Preview.Change.Text, "-old\n+new\n") {
			t.Errorf("the diff is %q", a.Preview.Change.Text)
		}
		p.quiet()
		// Other traffic goes on while it is held.
		p.send(`{"jsonrpc":"2.0","id":"ping-1","method":"ping"}`)
		if got := p.frame(); got != `{"jsonrpc":"2.0","id":"ping-1","result":{"echo":"ping"}}` {
			t.Errorf("ping: %s", got)
		}
		p.next++
		p.wantDid(p.call("look", `{}`), "look")
		r.decide(a, true)
		p.wantDid(id, "write")
		r.wantContent("a.txt", "new\n")
		done := r.one(guard.Executed)
		if done.Receipt == nil || done.Receipt.ReadBack != guard.Verified {
			t.Errorf("the receipt is %+v", done.Receipt)
		}
		r.wantCompleted("write", audit.StatusOK)
		if got := p.server.received("tools/call"); got[len(got)-1] != fmt.Sprintf(
			`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"write","arguments":{"path":%q,"content":"new\n"}}}`, id, r.file("a.txt")) {
			t.Errorf("the server was sent %s", got)
		}
	})
}

func TestPromise2_AMovedTargetAsksAgain(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		id := p.write("write", "a.txt", "new\n")
		for round := range guard.MaxStaleRounds {
			a := r.one(guard.Pending)
			if a.Round != round {
				t.Errorf("round %d, want %d", a.Round, round)
			}
			r.put("a.txt", fmt.Sprintf("moved %d\n", round))
			r.decide(a, true)
			synctest.Wait()
			r.wantContent("a.txt", fmt.Sprintf("moved %d\n", round))
		}
		p.wantReply(id, replyStale, guard.RuleStaleRounds)
		if got := r.approvals(guard.Stale); len(got) != guard.MaxStaleRounds {
			t.Errorf("%d are stale", len(got))
		}
		r.wantCompleted("write", audit.StatusDenied)
	})
}

func TestPromise2_TwoEditsApprovedTogether(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "one\ntwo\n")
		p := r.session("patient")
		defer p.end()
		first := p.call("edit", fmt.Sprintf(`{"path":%q,"old":"one","new":"ONE"}`, r.file("a.txt")))
		second := p.call("edit", fmt.Sprintf(`{"path":%q,"old":"two","new":"TWO"}`, r.file("a.txt")))
		pending := r.approvals(guard.Pending)
		if len(pending) != 2 {
			t.Fatalf("%d are pending", len(pending))
		}
		r.decide(pending[0], true)
		r.decide(pending[1], true)
		fresh := r.one(guard.Pending) // the target of the second one has changed
		if r.one(guard.Executed).ID == r.one(guard.Stale).ID || fresh.Replaces != r.one(guard.Stale).ID {
			t.Error("the approvals are mixed up")
		}
		r.decide(fresh, true)
		for range 2 {
			m, err := jsonrpc.Admit([]byte(p.frame()), jsonrpc.Limits{})
			if err != nil || m.ID != jsonrpc.IntID(int64(first)) && m.ID != jsonrpc.IntID(int64(second)) {
				t.Errorf("got %s", m.Raw)
			}
		}
		r.wantContent("a.txt", "ONE\nTWO\n")
	})
}

func TestPromise2_APolicyThatChangedAsksAgain(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		id := p.write("write", "a.txt", "new\n")
		a := r.one(guard.Pending)
		r.setPolicy(strings.Replace(testConfig, "write: {tier: T1_REVERSIBLE_WRITE, ", "write: {tier: T1_REVERSIBLE_WRITE, limits: {calls_per_run: 9}, ", 1))
		r.decide(a, true)
		fresh := r.one(guard.Pending)
		if fresh.Replaces != a.ID || fresh.Digest == a.Digest {
			t.Errorf("%s replaces %s", fresh.ID, fresh.Replaces)
		}
		r.setPolicy(strings.Replace(testConfig, "write: {tier: T1_REVERSIBLE_WRITE, ", "write: {tier: NEVER, ", 1))
		r.decide(fresh, true)
		p.wantReply(id, replyDenied, guard.RuleNever)
		r.wantContent("a.txt", "old\n")
	})
}

func TestPromise2_AKillSwitchStopsWhatIsApproved(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		id := p.write("write", "a.txt", "new\n")
		a := r.one(guard.Pending)
		if err := r.store.SetSwitch(context.Background(), guard.Switch{Scope: "files/write", Reason: "stop it", By: guard.Approver{User: "1000"}, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		r.decide(a, true)
		p.wantReply(id, replyDenied, guard.RuleSwitch)
		r.wantContent("a.txt", "old\n")
		r.one(guard.Stale)
	})
}

func TestPromise3_ARetryJoinsAndOneApprovalRunsOnce(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("hasty")
		defer p.end()
		began := time.Now()
		w := p.wantReply(p.write("write", "a.txt", "new\n"), replyBlocked, "")
		if waited := time.Since(began); waited != 50*time.Second {
			t.Errorf("answered after %s", waited)
		}
		a := r.one(guard.Pending)
		if w.ApprovalID != a.ID || w.ExpiresAt != a.Expires.Wall.UTC().Format(time.RFC3339) {
			t.Errorf("got %+v", w)
		}
		r.decide(a, true)
		p.wantDid(p.write("write", "a.txt", "new\n"), "write")
		r.wantContent("a.txt", "new\n")
		if got := r.one(guard.Executed); got.ID != a.ID {
			t.Errorf("%s was executed, want %s", got.ID, a.ID)
		}
		// Another call is a new question.
		r.put("a.txt", "old\n")
		p.write("write", "a.txt", "new\n")
		if again := r.one(guard.Pending); again.ID == a.ID {
			t.Error("the approval was used twice")
		}
		r.wantContent("a.txt", "old\n")
	})
}

func TestPromise3_TheNewestIdenticalCallExecutes(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		first := p.write("write", "a.txt", "new\n")
		a := r.one(guard.Pending)
		second := p.write("write", "a.txt", "new\n")
		if w := p.reply(first); w.Status != replySuperseded || w.Reason != "continued by a later call" {
			t.Errorf("got %+v", w)
		}
		r.decide(a, true)
		p.wantDid(second, "write")
		if got := p.server.received("tools/call"); len(got) != 1 {
			t.Errorf("the server was sent %v", got)
		}
		r.wantCompleted("write", audit.StatusCancelled, audit.StatusOK)
	})
}

func TestPromise8_SecretsAreTakenOutOfAnswers(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		const token = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Method != "tools/call" {
				return false
			}
			f.send(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"x %s y"}],"k":  1.50}}`, m.ID.Raw(), token)
			return true
		})
		got := string(p.answer(p.call("look", `{}`)).Raw)
		if strings.Contains(got, token) || !strings.Contains(got, "[REDACTED:") || !strings.Contains(got, `,"k":  1.50}}`) {
			t.Errorf("got %s", got)
		}
		// What the guard removed must not be written back.
		text := got[strings.Index(got, "[REDACTED:"):]
		text = text[:strings.Index(text, "]")+1]
		r.put("a.txt", "x "+token+" y\n")
		p.wantReply(p.write("write", "a.txt", text), replyDenied, guard.RuleRedactionMarker)
		for _, e := range r.events() {
			if raw, _ := e.Encode(); strings.Contains(string(raw), token) {
				t.Errorf("the log holds the secret: %s", raw)
			}
		}
	})
}

func TestPromise8_SecretsAreTakenOutOfWhatPasses(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		const token = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
		p.server.send(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x %s y",  "n":1.0}}`, token)
		if got := p.frame(); got != `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x [REDACTED:github_token] y",  "n":1.0}}` {
			t.Errorf("got %s", got)
		}
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			f.send(`{"jsonrpc":"2.0","id":%s,"result":{"completion":{"values":["%s"]}}}`, m.ID.Raw(), token)
			return true
		})
		p.send(`{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{}}`)
		if got := p.frame(); strings.Contains(got, token) || !strings.Contains(got, "[REDACTED:") {
			t.Errorf("got %s", got)
		}
	})
}

// Names that an agent gives to tools or methods must not fill the disk.
func TestNamesAreBoundedInTheLog(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		long := strings.Repeat("é", 1<<20)
		p.wantReply(p.call(long, `{}`), replyDenied, guard.RuleNotListed)
		p.send(`{"jsonrpc":"2.0","id":"m","method":%q}`, long)
		p.frame()
		for _, e := range r.events() {
			if raw, _ := e.Encode(); len(raw) > 4096 {
				t.Errorf("a record has %d bytes", len(raw))
			}
		}
	})
}

func TestPromise2_AToolThatChangedWhileItWaitedDoesNotRun(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "old\n")
		p := r.session("patient")
		defer p.end()
		id := p.write("write", "a.txt", "new\n")
		a := r.one(guard.Pending)
		p.server.mu.Lock()
		p.server.list = func(string) string {
			return strings.Replace(listOf(toolNames...), "does write", "does more than write", 1)
		}
		p.server.mu.Unlock()
		p.server.send(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		p.frame()
		r.decide(a, true)
		p.wantReply(id, replyDenied, guard.RulePinChanged)
		r.wantContent("a.txt", "old\n")
		r.one(guard.Stale)
	})
}

func TestMissingToolsAreReported(t *testing.T) {
	for _, c := range []struct {
		missing
		want string
	}{
		{missing{1, 0, 0}, "1 tool of github waits for acceptance: mcpguardd accept github"},
		{missing{2, 0, 0}, "2 tools of github wait for acceptance: mcpguardd accept github"},
		{missing{2, 0, 3}, "2 tools of github wait for acceptance: mcpguardd accept github; 3 more closed by the policy"},
		{missing{0, 0, 1}, "1 tool of github is closed by the policy"},
		{missing{0, 0, 2}, "2 tools of github are closed by the policy"},
		{missing{0, 1, 0}, "1 tool of github is not named by the policy: mcpguardd accept github lists what there is"},
		{missing{0, 5, 1}, "5 tools of github are not named by the policy: mcpguardd accept github lists what there is; 1 more closed by the policy"},
		{missing{1, 5, 1}, "1 tool of github waits for acceptance: mcpguardd accept github; 5 more not named by the policy; 1 more closed by the policy"},
	} {
		if got := c.say("github"); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.missing, got, c.want)
		}
	}
}
