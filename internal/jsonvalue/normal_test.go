package jsonvalue

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNormal(t *testing.T) {
	shape := Shape{
		Ignore: []string{"/updated_at", "/items/*/seen", "/a~1b"},
		Keys:   map[string]string{"/items": "id", "/deep/*/list": "n"},
	}
	for _, c := range []struct{ name, in, want, unkeyed string }{
		{"members are sorted", `{"b":1,"a":{"d":1,"c":2}}`, `{"a":{"c":2,"d":1},"b":1}`, ""},
		{"a scalar", `"x"`, `"x"`, ""},
		{"ignored members", `{"updated_at":"now","x":{"updated_at":1},"a/b":2,"a":1}`, `{"a":1,"x":{"updated_at":1}}`, ""},
		{"ignored in elements, keyed by number", `{"items":[{"id":2,"seen":1},{"id":10,"seen":2},{"id":1}]}`, `{"items":[{"id":1},{"id":10},{"id":2}]}`, ""},
		{"1 and 1.0 are one key", `{"items":[{"id":1},{"id":1.0}]}`, `{"items":[{"id":1},{"id":1}]}`, "/items"},
		{"an element without the key", `{"items":[{"id":2},{"x":1}]}`, `{"items":[{"id":2},{"x":1}]}`, "/items"},
		{"a key that is no name", `{"items":[{"id":[2]},{"id":null}]}`, `{"items":[{"id":[2]},{"id":null}]}`, "/items"},
		{"below any name", `{"deep":{"q":{"list":[{"n":"b"},{"n":"a"}]},"r":{"list":[{"n":"b"},{}]}}}`,
			`{"deep":{"q":{"list":[{"n":"a"},{"n":"b"}]},"r":{"list":[{"n":"b"},{}]}}}`, "/deep/r/list"},
		{"a keyed place that is no array", `{"items":{"b":1,"a":2}}`, `{"items":{"a":2,"b":1}}`, ""},
		{"other arrays keep their order", `{"list":[3,1,2]}`, `{"list":[3,1,2]}`, ""},
		{"numbers by value", `[1.0,1e2,-0,-0.0,0.10,1E-3,12.50e1,9007199254740993,1e400,-1.5e-50]`,
			`[1,100,0,0,0.1,0.001,125,9007199254740993,1e400,-1.5e-50]`, ""},
	} {
		v, err := Decode([]byte(c.in))
		if err != nil {
			t.Fatal(err)
		}
		got, unkeyed, err := shape.Normal(v)
		if err != nil || got.String() != c.want || strings.Join(unkeyed, " ") != c.unkeyed {
			t.Errorf("%s\n%s\ngot  %s, unkeyed %v, %v\nwant %s, unkeyed %s", c.name, c.in, got, unkeyed, err, c.want, c.unkeyed)
		}
	}
	if _, _, err := (Shape{Ignore: []string{"x"}}).Normal(Null()); err == nil {
		t.Error("a pointer without a slash is taken")
	}
}

// TestPlainNumberIsExact: each value has one spelling, with exactly that value.
func TestPlainNumberIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		token := rapid.StringMatching(`-?(0|[1-9][0-9]{0,45})(\.[0-9]{1,45})?([eE][+-]?[0-9]{1,3})?`).Draw(t, "number")
		got := plainNumber(token)
		v, err := Number(got)
		if err != nil {
			t.Fatalf("%s becomes %s: %v", token, got, err)
		}
		w, _ := Number(token)
		if !v.Equal(w) {
			t.Fatalf("%s becomes %s, another value", token, got)
		}
		if again := plainNumber(got); again != got {
			t.Fatalf("%s becomes %s, then %s", token, got, again)
		}
		// Another spelling of the same value ends as the same text.
		d := decimalOf(token)
		if d.digits != "" {
			other := fmt.Sprintf("%se%d", d.digits, d.exp-int64(len(d.digits)))
			if d.negative {
				other = "-" + other
			}
			if p := plainNumber(other); p != got {
				t.Fatalf("%s becomes %s, but %s becomes %s", token, got, other, p)
			}
		}
	})
}

