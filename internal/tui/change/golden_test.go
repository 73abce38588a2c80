package change

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/colorprofile"

	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with testdata/name.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name+".golden")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs\ngot\n%s\nwant\n%s", file, got, want)
	}
}

var (
	baseNames  = [bases]string{"", "add", "remove", "file", "meta", "hunk", "title", "note", "warn", "fold"}
	classNames = [classes]string{"", "keyword", "name", "string", "number", "comment", "label", "old", "new", "sign", "word", "trailing", "match", "current", "HAZARD"}
)

// styleNames maps the sequences of a theme to what they stand for, so that a
// golden file says "‹add word:x›" and does not change with a colour.
func styleNames(v *View) map[string]string {
	x := safetext.Text("x")
	out := map[string]string{}
	set := func(st theme.Style, name string) {
		open, _, _ := strings.Cut(st.Render(x), "x")
		if _, ok := out[open]; !ok && open != "" {
			out[open] = name
		}
	}
	t := v.o.Theme
	set(t.Hazard, "HAZARD")
	set(t.Match, "match")
	set(t.CurrentMatch, "current")
	set(t.LineNumber, "n")
	set(t.AddNumber, "n+")
	set(t.RemoveNumber, "n-")
	set(t.Fold, "fold")
	for b := range bases {
		set(v.style(b, plain), baseNames[b])
	}
	for b := range bases {
		for c := range classes {
			set(v.style(b, c), strings.TrimSpace(baseNames[b]+" "+classNames[c]))
		}
	}
	set(t.Border, "border")
	return out
}

// annotated spells out the styles of rows.
func annotated(v *View, rows []string) string {
	names := styleNames(v)
	longest := slices.Sorted(maps.Keys(names))
	slices.SortStableFunc(longest, func(a, b string) int { return len(b) - len(a) })
	var out strings.Builder
	for _, r := range rows {
		for _, open := range longest {
			r = strings.ReplaceAll(r, open, "‹"+names[open]+":")
		}
		r = strings.ReplaceAll(r, "\x1b[m", "›")
		r = strings.ReplaceAll(r, "\x1b[0m", "›")
		if strings.Contains(r, "\x1b") {
			r = "UNKNOWN STYLE " + fmt.Sprintf("%q", r)
		}
		out.WriteString(r)
		out.WriteString("\n")
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

func TestGolden(t *testing.T) {
	for _, c := range cases() {
		widths := []int{60, 100}
		if c.o.Split {
			widths = []int{100, 140}
		}
		if c.name == "edit" {
			widths = append(widths, 30)
		}
		for _, w := range widths {
			t.Run(fmt.Sprintf("%s/%d", c.name, w), func(t *testing.T) {
				c.o.Theme = theme.New(true, colorprofile.TrueColor)
				v := New(c.d, c.o)
				v.SetSize(w, 30)
				golden(t, fmt.Sprintf("%s.%d.dark", c.name, w), annotated(v, v.Render()))
			})
		}
	}
}

// TestGoldenWithoutColours shows what is left to a reader with NO_COLOR: bold,
// reverse, underline.
func TestGoldenWithoutColours(t *testing.T) {
	for _, c := range cases() {
		if c.name != "edit" && c.name != "patch" && c.name != "edit-ascii" {
			continue
		}
		c.o.Theme = theme.New(true, colorprofile.ASCII)
		v := New(c.d, c.o)
		v.SetSize(80, 30)
		v.Search("sum")
		v.NextMatch()
		golden(t, c.name+".80.none", strings.TrimRight(strings.ReplaceAll(strings.Join(v.Render(), "\n"), "\x1b", "␛"), "\n")+"\n")
	}
}

func TestGoldenBetween(t *testing.T) {
	for name, c := range betweens() {
		v := Between(c[0], c[1], options())
		v.SetSize(80, 40)
		golden(t, "between-"+name+".80.dark", annotated(v, v.Render()))
	}
}
