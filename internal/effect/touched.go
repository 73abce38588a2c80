package effect

import (
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// touching describes what a kind reaches besides files. The first time that a
// tenant reaches something is reported.
type touching struct {
	noun  string // "host", "recipient" …; it is stored with each name
	first string // "first request to the host"
	// many is first in the plural.
	many string
	// names lists what a change reaches, on one server.
	names func(server string, c guard.Change) []string
}

// maxTouched bounds the names stored per call.
const maxTouched = 200

// Touched names the hosts, recipients and tables of a change, each as a noun and a
// name separated by a blank. A table belongs to a database of one server.
func Touched(server string, c guard.Change) []string {
	var out []string
	for _, k := range kinds {
		t := k.about().touches
		if t == nil {
			continue
		}
		for _, name := range t.names(server, c) {
			if s := t.noun + " " + name; name != "" && len(out) < maxTouched && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// FirstTimes reports the names that are new to the tenant.
func FirstTimes(fresh []string) []guard.SideEffect {
	names := map[string][]string{}
	for _, s := range fresh {
		noun, name, _ := strings.Cut(s, " ")
		names[noun] = append(names[noun], shortText(name[strings.LastIndexByte(name, '\x1f')+1:]))
	}
	var out []guard.SideEffect
	for _, k := range kinds {
		t := k.about().touches
		if t == nil {
			continue
		}
		switch list := names[t.noun]; len(list) {
		case 0:
		case 1:
			out = append(out, guard.SideEffect{Text: t.first + " " + list[0]})
		default:
			out = append(out, guard.SideEffect{Text: t.many + " " + named(list)})
		}
	}
	return out
}