// TestNormalIgnoresOrder: shuffling members and keyed arrays changes nothing, and a
// normal form stays as it is.
func TestNormalIgnoresOrder(t *testing.T) {
	shape := Shape{Keys: map[string]string{"/items": "id"}}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 6).Draw(t, "n")
		items := make([]Value, n)
		for i := range items {
			items[i] = mustObject(Member{"id", Int(int64(i))}, Member{"v", anyValue(t, 2)})
		}
		mix := rapid.Permutation(items).Draw(t, "mixed")
		build := func(list []Value, swap bool) Value {
			arr, _ := Array(list...)
			m := []Member{{"items", arr}, {"z", Null()}}
			if swap {
				slices.Reverse(m)
			}
			return mustObject(m...)
		}
		a, _, err := shape.Normal(build(items, false))
		if err != nil {
			t.Fatal(err)
		}
		b, unkeyed, _ := shape.Normal(build(mix, true))
		if !bytes.Equal(a.Encode(), b.Encode()) || len(unkeyed) > 0 {
			t.Fatalf("differ:\n%s\n%s\nunkeyed %v", a, b, unkeyed)
		}
		if again, _, _ := shape.Normal(a); again.String() != a.String() {
			t.Fatalf("not stable:\n%s\n%s", a, again)
		}
	})
}

// TestPruningChangesNoRow: what is pruned beforehand would not be in any
// row.
func TestPruningChangesNoRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := anyValue(t, 4)
		b := anyValue(t, 4)
		if rapid.Bool().Draw(t, "alike") && a.Type() == TypeObject {
			b = MergePatch(a, anyValue(t, 3))
		}
		p, rows, coarse := Compare(a, b)
		want, err := MakePatch(a, b).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.MarshalJSON()
		if err != nil || string(got) != string(want) || coarse {
			t.Fatalf("before %s\nafter  %s\ngot  %s, %v\nwant %s", a, b, got, err, want)
		}
		if x, y := fmt.Sprint(rows), fmt.Sprint(Preview(a, b)); x != y {
			t.Fatalf("before %s\nafter  %s\ngot  %s\nwant %s", a, b, x, y)
		}
	})
}

func mustObject(m ...Member) Value {
	v, err := Object(m...)
	if err != nil {
		panic(err)
	}
	return v
}

// anyValue draws a document with escapes, long integers, nulls and nested arrays.
func anyValue(t *rapid.T, depth int) Value {
	max := 6
	if depth == 0 {
		max = 4
	}
	switch rapid.IntRange(0, max).Draw(t, "type") {
	case 0:
		return Null()
	case 1:
		return Bool(rapid.Bool().Draw(t, "bool"))
	case 2, 3:
		if rapid.Bool().Draw(t, "number") {
			v, err := Number(rapid.SampledFrom([]string{"0", "-1", "1.5", "9007199254740993", "123456789012345678901234567890", "1e5", "0.1", "-2.50"}).Draw(t, "token"))
			if err != nil {
				panic(err)
			}
			return v
		}
		fallthrough
	case 4:
		v, err := String(rapid.SampledFrom([]string{"", "a", "~0/~1", "\"\\\n\u2028", "é", "\x00"}).Draw(t, "text"))
		if err != nil {
			panic(err)
		}
		return v
	case 5:
		list := make([]Value, rapid.IntRange(0, 4).Draw(t, "len"))
		for i := range list {
			list[i] = anyValue(t, depth-1)
		}
		v, _ := Array(list...)
		return v
	}
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"", "a", "b", "a/b", "~", "~1", "id", "\"", "-", "0"}), 0, 5, rapid.ID[string]).Draw(t, "names")
	m := make([]Member, len(names))
	for i, name := range names {
		m[i] = Member{name, anyValue(t, depth-1)}
	}
	return mustObject(m...)
}

