package diff

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// lcsLength is the textbook quadratic solution.
func lcsLength(a, b []int32) int {
	row := make([]int, len(b)+1)
	for _, x := range a {
		diagonal := 0
		for j, y := range b {
			up := row[j+1]
			if x == y {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(row[j], up)
			}
			diagonal = up
		}
	}
	return row[len(b)]
}

func randomIDs(r *rand.Rand, n, ids int) []int32 {
	s := make([]int32, n)
	for i := range s {
		s[i] = int32(r.IntN(ids))
	}
	return s
}

// checkBlocks verifies that blocks are ordered, disjoint, and leave equal
// elements outside; it returns how many elements are kept.
func checkBlocks(a, b []int32, blocks []Block) (kept int, err error) {
	i, j := 0, 0
	for _, k := range append(blocks, Block{len(a), len(a), len(b), len(b)}) {
		if k.A0-i != k.B0-j || k.A0 < i || k.A1 < k.A0 || k.B1 < k.B0 {
			return 0, fmt.Errorf("block %v does not follow %d,%d", k, i, j)
		}
		for ; i < k.A0; i, j = i+1, j+1 {
			if a[i] != b[j] {
				return 0, fmt.Errorf("kept elements %d and %d differ", i, j)
			}
			kept++
		}
		i, j = k.A1, k.B1
	}
	return kept, nil
}

func TestAlignIsMinimal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		ids := 1 + r.IntN(12)
		a, b := randomIDs(r, r.IntN(30), ids), randomIDs(r, r.IntN(30), ids)
		blocks, coarse := Align(a, b, ids, 0)
		kept, err := checkBlocks(a, b, blocks)
		if err != nil || coarse || kept != lcsLength(a, b) {
			t.Fatalf("Align(%v, %v): kept %d of %d, coarse %v, %v", a, b, kept, lcsLength(a, b), coarse, err)
		}
	}
}

func TestAlignWithinAnyBudgetIsRight(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	coarsened := 0
	for i := range 20000 {
		ids := 1 + r.IntN(60)
		a, b := randomIDs(r, r.IntN(120), ids), randomIDs(r, r.IntN(120), ids)
		budget := 1 + r.IntN(1+i%4000)
		blocks, coarse := Align(a, b, ids, budget)
		kept, err := checkBlocks(a, b, blocks)
		if err != nil {
			t.Fatalf("Align(%v, %v, budget %d): %v", a, b, budget, err)
		}
		if best := lcsLength(a, b); !coarse && kept != best {
			t.Fatalf("Align(%v, %v, budget %d) kept %d of %d and is not coarse", a, b, budget, kept, best)
		}
		if coarse {
			coarsened++
		}
	}
	if coarsened < 1000 {
		t.Errorf("only %d of the runs exceeded their budget", coarsened)
	}
}

// hostileLines are lines that a patch reader might take for something else.
var hostileLines = []string{
	"a", "b", "c", "", " ", "\t", "--- a/x", "+++ b/x", "@@ -1,2 +1,2 @@", "diff --git a/x b/x", "\\ No newline at end of file",
	"\\", "-", "+", "- a/x", "-- a/x", "++ b/x", "rename from x", "deleted file mode 100644", "Index: x", "GIT binary patch",
	"a\r", "\r", "a\rb", "\xff\xfe", "\xc3", "\u2028", "0a", "1,2c3", "*** x", "***************", "== ", "-- ", "--", "#!/bin/sh",
	"literal 0", "similarity index 100%", "new file mode 100755", "index 000..111", "From x", "\x1b[31m", "\f", "\v",
}

// randomText returns up to max lines, some hostile, with every kind of end.
func randomText(r *rand.Rand, maxLines int) []byte {
	var w bytes.Buffer
	n := r.IntN(maxLines + 1)
	for range n {
		w.WriteString(hostileLines[r.IntN(len(hostileLines))])
		w.WriteByte('\n')
	}
	text := w.Bytes()
	switch {
	case len(text) > 0 && r.IntN(3) == 0:
		text = text[:len(text)-1]
	case len(text) > 0 && r.IntN(6) == 0:
		text = bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	}
	return text
}

// mutate returns a copy of text with a few lines changed.
func mutate(r *rand.Rand, text []byte) []byte {
	lines := splitLines(text)
	for range r.IntN(5) {
		at := r.IntN(len(lines) + 1)
		line := []byte(hostileLines[r.IntN(len(hostileLines))] + "\n")
		switch r.IntN(3) {
		case 0:
			lines = append(lines[:at:at], append([][]byte{line}, lines[at:]...)...)
		case 1:
			if at < len(lines) {
				lines = append(lines[:at:at], lines[at+1:]...)
			}
		default:
			if at < len(lines) {
				lines = append(lines[:at:at], append([][]byte{line}, lines[at+1:]...)...)
			}
		}
	}
	out := bytes.Join(lines, nil)
	if len(out) > 0 && r.IntN(4) == 0 {
		out = out[:len(out)-1]
	}
	return out
}

