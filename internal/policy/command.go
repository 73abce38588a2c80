package policy

import (
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/commands"
	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// contained returns the tier of a command that ran in a sandbox and tried to reach
// nothing outside. It depends on what changed, not on the tool: a change that can
// be undone is T1; one that cannot, or that a condition of the policy names, is
// higher.
func (t *Tool) contained(list []view, run *guard.ExecRun, p guard.Preview) (guard.Tier, error) {
	if run.Unchanged() {
		return guard.T0Read, nil
	}
	tier, err := t.tier(list, guard.T1ReversibleWrite)
	if err != nil {
		return 0, err
	}
	if !takenBack(p) {
		tier = max(tier, guard.T2IrreversibleWrite)
	}
	return max(tier, guard.T1ReversibleWrite), nil
}

// takenBack reports whether undo reverts all that the commands of a preview change.
func takenBack(p guard.Preview) bool {
	return !slices.ContainsFunc(p.Hazards, func(h guard.Hazard) bool { return slices.Contains(irreversible, h.Kind) })
}

// irreversible are the hazards of changes that undo does not revert, or that make
// other programs run.
var irreversible = []string{commands.HazardStartup, commands.HazardGitLoses, commands.HazardGitPrograms, commands.HazardGitDamaged, commands.HazardGitUnread, commands.HazardSetID, commands.HazardNotShown}

// commandVerdict allows a command that is proven to change nothing, or only file
// times, unless the policy wants to be asked.
func (t *Tool) commandVerdict(v *Verdict, run *guard.ExecRun, environment string) {
	required := t.Config.Approval.Required
	harmless := run.Unchanged() || run.Whole() && run.Times && v.Tier == guard.T1ReversibleWrite
	switch {
	case !run.Whole():
		// fail closed: what is not whole is never taken for contained
		v.Decision = t.deny(guard.RuleNotContained, "the run of this command is not whole", "make the call again")
	case !harmless || v.Verdict == guard.Deny:
	case t.reads().ask:
		v.Decision = guard.Decision{Verdict: guard.Ask, Rule: guard.RuleTierDefault, Reason: "the policy decides by their paths which files may be read, and those that a command reads are not known", PolicyHash: t.Hash}
	case environment == "prod", t.askUnchanged, required != nil && *required:
		v.Decision = guard.Decision{Verdict: guard.Ask, Rule: guard.RuleTierDefault, Reason: "the policy asks before every command", PolicyHash: t.Hash}
	default:
		v.Decision = guard.Decision{Verdict: guard.Allow, Rule: guard.RuleUnchanged, Reason: "it ran in a sandbox, changed nothing and wanted nothing", PolicyHash: t.Hash}
	}
}

// carried is what the rules for reading files say of a command, which may have read
// any file that was not closed to it.
type carried struct {
	sensitive bool // what it printed may be what the policy calls sensitive
	ask       bool // one of the files may be one that is read only if a human agrees, or not at all
}

// reads returns what a command takes over from the tools of its server that read
// files. What holds for some files holds for the command, since nobody knows which
// ones it read; only files with keys are closed to it.
func (t *Tool) reads() (c carried) {
	if t.of == nil {
		return carried{true, true} // fail closed: no tool is compiled without its server
	}
	open := func(list []config.Rule) bool {
		return slices.ContainsFunc(list, func(r config.Rule) bool { return strings.TrimSpace(r.When) != closedToCommands })
	}
	for _, x := range t.of.sorted {
		if x.effect.Kind != effect.FileRead || x.Tier == guard.Never {
			continue
		}
		marks, required := x.Config.Sensitive, x.Config.Approval.Required
		sensitive := marks.Always || open(marks.When)
		c.sensitive = c.sensitive || sensitive
		c.ask = c.ask || x.Tier != guard.T0Read || open(x.Config.Deny) || len(x.Config.Allow) > 0 ||
			required != nil && *required && (sensitive || !marks.Set())
	}
	return c
}

// closedToCommands is the condition of a rule about files that no command in a
// sandbox can read.
const closedToCommands = "secret_path(target.path)"
