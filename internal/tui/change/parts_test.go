package change

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"pgregory.net/rapid"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/safetext/hostile"
)

// sources returns the bytes of a text's lines and what the index says of each.
func sources(d *doc) (old, new []string) {
	for _, s := range d.segs {
		if !signed(s.kind) {
			continue
		}
		for i := range s.lines() {
			line := int(s.line) + i
			a, b := numbersOf(s, line)
			text := d.body(line)
			if _, ok := d.noEOL[uint32(line)]; !ok {
				text += "\n"
			}
			if a > 0 {
				old = append(old, fmt.Sprintf("%d %s", a, text))
			}
			if b > 0 {
				new = append(new, fmt.Sprintf("%d %s", b, text))
			}
		}
	}
	return old, new
}

// TestIndexAgreesWithTheDiff compares what is read out of a diff's text with
// what the diff was made of, numbers included.
func TestIndexAgreesWithTheDiff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.SampledFrom([]string{"", "a\n", "b\n", "-- a\n", "++ b\n", "@@ -1 +1 @@\n", "\\ no\n", "x\r\n", "\n", " \n", "end"})
		before := strings.Join(rapid.SliceOfN(line, 0, 40).Draw(t, "before"), "")
		after := strings.Join(rapid.SliceOfN(line, 0, 40).Draw(t, "after"), "")
		context := rapid.IntRange(0, 50).Draw(t, "context")
		text, r := diff.Unified(diff.File{Path: "f", Data: []byte(before), Exists: true}, diff.File{Path: "f", Data: []byte(after), Exists: true}, diff.Options{Context: context})
		d := build(of("unified", string(text)), docShown)
		old, new := sources(d)
		var wantOld, wantNew []string
		for _, h := range r.Hunks {
			for _, l := range h.Lines {
				s := string(l.Text)
				if !l.NoEOL {
					s += "\n"
				}
				if l.Old > 0 {
					wantOld = append(wantOld, fmt.Sprintf("%d %s", l.Old, s))
				}
				if l.New > 0 {
					wantNew = append(wantNew, fmt.Sprintf("%d %s", l.New, s))
				}
			}
		}
		if !slices.Equal(old, wantOld) || !slices.Equal(new, wantNew) {
			t.Fatalf("%q\nold  %q\nwant %q\nnew  %q\nwant %q", text, old, wantOld, new, wantNew)
		}
		if len(text) > 0 && len(r.Hunks) > 0 && len(d.hunks) != len(r.Hunks) {
			t.Fatalf("%d hunks, want %d", len(d.hunks), len(r.Hunks))
		}
	})
}

