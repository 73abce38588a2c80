package diff

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// TestReverse: what Unified makes of two texts leads back from the second to
// the first, whatever they hold; and from no other text.
func TestReverse(t *testing.T) {
	line := rapid.SampledFrom([]string{"a\n", "b\n", "c\n", "\n", "\r\n", "-- x\n", "@@ -1 +1 @@\n", "\xff\n", "\\ No newline at end of file\n", "+\n", "end"})
	text := rapid.Custom(func(t *rapid.T) []byte {
		var out []byte
		for _, l := range rapid.SliceOfN(line, 0, 40).Draw(t, "lines") {
			out = append(out, l...)
		}
		return out
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := text.Draw(t, "before"), text.Draw(t, "after")
		context := rapid.SampledFrom([]int{0, 1, -1}).Draw(t, "context")
		patch, r := Unified(File{Path: "f", Data: a, Exists: true, Mode: 0o644}, File{Path: "f", Data: b, Exists: true, Mode: 0o644}, Options{Context: context})
		if r.Binary {
			return
		}
		got, err := Reverse(b, patch)
		if err != nil || !bytes.Equal(got, a) {
			t.Fatalf("from %q: %q, %v; want %q\n%s", b, got, err, a, patch)
		}
	})
}

func TestReverseRefuses(t *testing.T) {
	file := func(s string) File { return File{Path: "f", Data: []byte(s), Exists: true, Mode: 0o644} }
	patch, _ := Unified(file("a\nb\nc\n"), file("a\nx\nc\n"), Options{})
	binary, _ := Unified(file("a\x00b"), file("b\x00c"), Options{})
	for name, c := range map[string]struct{ after, patch string }{
		"moved on":  {"a\nx\nd\n", string(patch)},
		"shorter":   {"a\n", string(patch)},
		"binary":    {"b\x00c", string(binary)},
		"cut short": {"a\nx\nc\n", string(patch[:len(patch)-3])},
		"no counts": {"a\n", "--- a\n+++ b\n@@ -1 @@\n a\n"},
	} {
		if got, err := Reverse([]byte(c.after), []byte(c.patch)); !errors.Is(err, ErrNoReverse) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, err := Reverse([]byte("x"), nil); err != nil || string(got) != "x" {
		t.Errorf("nothing changes: %q, %v", got, err)
	}
}

func FuzzReverse(f *testing.F) {
	f.Add([]byte("a\nb\n"), []byte("diff\n@@ -1,2 +1,2 @@\n-a\n+b\n b\n"))
	f.Add([]byte("a"), []byte("x\n@@ -1 +1 @@\n-b\n\\ No newline at end of file\n+a\n\\ No newline at end of file\n"))
	f.Fuzz(func(t *testing.T, after, patch []byte) {
		if _, err := Reverse(after, patch); err != nil && !errors.Is(err, ErrNoReverse) {
			t.Fatal(err)
		}
	})
}
