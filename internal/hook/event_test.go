package hook

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/mcpguard/mcpguard/internal/digest"
)

func TestParse(t *testing.T) {
	const common = `"session_id":"s","transcript_path":"/t","cwd":"/w","prompt_id":"p","permission_mode":"default","effort":{"level":"medium"},`
	for _, c := range []struct {
		raw  string
		want Event
		ok   bool
	}{
		{`{` + common + `"hook_event_name":"PreToolUse","tool_name":"Edit","tool_input":{"a":1},"tool_use_id":"u"}`,
			Event{Name: PreToolUse, Tool: "Edit", ToolUseID: "u", Input: json.RawMessage(`{"a":1}`)}, true},
		{`{` + common + `"hook_event_name":"PostToolUse","tool_name":"Edit","tool_input":{},"tool_response":{"x":"y"},"tool_use_id":"u","duration_ms":7}`,
			Event{Name: PostToolUse, Tool: "Edit", ToolUseID: "u", Input: json.RawMessage(`{}`)}, true},
		{`{` + common + `"hook_event_name":"PostToolUseFailure","tool_name":"Bash","tool_input":{},"tool_use_id":"u","error":"Exit code 3","is_interrupt":true}`,
			Event{Name: PostToolUseFailure, Tool: "Bash", ToolUseID: "u", Input: json.RawMessage(`{}`), Error: "Exit code 3", Interrupt: true}, true},
		{`{` + common + `"hook_event_name":"UserPromptSubmit","prompt":"go"}`, Event{Name: UserPromptSubmit, Prompt: digest.Sum([]byte("go"))}, true},
		{`{` + common + `"hook_event_name":"Stop","agent_id":"a"}`, Event{Name: Stop, AgentID: "a"}, true},
		{`{` + common + `"hook_event_name":"Brand New"}`, Event{Name: "Brand New"}, true},
		{raw: ``}, {raw: `[]`}, {raw: `null`}, {raw: `{}`}, {raw: `{` + common + `"hook_event_name":""}`},
		{raw: `{"hook_event_name":"PreToolUse","tool_name":"Edit","tool_use_id":"u"}`},
		{raw: `{"hook_event_name":"PreToolUse","tool_name":"Edit","tool_input":[],"tool_use_id":"u"}`},
		{raw: `{"hook_event_name":"PreToolUse","tool_name":"Edit","tool_input":{}}`},
		{raw: `{"hook_event_name":"PreToolUse","tool_name":"","tool_input":{},"tool_use_id":"u"}`},
		{raw: `{"hook_event_name":"PreToolUse","tool_name":"Edit","tool_name":"Bash","tool_input":{},"tool_use_id":"u"}`},
		{raw: `{"hook_event_name":"PreToolUse","tool_name":"Edit","tool_input":{"a":1,"a":2},"tool_use_id":"u"}`},
		{raw: `{"hook_event_name":"UserPromptSubmit"}`},
		// Names in another case, which other readers take for the member.
		{raw: `{"hook_event_name":"PreToolUse","tool_name":"Read","Tool_Name":"Bash","tool_input":{},"tool_use_id":"u"}`},
		{raw: `{"hook_event_name":"PreToolUse","tool_name":"Read","tool_input":{},"TOOL_INPUT":{"a":1},"tool_use_id":"u"}`},
		{raw: `{"Hook_event_name":"Stop","hook_event_name":"PreToolUse","tool_name":"Read","tool_input":{},"tool_use_id":"u"}`},
		{raw: `{"hook_event_name":"PreToolUse","tool_name":"mcp__a__b","tool_input":{},"tool_use_id":"u","mcp_server":{"name":"a","Source":"user"}}`},
		{raw: `{"hook_event_name":"PreToolUse","tool_name":"mcp__a__b","tool_input":{},"tool_use_id":"u","mcp_\u0073erver":{"name":"a"},"mcp_server":{"name":"b"}}`},
	} {
		got, err := Parse([]byte(c.raw))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.raw, err)
			continue
		}
		if !c.ok {
			continue
		}
		c.want.SessionID, c.want.Cwd, c.want.PromptID, c.want.Mode = "s", "/w", "p", "default"
		if !bytes.Equal(got.Input, c.want.Input) {
			t.Errorf("%s: input %s", c.raw, got.Input)
		}
		got.Input, c.want.Input = nil, nil
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(c.want)
		if !bytes.Equal(a, b) {
			t.Errorf("%s:\n%s\n%s", c.raw, a, b)
		}
	}
}

// TestReportsAreParsedLeniently: a tool's output must not hide how the tool
// ended.
func TestReportsAreParsedLeniently(t *testing.T) {
	e, err := Parse([]byte("{\"hook_event_name\":\"PostToolUse\",\"tool_name\":\"Bash\",\"tool_use_id\":\"u\",\"tool_input\":{},\"tool_response\":\"\\ud800\"}\n"))
	if err != nil || e.ToolUseID != "u" || e.Input != nil {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := Parse([]byte(`{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_use_id":"u","tool_input":{"command":"\ud800"}}`)); err == nil {
		t.Error("a question with a lone surrogate was taken")
	}
	for _, bad := range []string{
		`{"hook_event_name":"PostToolUse","tool_name":"Bash","tool_use_id":"u","tool_use_id":"v","tool_response":"\ud800"}`,
		`{"hook_event_name":"PostToolUse","tool_name":"Bash","tool_use_id":"u","Tool_use_id":"v","tool_response":"\ud800"}`,
		`{"hook_event_name":"PostToolUse","Tool_name":"Bash","tool_use_id":"u","tool_response":"\ud800"}`,
		`{"hook_event_name":"PostToolUse","tool_name":"Bash","tool_use_id":"u","tool_response":"\ud800"} {}`,
	} {
		if e, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%s gave %+v", bad, e)
		}
	}
}

func TestAnswers(t *testing.T) {
	for want, got := range map[string][]byte{
		`{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"allow"}}` + "\n":                                       Allow(""),
		`{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"deny","permissionDecisionReason":"no\n\"x\""}}` + "\n": Deny("no\n\"x\""),
	} {
		if string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"hook_event_name":"PreToolUse","tool_name":"Edit","tool_input":{"a":1},"tool_use_id":"u"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := Parse(raw)
		if err == nil && e.Name == PreToolUse && (e.Tool == "" || e.ToolUseID == "" || !json.Valid(e.Input)) {
			t.Errorf("%q gave %+v", raw, e)
		}
	})
}
