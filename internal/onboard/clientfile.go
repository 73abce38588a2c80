package onboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/document"
	"github.com/mcpguard/mcpguard/internal/hook"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Scope says where an entry of a client's configuration applies.
type Scope string

// The scopes, as Claude Code calls them; File is for any other client.
const (
	Local   Scope = "local"   // one project, for this user: ~/.claude.json
	Project Scope = "project" // one project, for everybody: .mcp.json
	User    Scope = "user"    // every project of this user: ~/.claude.json
	File    Scope = "file"    // a named file of an unknown client
)

// maxClientFile is the largest client configuration that is read, in bytes.
const maxClientFile = 64 << 20

// ClientFile is a client's configuration file.
type ClientFile struct {
	Path    string // as it was named
	Entries []*Entry
	Notes   []string // notes of the plan about the whole file

	real string // with links resolved; the file that is written
	data []byte
	body int // where the JSON begins: after a byte order mark
	mode fs.FileMode
	// projects says, for ~/.claude.json and by project, which servers of
	// .mcp.json the user has allowed Claude Code to start.
	projects map[string]trust
}

type trust struct {
	accepted bool
	enabled  []string
}

// Entry is one server in a client's configuration.
type Entry struct {
	File    *ClientFile
	Scope   Scope
	Project string // project folder of a local entry
	Name    string
	Type    string
	URL     string
	Headers bool   // the entry sets HTTP headers
	Command string // as it is written
	Args    []string
	Env     []Variable // in the file's order
	Timeout int64      // of a call in milliseconds, if the entry sets one
	Problem string     // why the entry cannot be read; empty if it can

	value              jsonrpc.Span // the whole entry, in the JSON without byte order mark
	command, args, env jsonrpc.Span // zero if absent
}

// Variable is one environment variable as the entry has it.
type Variable struct{ Name, Value string }

// FileError says where a client's configuration cannot be read. Line and Col
// count from 1, Col in characters; 0 means the whole file.
type FileError struct {
	Path      string
	Line, Col int
	Message   string

	noServers bool // it can be read, but has no servers
}

func (e *FileError) Error() string {
	if e.Line == 0 {
		return e.Path + ": " + e.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.Path, e.Line, e.Col, e.Message)
}

// readClientFile reads a file. A file that cannot be read in exactly one way
// is a *FileError, and is never edited.
func readClientFile(path string) (*ClientFile, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(real)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxClientFile {
		return nil, &FileError{Path: path, Message: "it is not a file, or too large to be a client's configuration"}
	}
	data, err := os.ReadFile(real)
	if err != nil {
		return nil, err
	}
	f, err := parseClientFile(path, data)
	if err != nil {
		return nil, err
	}
	f.real, f.mode = real, st.Mode().Perm()
	return f, nil
}

// parseClientFile finds the servers of .mcp.json, ~/.claude.json or another
// client's file that has mcpServers.
func parseClientFile(path string, data []byte) (*ClientFile, error) {
	f := &ClientFile{Path: path, data: data, projects: map[string]trust{}}
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		f.body = 3
	}
	root, err := f.check()
	if err != nil {
		return nil, err
	}
	members, err := f.object(root)
	if err != nil {
		return nil, err
	}
	top := File
	switch _, claude := members["projects"]; {
	case claude || filepath.Base(path) == ".claude.json":
		top = User
	case filepath.Base(path) == ".mcp.json":
		top = Project
	}
	servers, ok := members["mcpServers"]
	if !ok && top != User {
		return nil, &FileError{Path: path, Message: "it has no mcpServers, so it is no client's configuration that is known here", noServers: true}
	}
	if ok {
		if err := f.servers(servers, top, ""); err != nil {
			return nil, err
		}
	}
	if projects, ok := members["projects"]; ok {
		if err := f.readProjects(projects); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *ClientFile) json() []byte { return f.data[f.body:] }

