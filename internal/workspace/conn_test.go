package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

var _ upstream.Conn = (*Conn)(nil)

const modern = "2026-07-28"

// meta is the _meta of every request of the modern era.
var meta = m{
	"io.modelcontextprotocol/protocolVersion":    modern,
	"io.modelcontextprotocol/clientInfo":         m{"name": "test", "version": "1"},
	"io.modelcontextprotocol/clientCapabilities": m{},
}

func TestLegacyEra(t *testing.T) {
	c := open(t, folderWith(t, map[string]string{"a.txt": "hello\n"}))
	for _, version := range []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"} {
		msg := request(t, c, "initialize", m{"protocolVersion": version, "capabilities": m{}, "clientInfo": m{"name": "test", "version": "1"}})
		if !strings.Contains(string(msg.Result), version) || !strings.Contains(string(msg.Result), ServerName) || !strings.Contains(string(msg.Result), `"tools":{}`) {
			t.Errorf("initialize answered %s", msg.Result)
		}
	}
	send(t, c, m{"jsonrpc": "2.0", "method": "notifications/initialized"})
	if msg := request(t, c, "ping", m{}); msg.Error != nil {
		t.Errorf("ping: %+v", msg.Error)
	}
	if r := callTool(t, c, "read_file", m{"path": "a.txt"}); r.IsError || r.text() != "hello\n" || r.Type != "" {
		t.Errorf("got %+v", r)
	}
	if msg := request(t, c, "server/discover", m{}); msg.Error == nil {
		t.Error("server/discover was answered in the legacy era")
	}
}

func TestModernEra(t *testing.T) {
	c := open(t, folderWith(t, map[string]string{"a.txt": "hello\n"}))
	msg := request(t, c, "server/discover", m{"_meta": meta})
	if msg.Error != nil || !strings.Contains(string(msg.Result), modern) {
		t.Fatalf("server/discover: %s, %+v", msg.Result, msg.Error)
	}
	r := toolResult(t, request(t, c, "tools/call", m{"_meta": meta, "name": "read_file", "arguments": m{"path": "a.txt"}}))
	if r.text() != "hello\n" || r.Type != "complete" {
		t.Errorf("got %+v", r)
	}
	if msg := request(t, c, "initialize", m{"_meta": meta}); msg.Error == nil {
		t.Error("initialize was answered in the modern era")
	}
	// The acknowledgement of a subscription precedes its response.
	send(t, c, m{"jsonrpc": "2.0", "id": 7, "method": "subscriptions/listen", "params": m{"_meta": meta, "notifications": m{"toolsListChanged": true}}})
	first, second := next(t, c), next(t, c)
	if first.Method != "notifications/subscriptions/acknowledged" || string(second.ID) != "7" {
		t.Errorf("got %+v, %+v", first, second)
	}
}

// TestToolsAreStrictAndDescribed reads the list as a client does.
func TestToolsAreStrictAndDescribed(t *testing.T) {
	c := open(t, folderWith(t, nil))
	msg := request(t, c, "tools/list", m{})
	var list struct {
		Tools []struct {
			Name, Title, Description  string
			InputSchema, OutputSchema map[string]any
			Annotations               struct{ ReadOnlyHint, DestructiveHint, IdempotentHint, OpenWorldHint *bool }
		}
	}
	if err := json.Unmarshal(msg.Result, &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
		if tool.Title == "" || len(tool.Description) < 60 || tool.InputSchema["additionalProperties"] != false {
			t.Errorf("%s is not described: %+v", tool.Name, tool)
		}
		for name, p := range tool.InputSchema["properties"].(map[string]any) {
			if p.(map[string]any)["description"] == nil {
				t.Errorf("%s.%s has no description", tool.Name, name)
			}
		}
		a := tool.Annotations
		_, writes := Specs()[tool.Name]
		if a.ReadOnlyHint == nil || a.DestructiveHint == nil || a.IdempotentHint == nil || a.OpenWorldHint == nil || *a.ReadOnlyHint == writes || *a.OpenWorldHint {
			t.Errorf("%s: annotations %+v", tool.Name, a)
		}
		if r := callTool(t, c, tool.Name, m{"no_such_member": 1}); !r.IsError {
			t.Errorf("%s takes unknown members", tool.Name)
		}
	}
	want := []string{"append_file", "create_directory", "delete_file", "edit_file", "file_info", "list_directory", "move_file", "patch_document",
		"read_document", "read_file", "read_files", "run_command", "search_files", "write_file"}
	if !slices.Equal(names, want) {
		t.Errorf("tools %v, want %v", names, want)
	}
	for _, bad := range []struct{ tool, args string }{
		{"read_file", `{}`}, {"read_file", `{"path":1}`}, {"read_file", `{"Path":"x"}`}, {"read_file", `{"path":"x","offset":0}`}, {"read_files", `{"paths":[]}`},
		{"edit_file", `{"path":"x","edits":[{"old_text":"","new_text":"y"}]}`}, {"edit_file", `{"path":"x","edits":[{"old_text":"a","new_text":"y","regex":true}]}`},
		{"patch_document", `{"path":"x.json","patch":[{"op":"merge","path":""}]}`}, {"write_file", `{"path":"x"}`}, {"search_files", `{"limit":1e9}`},
	} {
		if r := callRaw(t, c, bad.tool, bad.args); !r.IsError {
			t.Errorf("%s %s was accepted", bad.tool, bad.args)
		}
	}
}

