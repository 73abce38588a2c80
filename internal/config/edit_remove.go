package config

import (
	"fmt"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// RemoveServer removes a server's key and its value. Every other line stays,
// including a comment above the key. The error for an unknown server is an *Error
// with the position to look at and the nearest name.
func (e *Editor) RemoveServer(name string) error {
	root, err := e.tree()
	if err != nil {
		return err
	}
	servers := root.get("servers")
	names := servers.names()
	if servers.get(name) == nil {
		pos := Pos{File: e.path}
		if k := keyPos(root, "servers"); k.Line > 0 {
			pos = k
		}
		return NewError([]Diagnostic{{pos, fmt.Sprintf("there is no server %q", name), didYouMean(name, names)}})
	}
	k := keyPos(servers, name)
	if e.flow(servers) {
		return NewError([]Diagnostic{{k, fmt.Sprintf("the server %q stands within braces", name), "take it out by hand"}})
	}
	op := jsonvalue.Op{Op: jsonvalue.OpRemove, Path: jsonvalue.FormatPointer("servers", name)}
	if len(names) == 1 {
		op = jsonvalue.Op{Op: jsonvalue.OpReplace, Path: "/servers", Value: jsonvalue.Null()}
	}
	if err := e.change(func(text []byte) ([]byte, error) { return patch(text, op) }); err != nil {
		return fmt.Errorf("taking the server %s out of %s: the result would not be the rest of it; take it out by hand: %w", name, e.path, err)
	}
	return nil
}

// names returns a mapping's keys in file order.
func (n *node) names() (list []string) {
	if n == nil || n.kind != kindMap {
		return nil
	}
	for _, k := range n.keys {
		list = append(list, k.name)
	}
	return list
}
