package clienttools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// Permission is an MCP server with one tool, approve, for Claude Code's
// --permission-prompt-tool: mcp__NAME__approve.
type Permission struct {
	Version string
	// Ask decides one prompt. It gets the input of the tool unchanged.
	Ask func(ctx context.Context, q Question) Answer
	// Leave is closed when the daemon stops and another may go on with the
	// session: Serve then stops between two reads. May be nil. The stream must
	// then have SetReadDeadline.
	Leave <-chan struct{}
	// Unread is what an earlier daemon had read and not used.
	Unread []byte
}

// permissionTool is the tool's description for clients.
const permissionTool = `{"name":"approve","title":"Approve a tool call","description":"Asks the developer whether a tool may run. For --permission-prompt-tool; not meant for the model.",` +
	`"inputSchema":{"type":"object","properties":{"tool_name":{"type":"string"},"input":{"type":"object"},"tool_use_id":{"type":"string"}},"required":["tool_name","input"]}}`

// maxPrompts bounds the concurrent prompts on one connection.
const maxPrompts = 64

// PermissionRest is what a session left for the next daemon. Nothing else of it
// needs to be kept: the server has no state beyond its open prompts.
type PermissionRest struct {
	InFlight []json.RawMessage // the ids of prompts without an answer
	Unread   []byte
}

// leaveGrace is how long a client may take to read the last answers.
const leaveGrace = 2 * time.Second

// Serve serves one client until its stream or ctx ends, or it is left; it
// closes rw. rest is nil unless the session was left whole.
func (p Permission) Serve(ctx context.Context, rw io.ReadWriteCloser) (rest *PermissionRest, err error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &permissionSession{Permission: p, rw: rw, calls: map[jsonrpc.ID]context.CancelFunc{}, slots: make(chan struct{}, maxPrompts)}
	stop := context.AfterFunc(ctx, func() { rw.Close() })
	left := make(chan struct{})
	go func() { // ends with ctx, which Serve ends
		defer close(left)
		select {
		case <-p.Leave:
			s.leave()
		case <-ctx.Done():
		}
	}()
	r := jsonrpc.NewReader(io.MultiReader(bytes.NewReader(p.Unread), rw), jsonrpc.Limits{})
	err = s.read(ctx, r)
	if s.leaving.Load() {
		stop() // answers under way are written
	}
	cancel()
	<-left
	stop()
	s.settle()
	rw.Close()
	if s.leaving.Load() && (err == nil || errors.Is(err, os.ErrDeadlineExceeded)) && !s.failed.Load() {
		if unread, whole := r.Rest(); whole && !s.ended {
			return &PermissionRest{InFlight: s.open, Unread: unread}, nil
		}
	}
	return nil, err
}

// read handles what the client sends until its stream or ctx ends, or the
// session is left.
func (s *permissionSession) read(ctx context.Context, r *jsonrpc.Reader) error {
	for !s.leaving.Load() {
		frame, err := r.Next()
		var refused *jsonrpc.Refusal
		if err == nil {
			var m jsonrpc.Message
			if m, err = jsonrpc.Admit(frame, jsonrpc.Limits{}); err == nil {
				s.take(ctx, m)
				continue
			}
		}
		switch {
		case errors.As(err, &refused):
			if refused.Kind == jsonrpc.Request && !refused.ID.IsZero() {
				s.write(jsonrpc.ErrorReply(refused.ID, refused.Reason.Code(), refused.Error(), nil))
			}
		case errors.Is(err, io.EOF), ctx.Err() != nil:
			s.ended = true
			return nil
		default:
			return fmt.Errorf("reading a permission prompt: %w", err)
		}
	}
	return nil
}

// settle waits for the prompts, whose context has ended. A client that does not
// read what is being written to it holds them for a moment at most.
func (s *permissionSession) settle() {
	done := make(chan struct{})
	go func() { // ends with the prompts
		s.running.Wait()
		close(done)
	}()
	moment := time.NewTimer(leaveGrace)
	defer moment.Stop()
	select {
	case <-done:
		return
	case <-moment.C:
		s.failed.Store(true)
		s.rw.Close()
	}
	<-done
}

// leave stops the reader between two reads.
func (s *permissionSession) leave() {
	s.leaving.Store(true)
	c, ok := s.rw.(interface{ SetReadDeadline(time.Time) error })
	if !ok || c.SetReadDeadline(time.Unix(1, 0)) != nil {
		s.failed.Store(true)
		s.rw.Close() // the session cannot be kept
	}
}

// permissionSession is one connection.
type permissionSession struct {
	Permission
	rw      io.ReadWriteCloser
	slots   chan struct{}
	running sync.WaitGroup

	leaving atomic.Bool
	failed  atomic.Bool // something could not be written, or the reader not be stopped
	ended   bool        // the client has closed its end; of the reader

	out sync.Mutex // one frame at a time

	mu    sync.Mutex
	calls map[jsonrpc.ID]context.CancelFunc
	open  []json.RawMessage // prompts that ended without an answer because the session is left
}

