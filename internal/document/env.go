package document

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// maxPlainDocument bounds an .env or .ini file that is read as a document, in
// bytes.
const maxPlainDocument = 1 << 20

// errPlain says that parsers of the format disagree about a file.
var errPlain = errors.New("a line that readers of the format take differently")

// plainObject collects members in order of first mention.
type plainObject struct {
	names  []string
	vals   map[string]jsonvalue.Value
	folded map[string]string // name in lower case → the first such name
}

// alike reports whether there is a member whose name differs only in case.
func (o *plainObject) alike(name string) bool {
	first, ok := o.folded[strings.ToLower(name)]
	return ok && first != name
}

// set adds a member, and reports whether it already existed.
func (o *plainObject) set(name string, v jsonvalue.Value) (twice bool) {
	if o.vals == nil {
		o.vals, o.folded = map[string]jsonvalue.Value{}, map[string]string{}
	}
	if lower := strings.ToLower(name); o.folded[lower] == "" {
		o.folded[lower] = name
	}
	if _, twice = o.vals[name]; !twice {
		o.names = append(o.names, name)
	}
	o.vals[name] = v
	return twice
}

func (o *plainObject) value() (jsonvalue.Value, error) {
	members := make([]jsonvalue.Member, len(o.names))
	for i, n := range o.names {
		members[i] = jsonvalue.Member{Name: n, Value: o.vals[n]}
	}
	return jsonvalue.Object(members...)
}

// plainLines splits a small text file, for formats without a standard.
func plainLines(data []byte, n *Notes) ([]string, error) {
	data, n.BOM = bytes.CutPrefix(data, []byte("\ufeff"))
	switch {
	case len(data) > maxPlainDocument:
		return nil, ErrTooLarge
	case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		return nil, errors.New("not a text")
	}
	return strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n"), nil
}

var envAssignment = regexp.MustCompile(`^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(.*?)\s*$`)

// ReadEnv reads an .env file. There is no standard for it: what shells, Docker and
// libraries read differently is recorded in the notes, and multi-line values are
// refused.
func ReadEnv(data []byte) (jsonvalue.Value, Notes, error) {
	notes := Notes{Format: "env"}
	lines, err := plainLines(data, &notes)
	if err != nil {
		return jsonvalue.Value{}, notes, err
	}
	var o plainObject
	for _, line := range lines {
		text := strings.TrimSpace(line)
		if text == "" || text[0] == '#' {
			continue
		}
		m := envAssignment.FindStringSubmatch(line)
		if m == nil {
			return jsonvalue.Value{}, notes, errPlain
		}
		value, odd, err := envValue(m[2])
		if err != nil {
			return jsonvalue.Value{}, notes, err
		}
		pointer := jsonvalue.FormatPointer(m[1])
		if odd {
			notes.Ambiguous = append(notes.Ambiguous, pointer+" "+m[2])
		}
		v, err := jsonvalue.String(value)
		if err != nil {
			return jsonvalue.Value{}, notes, err
		}
		if o.set(m[1], v) {
			notes.Duplicates = append(notes.Duplicates, pointer)
		}
	}
	v, err := o.value()
	return v, notes, err
}

// envValue reads the value after the equals sign. odd says that parsers disagree
// about it: trailing comments, variables, escapes.
func envValue(s string) (value string, odd bool, err error) {
	if s == "" {
		return "", false, nil
	}
	if q := s[0]; q == '"' || q == '\'' {
		end := strings.IndexByte(s[1:], q) + 1
		if end == 0 || q == '"' && s[end-1] == '\\' {
			return "", false, errPlain // it continues, or ends elsewhere
		}
		rest := strings.TrimSpace(s[end+1:])
		if rest != "" && rest[0] != '#' {
			return "", false, errPlain
		}
		value = s[1:end]
		return value, rest != "" || q == '"' && strings.ContainsAny(value, "\\$`"), nil
	}
	before, _, comment := strings.Cut(s, " #")
	value = strings.TrimSpace(before)
	return value, comment || strings.ContainsAny(value, "\\$`\"'#"), nil
}