// FuzzIndex finds every line of any text in the index, in order, and paints all
// of it safely.
func FuzzIndex(f *testing.F) {
	for _, c := range hostile.Corpus() {
		f.Add("@@ -1,3 +1,3 @@\n "+c.Text+"\n-"+c.Text+"\n+x\n", 40)
	}
	f.Add("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n\\ No newline\n+b\n\\ No newline\n\\ again\n", 90)
	f.Add("@@ -1,99999999999 +1 @@\n+\n", 7)
	f.Fuzz(func(t *testing.T, text string, w int) {
		if text == "" || w < 0 || w > 300 || len(text) > 20_000 {
			return
		}
		d := build(of("unified", text), docShown)
		i := 0
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if i < d.lines() && d.content(i) == line {
				i++
				continue
			}
			if !strings.HasPrefix(line, `\`) || i == 0 {
				t.Fatalf("line %q of %q is not in the index", line, text)
			}
		}
		if i != d.lines() {
			t.Fatalf("%d lines of %d", d.lines(), i)
		}
		v := New(of("unified", text), Options{Wrap: w%2 == 0, Split: w%3 == 0, ASCII: w%5 == 0})
		v.SetSize(w, 15)
		checkFrame(t, v)
		v.Bottom()
		checkFrame(t, v)
	})
}

func TestCompare(t *testing.T) {
	mark := func(s string, spans []diff.Span) string {
		var b strings.Builder
		at := 0
		for _, sp := range spans {
			b.WriteString(s[at:sp.Start] + "[" + s[sp.Start:sp.End] + "]")
			at = sp.End
		}
		return b.String() + s[at:]
	}
	for _, c := range []struct{ old, new, wantOld, wantNew string }{
		{"return a + b", "return a + c", "return a + [b]", "return a + [c]"},
		{"x := total(a)", "x := totals(a)", "x := total(a)", "x := [totals](a)"},
		{"same", "same", "same", "same"},
		{"abcdef", "zzzzzz", "abcdef", "zzzzzz"},
		{"the price is 10 euros", "the price is 12 euros net", "the price is [10] euros", "the price is [12] euros[ net]"},
		{"päck", "pöck and more of it, quite a lot", "päck", "pöck and more of it, quite a lot"},
		{"a long line with é in it", "a long line with è in it", "a long line with [é] in it", "a long line with [è] in it"},
	} {
		p := compare(c.old, c.new)
		if got, got2 := mark(c.old, p.old), mark(c.new, p.new); got != c.wantOld || got2 != c.wantNew {
			t.Errorf("%q to %q: got %q and %q, want %q and %q", c.old, c.new, got, got2, c.wantOld, c.wantNew)
		}
	}
}

func TestSearch(t *testing.T) {
	d := edited("f.txt", "Alpha\nbeta gamma\nx\n", "Alpha\nBETA gamma beta\nx\n")
	for _, c := range []struct {
		pattern string
		want    int
	}{{"beta", 2}, {"BETA", 1}, {"Beta", 0}, {"alpha", 1}, {"+", 1}, {"-", 1}, {"f.txt", 1}, {"zzz", 0}, {"", 0}, {"a\nb", 0}, {"@@", 1}, {"1,3", 1}} {
		v := New(d, Options{})
		v.SetSize(40, 5)
		if got := v.Search(c.pattern); got != c.want {
			t.Errorf("%q: %d lines, want %d", c.pattern, got, c.want)
		}
	}
}

// TestSearchMatchesNaiveSearch compares the search with a simple one.
func TestSearchMatchesNaiveSearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[abAB\n ]{1,120}`).Draw(t, "text")
		pattern := rapid.StringMatching(`[abA]{1,3}`).Draw(t, "pattern")
		v := New(of("sql", text), Options{})
		want := 0
		for line := range strings.Lines(text) {
			if strings.ToLower(pattern) == pattern {
				line = strings.ToLower(line)
			}
			if strings.Contains(line, pattern) {
				want++
			}
		}
		if got := v.Search(pattern); got != want {
			t.Fatalf("%q in %q: %d, want %d", pattern, text, got, want)
		}
	})
}

func TestNextMatchShowsIt(t *testing.T) {
	d := created(5000)
	for _, wrap := range []bool{false, true} {
		v := New(d, Options{Wrap: wrap})
		v.SetSize(30, 10)
		if n := v.Search("line 4321 "); n != 1 {
			t.Fatalf("%d matches", n)
		}
		if at := v.NextMatch(); at != 1 {
			t.Fatalf("match %d", at)
		}
		if got := strings.Join(v.Render(), "\n"); !strings.Contains(got, "line 4321 ") {
			t.Errorf("wrap %v: not in view:\n%s", wrap, got)
		}
	}
	long := edited("f", "x\n", strings.Repeat("abc ", 3000)+"needle\n")
	for _, wrap := range []bool{false, true} {
		v := New(long, Options{Wrap: wrap})
		v.SetSize(60, 10)
		v.Search("needle")
		v.NextMatch()
		got := strings.ReplaceAll(ansi.Strip(strings.Join(v.Render(), "")), " ", "")
		if !strings.Contains(strings.ReplaceAll(got, "↳", ""), "needle") && !strings.Contains(got, "nee") {
			t.Errorf("wrap %v: not in view:\n%s", wrap, strings.Join(v.Render(), "\n"))
		}
	}
}

