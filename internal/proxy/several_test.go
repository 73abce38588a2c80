package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

// severalLines is a server whose frames that hold a newline are messages over
// several lines.
type severalLines struct{ *fakeServer }

func (s severalLines) Next() ([]byte, error) {
	frame, err := s.fakeServer.Next()
	if err == nil && strings.Contains(string(frame), "\n") {
		return nil, &upstream.LinesError{Size: len(frame), Refusals: jsonrpc.Refused(frame, jsonrpc.SeveralLines)}
	}
	return frame, err
}

// TestAnswersInAnotherFormEndTheirCall: a call whose answer is refused because it
// came in a batch or takes several lines is answered at once with an error, also
// where its id cannot be read but only it can be meant; the session goes on.
func TestAnswersInAnotherFormEndTheirCall(t *testing.T) {
	for form, why := range map[string]string{
		`[{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}]`:                                          "it came in a batch",
		`[{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":%s,"error":{"code":1}}]`:  "it came in a batch",
		"{\n \"jsonrpc\": \"2.0\",\n \"id\": %s,\n \"result\": {\"content\": []}\n}":                   "it takes several lines",
		"[\n {\"jsonrpc\": \"2.0\", \"id\": %s, \"result\": {}}\n]":                                    "it takes several lines",
		"{\n \"jsonrpc\": \"2.0\",\n \"id\": %[1]s, \"ID\": %[1]s,\n \"result\": {\"content\": []}\n}": "it takes several lines",
		`{"jsonrpc":"2.0","id":%s,"result":{"content":[]},"result":{}}`:                                "(duplicate_member)",
		`{"jsonrpc":"2.0","id":[%s],"result":{"content":[]},"result":{}}`:                              "(duplicate_member)",
	} {
		for _, tool := range []string{"read", "scratch"} {
			inBubble(t, func(r *rig) {
				f := newFakeServer()
				f.set(func(f *fakeServer, m jsonrpc.Message) bool {
					if m.Method != "tools/call" {
						return false
					}
					f.send("%s", fmt.Sprintf(form, m.ID.Raw()))
					return true
				})
				p := r.sessionWith("patient", "files", severalLines{f})
				p.server = f
				defer p.end()
				r.put("a.txt", "x")
				id := p.write(tool, "a.txt", "y")
				synctest.Wait()
				status := replyError
				if tool == "scratch" {
					status = replyUnknown
				}
				if got := p.wantReply(id, status, guard.Rule("")); !strings.Contains(got.Reason, why) {
					t.Errorf("%s of %q: %q, want %q", tool, form, got.Reason, why)
				}
				p.answer(p.request("ping", `{}`))
			})
		}
	}
}

// TestUnreadableIDsEndNothingElse: with two calls open, an answer whose id cannot
// be read is to neither.
func TestUnreadableIDsEndNothingElse(t *testing.T) {
	inBubble(t, func(r *rig) {
		f := newFakeServer()
		f.set(func(f *fakeServer, m jsonrpc.Message) bool {
			if m.Method == "tools/call" && strings.Contains(string(m.Raw), "b.txt") {
				f.send(`[{"jsonrpc":"2.0","id":1,"ID":2,"result":{}}]`)
			}
			return m.Method == "tools/call"
		})
		p := r.sessionWith("patient", "files", f)
		p.server = f
		defer p.end()
		r.put("a.txt", "x")
		r.put("b.txt", "x")
		p.call("read", fmt.Sprintf(`{"path":%q}`, r.file("a.txt")))
		synctest.Wait()
		p.call("read", fmt.Sprintf(`{"path":%q}`, r.file("b.txt")))
		p.quiet()
	})
}

// TestClientsInAnotherFormAreAnswered: each request of a client's batch gets an
// error of its own, and so does the server whose request is answered in a batch or
// over several lines.
func TestClientsInAnotherFormAreAnswered(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.setPolicy(openConfig)
		p := r.session("patient")
		defer p.end()
		p.send(`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":"b","method":"ping"},{"jsonrpc":"2.0","method":"notifications/x"}]`)
		for _, id := range []string{`"id":1,`, `"id":"b",`} {
			if got := p.frame(); !strings.Contains(got, id) || !strings.Contains(got, "it holds several (batch)") {
				t.Errorf("got %s, want an error with %s", got, id)
			}
		}
		for n, form := range []string{`[{"jsonrpc":"2.0","id":%s,"result":{}}]`, "{\n\"jsonrpc\": \"2.0\",\n\"id\": %s,\n\"result\": {}\n}"} {
			id := fmt.Sprintf("s%d", n)
			p.server.send(`{"jsonrpc":"2.0","id":%q,"method":"sampling/createMessage","params":{}}`, id)
			if got := p.frame(); !strings.Contains(got, "sampling/createMessage") {
				t.Fatalf("got %s", got)
			}
			p.send(form, fmt.Sprintf("%q", id))
			synctest.Wait()
			got := p.server.answers(id)
			if len(got) != 1 || !strings.Contains(got[0], "refused the client's answer") {
				t.Errorf("%q: the server got %q", form, got)
			}
			for len(p.frames) > 0 { // the errors about single lines
				p.frame()
			}
		}
		p.answer(p.request("ping", `{}`))
	})
}
