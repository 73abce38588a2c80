package safetext_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"github.com/mcpguard/mcpguard/internal/safetext"
	"github.com/mcpguard/mcpguard/internal/safetext/hostile"
)

var ascii = safetext.Style{ASCII: true}

func TestText(t *testing.T) {
	for _, tc := range []struct{ in, want, ascii string }{
		{"", "", ""},
		{"plain text", "plain text", "plain text"},
		{"a\x1b[31m", "a⟨ESC⟩[31m", "a<ESC>[31m"},
		{"\x00\x7f\u0085", "⟨NUL⟩⟨DEL⟩⟨U+0085⟩", "<NUL><DEL><U+0085>"},
		{"a\nb\r\n", "a⏎b⟨CR⟩⏎", "a<LF>b<CR><LF>"},
		{"\tx", "⇥   x", "<TAB>   x"},
		{"ab\tx\ty", "ab⇥ x⇥  y", "ab<TAB> x<TAB>  y"},
		{"世\tx", "世⇥ x", "<U+4E16><TAB>   x"},
		{"é世界 µ ☺ 😀", "é世界 µ ☺ 😀", "<U+00E9><U+4E16><U+754C> <U+00B5> <U+263A> <U+1F600>"},
		{"x\u202ey", "x⟨U+202E⟩y", "x<U+202E>y"},
		{"\xff\xe2\x82", "⟨0xff⟩⟨0xe2⟩⟨0x82⟩", "<0xff><0xe2><0x82>"},
		{"⟨ESC⟩", "⟨U+27E8⟩ESC⟨U+27E9⟩", "<U+27E8>ESC<U+27E9>"},
		{"⏎⇥", "⟨U+23CE⟩⟨U+21E5⟩", "<U+23CE><U+21E5>"},
		{"<ESC> <U+1> <0x1 a<b <T> <ESCAPE> <S", "<ESC> <U+1> <0x1 a<b <T> <ESCAPE> <S", "<U+003C>ESC> <U+003C>U+1> <U+003C>0x1 a<b <T> <ESCAPE> <S"},
		{"a <", "a <", "a <U+003C>"},
		{"e\u0301", "e\u0301", "e<U+0301>"},
		{"e\u0301\u0302\u0303\u0304x", "e\u0301\u0302⟨U+0303⟩⟨U+0304⟩x", "e<U+0301><U+0302><U+0303><U+0304>x"},
		{"\u0301a", "⟨U+0301⟩a", "<U+0301>a"},
		{"1\u0301=\u0338", "1⟨U+0301⟩=⟨U+0338⟩", "1<U+0301>=<U+0338>"},
		{"कि न्दी", "कि न्दी", "<U+0915><U+093F> <U+0928><U+094D><U+0926><U+0940>"},
		{"กล้ำ", "กล้ำ", "<U+0E01><U+0E25><U+0E49><U+0E33>"},
		{"שלום", "שלום", "<U+05E9><U+05DC><U+05D5><U+05DD>"},
		{"❤\ufe0f", "❤⟨U+FE0F⟩", "<U+2764><U+FE0F>"},
		{"\U000e0041", "⟨U+E0041⟩", "<U+E0041>"},
		{"\U0010ffff", "⟨U+10FFFF⟩", "<U+10FFFF>"},
	} {
		if got := safetext.Text(tc.in).String(); got != tc.want {
			t.Errorf("Text(%q) = %q, want %q", tc.in, got, tc.want)
		}
		if got := safetext.Bytes([]byte(tc.in)).String(); got != tc.want {
			t.Errorf("Bytes(%q) = %q, want %q", tc.in, got, tc.want)
		}
		if got := ascii.Text(tc.in).String(); got != tc.ascii {
			t.Errorf("ASCII Text(%q) = %q, want %q", tc.in, got, tc.ascii)
		}
	}
}