func TestFolds(t *testing.T) {
	v := New(folded(), Options{})
	v.SetSize(60, 200)
	shown := func() string { return strings.Join(v.Render(), "\n") }
	if got := shown(); strings.Contains(got, "line 20") || !strings.Contains(got, "li⟨U+200B⟩ne 30") {
		t.Fatalf("the fold holds the wrong lines:\n%s", got)
	}
	if _, _, percent, last := v.Seen(); percent != 100 || !last {
		t.Errorf("folded lines count as unread: %d%%", percent)
	}
	v.ToggleFold()
	if got := shown(); !strings.Contains(got, "line 20") || strings.Contains(got, "line 40") {
		t.Errorf("the first fold did not open:\n%s", got)
	}
	v.UnfoldAll()
	if got := shown(); !strings.Contains(got, "line 40") {
		t.Errorf("the folds did not open:\n%s", got)
	}
	v.ToggleFold()
	if got := shown(); strings.Contains(got, "line 20") {
		t.Errorf("the first fold did not close:\n%s", got)
	}
	v.Search("line 20")
	v.NextMatch()
	if got := shown(); !strings.Contains(got, "line 20") {
		t.Errorf("a match stays folded away:\n%s", got)
	}
}

func TestSeen(t *testing.T) {
	v := New(long(220), Options{})
	v.SetSize(200, 23)
	check := func(when string, hunks, percent int, last bool) {
		t.Helper()
		h, of, p, l := v.Seen()
		if h != hunks || of != 20 || p != percent || l != last {
			t.Errorf("%s: seen %d of %d, %d%%, last %v; want %d, %d%%, %v", when, h, of, p, l, hunks, percent, last)
		}
	}
	check("before the first frame", 0, 0, false)
	v.Render()
	check("first frame", 2, 10, false)
	v.Bottom()
	check("moved, not painted", 2, 10, false)
	v.Render()
	check("the end", 4, 20, true)
	v.Top()
	v.Render()
	check("again", 4, 20, true)
	v.SetSize(200, 1000)
	check("made larger, not painted", 4, 20, true)
	v.Render()
	check("all", 20, 100, true)
}

// TestSeenRequiresValuesAndText: a change with values and text counts as seen
// once every row and every line was painted, in whichever way.
func TestSeenRequiresValuesAndText(t *testing.T) {
	for name, o := range map[string]Options{"document": {Document: true}, "raw": {Raw: true}} {
		d := withPreview(edited("app.yaml", "# up to date\nport: 80", "# ask ops first\nport: 81\n"), "json_diff", `[{"op":"replace","path":"/port","from":80,"to":81}]`)
		v := New(d, o)
		v.SetSize(200, 40)
		v.Render()
		if _, _, p, _ := v.Seen(); p == 0 || p == 100 {
			t.Errorf("%s: with the text on the screen and no row of values, %d %% is seen", name, p)
		}
		v.SetOptions(Options{})
		v.SetSize(200, 3)
		v.Render()
		if _, _, p, last := v.Seen(); p != 100 || !last {
			t.Errorf("%s: the text was on the screen, then the values: %d %% is seen", name, p)
		}
	}
}

// TestSeenDoesNotCountArguments: reading the arguments, which replace the raw
// text of a change without one, does not count as seeing the change.
func TestSeenDoesNotCountArguments(t *testing.T) {
	d := client.Detail{Diff: client.Diff{Type: "unified"}, Arguments: []byte(`{"from":"/a","to":"/b"}`), Effects: []client.Effect{{Kind: "file.move", Key: "/a", Dest: "/b"}}}
	v := New(d, Options{Raw: true})
	v.SetSize(80, 20)
	v.Render()
	if _, _, p, _ := v.Seen(); p != 0 {
		t.Errorf("%d %% of a move is seen where its arguments were on the screen", p)
	}
}

