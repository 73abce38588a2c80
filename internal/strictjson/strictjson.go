// Package strictjson reads JSON texts into Go values, and refuses what another
// reader might take differently. It imports little, because the program that
// every client starts is made of it. It has no values of its own; those are in
// package jsonvalue.
package strictjson

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// DecodeStrict reads one JSON text into the Go value that into points to, and
// refuses what another reader might take differently: two members of one name,
// names that are no member of the struct (also those that differ from one only
// by case, which encoding/json would take for it), invalid UTF-8, lone
// surrogates, nesting over 100 levels, anything after the value. Use it for
// whatever decides. A refusal is a [*SyntaxError] with the offset; into is then
// as it was. What it cannot store, such as a string in place of a number, is
// an error of encoding/json.
//
// Names are checked as far as the Go types tell them: within an any, a
// json.RawMessage or a type that reads itself, only duplicates are refused, and
// the names of a map are all taken as they are.
func DecodeStrict(raw []byte, into any) error { return decodeInto(raw, into, false) }

// SyntaxError says where and why a JSON text was refused. Reason never quotes
// the text at length.
type SyntaxError struct {
	Offset int // bytes from the start
	Reason string
}

// Error returns reason and offset.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.Reason, e.Offset) }

// DecodeKnown is [DecodeStrict] for texts of programs that may be newer than
// this one, such as the client's hook input: members that the struct does not
// name are passed over. A name that differs from a member's only by case is
// still refused.
func DecodeKnown(raw []byte, into any) error { return decodeInto(raw, into, true) }

func decodeInto(raw []byte, into any, open bool) error {
	t := reflect.TypeOf(into)
	if t == nil || t.Kind() != reflect.Pointer || reflect.ValueOf(into).IsNil() {
		return errors.New("reading JSON: there is nothing to read it into")
	}
	err := jsonrpc.Check(raw, jsonrpc.Limits{MaxFrame: max(len(raw), 1), AllowCR: true})
	if r := (*jsonrpc.Refusal)(nil); errors.As(err, &r) {
		return fmt.Errorf("reading JSON: %w", &SyntaxError{Offset: r.Offset, Reason: reasonOf(r.Reason)})
	} else if err != nil {
		return fmt.Errorf("reading JSON: %w", err)
	}
	root, ok := jsonrpc.Root(raw)
	if !ok {
		return fmt.Errorf("reading JSON: %w", &SyntaxError{Reason: "not one value"}) // fail closed: it was just checked
	}
	if kind := t.Elem().Kind(); (kind == reflect.Struct || kind == reflect.Map) && jsonrpc.TypeOf(raw, root) != jsonrpc.ObjectType {
		if p := reflect.PointerTo(t.Elem()); !p.Implements(readsJSON) && !p.Implements(readsText) {
			return fmt.Errorf("reading JSON: %w", &SyntaxError{Offset: root.Start, Reason: "not an object"})
		}
	}
	c := nameChecker{raw: raw, open: open, members: map[reflect.Type]map[string]reflect.Type{}}
	if err := c.check(root, t.Elem()); err != nil {
		return fmt.Errorf("reading JSON: %w", err)
	}
	// A text that cannot be stored must not be stored in part.
	fresh := reflect.New(t.Elem())
	fresh.Elem().Set(reflect.ValueOf(into).Elem())
	if err := json.Unmarshal(raw, fresh.Interface()); err != nil {
		return fmt.Errorf("reading JSON: %w", err)
	}
	reflect.ValueOf(into).Elem().Set(fresh.Elem())
	return nil
}

func reasonOf(r jsonrpc.Reason) string {
	switch r {
	case jsonrpc.Syntax:
		return "not JSON"
	case jsonrpc.DuplicateMember:
		return "a member name that appears twice"
	case jsonrpc.TrailingData:
		return "something after the value"
	case jsonrpc.InvalidUTF8:
		return "invalid UTF-8"
	default:
		return strings.ReplaceAll(r.String(), "_", " ")
	}
}

var (
	readsJSON = reflect.TypeFor[json.Unmarshaler]()
	readsText = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// nameChecker compares the member names of a text with those that Go types have.
type nameChecker struct {
	raw     []byte
	open    bool                                     // members that no type names pass
	members map[reflect.Type]map[string]reflect.Type // of each struct met so far
}

// check compares the names within the value at s with those of t.
func (c *nameChecker) check(s jsonrpc.Span, t reflect.Type) error {
	for {
		if p := reflect.PointerTo(t); p.Implements(readsJSON) || p.Implements(readsText) {
			return nil
		}
		if t.Kind() != reflect.Pointer {
			break
		}
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		for e := range jsonrpc.Elements(c.raw, s) {
			if err := c.check(e, t.Elem()); err != nil {
				return err
			}
		}
	case reflect.Map:
		for f := range jsonrpc.Members(c.raw, s) {
			if err := c.check(f.Value, t.Elem()); err != nil {
				return err
			}
		}
	case reflect.Struct:
		return c.checkStruct(s, t)
	}
	return nil
}

func (c *nameChecker) checkStruct(s jsonrpc.Span, t reflect.Type) error {
	known, ok := c.members[t]
	if !ok {
		known = map[string]reflect.Type{}
		membersOf(t, known)
		c.members[t] = known
	}
	for f := range jsonrpc.Members(c.raw, s) {
		if member, ok := known[f.Name]; ok {
			if err := c.check(f.Value, member); err != nil {
				return err
			}
			continue
		}
		for name := range known {
			if strings.EqualFold(name, f.Name) {
				return &SyntaxError{Offset: f.Key.Start, Reason: fmt.Sprintf("unknown member %.64q (the name is %q)", f.Name, name)}
			}
		}
		if !c.open {
			return &SyntaxError{Offset: f.Key.Start, Reason: fmt.Sprintf("unknown member %.64q", f.Name)}
		}
	}
	return nil
}

// membersOf notes the members of a struct and of those embedded in it, as
// encoding/json names them; the outer ones come first.
func membersOf(t reflect.Type, known map[string]reflect.Type) {
	var embedded []reflect.Type
	for f := range t.Fields() {
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		switch {
		case tag == "-":
			continue
		case f.Anonymous && name == "":
			e := f.Type
			if e.Kind() == reflect.Pointer {
				e = e.Elem()
			}
			if e.Kind() == reflect.Struct {
				embedded = append(embedded, e)
				continue
			}
		}
		if !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if _, ok := known[name]; !ok {
			known[name] = f.Type
		}
	}
	for _, e := range embedded {
		membersOf(e, known)
	}
}
