package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// Editor changes config.yaml in place: it inserts and replaces lines and leaves
// every other byte, comments included, as it is. It is not safe for concurrent
// use.
type Editor struct {
	path  string
	mark  string   // a byte order mark, where the file has one
	lines []string // without line ends
}

// ErrExists is wrapped where something of that name is there already.
var ErrExists = errors.New("it is there already")

// OpenEditor reads the file; one that is not there is begun.
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
	e := &Editor{path: path}
	text := string(data)
	if rest, ok := strings.CutPrefix(text, string(bom)); ok {
		e.mark, text = string(bom), rest
	}
	e.lines = strings.Split(strings.TrimRight(text, "\n"), "\n")
	if _, err := e.tree(); err != nil {
		return nil, err
	}
	return e, nil
}

// Bytes returns the text as it stands.
func (e *Editor) Bytes() []byte { return []byte(e.mark + e.text()) }

// text is what Bytes returns, without the mark.
func (e *Editor) text() string { return strings.Join(e.lines, "\n") + "\n" }

// Save checks the whole file and replaces it in one step. What does not load is
// not written; the error is then an *Error.
func (e *Editor) Save() error {
	if _, err := Parse(e.path, e.Bytes()); err != nil {
		return err
	}
	data := e.Bytes()
	if old, err := os.ReadFile(e.path); err == nil && string(old) == string(data) {
		return nil
	}
	return writeFile(e.path, data)
}

func (e *Editor) tree() (*node, error) {
	var list []Diagnostic
	root := parseYAML(e.path, []byte(e.text()), func(p Pos, m, s string) { list = append(list, Diagnostic{p, m, s}) })
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
	Claimed bool // the tier is the server's own claim
	Opaque  bool // write effect: opaque
}

// AddServer appends a server. ErrExists is wrapped if there is one of that name.
func (e *Editor) AddServer(name string, s ServerEntry) error {
	root, err := e.tree()
	if err != nil {
		return err
	}
	servers := root.get("servers")
	if servers.get(name) != nil {
		return fmt.Errorf("adding server %s: %w", name, ErrExists)
	}
	indent := "  "
	var at int
	switch {
	case servers == nil:
		e.lines = append(e.lines, "servers:")
		at = len(e.lines)
	case servers.kind == kindNull, servers.kind == kindMap && len(servers.keys) == 0:
		line := keyPos(root, "servers").Line
		e.lines[line-1] = emptied(e.lines[line-1])
		at = line
	case servers.kind != kindMap || e.flow(servers):
		return fmt.Errorf("adding server %s: 'servers' in %s is written in braces; write it as a block of indented lines first", name, e.path)
	default:
		indent = strings.Repeat(" ", servers.keys[0].pos.Col-1)
		at = e.blockEnd(keyPos(root, "servers"))
	}
	return e.insert(at, s.render(name, indent))
}

// flow reports whether a mapping is written in braces.
func (e *Editor) flow(n *node) bool {
	k := n.keys[0].pos
	return strings.TrimSpace(runePrefix(e.lines[k.Line-1], k.Col-1)) != ""
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

var emptyValue = regexp.MustCompile(`:\s*(?:\{\s*\}|~|null)?\s*(#.*)?$`)

// emptied removes an empty value behind a key and keeps the comment.
func emptied(line string) string {
	return strings.TrimRight(emptyValue.ReplaceAllString(line, ": $1"), " ")
}

// blockEnd returns the number of lines up to the end of what belongs to a key.
func (e *Editor) blockEnd(k Pos) int {
	end := k.Line
	for i := k.Line; i < len(e.lines); i++ {
		text := strings.TrimLeft(e.lines[i], " ")
		if text == "" {
			continue
		}
		if len(e.lines[i])-len(text) < k.Col { // not deeper than the key
			break
		}
		end = i + 1
	}
	return end
}

// insert puts lines behind the first n and checks that the file still parses.
func (e *Editor) insert(n int, lines []string) error {
	old := e.lines
	e.lines = slices.Concat(old[:n], lines, old[n:])
	if _, err := e.tree(); err != nil {
		e.lines = old
		return fmt.Errorf("editing %s: the result would not parse: %w", e.path, err)
	}
	return nil
}

func (s ServerEntry) render(name, indent string) []string {
	in := indent + "  "
	out := []string{indent + quote(name) + ":"}
	add := func(k, v string) { out = append(out, in+k+": "+v) }
	for _, kv := range [][2]string{{"preset", s.Preset}, {"builtin", s.Builtin}, {"command", s.Command}} {
		if kv[1] != "" {
			add(kv[0], quote(kv[1]))
		}
	}
	for _, kv := range []struct {
		k string
		v []string
	}{{"args", s.Args}, {"env", s.Env}} {
		if len(kv.v) > 0 {
			add(kv.k, quoteList(kv.v))
		}
	}
	if len(s.Secrets) > 0 {
		var pairs []string
		for k, v := range s.Secrets {
			pairs = append(pairs, quote(k)+": "+quote(v))
		}
		slices.Sort(pairs)
		add("secrets", "{"+strings.Join(pairs, ", ")+"}")
	}
	if len(s.Workspaces) > 0 {
		add("workspaces", quoteList(s.Workspaces))
	}
	if len(s.Tools) > 0 {
		out = append(out, in+"tools:")
		for _, t := range s.Tools {
			out = append(out, t.render(in+"  ")...)
		}
	}
	return out
}

func (t ToolEntry) render(indent string) []string {
	out := []string{indent + quote(t.Name) + ":", indent + "  tier: " + t.Tier.String()}
	if t.Claimed {
		out[1] += " # " + claim
	}
	if t.Opaque {
		out = append(out, indent+"  effect: opaque")
	}
	return out
}

var plainText = regexp.MustCompile(`^[A-Za-z_./][A-Za-z0-9_./@+-]*$`)

// quote writes a text so that it is read back as that text.
func quote(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n", ".inf", ".nan":
	default:
		if plainText.MatchString(s) && !strings.HasPrefix(s, "...") {
			return s
		}
	}
	b, _ := json.Marshal(s) // a string always has a JSON form
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(b))
}

