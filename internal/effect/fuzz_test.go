package effect

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// naiveEdit is the server's own loop over lines, without any limit.
func naiveEdit(content, oldText, newText string) (string, bool) {
	old, repl := lf(oldText), lf(newText)
	if strings.Contains(content, old) {
		return strings.Replace(content, old, repl, 1), true
	}
	oldLines, lines := strings.Split(old, "\n"), strings.Split(content, "\n")
	for i := 0; i <= len(lines)-len(oldLines); i++ {
		same := true
		for j, l := range oldLines {
			same = same && jsTrim(l) == jsTrim(lines[i+j])
		}
		if !same {
			continue
		}
		indent := jsIndent(lines[i])
		var out []string
		for j, l := range strings.Split(repl, "\n") {
			switch {
			case j == 0:
				l = indent + jsTrimStart(l)
			case j < len(oldLines):
				if a, b := jsIndent(oldLines[j]), jsIndent(l); a != "" && b != "" {
					l = indent + strings.Repeat(" ", max(0, utf16Len(b)-utf16Len(a))) + jsTrimStart(l)
				}
			}
			out = append(out, l)
		}
		all := append(append(append([]string{}, lines[:i]...), out...), lines[i+len(oldLines):]...)
		return strings.Join(all, "\n"), true
	}
	return "", false
}

// FuzzNodeEdits compares the bounded search with the server's own loop.
func FuzzNodeEdits(f *testing.F) {
	f.Add("  a\n  b\nc", "a\nb", "x\n y")
	f.Add("a\na\na\nb", " a\na\nb ", "z")
	f.Add("\n\n\n", " \n", "\n")
	f.Add("x", "", "y")
	f.Add("\u00a0a\r\n\ufeffb", "a\nb", "1\r\n 2\n3")
	f.Fuzz(func(t *testing.T, content, old, repl string) {
		content = lf(decodeUTF8([]byte(content)))
		if !utf8.ValidString(old) || !utf8.ValidString(repl) {
			return // arguments are valid UTF-8 once admitted
		}
		want, ok := naiveEdit(content, old, repl)
		got, err := nodeEdits(content, []edit{{old: old, new: repl}}, "f")
		if (err == nil) != ok || got != want {
			t.Fatalf("%q, %q → %q\ngot  %q, %v\nwant %q, %v", content, old, repl, got, err, want, ok)
		}
	})
}

// FuzzDecodeUTF8 checks properties of decoding: the result is valid text, nothing
// valid is lost, and each byte gives at most one replacement.
func FuzzDecodeUTF8(f *testing.F) {
	for _, s := range []string{"", "a\xff", "\xe2\x82", "\xf0\x9f\x98x", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\ufeffé", "\xc0\xaf"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := decodeUTF8(b)
		if !utf8.ValidString(got) {
			t.Fatalf("%x → %x", b, got)
		}
		if utf8.Valid(b) && got != string(b) {
			t.Fatalf("valid text changed: %x → %x", b, got)
		}
		if again := decodeUTF8([]byte(got)); again != got {
			t.Fatalf("%x → %x → %x", b, got, again)
		}
		if strip(got) != strip(string(b)) {
			t.Fatalf("%x → %x", b, got)
		}
	})
}

// strip removes invalid bytes and replacement characters.
func strip(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\ufffd", "")
}

// FuzzPath checks that every accepted path lies inside the workspace.
func FuzzPath(f *testing.F) {
	root := workspace(f)
	base := filepath.Dir(root)
	write(f, root, "dir/file", "x")
	write(f, base, "ws-evil/file", "x")
	link(f, "../ws-evil", filepath.Join(root, "evil"))
	link(f, root+"/dir", filepath.Join(root, "in"))
	for _, s := range []string{"dir/file", "../ws-evil/file", "evil/file", "in/file", "/etc/passwd", "in/../../ws-evil", "~", "\x00", ".", "//", "dir/", "./../ws/dir"} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, p string, node bool) {
		if strings.ContainsFunc(p, func(r rune) bool { return r == utf8.RuneError }) {
			return // arguments are valid UTF-8 once admitted
		}
		b := &Binding{kind: fileRead{}, about: fileRead{}.about()}
		if node {
			b.dialect = DialectFilesystem
		}
		for _, p := range []string{p, root + "/" + p} {
			abs, err := b.absolute(p, Input{Roots: []string{root}}, naming{slash: true})
			if err == nil {
				var j *jail
				if j, err = newJail([]string{root}); err != nil {
					t.Fatal(err)
				}
				var got resolvedPath
				if got, err = j.resolvePath(abs, node, true); err == nil {
					if _, in := within(got.abs(), root); !in || strings.HasPrefix(got.abs(), root+"-evil") {
						t.Fatalf("%q resolves to %q", p, got.abs())
					}
				}
			}
			var r *Refusal
			if err != nil && (!errors.As(err, &r) || strings.Contains(r.Reason, base)) {
				t.Fatalf("%q: %v", p, err)
			}
		}
	})
}
