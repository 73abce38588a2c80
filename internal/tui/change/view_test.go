package change

import (
	"fmt"
	"strings"
	"testing"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
	"pgregory.net/rapid"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/safetext/hostile"
	"github.com/mcpguard/mcpguard/internal/tui/theme"
)

// checkFrame renders and checks what every frame must keep.
func checkFrame(t interface{ Fatalf(string, ...any) }, v *View) []string {
	rows := v.Render()
	if len(rows) != v.h {
		t.Fatalf("%d rows in a pane of %d", len(rows), v.h)
	}
	for i, r := range rows {
		if n := ansi.StringWidth(r); n > v.w {
			t.Fatalf("row %d has %d cells in a pane of %d: %q", i, n, v.w, r)
		}
		if err := hostile.Check([]byte(r), true); err != nil {
			t.Fatalf("row %d: %v: %q", i, err, r)
		}
		if v.o.ASCII {
			for _, c := range []byte(r) {
				if c >= 0x80 {
					t.Fatalf("row %d is not ASCII: %q", i, r)
				}
			}
		}
	}
	return rows
}

func drawOptions(t *rapid.T) Options {
	p := rapid.SampledFrom([]colorprofile.Profile{colorprofile.ASCII, colorprofile.ANSI, colorprofile.TrueColor}).Draw(t, "profile")
	return Options{
		Theme: theme.New(rapid.Bool().Draw(t, "dark"), p),
		ASCII: rapid.Bool().Draw(t, "ascii"), Wrap: rapid.Bool().Draw(t, "wrap"), Split: rapid.Bool().Draw(t, "split"),
		Raw: rapid.Bool().Draw(t, "raw"), Document: rapid.Bool().Draw(t, "document"), TabWidth: rapid.IntRange(-1, 20).Draw(t, "tab"),
	}
}

// drawText draws lines out of hostile strings and ordinary ones.
func drawText(t *rapid.T, name string) string {
	corpus := hostile.Corpus()
	part := rapid.OneOf(
		rapid.Custom(func(t *rapid.T) string { return rapid.SampledFrom(corpus).Draw(t, "case").Text }),
		rapid.SampledFrom([]string{"\n", "\n", "\t", " ", "x", "if err != nil {", "世界", "e\u0301", "\r\n", "<ESC", "<", "@@ -1 +1 @@", "--- a/x", strings.Repeat("long ", 60), strings.Repeat("長", 300)}),
		rapid.String(),
	)
	return strings.Join(rapid.SliceOfN(part, 0, 30).Draw(t, name), "")
}

func drawDetail(t *rapid.T) client.Detail {
	before, after := drawText(t, "before"), drawText(t, "after")
	d := client.Detail{Approval: client.Approval{Summary: drawText(t, "summary")}, Effects: []client.Effect{{Kind: drawText(t, "kind"), Key: drawText(t, "key"), Dest: "x"}}}
	switch kind := rapid.SampledFrom([]string{"unified", "text", "patch", "both", "opaque", "message", "exec", "http", "sql", "odd"}).Draw(t, "type"); kind {
	case "unified", "both":
		text, _ := diff.Unified(diff.File{Path: drawText(t, "path"), Data: []byte(before), Exists: before != ""}, diff.File{Path: "b.go", Data: []byte(after), Exists: true},
			diff.Options{Context: rapid.IntRange(0, 40).Draw(t, "context")})
		d.Diff = client.NewDiff("unified", string(text))
		if kind == "both" {
			d.Diff.Preview = preview(before, after)
		}
	case "text":
		d.Diff = client.NewDiff("unified", before)
	case "patch":
		d.Diff = client.Diff{Type: "json_patch", Preview: preview(before, after)}
	case "odd":
		d.Diff = client.NewDiff(drawText(t, "kind of change"), after)
		d.Diff.Patch, d.Diff.Preview = []byte(before), []byte(after)
	default:
		d.Diff = client.NewDiff(kind, after)
		if rapid.Bool().Draw(t, "as JSON") {
			d.Diff = client.NewDiff(kind, `{"argv":[`+quoteJSON(strings.ToValidUTF8(before, "?"))+`],"body":`+quoteJSON(strings.ToValidUTF8(after, "?"))+`}`)
		}
	}
	d.Arguments = []byte(`{"a":"b\u202e"}`)
	return d
}

