package client

import (
	"slices"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// Session is one connection of a client.
type Session struct {
	ID          string    `json:"id"`
	RunID       string    `json:"runId"`
	Tenant      string    `json:"tenant"`
	Environment string    `json:"environment"`
	Workflow    string    `json:"workflow,omitempty"`
	Profile     string    `json:"profile"`
	Server      string    `json:"server"`
	Origin      Requester `json:"origin"`
	OpenedAt    time.Time `json:"openedAt"`
	ClosedAt    time.Time `json:"closedAt,omitzero"`
	UpstreamPID int       `json:"upstreamPid,omitempty"`
	Problem     string    `json:"problem,omitempty"` // why its server is not running
	Notices     []string  `json:"notices,omitempty"` // what its client's user was told, newest last
	Pending     int       `json:"pending"`           // approvals that wait for a decision
}

// Health of a server.
const (
	HealthIdle    = "idle"    // configured, no session
	HealthRunning = "running" // every session's process is running
	HealthFailed  = "failed"  // a process did not start or has ended
)

// Server is one configured upstream.
type Server struct {
	Name     string           `json:"name"`
	Preset   string           `json:"preset,omitempty"`
	Command  string           `json:"command"` // for people, without secrets
	Health   string           `json:"health"`
	Problem  string           `json:"problem,omitempty"`
	Sessions []string         `json:"sessions,omitempty"`
	PIDs     []int            `json:"pids,omitempty"`
	Stderr   []string         `json:"stderr,omitempty"` // the last lines, newest last
	Tools    []ServerTool     `json:"tools,omitempty"`  // named by the policy
	Waiting  []DefinitionDiff `json:"waiting,omitempty"`
	// Changed says, in sentences, how the server's program differs from the
	// one whose tools were accepted.
	Changed []string `json:"changed,omitempty"`
	// Names says, in sentences, which of its tools have the same name as
	// another tool, or nearly.
	Names []string `json:"names,omitempty"`
}

// Unaccepted counts the tools that the policy names but that no client sees
// until a person accepts their definitions.
func (s Server) Unaccepted() int {
	waiting := map[string]bool{}
	for _, t := range s.Tools {
		if !t.Accepted && t.Tier != guard.Never.String() {
			waiting[t.Name] = true
		}
	}
	for _, w := range s.Waiting {
		if s.named(w.Tool) {
			waiting[w.Tool] = true
		}
	}
	return len(waiting)
}

// Unnamed counts the tools that the server offers but the policy does not
// name.
func (s Server) Unnamed() (n int) {
	for _, w := range s.Waiting {
		if !s.named(w.Tool) {
			n++
		}
	}
	return n
}

func (s Server) named(tool string) bool {
	return slices.ContainsFunc(s.Tools, func(t ServerTool) bool { return t.Name == tool })
}

// ServerTool is one tool that the policy names.
type ServerTool struct {
	Name     string `json:"name"`
	Tier     string `json:"tier"`
	Accepted bool   `json:"accepted"`
}

// DefinitionDiff is a tool definition that waits to be accepted.
type DefinitionDiff struct {
	Tool   string `json:"tool"`
	Change string `json:"change"` // new, changed
	SHA256 string `json:"sha256"` // of the waiting definition
	Diff   string `json:"diff"`   // unified, against the accepted one
}

// Status is the daemon's report about itself.
type Status struct {
	Version    string    `json:"version"`
	Protocol   int       `json:"protocol"`
	PID        int       `json:"pid"`
	StartedAt  time.Time `json:"startedAt"`
	Folder     string    `json:"folder"` // state folder
	Level      string    `json:"level"`  // L0 to L3
	Claim      string    `json:"claim"`  // what that level guarantees, a sentence
	Weaknesses []string  `json:"weaknesses,omitempty"`
	Unsigned   string    `json:"unsigned"` // where an unsigned decision may come from
	// ApproversWait is the setting of approvers.unsigned that waits for a
	// decision under the one in force; ApproversRefused is true if that
	// decision was a denial.
	ApproversWait    string `json:"approversWait,omitempty"`
	ApproversRefused bool   `json:"approversRefused,omitempty"`
	PolicyHash       string `json:"policyHash"`
	// PolicyProblem says why the newest configuration is not in force.
	PolicyProblem string `json:"policyProblem,omitempty"`
	// PolicyNone is true if no configuration at all is in force: none has
	// loaded since the daemon started, and everything is denied.
	PolicyNone bool `json:"policyNone,omitempty"`
	// StoreProblem says why nothing executes at present.
	StoreProblem string `json:"storeProblem,omitempty"`
	// StoreDamage says what in the database is damaged and what to do. Calls
	// may still run while StoreProblem is empty.
	StoreDamage string `json:"storeDamage,omitempty"`
	Sessions    int    `json:"sessions"`
	Pending     int    `json:"pending"`
	Alerts      int    `json:"alerts"`     // not acknowledged
	Unaccepted  int    `json:"unaccepted"` // tools that wait for acceptance, all servers
}

// Stats counts what happened since a time.
type Stats struct {
	Since     time.Time      `json:"since"`
	Until     time.Time      `json:"until"`
	Pending   int            `json:"pending"`  // now
	ByStatus  map[string]int `json:"byStatus"` // approvals requested since
	ByTier    map[string]int `json:"byTier"`
	ByServer  map[string]int `json:"byServer"`
	Calls     int            `json:"calls"`   // completed
	Denials   int            `json:"denials"` // those refused by policy or reviewer
	Outcomes  map[string]int `json:"outcomes"`
	ByRule    map[string]int `json:"byRule"` // of the denials
	Over      []Bin          `json:"over"`   // calls over time, oldest first
	Waiting   Waiting        `json:"waiting"`
	Truncated bool           `json:"truncated,omitempty"` // not everything was counted
}

// Bin counts the calls of one interval.
type Bin struct {
	From    time.Time `json:"from"`
	Calls   int       `json:"calls"`
	Denials int       `json:"denials"`
}

// Waiting says how long approvals waited for a decision, in milliseconds.
type Waiting struct {
	Decided  int   `json:"decided"`
	MedianMS int64 `json:"medianMs"`
	P90MS    int64 `json:"p90Ms"`
	MaxMS    int64 `json:"maxMs"`
}
