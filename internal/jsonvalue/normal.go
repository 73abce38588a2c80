package jsonvalue

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Shape says what counts when two states of a document are compared. Ignore and the
// keys of Keys are JSON Pointers in which * matches any one token. The zero Shape
// leaves nothing out.
type Shape struct {
	Ignore []string          // members that are left out
	Keys   map[string]string // arrays whose order does not count → the member that identifies their elements
}

// Normal returns the normal form of v under the shape: members sorted by name in
// byte order, numbers in one spelling of their exact value, keyed arrays sorted by
// key, and ignored members left out. Documents that differ in nothing that counts
// have the same encoding.
//
// unkeyed lists, as pointers into v, keyed arrays that keep their order because an
// element lacks the member or two elements share its value.
func (s Shape) Normal(v Value) (n Value, unkeyed []string, err error) {
	n, _, unkeyed, err = s.NormalPair(v, Value{})
	return n, unkeyed, err
}

// NormalPair is Normal for two states of one document. Work on shared parts is done
// once, and the results share them too. An absent value stays absent.
func (s Shape) NormalPair(before, after Value) (a, b Value, unkeyed []string, err error) {
	z := normalizer{done: make(map[*node]Value, min(before.count()/8, 1<<18)), steps: addWeight(before.Weight(), after.Weight())}
	var live []rule
	for _, p := range s.Ignore {
		if err := enter(&live, p, rule{ignore: true}); err != nil {
			return Value{}, Value{}, nil, err
		}
	}
	for p, member := range s.Keys {
		if err := enter(&live, p, rule{member: member}); err != nil {
			return Value{}, Value{}, nil, err
		}
	}
	a = z.value(before, live, nil, Value{})
	b = z.value(after, live, nil, before)
	slices.Sort(z.unkeyed)
	return a, b, slices.Compact(z.unkeyed), nil
}

// rule is a pointer of a shape while descending a document.
type rule struct {
	rest   []string
	ignore bool
	member string
}

func enter(live *[]rule, pointer string, r rule) error {
	tokens, err := ParsePointer(pointer)
	if err != nil {
		return fmt.Errorf("reading a shape: %w", err)
	}
	r.rest = tokens
	*live = append(*live, r)
	return nil
}

type normalizer struct {
	unkeyed []string
	done    map[*node]Value // containers that no rule reaches
	steps   int             // left for detecting that two values are the same

	recent [8]nameOrder // of the previous objects
	next   int          // the index in recent to replace next
}

// worthKeeping is the weight from which the result for a container is cached.
const worthKeeping = 64

// value normalizes v. live are the rules that may still apply at or below it; path
// is kept only for them. like is a value at the same position in the other
// document: if both are written the same, they share the result.
func (z *normalizer) value(v Value, live []rule, path []string, like Value) Value {
	switch v.typ {
	case TypeNumber:
		return Value{typ: TypeNumber, text: plainNumber(v.text)}
	case TypeObject, TypeArray:
	default:
		return v
	}
	keep := live == nil && v.node.weight >= worthKeeping
	if keep {
		if n, ok := z.done[v.node]; ok {
			return n
		}
		if n, ok := z.done[like.node]; ok && z.identical(v, like) {
			return n
		}
	}
	var n Value
	if v.typ == TypeObject {
		n = z.object(v, live, path, like)
	} else {
		n = z.array(v, live, path, like)
	}
	if keep {
		z.done[v.node] = n
	}
	return n
}

// below returns the rules that apply to a child.
func below(live []rule, token string) (kids []rule, ignored bool) {
	for _, r := range live {
		if len(r.rest) == 0 || r.rest[0] != "*" && r.rest[0] != token {
			continue
		}
		r.rest = r.rest[1:]
		ignored = ignored || r.ignore && len(r.rest) == 0
		kids = append(kids, r)
	}
	return kids, ignored
}

// neighbours finds, for the children of one container in turn, the children at the
// same position in another one.
type neighbours struct {
	v     Value
	moved bool // a child of an array was not at the same index as its twin
}