// records is a document of about size bytes; every n-th element differs by seed.
func records(size, every, seed int) Value {
	var w bytes.Buffer
	w.WriteString(`{"stage":"lead","items":[`)
	for i := 0; w.Len() < size; i++ {
		if i > 0 {
			w.WriteByte(',')
		}
		price := i
		if every > 0 && i%every == 0 {
			price += seed
		}
		fmt.Fprintf(&w, `{"id":%d,"name":"item number %d","price":%d.50,"tags":["a","b",null],"at":{"x":%d,"y":"\u00e9\n"}}`, i, i, price, i)
	}
	w.WriteString(`]}`)
	v, err := Decode(w.Bytes())
	if err != nil {
		panic(err)
	}
	return v
}

// BenchmarkRecords: the patch of two documents that were read apart, one in a
// hundred elements of which differs, with what makes them comparable.
func BenchmarkRecords(b *testing.B) {
	for _, size := range []int{1 << 20, 10 << 20} {
		before, after := records(size, 100, 0), records(size, 100, 1)
		b.Run(fmt.Sprintf("%dMiB", size>>20), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x, y, _, err := Shape{}.NormalPair(before, after)
				if err != nil {
					b.Fatal(err)
				}
				if p, _, coarse := Compare(x, y); len(p) == 0 || coarse {
					b.Fatal(len(p), coarse)
				}
			}
		})
	}
}

// TestSharingChangesNothing: two separately parsed documents with much in common
// give the same results together as each alone, whatever is shared on the way.
func TestSharingChangesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	apart := func(v Value) Value {
		w, err := Decode(v.Encode())
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	shapes := []Shape{{}, {Ignore: []string{"/a", "/*/b"}, Keys: map[string]string{"/list": "id", "/*/list": "name"}}, {Keys: map[string]string{"": "id"}}}
	n, shared := 3000, 0
	for i := range n {
		vals := make([]Value, 1+r.IntN(6))
		for j := range vals {
			vals[j] = Value{typ: TypeObject, node: newNode([]string{"name", "id", "more"}, []Value{{typ: TypeString, text: strings.Repeat("x", r.IntN(90))}, Int(int64(j)), randomValue(r, 4)})}
		}
		list := Value{typ: TypeArray, node: newNode(nil, vals)}
		before := Value{typ: TypeObject, node: newNode([]string{"list", "a"}, []Value{list, randomValue(r, 3)})}
		after := before
		for range r.IntN(3) {
			after = altered(r, after)
		}
		before, after = apart(before), apart(after)
		shape := shapes[i%len(shapes)]
		x, y, unkeyed, err := shape.NormalPair(before, after)
		if err != nil {
			t.Fatal(err)
		}
		wantX, first, _ := shape.Normal(before)
		wantY, second, _ := shape.Normal(after)
		both := slices.Compact(slices.Sorted(slices.Values(append(first, second...))))
		if x.String() != wantX.String() || y.String() != wantY.String() || !slices.Equal(unkeyed, both) {
			t.Fatalf("%s\n%s\ngive %s %v\n     %s %v\nwant %s\n     %s", before, after, x, unkeyed, y, both, wantX, wantY)
		}
		if x.Len() > 0 && y.Len() > 0 && x.node.vals[x.Len()-1].node != nil && x.node.vals[x.Len()-1].node == y.node.vals[y.Len()-1].node {
			shared++
		}
		got, rows, coarse := Compare(x, y)
		want, wantRows, wantCoarse := Compare(apart(wantX), apart(wantY))
		if fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(rows) != fmt.Sprint(wantRows) || coarse != wantCoarse {
			t.Fatalf("%s\n%s\ngive %v\nwant %v", x, y, got, want)
		}
		if z, err := got.Apply(x); err != nil || !z.Equal(y) {
			t.Fatalf("%s\n%s\n%v gives %s, %v", x, y, got, z, err)
		}
	}
	if shared < n/20 {
		t.Errorf("only %d of %d pairs share anything", shared, n)
	}
}
