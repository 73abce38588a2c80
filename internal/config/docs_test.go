package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/effect"
)

// page is docs/configuration.md.
type page struct {
	tables []table
	code   map[string]bool // every word written as code
}

// table is one whose first column names keys.
type table struct {
	section string
	line    int
	keys    []string // with the key that the heading of the column names, if any, in front
}

var (
	span  = regexp.MustCompile("`([^`]+)`")
	words = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*(?:\.[a-z_]+)*`)
)

func readPage(text string) page {
	p := page{code: map[string]bool{}}
	section, fenced, open := "", false, false
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			continue
		}
		inCode := []string{line}
		if !fenced {
			inCode = nil
			for _, m := range span.FindAllStringSubmatch(line, -1) {
				inCode = append(inCode, m[1])
			}
		}
		for _, c := range inCode {
			for _, w := range words.FindAllString(c, -1) {
				p.code[w] = true
			}
		}
		if fenced {
			continue
		}
		if h := strings.TrimLeft(line, "#"); h != line {
			section = strings.TrimSpace(h)
		}
		cells := strings.Split(line, "|")
		switch {
		case len(cells) < 3:
			open = false
		case i+1 < len(lines) && strings.HasPrefix(lines[i+1], "|---"):
			head := strings.TrimSpace(cells[1])
			if open = strings.HasPrefix(head, "key"); open {
				p.tables = append(p.tables, table{section: section, line: i + 1})
			} else if m := span.FindStringSubmatch(head); m != nil { // the heading is the key
				p.tables = append(p.tables, table{section: section, line: i + 1, keys: []string{m[1]}})
			}
		case open && !strings.HasPrefix(line, "|---"):
			for _, m := range span.FindAllStringSubmatch(cells[1], -1) {
				last := &p.tables[len(p.tables)-1]
				last.keys = append(last.keys, m[1])
			}
		}
	}
	return p
}

// keysOf returns the keys that a file may have for a type, by name.
func keysOf(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		if name := f.Tag.Get("yaml"); name != "" && name != "-" && f.Tag.Get("preset") != "only" {
			out[name] = f.Type
		}
	}
	return out
}

// inner returns the struct that a value of a type holds, or nil.
func inner(t reflect.Type) reflect.Type {
	for {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			t = t.Elem()
		case reflect.Struct:
			if len(keysOf(t)) == 0 {
				return nil
			}
			return t
		default:
			return nil
		}
	}
}

// hasKey reports whether a type has a key, or one below it where it is dotted.
func hasKey(t reflect.Type, dotted string) bool {
	name, rest, below := strings.Cut(dotted, ".")
	f, ok := keysOf(t)[name]
	if !ok || !below {
		return ok
	}
	next := inner(f)
	return next != nil && hasKey(next, rest)
}

// tabled are the sections with a table of keys, and the type that has them.
var tabled = map[string]reflect.Type{
	"Top-level keys":          reflect.TypeFor[Config](),
	"Profiles":                reflect.TypeFor[Profile](),
	"Servers":                 reflect.TypeFor[Server](),
	"Tools":                   reflect.TypeFor[Tool](),
	"Records":                 reflect.TypeFor[Record](),
	"Approval and time boxes": reflect.TypeFor[Approval](),
	"Limits":                  reflect.TypeFor[Limits](),
	"Quotas":                  reflect.TypeFor[Quotas](),
	"Commands":                reflect.TypeFor[Commands](),
	"Hold":                    reflect.TypeFor[Hold](),
	"Who may decide":          reflect.TypeFor[Config](),
	"Audit and retention":     reflect.TypeFor[Config](),
}

// beside are keys that no type has: the key of a record's value depends on its
// kind.
var beside = map[string][]string{"Records": {"value", "merge", "patch", "dry_run"}}

// TestEveryKeyIsDocumented compares docs/configuration.md with the types that the
// loader fills: no key is missing there, and none is extra.
func TestEveryKeyIsDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range undocumented(string(data)) {
		t.Error(p)
	}
	// Check that the test notices what it is for.
	for _, c := range []struct{ old, new, want string }{
		{"| `cwd` |", "| `cdw` |", `"cdw" is not a key of Server`},
		{"| `cwd` |", "| cwd |", `the table in "Servers" lacks the key "cwd"`},
		{"`limits.concurrency`", "`limits.concurency`", `"limits.concurency" is not a key of Server`},
		{"| `approvers.unsigned` |", "| `approvers.signed` |", `"approvers.signed" is not a key of Config`},
		{"## Limits", "## Bounds", `there is no table of keys in "Limits"`},
		{"tiers_when", "tiers when", `the table in "Tools" lacks the key "tiers_when"`},
		{"`file.append`", "file.append", `the effect "file.append" stands nowhere`},
	} {
		got := strings.Join(undocumented(strings.ReplaceAll(string(data), c.old, c.new)), "\n")
		if !strings.Contains(got, c.want) {
			t.Errorf("with %q in place of %q: got %q, want %q", c.new, c.old, got, c.want)
		}
	}
}

// undocumented returns the problems of the page.
func undocumented(text string) (problems []string) {
	p := readPage(text)
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	seen := map[string]bool{}
	for _, table := range p.tables {
		typ, ok := tabled[table.section]
		if !ok {
			problem("line %d: the table of keys in %q is not known to this test", table.line, table.section)
			continue
		}
		seen[table.section] = true
		var first []string
		for _, k := range table.keys {
			name, _, _ := strings.Cut(k, ".")
			first = append(first, name)
			if !hasKey(typ, k) && !slices.Contains(beside[table.section], k) {
				problem("line %d: %q is not a key of %s", table.line, k, typ.Name())
			}
		}
		if typ == reflect.TypeFor[Config]() && table.section != "Top-level keys" {
			continue // a part of it
		}
		for k := range keysOf(typ) {
			if !slices.Contains(first, k) {
				problem("line %d: the table in %q lacks the key %q", table.line, table.section, k)
			}
		}
	}
	for section := range tabled {
		if !seen[section] {
			problem("there is no table of keys in %q", section)
		}
	}
	every(reflect.TypeFor[Config](), func(typ reflect.Type, key string) {
		if !p.code[key] && !slices.ContainsFunc(dottedWords(p.code), func(w string) bool { return strings.HasSuffix(w, "."+key) }) {
			problem("the key %q of %s stands nowhere", key, typ.Name())
		}
	})
	for _, kind := range effect.Kinds() {
		if !p.code[kind] {
			problem("the effect %q stands nowhere", kind)
		}
	}
	return problems
}

func dottedWords(code map[string]bool) (list []string) {
	for w := range code {
		if strings.Contains(w, ".") {
			list = append(list, w)
		}
	}
	return list
}

// every calls f for the keys of a type and of all types below it, once a type.
func every(t reflect.Type, f func(t reflect.Type, key string)) {
	known := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		if known[t] {
			return
		}
		known[t] = true
		for k, sub := range keysOf(t) {
			f(t, k)
			if next := inner(sub); next != nil {
				walk(next)
			}
		}
	}
	walk(t)
	walk(reflect.TypeFor[Record]()) // an effect is decoded by its kind
	walk(reflect.TypeFor[Rule]())   // so is what is sensitive
}
