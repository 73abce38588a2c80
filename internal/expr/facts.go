package expr

import (
	"path"
	"slices"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// tablesOf lists the tables that SQL names, changed ones first.
func tablesOf(f *guard.SQLFacts) []string {
	out := []string{}
	if f == nil {
		return out
	}
	for _, s := range f.Statements {
		out = append(out, s.Changes...)
	}
	for _, s := range f.Statements {
		out = append(out, s.Reads...)
	}
	return distinct(out)
}

// recipientsOf lists who would get a message.
func recipientsOf(f *guard.MessageFacts) []string {
	out := []string{}
	if f == nil {
		return out
	}
	for _, r := range slices.Concat(f.To, f.Cc, f.Bcc) {
		out = append(out, r.Address)
	}
	return distinct(out)
}

func domainsOf(f *guard.MessageFacts) []string {
	out := []string{}
	if f == nil {
		return out
	}
	for _, d := range f.Domains {
		out = append(out, d.Domain)
	}
	return out
}

func requestOf(f *guard.HTTPFacts) guard.HTTPFacts {
	if f == nil {
		return guard.HTTPFacts{}
	}
	return *f
}

// programsOf lists the programs of a command by base name. A line that could not be
// parsed has none, so a rule that allows by program must check their number too.
func programsOf(f *guard.ExecFacts) []string {
	out := []string{}
	if f == nil {
		return out
	}
	names := f.Programs
	if len(names) == 0 && len(f.Argv) > 0 {
		names = f.Argv[:1]
	}
	for _, p := range names {
		out = append(out, path.Base(p))
	}
	return distinct(out)
}

// distinct removes repeated strings.
func distinct(list []string) []string {
	seen := make(map[string]bool, len(list))
	return slices.DeleteFunc(list, func(s string) bool {
		defer func() { seen[s] = true }()
		return seen[s]
	})
}
