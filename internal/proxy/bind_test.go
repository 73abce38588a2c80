package proxy

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// Servers may act on metadata that the protocol does not define, so an
// approval covers it. Metadata of the protocol differs between retries of one
// call.
func TestPromise2_MetadataThatAServerMayActOnIsBound(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		for i, meta := range []string{
			`{"progressToken":1,"claudecode/toolUseId":"a","traceparent":"x"}`,
			`{"progressToken":2,"claudecode/toolUseId":"b","traceparent":"y"}`,
			`{"shop/path":"/etc/passwd"}`,
			`{"shop/path":"/etc/shadow"}`,
		} {
			p.send(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"blackbox","arguments":{"content":"x"},"_meta":%s}}`, i, meta)
			synctest.Wait()
		}
		pending := r.approvals(guard.Pending)
		if len(pending) != 3 {
			t.Fatalf("%d are pending, want 3: the first two are one call, the others are not", len(pending))
		}
		marked := 0
		for _, a := range pending {
			if strings.Contains(fmt.Sprint(a.Preview.Hazards), "beside_arguments") {
				marked++
			}
		}
		if marked != 2 {
			t.Errorf("%d are marked, want those that carry metadata of their own", marked)
		}
	})
}

// The effect of one set of arguments depends on the folder in which the server
// runs.
func TestPromise2_AnApprovalIsForOneFolder(t *testing.T) {
	for _, where := range []string{"folder", "roots"} {
		t.Run(where, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				first := r.session("patient")
				defer first.end()
				first.call("blackbox", `{"content":"x"}`)
				a := r.one(guard.Pending)
				r.elsewhere = func(c *Config) {
					if where == "folder" {
						c.Session.Origin.Folder = "/elsewhere"
					} else {
						c.Roots = append(c.Roots, t.TempDir())
					}
				}
				second := r.session("patient")
				defer second.end()
				second.call("blackbox", `{"content":"x"}`)
				if n := len(r.approvals(guard.Pending)); n != 2 {
					t.Fatalf("%d are pending: a call in another place joined", n)
				}
				r.decide(a, true)
				synctest.Wait()
				if got := second.server.received("tools/call"); len(got) != 0 {
					t.Errorf("the second server was sent %v", got)
				}
				if got := first.server.received("tools/call"); len(got) != 1 {
					t.Errorf("the first server was sent %v", got)
				}
			})
		})
	}
}

// A write that needs no approval still locks what it writes, even if a link
// changes its target while the call waits for the lock.
func TestPromise2_AnUnapprovedWriteLocksWhatItWrites(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "a\n")
		r.put("b.txt", "b\n")
		point := func(to string) {
			_ = os.Remove(r.file("link.txt")) // it does not exist the first time
			if err := os.Symlink(to, r.file("link.txt")); err != nil {
				t.Fatal(err)
			}
		}
		hold := func(name string) *Lock {
			h, err := r.locks.Acquire(context.Background(), guard.NewCallID(), "files", []guard.Target{{Kind: "file", Key: r.file(name), Write: true}})
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		point("a.txt")
		a, b := hold("a.txt"), hold("b.txt")
		p := r.session("patient")
		defer p.end()
		id := p.write("scratch", "link.txt", "new\n")
		p.quiet()
		point("b.txt")
		a.Release()
		p.quiet()
		if got := p.server.received("tools/call"); len(got) != 0 {
			t.Fatalf("the server was sent %v while another call had the target", got)
		}
		b.Release()
		p.wantDid(id, "scratch")
		if got := r.content("a.txt"); got != "a\n" {
			t.Errorf("a.txt holds %q", got)
		}
	})
}

func TestFloodsAreRefused(t *testing.T) {
	inBubble(t, func(r *rig) {
		p := r.session("patient")
		defer p.end()
		p.server.set(func(*fakeServer, jsonrpc.Message) bool { return true }) // answers nothing
		for i := range maxInFlight {
			p.send(`{"jsonrpc":"2.0","id":%d,"method":"ping"}`, i)
		}
		p.quiet()
		p.send(`{"jsonrpc":"2.0","id":"more","method":"ping"}`)
		if got := p.frame(); !strings.Contains(got, "too many requests") {
			t.Errorf("got %s", got)
		}
		for i := range maxAsked + 1 {
			p.server.send(`{"jsonrpc":"2.0","id":%d,"method":"elicitation/create","params":{}}`, i)
		}
		for range maxAsked {
			p.frame()
		}
		p.quiet()
		p.server.mu.Lock()
		defer p.server.mu.Unlock()
		if last := p.server.got[len(p.server.got)-1]; !strings.Contains(last, "too many requests") {
			t.Errorf("the server was told %s", last)
		}
	})
}

// A server may not use a task to ask the client for what it may not ask
// directly.
func TestPromise1_ATaskDoesNotAskForWhatIsNotAllowed(t *testing.T) {
	const questions = `"taskId":"t1","status":"input_required","inputRequests":{"q":{"method":"sampling/createMessage","params":{}}}`
	for name, result := range map[string]string{"task": `{` + questions + `}`, "member": `{"task":{` + questions + `}}`} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				p := r.session("patient")
				defer p.end()
				p.server.set(func(f *fakeServer, m jsonrpc.Message) bool {
					f.send(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID.Raw(), result)
					return true
				})
				p.send(`{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t1"}}`)
				if got := p.frame(); !strings.Contains(got, `"error"`) || strings.Contains(got, "sampling") {
					t.Errorf("got %s", got)
				}
				p.server.send(`{"jsonrpc":"2.0","method":"notifications/tasks/status","params":%s}`, result)
				p.quiet()
			})
		})
	}
}
