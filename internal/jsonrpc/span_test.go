package jsonrpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func root(t testing.TB, raw string) ([]byte, Span) {
	t.Helper()
	s, ok := Root([]byte(raw))
	if !ok {
		t.Fatalf("Root(%s) failed", raw)
	}
	return []byte(raw), s
}

func TestMembersAndElements(t *testing.T) {
	raw, s := root(t, ` { "a" : [ 1 , "x\"]" , {"b":null} ] , "\u0062" : {"c":{"d":-1e5}} , "":true } `)
	var got []string
	for f := range Members(raw, s) {
		got = append(got, fmt.Sprintf("%q %s %s", f.Name, f.Span.Of(raw), f.Value.Of(raw)))
	}
	want := []string{
		`"a" "a" : [ 1 , "x\"]" , {"b":null} ] [ 1 , "x\"]" , {"b":null} ]`,
		`"b" "\u0062" : {"c":{"d":-1e5}} {"c":{"d":-1e5}}`,
		`"" "":true true`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("Members:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	arr, ok := Member(raw, s, "a")
	if !ok {
		t.Fatal("no a")
	}
	got = nil
	for e := range Elements(raw, arr) {
		got = append(got, string(e.Of(raw)))
	}
	if strings.Join(got, "|") != `1|"x\"]"|{"b":null}` {
		t.Errorf("Elements: %q", got)
	}
	if v, ok := Lookup(raw, s, "b", "c", "d"); !ok || string(v.Of(raw)) != "-1e5" {
		t.Errorf("Lookup b.c.d = %s %v", v.Of(raw), ok)
	}
	for _, path := range [][]string{{"x"}, {"a", "b"}, {"b", "c", "d", "e"}, {"c"}} {
		if _, ok := Lookup(raw, s, path...); ok {
			t.Errorf("Lookup %q found something", path)
		}
	}
}

func TestScalars(t *testing.T) {
	raw, s := root(t, `["a\u00e9\n", 17, -0.5, true, false, null, [], {}, 1e999, 9007199254740993, "\ud800"]`)
	var el []Span
	for e := range Elements(raw, s) {
		el = append(el, e)
	}
	if v, ok := String(raw, el[0]); v != "aé\n" || !ok {
		t.Errorf("String = %q %v", v, ok)
	}
	if _, ok := String(raw, el[10]); ok {
		t.Error("a lone surrogate was decoded")
	}
	if v, ok := Integer(raw, el[1]); v != 17 || !ok {
		t.Errorf("Integer = %d %v", v, ok)
	}
	for _, i := range []int{0, 2, 3, 9} {
		if _, ok := Integer(raw, el[i]); ok {
			t.Errorf("%s is an integer", el[i].Of(raw))
		}
	}
	if v, ok := Bool(raw, el[3]); !v || !ok {
		t.Error("true is not")
	}
	if v, ok := Bool(raw, el[4]); v || !ok {
		t.Error("false is not")
	}
	types := []Type{StringType, NumberType, NumberType, BoolType, BoolType, NullType, ArrayType, ObjectType}
	for i, want := range types {
		if got := TypeOf(raw, el[i]); got != want {
			t.Errorf("TypeOf(%s) = %v, want %v", el[i].Of(raw), got, want)
		}
	}
	if TypeOf(raw, Span{}) != 0 {
		t.Error("nothing has a type")
	}
}

func TestDeleteElements(t *testing.T) {
	for _, tc := range []struct{ in, drop, want string }{
		{`[1,2,3]`, "2", `[1,3]`},
		{`[1,2,3]`, "1", `[2,3]`},
		{`[1,2,3]`, "3", `[1,2]`},
		{`[1,2,3]`, "123", `[]`},
		{`[1,2,3]`, "", `[1,2,3]`},
		{`[ 1 ,  2 , 3 ]`, "2", `[ 1 , 3 ]`},
		{`[ 1 ,  2 , 3 ]`, "13", `[  2 ]`},
		{`[]`, "1", `[]`},
		{`[ ]`, "1", `[ ]`},
		{`["1,2",[1,2],{"a":[1]}]`, "", `["1,2",[1,2],{"a":[1]}]`},
	} {
		in := `{"pre":[1],"t":` + tc.in + ` , "post":[1]}`
		raw, s := root(t, in)
		arr, _ := Member(raw, s, "t")
		out := DeleteElements(raw, arr, func(i int, el Span) bool {
			return el.Len() == 1 && strings.Contains(tc.drop, string(el.Of(raw)))
		})
		if want := `{"pre":[1],"t":` + tc.want + ` , "post":[1]}`; string(out) != want {
			t.Errorf("%s without %q = %s, want %s", tc.in, tc.drop, out, want)
		}
		if string(raw) != in {
			t.Error("the input changed")
		}
	}
}

// A list that cannot be filtered must not come back unfiltered.
func TestSplicesFailClosed(t *testing.T) {
	all := func(int, Span) bool { return true }
	for _, in := range []string{`{"tools":1}`, `"x"`, `[1,2`, `[1 2]`, `[1,,2]`, `[1,2,]`, ``, `[1,]`} {
		if out := DeleteElements([]byte(in), Span{0, len(in)}, all); out != nil {
			t.Errorf("DeleteElements(%s) = %s, want nil", in, out)
		}
	}
	for _, in := range []string{`[]`, `{"a" 1}`, `{"a":1,}`, `{"a":1`, ``} {
		if out := DeleteMember([]byte(in), Span{0, len(in)}, "b"); out != nil {
			t.Errorf("DeleteMember(%s) = %s, want nil", in, out)
		}
		if out := SetMember([]byte(in), Span{0, len(in)}, "b", []byte("1")); out != nil {
			t.Errorf("SetMember(%s) = %s, want nil", in, out)
		}
	}
	for _, value := range []string{"", "1 2", "{", "\n1", `{"a":1,"a":2}`, "1}"} {
		if out := SetMember([]byte(`{}`), Span{0, 2}, "b", []byte(value)); out != nil {
			t.Errorf("SetMember(%q) = %s, want nil", value, out)
		}
	}
	if out := SetMember([]byte(`{"b":1,"\u0062":2}`), Span{0, 18}, "b", []byte("1")); out != nil {
		t.Errorf("SetMember with two = %s, want nil", out)
	}
	for _, edits := range [][]Edit{
		{{Span{0, 2}, nil}, {Span{1, 3}, nil}},
		{{Span{2, 1}, nil}},
		{{Span{0, 99}, nil}},
		{{Span{-1, 0}, nil}},
	} {
		if out := ReplaceSpans([]byte("abcd"), edits); out != nil {
			t.Errorf("ReplaceSpans(%v) = %s, want nil", edits, out)
		}
	}
}

func TestSetAndDeleteMember(t *testing.T) {
	for _, tc := range []struct{ in, set, del string }{
		{`{}`, `{"k":[7]}`, `{}`},
		{`{ }`, `{"k":[7] }`, `{ }`},
		{`{"a":1}`, `{"a":1,"k":[7]}`, `{"a":1}`},
		{`{ "a" : 1 }`, `{ "a" : 1,"k":[7] }`, `{ "a" : 1 }`},
		{`{"k":{"k":1}}`, `{"k":[7]}`, `{}`},
		{`{"\u006b" : 1 , "b":2}`, `{"\u006b" : [7] , "b":2}`, `{ "b":2}`},
		{`{"a":2, "k":null}`, `{"a":2, "k":[7]}`, `{"a":2}`},
	} {
		raw, s := root(t, tc.in)
		if got := SetMember(raw, s, "k", []byte("[7]")); string(got) != tc.set {
			t.Errorf("SetMember(%s) = %s, want %s", tc.in, got, tc.set)
		}
		if got := DeleteMember(raw, s, "k"); string(got) != tc.del {
			t.Errorf("DeleteMember(%s) = %s, want %s", tc.in, got, tc.del)
		}
	}
}

func TestReplaceSpans(t *testing.T) {
	got := ReplaceSpans([]byte("abcdef"), []Edit{{Span{4, 6}, []byte("XYZ")}, {Span{0, 1}, nil}, {Span{2, 2}, []byte("1")}, {Span{2, 2}, []byte("2")}})
	if string(got) != "b12cdXYZ" {
		t.Errorf("got %s", got)
	}
}

func TestBuilders(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{string(Result(IntID(3), map[string]any{"a": "<b>&\n"})), `{"jsonrpc":"2.0","id":3,"result":{"a":"<b>&\n"}}`},
		{string(Result(StringID(`x"`), nil)), `{"jsonrpc":"2.0","id":"x\"","result":{}}`},
		{string(Result(IntID(3), json.RawMessage("{\n\"n\": 9007199254740993}"))), `{"jsonrpc":"2.0","id":3,"result":{"n":9007199254740993}}`},
		{string(Result(IntID(3), func() {})), `{"jsonrpc":"2.0","id":3,"error":{"code":-32603,"message":"the guard could not encode its answer"}}`},
		{string(ErrorReply(ID{}, CodeParseError, "no", nil)), `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}`},
		{string(ErrorReply(IntID(1), -1, "no", []int{1})), `{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no","data":[1]}}`},
		{string(Notify("n/x", nil)), `{"jsonrpc":"2.0","method":"n/x"}`},
		{string(Notify("n/x", struct {
			A float64 `json:"a"`
		}{-0.5})), `{"jsonrpc":"2.0","method":"n/x","params":{"a":-0.5}}`},
		{string(NewRequest(StringID("g"), "tools/list", map[string]any{})), `{"jsonrpc":"2.0","id":"g","method":"tools/list","params":{}}`},
	} {
		if tc.got != tc.want {
			t.Errorf("got  %s\nwant %s", tc.got, tc.want)
		}
		if _, err := Admit([]byte(tc.got), Limits{}); err != nil {
			t.Errorf("the guard's own %s: %v", tc.got, err)
		}
	}
}

func TestQuoteString(t *testing.T) {
	for _, s := range []string{"", "abc", "\"\\\b\f\n\r\t\x00\x1f\x7f", "é😀\u2028\u2029", "<&>"} {
		q := QuoteString(s)
		if back, ok := String(q, Span{0, len(q)}); !ok || back != s {
			t.Errorf("%q comes back as %q", s, back)
		}
		var std string
		if err := json.Unmarshal(q, &std); err != nil || std != s {
			t.Errorf("encoding/json reads %s as %q, %v", q, std, err)
		}
	}
	if q := QuoteString("a\xffb"); !bytes.Equal(q, []byte("\"a\ufffdb\"")) {
		t.Errorf("invalid UTF-8 became %q", q)
	}
}
