package policy

import (
	"slices"

	"github.com/mcpguard/mcpguard/internal/commands"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// contained is the tier of a command that ran in a sandbox and wanted nothing: it
// goes by what changed, not by the tool. What can be taken back is T1, what
// cannot, or what a condition of the policy names, is more.
func (t *Tool) contained(list []view, run *guard.ExecRun, p guard.Preview) (guard.Tier, error) {
	if run.Unchanged() {
		return guard.T0Read, nil
	}
	tier, err := t.tier(list, guard.T1ReversibleWrite)
	if err != nil {
		return 0, err
	}
	lost := slices.ContainsFunc(p.Hazards, func(h guard.Hazard) bool { return slices.Contains(irreversible, h.Kind) })
	if lost {
		tier = max(tier, guard.T2IrreversibleWrite)
	}
	return max(tier, guard.T1ReversibleWrite), nil
}

// irreversible are the hazards of changes that taking back does not undo, or that
// make other programs run.
var irreversible = []string{commands.HazardGitLoses, commands.HazardGitPrograms, commands.HazardGitDamaged, commands.HazardGitUnread, commands.HazardSetID, commands.HazardNotShown}

// commandVerdict lets a command pass that has proven to change nothing, or
// nothing but times of files, unless the policy wants to be asked.
func (t *Tool) commandVerdict(v *Verdict, run *guard.ExecRun, environment string) {
	required := t.Config.Approval.Required
	harmless := run.Unchanged() || run.Whole() && run.Times && v.Tier == guard.T1ReversibleWrite
	switch {
	case !run.Whole():
		// fail closed: what is not whole is never taken for contained
		v.Decision = t.deny(guard.RuleNotContained, "the run of this command is not whole", "make the call again")
	case !harmless || v.Verdict == guard.Deny:
	case environment == "prod", t.askUnchanged, required != nil && *required:
		v.Decision = guard.Decision{Verdict: guard.Ask, Rule: guard.RuleTierDefault, Reason: "the policy asks before every command", PolicyHash: t.Hash}
	default:
		v.Decision = guard.Decision{Verdict: guard.Allow, Rule: guard.RuleUnchanged, Reason: "it ran in a sandbox, changed nothing and wanted nothing", PolicyHash: t.Hash}
	}
}
