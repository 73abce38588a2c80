package document

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// yamlTarget is what a path leads to in a YAML tree.
type yamlTarget struct {
	parent *yaml.Node
	at     int        // index in the parent's Content: of a key, or of an element; -1 if there is none
	key    *yaml.Node // nil for elements
	value  *yaml.Node // nil if there is none
}

// readYAML parses a text of one document.
func readYAML(text []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, errLayout
	}
	return &doc, nil
}

// findYAML walks to a path. It does not go through aliases or merges, because a
// change there would show in other places too.
func findYAML(root *yaml.Node, path []string) (yamlTarget, error) {
	p := yamlTarget{value: root, at: -1}
	for i, token := range path {
		n := p.value
		if n == nil {
			return p, errLayout
		}
		p = yamlTarget{parent: n, at: -1}
		switch n.Kind {
		case yaml.MappingNode:
			for j := 0; j+1 < len(n.Content); j += 2 {
				if k := n.Content[j]; k.Kind == yaml.ScalarNode && k.Tag != "!!merge" && k.Value == token {
					p.at, p.key, p.value = j, k, n.Content[j+1]
				}
			}
		case yaml.SequenceNode:
			j, err := strconv.Atoi(token)
			if err == nil && j >= 0 && j < len(n.Content) {
				p.at, p.value = j, n.Content[j]
			} else if i != len(path)-1 || token != "-" && token != strconv.Itoa(len(n.Content)) {
				return p, errLayout
			}
		default:
			return p, errLayout
		}
	}
	return p, nil
}

// yamlLines is a text split into lines, each with its newline.
type yamlLines [][]byte

func (l yamlLines) indent(i int) int {
	return len(l[i]) - len(bytes.TrimLeft(l[i], " "))
}

func (l yamlLines) blank(i int) bool { return len(bytes.TrimSpace(l[i])) == 0 }

// entryEnd returns the line after the entry that starts on line i with its key or
// dash in column col. The entry includes everything deeper, and a list below its
// key.
func (l yamlLines) entryEnd(i, col int, list bool) int {
	end := i + 1
	for j := i + 1; j < len(l); j++ {
		switch {
		case l.blank(j):
			continue
		case l.indent(j) > col, list && l.indent(j) == col && bytes.HasPrefix(l[j][col:], []byte("-")):
			end = j + 1
		default:
			return end
		}
	}
	return end
}

// linesOf splits a text into lines.
func linesOf(text []byte) yamlLines {
	lines := yamlLines(bytes.SplitAfter(text, []byte{'\n'}))
	if len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	return lines
}

func (l yamlLines) join() []byte { return bytes.Join(l, nil) }

// patchYAMLText applies one operation to the lines of a text and keeps all others.
func (d document) patchYAMLText(text []byte, o jsonvalue.Op) ([]byte, error) {
	doc, err := readYAML(text)
	if err != nil {
		return nil, err
	}
	path, err := jsonvalue.ParsePointer(o.Path)
	if err != nil || len(path) == 0 {
		return nil, errLayout
	}
	p, err := findYAML(doc.Content[0], path)
	if err != nil {
		return nil, err
	}
	name := path[len(path)-1]
	if len(p.parent.Content) == 0 && len(path) > 1 && o.Op == jsonvalue.OpAdd {
		return d.fillYAML(text, p.parent.Kind, path, o.Value)
	}
	if len(p.parent.Content) == 0 {
		return nil, errLayout
	}
	lines := linesOf(text)
	adds := p.value == nil || o.Op == jsonvalue.OpAdd && p.key == nil
	switch {
	case adds && o.Op != jsonvalue.OpAdd:
		return nil, errLayout
	case adds && p.parent.Style&yaml.FlowStyle != 0:
		return lines.addFlow(p, name, o.Value)
	case adds:
		return lines.add(p, name, d.yamlNode(o.Value))
	}
	if o.Op != jsonvalue.OpRemove {
		if out, ok := lines.replaceScalar(p.value, o.Value, p.parent.Style&yaml.FlowStyle != 0); ok {
			return out, nil
		}
	}
	if p.parent.Style&yaml.FlowStyle != 0 {
		return nil, errLayout
	}
	return d.replaceEntry(lines, p, o)
}

// fillYAML adds the first entry to an empty mapping or list, written as {} or [] on
// its line.
func (d document) fillYAML(text []byte, kind yaml.Kind, path []string, v jsonvalue.Value) (out []byte, err error) {
	if kind == yaml.MappingNode {
		v, err = jsonvalue.Object(jsonvalue.Member{Name: path[len(path)-1], Value: v})
	} else {
		v, err = jsonvalue.Array(v)
	}
	if err != nil {
		return nil, errLayout
	}
	return d.patchYAMLText(text, jsonvalue.Op{Op: jsonvalue.OpReplace, Path: jsonvalue.FormatPointer(path[:len(path)-1]...), Value: v})
}

