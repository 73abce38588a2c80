package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// withSubscriptions makes a server that also takes subscriptions, but not to one
// resource.
func withSubscriptions(refused string) *fakeServer {
	f := answersInitialize("v1")
	opens := f.handle
	f.set(func(f *fakeServer, m jsonrpc.Message) bool {
		switch m.Method {
		case "logging/setLevel", "resources/subscribe", "resources/unsubscribe":
			if refused != "" && strings.Contains(string(m.Raw), refused) {
				f.send(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32002,"message":"no such resource"}}`, m.ID.Raw())
			} else {
				f.send(`{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID.Raw())
			}
			return true
		}
		return opens(f, m)
	})
	return f
}

// TestSubscriptionsOutliveARestart: the log level and the subscriptions that a
// server accepted and the client did not take back are left to the next daemon,
// which repeats them to the new server. The client gets no second answer.
func TestSubscriptionsOutliveARestart(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(openConfig)
		l := r.sessionToLeave(nil, withSubscriptions("demo://refused"))
		l.send(opensWith)
		l.answer(1)
		l.send(initialized)
		l.next = 1
		for _, ask := range [][2]string{
			{"resources/subscribe", `{"uri":"demo://a"}`}, {"logging/setLevel", `{"level":"info"}`}, {"resources/subscribe", `{"uri":"demo://b"}`},
			{"resources/subscribe", `{"uri":"demo://refused"}`}, {"logging/setLevel", `{"level":"debug"}`}, {"resources/unsubscribe", `{"uri":"demo://a"}`},
		} {
			l.answer(l.request(ask[0], ask[1]))
		}
		left := l.goes()
		if len(left) != 1 || len(left[0].Standing) != 2 {
			t.Fatalf("left %q", left)
		}

		f := withSubscriptions("")
		next := r.sessionToLeave(&left[0], f)
		synctest.Wait()
		for method, want := range map[string]string{"logging/setLevel": `"params":{"level":"debug"}`, "resources/subscribe": `"params":{"uri":"demo://b"}`} {
			got := f.received(method)
			if len(got) != 1 || !strings.Contains(got[0], want) || !strings.Contains(got[0], `"id":"mcpguard-`) {
				t.Errorf("the server got %q, want one with %s", got, want)
			}
		}
		for len(next.frames) > 0 {
			if got := next.frame(); strings.Contains(got, `"result"`) || strings.Contains(got, `"error"`) {
				t.Errorf("the client got %s", got)
			}
		}
		next.server.send(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"demo://b"}}`)
		if got := next.frame(); !strings.Contains(got, "resources/updated") {
			t.Errorf("got %s", got)
		}
		if again := next.goes(); len(again) != 1 || len(again[0].Standing) != 2 || len(again[0].InFlight) != 0 {
			t.Errorf("left the second time: %q", again)
		}
	})
}

// TestRepeatedSubscriptionsAreAdmittedAgain: what the policy in force does not
// allow any more is not repeated, which is said; anything else than a
// subscription or a log level ends the session.
func TestRepeatedSubscriptionsAreAdmittedAgain(t *testing.T) {
	subscribe := `{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"file:///etc/passwd"}}`
	for frame, want := range map[string]string{
		subscribe: "could not be repeated",
		`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"scratch","arguments":{}}}`: "could not go on",
		`{"jsonrpc":"2.0","method":"resources/subscribe","params":{"uri":"demo://a"}}`:              "could not go on",
		`{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","method":"tools/call"}`:             "could not go on",
	} {
		inBubble(t, func(r *rig) {
			r.setPolicy(openConfig)
			f := withSubscriptions("")
			l := r.sessionToLeave(&ipc.Handback{Handshake: [][]byte{[]byte(opensWith), []byte(initialized)}, Protocol: "v1", Standing: [][]byte{[]byte(frame)}}, f)
			if want == "could not go on" {
				if err := <-l.served; err != nil {
					t.Error(err)
				}
			} else {
				synctest.Wait()
				defer l.end()
			}
			if got := append(f.received("resources/subscribe"), f.received("tools/call")...); len(got) > 0 {
				t.Errorf("%s: the server got %q", frame, got)
			}
			if !slices.ContainsFunc(l.notes, func(n string) bool { return strings.Contains(n, want) }) {
				t.Errorf("%s: notes %q, want %q", frame, l.notes, want)
			}
			denied := slices.ContainsFunc(r.events(audit.ToolCallDenied, audit.ToolCallCompleted), func(e audit.Event) bool { return e.Rule == guard.RulePath })
			if want == "could not be repeated" && !denied {
				t.Errorf("%s: the refusal is not on record", frame)
			}
		})
	}
}

// TestKeptSubscriptionsAreBounded: over the bounds none is kept, and that is said
// when the session is left.
func TestKeptSubscriptionsAreBounded(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(openConfig)
		l := r.sessionToLeave(nil, withSubscriptions(""))
		l.send(opensWith)
		l.answer(1)
		l.next = 1
		for i := range maxStanding + 2 {
			l.answer(l.request("resources/subscribe", fmt.Sprintf(`{"uri":"demo://%d"}`, i)))
		}
		l.answer(l.request("resources/unsubscribe", fmt.Sprintf(`{"uri":"demo://%d"}`, maxStanding+1)))
		left := l.goes()
		if len(left) != 1 || len(left[0].Standing) != maxStanding {
			t.Fatalf("left %d sessions", len(left))
		}
		if !slices.ContainsFunc(l.notes, func(n string) bool { return strings.HasPrefix(n, "1 subscriptions are more than can be kept") }) {
			t.Errorf("notes %q", l.notes)
		}
	})
}