func preview(before, after string) []byte {
	b, a := quoteJSON(strings.ToValidUTF8(before, "?")), quoteJSON(strings.ToValidUTF8(after, "?"))
	return []byte(`[{"op":"replace","path":` + b + `,"from":` + b + `,"to":` + a + `},{"op":"add","path":"/x","to":{` + a + `:[` + b + `,1,null]}},{"op":"move","path":"/y","fromPath":` + a + `,"from":1,"to":1}]`)
}

// TestPromise7_EveryFrame drives views of random and hostile changes at random:
// every frame has its size, holds nothing unsafe, and the account of what was
// seen never runs ahead or backwards.
func TestPromise7_EveryFrame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDetail(t)
		v := New(d, drawOptions(t))
		if rapid.IntRange(0, 4).Draw(t, "between") == 0 {
			v = Between(d, drawDetail(t), drawOptions(t))
		}
		v.SetSize(rapid.IntRange(0, 170).Draw(t, "w"), rapid.IntRange(0, 30).Draw(t, "h"))
		if _, _, percent, _ := v.Seen(); percent != 0 {
			t.Fatalf("%d percent seen before the first frame", percent)
		}
		before := 0
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				checkFrame(t, v)
				hunks, of, percent, last := v.Seen()
				if percent < before || percent > 100 || hunks > of || hunks == of && !last {
					t.Fatalf("seen %d of %d, %d%% (before %d%%), last %v", hunks, of, percent, before, last)
				}
				before = percent
				if line, total := v.Position(); line > total || total != v.Lines() {
					t.Fatalf("at line %d of %d", line, total)
				}
			},
			"scroll": func(t *rapid.T) { v.Scroll(rapid.IntRange(-40, 40).Draw(t, "by")) },
			"page":   func(t *rapid.T) { v.Page(rapid.IntRange(-2, 2).Draw(t, "by")) },
			"ends": func(t *rapid.T) {
				if rapid.Bool().Draw(t, "top") {
					v.Top()
				} else {
					v.Bottom()
				}
			},
			"pan":    func(t *rapid.T) { v.Pan(rapid.IntRange(-30, 90).Draw(t, "by")) },
			"size":   func(t *rapid.T) { v.SetSize(rapid.IntRange(0, 170).Draw(t, "w"), rapid.IntRange(0, 30).Draw(t, "h")) },
			"option": func(t *rapid.T) { v.SetOptions(drawOptions(t)) },
			"hunks": func(t *rapid.T) {
				if rapid.Bool().Draw(t, "next") {
					v.NextHunk()
				} else {
					v.PrevHunk()
				}
			},
			"folds": func(t *rapid.T) {
				if rapid.Bool().Draw(t, "all") {
					v.UnfoldAll()
				} else {
					v.ToggleFold()
				}
			},
			"search": func(t *rapid.T) {
				n := v.Search(rapid.SampledFrom([]string{"", "x", "E", "err", "世", "\u202e", "\n", "l", strings.Repeat("long ", 3)}).Draw(t, "pattern"))
				for range 3 {
					if at := v.NextMatch(); at > n || at == 0 && n > 0 {
						t.Fatalf("match %d of %d", at, n)
					}
					checkFrame(t, v)
				}
				v.PrevMatch()
			},
		})
	})
}