// replaceEntry removes or rewrites a block entry. The comment on the line of its
// key stays.
func (d document) replaceEntry(lines yamlLines, p yamlTarget, o jsonvalue.Op) ([]byte, error) {
	from, col, ok := lines.start(p.parent, p.at)
	if !ok {
		return nil, errLayout
	}
	to := lines.entryEnd(from, col, p.key != nil)
	if o.Op == jsonvalue.OpRemove {
		if len(p.parent.Content) <= 2 && p.key != nil || len(p.parent.Content) == 1 {
			return nil, errLayout
		}
		return slices.Delete(lines, from, to).join(), nil
	}
	if p.key != nil && p.value.Line-1 > from && p.value.Anchor == "" && o.Value.Type() == jsonvalue.TypeNull {
		return slices.Delete(lines, from+1, to).join(), nil // a key without a value is null
	}
	entry, err := lines.render(p.key, "", d.yamlNode(o.Value), col)
	if err != nil {
		return nil, err
	}
	if at := lines.comment(from); at >= 0 {
		first, rest, _ := bytes.Cut(entry, []byte("\n"))
		first = append(bytes.TrimRight(first, "\r"), ' ')
		entry = slices.Concat(first, bytes.TrimRight(lines[from][at:], "\r\n"), []byte(lines.newline()), rest)
	}
	return slices.Concat(lines[:from], yamlLines{entry}, lines[to:]).join(), nil
}

// start returns the line and column of an entry that begins its line: of a key, or
// of the dash before an element.
func (l yamlLines) start(parent *yaml.Node, at int) (line, col int, ok bool) {
	n := parent.Content[at]
	line = n.Line - 1
	if line < 0 || line >= len(l) {
		return 0, 0, false
	}
	col = l.indent(line)
	if parent.Kind == yaml.MappingNode {
		return line, col, n.Column-1 == col
	}
	rest := bytes.TrimLeft(l[line], " ")
	return line, col, bytes.HasPrefix(rest, []byte("- ")) && col == parent.Column-1
}

// add inserts a new entry after the last one, or an element before another.
func (l yamlLines) add(p yamlTarget, name string, v *yaml.Node) ([]byte, error) {
	step := 1
	if p.parent.Kind == yaml.MappingNode {
		step = 2
	}
	last := len(p.parent.Content) - step
	from, col, ok := l.start(p.parent, last)
	if step == 2 && last > 0 && !ok {
		return nil, errLayout
	}
	if step == 2 && !ok {
		// The only key may follow a dash: the next one goes below it.
		k := p.parent.Content[0]
		from, col = k.Line-1, k.Column-1
		if from >= len(l) || !bytes.HasPrefix(bytes.TrimLeft(l[from], " "), []byte("- ")) {
			return nil, errLayout
		}
	} else if !ok {
		return nil, errLayout
	}
	at := l.entryEnd(from, col, step == 2)
	if step == 1 && p.at >= 0 {
		if at, col, ok = l.start(p.parent, p.at); !ok {
			return nil, errLayout
		}
	}
	var key *yaml.Node
	if step == 2 {
		key = yamlText(name)
	}
	eol := l.newline()
	entry, err := l.render(key, eol, v, col)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(l)
	if at > 0 && !bytes.HasSuffix(out[at-1], []byte{'\n'}) {
		out[at-1] = append(slices.Clone(out[at-1]), eol...)
	}
	return slices.Concat(out[:at], yamlLines{entry}, out[at:]).join(), nil
}

func (l yamlLines) newline() string {
	if len(l) > 0 && bytes.HasSuffix(l[0], []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

// render renders an entry with its key, or with a dash, in column col.
func (l yamlLines) render(key *yaml.Node, eol string, v *yaml.Node, col int) ([]byte, error) {
	n := &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{v}}
	if key != nil {
		k := *key
		k.HeadComment, k.LineComment, k.FootComment = "", "", ""
		n = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{&k, v}}
	}
	body, err := encodeYAML(n, 2)
	if err != nil {
		return nil, err
	}
	if eol == "" {
		eol = l.newline()
	}
	var out bytes.Buffer
	for line := range bytes.Lines(body) {
		if len(bytes.TrimSpace(line)) > 0 {
			out.WriteString(strings.Repeat(" ", col))
		}
		out.Write(bytes.TrimSuffix(line, []byte{'\n'}))
		out.WriteString(eol)
	}
	return out.Bytes(), nil
}

// replaceScalar replaces a scalar on one line and keeps comments.
func (l yamlLines) replaceScalar(n *yaml.Node, v jsonvalue.Value, flow bool) ([]byte, bool) {
	if n.Kind != yaml.ScalarNode || n.Anchor != "" || n.Style&(yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) != 0 || v.Len() > 0 {
		return nil, false
	}
	node := yamlNode(v)
	if node.Kind != yaml.ScalarNode {
		return nil, false
	}
	if quotes := n.Style & (yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle); node.Tag == "!!str" && quotes != 0 {
		node.Style = quotes
	}
	if flow && node.Tag == "!!str" && node.Style == 0 {
		node = flowNode(v)
	}
	body, err := encodeYAML(node, 2)
	if err != nil {
		return nil, false
	}
	body = bytes.TrimSuffix(body, []byte{'\n'})
	line := n.Line - 1
	if bytes.IndexByte(body, '\n') >= 0 || line < 0 || line >= len(l) {
		return nil, false
	}
	from := byteColumn(l[line], n.Column-1)
	size := scalarLen(l[line][from:], n.Style, flow)
	if size == 0 {
		return nil, false
	}
	out := slices.Clone(l)
	out[line] = splice(l[line], span{from, from + size}, string(body))
	return out.join(), true
}

