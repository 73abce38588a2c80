package diff

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestIntraline(t *testing.T) {
	for _, c := range []struct {
		before, after string
		old, new      []Span
	}{
		{"", "", nil, nil},
		{"same", "same", nil, nil},
		{"port: 80", "port: 8080", nil, []Span{{8, 10}}},
		{"timeout = 10", "timeout = 30", []Span{{10, 11}}, []Span{{10, 11}}},
		{"\xff", "\xfe", []Span{{0, 1}}, []Span{{0, 1}}},
		{"a\xffb\xffc", "a\xfeb\xfec", []Span{{1, 4}}, []Span{{1, 4}}},
		{"größe", "große", []Span{{2, 4}}, []Span{{2, 3}}},
		{"\u00e9", "\u00e8", []Span{{0, 2}}, []Span{{0, 2}}}, // same first byte
		{"\u0101", "\u0201", []Span{{0, 2}}, []Span{{0, 2}}}, // same last byte
		{"one fish two fish", "one cat two fish and more", []Span{{4, 8}}, []Span{{4, 7}, {16, 25}}},
	} {
		old, new := Intraline([]byte(c.before), []byte(c.after))
		if !reflect.DeepEqual(old, c.old) || !reflect.DeepEqual(new, c.new) {
			t.Errorf("Intraline(%q, %q) = %v, %v; want %v, %v", c.before, c.after, old, new, c.old, c.new)
		}
	}
}

// checkIntraline: what lies outside the spans must be the same on both sides,
// and no span may cut a valid character.
func checkIntraline(t *testing.T, before, after []byte) {
	t.Helper()
	old, new := Intraline(before, after)
	rest := func(b []byte, all []Span) []byte {
		var out []byte
		at := 0
		for _, s := range all {
			if s.Start < at || s.End <= s.Start || s.End > len(b) || (s.Start == at && at > 0) {
				t.Fatalf("Intraline(%q, %q): spans %v of %q", before, after, all, b)
			}
			out = append(out, b[at:s.Start]...)
			at = s.End
		}
		return append(out, b[at:]...)
	}
	if !bytes.Equal(rest(before, old), rest(after, new)) {
		t.Fatalf("Intraline(%q, %q) = %v, %v: the rest differs", before, after, old, new)
	}
	for _, side := range []struct {
		b   []byte
		all []Span
	}{{before, old}, {after, new}} {
		if !utf8.Valid(side.b) {
			continue
		}
		for _, s := range side.all {
			if !utf8.Valid(side.b[s.Start:s.End]) {
				t.Fatalf("Intraline(%q, %q): span %v cuts a character", before, after, s)
			}
		}
	}
}

func TestIntralineOnHardLines(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	random := func(n, kinds int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = "abcdefgh\xff\xfe\xc3\xa9 \t"[r.IntN(kinds)]
		}
		return b
	}
	for range 3000 {
		checkIntraline(t, random(r.IntN(40), 14), random(r.IntN(40), 14))
	}
	checkIntraline(t, random(3000, 2), random(3000, 2))
	checkIntraline(t, random(1000, 8), random(1000, 8))
	checkIntraline(t, bytes.Repeat([]byte("\x80"), 10_000), bytes.Repeat([]byte("\x80"), 9_000))
	checkIntraline(t, []byte(strings.Repeat("é", 5_000_000)), []byte(strings.Repeat("é", 4_999_999)+"è"))
}

func FuzzIntraline(f *testing.F) {
	f.Add([]byte("a\xffb"), []byte("a\xfeb"))
	f.Add([]byte("größe"), []byte("große"))
	f.Fuzz(func(t *testing.T, before, after []byte) { checkIntraline(t, before, after) })
}

// BenchmarkIntraline measures the worst pair of lines within the caps.
func BenchmarkIntraline(b *testing.B) {
	r := rand.New(rand.NewPCG(13, 14))
	line := func() []byte {
		s := make([]byte, 1024)
		for i := range s {
			s[i] = byte('a' + r.IntN(26))
		}
		return s
	}
	before, after := line(), line()
	for b.Loop() {
		Intraline(before, after)
	}
}
