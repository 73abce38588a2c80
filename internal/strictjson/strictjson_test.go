package strictjson_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/strictjson"
)

type inner struct {
	Name string `json:"name"`
}

type embedded struct {
	Reason string `json:"reason"`
}

type order struct {
	embedded
	Decision string            `json:"decision"`
	Bulk     bool              `json:"bulk,omitempty"`
	List     []inner           `json:"list"`
	One      *inner            `json:"one"`
	ByName   map[string]inner  `json:"by_name"`
	Env      map[string]string `json:"env"`
	Raw      json.RawMessage   `json:"raw"`
	Any      any               `json:"any"`
	At       time.Time         `json:"at"`
	Plain    int
	Hidden   string `json:"-"`
}

func TestDecodeStrictRefusesWhatTwoReadersTakeDifferently(t *testing.T) {
	for _, c := range []struct {
		name, text string
		offset     int
		known      bool // passes where unknown members do
	}{
		{"a name in another case beside the right one", `{"decision":"deny","Decision":"allow"}`, 19, false},
		{"a name in another case alone", `{"Decision":"allow"}`, 1, false},
		{"a long s", `{"reaſon":"x"}`, 1, false},
		{"a name twice", `{"decision":"deny","decision":"allow"}`, 19, false},
		{"a name twice, once escaped", `{"decision":"deny","decisi\u006fn":"allow"}`, 19, false},
		{"an unknown name", `{"decision":"deny","more":1}`, 19, true},
		{"an unknown name in a list", `{"list":[{"name":"a"},{"name":"b","x":1}]}`, 34, true},
		{"another case in a list", `{"list":[{"name":"a"},{"Name":"b"}]}`, 23, false},
		{"another case behind a pointer", `{"one":{"NAME":"b"}}`, 8, false},
		{"another case in a map's value", `{"by_name":{"a":{"nAme":"b"}}}`, 17, false},
		{"a name twice in a raw member", `{"raw":{"a":1,"a":2}}`, 14, false},
		{"a name twice in any", `{"any":[{"a":1,"a":2}]}`, 15, false},
		{"a member that is not read", `{"Hidden":"x"}`, 1, true},
		{"a private field", `{"private":"x"}`, 1, true},
		{"a second value", `{"decision":"deny"} {"decision":"allow"}`, 20, false},
		{"a letter behind it", `{"decision":"deny"}x`, 19, false},
		{"a byte order mark", "\ufeff{}", 0, false},
		{"invalid UTF-8", "{\"decision\":\"\xff\"}", 13, false},
		{"a lone surrogate", `{"decision":"\ud800"}`, 13, false},
		{"null in place of an object", ` null`, 1, false},
		{"a list in place of an object", `[]`, 0, false},
		{"nothing", ``, 0, false},
		{"a comment", `{/**/}`, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got order
			err := strictjson.DecodeStrict([]byte(c.text), &got)
			var s *strictjson.SyntaxError
			if !errors.As(err, &s) || s.Offset != c.offset {
				t.Errorf("%s: got error %v, want a refusal at byte %d", c.text, err, c.offset)
			}
			if !reflect.DeepEqual(got, order{}) {
				t.Errorf("%s: the value was changed to %+v", c.text, got)
			}
			if err := strictjson.DecodeKnown([]byte(c.text), &got); (err == nil) != c.known {
				t.Errorf("%s: where unknown members pass: got error %v", c.text, err)
			}
		})
	}
}

func TestDecodeStrictReadsWhatItsTypesName(t *testing.T) {
	text := "{\r\n" + `"decision":"allow","reason":"r","bulk":true,"list":[{"name":"a"}],"one":{"name":"b"},"by_name":{"X":{"name":"c"}},` +
		`"env":{"Path":"1","PATH":"2"},"raw":{"Name":1,"name":2},"any":{"Name":1},"at":"2026-01-02T03:04:05Z","Plain":7}` + "\r\n"
	var got order
	if err := strictjson.DecodeStrict([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	want := order{
		embedded: embedded{Reason: "r"}, Decision: "allow", Bulk: true, List: []inner{{"a"}}, One: &inner{"b"},
		ByName: map[string]inner{"X": {"c"}}, Env: map[string]string{"Path": "1", "PATH": "2"},
		Raw: json.RawMessage(`{"Name":1,"name":2}`), Any: map[string]any{"Name": 1.0},
		At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Plain: 7,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestDecodeStrictStoresNothingOfAWrongType(t *testing.T) {
	got := order{Decision: "before"}
	if err := strictjson.DecodeStrict([]byte(`{"decision":"allow","bulk":"yes"}`), &got); err == nil || got.Decision != "before" {
		t.Errorf("got %+v, error %v", got, err)
	}
	if err := strictjson.DecodeStrict([]byte(`{}`), nil); err == nil {
		t.Error("nil was taken for a place to read into")
	}
}

// FuzzDecodeStrict: what is taken has no name that the type does not, each once,
// and reads as encoding/json reads it.
func FuzzDecodeStrict(f *testing.F) {
	for _, s := range []string{
		`{"decision":"deny","Decision":"allow"}`, `{"decision":"allow","list":[{"name":"a"}],"one":{"name":"b"},"env":{"A":"1","a":"2"}}`,
		`{"\u0064ecision":"x"}`, `{"decision":"x"} {}`, `null`, `{"raw":{"a":1,"a":2}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got, want order
		if strictjson.DecodeStrict(raw, &got) != nil {
			return
		}
		var names map[string]json.RawMessage
		if err := json.Unmarshal(raw, &names); err != nil {
			t.Fatalf("%q was taken: %v", raw, err)
		}
		for name := range names {
			if !slices.Contains([]string{"reason", "decision", "bulk", "list", "one", "by_name", "env", "raw", "any", "at", "Plain"}, name) {
				t.Errorf("%q was taken with the member %q", raw, name)
			}
		}
		if err := json.Unmarshal(raw, &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v (%v)", raw, got, want, err)
		}
	})
}
