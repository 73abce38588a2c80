package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// Agent is a small scripted MCP client of the legacy era: enough to list tools
// and to call them, one or many at a time. It is safe for concurrent use.
type Agent struct {
	out io.Writer
	// OnProgress, where set before the first call, gets each progress message.
	OnProgress func(tool, message string)

	mu      sync.Mutex
	next    int64
	waiting map[jsonrpc.ID]*pending
	ended   error
}

type pending struct {
	tool   string
	answer chan []byte // one raw result or error reply, then closed
}

// Answer is what a tool call came to.
type Answer struct {
	Text    string          // the text blocks, one after the other
	IsError bool            // as the guard or the tool said
	Result  json.RawMessage // the whole result
}

// NewAgent speaks over in and out until in ends. Its one goroutine ends with in,
// which the caller owns and closes.
func NewAgent(in io.Reader, out io.Writer) *Agent {
	a := &Agent{out: out, waiting: map[jsonrpc.ID]*pending{}}
	go a.read(in) // ends when in does
	return a
}

func (a *Agent) read(in io.Reader) {
	r := jsonrpc.NewReader(in, jsonrpc.Limits{})
	for {
		frame, err := r.Next()
		if err != nil {
			var refused *jsonrpc.FrameError
			if errors.As(err, &refused) {
				continue
			}
			a.end(err)
			return
		}
		m, err := jsonrpc.Admit(frame, jsonrpc.Limits{})
		if err != nil {
			continue
		}
		switch m.Kind {
		case jsonrpc.Response:
			a.mu.Lock()
			p := a.waiting[m.ID]
			delete(a.waiting, m.ID)
			a.mu.Unlock()
			if p != nil {
				p.answer <- m.Raw
			}
		case jsonrpc.Notification:
			if m.Method == "notifications/progress" {
				a.progress(m)
			}
		}
	}
}

func (a *Agent) progress(m jsonrpc.Message) {
	var p struct {
		Token   int64  `json:"progressToken"`
		Message string `json:"message"`
	}
	if json.Unmarshal(m.ParamsRaw(), &p) != nil || a.OnProgress == nil {
		return
	}
	a.mu.Lock()
	call := a.waiting[jsonrpc.IntID(p.Token)]
	a.mu.Unlock()
	if call != nil {
		a.OnProgress(call.tool, p.Message)
	}
}

func (a *Agent) end(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if errors.Is(err, io.EOF) {
		err = errors.New("the server closed the connection")
	}
	a.ended = err
	for id, p := range a.waiting {
		close(p.answer)
		delete(a.waiting, id)
	}
}

// Request sends one request and returns the raw result.
func (a *Agent) Request(ctx context.Context, method string, params map[string]any) (json.RawMessage, error) {
	tool, _ := params["name"].(string)
	a.mu.Lock()
	if a.ended != nil {
		a.mu.Unlock()
		return nil, a.ended
	}
	a.next++
	id := jsonrpc.IntID(a.next)
	p := &pending{tool: tool, answer: make(chan []byte, 1)}
	a.waiting[id] = p
	if method == "tools/call" {
		params["_meta"] = map[string]any{"progressToken": a.next}
	}
	_, err := a.out.Write(append(jsonrpc.NewRequest(id, method, params), '\n'))
	a.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("sending %s: %w", method, err)
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case raw, ok := <-p.answer:
		if !ok {
			return nil, fmt.Errorf("%s was not answered: %w", method, a.ended)
		}
		return result(raw)
	}
}

func result(raw []byte) (json.RawMessage, error) {
	var reply struct {
		Result json.RawMessage `json:"result"`
		Error  *struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(raw, &reply); err != nil {
		return nil, err
	}
	if reply.Error != nil {
		return nil, errors.New(reply.Error.Message)
	}
	return reply.Result, nil
}

// Initialize opens the session under the given client name.
func (a *Agent) Initialize(ctx context.Context, name string) error {
	_, err := a.Request(ctx, "initialize", map[string]any{
		"protocolVersion": "2025-11-25",
		"capabilities":    map[string]any{},
		"clientInfo":      map[string]any{"name": name, "version": "1.0.0"},
	})
	if err != nil {
		return fmt.Errorf("initialize: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err = a.out.Write(append(jsonrpc.Notify("notifications/initialized", nil), '\n'))
	return err
}

// Tools returns the names that the server lists.
func (a *Agent) Tools(ctx context.Context) ([]string, error) {
	raw, err := a.Request(ctx, "tools/list", map[string]any{})
	if err != nil {
		return nil, fmt.Errorf("tools/list: %w", err)
	}
	var list struct {
		Tools []struct {
			Name string `json:"name"`
		} `json:"tools"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	names := make([]string, len(list.Tools))
	for i, t := range list.Tools {
		names[i] = t.Name
	}
	return names, nil
}

// Call calls one tool and waits for its answer, however long that takes.
func (a *Agent) Call(ctx context.Context, tool string, args any) (Answer, error) {
	raw, err := a.Request(ctx, "tools/call", map[string]any{"name": tool, "arguments": args})
	if err != nil {
		return Answer{}, err
	}
	var r struct {
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
		IsError bool `json:"isError"`
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return Answer{}, err
	}
	var text strings.Builder
	for _, c := range r.Content {
		text.WriteString(c.Text)
	}
	return Answer{Text: text.String(), IsError: r.IsError, Result: raw}, nil
}