// TestSeenDoesNotCountCutOffText: the visible part of a line does not count as
// the whole.
func TestSeenDoesNotCountCutOffText(t *testing.T) {
	d := edited("f", "", strings.Repeat("0123456789", 12)+"\n")
	v := New(d, Options{})
	v.SetSize(60, 10)
	v.Render()
	if _, _, p, last := v.Seen(); p == 100 || last {
		t.Fatalf("a line that is cut counts as read: %d%%", p)
	}
	for range 4 {
		v.Pan(20)
		v.Render()
	}
	if _, _, p, last := v.Seen(); p != 100 || !last {
		t.Errorf("panned to its end, the line is not read: %d%%", p)
	}
	v = New(d, Options{})
	v.SetSize(60, 10)
	v.Pan(80)
	v.Render()
	v.Pan(-80)
	v.Render()
	if _, _, p, _ := v.Seen(); p == 100 {
		t.Error("the middle of the line was never painted")
	}
	v.SetOptions(Options{Wrap: true})
	v.Render()
	if _, _, p, last := v.Seen(); p != 100 || !last {
		t.Errorf("wrapped, the line is not read: %d%%", p)
	}
}

// TestSeenWeighsLongLines: four short labels are not most of a command whose
// only line was hardly shown.
func TestSeenWeighsLongLines(t *testing.T) {
	d := edited("f", "", "a\nb\nc\nd\n"+strings.Repeat("0123456789", 200)+"\n")
	v := New(d, Options{Wrap: true})
	v.SetSize(60, 10)
	v.Render()
	_, _, p, last := v.Seen()
	if p == 0 || p > 30 || last {
		t.Fatalf("four short lines and the start of one of 2000 bytes count as %d%%, last %v", p, last)
	}
	before := p
	for range 100 {
		v.Page(1)
		v.Render()
		_, _, p, last = v.Seen()
		if p < before || (p == 100) != last {
			t.Fatalf("%d%% after %d%%, last %v", p, before, last)
		}
		before = p
	}
	if p != 100 {
		t.Errorf("paged to the end, %d%% was read", p)
	}
	v = New(edited("f", "", "rm\x7f\x7fls"), Options{Wrap: true}) // its last lines need not be read
	for _, o := range []Options{{Wrap: true}, {Raw: true}} {
		v.SetSize(2, 30)
		v.SetOptions(o)
		v.Render()
		if _, _, p, _ := v.Seen(); p != 100 {
			t.Errorf("%d%%, with the rest cut off", p)
		}
	}
	v = New(d, Options{})
	for _, w := range []int{60, 3000} { // cut, then in one piece
		v.SetSize(w, 20)
		v.Render()
	}
	if _, _, p, _ := v.Seen(); p != 100 {
		t.Errorf("the whole line on one row after a part of it counts as %d%%", p)
	}
}

func TestHunks(t *testing.T) {
	for _, o := range []Options{{}, {Wrap: true}, {Split: true}, {Raw: true}} {
		v := New(long(110), o)
		v.SetSize(100, 12)
		top := func() string { return strings.TrimSpace(v.Render()[0]) }
		v.NextHunk()
		if got := top(); !strings.HasPrefix(got, "@@ -1,8") {
			t.Errorf("%+v: first hunk: %q", o, got)
		}
		v.NextHunk()
		v.NextHunk()
		if got := top(); !strings.HasPrefix(got, "@@ -23,8") {
			t.Errorf("third hunk: %q", got)
		}
		v.Scroll(2)
		v.PrevHunk()
		if got := top(); !strings.HasPrefix(got, "@@ -23,8") {
			t.Errorf("this hunk: %q", got)
		}
		v.PrevHunk()
		if got := top(); !strings.HasPrefix(got, "@@ -12,8") {
			t.Errorf("hunk before: %q", got)
		}
		v.PrevHunk()
		v.PrevHunk()
		v.PrevHunk()
		if v.top != (scrollPos{}) {
			t.Errorf("before the first hunk: %+v", v.top)
		}
	}
}

