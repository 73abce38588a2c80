package upstream

import (
	"slices"
	"testing"
)

// TestQuotesTheLineWithTheError: the last lines of Node and npm do not say what
// went wrong.
func TestQuotesTheLineWithTheError(t *testing.T) {
	node := []string{"node:internal/modules/cjs/loader:1228", "  throw err;", "Error: Cannot find module '/x.js'", "  code: 'MODULE_NOT_FOUND',", "  requireStack: []", "}", "Node.js v20.20.2"}
	python := []string{"Traceback (most recent call last):", "  File \"x\", line 1", "    import nosuch", "ModuleNotFoundError: No module named 'nosuch'"}
	for _, c := range []struct {
		name        string
		lines, want []string
	}{
		{"node", node, []string{node[2], node[4], node[5], node[6]}},
		{"python", python, python[1:]},
		{"an error among the last lines", []string{"a", "error: b", "c"}, []string{"a", "error: b", "c"}},
		{"no error", []string{"a", "b", "c", "d"}, []string{"b", "c", "d"}},
		{"nothing", nil, nil},
	} {
		if got := quoted(c.lines); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
