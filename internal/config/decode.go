package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// decoder fills Go values from nodes and collects every problem. It records the
// location of each value by its path.
type decoder struct {
	diagnostics []Diagnostic
	locations   map[string]location
}

// location is the position of a value in a file.
type location struct {
	Pos
	inner int
}

// nodeDecoder is implemented by types that decode themselves.
type nodeDecoder interface {
	decodeNode(d *decoder, n *node, path string)
}

// named is implemented by struct types; messages use the name.
type named interface {
	displayName() string
}

// unknownKey is implemented by struct types that explain certain unknown keys.
type unknownKey interface {
	unknownKey(name string) (message, suggestion string)
}

func newDecoder() *decoder { return &decoder{locations: map[string]location{}} }

func (d *decoder) report(pos Pos, message, suggestion string) {
	d.diagnostics = append(d.diagnostics, Diagnostic{Pos: pos, Message: message, Suggestion: suggestion})
}

// errorf reports a problem with the value at path.
func (d *decoder) errorf(path, suggestion, format string, args ...any) {
	d.report(d.at(path), fmt.Sprintf(format, args...), suggestion)
}

// at returns the position of path, or of its nearest parent that has one.
func (d *decoder) at(path string) Pos {
	for {
		if p, ok := d.locations[path]; ok {
			return p.Pos
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return d.locations[""].Pos
		}
		path = path[:i]
	}
}

func (d *decoder) mismatch(n *node, want string) {
	got := n.kind.String()
	if n.kind == kindString || n.kind == kindNumber || n.kind == kindBool {
		got = strconv.Quote(clip(n.text))
	}
	d.report(n.pos, fmt.Sprintf("%s is needed here, not %s", want, got), "")
}

func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}

var tierType = reflect.TypeFor[guard.Tier]()

// decode fills v, which must be settable, from n.
func (d *decoder) decode(n *node, v reflect.Value, path string) {
	d.locations[path] = location{n.pos, n.inner}
	if x, ok := v.Addr().Interface().(nodeDecoder); ok {
		x.decodeNode(d, n, path)
		return
	}
	if v.Type() == tierType {
		v.SetUint(uint64(d.tier(n)))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.decode(n, v.Elem(), path)
	case reflect.Struct:
		d.decodeStruct(n, v, path)
	case reflect.Map:
		d.decodeMap(n, v, path)
	case reflect.Slice:
		if n.kind != kindList {
			d.mismatch(n, "a list")
			return
		}
		out := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
		for i, x := range n.items {
			d.decode(x, out.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
		v.Set(out)
	case reflect.String:
		if n.kind != kindString {
			d.mismatch(n, "a text")
			return
		}
		v.SetString(n.text)
	case reflect.Bool:
		if n.kind != kindBool {
			d.mismatch(n, "true or false")
			return
		}
		v.SetBool(n.text == "true" || n.text == "True" || n.text == "TRUE")
	case reflect.Int:
		i, err := strconv.Atoi(n.text)
		if n.kind != kindNumber || err != nil {
			d.mismatch(n, "a whole number")
			return
		}
		v.SetInt(int64(i))
	}
}

// fields returns the keys of a struct type and the index of each.
func fields(t reflect.Type) (names []string, index map[string]int) {
	index = map[string]int{}
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" && name != "-" {
			names = append(names, name)
			index[name] = i
		}
	}
	return names, index
}

func (d *decoder) decodeStruct(n *node, v reflect.Value, path string) {
	what := "this mapping"
	if x, ok := v.Interface().(named); ok {
		what = x.displayName()
	}
	if n.kind != kindMap {
		if n.kind == kindNull && len(n.keys) == 0 {
			return // an empty mapping: required keys are checked later
		}
		d.mismatch(n, "a mapping ("+what+")")
		return
	}
	names, index := fields(v.Type())
	for i, k := range n.keys {
		f, ok := index[k.name]
		if !ok {
			message, suggestion := fmt.Sprintf("%q is not a key of %s", clip(k.name), what), didYouMean(k.name, names)
			if x, ok := v.Interface().(unknownKey); ok {
				if m, s := x.unknownKey(k.name); m != "" {
					message, suggestion = m, s
				}
			}
			d.report(k.pos, message, suggestion)
			continue
		}
		d.decode(n.items[i], v.Field(f), join(path, k.name))
	}
	if f := v.FieldByName("Path"); f.IsValid() && v.Type().Field(0).Name == "Path" {
		f.SetString(path)
	}
}

func (d *decoder) decodeMap(n *node, v reflect.Value, path string) {
	if n.kind == kindNull {
		return
	}
	if n.kind != kindMap {
		d.mismatch(n, "a mapping")
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.keys))
	for i, k := range n.keys {
		name := reflect.New(v.Type().Key()).Elem()
		if name.Type() == tierType {
			t := d.tier(&node{kind: kindString, text: k.name, pos: k.pos})
			if !t.Valid() {
				continue
			}
			name.SetUint(uint64(t))
		} else {
			name.SetString(k.name)
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		p := join(path, k.name)
		d.decode(n.items[i], elem, p)
		if n.items[i].kind == kindMap || n.items[i].kind == kindList || n.items[i].kind == kindNull {
			d.locations[p] = location{k.pos, 0} // the location of a named thing is that of its name
		}
		out.SetMapIndex(name, elem)
	}
	v.Set(out)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

var tierWords = func() []string {
	var words []string
	for t := guard.T0Read; t <= guard.Never; t++ {
		words = append(words, t.String())
	}
	return words
}()

func (d *decoder) tier(n *node) guard.Tier {
	if n.kind == kindString {
		if t, err := guard.ParseTier(n.text); err == nil {
			return t
		}
		d.report(n.pos, fmt.Sprintf("%q is not a tier", clip(n.text)), didYouMean(n.text, tierWords))
		return 0
	}
	d.mismatch(n, "a tier")
	return 0
}

// oneOf checks a value against a fixed list.
func (d *decoder) oneOf(n *node, what string, known ...string) (string, bool) {
	if n.kind != kindString {
		d.mismatch(n, what)
		return "", false
	}
	if !slices.Contains(known, n.text) {
		d.report(n.pos, fmt.Sprintf("%q is not %s", clip(n.text), what), didYouMean(n.text, known))
		return "", false
	}
	return n.text, true
}

// decodeInto decodes into the value that v points to.
func decodeInto[T any](d *decoder, n *node, v *T, path string) {
	d.decode(n, reflect.ValueOf(v).Elem(), path)
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