func TestIdentity(t *testing.T) {
	for in, want := range map[string]string{
		"write_file": "write_file",
		"a b":        "a b",
		" a ":        "⟨U+0020⟩a⟨U+0020⟩",
		"a\tb\n":     "a⟨TAB⟩b⟨LF⟩",
		"é⟨":         "é⟨U+27E8⟩",
		"\xff":       "⟨0xff⟩",
		// Names in one script are readable.
		"/home/мария/отчёты/январь_2026.txt": "/home/мария/отчёты/январь_2026.txt",
		"тест/хорошо.go":                     "тест/хорошо.go",
		"Überprüfung/çöğüş.md":               "Überprüfung/çöğüş.md",
		"phở/Đà Nẵng.txt":                    "phở/Đà Nẵng.txt",
		"Größe/łódź/Ærø":                     "Größe/łódź/Ærø",
		"文件/报告2024.md":                       "文件/报告2024.md",
		"テスト/日本語のファイル.txt":                   "テスト/日本語のファイル.txt",
		"한국어/문서.txt":                         "한국어/문서.txt",
		"Ελληνικά/αρχείο.txt":                "Ελληνικά/αρχείο.txt",
		"हिन्दी/फ़ाइल.txt":                   "हिन्दी/फ़ाइल.txt",
		"ไทย/เอกสาร.txt":                     "ไทย/เอกสาร.txt",
		"имя@почта.рф":                       "имя@почта.рф",
		"doc/документы/文件":                   "doc/документы/文件", // each part by itself
		// Scripts mixed within a word.
		"p\u0430ypal":        "p⟨U+0430⟩ypal",
		"README\u306e":       "README⟨U+306E⟩",
		"usr\u30cebin":       "usr⟨U+30CE⟩bin",
		"\u03b1\u0431\u0432": "⟨U+03B1⟩⟨U+0431⟩⟨U+0432⟩",
		// … and within a part of a path.
		"\u043c\u0438\u0440-\u4e16\u754c": "⟨U+043C⟩⟨U+0438⟩⟨U+0440⟩-⟨U+4E16⟩⟨U+754C⟩",
		// Words that look like ASCII.
		"\u0430\u0440\u0440\u04cf\u0435.com": "⟨U+0430⟩⟨U+0440⟩⟨U+0440⟩⟨U+04CF⟩⟨U+0435⟩.com",
		"src/\u0441\u043e\u0440.sh":          "src/⟨U+0441⟩⟨U+043E⟩⟨U+0440⟩.sh",
		"f\u0131le":                          "f⟨U+0131⟩le",
		"\u01c3bang":                         "⟨U+01C3⟩bang",
		"\u0261o":                            "⟨U+0261⟩o",
		// Marks apart from their letter, other forms, no letters.
		"cafe\u0301":           "cafe⟨U+0301⟩",
		"x\u0323\u0304":        "x⟨U+0323⟩⟨U+0304⟩",
		"\uff41\uff42":         "⟨U+FF41⟩⟨U+FF42⟩",
		"\ufb01le":             "⟨U+FB01⟩le",
		"a\u2044b\u2024c":      "a⟨U+2044⟩b⟨U+2024⟩c",
		"a\u2013b":             "a⟨U+2013⟩b",
		"a\u00a0b\u200bc":      "a⟨U+00A0⟩b⟨U+200B⟩c",
		"n\u0663":              "n⟨U+0663⟩",
		"\U0001d41a\U0001f600": "⟨U+1D41A⟩⟨U+1F600⟩",
		// From right to left.
		"\u05e9\u05dc.txt": "⟨U+05E9⟩⟨U+05DC⟩.txt",
		"a\u202eb":         "a⟨U+202E⟩b",
	} {
		if got := safetext.Identity(in).String(); got != want {
			t.Errorf("Identity(%q) = %q, want %q", in, got, want)
		}
	}
	if got := ascii.Identity("<ESC>\x1b<").String(); got != "<U+003C>ESC><ESC><U+003C>" {
		t.Errorf("ASCII Identity = %q", got)
	}
	if got := ascii.Identity("отчёт").String(); strings.ContainsFunc(got, func(r rune) bool { return r > '~' }) {
		t.Errorf("ASCII Identity = %q", got)
	}
}

func TestLines(t *testing.T) {
	for in, want := range map[string]string{"": "", "a": "a", "a\n": "a", "a\n\nb\r\n": "a||b⟨CR⟩", "\n": ""} {
		var got []string
		for _, l := range safetext.Lines([]byte(in)) {
			got = append(got, l.String())
		}
		if strings.Join(got, "|") != want {
			t.Errorf("Lines(%q) = %q, want %q", in, got, want)
		}
	}
	if n := len(safetext.Lines([]byte("\n"))); n != 1 {
		t.Errorf("one newline is %d lines", n)
	}
}

