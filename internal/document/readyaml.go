package document

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Limits on what aliases and merge keys may add: the number of copied members, and
// the total weight in bytes.
const (
	maxMergedMembers = 1 << 17
	maxExpandedBytes = 16 << 20
)

func parseYAML(data []byte, n *Notes) (jsonvalue.Value, error) {
	if err := checkForeign(data); err != nil {
		return jsonvalue.Value{}, err
	}
	var file *ast.File
	err := guarded(func() (err error) {
		file, err = parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
		return err
	})
	if err != nil {
		return jsonvalue.Value{}, errors.New("malformed YAML")
	}
	if len(file.Docs) > 1 {
		return jsonvalue.Value{}, ErrNotOneDocument
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return jsonvalue.Null(), nil
	}
	r := yamlReader{notes: n, anchors: map[string]jsonvalue.Value{}}
	v := jsonvalue.Value{}
	err = guarded(func() (err error) {
		v, err = r.value(file.Docs[0].Body)
		return err
	})
	if err == nil && v.Weight() > maxExpandedBytes {
		err = ErrTooLarge
	}
	return v, err
}

// yamlReader converts a syntax tree to a value. It resolves plain scalars itself,
// by the core schema of YAML 1.2, because it must know where other parsers would
// resolve them differently.
type yamlReader struct {
	notes   *Notes
	path    []string
	depth   int // of the tree; may exceed that of the value
	merged  int
	anchors map[string]jsonvalue.Value
}

func (r *yamlReader) note(text string) {
	r.notes.Ambiguous = append(r.notes.Ambiguous, jsonvalue.FormatPointer(r.path...)+" "+text)
}

