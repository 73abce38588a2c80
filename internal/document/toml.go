package document

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// tomlEntry is one expression in a TOML text: a table header, or a key with its
// value.
type tomlEntry struct {
	path  []string // path of its value; array tables by index
	table bool     // a header
	lines span     // whole lines, including a trailing comment
	value span     // of a key's value
	dates bool     // the value holds a date or time, which JSON has no type for
}

// readTOML lists the expressions of a text. The text is valid TOML.
func readTOML(text []byte) ([]tomlEntry, error) {
	p := &unstable.Parser{}
	p.Reset(text)
	var out []tomlEntry
	var section []string
	count := map[string]int{}
	for p.NextExpression() {
		n := p.Expression()
		if n.Kind != unstable.Table && n.Kind != unstable.ArrayTable && n.Kind != unstable.KeyValue {
			continue
		}
		names, keys, err := tomlKey(n)
		if err != nil {
			return nil, err
		}
		e := tomlEntry{table: n.Kind != unstable.KeyValue}
		start := bytes.LastIndexByte(text[:keys.from], '\n') + 1
		end := keys.to
		if e.table {
			section = tomlSection(names, n.Kind == unstable.ArrayTable, count)
			e.path = section
		} else {
			e.path = append(slices.Clone(section), names...)
			if e.value, err = tomlValue(text, keys.to, n.Value()); err != nil {
				return nil, err
			}
			e.dates = tomlDates(n.Value())
			end = e.value.to
		}
		e.lines = span{start, min(len(text), end+lineEnd(text[end:])+1)}
		out = append(out, e)
	}
	if err := p.Error(); err != nil {
		return nil, errLayout
	}
	return out, nil
}

func tomlKey(n *unstable.Node) (names []string, at span, err error) {
	at.from = -1
	for it := n.Key(); it.Next(); {
		k := it.Node()
		names = append(names, string(k.Data))
		if at.from < 0 {
			at.from = int(k.Raw.Offset)
		}
		at.to = int(k.Raw.Offset + k.Raw.Length)
	}
	if len(names) == 0 {
		return nil, at, errLayout
	}
	return names, at, nil
}

// tomlSection resolves a header's key: an array of tables means its latest element.
func tomlSection(names []string, array bool, count map[string]int) []string {
	var path []string
	for i, name := range names {
		path = append(path, name)
		key := strings.Join(path, "\x00")
		last := i == len(names)-1
		if last && array {
			count[key]++
		}
		if n := count[key]; n > 0 {
			path = append(path, strconv.Itoa(n-1))
		}
	}
	return path
}

// tomlValue finds the value after a key.
func tomlValue(text []byte, from int, n *unstable.Node) (span, error) {
	i := from
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '=') {
		i++
	}
	end, err := tomlEnd(text, i, n)
	return span{i, end}, err
}

// tomlEnd returns where a value that starts at from ends.
func tomlEnd(text []byte, from int, n *unstable.Node) (int, error) {
	closing := byte(']')
	switch n.Kind {
	case unstable.InlineTable:
		closing = '}'
	case unstable.Array:
	default:
		return int(n.Raw.Offset + n.Raw.Length), nil
	}
	at := from + 1
	for it := n.Children(); it.Next(); {
		c := it.Node()
		var err error
		switch c.Kind {
		case unstable.Comment:
			at = int(c.Raw.Offset + c.Raw.Length)
		case unstable.KeyValue:
			_, keys, kerr := tomlKey(c)
			if kerr != nil {
				return 0, kerr
			}
			var s span
			s, err = tomlValue(text, keys.to, c.Value())
			at = s.to
		default:
			at = tomlSkip(text, at)
			at, err = tomlEnd(text, at, c)
		}
		if err != nil {
			return 0, err
		}
	}
	if at = tomlSkip(text, at); at >= len(text) || text[at] != closing {
		return 0, errLayout
	}
	return at + 1, nil
}

// tomlSkip skips blanks, commas and comments inside an array or inline table.
func tomlSkip(text []byte, at int) int {
	for at < len(text) {
		switch text[at] {
		case ' ', '\t', '\r', '\n', ',':
			at++
		case '#':
			at += lineEnd(text[at:])
		default:
			return at
		}
	}
	return at
}

func tomlDates(n *unstable.Node) bool {
	switch n.Kind {
	case unstable.LocalDate, unstable.LocalTime, unstable.LocalDateTime, unstable.DateTime:
		return true
	case unstable.KeyValue:
		return tomlDates(n.Value())
	case unstable.Array, unstable.InlineTable:
		for it := n.Children(); it.Next(); {
			if it.Node().Kind != unstable.Comment && tomlDates(it.Node()) {
				return true
			}
		}
	}
	return false
}

