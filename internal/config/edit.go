package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/document"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Editor changes config.yaml in place: bytes that a change does not affect stay as
// they are, comments included. It is not safe for concurrent use.
type Editor struct {
	path string
	data []byte
}

// ErrExists is wrapped if the name is already in use.
var ErrExists = errors.New("it is there already")

// OpenEditor reads the file, or starts a new one if it does not exist.
func OpenEditor(path string) (*Editor, error) {
	data, err := readOwned(path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = []byte("# yaml-language-server: $schema=mcpguard.schema.json\nversion: 1\n"), nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the configuration: %w", err)
	}
	return NewEditor(path, data)
}

// NewEditor edits data, which Save writes to path.
func NewEditor(path string, data []byte) (*Editor, error) {
	e := &Editor{path: path, data: data}
	if _, err := e.tree(); err != nil {
		return nil, err
	}
	return e, nil
}

// Bytes returns the current text.
func (e *Editor) Bytes() []byte { return bytes.Clone(e.data) }

// Save checks the whole file and replaces it atomically. A file that would not load
// is not written; the error is then an *Error.
func (e *Editor) Save() error {
	if _, err := Parse(e.path, e.Bytes()); err != nil {
		return err
	}
	if old, err := os.ReadFile(e.path); err == nil && bytes.Equal(old, e.data) {
		return nil
	}
	return writeFile(e.path, e.data)
}

func (e *Editor) tree() (*node, error) {
	var list []Diagnostic
	text, _ := bytes.CutPrefix(e.data, bom)
	root := parseYAML(e.path, text, func(p Pos, m, s string) { list = append(list, Diagnostic{p, m, s}) })
	if err := NewError(list); err != nil {
		return nil, err
	}
	if root.kind != kindMap && root.kind != kindNull {
		return nil, NewError([]Diagnostic{{root.pos, "the configuration is a mapping", ""}})
	}
	return root, nil
}

// ServerEntry is what `add` writes about a server.
type ServerEntry struct {
	Preset, Builtin, Command string
	Args, Env                []string
	Secrets                  map[string]string
	Workspaces               []string
	Tools                    []ToolEntry
}

// ToolEntry is what `add` and `accept` write about a tool.
type ToolEntry struct {
	Name    string
	Tier    guard.Tier
	Claimed bool // the tier is only the server's claim
	Opaque  bool // write effect: opaque
}

// AddServer appends a server. It wraps ErrExists if the name is in use.
func (e *Editor) AddServer(name string, s ServerEntry) error {
	root, err := e.tree()
	if err != nil {
		return err
	}
	servers := root.get("servers")
	if servers.get(name) != nil {
		return fmt.Errorf("adding server %s: %w", name, ErrExists)
	}
	if servers != nil && servers.kind != kindNull && (servers.kind != kindMap || e.flow(servers)) {
		return fmt.Errorf("adding server %s: 'servers' in %s is written in braces; write it as a block of indented lines first", name, e.path)
	}
	entry, err := s.value()
	if err != nil {
		return fmt.Errorf("adding server %s: %w", name, err)
	}
	return e.change(func(text []byte) ([]byte, error) {
		text, err := put(text, servers, entry, "servers", name)
		for _, t := range s.Tools {
			if err == nil && t.Claimed {
				text, err = document.MarkYAML(text, jsonvalue.FormatPointer("servers", name, "tools", t.Name, "tier"), claim, true)
			}
		}
		return text, err
	})
}

// change replaces the text with the result of edit, if that still parses.
func (e *Editor) change(edit func(text []byte) ([]byte, error)) error {
	text, mark := bytes.CutPrefix(e.data, bom)
	text, err := edit(text)
	if err != nil {
		return fmt.Errorf("editing %s: %w", e.path, err)
	}
	if mark {
		text = slices.Concat(bom, text)
	}
	old := e.data
	e.data = text
	if _, err := e.tree(); err != nil {
		e.data = old
		return fmt.Errorf("editing %s: the result would not parse: %w", e.path, err)
	}
	return nil
}

// put adds a member to the mapping old, or creates the mapping if the file has
// none.
func put(text []byte, old *node, v jsonvalue.Value, path ...string) ([]byte, error) {
	if old != nil && old.kind == kindMap {
		return patch(text, jsonvalue.Op{Op: jsonvalue.OpAdd, Path: jsonvalue.FormatPointer(path...), Value: v})
	}
	last := len(path) - 1
	v, err := jsonvalue.Object(jsonvalue.Member{Name: path[last], Value: v})
	if err != nil {
		return nil, err
	}
	return patch(text, jsonvalue.Op{Op: jsonvalue.OpAdd, Path: jsonvalue.FormatPointer(path[:last]...), Value: v})
}

// patch applies one operation to the text, and refuses if that would reformat the
// rest of the file.
func patch(text []byte, o jsonvalue.Op) ([]byte, error) {
	out, rewritten, err := document.PatchInline("config.yaml", text, jsonvalue.Patch{o})
	if err == nil && rewritten {
		err = errors.New("it cannot be changed in place; change it by hand, or write it as a block of indented lines first")
	}
	return out, err
}

// flow reports whether a non-empty mapping is written in braces.
func (e *Editor) flow(n *node) bool {
	if len(n.keys) == 0 {
		return false
	}
	k := n.keys[0].pos
	text, _ := bytes.CutPrefix(e.data, bom)
	lines := strings.Split(string(text), "\n")
	return strings.TrimSpace(runePrefix(lines[k.Line-1], k.Col-1)) != ""
}

