package jsonvalue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gowebpki/jcs"
)

func decode(t testing.TB, s string) Value {
	t.Helper()
	v, err := Decode([]byte(s))
	if err != nil {
		t.Fatalf("Decode(%.200q): %v", s, err)
	}
	return v
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct{ raw, reason string }{
		{``, "unexpected end"}, {` `, "unexpected end"}, {`{"a":1}x`, "after the value"}, {`1 2`, "after the value"},
		{"\ufeff{}", "unexpected"}, {`{"a":1,"a":2}`, "appears twice"}, {`{"a":1,"\u0061":2}`, "appears twice"},
		{`[{"x":{"b":1,"c":2,"b":3}}]`, "appears twice"}, {`{"a":1,}`, "member name"}, {`[1,]`, "unexpected"}, {`[,1]`, "unexpected"},
		{`{a:1}`, "member name"}, {`{"a" 1}`, "colon"}, {`{"a":}`, "unexpected"}, {`{"a":1 "b":2}`, "comma"}, {`[1 2]`, "comma"},
		{`[1`, "comma"}, {`{`, "member name"}, {`{"a"`, "colon"}, {`"a`, "without an end"}, {"\"a\nb\"", "control character"}, {"\"\x00\"", "control character"},
		{`"\x"`, "unknown escape"}, {`"\u12"`, "malformed"}, {`"\u00zz"`, "malformed"}, {`"\`, "unknown escape"},
		{`"\ud800"`, "lone surrogate"}, {`"\udc00"`, "lone surrogate"}, {`"\ud800\u0041"`, "lone surrogate"}, {`"\ud800\ud800"`, "lone surrogate"}, {`"\ud800x"`, "lone surrogate"},
		{"\"\xff\"", "invalid UTF-8"}, {"\"\xed\xa0\x80\"", "invalid UTF-8"}, {"\"\\n\xc0\x80\"", "invalid UTF-8"}, {"{\"\xff\":1}", "invalid UTF-8"},
		{`01`, "malformed number"}, {`-`, "malformed number"}, {`+1`, "unexpected"}, {`.5`, "unexpected"}, {`1.`, "malformed number"}, {`1e`, "malformed number"}, {`1e+`, "malformed number"}, {`-01`, "malformed number"}, {`0x1`, "after the value"},
		{`1e9999999999`, "more than 9 digits"}, {`NaN`, "unexpected"}, {`Infinity`, "unexpected"}, {`-Infinity`, "malformed number"}, {`nul`, "unexpected"}, {`True`, "unexpected"}, {`nullx`, "after the value"},
		{`/*c*/1`, "unexpected"}, {`1//c`, "after the value"}, {`'a'`, "unexpected"}, {"\v1", "unexpected"}, {"\u00a01", "unexpected"},
		{strings.Repeat("[", 101) + strings.Repeat("]", 101), "nest deeper"}, {strings.Repeat(`{"a":`, 101) + "1" + strings.Repeat("}", 101), "nest deeper"},
		{strings.Repeat("[", 5_000_000), "nest deeper"},
	} {
		_, err := Decode([]byte(c.raw))
		var syntax *SyntaxError
		if err == nil || !errors.As(err, &syntax) || !strings.Contains(syntax.Reason, c.reason) {
			t.Errorf("Decode(%.60q) = %v, want %q", c.raw, err, c.reason)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("Decode(%.60q): the error quotes too much", c.raw)
		}
	}
}

func TestDecodeKeepsWhatWasWritten(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{` { "b" : 1.50 , "a" : [ ] , "\u0063\/" : -0 } `, `{"b":1.50,"a":[],"c/":-0}`},
		{`[9007199254740993,1e400,0.1000000000000000000001,1E+2]`, `[9007199254740993,1e400,0.1000000000000000000001,1E+2]`},
		{`"\ud83d\ude00\u0000\u001f\"\\\b\f\n\r\t\u2028"`, "\"😀\\u0000\\u001f\\\"\\\\\\b\\f\\n\\r\\t\u2028\""},
		{"\t\r\n null ", "null"},
		{strings.Repeat("[", 100) + strings.Repeat("]", 100), strings.Repeat("[", 100) + strings.Repeat("]", 100)},
	} {
		if got := string(decode(t, c.raw).Encode()); got != c.want {
			t.Errorf("Decode(%q) encodes as %q, want %q", c.raw, got, c.want)
		}
	}
}

