package effect

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEffectsAreDocumented compares the table of effects in docs/configuration.md
// with the kinds and parameters in the code.
func TestEffectsAreDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(data), "| kind | parameters | optional | preview |\n")
	if !ok {
		t.Fatal("docs/configuration.md has no table of effects")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	word := regexp.MustCompile("`([a-z_.]+)`")
	told := map[string][]string{}
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		kind := word.FindStringSubmatch(cells[1])
		if kind == nil {
			continue
		}
		told[kind[1]] = nil
		for _, m := range word.FindAllStringSubmatch(cells[2]+cells[3], -1) {
			told[kind[1]] = append(told[kind[1]], m[1])
		}
	}
	for _, kind := range Kinds() {
		names, ok := told[kind]
		if !ok {
			t.Errorf("docs/configuration.md does not name the effect %s", kind)
			continue
		}
		if isRecord(kind) {
			continue // a table of its own, which internal/config looks at
		}
		required, optional := Params(kind)
		for _, p := range append(required, optional...) {
			if !slices.Contains(names, p) {
				t.Errorf("docs/configuration.md does not name the parameter %s of %s", p, kind)
			}
		}
		for _, p := range names {
			if !slices.Contains(required, p) && !slices.Contains(optional, p) {
				t.Errorf("docs/configuration.md names %s, which is no parameter of %s", p, kind)
			}
		}
	}
	for kind := range told {
		if !slices.Contains(Kinds(), kind) {
			t.Errorf("docs/configuration.md names %s, which is no effect", kind)
		}
	}
}
