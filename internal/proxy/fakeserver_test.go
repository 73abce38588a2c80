package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// fakeServer is an upstream in this process. It applies its tools to real
// files and keeps every frame that it receives.
type fakeServer struct {
	frames chan []byte
	done   chan struct{}
	ended  chan struct{}
	once   sync.Once
	last   sync.Once

	mu     sync.Mutex
	got    []string
	list   func(cursor string) string // the result of tools/list
	handle func(s *fakeServer, m jsonrpc.Message) (handled bool)
	exit   error // what Next returns at the end; nil means io.EOF
}

func newFakeServer() *fakeServer {
	return &fakeServer{frames: make(chan []byte, 1000), done: make(chan struct{}), ended: make(chan struct{})}
}

func (f *fakeServer) Next() ([]byte, error) {
	select {
	case frame := <-f.frames:
		return frame, nil
	default:
	}
	select {
	case frame := <-f.frames:
		return frame, nil
	case <-f.done:
		f.last.Do(func() { close(f.ended) })
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.exit != nil {
			return nil, f.exit
		}
		return nil, io.EOF
	}
}

func (f *fakeServer) Ref() guard.UpstreamRef { return guard.UpstreamRef{PID: 1, BootID: "boot"} }

func (f *fakeServer) Expect(jsonrpc.ID, guard.Preview) {}

func (f *fakeServer) Unreported(jsonrpc.ID) bool { return false }

func (f *fakeServer) Done() <-chan struct{} { return f.done }

func (f *fakeServer) Stop(context.Context) error { f.die(); return nil }

func (f *fakeServer) die() { f.once.Do(func() { close(f.done) }) }

func (f *fakeServer) send(format string, args ...any) {
	f.frames <- []byte(fmt.Sprintf(format, args...))
}

func (f *fakeServer) Write(frame []byte) error {
	select {
	case <-f.done:
		return io.ErrClosedPipe
	default:
	}
	frame = append([]byte(nil), frame...)
	f.mu.Lock()
	f.got = append(f.got, string(frame))
	handle, list := f.handle, f.list
	f.mu.Unlock()
	m, err := jsonrpc.Admit(frame, jsonrpc.Limits{})
	if err != nil {
		panic(fmt.Sprintf("the guard sent %q: %v", frame, err))
	}
	if handle != nil && handle(f, m) {
		return nil
	}
	switch m.Method {
	case "tools/list":
		cursor, _ := m.Param("cursor")
		at, _ := jsonrpc.String(m.Raw, cursor)
		if list == nil {
			list = func(string) string { return listOf(toolNames...) }
		}
		f.send(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID.Raw(), list(at))
	case "tools/call":
		f.send(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID.Raw(), doTool(m))
	default:
		if m.Kind == jsonrpc.Request {
			f.send(`{"jsonrpc":"2.0","id":%s,"result":{"echo":%q}}`, m.ID.Raw(), m.Method)
		}
	}
	return nil
}

// received returns the frames with the given method, as they came.
func (f *fakeServer) received(method string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, g := range f.got {
		if m, err := jsonrpc.Admit([]byte(g), jsonrpc.Limits{}); err == nil && m.Method == method {
			out = append(out, g)
		}
	}
	return out
}

// answers returns the answers to the server's own request with an id.
func (f *fakeServer) answers(id string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, frame := range f.got {
		if strings.Contains(frame, fmt.Sprintf(`"id":%q`, id)) && !strings.Contains(frame, `"method"`) {
			out = append(out, frame)
		}
	}
	return out
}

func (f *fakeServer) set(handle func(*fakeServer, jsonrpc.Message) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handle = handle
}

func listOf(names ...string) string {
	var defs []string
	for _, n := range names {
		defs = append(defs, definitionOf(n))
	}
	return `{"tools":[` + strings.Join(defs, " , ") + `],"ttlMs":5,"_meta":{"k":1.0}}`
}

// doTool does what a call asks for and returns its result.
func doTool(m jsonrpc.Message) string {
	var p struct {
		Name      string
		Arguments struct{ Path, Content, Old, New string }
	}
	if err := json.Unmarshal(m.ParamsRaw(), &p); err != nil {
		panic(err)
	}
	a := p.Arguments
	switch p.Name {
	case "write", "scratch":
		if err := os.WriteFile(a.Path, []byte(a.Content), 0o600); err != nil {
			return errorResult(err.Error())
		}
	case "edit":
		b, err := os.ReadFile(a.Path)
		if err != nil {
			return errorResult(err.Error())
		}
		if err := os.WriteFile(a.Path, []byte(strings.Replace(string(b), a.Old, a.New, 1)), 0o600); err != nil {
			return errorResult(err.Error())
		}
	}
	return `{"content":[{"type":"text","text":"did ` + p.Name + `"}], "z" : 1.50}`
}

func errorResult(text string) string {
	return fmt.Sprintf(`{"content":[{"type":"text","text":%q}],"isError":true}`, text)
}
