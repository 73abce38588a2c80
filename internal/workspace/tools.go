package workspace

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/expr"
)

// ServerName is the name that the server reports.
const ServerName = "mcpguard-workspace"

const instructions = "Files and JSON, YAML and TOML documents of the workspace. Paths are relative to the workspace folder, or absolute inside it. " +
	"Read a file before you change it; prefer edit_file over write_file for a file that exists, and patch_document for settings. " +
	"A change may wait for the developer, who sees it as a diff; a refusal says what to do instead."

// tool is one tool of the server.
type tool struct {
	name, title, about string
	input, output      string // JSON Schemas; output is "" if the result is only text
	kind               string // of the effect; "" for tools that only read
	params             map[string]string
	own                bool // only in the guard's own sessions
	destructive, again bool // hints: may lose data; repeating the call has no further effect
	run                func(*Conn, context.Context, *call) (*mcp.CallToolResult, error)
}

// Specs returns the effect of each tool that changes something, by tool name,
// for the configuration to bind.
func Specs() map[string]effect.Spec {
	out := map[string]effect.Spec{}
	for _, t := range tools() {
		if t.kind != "" {
			out[t.name] = effect.Spec{Kind: t.kind, Params: t.params, Dialect: effect.DialectWorkspace, Proven: true}
		}
	}
	return out
}

// bindings are the compiled effects. They are built once and never change.
var bindings = sync.OnceValues(func() (map[string]*effect.Binding, error) {
	env, err := expr.New()
	if err != nil {
		return nil, err
	}
	out := map[string]*effect.Binding{}
	for name, s := range Specs() {
		if out[name], err = effect.Compile(env, s); err != nil {
			return nil, fmt.Errorf("tool %s: %w", name, err)
		}
	}
	return out, nil
})

// build makes the protocol side of the server.
func (c *Conn) build(version string) error {
	bound, err := bindings()
	if err != nil {
		return err
	}
	c.client = newSession()
	c.mcp = server.NewMCPServer(ServerName, version,
		server.WithToolCapabilities(false),
		server.WithInputSchemaValidation(),
		server.WithTitle("mcpguard workspace"),
		server.WithInstructions(instructions),
	)
	for _, t := range tools() {
		if t.own && !c.own {
			continue
		}
		if t.kind != "" && t.run == nil {
			b := bound[t.name]
			t.run = func(c *Conn, ctx context.Context, call *call) (*mcp.CallToolResult, error) {
				return c.change(ctx, b, t.name, call)
			}
		}
		c.mcp.AddTool(t.definition(), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			res, err := t.run(c, ctx, callOf(ctx))
			if err != nil {
				return toolError(err), nil
			}
			return res, nil
		})
	}
	return nil
}

func (t tool) definition() mcp.Tool {
	readOnly := t.kind == ""
	closed := false
	def := mcp.Tool{
		Name: t.name, Title: t.title, Description: t.about,
		RawInputSchema: json.RawMessage(t.input),
		Annotations: mcp.ToolAnnotation{
			Title: t.title, ReadOnlyHint: &readOnly, DestructiveHint: &t.destructive, IdempotentHint: &t.again, OpenWorldHint: &closed,
		},
	}
	if t.output != "" {
		def.RawOutputSchema = json.RawMessage(t.output)
	}
	return def
}

// object returns the strict schema of an object with only the named members.
func object(required []string, members ...string) string {
	req, err := json.Marshal(append([]string{}, required...)) // never null, which is no schema
	if err != nil {                                           // strings always encode
		return "false"
	}
	return fmt.Sprintf(`{"type":"object","properties":{%s},"required":%s,"additionalProperties":false}`, strings.Join(members, ","), req)
}

const (
	pathIn   = `"path":{"type":"string","minLength":1,"maxLength":4096,"description":"Path of the file, relative to the workspace folder or absolute inside it"}`
	folderIn = `"path":{"type":"string","minLength":1,"maxLength":4096,"default":".","description":"Folder to look in, relative to the workspace folder; default: the workspace folder"}`
	pathOut  = `"path":{"type":"string","description":"Path relative to the workspace folder"}`
	typeOut  = `"type":{"type":"string","enum":["file","folder","link","other"]}`
)

// changed is the output schema of every tool that changes something.
var changed = object([]string{"path", "changed"}, pathOut,
	`"changed":{"type":"boolean","description":"False if everything was so already"}`,
	`"size":{"type":"integer","description":"Bytes now"}`,
	`"sha256":{"type":"string","description":"Hash of the content now"}`)

