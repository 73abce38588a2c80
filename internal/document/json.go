package document

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// errLayout says that a change cannot be made within the layout of the text.
var errLayout = errors.New("the change does not fit into the layout of the file")

// span is a part of a text.
type span struct{ from, to int }

// jsonNode is the position of a value in a JSON text, comments allowed (JSONC). For
// containers, items holds the members or elements.
type jsonNode struct {
	span
	kind  byte // '{', '[' or 0
	items []jsonItem
	comma bool // a comma follows the last item
}

// jsonItem is a member, or an element, which has no name.
type jsonItem struct {
	span  // name and value
	name  string
	value *jsonNode
}

// jsonReader finds spans in a text that jsonvalue has already accepted.
type jsonReader struct {
	text []byte
	at   int
}

func readJSON(text []byte) (*jsonNode, error) {
	r := &jsonReader{text: text}
	if bytes.HasPrefix(text, []byte("\ufeff")) {
		r.at = len("\ufeff")
	}
	r.blank()
	n, err := r.value(0)
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (r *jsonReader) peek() byte {
	if r.at < len(r.text) {
		return r.text[r.at]
	}
	return 0
}

// blank skips white space and comments.
func (r *jsonReader) blank() {
	for r.at < len(r.text) {
		rest := r.text[r.at:]
		switch {
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\n' || rest[0] == '\r':
			r.at++
		case bytes.HasPrefix(rest, []byte("//")):
			r.at += lineEnd(rest)
		case bytes.HasPrefix(rest, []byte("/*")):
			i := bytes.Index(rest[2:], []byte("*/"))
			if i < 0 {
				return
			}
			r.at += i + 4
		default:
			return
		}
	}
}

// lineEnd returns the length of the first line without its newline.
func lineEnd(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i
	}
	return len(b)
}

func (r *jsonReader) value(depth int) (*jsonNode, error) {
	if depth > 200 {
		return nil, errLayout
	}
	n := &jsonNode{span: span{from: r.at}}
	switch c := r.peek(); c {
	case '{', '[':
		n.kind = c
		if err := r.container(n, depth); err != nil {
			return nil, err
		}
	case '"':
		if err := r.str(); err != nil {
			return nil, err
		}
	default:
		for r.at < len(r.text) && !strings.ContainsRune(" \t\r\n,:]}/", rune(r.text[r.at])) {
			r.at++
		}
		if r.at == n.from {
			return nil, errLayout
		}
	}
	n.to = r.at
	return n, nil
}

func (r *jsonReader) str() error {
	for r.at++; r.at < len(r.text); r.at++ {
		switch r.text[r.at] {
		case '\\':
			r.at++
		case '"':
			r.at++
			return nil
		}
	}
	return errLayout
}