// of returns the index of the child that matches child i of v, or -1. Children of
// an object are found only if both have them in the same order.
func (b *neighbours) of(v Value, i int) int {
	if b.v.node == nil || b.v.typ != v.typ {
		return -1
	}
	if v.typ == TypeObject {
		if i < len(b.v.node.names) && b.v.node.names[i] == v.node.names[i] {
			return i
		}
		return -1
	}
	j := i
	if b.moved {
		j += len(b.v.node.vals) - len(v.node.vals)
	} else if len(b.v.node.vals) != len(v.node.vals) && (i >= len(b.v.node.vals) || b.v.node.vals[i].Weight() != v.node.vals[i].Weight()) {
		b.moved = true // from here on, match by distance from the end
		j += len(b.v.node.vals) - len(v.node.vals)
	}
	if j < 0 || j >= len(b.v.node.vals) {
		return -1
	}
	return j
}

// child returns the child at the index that of finds, or absent.
func (b *neighbours) child(v Value, i int) Value {
	if v.node.vals[i].node == nil {
		return Value{}
	}
	if j := b.of(v, i); j >= 0 {
		return b.v.node.vals[j]
	}
	return Value{}
}

// identical reports whether two values are written the same, as long as the step
// budget lasts.
func (z *normalizer) identical(a, b Value) bool {
	if z.steps--; z.steps < 0 || a.typ != b.typ || a.text != b.text || a.Weight() != b.Weight() {
		return false
	}
	if a.node == b.node {
		return true
	}
	if len(a.node.vals) != len(b.node.vals) || !slices.Equal(a.node.names, b.node.names) {
		return false
	}
	for i, v := range a.node.vals {
		if !z.identical(v, b.node.vals[i]) {
			return false
		}
	}
	return true
}

func (z *normalizer) object(v Value, live []rule, path []string, like Value) Value {
	order, sorted := z.sorted(v.node.names)
	if live == nil {
		vals := make([]Value, len(sorted))
		beside := neighbours{v: like}
		for at, i := range order {
			vals[at] = z.value(v.node.vals[i], nil, nil, beside.child(v, i))
		}
		return Value{typ: TypeObject, node: newNode(sorted, vals)}
	}
	names, vals := make([]string, 0, len(v.node.names)), make([]Value, 0, len(v.node.names))
	beside := neighbours{v: like}
	for _, i := range order {
		name := v.node.names[i]
		kids, ignored := below(live, name)
		if ignored {
			continue
		}
		names, vals = append(names, name), append(vals, z.value(v.node.vals[i], kids, step(path, kids, name), beside.child(v, i)))
	}
	return Value{typ: TypeObject, node: newNode(names, vals)}
}

// nameOrder is the sort order of an object's names, and the sorted names.
type nameOrder struct {
	names  []string
	order  []int
	sorted []string
}

// sorted returns the sort order of names. Objects often have the names of a recent
// one and then share the result.
func (z *normalizer) sorted(names []string) (order []int, sorted []string) {
	for i := range z.recent {
		if r := &z.recent[i]; len(r.names) == len(names) && slices.Equal(r.names, names) {
			return r.order, r.sorted
		}
	}
	order = make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(names[a], names[b]) })
	sorted = make([]string, len(names))
	for at, i := range order {
		sorted[at] = names[i]
	}
	z.recent[z.next%len(z.recent)] = nameOrder{names, order, sorted}
	z.next++
	return order, sorted
}

// step extends the path if a rule may still need it.
func step(path []string, kids []rule, token string) []string {
	if kids == nil {
		return nil
	}
	return append(path[:len(path):len(path)], token)
}

func (z *normalizer) array(v Value, live []rule, path []string, like Value) Value {
	vals := make([]Value, len(v.node.vals))
	beside := neighbours{v: like}
	for i, e := range v.node.vals {
		var kids []rule
		token := ""
		if live != nil {
			token = strconv.Itoa(i)
			kids, _ = below(live, token) // only members are left out: dropping an element would shift the others
		}
		vals[i] = z.value(e, kids, step(path, kids, token), beside.child(v, i))
	}
	for _, r := range live {
		if len(r.rest) == 0 && r.member != "" {
			if !sortByMember(vals, r.member) {
				z.unkeyed = append(z.unkeyed, FormatPointer(path...))
			}
			break
		}
	}
	return Value{typ: TypeArray, node: newNode(nil, vals)}
}