func tools() []tool { return slices.Concat(readTools(), writeTools(), commandTools()) }

func readTools() []tool {
	return []tool{
		{
			name: "read_file", title: "Read a file", run: (*Conn).readFile, again: true,
			about: "Read a text file of the workspace. Returns its exact content, or the lines asked for with `offset` and `limit`. " +
				"Output is cut at 1 MiB, at a line; a note then says with which offset to go on. Binary files are refused: use file_info.",
			input: object([]string{"path"}, pathIn,
				`"offset":{"type":"integer","minimum":1,"description":"First line to return, counted from 1"}`,
				`"limit":{"type":"integer","minimum":1,"maximum":100000,"description":"How many lines to return at most"}`),
		},
		{
			name: "read_files", title: "Read several files", run: (*Conn).readFiles, again: true,
			about: "Read up to 50 text files in one call. Each file comes under a line `==> path <==`; one that cannot be read is answered with the reason and does not stop the others. Output is cut at 1 MiB in all.",
			input: object([]string{"paths"}, `"paths":{"type":"array","minItems":1,"maxItems":50,"uniqueItems":true,"items":{"type":"string","minLength":1,"maxLength":4096},"description":"Paths of the files, relative to the workspace folder or absolute inside it"}`),
		},
		{
			name: "list_directory", title: "List a folder", run: (*Conn).listDirectory, again: true,
			about: "List a folder of the workspace, sorted by name: files with their size, folders, links. `depth` lists the folders below as well. At most 1000 entries are returned; `truncated` says that there are more.",
			input: object(nil, folderIn, `"depth":{"type":"integer","minimum":1,"maximum":10,"default":1,"description":"How many levels to list"}`),
			output: object([]string{"path", "entries", "truncated"}, pathOut,
				`"entries":{"type":"array","items":`+object([]string{"path", "type"}, pathOut, typeOut, `"size":{"type":"integer"}`)+`}`,
				`"truncated":{"type":"boolean"}`),
		},
		{
			name: "search_files", title: "Search files", run: (*Conn).searchFiles, again: true,
			about: "Find files by name, by content, or both. `pattern` is a glob over the path below the folder, such as `**/*.go` or `src/{a,b}/*`; `text` is text to find, or a regular expression (RE2) with `regexp`. " +
				"Without `text` the paths are returned, with it each matching line as `path:line: text`. Folders named .git, binary files and files over 4 MiB are passed over; links are not followed.",
			input: object(nil, folderIn,
				`"pattern":{"type":"string","minLength":1,"maxLength":1024,"default":"**","description":"Glob over the path below the folder; ** spans folders"}`,
				`"text":{"type":"string","minLength":1,"maxLength":4096,"description":"Text to find in the files"}`,
				`"regexp":{"type":"boolean","default":false,"description":"Take text as a regular expression in the syntax of RE2"}`,
				`"ignore_case":{"type":"boolean","default":false,"description":"Find text in upper and lower case alike"}`,
				`"limit":{"type":"integer","minimum":1,"maximum":1000,"default":200,"description":"How many results to return at most"}`),
			output: object([]string{"matches", "truncated"},
				`"matches":{"type":"array","items":`+object([]string{"path"}, pathOut, `"line":{"type":"integer","description":"Counted from 1"}`, `"text":{"type":"string"}`)+`}`,
				`"truncated":{"type":"boolean","description":"There is more than was looked at or returned"}`),
		},
		{
			name: "file_info", title: "Describe a file", run: (*Conn).fileInfo, again: true,
			about: "Describe a file or folder without returning its content: type, size, permissions, time of the last change; for a text file also its number of lines, line endings and SHA-256.",
			input: object([]string{"path"}, pathIn),
			output: object([]string{"path", "type", "size", "mode", "modified"}, pathOut, typeOut, `"size":{"type":"integer"}`,
				`"mode":{"type":"string","description":"Permission bits in octal"}`, `"modified":{"type":"string","format":"date-time"}`,
				`"text":{"type":"boolean","description":"Valid UTF-8 without NUL"}`, `"lines":{"type":"integer"}`,
				`"line_endings":{"type":"string","enum":["none","lf","crlf","mixed"]}`, `"sha256":{"type":"string"}`),
		},
		{
			name: "read_document", title: "Read a document", run: (*Conn).readDocument, again: true,
			about: "Read a .json, .jsonc, .yaml, .yml or .toml file as a JSON value, or the part of it that a JSON Pointer (RFC 6901) names. The paths are those that patch_document takes.",
			input: object([]string{"path"}, pathIn, `"pointer":{"type":"string","maxLength":4096,"default":"","description":"JSON Pointer to the wanted part, such as /scripts/test; empty for the whole document"}`),
		},
	}
}

