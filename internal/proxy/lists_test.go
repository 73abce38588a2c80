package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// paged lists the tools on two pages, with "look" on the first. It calls
// during between the two pages, the first n times.
func paged(p *peer, n int, during func()) {
	p.server.list = func(cursor string) string {
		if cursor == "" {
			return strings.Replace(listOf("look", "read"), `"ttlMs":5`, `"nextCursor":"2"`, 1)
		}
		if n > 0 {
			n--
			during()
		}
		return listOf("write", "edit")
	}
}

// TestListThatChangesWhileItIsReadIsReadAgain: a list that changes between two
// of its pages does not make a tool count as changed.
func TestListThatChangesWhileItIsReadIsReadAgain(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		paged(p, 2, func() { p.server.send(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`) })
		p.wantDid(p.call("look", `{}`), "look")
		if n := len(p.server.received("tools/list")); n != 4 {
			t.Errorf("the guard asked for %d pages, want two times two", n)
		}
	})
}

func TestListThatAlwaysChangesIsNotUsed(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		paged(p, 1000, func() { p.server.send(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`) })
		steady, n := p.server.list, 0
		p.server.list = func(cursor string) string {
			n++
			return strings.Replace(steady(cursor), `"name":"edit"`, fmt.Sprintf(`"name":"edit%d"`, n), 1)
		}
		p.wantReply(p.call("look", `{}`), replyDenied, guard.RulePinMissing)
	})
}

// TestServerThatAlwaysReportsAChangedListIsUsed: the list is used because it is
// the same each time.
func TestServerThatAlwaysReportsAChangedListIsUsed(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		paged(p, 1000, func() { p.server.send(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`) })
		p.wantDid(p.call("look", `{}`), "look")
	})
}

// TestRefusalTellsUnlistedFromChangedTools: a tool that the server does not
// list, or lists twice, gets another reason than one whose definition changed.
func TestRefusalTellsUnlistedFromChangedTools(t *testing.T) {
	for name, names := range map[string][]string{"not there": {"read"}, "twice": {"look", "read", "look"}} {
		inBubble(t, func(r *rig) {
			p := r.session("patient")
			defer p.end()
			p.server.list = func(string) string { return listOf(names...) }
			if w := p.wantReply(p.call("look", `{}`), replyDenied, guard.RuleUnlisted); !strings.Contains(w.Reason, "the server's list does not have this tool") {
				t.Errorf("%s: got %+v", name, w)
			}
		})
	}
	inBubble(t, func(r *rig) { // on two pages
		p := r.session("patient")
		defer p.end()
		paged(p, 0, nil)
		first := p.server.list
		p.server.list = func(cursor string) string { return strings.Replace(first(cursor), `"name":"edit"`, `"name":"look"`, 1) }
		p.wantReply(p.call("look", `{}`), replyDenied, guard.RuleUnlisted)
	})
}

func TestAlertNamesTheTool(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		if m := p.answer(p.request("tools/list", `{}`)); m.Kind != jsonrpc.Response {
			t.Fatal("no list")
		}
		synctest.Wait()
		list, err := r.store.Alerts(false)
		if err != nil || len(list) != 1 || !strings.Contains(list[0].Text, "files/moved") {
			t.Errorf("alerts are %+v, %v", list, err)
		}
	})
}
