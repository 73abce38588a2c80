package jsonrpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// seeds for every fuzz target: what the tables refuse, and frames as they are seen.
func seeds(f *testing.F) {
	for _, tc := range refused {
		if len(tc.frame) < 4096 {
			f.Add([]byte(tc.frame))
		}
	}
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write_file","arguments":{"path":"a","content":"b\n"},"_meta":{"progressToken":1}}}`,
		`{"method":"ping","jsonrpc":"2.0","id":"a"}`,
		`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"} , {"name":"b","x":[1,2,{"y":null}]},{"name":"c"}],"nextCursor":"x"}}`,
		`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"\u00e9\ud83d\ude00"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"a","params":{"arguments":{"a":[1e2,0.1,-5,9007199254740992]}}}`,
	} {
		f.Add([]byte(s))
	}
}

// strictTree decodes with encoding/json's tokens and fails on a duplicate.
func strictTree(d *json.Decoder) (any, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		m := map[string]any{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			if _, dup := m[name.(string)]; dup {
				return nil, fmt.Errorf("%q twice", name)
			}
			if m[name.(string)], err = strictTree(d); err != nil {
				return nil, err
			}
		}
		_, err = d.Token()
		return m, err
	case json.Delim('['):
		a := []any{}
		for d.More() {
			v, err := strictTree(d)
			if err != nil {
				return nil, err
			}
			a = append(a, v)
		}
		_, err = d.Token()
		return a, err
	}
	return tok, nil
}

// spanTree decodes with the span helpers.
func spanTree(t *testing.T, raw []byte, s Span) any {
	switch TypeOf(raw, s) {
	case ObjectType:
		m := map[string]any{}
		for f := range Members(raw, s) {
			m[f.Name] = spanTree(t, raw, f.Value)
		}
		return m
	case ArrayType:
		a := []any{}
		for e := range Elements(raw, s) {
			a = append(a, spanTree(t, raw, e))
		}
		return a
	case StringType:
		v, ok := String(raw, s)
		if !ok {
			t.Errorf("no string: %s", s.Of(raw))
		}
		return v
	case NumberType:
		return json.Number(s.Of(raw))
	case BoolType:
		v, _ := Bool(raw, s)
		return v
	case NullType:
		return nil
	}
	t.Errorf("no value: %s", s.Of(raw))
	return nil
}

func FuzzAdmit(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		m, err := Admit(in, Limits{})
		if !bytes.Equal(in, before) {
			t.Fatal("Admit changed the frame")
		}
		if err != nil {
			r := err.(*Refusal)
			if r.Reason == 0 || r.Reason >= reasonEnd || m.Raw != nil {
				t.Fatalf("bad refusal: %#v", r)
			}
			return
		}
		if !bytes.Equal(m.Raw, before) {
			t.Fatal("the admitted bytes differ")
		}
		if len(before) > 0 && &m.Raw[0] != &in[0] {
			t.Fatal("the admitted bytes are a copy")
		}
		d := json.NewDecoder(bytes.NewReader(in))
		d.UseNumber()
		want, err := strictTree(d)
		if err != nil {
			t.Fatalf("encoding/json refuses %q: %v", in, err)
		}
		if d.More() || !json.Valid(in) {
			t.Fatalf("encoding/json sees more in %q", in)
		}
		s, ok := Root(in)
		if !ok {
			t.Fatalf("no root in %q", in)
		}
		if got := spanTree(t, in, s); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q\nis  %v\nwant %v", in, got, want)
		}
		env := want.(map[string]any)
		if method, _ := env["method"].(string); method != m.Method {
			t.Fatalf("method %q, want %q", m.Method, method)
		}
		if id, there := env["id"]; there && id != nil {
			if raw := m.ID.Raw(); !sameJSON(raw, m.IDSpan.Of(in)) {
				t.Fatalf("id %s is not %s", raw, m.IDSpan.Of(in))
			}
		} else if !m.ID.IsZero() {
			t.Fatalf("id %v from nowhere", m.ID)
		}
		// A struct of encoding/json, which folds case, sees the same envelope.
		var std struct {
			Method string
			Params json.RawMessage
			Result json.RawMessage
			Error  json.RawMessage
		}
		if err := json.Unmarshal(in, &std); err != nil {
			t.Fatalf("encoding/json: %v", err)
		}
		if std.Method != m.Method || !sameRaw(std.Params, m.ParamsRaw()) || !sameRaw(std.Result, m.ResultRaw()) || !sameRaw(std.Error, m.ErrorRaw()) {
			t.Fatalf("a case-folding reader sees something else in %q", in)
		}
		// Sniffing an admitted frame, as for an oversized one, gives the same id and kind.
		var sn sniffer
		sn.write(in)
		if id, kind := sn.verdict(); sn.ids < 2 && (id != m.ID || kind != m.Kind && !m.ID.IsZero()) {
			t.Fatalf("sniffed %v %v from %q, want %v %v", id, kind, in, m.ID, m.Kind)
		}
	})
}