func writeTools() []tool {
	path := map[string]string{"path": "args.path"}
	content := map[string]string{"path": "args.path", "content": "args.content"}
	return []tool{
		{
			name: "write_file", title: "Write a file", kind: effect.FileWrite, params: content, destructive: true, again: true, output: changed,
			about: "Create a file, or replace the whole content of one. For a change to a part of a file use edit_file. The folder must exist. The content is written exactly as given; permission bits of an existing file are kept.",
			input: object([]string{"path", "content"}, pathIn, `"content":{"type":"string","description":"The whole new content"}`),
		},
		{
			name: "edit_file", title: "Edit a file", kind: effect.FileEdit, params: map[string]string{"path": "args.path", "edits": "args.edits"}, destructive: true, output: changed,
			about: "Replace text in a file. Each old_text must be in the file exactly once, byte for byte; add the lines around it until it is, or set replace_all. Edits apply one after the other, all or none. " +
				"In a file whose lines all end in CRLF a plain newline in the texts stands for CRLF.",
			input: object([]string{"path", "edits"}, pathIn,
				`"edits":{"type":"array","minItems":1,"maxItems":1000,"description":"Replacements, applied in order","items":`+
					object([]string{"old_text", "new_text"},
						`"old_text":{"type":"string","minLength":1,"description":"Text that is in the file now"}`,
						`"new_text":{"type":"string","description":"Text to put in its place; empty to delete it"}`,
						`"replace_all":{"type":"boolean","default":false,"description":"Replace every occurrence"}`)+`}`),
		},
		{
			name: "append_file", title: "Append to a file", kind: effect.FileAppend, params: content, output: changed,
			about: "Add text at the end of a file, or create the file with it. No newline is added: begin the text with one if the file does not end in one.",
			input: object([]string{"path", "content"}, pathIn, `"content":{"type":"string","minLength":1,"description":"Text to add at the end"}`),
		},
		{
			name: "patch_document", title: "Patch a document", kind: effect.DocumentPatch, params: map[string]string{"path": "args.path", "patch": "args.patch"}, destructive: true, output: changed,
			about: "Change values in a .json, .jsonc, .yaml, .yml or .toml file with a JSON Patch (RFC 6902), all operations or none. Comments and layout of the rest of the file are kept. " +
				"Begin with a `test` operation for the value you expect. Read the document with read_document first.",
			input: object([]string{"path", "patch"}, pathIn,
				`"patch":{"type":"array","minItems":1,"maxItems":1000,"description":"Operations, applied in order","items":`+
					object([]string{"op", "path"},
						`"op":{"type":"string","enum":["add","remove","replace","move","copy","test"]}`,
						`"path":{"type":"string","description":"JSON Pointer to the value, such as /scripts/test; /list/- appends to a list"}`,
						`"from":{"type":"string","description":"JSON Pointer to the source of move and copy"}`,
						`"value":{"description":"The value for add, replace and test"}`)+`}`),
		},
		{
			name: "move_file", title: "Move a file or folder", kind: effect.FileMove, params: map[string]string{"source": "args.source", "destination": "args.destination"}, output: changed,
			about: "Move or rename a file or a folder within the workspace. Nothing is ever overwritten: the destination must not exist, its folder must.",
			input: object([]string{"source", "destination"},
				`"source":{"type":"string","minLength":1,"maxLength":4096,"description":"Path that exists"}`,
				`"destination":{"type":"string","minLength":1,"maxLength":4096,"description":"New path, including the name"}`),
		},
		{
			name: "delete_file", title: "Delete a file", kind: effect.FileDelete, params: path, destructive: true, output: changed,
			about: "Delete one file, or one empty folder. This cannot be undone here.",
			input: object([]string{"path"}, pathIn),
		},
		{
			name: "create_directory", title: "Create a folder", kind: effect.DirCreate, params: path, again: true, output: changed,
			about: "Create a folder and the folders above it that are missing. A folder that is there already is fine.",
			input: object([]string{"path"}, pathIn),
		},
	}
}