// sortByMember sorts normal elements by a member that each has and no two share;
// otherwise it keeps their order.
func sortByMember(vals []Value, member string) bool {
	type entry struct {
		key []byte
		v   Value
	}
	list := make([]entry, len(vals))
	for i, v := range vals {
		key := v.Member(member)
		if key.typ != TypeString && key.typ != TypeNumber {
			return false
		}
		list[i] = entry{key.Encode(), v}
	}
	slices.SortFunc(list, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	for i := 1; i < len(list); i++ {
		if bytes.Equal(list[i-1].key, list[i].key) {
			return false
		}
	}
	for i := range list {
		vals[i] = list[i].v
	}
	return true
}

// maxPlainDigits is the maximum number of digits of a number that is written
// without an exponent.
const maxPlainDigits = 40

// plainNumber returns the single spelling of a number's exact value: a plain whole
// number or fraction if short enough, else digits with an exponent. Every digit is
// kept.
func plainNumber(token string) string {
	if len(token) <= maxPlainDigits && !strings.ContainsAny(token, ".eE") && token != "-0" {
		return token // JSON has no other spelling of it without fraction and exponent
	}
	d := decimalOf(token)
	if d.digits == "" {
		return "0"
	}
	sign := ""
	if d.negative {
		sign = "-"
	}
	n := int64(len(d.digits))
	switch {
	case d.exp >= n && d.exp <= maxPlainDigits:
		return sign + d.digits + strings.Repeat("0", int(d.exp-n))
	case d.exp > 0 && d.exp < n && n <= maxPlainDigits:
		return sign + d.digits[:d.exp] + "." + d.digits[d.exp:]
	case d.exp <= 0 && n-d.exp <= maxPlainDigits:
		return sign + "0." + strings.Repeat("0", int(-d.exp)) + d.digits
	case n == 1:
		return fmt.Sprintf("%s%se%d", sign, d.digits, d.exp-1)
	}
	return fmt.Sprintf("%s%s.%se%d", sign, d.digits[:1], d.digits[1:], d.exp-1)
}

// Compare returns the results of MakePatch and Preview from one comparison. coarse
// says that the budget was too small for minimal changes to arrays.
func Compare(before, after Value) (p Patch, rows []Change, coarse bool) {
	a, b, same := prune(before, after)
	if same {
		return nil, []Change{}, false
	}
	c := compareValues(a, b, 0)
	return c.patch, append([]Change{}, c.changes...), c.coarse
}

// prune removes from two objects what is the same in both, at every depth down to
// the first array: no row mentions it, and detecting that it is the same is cheaper
// than comparing it. same may miss values that are equal but written differently.
func prune(a, b Value) (x, y Value, same bool) {
	if a.typ != TypeObject || b.typ != TypeObject {
		return a, b, identical(a, b)
	}
	if a.node == b.node {
		return a, b, true
	}
	same = len(a.node.names) == len(b.node.names)
	var place map[string]int // needed only if the orders differ
	var outA, outB []Member
	inBoth := make([]bool, len(b.node.names))
	for i, name := range a.node.names {
		j, ok := i, i < len(b.node.names) && b.node.names[i] == name
		if !ok {
			same = false
			if place == nil {
				place = b.index()
			}
			j, ok = place[name]
		}
		if !ok {
			outA = append(outA, Member{name, a.node.vals[i]})
			continue
		}
		inBoth[j] = true
		if p, q, equal := prune(a.node.vals[i], b.node.vals[j]); !equal {
			same = false
			outA, outB = append(outA, Member{name, p}), append(outB, Member{name, q})
		}
	}
	if same {
		return a, b, true
	}
	for j, name := range b.node.names {
		if !inBoth[j] {
			outB = append(outB, Member{name, b.node.vals[j]})
		}
	}
	return objectOf(outA), objectOf(outB), false
}

func objectOf(members []Member) Value {
	names, vals := make([]string, len(members)), make([]Value, len(members))
	for i, m := range members {
		names[i], vals[i] = m.Name, m.Value
	}
	return Value{typ: TypeObject, node: newNode(names, vals)}
}

// identical reports whether two values are written the same.
func identical(a, b Value) bool {
	if a.typ != b.typ || a.text != b.text || (a.node == nil) != (b.node == nil) {
		return false
	}
	if a.node == b.node {
		return true
	}
	if a.node.weight != b.node.weight || len(a.node.vals) != len(b.node.vals) || !slices.Equal(a.node.names, b.node.names) {
		return false
	}
	for i, v := range a.node.vals {
		if !identical(v, b.node.vals[i]) {
			return false
		}
	}
	return true
}
