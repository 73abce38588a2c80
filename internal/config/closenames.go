package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// maxNamesSaid bounds the names in one sentence.
const maxNamesSaid = 6

// CloseNames reports tools that may be mistaken for one another: tools of one
// server whose names differ only in spelling (getUser, get_user), and tools of two
// servers with the same or nearly the same name. tools holds the names by server.
// If of is not empty, only what concerns that server is reported.
func CloseNames(tools map[string][]string, of string) []string {
	var out []string
	servers := slices.Sorted(maps.Keys(tools))
	for i, a := range servers {
		if of == "" || of == a {
			out = append(out, withinServer(a, tools[a])...)
		}
		for _, b := range servers[i+1:] {
			if of == "" || of == a || of == b {
				out = append(out, acrossServers(a, b, tools[a], tools[b])...)
			}
		}
	}
	return out
}

// foldName removes from a name what people and models do not distinguish: case and
// separators.
func foldName(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
}

func withinServer(server string, names []string) (out []string) {
	folded := map[string][]string{}
	for _, n := range slices.Compact(slices.Sorted(slices.Values(names))) {
		folded[foldName(n)] = append(folded[foldName(n)], n)
	}
	for _, key := range slices.Sorted(maps.Keys(folded)) {
		if list := folded[key]; len(list) > 1 {
			out = append(out, fmt.Sprintf("%s of %s differ only in how they are written", listed(list), server))
		}
	}
	return out
}

func acrossServers(a, b string, ofA, ofB []string) (out []string) {
	byFold := map[string][]string{}
	for _, n := range ofA {
		byFold[foldName(n)] = append(byFold[foldName(n)], n)
	}
	var same []string
	for _, n := range slices.Sorted(slices.Values(ofB)) {
		for _, m := range byFold[foldName(n)] {
			if m == n {
				same = append(same, n)
			} else {
				out = append(out, fmt.Sprintf("%s of %s and %s of %s differ only in how they are written", m, a, n, b))
			}
		}
	}
	if len(same) > 0 {
		out = append([]string{fmt.Sprintf("%s and %s both have %s", a, b, listed(same))}, out...)
	}
	return out
}

// listed joins names into a list, cut short if there are many.
func listed(names []string) string {
	if n := len(names) - maxNamesSaid; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamesSaid], ", "), n)
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// ToolNames returns the tool names of each server in this configuration, except the
// client's own tools, which no server offers.
func (c *Config) ToolNames() map[string][]string {
	out := map[string][]string{}
	for name, s := range c.Servers {
		if s != nil && s.Builtin != NativeServer {
			out[name] = slices.Sorted(maps.Keys(s.Tools))
		}
	}
	return out
}