func sameRaw(std json.RawMessage, got []byte) bool {
	return bytes.Equal(std, got) || string(got) == "null" && len(std) == 0
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// FuzzSplice checks that every splice of an admitted frame is admissible again
// and says what it should.
func FuzzSplice(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"} , {"name":"b"},{"name":"c"}]}}`), uint64(5), "k")
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"result":[ ]}`), uint64(0), "\x00\"")
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"result":[[1, 2 ], {"k":1}]}`), uint64(1), "k")
	f.Fuzz(func(t *testing.T, in []byte, mask uint64, name string) {
		m, err := Admit(in, Limits{MaxDepth: 90})
		if err != nil || strings.ContainsRune(name, 0) || !validUTF8(name) {
			return
		}
		var walk func(s Span)
		walk = func(s Span) {
			switch TypeOf(in, s) {
			case ArrayType:
				checkDelete(t, in, s, mask)
				for e := range Elements(in, s) {
					walk(e)
				}
			case ObjectType:
				checkMember(t, in, s, name)
				for f := range Members(in, s) {
					walk(f.Value)
				}
			}
		}
		walk(m.Result)
	})
}

func validUTF8(s string) bool { return strings.ToValidUTF8(s, "") == s }

func checkDelete(t *testing.T, in []byte, s Span, mask uint64) {
	var kept []any
	out := DeleteElements(in, s, func(i int, el Span) bool {
		if mask>>(i%64)&1 == 1 {
			return true
		}
		kept = append(kept, spanTree(t, in, el))
		return false
	})
	if _, err := Admit(out, Limits{}); err != nil {
		t.Fatalf("%q spliced to %q: %v", in, out, err)
	}
	rest := Span{s.Start, s.End - (len(in) - len(out))}
	if got := spanTree(t, out, rest); !reflect.DeepEqual(got, append([]any{}, kept...)) {
		t.Fatalf("%q spliced to %q, want %v", in, out, kept)
	}
	if !bytes.Equal(in[:s.Start], out[:s.Start]) || !bytes.Equal(in[s.End:], out[rest.End:]) {
		t.Fatalf("bytes outside changed: %q to %q", in, out)
	}
}

func checkMember(t *testing.T, in []byte, s Span, name string) {
	want := spanTree(t, in, s).(map[string]any)
	out := SetMember(in, s, name, []byte(`{"new":[]}`))
	if _, err := Admit(out, Limits{}); err != nil {
		t.Fatalf("set %q in %q: %q: %v", name, in, out, err)
	}
	want[name] = map[string]any{"new": []any{}}
	rest := Span{s.Start, s.End - (len(in) - len(out))}
	if got := spanTree(t, out, rest); !reflect.DeepEqual(got, want) {
		t.Fatalf("set %q in %q: %q", name, in, out)
	}
	gone := DeleteMember(out, rest, name)
	if _, err := Admit(gone, Limits{}); err != nil {
		t.Fatalf("delete %q from %q: %q: %v", name, out, gone, err)
	}
	delete(want, name)
	if got := spanTree(t, gone, Span{s.Start, rest.End - (len(out) - len(gone))}); !reflect.DeepEqual(got, want) {
		t.Fatalf("delete %q from %q: %q", name, out, gone)
	}
}

// FuzzHelpers feeds the span helpers bytes that nobody admitted.
func FuzzHelpers(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		s, _ := Root(in)
		for _, s := range []Span{s, {0, len(in)}, {-1, len(in) + 1}} {
			for f := range Members(in, s) {
				Member(in, s, f.Name)
				DeleteMember(in, s, f.Name)
				SetMember(in, s, f.Name, []byte("1"))
			}
			for e := range Elements(in, s) {
				String(in, e)
			}
			DeleteElements(in, s, func(i int, _ Span) bool { return i%2 == 0 })
			String(in, s)
			IDFrom(in, s)
		}
		if Check(in, Limits{}) == nil && !json.Valid(in) {
			t.Fatalf("Check accepts %q, encoding/json does not", in)
		}
		var sn sniffer
		sn.write(in)
		sn.verdict()
	})
}

// FuzzReader checks that frames come out as a plain split of the stream would
// give them, however the stream is cut.
func FuzzReader(f *testing.F) {
	f.Add([]byte("a\nbb\r\n\n ccc"), 3)
	f.Add([]byte("{\"id\":1}xxxxxxxx\n2\n"), 2)
	f.Fuzz(func(t *testing.T, in []byte, limit int) {
		limit = max(1, limit%100)
		var want []string
		for _, line := range strings.Split(string(in), "\n") {
			line = strings.TrimSuffix(line, "\r")
			switch {
			case len(line) > limit:
				want = append(want, "!")
			case strings.Trim(line, " \t\r") != "":
				want = append(want, line)
			}
		}
		got, _ := frames(t, bytes.NewReader(in), limit)
		for i, g := range got {
			if strings.HasPrefix(g, "!") && i < len(want) && want[i] == "!" {
				got[i] = "!"
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q limit %d: got %q, want %q", in, limit, got, want)
		}
	})
}
