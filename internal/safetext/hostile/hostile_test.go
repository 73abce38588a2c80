package hostile

import "testing"

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Corpus() {
		if c.Name == "" || seen[c.Name] {
			t.Errorf("%q is there twice", c.Name)
		}
		seen[c.Name] = true
	}
}

func TestCheck(t *testing.T) {
	for _, ok := range []string{"", "plain\n", "é 世界 ⟨ESC⟩ …"} {
		if err := Check([]byte(ok), false); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"\x1b", "\r", "\t", "\xff", "\u202e", "\u00a0", "\u200b", "\ufe0f", "\u2028", "\ue000", "\u0085"} {
		if Check([]byte("a"+bad), true) == nil {
			t.Errorf("%q passes", bad)
		}
	}
	if Check([]byte("\x1b[1;31mred\x1b[0m"), true) != nil || Check([]byte("\x1b[1;31mred"), false) == nil || Check([]byte("\x1b[2J"), true) == nil {
		t.Error("colours are judged wrongly")
	}
}
