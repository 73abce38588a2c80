package config

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/configs"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// ownTools are the presets without a list in configs/testdata: their tools are this
// program's own or the client's, and other tests compare them.
var ownTools = []string{"claude-native", "workspace"}

// listedTools reads the tools of a server: name → argument → whether it must be
// given.
func listedTools(t *testing.T, preset string) map[string]map[string]bool {
	t.Helper()
	f, err := os.Open("../../configs/testdata/tools/" + preset + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]map[string]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, args, ok := strings.Cut(lines.Text(), ":")
		if strings.HasPrefix(name, "#") || !ok {
			continue
		}
		out[name] = map[string]bool{}
		for _, a := range strings.Fields(args) {
			plain, optional := strings.CutSuffix(a, "?")
			out[name][plain] = !optional
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

var argument = regexp.MustCompile(`\bargs\.([A-Za-z_][A-Za-z0-9_]*)`)

// expressions returns every expression that a call of a tool evaluates.
func expressions(x *Tool) []string {
	out := slices.Collect(maps.Values(x.Effect.Params))
	out = append(out, string(x.Undo.When))
	for _, e := range x.Undo.Args {
		out = append(out, string(e))
	}
	for _, w := range x.TiersWhen {
		out = append(out, w.When)
	}
	for _, r := range slices.Concat(x.Deny, x.Allow, x.Sensitive.When) {
		out = append(out, r.When)
	}
	for _, s := range x.SideEffects {
		out = append(out, s.When+" "+s.Says)
	}
	return out
}

// TestPresetsFitTheTools compares each preset with the tool list of its server:
// every tool has a tier and none is invented. What an expression reads is an
// argument of that tool, and an optional one is tested with has(), since a
// condition that cannot be evaluated refuses the call.
func TestPresetsFitTheTools(t *testing.T) {
	for _, name := range configs.Presets() {
		if slices.Contains(ownTools, name) {
			continue
		}
		c, err := Parse("c.yaml", []byte("version: 1\nroots: [/w]\nservers:\n  x: {preset: "+name+", command: /bin/x}\n"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s, listed := c.Servers["x"], listedTools(t, name)
		if got, want := slices.Sorted(maps.Keys(s.Tools)), slices.Sorted(maps.Keys(listed)); !slices.Equal(got, want) {
			t.Errorf("%s names %q\nits server lists %q", name, got, want)
		}
		for tool, x := range s.Tools {
			for _, e := range expressions(x) {
				for _, m := range argument.FindAllStringSubmatch(e, -1) {
					required, known := listed[tool][m[1]]
					if !known {
						t.Errorf("%s/%s asks for %s, which is no argument of it", name, tool, m[0])
					} else if !required && !strings.Contains(e, "has("+m[0]+")") {
						t.Errorf("%s/%s asks for %s without has(), and it may be left out: %s", name, tool, m[0], e)
					}
				}
			}
		}
	}
}

// TestServicePresetsProtectPrivateData checks the presets of services: a write declares its
// effect, a read of private data is sensitive, and what sends data out is never a
// read of private data.
func TestServicePresetsProtectPrivateData(t *testing.T) {
	for _, name := range configs.Presets() {
		c, err := Parse("c.yaml", []byte("version: 1\nroots: [/w]\nservers:\n  x: {preset: "+name+", command: /bin/x}\n"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s := c.Servers["x"]
		for tool, x := range s.Tools {
			private, outbound := slices.Contains(x.Labels, LabelPrivate), slices.Contains(x.Labels, LabelOutbound)
			switch {
			case x.Tier == guard.Never:
				if x.Says == "" {
					t.Errorf("%s/%s is never callable and does not say what to do instead", name, tool)
				}
			case x.Tier != guard.T0Read && x.Effect.Kind == "":
				t.Errorf("%s/%s writes and says no effect", name, tool)
			case x.Tier == guard.T0Read && private && !x.Sensitive.Set() && s.Basis != "run":
				t.Errorf("%s/%s reads what is private and is not sensitive", name, tool)
			case x.Tier == guard.T0Read && private && outbound:
				t.Errorf("%s/%s is a read that reads what is private and sends it out", name, tool)
			}
		}
	}
}

// TestPresetsTable compares the table in docs/presets.md with the presets.
func TestPresetsTable(t *testing.T) {
	const path, begin, end = "../../docs/presets.md", "-update -->\n", "<!-- end -->"
	var table strings.Builder
	table.WriteString("\n| preset | for | rests on | reads | writes | computed | NEVER |\n|---|---|---|--:|--:|--:|--:|\n")
	for _, name := range configs.Presets() {
		c, err := Parse("c.yaml", []byte("version: 1\nroots: [/w]\nservers:\n  x: {preset: "+name+", command: /bin/x}\n"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s := c.Servers["x"]
		var reads, writes, computed, never int
		for _, x := range s.Tools {
			switch {
			case x.Tier == guard.Never:
				never++
			case x.Tier == guard.T0Read:
				reads++
			default:
				writes++
				if x.Effect.Kind != "" && x.Effect.Kind != "opaque" {
					computed++
				}
			}
		}
		basis := s.Basis
		if len(s.Versions) > 0 {
			basis += ", " + strings.Join(s.Versions, ", ")
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %d | %d | %d | %d |\n", name, strings.TrimSuffix(s.About, "."), basis, reads, writes, computed, never)
	}
	table.WriteString("\n")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	want := head + begin + table.String() + end + tail
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(page) != want {
		t.Error("the table in docs/presets.md does not fit the presets: run go test ./internal/config -run TestPresetsTable -update")
	}
}
