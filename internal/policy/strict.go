package policy

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// walker is a schema as a graph with references resolved. It answers two questions
// that the schema library does not: which members a schema does not name, when
// `additionalProperties` is left out and across allOf, anyOf and references; and
// how much work a check would be. It is immutable.
//
// A schema that names some members is taken to name all of them. One that names
// none describes a free-form object, as real servers use for settings, rows and
// queries, and accepts any member.
type walker struct {
	root   *snode
	nodes  int
	costly bool // references: work may multiply
	unique bool // uniqueItems: work may square

	doc   any
	byID  map[uintptr]*snode
	names map[string]map[string]any // $anchor → schema
	clock *regexpClock
}

// snode is one schema.
type snode struct {
	names      bool // names members, or forbids all others
	other      bool // no object fits it: it is for other types
	open       bool // allows members that it does not name
	closed     bool // names members, by itself or through a schema for the same value
	props      map[string]*snode
	required   []string // members that it requires, and so names
	patterns   []pattern
	additional []*snode
	inPlace    []*snode   // schemas that apply to the same value
	choices    [][]*snode // of inPlace, those of anyOf and oneOf: one of each must fit
	aside      []*snode   // like inPlace, but members that they name are not thereby allowed
	prefix     []*snode
	rest       []*snode
}

type pattern struct {
	re jsonschema.Regexp
	n  *snode
}

func newWalker(doc any, clock *regexpClock) (*walker, error) {
	w := &walker{doc: doc, byID: map[uintptr]*snode{}, names: map[string]map[string]any{}, clock: clock}
	if err := w.anchors(doc, 0); err != nil {
		return nil, err
	}
	var err error
	if w.root, err = w.build(doc, 0); err != nil {
		return nil, err
	}
	w.close()
	return w, nil
}

// close computes which schemas allow only named members, including through cyclic
// references: those that name some themselves, those that must hold together with
// such a schema, and those that offer an object only such schemas.
func (w *walker) close() {
	type group struct {
		owner *snode
		left  int // its schemas that an object may fit and that are not closed
	}
	of := map[*snode][]*group{} // the groups that each schema is in
	var todo []*snode
	shut := func(n *snode) {
		if !n.closed {
			n.closed = true
			todo = append(todo, n)
		}
	}
	for _, n := range w.byID {
		chosen := map[*snode]bool{}
		for _, list := range n.choices {
			g := &group{owner: n}
			for _, x := range list {
				chosen[x] = true
				if !x.other {
					g.left++
					of[x] = append(of[x], g)
				}
			}
		}
		for _, x := range n.inPlace {
			if !chosen[x] {
				of[x] = append(of[x], &group{n, 1})
			}
		}
		if n.names {
			shut(n)
		}
	}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, g := range of[n] {
			if g.left--; g.left == 0 {
				shut(g.owner)
			}
		}
	}
}

