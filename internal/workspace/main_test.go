package workspace

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type m = map[string]any

// folderWith makes a workspace whose path has no link in it.
func folderWith(t testing.TB, files map[string]string) string {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(base, "ws")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func open(t testing.TB, roots ...string) *Conn {
	t.Helper()
	c, err := Open(Config{Roots: roots, Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

// message is any message that a server may send.
type message struct {
	ID     json.RawMessage
	Method string
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
	}
}

func next(t testing.TB, c *Conn) message {
	t.Helper()
	frame, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jsonrpc.Admit(frame, jsonrpc.Limits{}); err != nil {
		t.Fatalf("the server's own frame is refused: %v\n%s", err, frame)
	}
	var msg message
	if err := json.Unmarshal(frame, &msg); err != nil {
		t.Fatal(err)
	}
	return msg
}

func send(t testing.TB, c *Conn, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

func request(t testing.TB, c *Conn, method string, params any) message {
	t.Helper()
	send(t, c, m{"jsonrpc": "2.0", "id": "r-1", "method": method, "params": params})
	return next(t, c)
}

// result is the result of a tool call.
type result struct {
	IsError bool
	Content []struct{ Type, Text string }
	Data    json.RawMessage `json:"structuredContent"`
	Type    string          `json:"resultType"`
}

func (r result) text() string {
	var all []string
	for _, c := range r.Content {
		all = append(all, c.Text)
	}
	return strings.Join(all, "\n")
}

func callRaw(t testing.TB, c *Conn, name, args string) result {
	t.Helper()
	return toolResult(t, request(t, c, "tools/call", m{"name": name, "arguments": json.RawMessage(args)}))
}

func toolResult(t testing.TB, msg message) result {
	t.Helper()
	if msg.Error != nil {
		t.Fatalf("protocol error %+v", msg.Error)
	}
	var r result
	if err := json.Unmarshal(msg.Result, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func callTool(t testing.TB, c *Conn, name string, args any) result {
	t.Helper()
	b, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	return callRaw(t, c, name, string(b))
}

func read(t testing.TB, root, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
