package localapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// TestPromise6_ForeignRequestsAreRefusedBeforeRouting sends what a browser, a
// proxy or a faulty program could send.
func TestPromise6_ForeignRequestsAreRefusedBeforeRouting(t *testing.T) {
	r := newRig(t, nil)
	a := r.pending(r.session(), "one")
	decision := "/v1/approvals/" + string(a.ID) + "/decision"
	word := string(must(json.Marshal(r.word(a, client.Allow)))(t))
	const media = "Content-Type: application/json"
	for name, c := range map[string]struct {
		request string
		status  int
		code    string
	}{
		"origin":           {request("GET", "/v1/approvals", "", "Origin: https://evil.example"), 403, client.CodeForeign},
		"origin null":      {request("GET", "/v1/approvals", "", "Origin: null"), 403, client.CodeForeign},
		"empty origin":     {request("GET", "/v1/approvals", "", "Origin:"), 403, client.CodeForeign},
		"referer":          {request("GET", "/v1/approvals", "", "referer: http://x"), 403, client.CodeForeign},
		"fetch metadata":   {request("GET", "/v1/approvals", "", "Sec-Fetch-Site: none"), 403, client.CodeForeign},
		"unknown address":  {request("GET", "/nothing", "", "Origin: https://evil.example"), 403, client.CodeForeign},
		"decision":         {request("POST", decision, word, media, "Origin: https://evil.example"), 403, client.CodeForeign},
		"other host":       {"GET /v1/approvals HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 403, client.CodeForeign},
		"host with port":   {"GET /v1/approvals HTTP/1.1\r\nHost: mcpguard:80\r\nConnection: close\r\n\r\n", 403, client.CodeForeign},
		"absolute address": {"GET http://evil/v1/approvals HTTP/1.1\r\nHost: mcpguard\r\nConnection: close\r\n\r\n", 403, client.CodeForeign},
		"no host":          {"GET /v1/approvals HTTP/1.0\r\n\r\n", 403, client.CodeForeign},
		"method":           {request("PUT", "/v1/approvals", "x", media), 405, client.CodeMethod},
		"head":             {request("OPTIONS", "/v1/approvals", ""), 405, client.CodeMethod},
		"wrong method":     {request("DELETE", "/v1/approvals", ""), 405, client.CodeMethod},
		"get a decision":   {request("GET", decision, ""), 405, client.CodeMethod},
		"body of a get":    {request("GET", "/v1/approvals", "{}", media), 400, client.CodeBadRequest},
		"no media type":    {request("POST", decision, word), 415, client.CodeMediaType},
		"form":             {request("POST", decision, word, "Content-Type: application/x-www-form-urlencoded"), 415, client.CodeMediaType},
		"text":             {request("POST", decision, word, "Content-Type: text/plain"), 415, client.CodeMediaType},
		"encoded":          {request("POST", decision, word, media, "Content-Encoding: gzip"), 415, client.CodeMediaType},
		"too large":        {request("POST", decision, `{"reason":"`+strings.Repeat("x", maxBody)+`"}`, media), 413, client.CodeTooLarge},
		"not JSON":         {request("POST", decision, "{", media), 400, client.CodeBadRequest},
		"two values":       {request("POST", decision, word+word, media), 400, client.CodeBadRequest},
		"unknown member":   {request("POST", decision, `{"decision":"allow","all":true}`, media), 400, client.CodeBadRequest},
		"doubled member":   {request("POST", decision, `{"decision":"deny","decision":"allow"}`, media), 400, client.CodeBadRequest},
		"long way round":   {request("GET", "/v1/../v1/approvals", ""), 400, client.CodeBadRequest},
		"doubled slash":    {request("GET", "//v1/approvals", ""), 400, client.CodeBadRequest},
		"unknown":          {request("GET", "/v2/approvals", ""), 404, client.CodeNotFound},
		"other version":    {request("GET", "/v1/approvals", "", "Mcpguard-Api: 999"), 400, client.CodeVersion},
		"unknown query":    {request("GET", "/v1/approvals?stauts=denied", ""), 400, client.CodeBadRequest},
		"doubled query":    {request("GET", "/v1/approvals?run=a&run=b", ""), 400, client.CodeBadRequest},
		"bad status":       {request("GET", "/v1/approvals?status=open", ""), 400, client.CodeBadRequest},
		"control in query": {request("GET", "/v1/approvals?tenant=a%00b", ""), 400, client.CodeBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			res := r.raw(c.request)
			p := problemIn(t, res)
			if res.StatusCode != c.status || p.Code != c.code {
				t.Errorf("got %d %s (%s), want %d %s", res.StatusCode, p.Code, p.Detail, c.status, c.code)
			}
		})
	}
	if now := must(r.store.Approval(a.ID))(t); now.Status != guard.Pending {
		t.Errorf("the approval is %s", now.Status)
	}
}