// Promise 7: hostile text stays text.
func TestPromise7_CorpusIsSafe(t *testing.T) {
	for _, c := range hostile.Corpus() {
		t.Run(c.Name, func(t *testing.T) {
			for _, st := range []safetext.Style{{}, ascii} {
				checkSafe(t, st, st.Text(c.Text))
				checkSafe(t, st, st.Identity(c.Text))
				for _, l := range st.Lines([]byte(c.Text)) {
					checkSafe(t, st, l)
				}
				id := st.Identity(c.Text).String()
				for _, f := range safetext.Scan([]byte(c.Text)) {
					if f.Kind == safetext.Homoglyph && !strings.ContainsAny(id, "⟨<") {
						t.Errorf("an identity with look-alikes shows all of them: %q", id)
					}
				}
				for _, r := range strings.NewReplacer("⟨", "", "⟩", "").Replace(id) {
					if r > unicode.MaxASCII && (st.ASCII || !unicode.IsLetter(r) && !unicode.In(r, unicode.Mn, unicode.Mc) || unicode.In(r, unicode.Hebrew, unicode.Arabic)) {
						t.Errorf("identity shows %U: %q", r, id)
					}
				}
			}
		})
	}
}

// checkSafe checks a line and everything that can be cut out of it.
func checkSafe(t *testing.T, st safetext.Style, l safetext.Line) {
	t.Helper()
	s := l.String()
	if strings.Contains(s, "\n") {
		t.Errorf("a newline in %q", s)
	}
	if err := hostile.Check([]byte(s), false); err != nil {
		t.Errorf("%q: %v", s, err)
	}
	if l.Width() != ansi.StringWidth(s) {
		t.Errorf("%q: width %d, want %d", s, l.Width(), ansi.StringWidth(s))
	}
	if st.ASCII {
		for i := range len(s) {
			if s[i] >= 0x7f || s[i] < 0x20 {
				t.Errorf("not ASCII: %q", s)
			}
		}
	}
}

func TestHazardsOfTheCorpus(t *testing.T) {
	want := map[string]string{
		"nul": "control", "all-c0": "control", "delete": "control", "backspace": "control", "carriage-return": "control",
		"vertical-tab-form-feed": "control", "csi-clear": "escape_sequence", "csi-colour": "escape_sequence",
		"csi-cursor-up": "escape_sequence", "csi-report": "escape_sequence", "csi-unfinished": "escape_sequence",
		"esc-alone": "escape_sequence", "esc-reset": "escape_sequence", "osc-title": "escape_sequence control",
		"osc-hyperlink": "escape_sequence", "osc-clipboard": "escape_sequence control", "dcs": "escape_sequence",
		"c1-csi": "escape_sequence", "c1-raw-byte": "invalid_utf8", "c1-nel": "control",
		"bidi-override": "bidi_control", "bidi-isolate": "bidi_control", "bidi-marks": "bidi_control",
		"bidi-deprecated": "bidi_control", "rtl-letters": "mixed_direction",
		"zero-width-space": "invisible", "zero-width-joiner": "invisible", "word-joiner": "invisible", "bom": "invisible",
		"soft-hyphen": "invisible", "line-separator": "invisible", "no-break-space": "invisible", "blank-spaces": "invisible",
		"hangul-filler": "invisible", "braille-blank": "invisible", "mongolian-separator": "variation_selector invisible",
		"grapheme-joiner": "invisible", "null-notehead": "invisible", "musical-format": "invisible", "interlinear": "invisible",
		"variation-selectors": "variation_selector", "variation-smuggling": "variation_selector", "tag-smuggling": "tag_character",
		"emoji-family": "invisible", "keycap": "variation_selector combining_marks", "zalgo": "combining_marks",
		"strike-through": "combining_marks", "overlay": "combining_marks", "leading-mark": "combining_marks",
		"enclosing": "combining_marks", "virama-chain": "combining_marks",
		"homoglyph-cyrillic": "homoglyph", "homoglyph-whole-word": "homoglyph", "homoglyph-greek": "homoglyph", "mathematical": "homoglyph",
		"full-width": "invisible", "invalid-utf8": "invalid_utf8", "truncated-utf8": "invalid_utf8", "utf8-surrogate": "invalid_utf8",
		"overlong-nul": "invalid_utf8", "beyond-unicode": "invalid_utf8", "private-use": "unprintable", "noncharacter": "unprintable",
		"jamo-run": "",
	}
	for _, c := range hostile.Corpus() {
		var got []string
		for _, f := range safetext.Scan([]byte(c.Text)) {
			got = append(got, string(f.Kind))
			if f.Count < 1 || f.Line < 1 || f.Offset < 0 || f.Offset > len(c.Text) {
				t.Errorf("%s: %+v", c.Name, f)
			}
		}
		if strings.Join(got, " ") != want[c.Name] {
			t.Errorf("%s (%q): hazards %q, want %q", c.Name, c.Text, got, want[c.Name])
		}
	}
}

