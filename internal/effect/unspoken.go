package effect

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// HazardUnspoken marks a message whose call carries more than its preview can
// show.
const HazardUnspoken = "argument_unseen"

// maxUnspoken is how long the value of an argument may be that is shown beside a
// message, in bytes of its encoding.
const maxUnspoken = 120

var (
	argumentUsed = regexp.MustCompile(`\bargs\.([A-Za-z_][A-Za-z0-9_]*)|\bargs\[['"]([^'"]+)['"]\]`)
	argsWhole    = regexp.MustCompile(`\bargs\b`)
)

// unspoken adds the arguments that none of the effect's expressions speaks of:
// what a server knows of a message beside its recipients and its text, such as
// whether customers see it, must not go by unseen. A long one is a hazard: it
// may be what is really sent.
func (b *Binding) unspoken(in Input, p *guard.Preview) error {
	named := map[string]bool{}
	for _, prog := range b.params {
		used := argumentUsed.FindAllStringSubmatch(prog.Source(), -1)
		for _, m := range used {
			named[m[1]+m[2]] = true // one of the two is empty
		}
		if len(argsWhole.FindAllString(prog.Source(), -1)) > len(used) {
			return nil // it is handed on as a whole
		}
	}
	args, err := jsonvalue.Decode(in.Call.ArgsCanonical)
	if err != nil {
		return fmt.Errorf("reading the arguments of a message: %w", err)
	}
	var beside []string
	for name, v := range args.Members() {
		text := v.String()
		switch {
		case named[name]:
		case len(text) > maxUnspoken:
			p.Hazards = append(p.Hazards, hazard(HazardUnspoken, "the argument %s (%d bytes) is not part of what is shown", oneLine(name), len(text)))
		default:
			beside = append(beside, oneLine(name)+" = "+oneLine(text))
		}
	}
	slices.Sort(beside)
	for _, s := range beside {
		p.SideEffects = append(p.SideEffects, guard.SideEffect{Text: "sent along: " + s})
	}
	return nil
}
