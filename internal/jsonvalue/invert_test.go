package jsonvalue

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// TestInvertRestoresTheDocument: the inverse of a patch made by this package
// leads from the document after to the one before.
func TestInvertRestoresTheDocument(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := anyValue(t, 4), anyValue(t, 4)
		if rapid.Bool().Draw(t, "alike") && before.Type() == TypeObject {
			after = MergePatch(before, after)
		}
		p, _, _ := Compare(before, after)
		back, err := p.Invert()
		if err != nil {
			t.Fatalf("%s → %s by %v: %v", before, after, p, err)
		}
		got, err := back.Apply(after)
		if err != nil || !got.Equal(before) {
			t.Fatalf("%s → %s: back by %v is %s, %v", before, after, back, got, err)
		}
	})
}

func TestInvertRefuses(t *testing.T) {
	for _, text := range []string{
		`[{"op":"remove","path":"/a"}]`,
		`[{"op":"replace","path":"/a","value":1}]`,
		`[{"op":"test","path":"/b","value":1},{"op":"remove","path":"/a"}]`,
		`[{"op":"test","path":"/a","value":1},{"op":"add","path":"/b","value":1},{"op":"remove","path":"/a"}]`,
		`[{"op":"copy","from":"/a","path":"/b"}]`,
	} {
		p, err := ParsePatch([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if back, err := p.Invert(); !errors.Is(err, ErrNoInverse) {
			t.Errorf("%s: %v, %v", text, back, err)
		}
	}
}
