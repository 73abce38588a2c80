package audit

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// section returns the part of docs/audit.md between two texts.
func section(t *testing.T, from, to string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), from)
	part, _, closed := strings.Cut(rest, to)
	if !ok || !closed {
		t.Fatalf("docs/audit.md has nothing between %q and %q", from, to)
	}
	return part
}

var code = regexp.MustCompile("`([^`]+)`")

// spans returns what stands in code in a text; of a table only in the first column.
func spans(text string) (list []string) {
	for line := range strings.Lines(text) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			line = cells[1]
		}
		for _, m := range code.FindAllStringSubmatch(line, -1) {
			list = append(list, m[1])
		}
	}
	return list
}

func same(t *testing.T, what string, page, program []string) {
	t.Helper()
	for _, w := range program {
		if !slices.Contains(page, w) {
			t.Errorf("docs/audit.md does not name the %s %q", what, w)
		}
	}
	for _, w := range page {
		if !slices.Contains(program, w) {
			t.Errorf("docs/audit.md names %q, which is no %s", w, what)
		}
	}
}

// TestEverythingInTheLogIsDocumented holds docs/audit.md against the program:
// types of events, statuses, keys, rules and kinds of alerts.
func TestEverythingInTheLogIsDocumented(t *testing.T) {
	var types []string
	for _, typ := range Types {
		types = append(types, string(typ))
	}
	same(t, "event", spans(section(t, "| `event` | when |", "The `status` of a completed call")), types)

	page := spans(section(t, "| `status` | meaning |", "An alert waits"))
	for _, s := range page {
		if !Status(s).Valid() {
			t.Errorf("docs/audit.md names %q, which is no status", s)
		}
	}
	same(t, "status", page, []string{string(StatusOK), string(StatusError), string(StatusDenied), string(StatusExpired),
		string(StatusCancelled), string(StatusBlocked), string(StatusUnknown)})

	raw, err := json.Marshal(New(DaemonStarted, noon))
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(raw, &keys); err != nil {
		t.Fatal(err)
	}
	var names []string
	for k := range keys {
		names = append(names, k)
	}
	same(t, "key", spans(section(t, "| key | meaning |", "Rules of the program")), names)

	same(t, "rule", spans(section(t, "Rules of the program:", "\n\n")), constants(t, func(name, typ, _ string) bool {
		return strings.HasPrefix(strings.ToLower(name), "rule") && typ == "guard.Rule"
	}))
	same(t, "kind of alert", spans(section(t, "| alert | when |", "## Keys")), append(constants(t, func(name, typ, file string) bool {
		return strings.HasPrefix(name, "Alert") && typ == "" && strings.HasPrefix(file, "store/")
	}), raised(t)...))
}

// constants returns the values of the text constants of the program for which
// want holds, by name, type and file.
func constants(t *testing.T, want func(name, typ, file string) bool) (list []string) {
	t.Helper()
	each(t, func(file string, n ast.Node) {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != len(v.Names) {
			return
		}
		typ := ""
		switch x := v.Type.(type) {
		case *ast.Ident:
			typ = filepath.Dir(file) + "." + x.Name
		case *ast.SelectorExpr:
			if p, ok := x.X.(*ast.Ident); ok {
				typ = p.Name + "." + x.Sel.Name
			}
		}
		for i, name := range v.Names {
			if lit, ok := v.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING && want(name.Name, typ, filepath.ToSlash(file)) {
				s, _ := strconv.Unquote(lit.Value)
				list = append(list, s)
			}
		}
	})
	return list
}

// raised returns the kinds of alerts that are given as text: in a store.Alert,
// or to a function that raises one about a tool use.
func raised(t *testing.T) (list []string) {
	t.Helper()
	add := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			s, _ := strconv.Unquote(lit.Value)
			list = append(list, s)
		}
	}
	each(t, func(_ string, n ast.Node) {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if sel, ok := n.Type.(*ast.SelectorExpr); !ok || sel.Sel.Name != "Alert" {
				return
			}
			for _, e := range n.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					if k, ok := kv.Key.(*ast.Ident); ok && k.Name == "Kind" {
						add(kv.Value)
					}
				}
			}
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && strings.EqualFold(sel.Sel.Name, "odd") {
				for _, a := range n.Args[:min(2, len(n.Args))] {
					add(a)
				}
			}
		}
	})
	return list
}

// each calls f for every node of the program's own Go files, whose names count
// from the folder internal.
func each(t *testing.T, f func(file string, n ast.Node)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		tree, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		file, _ := filepath.Rel("..", path)
		ast.Inspect(tree, func(n ast.Node) bool { f(file, n); return true })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
