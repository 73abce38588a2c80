package effect

import (
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// HazardUndisclosed marks a message whose call carries more than its preview can
// show.
const HazardUndisclosed = "argument_unseen"

// Limits on the arguments besides the message: the bytes of an encoded value, and
// the number that is listed.
const (
	maxDisclosed     = 120
	maxDisclosedArgs = 50
)

// undisclosedArgs shows the arguments that no expression of the effect reads: what
// a server is told besides the recipients and the text, such as whether customers
// see it, must not go unnoticed. A long one is a hazard, as it may be what is
// really sent.
func (b *Binding) undisclosedArgs(in Input, p *guard.Preview) {
	var used [][]string
	for _, prog := range b.params {
		// An expression over all arguments does not say which of them it shows.
		used = append(used, slices.DeleteFunc(slices.Clone(prog.ArgPaths()), func(path []string) bool { return len(path) == 0 })...)
	}
	var beside []string
	var visit func(v jsonvalue.Value, at []string)
	visit = func(v jsonvalue.Value, at []string) {
		for name, m := range v.Members() {
			here := append(slices.Clone(at), name)
			shown, inside := usedAt(used, here)
			text := m.String()
			switch label := oneLine(strings.Join(here, ".")); {
			case shown:
			case inside && m.Type() == jsonvalue.TypeObject:
				visit(m, here)
			case len(text) > maxDisclosed:
				p.Hazards = append(p.Hazards, hazard(HazardUndisclosed, "the argument %s (%d bytes) is not part of what is shown", label, len(text)))
			default:
				beside = append(beside, label+" = "+oneLine(text))
			}
		}
	}
	visit(in.Vars.Args.Value, nil)
	slices.Sort(beside)
	if n := len(beside) - maxDisclosedArgs; n > 0 {
		beside = beside[:maxDisclosedArgs]
		p.Hazards = append(p.Hazards, hazard(HazardUndisclosed, "%s beside those that are listed", plural(n, "more argument", "more arguments")))
	}
	for _, s := range beside {
		p.SideEffects = append(p.SideEffects, guard.SideEffect{Text: "sent along: " + s})
	}
}

// usedAt reports whether a value is used as a whole, and whether parts of it are.
func usedAt(used [][]string, here []string) (whole, inside bool) {
	for _, path := range used {
		if len(path) < len(here) || !slices.Equal(path[:len(here)], here) {
			continue
		}
		whole, inside = whole || len(path) == len(here), true
	}
	return whole, inside
}
