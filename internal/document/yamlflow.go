package document

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// addFlow adds an entry after the last one of a list or mapping written in brackets
// on one line.
func (l yamlLines) addFlow(p yamlTarget, name string, v jsonvalue.Value) ([]byte, error) {
	if p.at >= 0 {
		return nil, errLayout // before another element
	}
	n := flowNode(v)
	if p.parent.Kind == yaml.MappingNode {
		n = &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle, Content: []*yaml.Node{flowText(name), n}}
	}
	body, err := encodeYAML(n, 2)
	if err != nil {
		return nil, err
	}
	body = bytes.TrimSuffix(body, []byte{'\n'})
	if p.parent.Kind == yaml.MappingNode {
		body = bytes.TrimSuffix(bytes.TrimPrefix(body, []byte("{")), []byte("}"))
	}
	line := p.parent.Line - 1
	if bytes.IndexByte(body, '\n') >= 0 || line < 0 || line >= len(l) {
		return nil, errLayout
	}
	start := byteColumn(l[line], p.parent.Column-1)
	end := flowEnd(l[line][start:])
	if end < 0 {
		return nil, errLayout
	}
	before := bytes.TrimRight(l[line][start:start+end], " \t")
	separator := ", "
	if bytes.HasSuffix(before, []byte(",")) {
		separator = " "
	}
	at := start + len(before)
	out := slices.Clone(l)
	out[line] = splice(l[line], span{at, at}, separator+string(body))
	return out.join(), nil
}

// flowEnd returns where the bracket at the start of text is closed, or -1 if not on
// the line.
func flowEnd(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		opens := i == 0 || bytes.IndexByte([]byte(" ,[{"), text[i-1]) >= 0
		switch c := text[i]; {
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			if depth--; depth == 0 {
				return i
			}
		case c == '"' && opens, c == '\'' && opens:
			style := yaml.Style(yaml.DoubleQuotedStyle)
			if c == '\'' {
				style = yaml.SingleQuotedStyle
			}
			size := scalarLen(text[i:], style, true)
			if size == 0 {
				return -1
			}
			i += size - 1
		case c == '#' && i > 0 && text[i-1] == ' ':
			return -1
		}
	}
	return -1
}

// yamlNode converts a value to a tree in the layout of the document.
func (d document) yamlNode(v jsonvalue.Value) *yaml.Node {
	n := yamlNode(v)
	if d.inline {
		inlineLists(n)
	}
	return n
}

// inlineLists puts each list of plain values in a tree on one line, and quotes
// texts with other than plain characters.
func inlineLists(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Style == 0 {
		onOneLine(n)
	}
	plain := n.Kind == yaml.SequenceNode
	for _, c := range n.Content {
		inlineLists(c)
		plain = plain && c.Kind == yaml.ScalarNode && c.Style&yaml.LiteralStyle == 0
	}
	if plain {
		onOneLine(n)
	}
}

// flowNode converts a value to a tree written in brackets.
func flowNode(v jsonvalue.Value) *yaml.Node {
	n := yamlNode(v)
	onOneLine(n)
	return n
}

func flowText(s string) *yaml.Node {
	n := yamlText(s)
	onOneLine(n)
	return n
}

var plainInFlow = regexp.MustCompile(`^[A-Za-z0-9_./@+-]+$`)

// onOneLine writes a tree in brackets. Texts with other than plain characters are
// quoted, as more characters have a meaning there.
func onOneLine(n *yaml.Node) {
	switch {
	case n.Kind != yaml.ScalarNode:
		n.Style = yaml.FlowStyle
	case n.Tag == "!!str" && (n.Style != 0 || !plainInFlow.MatchString(n.Value)):
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, c := range n.Content {
		onOneLine(c)
	}
}

// comment returns where the comment of a line begins, or -1 if it has none. It is a
// comment if the text has the same value without it.
func (l yamlLines) comment(line int) int {
	if line < 0 || line >= len(l) || bytes.IndexByte(l[line], '#') < 0 {
		return -1
	}
	before, _, err := ParseDocument("yaml", l.join())
	if err != nil {
		return -1
	}
	const most = 8 // positions where one could begin
	at := 0
	for range most {
		i := bytes.IndexByte(l[line][at:], '#')
		if i < 0 {
			break
		}
		at += i
		if at > 0 && (l[line][at-1] == ' ' || l[line][at-1] == '\t') {
			without := slices.Clone(l)
			without[line] = slices.Concat(bytes.TrimRight(l[line][:at], " \t"), []byte{'\n'})
			if now, _, err := ParseDocument("yaml", without.join()); err == nil && now.Equal(before) {
				return at
			}
		}
		at++
	}
	return -1
}

// MarkYAML adds a remark to the comment on the line of the value at path, or
// removes it. Other remarks on the line, separated by semicolons, stay. A value
// that spans several lines cannot be marked.
func MarkYAML(text []byte, path, remark string, set bool) ([]byte, error) {
	refusal := refuse("edit it as text", "the comment at %.100q cannot be changed in place", path)
	before, notes, err := ParseDocument("yaml", text)
	if err != nil {
		return nil, refusal
	}
	doc, err := readYAML(text)
	if err != nil {
		return nil, refusal
	}
	steps, err := jsonvalue.ParsePointer(path)
	if err != nil {
		return nil, refusal
	}
	p, err := findYAML(doc.Content[0], steps)
	if err != nil || p.value == nil || p.value.Kind != yaml.ScalarNode || p.value.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return nil, refusal
	}
	l := linesOf(text)
	line := p.value.Line - 1
	if line < 0 || line >= len(l) {
		return nil, refusal
	}
	body := bytes.TrimRight(l[line], "\r\n")
	end := l[line][len(body):]
	out := string(body)
	at := l.comment(line)
	if at < 0 {
		at = len(body)
	}
	var others []string
	has := false
	for r := range strings.SplitSeq(strings.TrimPrefix(string(body[at:]), "#"), ";") {
		has = has || strings.TrimSpace(r) == remark
		if strings.TrimSpace(r) != remark {
			others = append(others, r)
		}
	}
	switch {
	case has == set:
		return text, nil
	case set && at < len(body):
		out += "; " + remark
	case set:
		out += " # " + remark
	case len(others) == 0:
		out = strings.TrimRight(string(body[:at]), " \t")
	default:
		out = string(body[:at]) + "#" + strings.Join(others, ";")
	}
	l[line] = append([]byte(out), end...)
	marked := l.join()
	d := document{ext: "yaml", notes: notes, want: before}
	if !d.reads(marked) {
		return nil, refusal // fail closed: the mark became part of a value
	}
	return marked, nil
}
