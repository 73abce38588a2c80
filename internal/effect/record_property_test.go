package effect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// TestRecordPatchIsTheChange: for any two documents, the shown patch turns the
// record before into the record after, in the form that is compared; reading back
// after is Verified, and any other state gives exactly its difference. Run with
// -rapid.checks=100000 for the long form.
func TestRecordPatchIsTheChange(t *testing.T) {
	shape := jsonvalue.Shape{Ignore: []string{"/~1"}, Keys: map[string]string{"": "id", "/list": "id", "/*/list": "name"}}
	bindings := map[string]*Binding{}
	for _, kind := range []string{JSONReplace, JSONMerge, JSONPatch} {
		bindings[kind] = compile(t, recordSpecOf(kind, func(r *RecordSpec) { r.Shape, r.At, r.Create = shape, "/r", kind != JSONPatch }))
	}
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		before, after, other := anyRecord(r, 3), anyRecord(r, 3), anyRecord(r, 3)
		kind := []string{JSONReplace, JSONMerge, JSONPatch}[r.IntN(3)]
		change, want := after, after
		switch kind {
		case JSONMerge:
			for change.Type() != jsonvalue.TypeObject {
				change = anyRecord(r, 3)
			}
			want = jsonvalue.MergePatch(before, change)
		case JSONPatch:
			if before.Type() == jsonvalue.TypeNull {
				return
			}
			raw, err := jsonvalue.MakePatch(before, after).MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if change, err = jsonvalue.Decode(raw); err != nil {
				return // wrapping it in a patch nests it too deeply
			}
		}
		// serverMade has its own test: here both sides agree on it.
		if same := before.Member("/").Equal(want.Member("/")); !same && (want.Member("/").Present() || kind != JSONReplace && want.Type() == jsonvalue.TypeObject) {
			return
		}
		in := Input{Call: guard.ToolCall{Tool: "t", Args: []byte(`{"id":1,"change":` + change.String() + `}`)}}
		in.Vars = decoded(in.Call.Args)
		if in.Vars == nil {
			return
		}
		in.Reader = &shelf{doc: `{"r":` + before.String() + `}`}
		ctx := context.Background()
		b := bindings[kind]
		targets, err := b.Resolve(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		p, err := b.Plan(ctx, in, targets)
		if err != nil {
			t.Fatalf("%s\nbefore %s\nchange %s\n%v", kind, before, change, err)
		}
		a, _, err := shape.Normal(noNull(before))
		if err != nil {
			t.Fatal(err)
		}
		z, _, err := shape.Normal(noNull(want))
		if err != nil {
			t.Fatal(err)
		}
		patch, err := jsonvalue.ParsePatch(p.Change.Patch)
		if err != nil {
			t.Fatalf("the patch is not valid: %v\n%s", err, p.Change.Patch)
		}
		got, err := patch.Apply(a) // null stands for no record
		if err != nil || !bytes.Equal(sorted(noNull(got)), z.Encode()) {
			t.Fatalf("%s\nbefore %s\nafter  %s\npatch  %s\ngives  %s, %v", kind, a, z, p.Change.Patch, got, err)
		}
		if f := Verify(ctx, &shelf{doc: `{"r":` + want.String() + `}`}, p.Effects); f.Result != guard.Verified {
			t.Fatalf("%s\nwant %s\n%+v", kind, want, f)
		}
		found, _, err := shape.Normal(noNull(other))
		if err != nil {
			t.Fatal(err)
		}
		f := Verify(ctx, &shelf{doc: `{"r":` + other.String() + `}`}, p.Effects)
		if same := bytes.Equal(found.Encode(), z.Encode()); same != (f.Result == guard.Verified) {
			t.Fatalf("%s\nwant  %s\nfound %s\n%+v", kind, z, found, f)
		}
		if f.Difference != nil && found.Present() {
			d, err := jsonvalue.ParsePatch(f.Difference)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := d.Apply(z); err != nil || !bytes.Equal(sorted(got), found.Encode()) {
				t.Fatalf("the difference %s\nturns %s\ninto  %s, %v\nwant  %s", f.Difference, z, got, err, found)
			}
		}
	})
}

