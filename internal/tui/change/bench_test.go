package change

import (
	"fmt"
	"strings"
	"testing"

	"github.com/charmbracelet/colorprofile"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// long returns a diff of about n lines: in each hunk of ten, two are replaced.
func long(n int) client.Detail {
	var b strings.Builder
	b.WriteString("diff --git a/src/long.go b/src/long.go\n--- a/src/long.go\n+++ b/src/long.go\n")
	for i := 0; i < n; i += 11 {
		fmt.Fprintf(&b, "@@ -%d,8 +%d,8 @@\n", i+1, i+1)
		for k := range 3 {
			fmt.Fprintf(&b, " \tif err := step(%d); err != nil {\n", i+k)
		}
		for k := range 2 {
			fmt.Fprintf(&b, "-\t\treturn fmt.Errorf(\"step %d: %%w\", err)\n", i+k)
		}
		for k := range 2 {
			fmt.Fprintf(&b, "+\t\treturn fmt.Errorf(\"taking step %d: %%w\", err) // wrapped\n", i+k)
		}
		for k := range 3 {
			fmt.Fprintf(&b, " \t} // %d\n", i+k)
		}
	}
	return client.Detail{Diff: client.NewDiff("unified", b.String())}
}

// created returns a new file of n lines.
func created(n int) client.Detail {
	var b strings.Builder
	fmt.Fprintf(&b, "diff --git a/data.txt b/data.txt\nnew file mode 100644\n--- /dev/null\n+++ b/data.txt\n@@ -0,0 +1,%d @@\n", n)
	for i := range n {
		fmt.Fprintf(&b, "+line %d of a long file with some Words in it\n", i)
	}
	return client.Detail{Diff: client.NewDiff("unified", b.String())}
}

func options() Options { return Options{Theme: theme.New(true, colorprofile.TrueColor)} }

func BenchmarkFirstRender(b *testing.B) {
	for _, c := range []struct {
		name string
		d    client.Detail
	}{{"100k hunks", long(100_000)}, {"100k new", created(100_000)}, {"1M new", created(1_000_000)}, {"1M hunks", long(1_000_000)}} {
		for _, o := range []string{"", " split", " wrap"} {
			b.Run(c.name+o, func(b *testing.B) {
				b.ReportAllocs()
				opt := options()
				opt.Split, opt.Wrap = o == " split", o == " wrap"
				for b.Loop() {
					v := New(c.d, opt)
					v.SetSize(140, 50)
					v.Render()
				}
			})
		}
	}
}

func BenchmarkScroll(b *testing.B) {
	for _, c := range []struct {
		name string
		d    client.Detail
	}{{"1M hunks", long(1_000_000)}, {"1M new", created(1_000_000)}, {"10MB line", oneLine(10 << 20)}} {
		for _, o := range []string{"", " split", " wrap"} {
			b.Run(c.name+o, func(b *testing.B) {
				opt := options()
				opt.Split, opt.Wrap = o == " split", o == " wrap"
				v := New(c.d, opt)
				v.SetSize(140, 50)
				v.Render()
				by := []int{1, 1, -1, 37, 49, 4999, -3000}
				i := 0
				for b.Loop() {
					v.Scroll(by[i%len(by)])
					v.Render()
					i++
				}
			})
		}
	}
}

func oneLine(n int) client.Detail {
	text := strings.Repeat("lorem ipsum dolor sit amet ", n/27)
	return client.Detail{Diff: client.NewDiff("unified", "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-"+text+"\n+"+text+"x\n")}
}

func BenchmarkSearch(b *testing.B) {
	v := New(created(1_000_000), options())
	v.SetSize(140, 50)
	v.Render()
	for name, p := range map[string]string{"rare": "999999", "exact": "Words", "fold": "words", "common": "e", "none": "zebra"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				v.Search(p)
			}
		})
	}
}

// BenchmarkHostile paints windows that cost as much as possible.
func BenchmarkHostile(b *testing.B) {
	lines := func(old, new string) client.Detail {
		var before, after strings.Builder
		for i := range 60 {
			fmt.Fprintf(&before, "%d%s\n", i, old)
			fmt.Fprintf(&after, "%d%s\n", i, new)
		}
		return edited("x.go", before.String(), after.String())
	}
	alphabet := func(from rune, n int) string {
		var s strings.Builder
		for i := range n {
			s.WriteRune(from + rune(i*7919%n))
		}
		return s.String()
	}
	for name, d := range map[string]client.Detail{
		"unlike":     lines(alphabet('!', 90)+alphabet('!', 85), alphabet('!', 83)+alphabet('!', 88)),
		"homoglyphs": lines(strings.Repeat("p\u0430ypal ", 800), strings.Repeat("p\u0430ypaI ", 800)),
		"marks":      lines(strings.Repeat("e\u0301\u0302\u0303", 900), strings.Repeat("e\u0301\u0302\u0304", 900)),
		"controls":   lines(strings.Repeat("\x1b\x01", 4000), strings.Repeat("\x01\x1b", 4000)),
		"wide":       lines(strings.Repeat("世界", 1300), strings.Repeat("世間", 1300)),
	} {
		for _, wrap := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s wrap=%v", name, wrap), func(b *testing.B) {
				opt := options()
				opt.Wrap = wrap
				v := New(d, opt)
				v.SetSize(140, 50)
				for b.Loop() {
					clear(v.pairs)
					v.Render()
				}
			})
		}
	}
}

func BenchmarkBetween(b *testing.B) {
	old, new := long(100_000), long(100_010)
	for b.Loop() {
		v := Between(old, new, options())
		v.SetSize(140, 50)
		v.Render()
	}
}
