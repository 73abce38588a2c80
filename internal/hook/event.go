// Package hook implements the format of Claude Code's hooks: their standard
// input, their answers, and where a settings file lists them. The formats are
// those of version 2.1.329.
//
// It does not decide anything, talk to the daemon or run a tool.
package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// The events that the guard listens to.
const (
	PreToolUse         = "PreToolUse"
	PostToolUse        = "PostToolUse"
	PostToolUseFailure = "PostToolUseFailure"
	UserPromptSubmit   = "UserPromptSubmit"
	Stop               = "Stop"
	SubagentStop       = "SubagentStop"
	SessionEnd         = "SessionEnd"
)

// MaxInput bounds a hook's standard input, in bytes. It includes the result of
// a tool.
const MaxInput = 32 << 20

// Event is the input of a hook. All of it is claimed by the client.
type Event struct {
	Name      string // hook_event_name
	SessionID string // of the client's conversation
	Cwd       string // where its next command would run
	PromptID  string
	AgentID   string // of a subagent; "" for the main one
	Mode      string // permission_mode

	// Of tool events.
	Tool      string
	ToolUseID string
	Input     json.RawMessage // tool_input, as it came
	Error     string          // of PostToolUseFailure
	Interrupt bool
	// For tools of an MCP server, if the client says so: its own name for the
	// server, and where it is configured (local, project, user, dynamic,
	// plugin …).
	Server, Source string

	// Of UserPromptSubmit: never the text itself.
	Prompt digest.Digest
}

// maxLabel bounds names chosen by the client, in bytes.
const maxLabel = 4096

// Parse parses the input of a hook. A question that is ambiguous or lacks
// required members is an error. A report is parsed leniently: it contains
// whatever a tool has printed, and decides nothing.
func Parse(raw []byte) (Event, error) {
	var e Event
	raw = bytes.TrimSpace(raw)
	if refusal := jsonrpc.Check(raw, jsonrpc.Limits{MaxFrame: MaxInput}); refusal != nil {
		if e, ok := report(raw); ok {
			return e, nil
		}
		return e, fmt.Errorf("reading the hook's input: %w", refusal)
	}
	root, ok := jsonrpc.Root(raw)
	if !ok || jsonrpc.TypeOf(raw, root) != jsonrpc.ObjectType {
		return e, errors.New("reading the hook's input: it is not an object")
	}
	if err := foldedNames(raw, root, "hook_event_name", "session_id", "cwd", "prompt_id", "agent_id", "permission_mode",
		"tool_name", "tool_use_id", "tool_input", "mcp_server", "error", "is_interrupt", "prompt"); err != nil {
		return e, err
	}
	text := func(name string) string {
		at, ok := jsonrpc.Member(raw, root, name)
		if !ok {
			return ""
		}
		v, ok := jsonrpc.String(raw, at)
		if !ok || len(v) > maxLabel {
			return ""
		}
		return v
	}
	e.Name, e.SessionID, e.Cwd = text("hook_event_name"), text("session_id"), text("cwd")
	e.PromptID, e.AgentID, e.Mode = text("prompt_id"), text("agent_id"), text("permission_mode")
	switch e.Name {
	case PreToolUse, PostToolUse, PostToolUseFailure:
		e.Tool, e.ToolUseID = text("tool_name"), text("tool_use_id")
		at, ok := jsonrpc.Member(raw, root, "tool_input")
		if !ok || jsonrpc.TypeOf(raw, at) != jsonrpc.ObjectType || e.Tool == "" || e.ToolUseID == "" {
			return e, errors.New("reading the hook's input: it names no tool, or no input or id of its use")
		}
		e.Input = at.Of(raw)
		if at, ok := jsonrpc.Member(raw, root, "mcp_server"); ok {
			if err := foldedNames(raw, at, "name", "source"); err != nil {
				return e, err
			}
		}
		for member, to := range map[string]*string{"name": &e.Server, "source": &e.Source} {
			if at, ok := jsonrpc.Lookup(raw, root, "mcp_server", member); ok {
				if v, ok := jsonrpc.String(raw, at); ok && len(v) <= maxLabel {
					*to = v
				}
			}
		}
		if e.Name == PostToolUseFailure {
			e.Error = "the tool failed"
			if at, ok := jsonrpc.Member(raw, root, "error"); ok {
				if v, ok := jsonrpc.String(raw, at); ok {
					e.Error = v
				}
			}
			if at, ok := jsonrpc.Member(raw, root, "is_interrupt"); ok {
				e.Interrupt, _ = jsonrpc.Bool(raw, at)
			}
		}
	case UserPromptSubmit:
		at, ok := jsonrpc.Member(raw, root, "prompt")
		prompt, isText := jsonrpc.String(raw, at)
		if !ok || !isText {
			return e, errors.New("reading the hook's input: it holds no prompt")
		}
		e.Prompt = digest.Sum([]byte(prompt))
	case "":
		return e, errors.New("reading the hook's input: it names no event")
	}
	return e, nil
}