func (r *yamlReader) value(n ast.Node) (jsonvalue.Value, error) {
	if r.depth++; r.depth > 2*jsonvalue.MaxDepth {
		return jsonvalue.Value{}, jsonvalue.ErrDepth
	}
	defer func() { r.depth-- }()
	switch n := n.(type) {
	case nil:
		return jsonvalue.Null(), nil
	case *ast.MappingNode:
		return r.mapping(n.Values)
	case *ast.MappingValueNode:
		return r.mapping([]*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		vals := make([]jsonvalue.Value, len(n.Values))
		for i, e := range n.Values {
			var err error
			if vals[i], err = r.child(strconv.Itoa(i), e); err != nil {
				return jsonvalue.Value{}, err
			}
		}
		return jsonvalue.NewArray(vals)
	case *ast.AnchorNode:
		name := n.Name.GetToken().Value
		v, err := r.value(n.Value)
		if err == nil {
			r.anchors[name] = v
			r.notes.Anchors = append(r.notes.Anchors, name)
		}
		return v, err
	case *ast.AliasNode:
		v, ok := r.anchors[n.Value.GetToken().Value]
		if !ok {
			return jsonvalue.Value{}, errors.New("alias of an unknown anchor")
		}
		if v.Weight() > maxExpandedBytes {
			return jsonvalue.Value{}, ErrTooLarge
		}
		return v, nil
	case *ast.TagNode:
		return r.tagged(n)
	case *ast.LiteralNode:
		return jsonvalue.String(n.Value.Value)
	}
	return r.scalar(n)
}

func (r *yamlReader) child(step string, n ast.Node) (jsonvalue.Value, error) {
	r.path = append(r.path, step)
	v, err := r.value(n)
	r.path = r.path[:len(r.path)-1]
	return v, err
}

// mapping reads an object. Its own members come first and override merged ones, of
// which the first wins.
func (r *yamlReader) mapping(pairs []*ast.MappingValueNode) (jsonvalue.Value, error) {
	var names []string
	var vals, sources []jsonvalue.Value
	at := map[string]int{}
	for _, pair := range pairs {
		if pair.Key.IsMergeKey() {
			r.note("<<")
			source, err := r.value(pair.Value)
			if err != nil {
				return jsonvalue.Value{}, err
			}
			sources = append(sources, source)
			continue
		}
		name, err := r.key(pair.Key)
		if err != nil {
			return jsonvalue.Value{}, err
		}
		i, twice := at[name]
		if twice {
			r.notes.Duplicates = append(r.notes.Duplicates, jsonvalue.FormatPointer(append(r.path, name)...))
		}
		v, err := r.child(name, pair.Value)
		if err != nil {
			return jsonvalue.Value{}, err
		}
		if twice {
			vals[i] = v
			continue
		}
		at[name] = len(names)
		names, vals = append(names, name), append(vals, v)
	}
	if len(sources) > 0 {
		r.notes.MergeKeys = append(r.notes.MergeKeys, jsonvalue.FormatPointer(r.path...))
	}
	for _, source := range sources {
		list := []jsonvalue.Value{source}
		if source.Type() == jsonvalue.TypeArray {
			list = list[:0]
			for _, m := range source.Elems() {
				list = append(list, m)
			}
		}
		for _, m := range list {
			if m.Type() != jsonvalue.TypeObject {
				return jsonvalue.Value{}, errors.New("merge key without an object")
			}
			if r.merged += m.Len(); r.merged > maxMergedMembers {
				return jsonvalue.Value{}, ErrTooLarge
			}
			for name, v := range m.Members() {
				if _, has := at[name]; !has {
					at[name] = len(names)
					names, vals = append(names, name), append(vals, v)
				}
			}
		}
	}
	return jsonvalue.NewObject(names, vals)
}

// key returns a member's name. A name that some parser does not read as a string is
// converted to one, and noted at its object with a colon.
func (r *yamlReader) key(n ast.Node) (string, error) {
	if k, ok := n.(*ast.MappingKeyNode); ok {
		n = k.Value
	}
	text, plain := plainText(n)
	if !plain {
		v, err := r.value(n)
		if err == nil && v.Type() != jsonvalue.TypeString {
			err = fmt.Errorf("%v as a member name", v.Type())
		}
		return nameOf(v), err
	}
	v, ambiguous, err := resolvePlain(text)
	if ambiguous || v.Type() != jsonvalue.TypeString {
		r.note(text + ":")
	}
	return nameOf(v), err
}

// nameOf returns the text of a string, or another scalar as JSON writes it.
func nameOf(v jsonvalue.Value) string {
	if v.Type() == jsonvalue.TypeString || !v.Present() {
		return v.Text()
	}
	return string(v.Encode())
}

// tagged reads a value with a tag. Tags of the core schema are applied; any other
// becomes an object with the tag as its member, and is noted.
func (r *yamlReader) tagged(n *ast.TagNode) (jsonvalue.Value, error) {
	tag := n.Start.Value
	if n.Directive != nil {
		return jsonvalue.Value{}, errors.New("tag directive")
	}
	if tag == "!!str" || tag == "!" {
		if s, ok := plainText(n.Value); ok {
			return jsonvalue.String(s)
		}
	}
	v, err := r.value(n.Value)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	want := map[string]jsonvalue.Type{"!!str": jsonvalue.TypeString, "!!bool": jsonvalue.TypeBool, "!!null": jsonvalue.TypeNull, "!!int": jsonvalue.TypeNumber, "!!float": jsonvalue.TypeNumber, "!!seq": jsonvalue.TypeArray, "!!map": jsonvalue.TypeObject}
	typ, core := want[tag]
	switch {
	case !core:
		r.note(tag)
		return jsonvalue.NewObject([]string{tag}, []jsonvalue.Value{v})
	case typ != v.Type():
		return jsonvalue.Value{}, fmt.Errorf("%s on a value of type %v", tag, v.Type())
	case tag == "!!int" && jsonvalue.HasFraction(v.Text()):
		return jsonvalue.Value{}, errors.New("!!int on a fraction")
	case tag == "!!float" && !jsonvalue.HasFraction(v.Text()):
		return jsonvalue.Number(v.Text() + ".0")
	}
	return v, nil
}

// plainText returns the text of an unquoted scalar.
func plainText(n ast.Node) (string, bool) {
	switch n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
	default:
		return "", false
	}
	switch n.GetToken().Type {
	case token.SingleQuoteType, token.DoubleQuoteType, token.ImplicitNullType:
		return "", false
	}
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value, true
	}
	return n.GetToken().Value, true
}

func (r *yamlReader) scalar(n ast.Node) (jsonvalue.Value, error) {
	text, plain := plainText(n)
	if plain {
		v, ambiguous, err := resolvePlain(text)
		if ambiguous {
			r.note(text)
		}
		return v, err
	}
	switch n := n.(type) {
	case *ast.StringNode:
		return jsonvalue.String(n.Value)
	case *ast.NullNode:
		return jsonvalue.Null(), nil
	}
	return jsonvalue.Value{}, fmt.Errorf("unexpected %v", n.Type())
}
