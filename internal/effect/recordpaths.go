package effect

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// pattern is a JSON Pointer in which * stands for any one token.
type pattern []string

func patterns(pointers []string) ([]pattern, error) {
	out := make([]pattern, len(pointers))
	for i, p := range pointers {
		tokens, err := jsonvalue.ParsePointer(p)
		if err != nil {
			return nil, err
		}
		out[i] = tokens
	}
	return out, nil
}

// above reports whether a path is what the pattern names, or lies below it.
func (p pattern) above(path []string) bool {
	if len(p) > len(path) {
		return false
	}
	for i, token := range p {
		if token != "*" && token != path[i] {
			return false
		}
	}
	return true
}

// changed reports whether the value at the one place that a pattern names is
// another than before.
func (p pattern) changed(was, will jsonvalue.Value) bool {
	if slices.Contains(p, "*") {
		return false
	}
	at := jsonvalue.FormatPointer(p...)
	a, aerr := was.At(at)
	b, berr := will.At(at)
	return (aerr == nil) != (berr == nil) || aerr == nil && !a.Equal(b)
}

// pathRules decide about single values of a record.
type pathRules struct {
	allow, ask, deny []pattern
	name             string // of the effect, for the names of rules
}

func compilePaths(s RecordSpec) (r pathRules, err error) {
	r.name = s.Path
	if r.allow, err = patterns(s.Allow); err != nil {
		return r, err
	}
	if r.ask, err = patterns(s.Ask); err != nil {
		return r, err
	}
	r.deny, err = patterns(s.Deny)
	return r, err
}

func (r pathRules) none() bool { return len(r.allow)+len(r.ask)+len(r.deny) == 0 }

// denied is the refusal of a change at a path that one of deny names.
func (r pathRules) denied(i int, path []string) error {
	return &Refusal{
		Rule:   guard.Rule(fmt.Sprintf("%s.paths.deny[%d]", r.name, i)),
		Reason: fmt.Sprintf("%s of the record may not be changed", oneLine(jsonvalue.FormatPointer(path...))),
		Repair: "leave it out of the change",
	}
}

// evaluate decides about all that changes, and all that the call names. A path
// that is denied is a *Refusal. What touches no value is asked for.
func (r pathRules) evaluate(rows []jsonvalue.Change, named []touch, was, will jsonvalue.Value) (guard.PathVerdict, error) {
	if r.none() {
		return "", nil
	}
	verdict, leaves := guard.PathsAllow, 0
	// An element that comes or goes before a place that is named by its number
	// puts another value there, though no row speaks of it.
	for i, p := range r.deny {
		if p.changed(was, will) {
			return "", r.denied(i, p)
		}
	}
	for _, p := range r.ask {
		if p.changed(was, will) {
			verdict = guard.PathsAsk
		}
	}
	one := func(path []string) error {
		leaves++
		for i, p := range r.deny {
			if p.above(path) {
				return r.denied(i, path)
			}
		}
		for _, p := range r.ask {
			if p.above(path) {
				verdict = guard.PathsAsk
				return nil
			}
		}
		for _, p := range r.allow {
			if p.above(path) {
				return nil
			}
		}
		verdict = guard.PathsAsk
		return nil
	}
	for _, row := range rows {
		named = append(named, touch{row.Path, row.From}, touch{row.Path, row.To})
	}
	for _, t := range named {
		path, err := jsonvalue.ParsePointer(t.path)
		if err != nil {
			return "", err
		}
		if err := leavesOf(t.value, path, one); err != nil {
			return "", err
		}
	}
	if leaves == 0 {
		verdict = guard.PathsAsk
	}
	return verdict, nil
}

// touch is a place of a record and a value that was or will be there.
type touch struct {
	path  string
	value jsonvalue.Value
}

// leavesOf calls f with the path of every scalar and every empty container at
// or below a place; an absent value has none.
func leavesOf(v jsonvalue.Value, path []string, f func([]string) error) error {
	if !v.Present() {
		return nil
	}
	if v.Len() == 0 {
		return f(path)
	}
	path = path[:len(path):len(path)]
	for i, e := range v.Elems() {
		if err := leavesOf(e, append(path, strconv.Itoa(i)), f); err != nil {
			return err
		}
	}
	for name, e := range v.Members() {
		if err := leavesOf(e, append(path, name), f); err != nil {
			return err
		}
	}
	return nil
}

// namedBy lists what a patch speaks of, whether or not it changes it. A test
// changes nothing, nor does a copy change what it copies.
func namedBy(p jsonvalue.Patch) []touch {
	var out []touch
	for _, o := range p {
		switch o.Op {
		case jsonvalue.OpTest:
		case jsonvalue.OpRemove, jsonvalue.OpCopy:
			out = append(out, touch{o.Path, jsonvalue.Null()})
		case jsonvalue.OpMove:
			out = append(out, touch{o.From, jsonvalue.Null()}, touch{o.Path, jsonvalue.Null()})
		default:
			out = append(out, touch{o.Path, o.Value})
		}
	}
	return out
}