// TestTopLineStaysAtTop changes size and options and expects the same line at
// the top.
func TestTopLineStaysAtTop(t *testing.T) {
	v := New(long(2000), Options{})
	v.SetSize(100, 20)
	v.NextHunk()
	for range 49 {
		v.NextHunk()
	}
	want := strings.TrimSpace(v.Render()[0])
	for _, o := range []Options{{Wrap: true}, {Split: true}, {Raw: true}, {}} {
		v.SetOptions(o)
		if got := strings.TrimSpace(v.Render()[0]); got != want {
			t.Errorf("%+v: %q, want %q", o, got, want)
		}
	}
	v.SetSize(60, 30)
	if got := strings.TrimSpace(v.Render()[0]); got != want {
		t.Errorf("resized: %q, want %q", got, want)
	}
}

// TestHazardStyleWinsOverAllOthers searches for a hazard inside a changed, coloured word.
func TestHazardStyleWinsOverAllOthers(t *testing.T) {
	v := New(edited("f.go", "var x = \"a\"\n", "var x = \"a\u202eb\"\n"), options())
	v.SetSize(80, 10)
	v.Search("\u202e")
	v.NextMatch()
	if got := annotated(v, v.Render()); !strings.Contains(got, "‹HAZARD:⟨U+202E⟩›") || !strings.Contains(got, "‹HAZARD:!›") {
		t.Errorf("got %s", got)
	}
}

// TestUnreadablePatchFallsBack shows the text where a patch cannot be read.
func TestUnreadablePatchFallsBack(t *testing.T) {
	d := client.Detail{Diff: client.Diff{Type: "json_patch", Text: `[{"op":"x"}]`, Patch: []byte(`[{"op":"x"}]`), Preview: []byte(`{`)}}
	v := New(d, Options{})
	v.SetSize(60, 10)
	if got := strings.Join(v.Render(), "\n"); !strings.Contains(got, `"op": "x"`) {
		t.Errorf("got %s", got)
	}
	d = client.Detail{Arguments: []byte(`{"a":1}`), Diff: client.Diff{Type: "json_patch", Patch: []byte(`[{"op":"test","path":"/a","value":1},{"op":"replace","path":"/a","value":2}]`)}}
	v = New(d, Options{})
	v.SetSize(60, 10)
	if got := strings.Join(v.Render(), "\n"); !strings.Contains(got, "~ /a  1 → 2") {
		t.Errorf("got %s", got)
	}
}

func TestSyntax(t *testing.T) {
	for _, c := range []struct {
		file, line, want string
	}{
		{"a.go", `x := "a // b" // c`, `x := s"a // b" c// c`},
		{"a.go", `x := a //b`, `x := a c//b`},
		{"a.go", `http://x "open`, `http://x "open`},
		{"a.py", `def f(x): # y`, `kdef nf(x): c# y`},
		{"a.sql", `SELECT 1 -- all`, `kSELECT d1 c-- all`},
		{"a.json", `"k": 'x' // y`, `s"k": 'x' // y`},
		{"a.txt", `func "x" // y`, `func "x" // y`},
	} {
		classes := make([]class, len(c.line))
		overlaySyntax(c.line, languageOf(c.file), classes)
		var b strings.Builder
		last := plain
		for i := range c.line {
			if classes[i] != last {
				last = classes[i]
				if last != plain {
					b.WriteByte("?knsdc"[last])
				}
			}
			b.WriteByte(c.line[i])
		}
		if b.String() != c.want {
			t.Errorf("%s: %s\ngot  %s\nwant %s", c.file, c.line, b.String(), c.want)
		}
	}
}