func (s *permissionSession) write(frame []byte) {
	s.out.Lock()
	defer s.out.Unlock()
	if _, err := s.rw.Write(append(frame, '\n')); err != nil {
		s.failed.Store(true) // if the client is gone the reader ends too
	}
}

func (s *permissionSession) take(ctx context.Context, m jsonrpc.Message) {
	if m.Kind == jsonrpc.Notification && m.Method == "notifications/cancelled" {
		if at, ok := m.Param("requestId"); ok {
			id, _ := jsonrpc.IDFrom(m.Raw, at)
			s.mu.Lock()
			if stop := s.calls[id]; stop != nil {
				stop()
				delete(s.calls, id)
			}
			s.mu.Unlock()
		}
	}
	if m.Kind != jsonrpc.Request {
		return
	}
	info := map[string]string{"name": "mcpguard-permission", "version": s.Version}
	tools := map[string]any{"tools": map[string]any{}}
	switch m.Method {
	case "initialize":
		version := "2025-06-18"
		if at, ok := m.Param("protocolVersion"); ok {
			if v, ok := jsonrpc.String(m.Raw, at); ok && (v == "2024-11-05" || v == "2025-03-26" || v == "2025-11-25") {
				version = v
			}
		}
		s.write(jsonrpc.Result(m.ID, map[string]any{"protocolVersion": version, "capabilities": tools, "serverInfo": info}))
	case "ping":
		s.write(jsonrpc.Result(m.ID, struct{}{}))
	case "tools/list":
		s.write(jsonrpc.Result(m.ID, map[string]any{"tools": []json.RawMessage{json.RawMessage(permissionTool)}}))
	case "tools/call":
		s.call(ctx, m)
	default: // server/discover too: clients of the modern era fall back
		s.write(jsonrpc.ErrorReply(m.ID, jsonrpc.CodeMethodNotFound, "there is no such method", nil))
	}
}

// call answers one prompt in its own goroutine.
func (s *permissionSession) call(ctx context.Context, m jsonrpc.Message) {
	q, err := prompt(m)
	if err != nil {
		s.write(verdict(m.ID, Answer{Reason: err.Error()}, nil))
		return
	}
	select {
	case s.slots <- struct{}{}:
	default:
		s.write(verdict(m.ID, Answer{Reason: "too many permission prompts wait at once"}, nil))
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	s.calls[m.ID] = cancel
	s.mu.Unlock()
	if at, ok := jsonrpc.Lookup(m.Raw, m.Params, "_meta", "progressToken"); ok {
		token := json.RawMessage(at.Of(m.Raw))
		words := make(chan string, 1)
		q.Progress = func(message string) {
			select {
			case words <- message:
			default: // the client does not read
			}
		}
		s.running.Add(1)
		go func() { // ends with the call
			defer s.running.Done()
			for n := 1; ; n++ {
				select {
				case <-ctx.Done():
					return
				case message := <-words:
					s.write(jsonrpc.Notify("notifications/progress", map[string]any{"progressToken": token, "progress": n, "message": message}))
				}
			}
		}()
	}
	s.running.Add(1)
	go func() { // ends with the decision, or with ctx; Serve waits for it
		defer s.running.Done()
		a := s.Ask(ctx, q)
		answers := ctx.Err() == nil
		if answers {
			s.write(verdict(m.ID, a, q.Input))
		}
		cancel()
		s.mu.Lock()
		if _, wanted := s.calls[m.ID]; wanted && !answers && s.leaving.Load() {
			s.open = append(s.open, m.ID.Raw())
		}
		delete(s.calls, m.ID)
		s.mu.Unlock()
		<-s.slots
	}()
}

// prompt reads the arguments of approve.
func prompt(m jsonrpc.Message) (q Question, err error) {
	name, _ := m.Param("name")
	if v, _ := jsonrpc.String(m.Raw, name); v != "approve" {
		return q, errors.New("there is no such tool")
	}
	text := func(member string) string {
		at, _ := jsonrpc.Lookup(m.Raw, m.Params, "arguments", member)
		v, _ := jsonrpc.String(m.Raw, at)
		return v
	}
	q.Tool, q.ToolUseID = text("tool_name"), text("tool_use_id")
	at, ok := jsonrpc.Lookup(m.Raw, m.Params, "arguments", "input")
	if q.Tool == "" || !ok || jsonrpc.TypeOf(m.Raw, at) != jsonrpc.ObjectType {
		return q, errors.New("the prompt names no tool or no input")
	}
	q.Input = json.RawMessage(at.Of(m.Raw))
	return q, nil
}

// verdict encodes an answer in the form that the client reads: JSON as text.
func verdict(id jsonrpc.ID, a Answer, input json.RawMessage) []byte {
	word := map[string]any{"behavior": "deny", "message": a.Reason}
	if a.Allow {
		word = map[string]any{"behavior": "allow", "updatedInput": input}
	}
	text, err := json.Marshal(word)
	if err != nil {
		// fail closed: an answer that cannot be written allows nothing
		text = []byte(`{"behavior":"deny","message":"mcpguard could not write its answer"}`)
	}
	return jsonrpc.Result(id, map[string]any{"content": []map[string]string{{"type": "text", "text": string(text)}}})
}
