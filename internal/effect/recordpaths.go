package effect

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// pattern is a JSON Pointer in which * matches any one token.
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

// above reports whether the path is what the pattern names, or lies below it.
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

// changed reports whether the value at the one path that a pattern names has
// changed.
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
	name             string // of the effect, for rule names
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

// denied returns the refusal of a change at a path that a deny rule names.
func (r pathRules) denied(i int, path []string) error {
	return &Refusal{
		Rule:   guard.Rule(fmt.Sprintf("%s.paths.deny[%d]", r.name, i)),
		Reason: fmt.Sprintf("%s of the record may not be changed", oneLine(jsonvalue.FormatPointer(path...))),
		Repair: "leave it out of the change",
	}
}

// evaluate decides about everything that changes and everything that the call
// names. A denied path is a *Refusal. A change of no value needs approval.
func (r pathRules) evaluate(rows []jsonvalue.Change, named []touch, was, will jsonvalue.Value) (guard.PathVerdict, error) {
	if r.none() {
		return "", nil
	}
	verdict, leaves := guard.PathsAllow, 0
	// An element that is added or removed before an indexed path puts another value
	// there, though no row mentions it.
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

// touch is a path in a record and a value that was or will be there.
type touch struct {
	path  string
	value jsonvalue.Value
}

// leavesOf calls f with the path of every scalar and empty container at or below a
// path. An absent value has none.
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

// namedBy lists the paths that a patch names, whether or not it changes them. A
// test changes nothing, nor does a copy change its source.
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