// TestPromise7_Corpus puts each hostile string into every field that is shown.
func TestPromise7_Corpus(t *testing.T) {
	dark := options().Theme
	for _, c := range hostile.Corpus() {
		q := quoteJSON(strings.ToValidUTF8(c.Text, "?"))
		details := []client.Detail{
			edited("a.go", "x\n"+c.Text+"\ny\n", "x\n"+c.Text+c.Text+"\nz\n"), edited(c.Text+"n", "a", "b"),
			of("unified", c.Text), of("opaque", c.Text), of("opaque", `{`+q+`:`+q+`}`), of("exec", `[`+q+`]`), of("sql", c.Text),
			of("message", `{"to":[`+q+`],"subject":`+q+`,`+quoteJSON("x"+strings.ToValidUTF8(c.Text, "?"))+`:1,"body":`+q+`}`), of("http", c.Text),
			withPreview(client.Detail{}, "json_patch", string(preview(c.Text, c.Text+"x"))), of(c.Text, c.Text),
			{Diff: client.Diff{Type: "unified"}, Effects: []client.Effect{{Kind: c.Text, Key: c.Text, Dest: c.Text, Before: client.State{Mode: c.Text}, After: client.State{Mode: "x" + c.Text}}}},
		}
		for i, d := range details {
			for _, w := range []int{1, 2, 7, 80, 160} {
				for mode := range 16 {
					o := Options{ASCII: mode&1 != 0, Wrap: mode&2 != 0, Split: mode&4 != 0, Raw: mode&8 != 0}
					if mode == w%16 {
						o.Theme = dark // making its styles takes longer than all the rest
					}
					v := New(d, o)
					v.SetSize(w, 12)
					checkFrame(t, v)
				}
			}
			v := Between(d, details[(i+1)%len(details)], options())
			v.SetSize(80, 12)
			checkFrame(t, v)
		}
	}
}

// TestNothingIsHidden reads a change from top to bottom, as it is and wrapped,
// and finds every line of it, whatever it holds.
func TestNothingIsHidden(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lines []string
		for i := range rapid.IntRange(1, 40).Draw(t, "lines") {
			s := rapid.OneOf(rapid.SampledFrom([]string{"", "return nil", strings.Repeat("abc ", 100)}), rapid.StringMatching(`[a-z ]{0,80}`)).Draw(t, "line")
			lines = append(lines, fmt.Sprintf("%d.%s.", i, s))
		}
		before := strings.Join(lines, "\n") + "\n"
		at := rapid.IntRange(0, len(lines)-1).Draw(t, "at")
		lines[at] += "changed"
		d := edited("f.txt", before, strings.Join(lines, "\n")+"\n")
		v := New(d, Options{Wrap: true, Raw: rapid.Bool().Draw(t, "raw"), Split: rapid.Bool().Draw(t, "split")})
		v.SetSize(rapid.IntRange(20, 120).Draw(t, "w"), rapid.IntRange(3, 20).Draw(t, "h"))
		for range 2000 {
			v.Render()
			if v.AtEnd() {
				break
			}
			v.Page(1)
		}
		hunks, of, percent, last := v.Seen()
		if hunks != of || percent != 100 || !last {
			t.Fatalf("read to the end, seen %d of %d, %d%%, last %v", hunks, of, percent, last)
		}
	})
}

// TestWrappedLinesAreWhole joins the rows of a wrapped line again.
func TestWrappedLinesAreWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := strings.NewReplacer("\n", "", "\t", "").Replace(drawText(t, "line"))
		v := New(of("sql", line), Options{Wrap: true, ASCII: rapid.Bool().Draw(t, "ascii")})
		v.SetSize(rapid.IntRange(12, 90).Draw(t, "w"), 1<<12)
		if line == "" {
			return
		}
		var got strings.Builder
		for _, r := range v.Render() {
			if cells := []rune(r); len(cells) > 2 {
				got.WriteString(string(cells[2:]))
			}
		}
		if want := v.safe.st.Text(line).String(); squeeze(got.String()) != squeeze(want) {
			t.Fatalf("%q\ngot  %q\nwant %q", line, got.String(), want)
		}
	})
}

// squeeze drops the markers of "<", which depend on what follows in the row.
func squeeze(s string) string { return strings.NewReplacer("<U+003C>", "<").Replace(s) }