// anchors collects names that references may use. A schema below the root with its
// own base is refused, as references inside it would mean something else.
func (w *walker) anchors(v any, depth int) error {
	if depth > maxSchemaDepth {
		return errors.New("the tool's schema is nested too deeply")
	}
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			if err := w.anchors(x, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, k := range []string{"$anchor", "$dynamicAnchor"} {
			if name, ok := v[k].(string); ok {
				w.names[name] = v
			}
		}
		for _, k := range []string{"$id", "id"} {
			id, ok := v[k].(string)
			if _, ref := v["$ref"]; ok && depth > 0 && ref && !strings.HasPrefix(id, "#") {
				return errors.New("the tool's schema changes what its references mean")
			}
			if ok && strings.HasPrefix(id, "#") {
				w.names[id[1:]] = v
			} else if ok && depth > 0 && k == "$id" {
				return errors.New("the tool's schema contains another schema with its own address")
			}
		}
		for _, x := range v {
			if err := w.anchors(x, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// build makes the node of a schema; the same schema gets the same node.
func (w *walker) build(v any, depth int) (*snode, error) {
	m, ok := v.(map[string]any)
	if !ok {
		anything, ok := v.(bool)
		if !ok {
			return nil, errors.New("the tool's schema has something else where an object, true or false is needed")
		}
		return &snode{other: !anything}, nil
	}
	id := reflect.ValueOf(m).Pointer()
	if n, ok := w.byID[id]; ok {
		return n, nil
	}
	if w.nodes++; w.nodes > maxSchemaNodes || depth > maxSchemaNodes {
		return nil, errors.New("the tool's schema is too large")
	}
	n := &snode{}
	w.byID[id] = n
	b := &builder{w: w, depth: depth + 1}
	b.object(n, m)
	b.array(n, m)
	b.inPlace(n, m)
	return n, b.err
}

// builder builds the parts of one node and keeps the first error.
type builder struct {
	w     *walker
	depth int
	err   error
}

func (b *builder) one(v any) []*snode {
	if v == nil || b.err != nil {
		return nil
	}
	n, err := b.w.build(v, b.depth)
	if err != nil {
		b.err = err
		return nil
	}
	return []*snode{n}
}

func (b *builder) list(v any) (out []*snode) {
	if items, ok := v.([]any); ok {
		for _, x := range items {
			out = append(out, b.one(x)...)
		}
		return out
	}
	return b.one(v)
}

func (b *builder) object(n *snode, m map[string]any) {
	n.other = !objects(m)
	if names, ok := m["required"].([]any); ok {
		for _, name := range names {
			if s, ok := name.(string); ok {
				n.required, n.names = append(n.required, s), true
			}
		}
	}
	if props, ok := m["properties"].(map[string]any); ok {
		n.names = n.names || len(props) > 0
		n.props = make(map[string]*snode, len(props))
		for name, v := range props {
			if sub := b.one(v); sub != nil {
				n.props[name] = sub[0]
			}
		}
	}
	if patterns, ok := m["patternProperties"].(map[string]any); ok {
		n.names = n.names || len(patterns) > 0
		for _, src := range slices.Sorted(maps.Keys(patterns)) {
			re, err := b.w.clock.compile(src)
			if err != nil {
				b.err = fmt.Errorf("the tool's schema has a pattern that cannot be read: %w", err)
				return
			}
			if sub := b.one(patterns[src]); sub != nil {
				n.patterns = append(n.patterns, pattern{re, sub[0]})
			}
		}
	}
	for _, k := range []string{"additionalProperties", "unevaluatedProperties"} {
		v, ok := m[k]
		if !ok {
			continue
		}
		if v == false {
			n.names = true
			continue
		}
		n.open = true
		n.additional = append(n.additional, b.one(v)...)
	}
	n.aside = append(n.aside, b.one(m["propertyNames"])...)
}

// objects reports whether an object may fit a schema, by the schema's type and
// listed values.
func objects(m map[string]any) bool {
	isObject := func(v any) bool { _, ok := v.(map[string]any); return ok }
	if v, ok := m["const"]; ok && !isObject(v) {
		return false
	}
	if list, ok := m["enum"].([]any); ok && !slices.ContainsFunc(list, isObject) {
		return false
	}
	switch t := m["type"].(type) {
	case string:
		return t == "object"
	case []any:
		return slices.Contains(t, any("object"))
	}
	return true
}

func (b *builder) array(n *snode, m map[string]any) {
	if items, ok := m["items"].([]any); ok {
		n.prefix = b.list(items)
	} else {
		n.rest = append(n.rest, b.one(m["items"])...)
	}
	if _, ok := m["prefixItems"]; ok {
		n.prefix = b.list(m["prefixItems"])
	}
	for _, k := range []string{"additionalItems", "unevaluatedItems", "contains"} {
		n.rest = append(n.rest, b.one(m[k])...)
	}
	if m["uniqueItems"] == true {
		b.w.unique, b.w.costly = true, true
	}
}

func (b *builder) inPlace(n *snode, m map[string]any) {
	for _, k := range []string{"allOf", "if", "then", "else"} {
		n.inPlace = append(n.inPlace, b.list(m[k])...)
	}
	for _, k := range []string{"anyOf", "oneOf"} {
		if list := b.list(m[k]); len(list) > 0 {
			n.inPlace, n.choices = append(n.inPlace, list...), append(n.choices, list)
		}
	}
	n.aside = append(n.aside, b.one(m["not"])...)
	for _, k := range []string{"dependentSchemas", "dependencies"} {
		deps, _ := m[k].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(deps)) {
			if _, names := deps[name].([]any); !names {
				n.inPlace = append(n.inPlace, b.one(deps[name])...)
			}
		}
	}
	for _, k := range []string{"$ref", "$dynamicRef", "$recursiveRef"} {
		ref, ok := m[k].(string)
		if !ok {
			continue
		}
		b.w.costly = true
		target, err := b.w.resolve(ref)
		if err != nil {
			b.err = err
			return
		}
		n.inPlace = append(n.inPlace, b.one(target)...)
	}
}

// resolve follows a reference inside the schema. It never follows one outside.
func (w *walker) resolve(ref string) (any, error) {
	rest, local := strings.CutPrefix(ref, "#")
	if !local {
		return nil, fmt.Errorf("the tool's schema refers to %s, outside of itself, and nothing is loaded", quoteName(ref))
	}
	if rest == "" {
		return w.doc, nil
	}
	if !strings.HasPrefix(rest, "/") {
		if m, ok := w.names[rest]; ok {
			return m, nil
		}
		return nil, fmt.Errorf("the tool's schema refers to %s, which is not in it", quoteName(ref))
	}
	at := w.doc
	for _, part := range strings.Split(rest[1:], "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(unescape(part))
		switch v := at.(type) {
		case map[string]any:
			at = v[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(v) {
				at = nil
			} else {
				at = v[i]
			}
		default:
			at = nil
		}
		if at == nil {
			return nil, fmt.Errorf("the tool's schema refers to %s, which is not in it", quoteName(ref))
		}
	}
	return at, nil
}

// unescape decodes percent encoding if it is valid.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if x, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(x))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// closure adds every schema that applies to the same value.
func closure(list []*snode) []*snode {
	simple := true
	for _, n := range list {
		simple = simple && len(n.inPlace) == 0
	}
	if simple {
		return list
	}
	out, seen := []*snode{}, map[*snode]bool{}
	todo := slices.Clone(list)
	for len(todo) > 0 {
		n := todo[0]
		todo = todo[1:]
		if seen[n] {
			continue
		}
		seen[n] = true
		out = append(out, n)
		todo = append(todo, n.inPlace...)
	}
	return out
}

// unknown returns the path of a member that no schema names, or "".
func (w *walker) unknown(args map[string]any) string {
	return w.members(args, []*snode{w.root})
}

func (w *walker) value(v any, list []*snode) string {
	switch v := v.(type) {
	case map[string]any:
		return w.members(v, list)
	case []any:
		all := closure(list)
		for i, x := range v {
			var subs []*snode
			for _, n := range all {
				if i < len(n.prefix) {
					subs = append(subs, n.prefix[i])
				} else {
					subs = append(subs, n.rest...)
				}
			}
			if p := w.value(x, subs); p != "" {
				return strconv.Itoa(i) + "." + p
			}
		}
	}
	return ""
}

func (w *walker) members(v map[string]any, list []*snode) string {
	closed := slices.ContainsFunc(list, func(n *snode) bool { return n.closed })
	all := closure(list)
	open := !closed || slices.ContainsFunc(all, func(n *snode) bool { return n.open })
	bad := ""
	for name, x := range v {
		var subs []*snode
		known := false
		for _, n := range all {
			k := false
			if sub, ok := n.props[name]; ok {
				subs, k = append(subs, sub), true
			}
			k = k || slices.Contains(n.required, name)
			for _, p := range n.patterns {
				if p.re.MatchString(name) {
					subs, k = append(subs, p.n), true
				}
			}
			if !k {
				subs = append(subs, n.additional...)
			}
			known = known || k
		}
		p := ""
		if !known && !open {
			p = quoteName(name)
		} else if deeper := w.value(x, subs); deeper != "" {
			p = quoteName(name) + "." + deeper
		}
		if p != "" && (bad == "" || p < bad) {
			bad = p // the first by name, so that the result is stable
		}
	}
	return bad
}

// quoteName returns a member's name as one safe word of bounded length.
func quoteName(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
