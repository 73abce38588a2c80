// Package onboard finds out what a server offers and proposes a policy for it:
// it starts the server once, lists its tools and suggests a tier for each,
// from a preset or, unconfirmed, from the server's own annotations. It decides
// nothing: a person runs the command that writes a proposal down.
package onboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

// Bounds of a probe.
const (
	probeTimeout = 60 * time.Second // a package runner may download first
	maxPages     = 100
)

// Tool is one definition as the server gave it.
type Tool struct {
	Name       string
	Definition []byte // its untouched bytes
	SHA256     digest.Digest
	ReadOnly   bool // readOnlyHint: the server's claim
	Idempotent bool
	// Destructive is the server's destructiveHint; true by default, as in the
	// protocol.
	Destructive bool
	OpenWorld   bool
}

// LeftOut is a tool that the guard cannot accept, and why. It is neither
// accepted nor written down; the server's other tools are.
type LeftOut struct {
	Name   string // as the server gave it; empty where that cannot be read
	Reason string
}

// Listing is what a server reported about itself.
type Listing struct {
	Name, Version, Protocol string
	Tools                   []Tool
	LeftOut                 []LeftOut // in the server's order
	Program                 config.Program
	// Prompts and Resources report whether the server offers them.
	Prompts, Resources bool
}

// Modern and legacy protocol versions that the probe speaks.
const (
	modern = "2026-07-28"
	legacy = "2025-11-25"
)

// Probe asks a newly started server what it offers, in the legacy era and, if
// that is refused, in the modern one. The caller stops the server.
func Probe(ctx context.Context, conn upstream.Conn) (Listing, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	p := &probe{conn: conn}
	l, err := p.initialize(ctx)
	if err != nil {
		var refused *refusal
		if !errors.As(err, &refused) {
			return Listing{}, fmt.Errorf("asking the server what it offers: %w", err)
		}
		if l, err = p.discover(ctx); err != nil {
			return Listing{}, fmt.Errorf("the server speaks neither protocol era that the guard knows: %w", err)
		}
	}
	defs, err := p.list(ctx)
	if err != nil {
		var refused *refusal
		if !errors.As(err, &refused) {
			return Listing{}, fmt.Errorf("listing the tools: %w", err)
		}
		defs = nil // a server without tools may refuse to list them
	}
	l.sort(defs)
	return l, nil
}

// sort parts the definitions that can be used from those that cannot.
func (l *Listing) sort(defs []json.RawMessage) {
	named := map[string]int{}
	for _, def := range defs {
		name, _ := toolName(def)
		named[name]++
	}
	for _, def := range defs {
		name, err := toolName(def)
		if err == nil && named[name] > 1 {
			// fail closed: clients differ in which of them they call
			err = fmt.Errorf("the server lists it %d times", named[name])
		}
		var t Tool
		if err == nil {
			t, err = tool(name, def)
		}
		if err != nil {
			out := LeftOut{name, err.Error()}
			if !slices.Contains(l.LeftOut, out) {
				l.LeftOut = append(l.LeftOut, out)
			}
			continue
		}
		l.Tools = append(l.Tools, t)
	}
}

// errNoAnswer says that the server took too long to reply.
var errNoAnswer = errors.New("was not answered")

// refusal is a JSON-RPC error of the server.
type refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the server answered: %s (%d)", r.Message, r.Code)
}

type probe struct {
	conn upstream.Conn
	next int64
	meta map[string]any // of each request, in the modern era
	// stray is the id of the last answer that was to no request, as JSON.
	stray atomic.Pointer[string]
}

// asText reports whether a server has made a text of the number id. Only one
// request is open at a time, so nothing else can be meant.
func asText(got, id jsonrpc.ID) bool {
	n, ok := got.AsInteger()
	return ok && n == id
}