func TestUnifiedReproducesAfter(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	runs := 20000
	if testing.Short() {
		runs = 2000
	}
	for i := range runs {
		before := randomText(r, 40)
		after := mutate(r, before)
		if i%4 == 0 {
			after = randomText(r, 40)
		}
		o := Options{Context: r.IntN(6) - 1}
		if i%3 == 0 {
			o.Budget = 1 + r.IntN(200)
		}
		text, res := Unified(File{Path: "x", Data: before, Exists: true}, File{Path: "x", Data: after, Exists: true}, o)
		if err := checkResult(before, after, res); err != nil {
			t.Fatalf("Compute(%q, %q, %+v): %v", before, after, o, err)
		}
		got, err := applyUnified(before, text)
		if err != nil || !bytes.Equal(got, after) {
			t.Fatalf("apply(%q, %q) = %q, %v; want %q (options %+v)", before, text, got, err, after, o)
		}
	}
}

func TestComputeNamesEachLine(t *testing.T) {
	lines := func(r Result) string {
		var w strings.Builder
		for _, h := range r.Hunks {
			w.WriteString(h.Header() + "\n")
			for _, l := range h.Lines {
				fmt.Fprintf(&w, "%s %d %d %q %v\n", l.Kind, l.Old, l.New, l.Text, l.NoEOL)
			}
		}
		return w.String()
	}
	for _, c := range []struct{ name, before, after, want string }{
		{"equal", "a\nb", "a\nb", ""},
		{"both empty", "", "", ""},
		{"created", "", "a\n", "@@ -0,0 +1 @@\ninsert 0 1 \"a\" false\n"},
		{"emptied", "a\nb\n", "", "@@ -1,2 +0,0 @@\ndelete 1 0 \"a\" false\ndelete 2 0 \"b\" false\n"},
		{"newline added", "a", "a\n", "@@ -1 +1 @@\ndelete 1 0 \"a\" true\ninsert 0 1 \"a\" false\n"},
		{"only a newline", "", "\n", "@@ -0,0 +1 @@\ninsert 0 1 \"\" false\n"},
		{"endings", "a\r\nb\n", "a\nb\n", "@@ -1,2 +1,2 @@\ndelete 1 0 \"a\\r\" false\ninsert 0 1 \"a\" false\nequal 2 2 \"b\" false\n"},
		{"lone CR is no line end", "a\rb", "a\rc", "@@ -1 +1 @@\ndelete 1 0 \"a\\rb\" true\ninsert 0 1 \"a\\rc\" true\n"},
		{"invalid UTF-8", "\xff\n", "\xfe\n", "@@ -1 +1 @@\ndelete 1 0 \"\\xff\" false\ninsert 0 1 \"\\xfe\" false\n"},
	} {
		if got := lines(Compute([]byte(c.before), []byte(c.after), Options{})); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestHunksMergeWhereContextMeets(t *testing.T) {
	var before, after strings.Builder
	for i := range 40 {
		fmt.Fprintf(&before, "line %d\n", i)
		if i == 10 || i == 17 || i == 25 {
			fmt.Fprintf(&after, "changed %d\n", i)
		} else {
			fmt.Fprintf(&after, "line %d\n", i)
		}
	}
	r := Compute([]byte(before.String()), []byte(after.String()), Options{})
	var got []string
	for _, h := range r.Hunks {
		got = append(got, h.Header())
	}
	if want := "[@@ -8,14 +8,14 @@ @@ -23,7 +23,7 @@]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestSlideKeepsBlocksWhole(t *testing.T) {
	for _, c := range []struct{ name, before, after, want string }{
		{
			"a function",
			"func a() {\n}\n\nfunc c() {\n}\n",
			"func a() {\n}\n\nfunc b() {\n}\n\nfunc c() {\n}\n",
			"@@ -1,5 +1,8 @@\n func a() {\n }\n \n+func b() {\n+}\n+\n func c() {\n }\n",
		},
		{
			"an element",
			"<l>\n  <i>\n    x\n  </i>\n</l>\n",
			"<l>\n  <i>\n    x\n  </i>\n  <i>\n    x\n  </i>\n</l>\n",
			"@@ -2,4 +2,7 @@\n   <i>\n     x\n   </i>\n+  <i>\n+    x\n+  </i>\n </l>\n",
		},
	} {
		file := func(s string) File { return File{Path: "x", Data: []byte(s), Exists: true} }
		text, _ := Unified(file(c.before), file(c.after), Options{})
		_, hunks, _ := bytes.Cut(text, []byte("+++ b/x\n"))
		if string(hunks) != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, hunks, c.want)
		}
	}
}

// TestComputeIsDeterministic: the interner's hash is seeded anew each time, the
// result must not depend on it.
func TestComputeIsDeterministic(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 200 {
		before, after := randomText(r, 200), randomText(r, 200)
		o := Options{Budget: 1 + r.IntN(3000)}
		file := func(b []byte) File { return File{Path: "x", Data: b, Exists: true} }
		first, _ := Unified(file(before), file(after), o)
		for range 3 {
			again, _ := Unified(file(bytes.Clone(before)), file(bytes.Clone(after)), o)
			if !bytes.Equal(first, again) {
				t.Fatalf("two results for %q and %q:\n%s\n%s", before, after, first, again)
			}
		}
	}
}

