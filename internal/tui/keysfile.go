package tui

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	tok "github.com/goccy/go-yaml/token"
)

// keysFile is a file of keys with the position of each name and key.
type keysFile struct {
	path  string
	names []*tok.Token            // in the order of the file
	keys  map[string][]*tok.Token // of each name
}

// at returns an error at a position in the file.
func (f *keysFile) at(t *tok.Token, format string, args ...any) error {
	said := fmt.Sprintf(format, args...)
	if t == nil || t.Position == nil {
		return fmt.Errorf("%s: %s", f.path, said)
	}
	return fmt.Errorf("%s:%d:%d: %s", f.path, t.Position.Line, t.Position.Column, said)
}

// readKeys reads a file into names and keys.
func readKeys(path string, b []byte) (*keysFile, error) {
	f := &keysFile{path: path, keys: map[string][]*tok.Token{}}
	if len(bytes.TrimSpace(b)) == 0 {
		return f, nil
	}
	// The strict reader first: it detects duplicate names and invalid YAML.
	var plain map[string]any
	if err := yaml.UnmarshalWithOptions(b, &plain, yaml.Strict()); err != nil {
		if bad := yaml.Error(nil); errors.As(err, &bad) {
			return nil, f.at(bad.GetToken(), "%s", bad.GetMessage())
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	tree, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(plain) == 0 {
		return f, nil // only comments
	}
	if len(tree.Docs) != 1 {
		return nil, f.at(tree.Docs[1].GetToken(), "one document is read, and here is another")
	}
	var pairs []*ast.MappingValueNode
	switch n := tree.Docs[0].Body.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		return nil, f.at(n.GetToken(), "this is no list of names with their keys, such as approve: [y]")
	}
	for _, p := range pairs {
		name := p.Key.GetToken()
		list, ok := p.Value.(*ast.SequenceNode)
		if !ok {
			return nil, f.at(p.Value.GetToken(), "%s takes a list of keys, such as [y]", name.Value)
		}
		f.names = append(f.names, name)
		f.keys[name.Value] = []*tok.Token{}
		for _, v := range list.Values {
			if _, scalar := v.(ast.ScalarNode); !scalar {
				return nil, f.at(v.GetToken(), "a key of %s is a text, such as y or ctrl+y", name.Value)
			}
			f.keys[name.Value] = append(f.keys[name.Value], v.GetToken())
		}
	}
	return f, nil
}

func parseKeys(path string, b []byte) (*KeyMap, error) {
	f, err := readKeys(path, b)
	if err != nil {
		return nil, err
	}
	k := DefaultKeys()
	table := k.table()
	for _, t := range f.names {
		if !slices.ContainsFunc(table, func(n named) bool { return n.name == t.Value }) {
			return nil, f.at(t, "there is no key called %s; `?` in the console lists them", t.Value)
		}
	}
	type place struct {
		name string
		at   *tok.Token // nil for a key that the file does not name
	}
	owner := map[string]place{}
	for _, n := range table {
		var mine []place // under the key's own spelling
		keys := n.keys
		if given, ok := f.keys[n.name]; ok {
			keys = make([]string, len(given))
			for i, t := range given {
				keys[i] = t.Value
				mine = append(mine, place{n.name, t})
			}
			bind(n, keys)
		}
		for i, s := range keys {
			here := place{name: n.name}
			if mine != nil {
				here = mine[i]
			}
			if s == "" || strings.TrimSpace(s) != s {
				return nil, f.at(here.at, "%s has a key without a name; the space bar is called space", n.name)
			}
			if n.section == "decide" && slices.Contains(never, s) {
				return nil, f.at(here.at, "%s cannot be %q, which is pressed without thinking", n.name, s)
			}
			if other, taken := owner[s]; taken {
				return nil, f.clash(s, other.name, other.at, here.name, here.at)
			}
			owner[s] = here
		}
	}
	if len(k.Quit.Keys()) == 0 {
		for _, t := range f.names {
			if t.Value == "quit" {
				return nil, f.at(t, "quit needs a key")
			}
		}
	}
	return k, nil
}

// clash reports that a key would do two things, at the position in the file
// that caused it, and says whether the other one is the default.
func (f *keysFile) clash(s, one string, oneAt *tok.Token, two string, twoAt *tok.Token) error {
	at := twoAt
	if at == nil || oneAt != nil && oneAt.Position.Line > at.Position.Line {
		at, one, two, oneAt, twoAt = oneAt, two, one, twoAt, oneAt
	}
	if one == two {
		return f.at(at, "%q stands twice among the keys of %s", s, one)
	}
	if oneAt == nil {
		return f.at(at, "%q is both %s, by default, and %s; give %s another key too", s, one, two, one)
	}
	return f.at(at, "%q is both %s and %s", s, one, two)
}