// everyCapability declares every client capability, although the probe uses
// none: servers offer some tools only to clients that have them, and every
// tool must be seen before it can be accepted.
func everyCapability() map[string]any {
	return map[string]any{
		"roots":       map[string]any{"listChanged": true},
		"sampling":    map[string]any{},
		"elicitation": map[string]any{"form": map[string]any{}, "url": map[string]any{}},
		"tasks": map[string]any{"requests": map[string]any{
			"sampling":    map[string]any{"createMessage": map[string]any{}},
			"elicitation": map[string]any{"create": map[string]any{}},
		}},
	}
}

func (p *probe) initialize(ctx context.Context) (Listing, error) {
	raw, err := p.request(ctx, "initialize", map[string]any{
		"protocolVersion": legacy,
		"capabilities":    everyCapability(),
		"clientInfo":      map[string]any{"name": "mcpguard", "version": "1"},
	})
	if err != nil {
		return Listing{}, err
	}
	if err := p.conn.Write(jsonrpc.Notify("notifications/initialized", nil)); err != nil {
		return Listing{}, err
	}
	return listing(raw, legacy)
}

func (p *probe) discover(ctx context.Context) (Listing, error) {
	p.meta = map[string]any{
		"io.modelcontextprotocol/protocolVersion":    modern,
		"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "mcpguard", "version": "1"},
		"io.modelcontextprotocol/clientCapabilities": everyCapability(),
	}
	raw, err := p.request(ctx, "server/discover", map[string]any{})
	if err != nil {
		return Listing{}, err
	}
	return listing(raw, modern)
}

