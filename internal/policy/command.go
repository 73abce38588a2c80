package policy

import (
	"slices"

	"github.com/mcpguard/mcpguard/internal/commands"
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
	lost := slices.ContainsFunc(p.Hazards, func(h guard.Hazard) bool { return slices.Contains(irreversible, h.Kind) })
	if lost {
		tier = max(tier, guard.T2IrreversibleWrite)
	}
	return max(tier, guard.T1ReversibleWrite), nil
}

// irreversible are the hazards of changes that undo does not revert, or that make
// other programs run.
var irreversible = []string{commands.HazardGitLoses, commands.HazardGitPrograms, commands.HazardGitDamaged, commands.HazardGitUnread, commands.HazardSetID, commands.HazardNotShown}

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
	case environment == "prod", t.askUnchanged, required != nil && *required:
		v.Decision = guard.Decision{Verdict: guard.Ask, Rule: guard.RuleTierDefault, Reason: "the policy asks before every command", PolicyHash: t.Hash}
	default:
		v.Decision = guard.Decision{Verdict: guard.Allow, Rule: guard.RuleUnchanged, Reason: "it ran in a sandbox, changed nothing and wanted nothing", PolicyHash: t.Hash}
	}
}
