package proxy

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// The records of one call speak of the tool and of what it touches in one way.
func TestRecordsOfACallAgree(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Method != "initialize" {
				return false
			}
			f.send(`{"jsonrpc":"2.0","id":%s,"result":{"serverInfo":{"name":"files","version":"1.2.3"}}}`, m.ID.Raw())
			return true
		})
		p.send(`{"jsonrpc":"2.0","id":"init","method":"initialize","params":{}}`)
		p.frame()
		id := p.write("write", "a.txt", "new\n")
		a := r.one(guard.Pending)
		if a.ServerVersion != "1.2.3" {
			t.Errorf("the approval says version %q", a.ServerVersion)
		}
		r.decide(a, true)
		p.wantDid(id, "write")
		synctest.Wait()
		events := map[audit.Type]audit.Event{}
		for _, e := range r.events() {
			events[e.Event] = e
		}
		want := audit.Tool{Server: "files", Name: "write", Version: "1.2.3", DefinitionSHA256: a.Definition}
		for _, typ := range []audit.Type{audit.ToolCallRequested, audit.ApprovalRequested, audit.ApprovalDecided, audit.ToolCallAuthorized, audit.ToolCallCompleted} {
			if events[typ].Tool != want {
				t.Errorf("%s is about %+v, want %+v", typ, events[typ].Tool, want)
			}
		}
		for _, typ := range []audit.Type{audit.ApprovalRequested, audit.ApprovalDecided, audit.ToolCallCompleted} {
			if got := fmt.Sprint(events[typ].Receipts); got != "[{file a.txt}]" {
				t.Errorf("%s has the receipts %s", typ, got)
			}
		}
	})
}
