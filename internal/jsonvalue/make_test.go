package jsonvalue

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wI2L/jsondiff"
)

var documents = flag.Int("diff.documents", 30_000, "pairs of random documents to make patches for")

// randomValue returns a random document; names and scalars repeat, so that
// patches meet equal values in unequal places.
func randomValue(r *rand.Rand, depth int) Value {
	names := []string{"a", "b", "id", "name", "", "/", "~", "é", "0", "-", "list"}
	kind := r.IntN(9)
	if depth == 0 {
		kind = r.IntN(6)
	}
	switch kind {
	case 0:
		return Null()
	case 1:
		return Bool(r.IntN(2) == 0)
	case 2, 3:
		tokens := []string{"0", "1", "-0", "1.0", "1e2", "100", "0.1", "9007199254740993", "9007199254740992", "1e400", "-7"}
		return Value{typ: TypeNumber, text: tokens[r.IntN(len(tokens))]}
	case 4, 5:
		texts := []string{"", "x", "y", "é", "\x00", "a\nb", "\"", "long text to be found again"}
		return Value{typ: TypeString, text: texts[r.IntN(len(texts))]}
	case 6:
		var all []string
		var vals []Value
		for _, i := range r.Perm(len(names))[:r.IntN(5)] {
			all, vals = append(all, names[i]), append(vals, randomValue(r, depth-1))
		}
		return Value{typ: TypeObject, node: newNode(all, vals)}
	}
	vals := make([]Value, r.IntN(7))
	for i := range vals {
		vals[i] = randomValue(r, depth-1)
	}
	return Value{typ: TypeArray, node: newNode(nil, vals)}
}

// unused returns a name that is not among names.
func unused(names []string, name string) string {
	for slices.Contains(names, name) {
		name += "'"
	}
	return name
}

// altered returns v with a few random changes somewhere inside.
func altered(r *rand.Rand, v Value) Value {
	if v.node == nil || r.IntN(6) == 0 {
		return randomValue(r, 2)
	}
	names := append([]string(nil), v.node.names...)
	vals := append([]Value(nil), v.node.vals...)
	for range 1 + r.IntN(2) {
		at := r.IntN(len(vals) + 1)
		switch {
		case at == len(vals) || r.IntN(4) == 0:
			if v.typ == TypeArray {
				vals = append(vals[:at:at], append([]Value{randomValue(r, 2)}, vals[at:]...)...)
			} else {
				names, vals = append(names, unused(names, "new")), append(vals, randomValue(r, 2))
			}
		case r.IntN(3) == 0:
			vals = append(vals[:at:at], vals[at+1:]...)
			if v.typ == TypeObject {
				names = append(names[:at:at], names[at+1:]...)
			}
		case v.typ == TypeObject && r.IntN(4) == 0:
			names[at] = unused(names, "renamed")
		default:
			vals[at] = altered(r, vals[at])
		}
	}
	return Value{typ: v.typ, node: newNode(names, vals)}
}

// checkPatch verifies the promises of MakePatch for one pair.
func checkPatch(before, after Value, p Patch) error {
	a, b := before.String(), after.String()
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	read, err := ParsePatch(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", raw, err)
	}
	got, err := read.Apply(before)
	if err != nil {
		return fmt.Errorf("%s: %w", raw, err)
	}
	if !got.Equal(after) || before.String() != a || after.String() != b {
		return fmt.Errorf("%s gives %v", raw, got)
	}
	// MakePatch tells 1 from 1.0, so nothing more may remain to be patched.
	if rest := MakePatch(got, after); len(rest) != 0 {
		return fmt.Errorf("%s leaves %v", raw, rest)
	}
	for i, o := range p {
		if o.Op == OpRemove || o.Op == OpReplace || o.Op == OpMove {
			at := o.Path
			if o.Op == OpMove {
				at = o.From
			}
			if i == 0 || p[i-1].Op != OpTest || p[i-1].Path != at {
				return fmt.Errorf("%s: operation %d is not preceded by its test", raw, i)
			}
		}
	}
	return nil
}

