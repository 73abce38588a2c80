package clienttools

import (
	"encoding/json"
	"fmt"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// schemas returns the tools with known arguments, as Claude Code 2.1.329
// describes them to the model. A member not listed here is refused, because it
// could change what a tool does.
func schemas() map[string]string {
	const (
		text   = `{"type":"string"}`
		flag   = `{"type":"boolean"}`
		count  = `{"type":"integer","minimum":0}`
		edit   = `{"type":"object","properties":{"old_string":` + text + `,"new_string":` + text + `,"replace_all":` + flag + `},"required":["old_string","new_string"],"additionalProperties":false}`
		closed = `,"additionalProperties":false}`
	)
	return map[string]string{
		"Write":     `{"type":"object","properties":{"file_path":` + text + `,"content":` + text + `},"required":["file_path","content"]` + closed,
		"Edit":      `{"type":"object","properties":{"file_path":` + text + `,"old_string":` + text + `,"new_string":` + text + `,"replace_all":` + flag + `},"required":["file_path","old_string","new_string"]` + closed,
		"MultiEdit": `{"type":"object","properties":{"file_path":` + text + `,"edits":{"type":"array","minItems":1,"items":` + edit + `}},"required":["file_path","edits"]` + closed,
		"NotebookEdit": `{"type":"object","properties":{"notebook_path":` + text + `,"cell_id":` + text + `,"new_source":` + text +
			`,"cell_type":{"enum":["code","markdown"]},"edit_mode":{"enum":["replace","insert","delete"]}},"required":["notebook_path","new_source"]` + closed,
		"Bash": `{"type":"object","properties":{"command":` + text + `,"timeout":{"type":"number"},"description":` + text + `,"run_in_background":` + flag +
			`,"dangerouslyDisableSandbox":` + flag + `,"cwd":{"type":"string","description":"Where it runs; added by the guard"},"sandbox":{"type":"string","description":"The client's own, as its settings say; added by the guard"}},"required":["command"]` + closed,
		"WebFetch":  `{"type":"object","properties":{"url":` + text + `,"prompt":` + text + `,"offset":` + count + `},"required":["url"]` + closed,
		"WebSearch": `{"type":"object","properties":{"query":` + text + `,"allowed_domains":{"type":"array","items":` + text + `},"blocked_domains":{"type":"array","items":` + text + `}},"required":["query"]` + closed,
		"Read":      `{"type":"object","properties":{"file_path":` + text + `,"offset":` + count + `,"limit":` + count + `,"pages":` + text + `,"allow_large":` + flag + `},"required":["file_path"]` + closed,
	}
}

// FolderMember and SandboxMember are members that the guard adds to the
// arguments of a command: the folder it runs in, and whether the client's own
// sandbox confines it. Both are part of what is approved.
const (
	FolderMember  = "cwd"
	SandboxMember = "sandbox"
)

// RunsCommand reports whether a tool runs a command and so gets these members.
func RunsCommand(tool string) bool { return tool == "Bash" }

// Definition returns the description of a tool as known to the guard. It is
// part of the program and needs no acceptance. An unknown tool has no argument
// description.
func Definition(tool string) json.RawMessage {
	schema, ok := schemas()[tool]
	if !ok {
		schema = `{"type":"object"}`
	}
	return fmt.Appendf(nil, `{"name":%s,"description":"A tool of the client's own.","inputSchema":%s}`, jsonrpc.QuoteString(tool), schema)
}