// pipe connects the library's client to a Conn.
type pipe struct {
	c        *Conn
	approved []guard.Effect
}

func (p *pipe) Start(context.Context) error { return nil }
func (p *pipe) SendRequest(_ context.Context, r transport.JSONRPCRequest) (*transport.JSONRPCResponse, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if r.Method == "tools/call" {
		msg, err := jsonrpc.Admit(b, jsonrpc.Limits{})
		if err != nil {
			return nil, err
		}
		p.c.Expect(msg.ID, guard.Preview{Effects: p.approved})
	}
	if err := p.c.Write(b); err != nil {
		return nil, err
	}
	frame, err := p.c.Next()
	if err != nil {
		return nil, err
	}
	var out transport.JSONRPCResponse
	return &out, json.Unmarshal(frame, &out)
}

func (p *pipe) SendNotification(_ context.Context, n mcp.JSONRPCNotification) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return p.c.Write(b)
}
func (p *pipe) SetNotificationHandler(func(mcp.JSONRPCNotification)) {}
func (p *pipe) Close() error                                         { return nil }
func (p *pipe) GetSessionId() string                                 { return "" }

func TestLibraryClient(t *testing.T) {
	root := folderWith(t, map[string]string{"a.txt": "hello\n"})
	args := m{"path": "b.txt", "content": "new"}
	cl := client.NewClient(&pipe{c: open(t, root), approved: planned(t, root, "write_file", args).Effects})
	ctx := context.Background()
	if err := cl.Start(ctx); err != nil {
		t.Fatal(err)
	}
	init := mcp.InitializeRequest{}
	init.Params.ProtocolVersion = mcp.LATEST_LEGACY_PROTOCOL_VERSION
	init.Params.ClientInfo = mcp.Implementation{Name: "test", Version: "1"}
	if _, err := cl.Initialize(ctx, init); err != nil {
		t.Fatal(err)
	}
	list, err := cl.ListTools(ctx, mcp.ListToolsRequest{})
	if err != nil || len(list.Tools) != 14 {
		t.Fatalf("%v, %v", list, err)
	}
	req := mcp.CallToolRequest{}
	req.Params.Name, req.Params.Arguments = "write_file", args
	res, err := cl.CallTool(ctx, req)
	if err != nil || res.IsError || read(t, root, "b.txt") != "new" {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestRequestIDsAreReturnedUnchanged(t *testing.T) {
	c := open(t, folderWith(t, nil))
	for _, id := range []string{`1`, `0`, `-5`, `9007199254740991`, `"x"`, `"1"`, `"\u00e9"`} {
		if err := c.Write(fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"method":"ping"}`, id)); err != nil {
			t.Fatal(err)
		}
		frame, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		got, err := jsonrpc.Admit(frame, jsonrpc.Limits{})
		want, _ := jsonrpc.IDFrom([]byte(id), jsonrpc.Span{Start: 0, End: len(id)})
		if err != nil || got.ID != want {
			t.Errorf("id %s: %s, %v", id, frame, err)
		}
	}
}

func TestAmbiguousFramesAreAnswered(t *testing.T) {
	c := open(t, folderWith(t, nil))
	if err := c.Write([]byte(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"delete_file","name":"read_file"}}`)); err != nil {
		t.Fatal(err)
	}
	if msg := next(t, c); msg.Error == nil || string(msg.ID) != "5" {
		t.Errorf("got %+v", msg)
	}
	if err := c.Write([]byte(`{"jsonrpc":`)); err == nil {
		t.Error("half a frame was taken")
	}
	if msg := request(t, c, "no/such/method", m{}); msg.Error == nil || msg.Error.Code != -32601 {
		t.Errorf("got %+v", msg)
	}
	send(t, c, m{"jsonrpc": "2.0", "method": "notifications/nobody/knows"})
	send(t, c, m{"jsonrpc": "2.0", "id": 1, "result": m{}})
	if msg := request(t, c, "ping", m{}); msg.Error != nil {
		t.Errorf("got %+v", msg)
	}
}

// TestCancelBeforeTheCallRuns cancels a request that is registered but has not
// begun: it must not write.
func TestCancelBeforeTheCallRuns(t *testing.T) {
	root := folderWith(t, nil)
	c := open(t, root)
	hold := make(chan struct{})
	inner := c.mcp.GetTool("write_file").Handler
	tool := c.mcp.GetTool("write_file").Tool
	c.mcp.AddTool(tool, func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		<-hold
		return inner(ctx, r)
	})
	send(t, c, m{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": m{"name": "write_file", "arguments": m{"path": "x", "content": "y"}}})
	send(t, c, m{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": m{"requestId": 1}})
	close(hold)
	if r := toolResult(t, next(t, c)); !r.IsError || !strings.Contains(r.text(), "cancelled") {
		t.Errorf("got %+v", r)
	}
	if _, err := os.Stat(filepath.Join(root, "x")); err == nil {
		t.Error("a cancelled call wrote")
	}
}

func TestPanicIsAnswered(t *testing.T) {
	c := open(t, folderWith(t, nil))
	c.mcp.AddTool(mcp.NewTool("boom"), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) { panic("boom") })
	if msg := request(t, c, "tools/call", m{"name": "boom", "arguments": m{}}); msg.Error == nil || strings.Contains(msg.Error.Message, "boom") {
		t.Errorf("got %+v", msg)
	}
	if msg := request(t, c, "ping", m{}); msg.Error != nil {
		t.Errorf("after a panic: %+v", msg.Error)
	}
}

func TestStopEndsEverything(t *testing.T) {
	root := folderWith(t, nil)
	c := open(t, root)
	entered := make(chan struct{})
	c.mcp.AddTool(mcp.NewTool("wait"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		close(entered)
		<-ctx.Done()
		return mcp.NewToolResultText("stopped"), nil
	})
	send(t, c, m{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": m{"name": "wait", "arguments": m{}}})
	<-entered
	if err := c.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	for {
		if _, err := c.Next(); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
	}
	if err := c.Write([]byte(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)); !errors.Is(err, ErrStopped) {
		t.Errorf("writing after the end: %v", err)
	}
	if err := c.Write([]byte(`{"jsonrpc":"2.0","id":2,"method":"ping","method":"x"}`)); !errors.Is(err, ErrStopped) {
		t.Errorf("writing after the end: %v", err)
	}
	if err := c.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestOpenRefusesNothingToServe(t *testing.T) {
	if _, err := Open(Config{}); err == nil {
		t.Error("a server without folders was opened")
	}
	if _, err := Open(Config{Roots: []string{"relative"}}); err == nil {
		t.Error("a relative folder was taken")
	}
	if ref := open(t, folderWith(t, nil)).Ref(); ref.PID != os.Getpid() || upstream.Gone(ref) {
		t.Errorf("reference %+v", ref)
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	root := folderWith(t, map[string]string{"a.txt": "hello\n"})
	c := open(t, root)
	const n = 300
	for i := range n {
		c.Expect(jsonrpc.IntID(int64(i)), planned(t, root, "append_file", m{"path": fmt.Sprintf("f%d", i), "content": "x"}))
	}
	sent := make(chan error, 1)
	go func() { // ends when all requests are written
		for i := range n {
			if err := c.Write(fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"append_file","arguments":{"path":"f%d","content":"x"}}}`, i, i)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for range n {
		if r := toolResult(t, next(t, c)); r.IsError {
			t.Error(r.text())
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	list, err := os.ReadDir(root)
	if err != nil || len(list) != n+1 {
		t.Errorf("%d files, %v", len(list), err)
	}
}