func TestScan(t *testing.T) {
	f := safetext.Scan([]byte("ok\nx\u202ey\u202e\n" + strings.Repeat("x", safetext.LongLine+1) + "\n\u200b"))
	var got []string
	for _, x := range f {
		got = append(got, x.String())
	}
	want := "2 characters that reorder text, the first on line 2|1 invisible or blank-looking character, on line 4|1 very long line, on line 3"
	if strings.Join(got, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), want)
	}
	if f[0].Offset != 4 || f[1].Offset != 12+safetext.LongLine+2 || f[2].Offset != 12 {
		t.Errorf("offsets %+v", f)
	}
}

// Ordinary text in many languages has no hazards.
func TestScanStaysQuiet(t *testing.T) {
	for _, s := range []string{
		"func f(x []int) {\r\n\treturn\r\n}\r\n",
		"Grüße aus Köln, ça va? Đặng Thị Ngọc — “quoted” …",
		"Съешь ещё этих мягких французских булок, да выпей чаю. Он и оса.",
		"Ξεσκεπάζω την ψυχοφθόρα βδελυγμία; latency 5 μs, Δt, πr²",
		"שלום עולם", "هذا نص عربي", "हिन्दी में लिखा हुआ", "ภาษาไทย กำลัง น้ำ", "日本語のテキスト、中文（测试）！", "한국어 텍스트",
		"great 👍 ❤️ ✔️ → ✓", "x² + y² ≤ r²", "a_b-c.d/e:f@g", "naïve cafe\u0301",
	} {
		if f := safetext.Scan([]byte(s)); len(f) > 0 {
			t.Errorf("%q: %v", s, f)
		}
	}
}

func TestTruncate(t *testing.T) {
	for _, tc := range []struct {
		in   string
		cols int
		want string
	}{
		{"hello", 5, "hello"}, {"hello", 4, "hel…"}, {"hello", 1, "…"}, {"hello", 0, ""}, {"hello", -3, ""},
		{"世界人", 6, "世界人"}, {"世界人", 5, "世界…"}, {"世界人", 4, "世…"}, {"世界人", 2, "…"},
		{"ab\x1bcd", 8, "ab⟨ESC⟩…"}, {"ab\x1bcd", 7, "ab…"}, {"e\u0301e\u0301e\u0301", 2, "e\u0301…"},
	} {
		got := safetext.Text(tc.in).Truncate(tc.cols)
		if got.String() != tc.want || got.Width() != ansi.StringWidth(tc.want) {
			t.Errorf("Truncate(%q, %d) = %q (%d), want %q", tc.in, tc.cols, got, got.Width(), tc.want)
		}
	}
	if got := ascii.Text("ab\x1bcd").Truncate(6).String(); got != "ab~" {
		t.Errorf("ASCII: %q", got)
	}
}

func TestLayout(t *testing.T) {
	l := safetext.Text("a世\x1bb")
	var got []string
	for _, x := range l.Wrap(5) {
		got = append(got, x.String())
	}
	if strings.Join(got, "|") != "a世|⟨ESC⟩|b" {
		t.Errorf("Wrap = %q", got)
	}
	if got := l.Skip(2).String(); got != " ⟨ESC⟩b" {
		t.Errorf("Skip(2) = %q", got)
	}
	if got := l.Skip(4).String(); got != "    b" {
		t.Errorf("Skip(4) = %q", got)
	}
	if got := l.Skip(99); got.String() != "" || got.Width() != 0 {
		t.Errorf("Skip(99) = %q", got)
	}
	if got := safetext.Text("世").Pad(4).String(); got != "世  " {
		t.Errorf("Pad = %q", got)
	}
	if got := safetext.Text("世").PadLeft(4).String(); got != "  世" {
		t.Errorf("PadLeft = %q", got)
	}
	if got := safetext.Text("hello").Fit(3).Width(); got != 3 {
		t.Errorf("Fit: %d columns", got)
	}
	if got := safetext.Concat(safetext.Text("a"), safetext.Text("世")); got.String() != "a世" || got.Width() != 3 {
		t.Errorf("Concat = %q", got)
	}
}
