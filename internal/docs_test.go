package internal_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// pages are the Markdown files of the project, by path from its root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != ".." && (d.Name() == "node_modules" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && d.Name() != "."):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".md"):
			return nil
		}
		text, err := os.ReadFile(path)
		out[filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator)))] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if out["README.md"] == "" || out["docs/architecture.md"] == "" {
		t.Fatal("the test looks for the pages in the wrong place")
	}
	return out
}

// prose is a page without its blocks of code; lines keep their numbers.
func prose(text string) []string {
	lines := strings.Split(text, "\n")
	fenced := false
	for i, l := range lines {
		if strings.HasPrefix(strings.TrimSpace(l), "```") {
			fenced = !fenced
			lines[i] = ""
		} else if fenced || strings.HasPrefix(l, "    ") {
			lines[i] = ""
		}
	}
	return lines
}

// anchors are the names that a page's headings can be linked by.
func anchors(text string) map[string]bool {
	out := map[string]bool{}
	for _, l := range prose(text) {
		h := strings.TrimLeft(l, "#")
		if h == l || !strings.HasPrefix(h, " ") {
			continue
		}
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(h))
		out[name] = true
	}
	return out
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// brokenLinks says what is wrong with the links of the pages to each other and
// to other files of the project.
func brokenLinks(pages map[string]string) (problems []string) {
	for name, text := range pages {
		// A link's words may run over the end of a line; its address may not.
		for i, l := range prose(text) {
			for _, m := range link.FindAllStringSubmatch(l, -1) {
				to, anchor, _ := strings.Cut(m[1], "#")
				if strings.Contains(to, "://") {
					continue
				}
				at := name
				if to != "" {
					at = filepath.ToSlash(filepath.Join(filepath.Dir(name), to))
				}
				page, known := pages[at]
				if _, err := os.Stat(filepath.Join("..", at)); err != nil && !known {
					problems = append(problems, fmt.Sprintf("%s:%d: there is no %s", name, i+1, at))
				} else if known && anchor != "" && !anchors(page)[anchor] {
					problems = append(problems, fmt.Sprintf("%s:%d: %s has no heading %q", name, i+1, at, anchor))
				}
			}
		}
	}
	return problems
}

func TestLinks(t *testing.T) {
	all := pages(t)
	for _, p := range brokenLinks(all) {
		t.Error(p)
	}
	for name := range all {
		if strings.HasPrefix(name, "docs/") && !strings.Contains(all["README.md"], "("+name+")") {
			t.Errorf("the README leads nowhere to %s", name)
		}
	}
	// What this test is for, it notices.
	bad := brokenLinks(map[string]string{"docs/a.md": "## One two\n[x](b.md) [y](#one-two) [z](#three) [w](../README.md)"})
	slices.Sort(bad)
	want := []string{"docs/a.md:2: docs/a.md has no heading \"three\"", "docs/a.md:2: there is no docs/b.md"}
	if !slices.Equal(bad, want) {
		t.Errorf("got %q, want %q", bad, want)
	}
}

// TestPackagesAreDescribed holds the table of packages in docs/architecture.md
// against the list of layers.
func TestPackagesAreDescribed(t *testing.T) {
	_, table, _ := strings.Cut(pages(t)["docs/architecture.md"], "| package | what it is |")
	table, _, _ = strings.Cut(table, "\n\n")
	var described []string
	for row := range strings.Lines(table) {
		for _, m := range regexp.MustCompile("`([a-z/]+)`").FindAllStringSubmatch(row, -1) {
			if strings.HasPrefix(m[1], "internal/") || strings.HasPrefix(m[1], "cmd/") || m[1] == "configs" {
				described = append(described, m[1])
			}
		}
	}
	for _, l := range layers {
		if !slices.Contains(described, l) {
			t.Errorf("docs/architecture.md does not describe %s", l)
		}
	}
	for _, d := range described {
		if !slices.Contains(layers, d) {
			t.Errorf("docs/architecture.md describes %s, which is no package", d)
		}
	}
}

// TestWhereAChangeGoes holds the files that docs/architecture.md sends a change
// to against those that are there.
func TestWhereAChangeGoes(t *testing.T) {
	_, table, _ := strings.Cut(pages(t)["docs/architecture.md"], "## Where a change goes")
	table, _, _ = strings.Cut(table, "\n\n`Test")
	rows := regexp.MustCompile(`(?m)^\| (?:a|an) .*$`).FindAllString(table, -1)
	if len(rows) != 5 {
		t.Errorf("the table has %d changes, want the five most likely", len(rows))
	}
	for _, row := range rows {
		files := regexp.MustCompile("`((?:internal|configs|docs|e2e)/[a-zA-Z_./]+)`").FindAllStringSubmatch(row, -1)
		if len(files) == 0 {
			t.Errorf("no file in %q", row)
		}
		for _, f := range files {
			name := filepath.Join("..", strings.Replace(f[1], "NAME", "*", 1))
			if found, err := filepath.Glob(name); err != nil || len(found) == 0 {
				t.Errorf("there is no %s, of %.60q", f[1], row)
			}
		}
	}
}
