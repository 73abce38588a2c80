package expr

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestExpressionsAreDocumented compares the tables of variables and functions in
// docs/configuration.md with those in the code.
func TestExpressionsAreDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, ok := strings.Cut(string(data), "## Expressions\n")
	if !ok {
		t.Fatal("docs/configuration.md has no section on expressions")
	}
	row := func(name string) []string {
		var words []string
		for line := range strings.Lines(page) {
			if strings.HasPrefix(line, "| `"+name+"` |") {
				for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(line[len(name)+4:], -1) {
					words = append(words, m[1])
				}
			}
		}
		return words
	}
	r := newRecords()
	for name, rec := range map[string]*record{"target": r.target, "effect": r.effect, "run": r.run, "client": r.client} {
		told := row(name)
		for _, m := range rec.names {
			if !slices.Contains(told, m) {
				t.Errorf("docs/configuration.md does not name %s.%s", name, m)
			}
		}
		for _, w := range told {
			// Words in brackets are values, such as the kinds of a target.
			if !slices.Contains(rec.names, w) && name != "target" {
				t.Errorf("docs/configuration.md names %s.%s, which is not there", name, w)
			}
		}
	}
	env, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+\\([a-z, ]+\\))` \\|").FindAllStringSubmatch(page, -1) {
		call := regexp.MustCompile(`[a-z]+([,)])`).ReplaceAllString(m[1], `'a'$1`)
		if _, err := env.Compile(call, Bool); err != nil {
			t.Errorf("docs/configuration.md names %s, but: %v", m[1], err)
		}
	}
}
