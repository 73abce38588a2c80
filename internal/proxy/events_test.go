package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// All records of one call name the tool and its targets in the same way.
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

// The log keeps the hash of a sensitive read and none of its text, even if no
// redaction rule matches it.
func TestSensitiveReadLeavesItsHashAlone(t *testing.T) {
	const text = "the plain words of a letter"
	for _, c := range []struct {
		name, read string
		kept       bool
	}{
		{"plain", "read: {tier: T0_READ,", true},
		{"always", "read: {tier: T0_READ, sensitive: true,", false},
		{"by its path", "read: {tier: T0_READ, sensitive: [{when: secret_path(target.path)}],", false},
		{"asked for", "read: {tier: T0_READ, sensitive: true, approval: {required: true},", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.setPolicy(strings.Replace(testConfig, "read: {tier: T0_READ,", c.read, 1))
				r.put(".env", text)
				p := r.session("patient")
				defer p.end()
				p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
					if m.Method != "tools/call" {
						return false
					}
					f.send(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":%q}]}}`, m.ID.Raw(), text)
					return true
				})
				id := p.call("read", `{"path":".env"}`)
				if c.name == "asked for" {
					r.decide(r.one(guard.Pending), true)
				}
				m := p.answer(id)
				if !strings.Contains(string(m.Raw), text) {
					t.Errorf("the client got %s", m.Raw)
				}
				synctest.Wait()
				done := r.events(audit.ToolCallCompleted)
				if len(done) != 1 || done[0].Output.SHA256.IsZero() {
					t.Fatalf("records %+v", done)
				}
				if got := strings.Contains(done[0].Output.Redacted, text); got != c.kept || !c.kept && done[0].Output.Redacted != "" {
					t.Errorf("the log keeps %q", done[0].Output.Redacted)
				}
			})
		})
	}
}