// checkPreview verifies that each row tells the truth about both documents.
func checkPreview(before, after Value, p Patch) error {
	rows := Preview(before, after)
	changing := 0
	for _, o := range p {
		if o.Op != OpTest {
			changing++
		}
	}
	if changing != len(rows) {
		return fmt.Errorf("%d rows for %d operations", len(rows), changing)
	}
	same := func(doc Value, path string, want Value) bool {
		got, err := doc.At(path)
		return err == nil && got.String() == want.String()
	}
	for _, c := range rows {
		ok := false
		switch c.Op {
		case OpAdd:
			ok = same(after, c.Path, c.To) && !c.From.Present()
		case OpRemove:
			ok = same(before, c.Path, c.From) && !c.To.Present()
		case OpReplace:
			ok = same(before, c.Path, c.From) && c.To.Present()
		case OpMove:
			ok = same(before, c.FromPath, c.From) && same(after, c.Path, c.To)
		}
		if !ok {
			return fmt.Errorf("row %+v is wrong", c)
		}
	}
	return nil
}

func TestMakePatchOnRandomDocuments(t *testing.T) {
	n := *documents
	if testing.Short() {
		n = min(n, 10_000)
	}
	r := rand.New(rand.NewPCG(17, 18))
	for i := range n {
		before := randomValue(r, 4)
		after := altered(r, before)
		if i%5 == 0 {
			after = randomValue(r, 4)
		}
		p, _ := makePatchWith(before, after, 0)
		if err := checkPatch(before, after, p); err != nil {
			t.Fatalf("%v to %v: %v", before, after, err)
		}
		if err := checkPreview(before, after, p); err != nil {
			t.Fatalf("%v to %v: %v", before, after, err)
		}
		if again := MakePatch(decode(t, before.String()), decode(t, after.String())); fmt.Sprint(again) != fmt.Sprint(p) {
			t.Fatalf("%v to %v: two patches, %v and %v", before, after, p, again)
		}
		if i%4 == 0 {
			coarse, _ := makePatchWith(before, after, 1)
			if err := checkPatch(before, after, coarse); err != nil {
				t.Fatalf("%v to %v, no budget: %v", before, after, err)
			}
		}
	}
}

// TestApplyAgreesWithReference applies patches that another program made.
func TestApplyAgreesWithReference(t *testing.T) {
	useNumber := jsondiff.UnmarshalFunc(func(b []byte, v any) error {
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.UseNumber()
		return d.Decode(v)
	})
	r := rand.New(rand.NewPCG(19, 20))
	for range 3000 {
		before := randomValue(r, 4)
		after := altered(r, before)
		for _, options := range [][]jsondiff.Option{{useNumber}, {useNumber, jsondiff.Invertible()}, {useNumber, jsondiff.LCS()}} {
			reference, err := jsondiff.CompareJSON(before.Encode(), after.Encode(), options...)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(reference)
			if err != nil {
				t.Fatal(err)
			}
			if string(raw) == "null" {
				raw = []byte("[]")
			}
			p, err := ParsePatch(raw)
			if err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			if got, err := p.Apply(before); err != nil || !got.Equal(after) {
				t.Fatalf("%v with %s gives %v, %v; want %v", before, raw, got, err, after)
			}
		}
	}
}

