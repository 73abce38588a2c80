package document

import (
	"strings"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// ReadINI reads an .ini file: sections of names and values, all of them text. Lines
// that begin with a blank continue a value in some parsers and stand alone in
// others, so a file with them is refused.
func ReadINI(data []byte) (jsonvalue.Value, Notes, error) {
	notes := Notes{Format: "ini"}
	lines, err := plainLines(data, &notes)
	if err != nil {
		return jsonvalue.Value{}, notes, err
	}
	var root plainObject
	sections := map[string]*plainObject{}
	var order []string
	at, name := &root, ""
	for _, line := range lines {
		text := strings.TrimSpace(line)
		switch {
		case text == "" || text[0] == ';' || text[0] == '#':
			continue
		case line[0] == ' ' || line[0] == '\t':
			return jsonvalue.Value{}, notes, errPlain
		case text[0] == '[':
			if text[len(text)-1] != ']' {
				return jsonvalue.Value{}, notes, errPlain
			}
			name = text[1 : len(text)-1]
			if sections[name] != nil {
				notes.Duplicates = append(notes.Duplicates, jsonvalue.FormatPointer(name))
			} else {
				sections[name] = &plainObject{}
				order = append(order, name)
			}
			at = sections[name]
			continue
		}
		if err := iniLine(text, name, at, &notes); err != nil {
			return jsonvalue.Value{}, notes, err
		}
	}
	for _, s := range order {
		v, err := sections[s].value()
		if err != nil {
			return jsonvalue.Value{}, notes, err
		}
		if root.set(s, v) { // a name above all sections has the same name
			return jsonvalue.Value{}, notes, errPlain
		}
	}
	v, err := root.value()
	return v, notes, err
}

// iniLine reads one name, with or without a value.
func iniLine(text, section string, at *plainObject, notes *Notes) error {
	v := jsonvalue.Null()
	name := text
	if i := strings.IndexAny(text, "=:"); i >= 0 {
		name = strings.TrimSpace(text[:i])
		var err error
		if v, err = jsonvalue.String(strings.TrimSpace(text[i+1:])); err != nil {
			return err
		}
	}
	if name == "" {
		return errPlain
	}
	steps := []string{name}
	if at != nil && section != "" {
		steps = []string{section, name}
	}
	pointer := jsonvalue.FormatPointer(steps...)
	if at.alike(name) { // many parsers ignore case
		notes.Ambiguous = append(notes.Ambiguous, pointer+" "+name)
	}
	if at.set(name, v) {
		notes.Duplicates = append(notes.Duplicates, pointer)
	}
	if s := v.Text(); v.Type() == jsonvalue.TypeString && (strings.Contains(s, " ;") || strings.Contains(s, " #") || strings.ContainsAny(s, "\"'\\%$")) {
		notes.Ambiguous = append(notes.Ambiguous, pointer+" "+s)
	}
	return nil
}