func keyPos(n *node, name string) Pos {
	for _, k := range n.keys {
		if k.name == name {
			return k.pos
		}
	}
	return Pos{}
}

func runePrefix(s string, n int) string {
	r := []rune(s)
	return string(r[:min(n, len(r))])
}

// mapping collects the non-empty members of an entry.
type mapping struct {
	members []jsonvalue.Member
	err     error
}

func (m *mapping) put(name string, v jsonvalue.Value, err error) {
	m.members, m.err = append(m.members, jsonvalue.Member{Name: name, Value: v}), errors.Join(m.err, err)
}

func (m *mapping) text(name, s string) {
	if s != "" {
		v, err := jsonvalue.String(s)
		m.put(name, v, err)
	}
}

func (m *mapping) list(name string, texts []string) {
	if len(texts) > 0 {
		v, err := textList(texts)
		m.put(name, v, err)
	}
}

func (m *mapping) value() (jsonvalue.Value, error) {
	if m.err != nil {
		return jsonvalue.Value{}, m.err
	}
	return jsonvalue.Object(m.members...)
}

func textList(texts []string) (jsonvalue.Value, error) {
	list := make([]jsonvalue.Value, len(texts))
	for i, s := range texts {
		v, err := jsonvalue.String(s)
		if err != nil {
			return jsonvalue.Value{}, err
		}
		list[i] = v
	}
	return jsonvalue.Array(list...)
}

func (s ServerEntry) value() (jsonvalue.Value, error) {
	var m, secrets, tools mapping
	m.text("preset", s.Preset)
	m.text("builtin", s.Builtin)
	m.text("command", s.Command)
	m.list("args", s.Args)
	m.list("env", s.Env)
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		secrets.text(name, s.Secrets[name])
	}
	if len(secrets.members) > 0 {
		v, err := secrets.value()
		m.put("secrets", v, err)
	}
	m.list("workspaces", s.Workspaces)
	for _, t := range s.Tools {
		v, err := t.value()
		tools.put(t.Name, v, err)
	}
	if len(s.Tools) > 0 {
		v, err := tools.value()
		m.put("tools", v, err)
	}
	return m.value()
}

func (t ToolEntry) value() (jsonvalue.Value, error) {
	var m mapping
	m.text("tier", t.Tier.String())
	if t.Opaque {
		m.text("effect", "opaque")
	}
	return m.value()
}

// SetTool adds a tool to a server, or changes the tier of an existing one. Claimed
// marks the tier as the server's own claim; otherwise such a mark is removed.
// Opaque is written for new tools only.
func (e *Editor) SetTool(server string, t ToolEntry) error {
	root, err := e.tree()
	if err != nil {
		return err
	}
	s := root.get("servers").get(server)
	if s == nil || s.kind != kindMap {
		return fmt.Errorf("changing tool %s: there is no server %s in %s", t.Name, server, e.path)
	}
	tools := s.get("tools")
	old := tools.get(t.Name)
	switch {
	case old != nil && old.kind != kindNull && old.kind != kindMap:
		return fmt.Errorf("changing tool %s: it cannot be changed in place; add its tier by hand", t.Name)
	case old != nil:
	case tools == nil && e.flow(s):
		return fmt.Errorf("changing tool %s: server %s is written in braces; write it as a block of indented lines first", t.Name, server)
	case tools != nil && tools.kind != kindNull && (tools.kind != kindMap || e.flow(tools)):
		return fmt.Errorf("changing tool %s: the tools of server %s are written in braces; write them as a block of indented lines first", t.Name, server)
	}
	path := []string{"servers", server, "tools", t.Name}
	tier, tierErr := jsonvalue.String(t.Tier.String())
	entry, err := t.value()
	if err := errors.Join(err, tierErr); err != nil {
		return fmt.Errorf("changing tool %s: %w", t.Name, err)
	}
	return e.change(func(text []byte) ([]byte, error) {
		var err error
		if old == nil {
			text, err = put(text, tools, entry, path...)
		} else {
			text, err = put(text, old, tier, append(path, "tier")...)
		}
		if err != nil {
			return nil, err
		}
		return document.MarkYAML(text, jsonvalue.FormatPointer(append(path, "tier")...), claim, t.Claimed)
	})
}

// AddRoot adds a folder to a file without profiles. It reports whether the file
// changed. In a file with profiles, the folder belongs in one of them.
func (e *Editor) AddRoot(folder string) (bool, error) {
	root, err := e.tree()
	if err != nil {
		return false, err
	}
	if root.get("profiles") != nil {
		return false, nil
	}
	one, oneErr := jsonvalue.String(folder)
	list, listErr := textList([]string{folder})
	if err := errors.Join(oneErr, listErr); err != nil {
		return false, fmt.Errorf("adding the folder %q: %w", folder, err)
	}
	op := jsonvalue.Op{Op: jsonvalue.OpAdd, Path: "/roots", Value: list}
	if roots := root.get("roots"); roots != nil && roots.kind != kindNull {
		for _, r := range roots.items {
			if expand(r.text) == folder {
				return false, nil
			}
		}
		if roots.kind != kindList {
			return false, fmt.Errorf("adding the folder %s: 'roots' in %s cannot be changed in place", folder, e.path)
		}
		op.Path, op.Value = "/roots/-", one
	}
	return true, e.change(func(text []byte) ([]byte, error) { return patch(text, op) })
}