func TestMakePatchReads(t *testing.T) {
	for _, c := range []struct{ name, before, after, patch, preview string }{
		{"nothing", `{"a":1,"b":2}`, `{"b":2,"a":1}`, `[]`, `[]`},
		{"another spelling of a number", `[1.50,1e1]`, `[1.5,10.0]`, `[]`, `[]`},
		{"a fraction that was a whole number", `{"v":1}`, `{"v":1.0}`, `[{"op":"test","path":"/v","value":1},{"op":"replace","path":"/v","value":1.0}]`, `[{"op":"replace","path":"/v","from":1,"to":1.0}]`},
		{"members", `{"c":1,"a":2,"k":3}`, `{"b":4,"c":5,"k":3}`,
			`[{"op":"test","path":"/a","value":2},{"op":"remove","path":"/a"},{"op":"add","path":"/b","value":4},{"op":"test","path":"/c","value":1},{"op":"replace","path":"/c","value":5}]`,
			`[{"op":"remove","path":"/a","from":2},{"op":"add","path":"/b","to":4},{"op":"replace","path":"/c","from":1,"to":5}]`},
		{"elements", `["a","b","c"]`, `["c","d"]`,
			`[{"op":"test","path":"/0","value":"a"},{"op":"remove","path":"/0"},{"op":"test","path":"/0","value":"b"},{"op":"remove","path":"/0"},{"op":"add","path":"/1","value":"d"}]`,
			`[{"op":"remove","path":"/0","from":"a"},{"op":"remove","path":"/1","from":"b"},{"op":"add","path":"/1","to":"d"}]`},
		{"an entry known by its id", `[{"id":1,"n":"a"},{"id":2,"n":"b"}]`, `[{"id":3,"n":"c"},{"id":1,"n":"A"},{"id":2,"n":"B"}]`,
			`[{"op":"add","path":"/0","value":{"id":3,"n":"c"}},{"op":"test","path":"/1/n","value":"a"},{"op":"replace","path":"/1/n","value":"A"},{"op":"test","path":"/2/n","value":"b"},{"op":"replace","path":"/2/n","value":"B"}]`,
			`[{"op":"add","path":"/0","to":{"id":3,"n":"c"}},{"op":"replace","path":"/0/n","from":"a","to":"A"},{"op":"replace","path":"/1/n","from":"b","to":"B"}]`},
		{"a renamed object", `{"old":{"x":[1]}}`, `{"new":{"x":[1]}}`,
			`[{"op":"test","path":"/old","value":{"x":[1]}},{"op":"move","from":"/old","path":"/new"}]`,
			`[{"op":"move","path":"/new","fromPath":"/old","from":{"x":[1]},"to":{"x":[1]}}]`},
		{"scalars are not moved", `{"debug":true}`, `{"admin":true}`,
			`[{"op":"add","path":"/admin","value":true},{"op":"test","path":"/debug","value":true},{"op":"remove","path":"/debug"}]`,
			`[{"op":"add","path":"/admin","to":true},{"op":"remove","path":"/debug","from":true}]`},
		{"another type", `{"a":{}}`, `{"a":[]}`, `[{"op":"test","path":"/a","value":{}},{"op":"replace","path":"/a","value":[]}]`, `[{"op":"replace","path":"/a","from":{},"to":[]}]`},
		{"null", `{"a":null}`, `{}`, `[{"op":"test","path":"/a","value":null},{"op":"remove","path":"/a"}]`, `[{"op":"remove","path":"/a","from":null}]`},
		{"the whole", `1`, `{"a":1}`, `[{"op":"test","path":"","value":1},{"op":"replace","path":"","value":{"a":1}}]`, `[{"op":"replace","path":"","from":1,"to":{"a":1}}]`},
	} {
		before, after := decode(t, c.before), decode(t, c.after)
		patch, err := json.Marshal(MakePatch(before, after))
		if err != nil || string(patch) != c.patch {
			t.Errorf("%s: patch %s (%v), want %s", c.name, patch, err, c.patch)
		}
		rows, err := json.Marshal(Preview(before, after))
		if err != nil || string(rows) != c.preview {
			t.Errorf("%s: preview %s (%v), want %s", c.name, rows, err, c.preview)
		}
	}
}