// TestPromise6_WhoMayDecide covers each setting; the rules themselves are
// tested in package ipc.
func TestPromise6_WhoMayDecide(t *testing.T) {
	var asked []bool // requireTerminal
	refusal := error(nil)
	r := newRig(t, func(r *rig, a *API) {
		a.mayDecide = func(_ *ipc.Peer, _ []ipc.ClientRef, requireTerminal bool) error {
			asked = append(asked, requireTerminal)
			return refusal
		}
	})
	a := r.pending(r.session(), "one")
	attempts := map[string]func() error{
		"decide": func() error { _, err := r.c.Decide(ctx, string(a.ID), r.word(a, client.Allow)); return err },
		"pause":  func() error { _, err := r.c.SetSwitch(ctx, "files", "looking into it"); return err },
		"resume": func() error { _, err := r.c.ClearSwitch(ctx, "files"); return err },
		"approvers": func() error {
			return r.c.DecideApprovers(ctx, client.ApproversDecision{Decision: client.Allow, Unsigned: "any", Reason: "looking into it"})
		},
		"end a command": func() error { _, err := r.c.StopCommand(ctx, string(guard.NewCallID())); return err },
		"ack":           func() error { _, err := r.c.Acknowledge(ctx, string(guard.NewEventID())); return err },
	}
	for _, c := range []struct {
		setting string
		refusal error
		code    string
	}{
		{"never", nil, client.CodeSignature},
		{"", nil, client.CodeSignature},
		{"yes", nil, client.CodeSignature},
		{"terminal", &ipc.ApproverRefusal{Rule: ipc.RuleNoTerminal, Text: "no terminal"}, string(ipc.RuleNoTerminal)},
		{"terminal", &ipc.ApproverRefusal{Rule: ipc.RuleDescends, Text: "a client started it"}, string(ipc.RuleDescends)},
		{"any", &ipc.ApproverRefusal{Rule: ipc.RuleOtherUser, Text: "another user"}, string(ipc.RuleOtherUser)},
	} {
		r.mu.Lock()
		r.unsigned = c.setting
		r.mu.Unlock()
		refusal = c.refusal
		for name, try := range attempts {
			var p *client.Problem
			err := try()
			if !errors.As(err, &p) || p.Status != 403 || p.Code != c.code || p.Remedy == "" || p.Setting != "approvers.unsigned: "+c.setting || !errors.Is(err, client.ErrRefused) {
				t.Errorf("%s with %q: %v %+v", name, c.setting, err, p)
			}
		}
		if _, err := r.c.List(ctx, client.Filter{}); err != nil {
			t.Errorf("reading with %q: %v", c.setting, err)
		}
	}
	if len(asked) != 3*len(attempts) || !asked[0] || asked[len(asked)-1] {
		t.Errorf("a terminal was required: %v", asked)
	}
	if now := must(r.store.Approval(a.ID))(t); now.Status != guard.Pending || len(r.store.Switches()) > 0 {
		t.Errorf("the approval is %s, switches %v", now.Status, r.store.Switches())
	}
	refusal = nil
	must(r.c.Decide(ctx, string(a.ID), r.word(a, client.Allow)))(t)
}

// TestPromise6_AClientCannotDecide applies the real rule to this process as a
// client.
func TestPromise6_AClientCannotDecide(t *testing.T) {
	me := must(ipc.Inspect(selfPID()))(t)
	r := newRig(t, func(r *rig, a *API) {
		r.unsigned = "terminal"
		a.cfg.Clients = func() []ipc.ClientRef { return []ipc.ClientRef{me.Ref()} }
	})
	a := r.pending(r.session(), "one")
	var p *client.Problem
	if _, err := r.c.Decide(ctx, string(a.ID), r.word(a, client.Allow)); !errors.As(err, &p) || p.Code != string(ipc.RuleClient) {
		t.Errorf("got %v, want the rule %s", err, ipc.RuleClient)
	}
}

// TestPromise6_UnknownPeersSeeNothing sends requests over connections whose
// other end is unknown or belongs to another user.
func TestPromise6_UnknownPeersSeeNothing(t *testing.T) {
	a := New(Config{Watch: func() Watcher { return nil }})
	for code, id := range map[string]any{
		client.CodePeer:      identity{err: errors.New("it has ended")},
		client.CodeOtherUser: identity{peer: &ipc.Peer{UID: os.Geteuid() + 1, PID: os.Getpid()}},
	} {
		for _, r := range []*http.Request{
			httptest.NewRequest("GET", "/v1/approvals", nil).WithContext(context.WithValue(ctx, identityKey{}, id)),
			httptest.NewRequest("GET", "/nothing", nil).WithContext(context.WithValue(ctx, identityKey{}, id)),
		} {
			r.Host = client.Host
			w := httptest.NewRecorder()
			a.handler.ServeHTTP(w, r)
			if p := problemIn(t, w.Result()); p.Status != 403 || p.Code != code {
				t.Errorf("%s: got %d %s", r.URL.Path, p.Status, p.Code)
			}
		}
	}
	r := httptest.NewRequest("GET", "/v1/approvals", nil)
	r.Host = client.Host
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	if p := problemIn(t, w.Result()); p.Code != client.CodePeer {
		t.Errorf("without a peer: got %s", p.Code)
	}
}