// sorted encodes a document with its members in order.
func sorted(v jsonvalue.Value) []byte {
	v, _, err := jsonvalue.Shape{}.Normal(v)
	if err != nil {
		panic(err)
	}
	return v.Encode()
}

// decoded returns the arguments as expressions see them, or nil if they contain a
// number that is not admitted.
func decoded(raw []byte) *expr.Vars {
	args, err := expr.DecodeArgs(raw)
	if err != nil {
		return nil
	}
	return &expr.Vars{Args: args}
}

// anyRecord makes a document with escapes, long integers, nulls and nested
// arrays.
func anyRecord(r *rand.Rand, depth int) jsonvalue.Value {
	kind := r.IntN(9)
	if depth == 0 {
		kind = r.IntN(5)
	}
	text := func(list ...string) jsonvalue.Value {
		v, err := jsonvalue.String(list[r.IntN(len(list))])
		if err != nil {
			panic(err)
		}
		return v
	}
	switch kind {
	case 0:
		return jsonvalue.Null()
	case 1:
		return jsonvalue.Bool(r.IntN(2) == 0)
	case 2:
		tokens := []string{"0", "1", "1.0", "-0", "1e2", "9007199254740993", "-9223372036854775808", "0.1", "2.50"}
		v, err := jsonvalue.Number(tokens[r.IntN(len(tokens))])
		if err != nil {
			panic(err)
		}
		return v
	case 3, 4:
		return text("", "a", "b", "~1/~0", "\"\\\n\u2028", "é", "\x00")
	case 5, 6:
		list := make([]jsonvalue.Value, r.IntN(5))
		for i := range list {
			list[i] = anyRecord(r, depth-1)
		}
		v, err := jsonvalue.Array(list...)
		if err != nil {
			panic(err)
		}
		return v
	}
	names := []string{"", "a", "b", "id", "name", "list", "/", "~", "é", "0", "-"}
	var list []jsonvalue.Member
	for _, i := range r.Perm(len(names))[:r.IntN(6)] {
		list = append(list, jsonvalue.Member{Name: names[i], Value: anyRecord(r, depth-1)})
	}
	v, err := jsonvalue.Object(list...)
	if err != nil {
		panic(err)
	}
	return v
}

// FuzzAnswer: no result of a server breaks the guard, and what is taken from one is
// a document that parses as the same value.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"structuredContent":{"a":[1,null]}}`))
	f.Add([]byte(`{"content":[{"type":"text","text":"{\"a\":1}"}]}`))
	f.Add([]byte(`{"content":[{"type":"text","text":"\ud800"}],"structuredContent":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return // admission lets nothing else through
		}
		v, err := Answer(raw)
		if err != nil {
			return
		}
		again, err := jsonvalue.Decode(v.Encode())
		if err != nil || again.String() != v.String() {
			t.Fatalf("%s is taken for %s, which reads as %s, %v", raw, v, again, err)
		}
		if x, err := Plain(v); err == nil {
			if _, err := json.Marshal(x); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// BenchmarkRecordPlan measures a preview without the server's own read.
func BenchmarkRecordPlan(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20, 10 << 20} {
		var w bytes.Buffer
		w.WriteString(`{"contact":{"stage":"lead","items":[`)
		for i := 0; w.Len() < size; i++ {
			if i > 0 {
				w.WriteByte(',')
			}
			fmt.Fprintf(&w, `{"id":%d,"name":"item number %d","price":%d.50,"tags":["a","b",null],"at":{"x":%d,"y":"é\n"}}`, i, i, i, i)
		}
		w.WriteString(`]}}`)
		bind := compile(b, recordSpecOf(JSONMerge, nil))
		in := input(b, m{"id": "c1", "change": m{"stage": "won", "note": "x"}})
		in.Reader = &shelf{doc: w.String()}
		targets, err := bind.Resolve(context.Background(), in)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(w.Len()))
			b.ReportAllocs()
			for b.Loop() {
				if p, err := bind.Plan(context.Background(), in, targets); err != nil || p.Change.Added != 2 {
					b.Fatal(p.Summary, err)
				}
			}
		})
	}
}
