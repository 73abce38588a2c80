package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a file.
const (
	maxFile  = 1 << 20 // bytes
	maxLines = 20_000  // the parser takes quadratic time in the lines
	maxDepth = 32      // nesting of values
)

type kind uint8

const (
	kindNull kind = iota
	kindString
	kindNumber
	kindBool
	kindList
	kindMap
)

func (k kind) String() string {
	return [...]string{"nothing", "a text", "a number", "true or false", "a list", "a mapping"}[k]
}

// node is one value in a file with its position. Anchors, aliases, tags and merge
// keys are not accepted, as they hide from a reader what is in force.
type node struct {
	kind  kind
	text  string // of a scalar
	pos   Pos
	inner int // columns from pos to the text itself; −1 if it starts on another line
	keys  []key
	items []*node // of a list, or the values that belong to keys
}

type key struct {
	name string
	pos  Pos
}

// get returns the value of a key, or nil.
func (n *node) get(name string) *node {
	if n == nil || n.kind != kindMap {
		return nil
	}
	for i, k := range n.keys {
		if k.name == name {
			return n.items[i]
		}
	}
	return nil
}

// parseYAML reads one document and reports its problems. The node is nil if there
// is no structure to inspect.
func parseYAML(file string, data []byte, report func(Pos, string, string)) (root *node) {
	whole := Pos{File: file}
	defer func() {
		if r := recover(); r != nil { // fail closed: what the parser trips over does not load
			report(whole, "the file cannot be parsed as YAML", "")
			root = nil
		}
	}()
	if msg := admissible(data); msg != "" {
		report(whole, msg, "")
		return nil
	}
	f, err := parser.ParseBytes(data, parser.ParseComments, parser.AllowDuplicateMapKey())
	if err != nil {
		pos, msg := whole, err.Error()
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			msg = syntax.GetMessage()
			if t := syntax.GetToken(); t != nil {
				pos = at(file, t)
			}
		}
		remedy := ""
		if strings.Contains(msg, "'\t'") {
			remedy = "YAML is indented with spaces, not with tabs"
		}
		report(pos, "this is not valid YAML: "+firstLine(msg), remedy)
		return nil
	}
	if len(f.Docs) > 1 {
		report(at(file, f.Docs[1].GetToken()), "the file holds more than one document", "remove the line ---")
		return nil
	}
	if len(f.Docs) == 0 || f.Docs[0].Body == nil {
		return &node{kind: kindNull, pos: Pos{File: file, Line: 1, Col: 1}}
	}
	c := converter{file: file, report: report}
	return c.convert(f.Docs[0].Body, 0)
}

// admissible refuses input before it reaches the parser, in particular nesting that
// would overflow its stack.
func admissible(data []byte) string {
	if len(data) > maxFile {
		return fmt.Sprintf("the file has %d bytes; at most %d are read", len(data), maxFile)
	}
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return "the file is UTF-16; save it as UTF-8"
	}
	if !utf8.Valid(data) {
		return "the file is not valid UTF-8"
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return "the file contains a NUL byte"
	}
	if n := bytes.Count(data, []byte("\n")); n > maxLines {
		return fmt.Sprintf("the file has %d lines; at most %d are read", n, maxLines)
	}
	depth := 0
	for line := range bytes.Lines(data) {
		if bytes.Count(line, []byte("- ")) > maxDepth*4 || bytes.Count(line, []byte("? ")) > maxDepth*4 {
			return "a line nests too deeply"
		}
		for _, c := range line {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(depth-1, 0)
			}
		}
		if depth > maxDepth*4 || bytes.Count(line, []byte("!")) > 256 || bytes.Count(line, []byte("&")) > 256 {
			return "the file nests too deeply"
		}
	}
	return ""
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

func at(file string, t *token.Token) Pos {
	if t == nil || t.Position == nil {
		return Pos{File: file}
	}
	return Pos{File: file, Line: max(t.Position.Line, 1), Col: max(t.Position.Column, 1)}
}

type converter struct {
	file   string
	report func(Pos, string, string)
}

func (c *converter) convert(n ast.Node, depth int) *node {
	pos := at(c.file, n.GetToken())
	bad := func(msg, suggestion string) *node {
		c.report(pos, msg, suggestion)
		return nil
	}
	if depth > maxDepth {
		return bad("values are nested too deeply", "")
	}
	switch n := n.(type) {
	case *ast.NullNode:
		return &node{kind: kindNull, pos: pos}
	case *ast.StringNode:
		inner := 0
		if n.Token.Type == token.DoubleQuoteType || n.Token.Type == token.SingleQuoteType {
			inner = 1
		}
		return &node{kind: kindString, text: n.Value, pos: pos, inner: inner}
	case *ast.LiteralNode:
		if n.Value == nil {
			return bad("the text is missing", "")
		}
		return &node{kind: kindString, text: n.Value.Value, pos: pos, inner: -1}
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return &node{kind: kindNumber, text: n.GetToken().Value, pos: pos}
	case *ast.BoolNode:
		return &node{kind: kindBool, text: n.Token.Value, pos: pos}
	case *ast.SequenceNode:
		out := &node{kind: kindList, pos: pos}
		for _, v := range n.Values {
			if x := c.convert(v, depth+1); x != nil {
				out.items = append(out.items, x)
			}
		}
		return out
	case *ast.MappingNode:
		return c.mapping(pos, n.Values, depth)
	case *ast.MappingValueNode:
		return c.mapping(pos, []*ast.MappingValueNode{n}, depth)
	case *ast.AnchorNode, *ast.AliasNode:
		return bad("anchors and aliases are not allowed: what is in force must stand where it is read", "write the value out")
	case *ast.TagNode:
		return bad("tags are not allowed", "remove "+n.GetToken().Value)
	}
	return bad("this kind of YAML value is not allowed", "")
}

func (c *converter) mapping(pos Pos, values []*ast.MappingValueNode, depth int) *node {
	out := &node{kind: kindMap, pos: pos}
	if len(values) > 0 && values[0].Key != nil {
		out.pos = at(c.file, values[0].Key.GetToken())
	}
	seen := map[string]Pos{}
	for _, v := range values {
		kpos := at(c.file, v.Key.GetToken())
		name, ok := keyName(v.Key)
		if !ok {
			c.report(kpos, "a key must be a plain word; merge keys and complex keys are not allowed", "write the members out")
			continue
		}
		if first, dup := seen[name]; dup {
			c.report(kpos, fmt.Sprintf("the key %q is written twice (first on line %d)", name, first.Line), "remove one of them")
			continue
		}
		seen[name] = kpos
		if x := c.convert(v.Value, depth+1); x != nil {
			out.keys = append(out.keys, key{name, kpos})
			out.items = append(out.items, x)
		}
	}
	return out
}

func keyName(k ast.Node) (string, bool) {
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return k.GetToken().Value, true
	}
	return "", false
}
