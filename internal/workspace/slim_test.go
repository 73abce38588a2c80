package workspace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLongTextsAreWrittenAndBounded: a text that the library sees cut is
// written whole, and a text over its schema's bound is still refused.
func TestLongTextsAreWrittenAndBounded(t *testing.T) {
	root := folderWith(t, nil)
	c := open(t, root)
	long := strings.Repeat("a \"line\" \\ é\n", 40<<10)
	args := m{"path": "a.txt", "content": long}
	expect(c, planned(t, root, "write_file", args))
	if r := callTool(t, c, "write_file", args); r.IsError {
		t.Fatal(r.text())
	}
	if got, err := os.ReadFile(filepath.Join(root, "a.txt")); err != nil || string(got) != long {
		t.Errorf("%d bytes were written, want %d, %v", len(got), len(long), err)
	}
	for name, args := range map[string]m{
		"a long path":      {"path": strings.Repeat("p", longBytes), "content": "x"},
		"an unknown text":  {"path": "b.txt", "content": "x", "more": long},
		"a list of a text": {"path": "b.txt", "content": []string{long}},
	} {
		expect(c, planned(t, root, "write_file", m{"path": "b.txt", "content": "x"}))
		if r := callTool(t, c, "write_file", args); !r.IsError || !strings.Contains(r.text(), "schema") {
			t.Errorf("%s: %.300s", name, r.text())
		}
	}
	if _, err := os.Stat(filepath.Join(root, "b.txt")); err == nil {
		t.Error("a refused call wrote")
	}
}