func quoteList(list []string) string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = quote(s)
	}
	return "[" + strings.Join(q, ", ") + "]"
}

// SetTool adds a tool to a server, or changes the tier of one that the file
// names. Claimed marks the tier as the server's own claim; without it such a
// mark is removed. Opaque and Says are written for a new tool only.
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
	if old := tools.get(t.Name); old != nil {
		return e.setTier(tools, old, t)
	}
	switch {
	case tools == nil:
		k := s.keys[len(s.keys)-1].pos
		if e.flow(s) {
			return fmt.Errorf("changing tool %s: server %s is written in braces; write it as a block of indented lines first", t.Name, server)
		}
		indent := strings.Repeat(" ", k.Col-1)
		lines := append([]string{indent + "tools:"}, t.render(indent+"  ")...)
		return e.insert(e.blockEnd(keyPos(root.get("servers"), server)), lines)
	case tools.kind == kindNull, tools.kind == kindMap && len(tools.keys) == 0:
		k := keyPos(s, "tools")
		e.lines[k.Line-1] = emptied(e.lines[k.Line-1])
		return e.insert(k.Line, t.render(strings.Repeat(" ", k.Col+1)))
	case tools.kind != kindMap || e.flow(tools):
		return fmt.Errorf("changing tool %s: the tools of server %s are written in braces; write them as a block of indented lines first", t.Name, server)
	}
	indent := strings.Repeat(" ", tools.keys[0].pos.Col-1)
	return e.insert(e.blockEnd(keyPos(s, "tools")), t.render(indent))
}

var claimComment = regexp.MustCompile(`\s*#\s*` + regexp.QuoteMeta(claim))

// setTier replaces or inserts the tier of a tool that the file names.
func (e *Editor) setTier(tools, tool *node, t ToolEntry) error {
	tier := tool.get("tier")
	if tier == nil {
		k := keyPos(tools, t.Name)
		switch {
		case tool.kind == kindNull:
			e.lines[k.Line-1] = emptied(e.lines[k.Line-1])
			return e.insert(k.Line, t.render(strings.Repeat(" ", k.Col-1))[1:2])
		case tool.kind == kindMap && len(tool.keys) > 0 && !e.flow(tool):
			first := tool.keys[0].pos
			line := strings.Repeat(" ", first.Col-1) + strings.TrimLeft(t.render("")[1], " ")
			return e.insert(first.Line-1, []string{line})
		case tool.kind == kindMap && len(tool.keys) > 0:
			first := tool.keys[0].pos
			return e.replace(first, 0, "tier: "+t.Tier.String()+", ", t.Claimed)
		}
		return fmt.Errorf("changing tool %s: it cannot be changed in place; add its tier by hand", t.Name)
	}
	n := len([]rune(tier.text)) + 2*max(tier.inner, 0)
	return e.replace(tier.pos, n, t.Tier.String(), t.Claimed)
}

// replace puts text in place of n characters at p, and sets or removes the mark
// of a claimed tier at the end of the line.
func (e *Editor) replace(p Pos, n int, text string, claimed bool) error {
	old := e.lines[p.Line-1]
	r := []rune(old)
	if p.Col-1+n > len(r) {
		return fmt.Errorf("editing %s: line %d is not what it was", e.path, p.Line)
	}
	line := string(r[:p.Col-1]) + text + string(r[p.Col-1+n:])
	line = claimComment.ReplaceAllString(line, "")
	if claimed {
		if strings.Contains(line, " #") {
			line += "; " + claim
		} else {
			line += " # " + claim
		}
	}
	e.lines[p.Line-1] = line
	if _, err := e.tree(); err != nil {
		e.lines[p.Line-1] = old
		return fmt.Errorf("editing %s: the result would not parse: %w", e.path, err)
	}
	return nil
}

// AddRoot makes the guard serve a folder in a file without profiles. It reports
// whether the file changed; with profiles the folder belongs into one of them.
func (e *Editor) AddRoot(folder string) (bool, error) {
	root, err := e.tree()
	if err != nil {
		return false, err
	}
	if root.get("profiles") != nil {
		return false, nil
	}
	roots := root.get("roots")
	if roots == nil {
		at := 0
		if v := keyPos(root, "version"); v.Line > 0 {
			at = v.Line
		}
		return true, e.insert(at, []string{"roots: " + quoteList([]string{folder})})
	}
	for _, r := range roots.items {
		if expand(r.text) == folder {
			return false, nil
		}
	}
	if roots.kind == kindList && len(roots.items) > 0 {
		last := roots.items[len(roots.items)-1]
		before := runePrefix(e.lines[last.pos.Line-1], last.pos.Col-1)
		if strings.TrimSpace(before) == "-" {
			return true, e.insert(last.pos.Line, []string{before + quote(folder)})
		}
		n := len([]rune(last.text)) + 2*max(last.inner, 0)
		end := last.pos
		end.Col += n
		return true, e.replace(end, 0, ", "+quote(folder), false)
	}
	return false, fmt.Errorf("adding the folder %s: 'roots' in %s cannot be changed in place", folder, e.path)
}
