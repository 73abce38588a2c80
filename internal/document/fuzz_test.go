package document

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// FuzzPatch checks that a patched text parses as the patched value.
func FuzzPatch(f *testing.F) {
	for _, ext := range []string{".json", ".jsonc", ".yaml", ".toml"} {
		for _, text := range []string{packageJSON, composeYAML, cargoTOML, "a: 1\n", "a = 1\n", `{"a": 1}`} {
			f.Add(ext, text, `[{"op":"add","path":"/a","value":{"b":[1.0,"yes"]}}]`)
			f.Add(ext, text, `[{"op":"remove","path":"/name"}]`)
		}
	}
	f.Fuzz(func(t *testing.T, ext, text, patch string) {
		p, err := jsonvalue.ParsePatch([]byte(patch))
		if err != nil {
			return
		}
		name := "f" + ext
		ext = filepath.Ext(name)
		out, _, err := Patch(name, []byte(text), p)
		var r *Refusal
		if err != nil {
			if !errors.As(err, &r) || out != nil {
				t.Fatalf("%v", err)
			}
			return
		}
		before, _, err := ParseDocument(ext, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		want, err := p.Apply(before)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := ParseDocument(ext, out)
		if err != nil || len(jsonvalue.MakePatch(got, want)) > 0 {
			t.Fatalf("%q\n%s\n→ %q\nwant %s, %v", text, patch, out, want, err)
		}
	})
}