func FuzzUnified(f *testing.F) {
	f.Add([]byte("a\nb\n"), []byte("a\nc"), 3, 0)
	f.Add([]byte(""), []byte("\n"), -1, 1)
	f.Add([]byte("a\r\nb\r\n"), []byte("a\nb\n"), 0, 5)
	f.Add([]byte("--- a/x\n+++ b/x\n@@ -1 +1 @@\n"), []byte("\\ No newline at end of file"), 1, 9)
	f.Add([]byte("\xff\n\n\n"), []byte("\n\xfe\n\n"), 2, 2)
	f.Fuzz(func(t *testing.T, before, after []byte, context, budget int) {
		o := Options{Context: context % 10, Budget: budget}
		text, r := Unified(File{Path: "x", Data: before, Exists: true}, File{Path: "x", Data: after, Exists: true}, o)
		if err := checkResult(before, after, r); err != nil {
			t.Fatal(err)
		}
		if r.Binary {
			return
		}
		got, err := applyUnified(before, text)
		if err != nil || !bytes.Equal(got, after) {
			t.Fatalf("apply: got %q, %v; want %q; patch %q", got, err, after, text)
		}
	})
}

func TestUnifiedHeaders(t *testing.T) {
	file := func(path, data string, mode uint32) File {
		return File{Path: path, Data: []byte(data), Mode: mode, Exists: true}
	}
	for _, c := range []struct {
		name          string
		before, after File
		want          string
	}{
		{"nothing", file("x", "a\n", 0o644), file("x", "a\n", 0o644), ""},
		{"no file at all", File{}, File{}, ""},
		{"edit", file("x", "a\n", 0o600), file("x", "b\n", 0o600), "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"},
		{"create", File{}, file("/etc/x", "a", 0), "diff --git a/etc/x b/etc/x\nnew file mode 100644\n--- /dev/null\n+++ b/etc/x\n@@ -0,0 +1 @@\n+a\n\\ No newline at end of file\n"},
		{"create empty", File{}, file("x", "", 0o755), "diff --git a/x b/x\nnew file mode 100755\n"},
		{"delete", file("x", "a\n", 0o640), File{}, "diff --git a/x b/x\ndeleted file mode 100640\n--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"},
		{"data of a missing file", File{Path: "y", Data: []byte("ghost"), Mode: 1}, file("x", "", 0o644), "diff --git a/x b/x\nnew file mode 100644\n"},
		{"mode", file("x", "a\n", 0o644), file("x", "a\n", 0o4755), "diff --git a/x b/x\nold mode 100644\nnew mode 104755\n"},
		{"rename", file("a b", "a\n", 0o644), file("\"é\\\n", "a\n", 0o644), "diff --git \"a/a b\" \"b/\\\"\\303\\251\\\\\\n\"\nrename from \"a b\"\nrename to \"\\\"\\303\\251\\\\\\n\"\n"},
		{"a name in one script", file("документы/отчёт.md", "a\n", 0o644), file("документы/отчёт 2.md", "a\n", 0o644),
			"diff --git a/документы/отчёт.md \"b/документы/отчёт 2.md\"\nrename from документы/отчёт.md\nrename to \"документы/отчёт 2.md\"\n"},
		{"a name that imitates", file("p\u0430y", "a\n", 0o644), file("pay", "a\n", 0o644), "diff --git \"a/p\\320\\260y\" b/pay\nrename from \"p\\320\\260y\"\nrename to pay\n"},
		{"binary", file("x", "a\x00", 0o644), file("x", "", 0o644),
			"diff --git a/x b/x\nBinary files a/x and b/x differ\nbefore: 2 bytes, sha256:ffe9aaeaa2a2d5048174df0b80599ef0197ec024c4b051bc9860cff58ef7f9f3\nafter: 0 bytes, sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"},
		{"binary created", File{}, file("x", "\x00", 0o644), "diff --git a/x b/x\nnew file mode 100644\nBinary files /dev/null and b/x differ\nbefore: no file\nafter: 1 bytes, sha256:6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d\n"},
		{"binary moved", file("x", "\x00", 0o644), file("y", "\x00", 0o644), "diff --git a/x b/y\nrename from x\nrename to y\n"},
	} {
		if text, _ := Unified(c.before, c.after, Options{}); string(text) != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, text, c.want)
		}
	}
}

func TestBinaryIsGitsRule(t *testing.T) {
	long := strings.Repeat("x", binaryWindow-1)
	for _, c := range []struct {
		data string
		want bool
	}{{"", false}, {"\xff\xfe\x01", false}, {"\x00", true}, {long + "\x00", true}, {long + "x\x00", false}} {
		if got := Compute([]byte(c.data), []byte("a\n"), Options{}).Binary; got != c.want {
			t.Errorf("%d bytes: binary %v", len(c.data), got)
		}
		if got := Compute([]byte("a\n"), []byte(c.data), Options{}).Binary; got != c.want {
			t.Errorf("%d bytes after: binary %v", len(c.data), got)
		}
	}
}