// check refuses what is not JSON, with the position.
func (f *ClientFile) check() (jsonrpc.Span, error) {
	b := f.json()
	if !utf8.Valid(b) {
		at := 0
		for at < len(b) {
			r, n := utf8.DecodeRune(b[at:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			at += n
		}
		return jsonrpc.Span{}, f.at(at, "it is not valid UTF-8")
	}
	var any json.RawMessage
	if err := json.Unmarshal(b, &any); err != nil {
		var syntax *json.SyntaxError
		if !errors.As(err, &syntax) {
			return jsonrpc.Span{}, &FileError{Path: f.Path, Message: "it is not JSON: " + err.Error()}
		}
		return jsonrpc.Span{}, f.notJSON(int(syntax.Offset)-1, syntax)
	}
	root, ok := jsonrpc.Root(b)
	if !ok || jsonrpc.TypeOf(b, root) != jsonrpc.ObjectType {
		return jsonrpc.Span{}, f.at(root.Start, "a client's configuration is a JSON object")
	}
	return root, nil
}

// notJSON says what is there instead of JSON, in plain words for the usual
// cases.
func (f *ClientFile) notJSON(at int, cause error) error {
	b := f.json()
	at = min(max(at, 0), len(b))
	before := bytes.TrimRight(b[:at], " \t\r\n")
	switch {
	case at >= len(b)-1 && strings.Contains(cause.Error(), "unexpected end"):
		return f.at(len(b), "the JSON ends too early: a bracket or a quote is not closed")
	case at < len(b) && b[at] == '/':
		return f.at(at, "comments are not JSON. Claude Code does not read such a file, and an edit could not keep it as it is: remove the comment")
	case at < len(b) && (b[at] == '}' || b[at] == ']') && bytes.HasSuffix(before, []byte(",")):
		return f.at(len(before)-1, "a comma stands before the closing bracket, which is not JSON: remove it")
	}
	return f.at(at, "this is not JSON: "+cause.Error())
}

// at returns an error at an offset in the JSON.
func (f *ClientFile) at(offset int, message string) error {
	b := f.json()
	offset = min(max(offset, 0), len(b))
	line := 1 + bytes.Count(b[:offset], []byte("\n"))
	start := bytes.LastIndexByte(b[:offset], '\n') + 1
	return &FileError{Path: f.Path, Line: line, Col: 1 + utf8.RuneCount(b[start:offset]), Message: message}
}

// object returns the members of an object. It refuses duplicate names, because
// readers differ in which one counts.
func (f *ClientFile) object(at jsonrpc.Span) (map[string]jsonrpc.Span, error) {
	b := f.json()
	if jsonrpc.TypeOf(b, at) != jsonrpc.ObjectType {
		return nil, f.at(at.Start, "an object is expected here")
	}
	out := map[string]jsonrpc.Span{}
	for m := range jsonrpc.Members(b, at) {
		if _, twice := out[m.Name]; twice {
			return nil, f.at(m.Key.Start, fmt.Sprintf("%q is there twice; remove one of them", m.Name))
		}
		out[m.Name] = m.Value
	}
	return out, nil
}

// servers reads one object of servers, in file order.
func (f *ClientFile) servers(at jsonrpc.Span, scope Scope, project string) error {
	all, err := f.object(at)
	if err != nil {
		return err
	}
	for m := range jsonrpc.Members(f.json(), at) {
		e := &Entry{File: f, Scope: scope, Project: project, Name: m.Name, value: all[m.Name]}
		if err := e.read(); err != nil {
			return err
		}
		f.Entries = append(f.Entries, e)
	}
	return nil
}

// read fills an entry. Anything unexpected becomes the entry's Problem.
func (e *Entry) read() error {
	b := e.File.json()
	if jsonrpc.TypeOf(b, e.value) != jsonrpc.ObjectType {
		e.Problem = "it is not an object"
		return nil
	}
	members, err := e.File.object(e.value)
	if err != nil {
		return err
	}
	text := func(name string) string {
		at, ok := members[name]
		if !ok {
			return ""
		}
		s, ok := jsonrpc.String(b, at)
		if !ok {
			e.Problem = name + " is not a text"
		}
		return s
	}
	e.Type, e.URL, e.Command = text("type"), text("url"), text("command")
	e.command, e.args, e.env = members["command"], members["args"], members["env"]
	headers, ok := members["headers"]
	e.Headers = ok && jsonrpc.TypeOf(b, headers) != jsonrpc.NullType
	e.Timeout, _ = jsonrpc.Integer(b, members["timeout"])
	if !e.args.IsZero() && jsonrpc.TypeOf(b, e.args) != jsonrpc.ArrayType {
		e.Problem = "args is not a list"
	}
	for el := range jsonrpc.Elements(b, e.args) {
		s, ok := jsonrpc.String(b, el)
		if !ok {
			e.Problem = "args holds something that is not a text"
		}
		e.Args = append(e.Args, s)
	}
	if e.env.IsZero() || jsonrpc.TypeOf(b, e.env) == jsonrpc.NullType {
		return nil
	}
	if _, err := e.File.object(e.env); err != nil {
		return err
	}
	for m := range jsonrpc.Members(b, e.env) {
		s, ok := jsonrpc.String(b, m.Value)
		if !ok {
			e.Problem = "env holds something that is not a text"
		}
		e.Env = append(e.Env, Variable{m.Name, s})
	}
	return nil
}

// readProjects reads the local servers of ~/.claude.json, by project.
func (f *ClientFile) readProjects(at jsonrpc.Span) error {
	if _, err := f.object(at); err != nil {
		return err
	}
	b := f.json()
	for p := range jsonrpc.Members(b, at) {
		members, err := f.object(p.Value)
		if err != nil {
			return err
		}
		t := trust{}
		t.accepted, _ = jsonrpc.Bool(b, members["hasTrustDialogAccepted"])
		for el := range jsonrpc.Elements(b, members["enabledMcpjsonServers"]) {
			if name, ok := jsonrpc.String(b, el); ok {
				t.enabled = append(t.enabled, name)
			}
		}
		f.projects[p.Name] = t
		if servers, ok := members["mcpServers"]; ok {
			if err := f.servers(servers, Local, p.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// guarded reports whether the entry already starts the guard, and for which
// server.
func (e *Entry) guarded() (server string, ok bool) {
	switch filepath.Base(e.Command) {
	case "mcpguard", "mcpguardd": // mcpguardd in entries of earlier versions
	default:
		return "", false
	}
	if len(e.Args) < 2 || e.Args[0] != "stdio" {
		return "", false
	}
	return e.Args[1], true
}

// where names the scope of the entry.
func (e *Entry) where() string {
	if e.Scope == Local {
		return "local scope of " + e.Project
	}
	return string(e.Scope) + " scope"
}

// edits makes the entry start the guard and keeps every other byte of it. Only
// the entry is read and written as a document: the rest of the file, such as
// years of history in ~/.claude.json, need not be valid.
func (e *Entry) edits(program, server, home string) ([]jsonrpc.Edit, error) {
	if e.command.IsZero() {
		return nil, fmt.Errorf("changing %s in %s: it has no command", e.Name, e.File.Path)
	}
	args := []string{"stdio", server}
	if hook.ServerWord(e.Name) != hook.ServerWord(server) {
		args = append(args, "--as", e.Name) // the name that the client's hooks use
	}
	env := map[string]string{}
	if home != "" {
		env["MCPGUARD_HOME"] = home
	}
	var p jsonvalue.Patch
	for _, m := range []struct {
		name  string
		value any
	}{{"command", program}, {"args", args}, {"env", env}} {
		if m.name == "env" && home == "" && e.env.IsZero() {
			continue
		}
		raw, err := json.Marshal(m.value)
		if err != nil {
			return nil, fmt.Errorf("changing %s in %s: %w", e.Name, e.File.Path, err)
		}
		v, err := jsonvalue.Decode(raw)
		if err != nil {
			return nil, fmt.Errorf("changing %s in %s: %w", e.Name, e.File.Path, err)
		}
		p = append(p, jsonvalue.Op{Op: jsonvalue.OpAdd, Path: jsonvalue.FormatPointer(m.name), Value: v})
	}
	// Include the text before it on its line, so that the indentation is
	// known.
	b := e.File.json()
	line := b[bytes.LastIndexByte(b[:e.value.Start], '\n')+1:]
	indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
	out, _, err := document.Patch("entry.json", append(bytes.Clone(indent), e.value.Of(b)...), p)
	if err != nil {
		return nil, fmt.Errorf("changing %s in %s: %w", e.Name, e.File.Path, err)
	}
	return []jsonrpc.Edit{{Span: e.value, With: out[len(indent):]}}, nil
}

// with returns the file with edits applied, after checking the result.
func (f *ClientFile) with(edits []jsonrpc.Edit) ([]byte, error) {
	b := jsonrpc.ReplaceSpans(f.json(), edits)
	if b == nil {
		return nil, fmt.Errorf("changing %s: the places to change overlap", f.Path)
	}
	out := append(append([]byte(nil), f.data[:f.body]...), b...)
	if _, err := parseClientFile(f.Path, out); err != nil {
		return nil, fmt.Errorf("changing %s: the result would not be read back: %w", f.Path, err)
	}
	return out, nil
}
