package tui

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestKeysAreDocumented holds docs/console.md against the table of keys: their
// names, section by section in the order of the help.
func TestKeysAreDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/console.md")
	if err != nil {
		t.Fatal(err)
	}
	_, names, ok := strings.Cut(string(data), "The names, in the order of the help:\n")
	if !ok {
		t.Fatal("docs/console.md does not list the names of the keys")
	}
	names, _, _ = strings.Cut(names, "\nA file that")
	told := map[string][]string{}
	for item := range strings.SplitSeq(names, "\n- ") {
		section, list, _ := strings.Cut(item, ":")
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(list, -1) {
			section := strings.TrimSpace(strings.TrimPrefix(section, "- "))
			told[section] = append(told[section], m[1])
		}
	}
	want := map[string][]string{}
	for _, n := range DefaultKeys().table() {
		want[n.section] = append(want[n.section], n.name)
	}
	for section, list := range want {
		if !slices.Equal(told[section], list) {
			t.Errorf("docs/console.md lists for %q\n%q, there are\n%q", section, told[section], list)
		}
	}
	if len(told) != len(want) {
		t.Errorf("docs/console.md has %d sections of keys, there are %d", len(told), len(want))
	}
}
