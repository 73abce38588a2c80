package safetext_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/safetext/hostile"
)

func seeds(f *testing.F) {
	for _, c := range hostile.Corpus() {
		f.Add(c.Text)
	}
	f.Add("\t\x1b\t世\tx")
	f.Add("कि न्दी กล้ำ שלום 한국어")
}

var named = func() map[string]byte {
	names := strings.Fields("NUL SOH STX ETX EOT ENQ ACK BEL BS TAB LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US")
	m := map[string]byte{"DEL": 0x7f}
	for i, n := range names {
		m[n] = byte(i)
	}
	return m
}()

// decode is the inverse of Text: that there is one makes Text injective.
func decode(t *testing.T, out string, st safetext.Style) string {
	open, closing := "⟨", "⟩"
	if st.ASCII {
		open, closing = "<", ">"
	}
	var b []byte
	tab := func(i int) int {
		for ansi.StringWidth(out[:i])%4 != 0 {
			if out[i] != ' ' {
				t.Fatalf("no padding at %d of %q", i, out)
			}
			i++
		}
		return i
	}
	for i := 0; i < len(out); {
		rest := out[i:]
		switch {
		case !st.ASCII && strings.HasPrefix(rest, "⏎"):
			b = append(b, '\n')
			i += len("⏎")
			continue
		case !st.ASCII && strings.HasPrefix(rest, "⇥"):
			b = append(b, '\t')
			i = tab(i + len("⇥"))
			continue
		case strings.HasPrefix(rest, open):
			name, _, ok := strings.Cut(rest[len(open):], closing)
			if !ok && !st.ASCII {
				t.Fatalf("an open marker in %q", out)
			}
			n := i + len(open) + len(name) + len(closing)
			if c, ok := named[name]; ok {
				b = append(b, c)
				if c == '\t' {
					n = tab(n)
				}
				i = n
				continue
			}
			if hex, ok := strings.CutPrefix(name, "U+"); ok {
				v, err := strconv.ParseUint(hex, 16, 32)
				if err != nil {
					t.Fatalf("marker %q: %v", name, err)
				}
				b = append(b, string(rune(v))...)
				i = n
				continue
			}
			if hex, ok := strings.CutPrefix(name, "0x"); ok {
				v, err := strconv.ParseUint(hex, 16, 8)
				if err != nil {
					t.Fatalf("marker %q: %v", name, err)
				}
				b = append(b, byte(v))
				i = n
				continue
			}
			if !st.ASCII {
				t.Fatalf("unknown marker %q", name)
			}
		}
		b = append(b, out[i])
		i++
	}
	return string(b)
}

// FuzzText: nothing unsafe comes out, nothing is lost (so distinct texts stay
// distinct), and no cut of a line is unsafe or wider than asked.
func FuzzText(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, s string) {
		for _, st := range []safetext.Style{{}, {ASCII: true}} {
			l := st.Text(s)
			checkSafe(t, st, l)
			if len(s) < 2000 {
				if back := decode(t, l.String(), st); back != s {
					t.Fatalf("%q is shown as %q, which reads as %q", s, l, back)
				}
			}
			id := st.Identity(s)
			checkSafe(t, st, id)
			var all []string
			for _, part := range st.Lines([]byte(s)) {
				checkSafe(t, st, part)
				if strings.Contains(part.String(), "⏎") {
					t.Fatalf("a newline within a line: %q", part)
				}
				all = append(all, decode(t, part.String(), st))
			}
			if strings.Join(all, "\n") != strings.TrimSuffix(s, "\n") {
				t.Fatalf("Lines(%q) lost something: %q", s, all)
			}
			if len(s) < 300 {
				checkCuts(t, st, l)
			}
		}
		safetext.Scan([]byte(s))
	})
}

func checkCuts(t *testing.T, st safetext.Style, l safetext.Line) {
	for _, cols := range []int{0, 1, 2, 5, 9, l.Width() - 1, l.Width()} {
		cut := l.Truncate(cols)
		checkSafe(t, st, cut)
		if cut.Width() > max(0, cols) {
			t.Fatalf("%q cut to %d is %q", l, cols, cut)
		}
		if fit := l.Fit(cols); cols >= 0 && fit.Width() != cols {
			t.Fatalf("%q fit to %d is %q", l, cols, fit)
		}
		checkSafe(t, st, l.Skip(cols))
		if rest := l.Skip(cols); cols >= 0 && rest.Width() > max(0, l.Width()-cols) {
			t.Fatalf("%q without %d columns is %q", l, cols, rest)
		}
		var all strings.Builder
		for _, part := range l.Wrap(cols) {
			checkSafe(t, st, part)
			if part.Width() > max(2, cols) {
				t.Fatalf("%q wrapped to %d has %q", l, cols, part)
			}
			all.WriteString(part.String())
		}
		if all.String() != l.String() {
			t.Fatalf("%q wrapped to %d is %q", l, cols, all.String())
		}
	}
}

func BenchmarkText(b *testing.B) {
	for name, s := range map[string]string{
		"code line":    "\tif err := os.WriteFile(path, data, 0o600); err != nil { return err }",
		"ascii 1MB":    strings.Repeat("a line of plain text ", 50_000),
		"cjk 1MB":      strings.Repeat("日本語のテキスト", 43_000),
		"controls 1MB": strings.Repeat("\x1b\x00", 500_000),
		"tabs 1MB":     strings.Repeat("a\t", 500_000),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			for b.Loop() {
				safetext.Text(s)
			}
		})
	}
}

func BenchmarkScan(b *testing.B) {
	for name, s := range map[string]string{
		"code 1MB":     strings.Repeat("\tif err := os.WriteFile(path, data); err != nil {\n", 21_000),
		"russian 1MB":  strings.Repeat("Съешь ещё этих мягких булок\n", 20_000),
		"one line 1MB": strings.Repeat("раураl ", 90_000),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			for b.Loop() {
				safetext.Scan([]byte(s))
			}
		})
	}
}
