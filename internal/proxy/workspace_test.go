package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/workspace"
)

// slowWorkspace is the built-in server with a hook that runs right before it
// gets a call.
type slowWorkspace struct {
	*workspace.Conn
	before func()
}

func (w *slowWorkspace) Write(frame []byte) error {
	if strings.Contains(string(frame), `"tools/call"`) {
		w.before()
	}
	return w.Conn.Write(frame)
}

// withWorkspace serves a session with the built-in server and its preset, with
// all tools accepted.
func (r *rig) withWorkspace(before func()) *peer {
	r.Helper()
	open := func() *workspace.Conn {
		c, err := workspace.Open(workspace.Config{Roots: []string{r.root}, Version: "test"})
		if err != nil {
			r.Fatal(err)
		}
		return c
	}
	c := open()
	ask := func(frame string) jsonrpc.Message {
		if err := c.Write([]byte(frame)); err != nil {
			r.Fatal(err)
		}
		answer, err := c.Next()
		if err != nil {
			r.Fatal(err)
		}
		m, err := jsonrpc.Admit(answer, jsonrpc.Limits{})
		if err != nil {
			r.Fatal(err)
		}
		return m
	}
	ask(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	m := ask(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	var listed struct{ Tools []json.RawMessage }
	if err := json.Unmarshal(m.ResultRaw(), &listed); err != nil || len(listed.Tools) == 0 {
		r.Fatalf("%v: %s", err, m.Raw)
	}
	lock := &config.Lock{}
	for _, raw := range listed.Tools {
		var named struct{ Name string }
		if err := json.Unmarshal(raw, &named); err != nil {
			r.Fatal(err)
		}
		if err := lock.Put(guard.Pin{Server: "workspace", Tool: named.Name, Definition: raw, AcceptedAt: time.Unix(1, 0).UTC(), AcceptedBy: "tester"}); err != nil {
			r.Fatal(err)
		}
	}
	if err := c.Stop(context.Background()); err != nil {
		r.Fatal(err)
	}
	cfg, err := config.Parse("config.yaml", []byte(fmt.Sprintf("version: 1\nroots: [%s]\nservers: {workspace: {builtin: workspace}}\nhold: {default: wait}\n", r.root)))
	if err != nil {
		r.Fatal(err)
	}
	set, err := policy.Compile(cfg, lock)
	if err != nil {
		r.Fatal(err)
	}
	r.policy.Store(set)
	p := r.sessionWith("patient", "workspace", &slowWorkspace{open(), before})
	p.send(`{"jsonrpc":"2.0","id":"init","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	p.frame()
	p.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return p
}

func TestTheBuiltInServer(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "one\ntwo\n")
		p := r.withWorkspace(func() {})
		defer p.end()
		id := p.call("edit_file", `{"path":"a.txt","edits":[{"old_text":"two","new_text":"TWO"}]}`)
		a := r.one(guard.Pending)
		if !strings.Contains(a.Preview.Change.Text, "-two\n+TWO\n") {
			t.Errorf("the diff is %q", a.Preview.Change.Text)
		}
		r.decide(a, true)
		if m := p.answer(id); strings.Contains(string(m.Raw), `"isError":true`) {
			t.Errorf("got %s", m.Raw)
		}
		r.wantContent("a.txt", "one\nTWO\n")
		if a := r.one(guard.Executed); a.Receipt.ReadBack != guard.Verified {
			t.Errorf("the receipt is %+v", a.Receipt)
		}
		r.wantCompleted("edit_file", audit.StatusOK)
	})
}

// TestPromise2_TheBuiltInServerWritesByCompareAndSwap changes the file between
// the last check and the write.
func TestPromise2_TheBuiltInServerWritesByCompareAndSwap(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("a.txt", "one\n")
		p := r.withWorkspace(func() { r.put("a.txt", "somebody else's\n") })
		defer p.end()
		id := p.call("write_file", `{"path":"a.txt","content":"mine\n"}`)
		r.decide(r.one(guard.Pending), true)
		if m := p.answer(id); !strings.Contains(string(m.Raw), `"isError":true`) {
			t.Errorf("got %s", m.Raw)
		}
		r.wantContent("a.txt", "somebody else's\n")
		r.one(guard.Failed)
	})
}

// TestCommandShowsTheScriptThatItsRunChanged writes a script, runs it, and writes it
// again while the approval waits: what was approved is not what would run.
func TestCommandShowsTheScriptThatItsRunChanged(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.put("old.sh", "echo old\n")
		p := r.withWorkspace(func() {})
		defer p.end()
		id := p.call("write_file", `{"path":"deploy.sh","content":"echo deployed\n"}`)
		r.decide(r.one(guard.Pending), true)
		p.answer(id)
		id = p.call("run_command", `{"command":"bash old.sh && bash deploy.sh"}`)
		a := r.one(guard.Pending)
		if list := a.Preview.Change.Exec.Scripts; len(list) != 1 || list[0].Text != "echo deployed\n" {
			t.Fatalf("it shows %+v", list)
		}
		if !strings.Contains(a.Preview.Change.Text, "| echo deployed\n") {
			t.Errorf("the approval does not hold the script:\n%s", a.Preview.Change.Text)
		}
		r.put("deploy.sh", "echo worse\n")
		r.decide(a, true)
		again := r.one(guard.Pending)
		if again.ID == a.ID || again.Preview.Change.Exec.Scripts[0].Text != "echo worse\n" {
			t.Errorf("it is asked with %+v", again.Preview.Change.Exec.Scripts)
		}
		r.decide(again, false)
		p.answer(id)
	})
}
