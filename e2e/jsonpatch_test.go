package e2e

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// TestJSONPatchSuite applies the cases of the JSON Patch test suite, which
// everybody's implementations are held to: each applies to what is expected, or
// is refused where an error is.
func TestJSONPatchSuite(t *testing.T) {
	t.Parallel()
	ran := 0
	for _, file := range []string{"tests.json", "spec_tests.json"} {
		data, err := os.ReadFile(node(t, "json-patch-test-suite/"+file))
		if err != nil {
			t.Fatal(err)
		}
		var cases []struct {
			Comment    string
			Doc, Patch json.RawMessage
			Expected   json.RawMessage
			Error      string
			Disabled   bool
		}
		if err := json.Unmarshal(data, &cases); err != nil {
			t.Fatal(err)
		}
		for i, c := range cases {
			if c.Disabled {
				continue
			}
			ran++
			got, err := patched(c.Doc, c.Patch)
			switch {
			case c.Error != "":
				if err == nil {
					t.Errorf("%s %d (%s): applied, where this is expected: %s", file, i, c.Comment, c.Error)
				}
			case err != nil:
				t.Errorf("%s %d (%s): %v", file, i, c.Comment, err)
			case c.Expected != nil:
				want, err := jsonvalue.Decode(c.Expected)
				if err != nil {
					t.Fatal(err)
				}
				if !got.Equal(want) {
					t.Errorf("%s %d (%s): got %s", file, i, c.Comment, got)
				}
			}
		}
	}
	if ran < 90 {
		t.Errorf("only %d cases ran", ran)
	}
}

func patched(doc, patch []byte) (jsonvalue.Value, error) {
	v, err := jsonvalue.Decode(doc)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	p, err := jsonvalue.ParsePatch(patch)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	return p.Apply(v)
}
