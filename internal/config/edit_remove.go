package config

import (
	"errors"
	"fmt"
	"slices"
)

// RemoveServer takes a server out: its key and what belongs to it. Every other
// line stays, a comment above it included. The error for a server that is not
// there is an *Error with the place to look at and the nearest name.
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
	old := e.lines
	e.lines = slices.Concat(old[:k.Line-1], old[e.blockEnd(k):])
	left, err := e.tree()
	if err == nil {
		want := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name })
		if !slices.Equal(left.get("servers").names(), want) {
			err = errors.New("more than that would go")
		}
	}
	if err != nil {
		e.lines = old
		return fmt.Errorf("taking the server %s out of %s: the result would not be the rest of it; take it out by hand: %w", name, e.path, err)
	}
	return nil
}

// names returns a mapping's keys in the order of the file.
func (n *node) names() (list []string) {
	if n == nil || n.kind != kindMap {
		return nil
	}
	for _, k := range n.keys {
		list = append(list, k.name)
	}
	return list
}