func TestValueEqual(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`1`, `1.0`, true}, {`1`, `10e-1`, true}, {`0`, `-0.0e5`, true}, {`100`, `1E2`, true}, {`1.5`, `15e-1`, true}, {`0.00012`, `1.2e-4`, true},
		{`1`, `-1`, false}, {`9007199254740992`, `9007199254740993`, false}, {`1e999999999`, `1e999999998`, false}, {`10e999999998`, `1e999999999`, true},
		{`{"a":1,"b":[2]}`, `{"b":[2.0],"a":1}`, true}, {`{"a":1}`, `{"b":1}`, false}, {`[1,2]`, `[2,1]`, false}, {`"1"`, `1`, false}, {`null`, `false`, false}, {`[]`, `{}`, false}, {`"\u00e9"`, `"e\u0301"`, false}, {`"\u00e9"`, `"é"`, true},
	} {
		if got := decode(t, c.a).Equal(decode(t, c.b)); got != c.want {
			t.Errorf("%s equals %s: %v", c.a, c.b, got)
		}
	}
	if (Value{}).Equal(Null()) || !(Value{}).Equal(Value{}) {
		t.Error("an absent value equals an absent value only")
	}
}

func TestConstructorsRefuseWhatJSONCannotHold(t *testing.T) {
	for name, build := range map[string]func() (Value, error){
		"number":          func() (Value, error) { return Number("01") },
		"blank number":    func() (Value, error) { return Number(" 1") },
		"string":          func() (Value, error) { return String("\xff") },
		"absent element":  func() (Value, error) { return Array(Null(), Value{}) },
		"absent member":   func() (Value, error) { return Object(Member{Name: "a"}) },
		"repeated member": func() (Value, error) { return Object(Member{"a", Null()}, Member{"a", Null()}) },
		"name":            func() (Value, error) { return Object(Member{"\xff", Null()}) },
		"depth": func() (Value, error) {
			v := Null()
			var err error
			for range 101 {
				if v, err = Array(v); err != nil {
					return v, err
				}
			}
			return v, nil
		},
	} {
		if v, err := build(); err == nil {
			t.Errorf("%s: got %v", name, v)
		}
	}
	v, err := Object(Member{"n", Int(-3)}, Member{"t", Bool(true)})
	if err != nil || v.String() != `{"n":-3,"t":true}` || !v.Member("t").Bool() || v.Member("n").Text() != "-3" {
		t.Errorf("got %v, %v", v, err)
	}
}

func TestCanonical(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{`{"b":1,"a":{"d":[ ],"c":true}}`, `{"a":{"c":true,"d":[]},"b":1}`},
		{`[1.0,1e2,0.10,1E-7,-0,0.000001,333333333.3333333,1e15,2.5e-10]`, `[1,100,0.1,1e-7,0,0.000001,333333333.3333333,1000000000000000,2.5e-10]`},
		{`[9007199254740992,-9007199254740992]`, `[9007199254740992,-9007199254740992]`},
		{"{\"\u20ac\":1,\"\\r\":2,\"\\ufb33\":3,\"1\":4,\"\\ud83d\\ude00\":5,\"\\u0080\":6,\"\u00f6\":7}", "{\"\\r\":2,\"1\":4,\"\u0080\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\ufb33\":3}"},
		{`"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/"`, `"€$\u000f\nA'B\"\\\\\"/"`},
		{` null `, `null`},
	} {
		got, err := Canonical([]byte(c.raw))
		if err != nil || string(got) != c.want {
			t.Errorf("Canonical(%q) = %q, %v; want %q", c.raw, got, err, c.want)
		}
	}
	for _, raw := range []string{
		`9007199254740993`, `-9007199254740993`, `9007199254740994`, `1e16`, `1e300`, `[9.007199254740993e15]`, `1e400`, `-1e400`, `1e-400`, `{"a":[0.1000000000000000055511151231257827]}`, `3.14159265358979323846`, `333333333.33333329`, `1e21`, `5e-325`,
		`{"a":1,"a":1}`, "\"\xff\"", `"\ud800"`, strings.Repeat("[", 101) + strings.Repeat("]", 101), `01`, `{"a":1}{}`, ``,
	} {
		if got, err := Canonical([]byte(raw)); err == nil {
			t.Errorf("Canonical(%.60q) = %q, want a refusal", raw, got)
		}
	}
}