// byteColumn converts a column in characters to an offset.
func byteColumn(line []byte, col int) int {
	n := 0
	for i := range string(line) {
		if n == col {
			return i
		}
		n++
	}
	return len(line)
}

// scalarLen returns the length of the scalar at the start of text, or 0 if it does
// not end on the line.
func scalarLen(text []byte, style yaml.Style, flow bool) int {
	switch {
	case len(text) == 0:
		return 0
	case style&yaml.DoubleQuotedStyle != 0:
		for i := 1; i < len(text); i++ {
			if text[i] == '\\' {
				i++
			} else if text[i] == '"' {
				return i + 1
			}
		}
		return 0
	case style&yaml.SingleQuotedStyle != 0:
		for i := 1; i < len(text); i++ {
			if text[i] != '\'' {
				continue
			}
			if i+1 == len(text) || text[i+1] != '\'' {
				return i + 1
			}
			i++
		}
		return 0
	}
	end := len(text)
	if i := bytes.Index(text, []byte(" #")); i >= 0 {
		end = i
	}
	if flow {
		if i := bytes.IndexAny(text[:end], ",]}"); i >= 0 {
			end = i
		}
	}
	return len(bytes.TrimRight(text[:end], " \t\r\n"))
}

// patchYAMLTree applies one operation to the parsed text. Comments stay, but the
// layout may change.
func patchYAMLTree(doc *yaml.Node, o jsonvalue.Op) error {
	path, err := jsonvalue.ParsePointer(o.Path)
	if err != nil {
		return err
	}
	if len(path) == 0 {
		if o.Op == jsonvalue.OpRemove {
			return errLayout
		}
		doc.Content[0] = yamlNode(o.Value)
		return nil
	}
	p, err := findYAML(doc.Content[0], path)
	if err != nil {
		return err
	}
	list := &p.parent.Content
	mapping := p.parent.Kind == yaml.MappingNode
	switch {
	case o.Op == jsonvalue.OpRemove && p.at < 0, o.Op == jsonvalue.OpReplace && p.at < 0:
		return errLayout
	case o.Op == jsonvalue.OpRemove && mapping:
		*list = slices.Delete(*list, p.at, p.at+2)
	case o.Op == jsonvalue.OpRemove:
		*list = slices.Delete(*list, p.at, p.at+1)
	case mapping && p.at >= 0:
		(*list)[p.at+1] = yamlNode(o.Value)
	case mapping:
		*list = append(*list, yamlText(path[len(path)-1]), yamlNode(o.Value))
	case o.Op == jsonvalue.OpReplace:
		(*list)[p.at] = yamlNode(o.Value)
	case p.at >= 0:
		*list = slices.Insert(*list, p.at, yamlNode(o.Value))
	default:
		*list = append(*list, yamlNode(o.Value))
	}
	return nil
}

// yamlNode converts a value to a tree. The encoder quotes, by the tags, what would
// parse as another type.
func yamlNode(v jsonvalue.Value) *yaml.Node {
	scalar := func(tag, text string) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
	}
	switch v.Type() {
	case jsonvalue.TypeString:
		return yamlText(v.Text())
	case jsonvalue.TypeNumber:
		if strings.ContainsAny(v.Text(), ".eE") {
			return scalar("!!float", v.Text())
		}
		return scalar("!!int", v.Text())
	case jsonvalue.TypeBool:
		return scalar("!!bool", string(v.Encode()))
	case jsonvalue.TypeArray:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, e := range v.Elems() {
			n.Content = append(n.Content, yamlNode(e))
		}
		if len(n.Content) == 0 {
			n.Style = yaml.FlowStyle
		}
		return n
	case jsonvalue.TypeObject:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for name, e := range v.Members() {
			n.Content = append(n.Content, yamlText(name), yamlNode(e))
		}
		if len(n.Content) == 0 {
			n.Style = yaml.FlowStyle
		}
		return n
	}
	return scalar("!!null", "null")
}

// yamlText makes the node of a string, quoted if some YAML parser would read the
// bare text as something else, such as yes, 012 or 12:30.
func yamlText(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if strings.Contains(s, "\n") {
		n.Style = yaml.LiteralStyle
		return n
	}
	const longest = 64 // of a number, date or special word
	if len(s) <= longest {
		v, notes, err := ParseDocument("yaml", []byte("- "+s+"\n"))
		if err != nil || len(notes.Ambiguous) > 0 || v.Elem(0).Type() != jsonvalue.TypeString {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	return n
}

func encodeYAML(n *yaml.Node, indent int) ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(indent)
	if err := enc.Encode(n); err != nil {
		return nil, errLayout
	}
	if err := enc.Close(); err != nil {
		return nil, errLayout
	}
	return out.Bytes(), nil
}