func (r *jsonReader) container(n *jsonNode, depth int) error {
	closing := n.kind + 2 // '}' is '{' + 2, and ']' is '[' + 2
	r.at++
	for {
		r.blank()
		if r.peek() == closing {
			r.at++
			return nil
		}
		item := jsonItem{span: span{from: r.at}}
		if n.kind == '{' {
			if r.peek() != '"' {
				return errLayout
			}
			if err := r.str(); err != nil {
				return err
			}
			name, err := jsonvalue.Decode(r.text[item.from:r.at])
			if err != nil {
				return errLayout
			}
			item.name = name.Text()
			r.blank()
			if r.peek() != ':' {
				return errLayout
			}
			r.at++
			r.blank()
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		item.value, item.to = v, r.at
		n.items = append(n.items, item)
		n.comma = false
		r.blank()
		if r.peek() == ',' {
			r.at++
			n.comma = true
		} else if r.peek() != closing {
			return errLayout
		}
	}
}

// jsonStyle is the layout of a text.
type jsonStyle struct {
	newline string // "" for a text on one line
	unit    string // one level of indentation
	colon   string
}

func styleOfJSON(text []byte, root *jsonNode) jsonStyle {
	s := jsonStyle{unit: "  ", colon: ": "}
	body := bytes.TrimSpace(text)
	if bytes.IndexByte(body, '\n') >= 0 {
		s.newline = "\n"
		if AllCRLF(text) {
			s.newline = "\r\n"
		}
	}
	first := root
	for len(first.items) > 0 {
		if item := first.items[0]; startsItsLine(text, item.from) {
			if in, out := indentAt(text, item.from), indentAt(text, first.from); len(in) > len(out) && strings.HasPrefix(in, out) {
				s.unit = in[len(out):]
				break
			}
		}
		first = first.items[0].value
	}
	if len(root.items) > 0 && root.kind == '{' && s.newline == "" {
		item := root.items[0]
		if item.value.from > 0 && text[item.value.from-1] == ':' {
			s.colon = ":"
		}
	}
	return s
}

// indentAt returns the white space at the start of the line that holds offset.
func indentAt(text []byte, offset int) string {
	start := bytes.LastIndexByte(text[:offset], '\n') + 1
	end := start
	for end < len(text) && (text[end] == ' ' || text[end] == '\t') {
		end++
	}
	return string(text[start:end])
}

func startsItsLine(text []byte, offset int) bool {
	start := bytes.LastIndexByte(text[:offset], '\n') + 1
	return start > 0 && len(bytes.TrimLeft(text[start:offset], " \t")) == 0
}

// render returns a value as written on a line indented by indent; inline keeps it
// on one line.
func (s jsonStyle) render(v jsonvalue.Value, indent string, inline bool) string {
	var w strings.Builder
	s.write(&w, v, indent, inline || s.newline == "")
	return w.String()
}

func (s jsonStyle) write(w *strings.Builder, v jsonvalue.Value, indent string, inline bool) {
	open, closing := "{", "}"
	switch v.Type() {
	case jsonvalue.TypeArray:
		open, closing = "[", "]"
	case jsonvalue.TypeObject:
	default:
		w.Write(v.Encode())
		return
	}
	w.WriteString(open)
	inner := indent + s.unit
	first := true
	item := func(name string, named bool, e jsonvalue.Value) {
		switch {
		case !inline && first:
			w.WriteString(s.newline + inner)
		case !inline:
			w.WriteString("," + s.newline + inner)
		case !first && s.colon == ":":
			w.WriteString(",")
		case !first:
			w.WriteString(", ")
		}
		first = false
		if named {
			w.Write(encodeString(name))
			w.WriteString(s.colon)
		}
		s.write(w, e, inner, inline)
	}
	for _, e := range v.Elems() {
		item("", false, e)
	}
	for name, e := range v.Members() {
		item(name, true, e)
	}
	if !first && !inline {
		w.WriteString(s.newline + indent)
	}
	w.WriteString(closing)
}

func encodeString(s string) []byte {
	v, err := jsonvalue.String(s)
	if err != nil { // names of decoded values are valid UTF-8
		return []byte(strconv.Quote(s))
	}
	return v.Encode()
}

// patchJSON applies one operation to a text and keeps everything else.
func patchJSON(text []byte, o jsonvalue.Op) ([]byte, error) {
	root, err := readJSON(text)
	if err != nil {
		return nil, err
	}
	path, err := jsonvalue.ParsePointer(o.Path)
	if err != nil {
		return nil, err
	}
	style := styleOfJSON(text, root)
	if len(path) == 0 {
		if o.Op == jsonvalue.OpRemove {
			return nil, errLayout
		}
		return splice(text, root.span, style.render(o.Value, "", false)), nil
	}
	parent := root
	for _, token := range path[:len(path)-1] {
		i := parent.find(token)
		if i < 0 {
			return nil, errLayout
		}
		parent = parent.items[i].value
	}
	last := path[len(path)-1]
	i := parent.find(last)
	switch {
	case parent.kind == 0:
		return nil, errLayout
	case o.Op == jsonvalue.OpRemove && i >= 0:
		return removeJSON(text, parent, i), nil
	case i >= 0 && (o.Op == jsonvalue.OpReplace || o.Op == jsonvalue.OpAdd && parent.kind == '{'):
		v := parent.items[i].value
		inline := !startsItsLine(text, parent.items[i].from) && v.kind != 0
		return splice(text, v.span, style.render(o.Value, indentAt(text, v.from), inline)), nil
	case o.Op == jsonvalue.OpAdd && parent.kind == '{':
		return insertJSON(text, style, parent, len(parent.items), string(encodeString(last))+style.colon, o.Value), nil
	case o.Op == jsonvalue.OpAdd && i >= 0:
		return insertJSON(text, style, parent, i, "", o.Value), nil
	case o.Op == jsonvalue.OpAdd && (last == "-" || last == strconv.Itoa(len(parent.items))):
		return insertJSON(text, style, parent, len(parent.items), "", o.Value), nil
	}
	return nil, errLayout
}

// find returns the index of a member or element, -1 if there is none.
func (n *jsonNode) find(token string) int {
	if n.kind == '[' {
		if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(n.items) && strconv.Itoa(i) == token {
			return i
		}
		return -1
	}
	for i, item := range n.items {
		if item.name == token {
			return i
		}
	}
	return -1
}

func splice(text []byte, s span, with string) []byte {
	return bytes.Join([][]byte{text[:s.from], []byte(with), text[s.to:]}, nil)
}

// removeJSON removes item i of parent with its comma.
func removeJSON(text []byte, parent *jsonNode, i int) []byte {
	switch n := len(parent.items); {
	case n == 1:
		return splice(text, span{parent.from + 1, parent.to - 1}, "")
	case i < n-1:
		return splice(text, span{parent.items[i].from, parent.items[i+1].from}, "")
	case parent.comma:
		r := &jsonReader{text: text, at: parent.items[i].to}
		r.blank()
		return splice(text, span{parent.items[i-1].to, r.at}, "")
	}
	return splice(text, span{parent.items[i-1].to, parent.items[i].to}, "")
}

// insertJSON inserts a value before item i of parent, or at its end.
func insertJSON(text []byte, s jsonStyle, parent *jsonNode, i int, name string, v jsonvalue.Value) []byte {
	n := len(parent.items)
	if n == 0 {
		indent := indentAt(text, parent.from)
		if s.newline == "" || len(bytes.TrimSpace(text[parent.from+1:parent.to-1])) > 0 {
			return splice(text, span{parent.from + 1, parent.from + 1}, name+s.render(v, indent, true))
		}
		inner := indent + s.unit
		return splice(text, span{parent.from + 1, parent.to - 1}, s.newline+inner+name+s.render(v, inner, false)+s.newline+indent)
	}
	near := parent.items[min(i, n-1)]
	lines := startsItsLine(text, near.from)
	indent := indentAt(text, near.from)
	sep := " "
	switch {
	case lines:
		sep = s.newline + indent
	case n > 1 && parent.items[0].to+1 == parent.items[1].from:
		sep = ""
	case n == 1 && s.colon == ":":
		sep = ""
	}
	body := name + s.render(v, indent, !lines)
	if i < n {
		return splice(text, span{near.from, near.from}, body+","+sep)
	}
	if !lines {
		if parent.comma {
			r := &jsonReader{text: text, at: near.to}
			r.blank()
			return splice(text, span{r.at + 1, r.at + 1}, sep+body+",")
		}
		return splice(text, span{near.to, near.to}, ","+sep+body)
	}
	// A comment may follow the last item on its line, so the new item goes below.
	at := near.to
	if rest := text[near.to : near.to+lineEnd(text[near.to:])]; bytes.Contains(rest, []byte("//")) || bytes.Contains(rest, []byte("/*")) {
		at = near.to + len(bytes.TrimRight(rest, "\r"))
	} else if parent.comma {
		at += bytes.IndexByte(rest, ',') + 1
	}
	if parent.comma {
		return splice(text, span{at, at}, sep+body+",")
	}
	out := splice(text, span{at, at}, sep+body)
	return splice(out, span{near.to, near.to}, ",")
}