// TestCanonicalNumbers: a double written in shortest form survives unless it is
// an unsafe integer, and comes back as the same double.
func TestCanonicalNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	for range 20000 {
		f := math.Float64frombits(r.Uint64())
		if math.IsNaN(f) || math.IsInf(f, 0) {
			continue
		}
		got, err := Canonical([]byte(strconv.FormatFloat(f, 'e', -1, 64)))
		if f == math.Trunc(f) && math.Abs(f) > 1<<53 {
			if err == nil {
				t.Fatalf("%g is accepted", f)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%g: %v", f, err)
		}
		if back, err := strconv.ParseFloat(string(got), 64); err != nil || back != f {
			t.Fatalf("%g became %s", f, got)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{`{"b":[1,2.5e-3,"x\u00e9"],"a":null}`, `[-0,1e15,"\ud83d\ude00"]`, `{"":{"":[]}}`, `9007199254740993`,
		`{"ﭳ":1,"😀":2,"a😀":3,"aﭳ":4,"a":5,"😀b":6,"😁":7,"\u0000":8,"1.5e-7":-0}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := Decode(raw)
		if err != nil {
			return
		}
		if !json.Valid(raw) {
			t.Fatalf("Decode accepts %q, encoding/json does not", raw)
		}
		again, err := Decode(v.Encode())
		if err != nil || !bytes.Equal(again.Encode(), v.Encode()) || !again.Equal(v) {
			t.Fatalf("%q encodes as %q, which reads as %v, %v", raw, v.Encode(), again, err)
		}
		once, err := Canonical(raw)
		if err != nil {
			return
		}
		if want, err := jcs.Transform(raw); err != nil || !bytes.Equal(once, want) {
			t.Fatalf("canonical %q, by the reference %q, %v", once, want, err)
		}
		twice, err := Canonical(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("canonical %q, again %q, %v", once, twice, err)
		}
		if w, err := Decode(once); err != nil || !w.Equal(v) {
			t.Fatalf("%q became %q", raw, once)
		}
		if w, err := v.Canonical(); err != nil || !bytes.Equal(w, once) {
			t.Fatalf("%q: by value %q, by text %q", raw, w, once)
		}
	})
}

// TestPointer runs the examples of RFC 6901 section 5 and what it forbids.
func TestPointer(t *testing.T) {
	doc := decode(t, `{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}`)
	for pointer, want := range map[string]string{
		"": doc.String(), "/foo": `["bar","baz"]`, "/foo/0": `"bar"`, "/": "0", "/a~1b": "1", "/c%d": "2", "/e^f": "3", "/g|h": "4", "/i\\j": "5", "/k\"l": "6", "/ ": "7", "/m~0n": "8",
	} {
		if got, err := doc.At(pointer); err != nil || got.String() != want {
			t.Errorf("At(%q) = %v, %v; want %s", pointer, got, err, want)
		}
		tokens, err := ParsePointer(pointer)
		if back := FormatPointer(tokens...); err != nil || back != pointer {
			t.Errorf("pointer %q became %q", pointer, back)
		}
	}
	for _, pointer := range []string{"foo", "/foo/00", "/foo/2", "/foo/-", "/foo/a", "/nothing", "/foo/0/x", "/~", "/~2", "#/foo", "/foo/99999999999999999999"} {
		if got, err := doc.At(pointer); err == nil {
			t.Errorf("At(%q) = %v", pointer, got)
		}
	}
}

type rfcCase struct {
	Comment              string
	Doc, Patch, Expected json.RawMessage
	Error                string
}

func rfcCases(t *testing.T, file string) []rfcCase {
	raw, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var cases []rfcCase
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

func TestPatchCases(t *testing.T) {
	for _, c := range rfcCases(t, "jsonpatch.json") {
		doc := decode(t, string(c.Doc))
		before := doc.String()
		p, err := ParsePatch(c.Patch)
		var got Value
		if err == nil {
			got, err = p.Apply(doc)
		}
		if doc.String() != before {
			t.Errorf("%s: the document changed", c.Comment)
		}
		if c.Error != "" {
			if err == nil || !strings.Contains(err.Error(), c.Error) {
				t.Errorf("%s: got %v, %v; want an error with %q", c.Comment, got, err, c.Error)
			}
			continue
		}
		if err != nil || !got.Equal(decode(t, string(c.Expected))) {
			t.Errorf("%s: got %v, %v; want %s", c.Comment, got, err, c.Expected)
		}
		if raw, err := json.Marshal(p); err != nil {
			t.Errorf("%s: %v", c.Comment, err)
		} else if again, err := ParsePatch(raw); err != nil || fmt.Sprint(again) != fmt.Sprint(p) {
			t.Errorf("%s: the patch encodes as %s, %v", c.Comment, raw, err)
		}
	}
	// RFC 6902 A.13: an operation with two "op" members.
	if p, err := ParsePatch([]byte(`[{"op":"add","path":"/baz","value":"qux","op":"remove"}]`)); err == nil {
		t.Errorf("two op members give %v", p)
	}
}

func TestMergePatchCases(t *testing.T) {
	for _, c := range rfcCases(t, "mergepatch.json") {
		doc := decode(t, string(c.Doc))
		before := doc.String()
		if got := MergePatch(doc, decode(t, string(c.Patch))); !got.Equal(decode(t, string(c.Expected))) || doc.String() != before {
			t.Errorf("%s: %s merged with %s gives %v, want %s", c.Comment, c.Doc, c.Patch, got, c.Expected)
		}
	}
}