// TestApplyIsBounded: patches that would grow or run without end are refused.
func TestApplyIsBounded(t *testing.T) {
	var doubling Patch
	for i := range 60 {
		doubling = append(doubling, Op{Op: OpCopy, From: "/a", Path: "/a/" + strconv.Itoa(i)})
	}
	var copies Patch
	for i := range 3000 {
		copies = append(copies, Op{Op: OpCopy, From: "/a", Path: "/" + strconv.Itoa(i)})
	}
	var nesting Patch
	for range 8 {
		nesting = append(nesting, Op{Op: OpCopy, From: "", Path: "/a"})
	}
	deep := decode(t, `{"a":`+strings.Repeat("[", 20)+strings.Repeat("]", 20)+`}`)
	var down Patch
	path := ""
	for range 20 {
		path += "/a"
		down = append(down, Op{Op: OpAdd, Path: path, Value: deep})
	}
	for range 90 {
		path += "/a"
		down = append(down, Op{Op: OpAdd, Path: path, Value: deep})
	}
	wide := make([]Value, 300_000)
	for i := range wide {
		wide[i] = Int(int64(i))
	}
	array, err := NewArray(wide)
	if err != nil {
		t.Fatal(err)
	}
	var swinging Patch // each pair moves the whole array back and forth
	for range 50_000 {
		swinging = append(swinging, Op{Op: OpRemove, Path: "/0"}, Op{Op: OpAdd, Path: "/-", Value: Null()})
	}
	for _, c := range []struct {
		name string
		doc  Value
		p    Patch
		want error
	}{
		{"doubling", decode(t, `{"a":{"x":"text"}}`), doubling, ErrTooExpensive},
		{"large copies", decode(t, `{"a":"`+strings.Repeat("x", 1<<20)+`"}`), copies, ErrTooExpensive},
		{"nesting by copy", decode(t, `{"a":`+strings.Repeat("[", 30)+strings.Repeat("]", 30)+`}`), append(nesting, down...), ErrDepth},
		{"nesting by add", decode(t, `{}`), down, ErrDepth},
		{"swinging", array, swinging, ErrTooExpensive},
	} {
		got, err := c.p.Apply(c.doc)
		var failed *PatchError
		if !errors.Is(err, c.want) || !errors.As(err, &failed) || got.Present() {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// BenchmarkPatchWideArray makes and applies a patch that removes every second
// element of a long array and changes others.
func BenchmarkPatchWideArray(b *testing.B) {
	const n = 100_000
	var before, after []Value
	for i := range n {
		before = append(before, Int(int64(i)))
		if i%2 == 0 {
			after = append(after, Int(int64(i)))
		}
		if i%7 == 0 {
			after = append(after, Int(int64(-i)))
		}
	}
	x, _ := NewArray(before)
	y, _ := NewArray(after)
	for b.Loop() {
		p := MakePatch(x, y)
		if got, err := p.Apply(x); err != nil || !got.Equal(y) {
			b.Fatal(err)
		}
	}
}

// BenchmarkMakePatchShuffled aligns two orders of the same objects.
func BenchmarkMakePatchShuffled(b *testing.B) {
	r := rand.New(rand.NewPCG(21, 22))
	vals := make([]Value, 100_000)
	for i := range vals {
		vals[i] = Value{typ: TypeObject, node: newNode([]string{"kind", "n"}, []Value{Int(int64(i % 50)), Int(int64(r.IntN(50)))})}
	}
	x, _ := NewArray(append([]Value(nil), vals...))
	r.Shuffle(len(vals), func(i, j int) { vals[i], vals[j] = vals[j], vals[i] })
	y, _ := NewArray(vals)
	for b.Loop() {
		MakePatch(x, y)
	}
}

func FuzzMakePatch(f *testing.F) {
	f.Add([]byte(`{"a":[1,2,3],"b":{"c":null}}`), []byte(`{"a":[2,3,4],"d":{"c":null}}`), 0)
	f.Add([]byte(`[{"id":1},{"id":2}]`), []byte(`[{"id":2},{"id":1},1.0]`), 3)
	f.Fuzz(func(t *testing.T, x, y []byte, budget int) {
		before, err := Decode(x)
		if err != nil {
			return
		}
		after, err := Decode(y)
		if err != nil {
			return
		}
		p, _ := makePatchWith(before, after, budget)
		if err := checkPatch(before, after, p); err != nil {
			t.Fatal(err)
		}
		if budget <= 0 {
			if err := checkPreview(before, after, p); err != nil {
				t.Fatal(err)
			}
		}
	})
}