// foldedNames rejects members whose names differ from a known one only in
// case, because other parsers accept them for it.
func foldedNames(raw []byte, object jsonrpc.Span, known ...string) error {
	for m := range jsonrpc.Members(raw, object) {
		for _, name := range known {
			if m.Name != name && strings.EqualFold(m.Name, name) {
				return fmt.Errorf("reading the hook's input: it has a member %.64q, which is not %q", m.Name, name)
			}
		}
	}
	return nil
}

// report parses a report that strict parsing refuses because of what a tool
// has printed: invalid characters, or too much text. The members of the report
// itself are still unambiguous. Its input stays unknown.
func report(raw []byte) (e Event, ok bool) {
	if len(raw) > MaxInput {
		return e, false
	}
	var interrupt bool
	members := map[string]any{
		"hook_event_name": &e.Name, "session_id": &e.SessionID, "agent_id": &e.AgentID, "tool_name": &e.Tool, "tool_use_id": &e.ToolUseID,
		"error": &e.Error, "is_interrupt": &interrupt,
	}
	seen := map[string]bool{}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return e, false
	}
	for d.More() {
		t, err := d.Token()
		name, isName := t.(string)
		if err != nil || !isName || seen[strings.ToLower(name)] {
			return e, false
		}
		seen[strings.ToLower(name)] = true
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return e, false
		}
		if to, known := members[name]; known && json.Unmarshal(value, to) != nil {
			return e, false
		}
		if _, folded := members[strings.ToLower(name)]; folded && name != strings.ToLower(name) {
			return e, false
		}
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return e, false
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return e, false
	}
	e.Interrupt = interrupt
	return e, e.Tool != "" && e.ToolUseID != "" && (e.Name == PostToolUse || e.Name == PostToolUseFailure)
}

// Allow answers PreToolUse: the tool runs and the client asks no one. Use it
// only for what a human has approved.
func Allow(reason string) []byte { return decision("allow", reason) }

// Abstain answers PreToolUse without a decision: the client's own rules and
// questions apply, as if there were no hook. It is explicit, so that no answer
// at all still means that the guard could not be asked.
func Abstain() []byte { return []byte("{}\n") }

// Deny answers PreToolUse: the tool must not run, and the model reads why.
func Deny(reason string) []byte { return decision("deny", reason) }

// Rewrite answers PreToolUse: the tool runs with this input instead of its
// own.
func Rewrite(reason string, input json.RawMessage) []byte {
	return answer(output{Event: PreToolUse, Decision: "allow", Reason: reason, Input: input})
}

type output struct {
	Event    string          `json:"hookEventName"`
	Decision string          `json:"permissionDecision"`
	Reason   string          `json:"permissionDecisionReason,omitempty"`
	Input    json.RawMessage `json:"updatedInput,omitempty"`
}

func decision(word, reason string) []byte {
	return answer(output{Event: PreToolUse, Decision: word, Reason: reason})
}

func answer(o output) []byte {
	b, err := json.Marshal(struct {
		Specific output `json:"hookSpecificOutput"`
	}{o})
	if err != nil { // strings always encode
		return nil
	}
	return append(b, '\n')
}

// ServerWord returns a server's name as Claude Code spells it in tool names,
// mcp__NAME__tool.
func ServerWord(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, name)
}