// patchTOML applies one operation to a text. before and after are its values before
// and after the operation.
func patchTOML(text []byte, o jsonvalue.Op, before, after jsonvalue.Value) ([]byte, error) {
	entries, err := readTOML(text)
	if err != nil {
		return nil, err
	}
	path, err := jsonvalue.ParsePointer(o.Path)
	if err != nil || len(path) == 0 {
		return nil, errLayout
	}
	// The value of the innermost key that contains the path is rewritten.
	for _, e := range entries {
		inside := !e.table && len(e.path) <= len(path) && slices.Equal(e.path, path[:len(e.path)])
		if !inside || o.Op == jsonvalue.OpRemove && len(e.path) == len(path) {
			continue
		}
		v, err := after.At(jsonvalue.FormatPointer(e.path...))
		if err != nil {
			return nil, errLayout
		}
		if e.dates && len(e.path) < len(path) {
			return nil, errLayout
		}
		s, err := renderTOML(v)
		if err != nil {
			return nil, err
		}
		return splice(text, e.value, s), nil
	}
	switch o.Op {
	case jsonvalue.OpRemove:
		return removeTOML(text, entries, path)
	case jsonvalue.OpAdd:
		if v, err := before.At(jsonvalue.FormatPointer(path[:len(path)-1]...)); err == nil && v.Type() == jsonvalue.TypeObject {
			return addTOML(text, entries, path, o.Value)
		}
	}
	return nil, errLayout
}

// removeTOML deletes every line that contributes to the value at path.
func removeTOML(text []byte, entries []tomlEntry, path []string) ([]byte, error) {
	removed := 0
	for i := len(entries) - 1; i >= 0; i-- {
		e := entries[i]
		if len(e.path) < len(path) || !slices.Equal(e.path[:len(path)], path) {
			continue
		}
		if _, err := strconv.Atoi(path[len(path)-1]); err == nil {
			return nil, errLayout // an element of an array of tables: the others would be renumbered
		}
		text = splice(text, e.lines, "")
		removed++
	}
	if removed == 0 {
		return nil, errLayout
	}
	return text, nil
}

// addTOML writes a new key at the end of its table.
func addTOML(text []byte, entries []tomlEntry, path []string, v jsonvalue.Value) ([]byte, error) {
	parent := path[:len(path)-1]
	at, prefix, found := 0, "", len(parent) == 0
	indent := ""
	for i, e := range entries {
		same := len(e.path) == len(parent) && slices.Equal(e.path, parent)
		if e.table && same {
			at, found = e.lines.to, true
		}
		if e.table && len(parent) == 0 {
			break // what follows a header belongs to its table
		}
		if !e.table && found && len(e.path) > len(parent) && slices.Equal(e.path[:len(parent)], parent) && sectionOf(entries, i) == len(parent) {
			at, indent = e.lines.to, indentAt(text, e.lines.from)
		}
	}
	if !found {
		return nil, errLayout
	}
	newline := "\n"
	if AllCRLF(text) {
		newline = "\r\n"
	}
	if at > 0 && text[at-1] != '\n' {
		prefix = newline
	}
	s, err := renderTOML(v)
	if err != nil {
		return nil, err
	}
	line := prefix + indent + tomlName(path[len(path)-1]) + " = " + s + newline
	return splice(text, span{at, at}, line), nil
}

// sectionOf returns the length of the path of the table that holds entry i.
func sectionOf(entries []tomlEntry, i int) int {
	for ; i >= 0; i-- {
		if entries[i].table {
			return len(entries[i].path)
		}
	}
	return 0
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func tomlName(s string) string {
	if bareKey.MatchString(s) {
		return s
	}
	return tomlString(s)
}

// tomlString quotes a TOML basic string. JSON's escapes are valid in TOML, but
// U+007F must be escaped too.
func tomlString(s string) string {
	return strings.ReplaceAll(string(encodeString(s)), "\x7f", `\u007F`)
}

// renderTOML renders a value on one line.
func renderTOML(v jsonvalue.Value) (string, error) {
	switch v.Type() {
	case jsonvalue.TypeString:
		return tomlString(v.Text()), nil
	case jsonvalue.TypeBool, jsonvalue.TypeNumber:
		return string(v.Encode()), nil
	case jsonvalue.TypeArray:
		var parts []string
		for _, e := range v.Elems() {
			s, err := renderTOML(e)
			if err != nil {
				return "", err
			}
			parts = append(parts, s)
		}
		return "[" + strings.Join(parts, ", ") + "]", nil
	case jsonvalue.TypeObject:
		var parts []string
		for name, e := range v.Members() {
			s, err := renderTOML(e)
			if err != nil {
				return "", err
			}
			parts = append(parts, tomlName(name)+" = "+s)
		}
		if len(parts) == 0 {
			return "{}", nil
		}
		return "{ " + strings.Join(parts, ", ") + " }", nil
	}
	return "", errors.New("TOML has no null")
}