func listing(raw []byte, protocol string) (Listing, error) {
	var r struct {
		ProtocolVersion string `json:"protocolVersion"`
		ServerInfo      struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"serverInfo"`
		Capabilities map[string]json.RawMessage `json:"capabilities"`
	}
	if err := jsonvalue.DecodeKnown(raw, &r); err != nil {
		return Listing{}, fmt.Errorf("reading what the server says of itself: %w", err)
	}
	if r.ProtocolVersion != "" {
		protocol = r.ProtocolVersion
	}
	_, prompts := r.Capabilities["prompts"]
	_, resources := r.Capabilities["resources"]
	return Listing{Name: r.ServerInfo.Name, Version: r.ServerInfo.Version, Protocol: protocol, Prompts: prompts, Resources: resources}, nil
}

func (p *probe) list(ctx context.Context) ([]json.RawMessage, error) {
	var defs []json.RawMessage
	params := map[string]any{}
	for range maxPages {
		raw, err := p.request(ctx, "tools/list", params)
		if err != nil {
			return nil, err
		}
		var page struct {
			Tools      []json.RawMessage `json:"tools"`
			NextCursor string            `json:"nextCursor"`
		}
		if err := jsonvalue.DecodeKnown(raw, &page); err != nil {
			return nil, fmt.Errorf("reading the list of tools: %w", err)
		}
		defs = append(defs, page.Tools...)
		if page.NextCursor == "" {
			return defs, nil
		}
		params = map[string]any{"cursor": page.NextCursor}
	}
	return nil, fmt.Errorf("the list of tools has more than %d pages", maxPages)
}

// toolName reads the name of a definition.
func toolName(def []byte) (string, error) {
	root, _ := jsonrpc.Root(def)
	at, ok := jsonrpc.Member(def, root, "name")
	name, text := jsonrpc.String(def, at)
	if !ok || !text {
		return "", errors.New("its definition has no name that can be read")
	}
	if err := config.CheckToolName(name); err != nil {
		return name, fmt.Errorf("the name cannot be used: %w", err)
	}
	return name, nil
}

// tool reads a definition; the error says why it cannot be accepted.
func tool(name string, def []byte) (Tool, error) {
	hash, err := config.DefinitionHash(def)
	if err != nil {
		return Tool{}, fmt.Errorf("its definition cannot be pinned: %w", err)
	}
	if err := policy.CheckDefinition(def); err != nil {
		return Tool{}, err
	}
	t := Tool{Name: name, Definition: def, SHA256: hash, Destructive: true, OpenWorld: true}
	root, _ := jsonrpc.Root(def)
	for hint, to := range map[string]*bool{
		"readOnlyHint": &t.ReadOnly, "idempotentHint": &t.Idempotent, "destructiveHint": &t.Destructive, "openWorldHint": &t.OpenWorld,
	} {
		at, _ := jsonrpc.Lookup(def, root, "annotations", hint)
		if v, ok := jsonrpc.Bool(def, at); ok {
			*to = v
		}
	}
	return t, nil
}

// request sends one request and reads until its response; other messages of
// the server are refused or skipped.
func (p *probe) request(ctx context.Context, method string, params map[string]any) (json.RawMessage, error) {
	p.next++
	id := jsonrpc.IntID(p.next)
	if p.meta != nil {
		params["_meta"] = p.meta
	}
	if err := p.conn.Write(jsonrpc.NewRequest(id, method, params)); err != nil {
		return nil, err
	}
	type reply struct {
		raw []byte
		err error
	}
	answer := make(chan reply, 1)
	go func() { // ends with the answer, or with the server, which the caller stops
		raw, err := p.await(id)
		answer <- reply{raw, err}
	}()
	select {
	case r := <-answer:
		return r.raw, r.err
	case <-ctx.Done():
		if stray := p.stray.Load(); stray != nil {
			return nil, fmt.Errorf("%s (id %s) %w within %s; the server sent an answer to the id %s", method, id, errNoAnswer, probeTimeout, *stray)
		}
		return nil, fmt.Errorf("%s %w within %s", method, errNoAnswer, probeTimeout)
	}
}

// refusedFor returns an error if one of the refused messages is the answer to id.
func refusedFor(each []*jsonrpc.Refusal, id jsonrpc.ID) error {
	for _, r := range each {
		if r.Kind == jsonrpc.Response && (r.ID == id || asText(r.ID, id)) {
			return fmt.Errorf("the server's answer was refused, as it would be in a session: %w", r)
		}
	}
	return nil
}

func (p *probe) await(id jsonrpc.ID) (json.RawMessage, error) {
	for {
		frame, err := p.conn.Next()
		var lines *upstream.LinesError
		if errors.As(err, &lines) {
			if r := refusedFor(lines.Refusals, id); r != nil {
				return nil, r
			}
			continue
		}
		if errors.As(err, new(*jsonrpc.FrameError)) || errors.As(err, new(*upstream.GarbageError)) {
			continue // as in a session: some servers greet on standard output
		}
		if err != nil {
			return nil, err
		}
		m, err := jsonrpc.Admit(frame, jsonrpc.Limits{})
		if err != nil { // once more as a session reads it, with what is no character replaced
			frame, _ = jsonrpc.Mend(frame)
			m, err = jsonrpc.Admit(frame, jsonrpc.Limits{})
		}
		var refused *jsonrpc.Refusal
		switch {
		case errors.As(err, &refused):
			each := []*jsonrpc.Refusal{refused}
			if refused.Reason == jsonrpc.Batch {
				each = jsonrpc.Refused(frame, jsonrpc.Batch)
			}
			if r := refusedFor(each, id); r != nil {
				return nil, r
			}
			continue // a line that begins like a message and is none
		case err != nil:
			continue
		}
		switch {
		case m.Kind == jsonrpc.Request:
			if err := p.conn.Write(jsonrpc.ErrorReply(m.ID, -32601, "not available while the server is being added", nil)); err != nil {
				return nil, err
			}
		case m.Kind == jsonrpc.Response && m.ID != id && !asText(m.ID, id):
			p.stray.Store(new(m.ID.String()))
		case m.Kind == jsonrpc.Response:
			if e := m.ErrorRaw(); e != nil {
				r := &refusal{}
				if err := jsonvalue.DecodeKnown(e, r); err != nil {
					return nil, errors.New("the server answered with an error that cannot be read")
				}
				return nil, r
			}
			return m.ResultRaw(), nil
		}
	}
}
