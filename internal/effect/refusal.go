package effect

import (
	"fmt"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// Refusal says why a call's effect is not computed and what the agent could do
// instead. It names nothing outside the workspace. Every refusal denies the call.
type Refusal struct {
	Rule   guard.Rule
	Reason string // a sentence for people and for the agent
	Repair string // what to do instead
}

func (r *Refusal) Error() string { return r.Reason }

// Repairs that several refusals share.
const (
	useInside   = "use a path inside the workspace"
	useAbsolute = "give the absolute path of the file"
	readAgain   = "read the file again and send a call that fits what is there now"
	listFirst   = "list the folder and use a name that is there"
)

func refusePath(repair, format string, args ...any) *Refusal {
	return &Refusal{Rule: guard.RulePath, Reason: fmt.Sprintf(format, args...), Repair: repair}
}

func refusePlan(repair, format string, args ...any) *Refusal {
	return &Refusal{Rule: guard.RulePreviewFailed, Reason: fmt.Sprintf(format, args...), Repair: repair}
}

// errOutside is the same answer for everything outside the workspace, so that it
// does not reveal what exists there.
func errOutside() *Refusal {
	return refusePath(useInside, "the path leads outside of the workspace")
}
