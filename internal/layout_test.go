// Package internal_test holds the tests of the layout itself: who may import
// whom, and that each folder says what it is for. It contains no code.
package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/mcpguard/mcpguard/"

// layers lists every folder with Go code, from the top down. A package imports
// only packages that stand below it.
var layers = []string{
	"cmd/mcpguardd",
	"cmd/approve",
	"cmd/mcpguard",
	"internal/cli/mcpguardd",
	"internal/cli/approve",
	"internal/cli/mcpguard",
	"internal/demo",
	"internal/daemon",
	"internal/onboard",
	"internal/tui",
	"internal/tui/change",
	"internal/tui/theme",
	"internal/shim",
	"internal/localapi",
	"internal/client",
	"internal/proxy",
	"internal/clienttools",
	"internal/hook",
	"internal/workspace",
	"internal/upstream",
	"internal/approval",
	"internal/policy",
	"internal/config",
	"internal/effect",
	"internal/expr",
	"internal/sqltext",
	"internal/store",
	"internal/audit",
	"internal/redact",
	"internal/commands",
	"internal/clock",
	"internal/guard",
	"internal/document",
	"internal/ipc",
	"internal/sandbox",
	"internal/jsonvalue",
	"internal/diff",
	"internal/safetext/hostile",
	"internal/safetext",
	"internal/digest",
	"internal/strictjson",
	"internal/jsonrpc",
	"internal/version",
	"configs",
}

// onlyUsers names libraries that one package alone may import, because its
// promises rest on being the only one.
var onlyUsers = map[string]string{
	"go.etcd.io/bbolt":                        "internal/store",
	"github.com/mark3labs/mcp-go/server":      "internal/workspace",
	"golang.org/x/mod/sumdb/note":             "internal/audit",
	"charm.land/bubbletea/v2":                 "internal/tui",
	"github.com/sergi/go-diff/diffmatchpatch": "internal/diff",
}

func rank(pkg string) int {
	for i, l := range layers {
		if l == pkg {
			return i
		}
	}
	return -1
}

func TestImportsPointDown(t *testing.T) {
	packages := parse(t, "..")
	if len(packages) < 10 {
		t.Fatalf("found %d packages; the test looks in the wrong place", len(packages))
	}
	for dir, files := range packages {
		from := rank(dir)
		if from < 0 {
			t.Errorf("%s is in no layer: give it a place in this test's list and in docs/architecture.md", dir)
			continue
		}
		for name, f := range files {
			for _, im := range f.Imports {
				path, _ := strconv.Unquote(im.Path.Value)
				if user, ok := onlyUsers[path]; ok && user != dir {
					t.Errorf("%s imports %s, which only %s may", name, path, user)
				}
				local, ok := strings.CutPrefix(path, module)
				if !ok {
					continue
				}
				if to := rank(local); to <= from {
					t.Errorf("%s imports %s, which does not stand below %s", name, local, dir)
				}
			}
		}
	}
}

func TestEachPackageSaysWhatItIs(t *testing.T) {
	for dir, files := range parse(t, "..") {
		comments := 0
		for name, f := range files {
			if f.Doc == nil {
				continue
			}
			comments++
			want := "Package " + f.Name.Name + " "
			if f.Name.Name == "main" {
				want = "Command " + filepath.Base(dir) + " "
			}
			if !strings.HasPrefix(f.Doc.Text(), want) {
				t.Errorf("%s: the package comment does not begin with %q", name, want)
			}
		}
		if comments != 1 {
			t.Errorf("%s has %d package comments, want 1", dir, comments)
		}
	}
}

// TestTheConsoleIsLight: approve starts without what decides and computes, with
// its parsers of SQL, shells and expressions.
func TestTheConsoleIsLight(t *testing.T) {
	packages := parse(t, "..")
	seen := map[string]bool{}
	var visit func(string)
	visit = func(dir string) {
		if seen[dir] {
			return
		}
		seen[dir] = true
		for _, f := range packages[dir] {
			for _, im := range f.Imports {
				path, _ := strconv.Unquote(im.Path.Value)
				if local, ok := strings.CutPrefix(path, module); ok {
					visit(local)
				}
			}
		}
	}
	visit("cmd/approve")
	if !seen["internal/tui"] || !seen["internal/diff"] {
		t.Fatalf("found %v; the test looks in the wrong place", seen)
	}
	for _, heavy := range []string{"internal/effect", "internal/expr", "internal/policy", "internal/store", "internal/daemon"} {
		if seen[heavy] {
			t.Errorf("cmd/approve imports %s, if only through others", heavy)
		}
	}
}

// TestMainsAreAdapters keeps the bodies of the programs where tests can call them.
func TestMainsAreAdapters(t *testing.T) {
	for dir, files := range parse(t, "..") {
		if !strings.HasPrefix(dir, "cmd/") {
			continue
		}
		for name, f := range files {
			if lines := f.FileSet.Position(f.End()).Line; lines > 30 {
				t.Errorf("%s has %d lines; a main has at most 30", name, lines)
			}
		}
	}
}

type file struct {
	*ast.File
	FileSet *token.FileSet
}

// parse reads the non-test Go files below root, by folder and by name.
func parse(t *testing.T, root string) map[string]map[string]file {
	t.Helper()
	out := map[string]map[string]file{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (name == "testdata" || name == "node_modules" || name == "e2e" || name == "bench" || strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(rel))
		if out[dir] == nil {
			out[dir] = map[string]file{}
		}
		out[dir][filepath.ToSlash(rel)] = file{f, set}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
