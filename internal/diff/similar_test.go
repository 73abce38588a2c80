package diff

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestSimilarIsTheShareOfCommonLines(t *testing.T) {
	ten := strings.Repeat("0123456789012345678\n", 5) + strings.Repeat("abcdefghijklmnopqrs\n", 5)
	for _, c := range []struct {
		a, b string
		want int
	}{
		{ten, ten, 100},
		{ten, strings.Replace(ten, "abc", "ABC", 1), 90},
		{ten, strings.Repeat("0123456789012345678\n", 5), 50},
		{ten, strings.Repeat("0123456789012345678\n", 4), 40},
		{"a\nb\n", "b\na\n", 100}, // wherever they stand
		{"a\na\na\n", "a\n", 33},  // as often as both have them
		{"a\n", "a", 0},           // a line ends
		{"", "", 0},
		{"", "a\n", 0},
		{"a\x00\n", "a\x00\n", 0}, // binary
	} {
		if got := Similar(LinesOf([]byte(c.a)), LinesOf([]byte(c.b))); got != c.want {
			t.Errorf("%q and %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestSimilarDoesNotDependOnTheOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		a := randomText(r, 40)
		b := mutate(r, a)
		x, y := LinesOf(a), LinesOf(b)
		if got, back := Similar(x, y), Similar(y, x); got != back || got < 0 || got > 100 {
			t.Errorf("%q and %q: %d, the other way %d", a, b, got, back)
		}
	}
}
