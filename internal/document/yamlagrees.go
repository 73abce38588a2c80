package document

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// maxSecondReading bounds the nodes visited when a YAML text is read a second time:
// aliases can multiply nodes.
const maxSecondReading = 200_000

// YAMLAgrees reports whether another parser, a port of libyaml as most tools use
// it, reads the same document. The first parser is lenient: the two disagree about
// {a:b}, tabs and trailing blanks.
func YAMLAgrees(text []byte, v jsonvalue.Value) bool {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return false
	}
	if doc.Kind == 0 { // nothing but comments
		return v.Type() == jsonvalue.TypeNull
	}
	r := yamlSecond{left: maxSecondReading}
	return doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 && r.same(doc.Content[0], v)
}

type yamlSecond struct{ left int }

func (r *yamlSecond) same(n *yaml.Node, v jsonvalue.Value) bool {
	if r.left--; r.left < 0 {
		return false
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias != nil && r.same(n.Alias, v)
	}
	if tag := n.Tag; n.Style&yaml.TaggedStyle != 0 && !strings.HasPrefix(tag, "!!") && tag != "!" {
		inner := *n
		inner.Style &^= yaml.TaggedStyle
		inner.Tag = ""
		return v.Type() == jsonvalue.TypeObject && v.Len() == 1 && r.same(&inner, v.Member(tag))
	}
	switch n.Kind {
	case yaml.SequenceNode:
		if v.Type() != jsonvalue.TypeArray || v.Len() != len(n.Content) {
			return false
		}
		for i, e := range n.Content {
			if !r.same(e, v.Elem(i)) {
				return false
			}
		}
		return true
	case yaml.MappingNode:
		return r.sameMapping(n, v)
	case yaml.ScalarNode:
		return sameScalar(n, v)
	}
	return false
}

// sameMapping compares the members that an object has itself; with a merge key it
// may have others.
func (r *yamlSecond) sameMapping(n *yaml.Node, v jsonvalue.Value) bool {
	if v.Type() != jsonvalue.TypeObject {
		return false
	}
	merges, own := false, map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		switch {
		case k.Kind == yaml.ScalarNode && k.Tag == "!!merge":
			merges = true
		case k.Kind != yaml.ScalarNode:
			return false
		default:
			own[k.Value] = n.Content[i+1] // the last one counts
		}
	}
	if len(own) != v.Len() && !(merges && len(own) < v.Len()) {
		return false
	}
	for name, e := range v.Members() {
		if n, ok := own[name]; ok && !r.same(n, e) {
			return false
		} else if ok {
			delete(own, name)
		}
	}
	return len(own) == 0
}

// sameScalar compares scalars. What a plain one means beyond its text, such as yes
// or 012, is in the notes of the first reading.
func sameScalar(n *yaml.Node, v jsonvalue.Value) bool {
	plain := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	switch v.Type() {
	case jsonvalue.TypeString:
		return n.Value == v.Text()
	case jsonvalue.TypeNull:
		return plain && slices.Contains([]string{"", "~", "null", "Null", "NULL"}, n.Value)
	case jsonvalue.TypeBool:
		return plain && strings.EqualFold(n.Value, strconv.FormatBool(v.Bool()))
	case jsonvalue.TypeNumber:
		return plain && !strings.ContainsAny(n.Value, " \t\n")
	}
	return false
}
