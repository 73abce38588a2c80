package client

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Protocol is the version of the control API. Both sides send theirs with each
// request and response; they must be equal.
const Protocol = 1

// Names of the version headers.
const (
	HeaderProtocol = "Mcpguard-Api"
	HeaderVersion  = "Mcpguard-Version"
)

// Host is the only host name to which the API responds.
const Host = "mcpguard"

// Statuses of an approval, as in its status field.
const (
	Pending   = "pending"
	Approved  = "approved"
	Executing = "executing"
	Executed  = "executed"
	Failed    = "failed"
	Unknown   = "unknown"
	Stale     = "stale"
	Lapsed    = "lapsed"
	Denied    = "denied"
	Expired   = "expired"
	Cancelled = "cancelled"
)

// Approval is one approval as lists show it. Optional members are absent when
// empty.
type Approval struct {
	ID            string    `json:"id"`
	ApprovalID    string    `json:"approvalId"` // same value, under the audit log's name
	Status        string    `json:"status"`
	Tier          string    `json:"tier"`
	Bucket        string    `json:"bucket"` // read, write, never
	Risk          string    `json:"risk"`   // safe, caution, high
	Server        string    `json:"server"`
	Tool          string    `json:"tool"`
	Tenant        string    `json:"tenant"`
	TenantID      string    `json:"tenantId"` // same value, under the audit log's name
	Environment   string    `json:"environment"`
	Workflow      string    `json:"workflow,omitempty"`
	RunID         string    `json:"runId"`
	SessionID     string    `json:"sessionId"`
	CallID        string    `json:"callId"`
	CorrelationID string    `json:"correlationId"`
	Summary       string    `json:"summary"`
	Target        string    `json:"target"` // the first resource that would change, else the tool; of a command the tool
	SideEffects   []string  `json:"sideEffects"`
	Hazards       []Hazard  `json:"hazards"`
	Added         int       `json:"added"`   // lines
	Removed       int       `json:"removed"` // lines
	RequestedBy   Requester `json:"requestedBy"`
	Context       Context   `json:"context,omitzero"`
	RequestedAt   time.Time `json:"requestedAt"`
	ExpiresAt     time.Time `json:"expiresAt"`        // to decide
	UseBy         time.Time `json:"useBy,omitzero"`   // to execute, once approved
	SecondsLeft   int       `json:"secondsLeft"`      // to decide or to execute, by the daemon's clocks; otherwise 0
	Held          bool      `json:"held"`             // a call is waiting for it now
	Digest        string    `json:"digest"`           // what a decision covers
	Rule          string    `json:"rule"`             // why it was asked
	Round         int       `json:"round,omitempty"`  // number of stale approvals before it
	Post          bool      `json:"post,omitempty"`   // ran without approval, shown afterwards
	Undoes        string    `json:"undoes,omitempty"` // the approval whose change this one reverts
	Replaces      string    `json:"replaces,omitempty"`
	ReplacedBy    string    `json:"replacedBy,omitempty"`
	Why           string    `json:"why,omitempty"` // why it ended
	UpdatedAt     time.Time `json:"updatedAt"`
	EndedAt       time.Time `json:"endedAt,omitzero"`
	Version       uint64    `json:"version"` // grows with each change
}

// Context says what a call belongs to on the client's side, as far as the
// client tells. These are unverified labels.
type Context struct {
	ClientSession string `json:"clientSession,omitempty"` // the conversation
	Worktree      string `json:"worktree,omitempty"`
	Branch        string `json:"branch,omitempty"`
	PromptSHA256  string `json:"promptSha256,omitempty"` // of the user's prompt that led to it
}

// Detail is one approval with everything that its reviewer reads.
type Detail struct {
	Approval
	Arguments json.RawMessage `json:"arguments"` // canonical; null once removed by retention
	// ArgumentsLeftOut is the size in bytes of arguments that a brief response
	// omits; Arguments is then null.
	ArgumentsLeftOut int  `json:"argumentsLeftOut,omitempty"`
	Diff             Diff `json:"diff"`
	// Output is what a command printed in a sandbox; no approval covers it.
	// Attempt is what it did in a sandbox that did not contain it, which is
	// not what will run.
	Output        string         `json:"output,omitempty"`
	Attempt       *guard.ExecRun `json:"attempt,omitempty"`
	Effects       []Effect       `json:"effects"`
	Decisions     []Decision     `json:"decisions"`
	Receipt       *Receipt       `json:"receipt"`
	Claim         string         `json:"claim,omitempty"` // the agent's stated reason, unverified
	ServerVersion string         `json:"serverVersion,omitempty"`
	Definition    string         `json:"definition"` // digest of the tool's definition
	PolicyHash    string         `json:"policyHash"`
	Sensitive     bool           `json:"sensitive,omitempty"`
}

// Hazard is something that a reviewer must not miss; it blocks batch approval.
type Hazard struct {
	Kind string `json:"kind"` // stable identifier
	Text string `json:"text"` // a sentence
}

// Contested is the kind of hazard that says that another open approval changes
// the same file or record; its text ends with that approval's identifier.
const Contested = "contested"

// Requester says who asked. Client and Version are unverified.
type Requester struct {
	Actor      string `json:"actor"` // "agent", or "developer" for an undo
	User       string `json:"user"`  // numeric user id
	Client     string `json:"client"`
	Version    string `json:"version,omitempty"`
	PID        int    `json:"pid"`
	Executable string `json:"executable,omitempty"`
	Folder     string `json:"folder,omitempty"`
}

// Diff is the computed change. Text is valid UTF-8. If the change is not, Raw
// holds its bytes and Text is a lossy reading for consumers that need text.
type Diff struct {
	Type        string          `json:"type"` // unified, json_patch, json_diff, exec, message, http, sql, opaque
	Text        string          `json:"text"`
	Raw         []byte          `json:"raw,omitempty"`     // base64 on the wire
	Patch       json.RawMessage `json:"patch,omitempty"`   // RFC 6902
	Preview     json.RawMessage `json:"preview,omitempty"` // [{op, path, from, to}]
	Added       int             `json:"added"`
	Removed     int             `json:"removed"`
	Pruned      bool            `json:"pruned,omitempty"` // the content is no longer kept
	guard.Facts                 // exec, http, message or sql: what Text says, for programs
}

// NewDiff returns a diff that carries text without loss.
func NewDiff(kind, text string) Diff {
	d := Diff{Type: kind, Text: text}
	if !utf8.ValidString(text) {
		d.Raw = []byte(text)
	}
	return d
}

// Bytes returns the text of the change without loss.
func (d Diff) Bytes() []byte {
	if len(d.Raw) > 0 {
		return d.Raw
	}
	return []byte(d.Text)
}

// Effect is one change to one resource.
type Effect struct {
	Kind   string `json:"kind"` // file.write, file.move, …
	Path   string `json:"path"` // relative to the workspace, or the resource's name
	Key    string `json:"key"`  // resolved and absolute
	Root   string `json:"root,omitempty"`
	Dest   string `json:"dest,omitempty"` // of a move
	Before State  `json:"before"`
	After  State  `json:"after"`
}

// State describes a resource without its content.
type State struct {
	Exists   bool   `json:"exists"`
	Kind     string `json:"kind,omitempty"`
	SHA256   string `json:"sha256,omitempty"`
	Size     int64  `json:"size"`
	Mode     string `json:"mode,omitempty"` // octal
	Computed bool   `json:"computed"`
}

// Decision is one reviewer's decision.
type Decision struct {
	Decision   string    `json:"decision"` // allow, deny
	Reason     string    `json:"reason"`
	Digest     string    `json:"digest"`
	User       string    `json:"user"`
	Name       string    `json:"name,omitempty"`
	PID        int       `json:"pid"`
	Executable string    `json:"executable,omitempty"`
	Terminal   string    `json:"terminal,omitempty"`
	Key        string    `json:"key,omitempty"`
	At         time.Time `json:"at"`
}

// Receipt is the outcome of an execution.
type Receipt struct {
	Outcome    string    `json:"outcome"`  // ok, error, unknown, incomplete
	ReadBack   string    `json:"readBack"` // verified, diverged, untouched, unverifiable
	Detail     string    `json:"detail,omitempty"`
	After      []State   `json:"after,omitempty"`
	Reconciled bool      `json:"reconciled,omitempty"` // determined afterwards
	StartedAt  time.Time `json:"startedAt"`
	EndedAt    time.Time `json:"endedAt"`
	// Difference turns the predicted values into the observed ones, as a JSON
	// Patch (RFC 6902) that tests the predicted values. Set only for a record
	// that diverged.
	Difference json.RawMessage `json:"difference,omitempty"`
	Touched    []Touched       `json:"touched,omitempty"`
}

// Divergence is one value of a record that differs from the prediction. An
// absent value is nil.
type Divergence struct {
	Op, Path    string
	Want, Found json.RawMessage
}

// Divergences reads the difference of a receipt; nil if there is none.
func (r Receipt) Divergences() []Divergence {
	var patch []struct {
		Op    string          `json:"op"`
		Path  string          `json:"path"`
		From  string          `json:"from"`
		Value json.RawMessage `json:"value"`
	}
	if jsonvalue.DecodeStrict(r.Difference, &patch) != nil {
		return nil
	}
	var out []Divergence
	was := map[string]json.RawMessage{} // the value tested just before
	for _, o := range patch {
		if o.Op == "test" {
			was[o.Path] = o.Value
			continue
		}
		d := Divergence{Op: o.Op, Path: o.Path, Want: was[o.Path], Found: o.Value}
		if o.From != "" {
			d.Path = o.From + " → " + o.Path
		}
		out = append(out, d)
		clear(was)
	}
	return out
}

// Touched is one thing that the server reports as touched.
type Touched struct {
	Kind string `json:"kind"` // record, message, file, commit or other
	ID   string `json:"id"`   // the server's own name for it
}

// The values of a decision.
const (
	Allow = "allow"
	Deny  = "deny"
)

// DecisionRequest is the body of a decision.
type DecisionRequest struct {
	Decision string `json:"decision"` // Allow or Deny
	Digest   string `json:"digest"`   // the full digest that the reviewer saw
	Reason   string `json:"reason"`   // 3 to 500 characters
}

// ApproversDecision is a human's decision on a configuration that lets more
// approvers decide.
type ApproversDecision struct {
	Decision string `json:"decision"` // Allow or Deny
	Unsigned string `json:"unsigned"` // the setting to decide on
	Reason   string `json:"reason"`   // 3 to 500 characters
}

// Settlement is a human's statement of the outcome of an execution whose
// outcome is unknown.
type Settlement struct {
	Ran    bool   `json:"ran"`
	Reason string `json:"reason"` // 3 to 500 characters
}

// Filter selects approvals; the zero value selects all, newest first.
type Filter struct {
	Status []string
	Run    string
	Server string
	Tenant string
	Since  time.Time
	After  string // continues after this identifier
	Limit  int    // 0 means the server's limit
	Oldest bool   // oldest first
	// Fields lists the members to send, in order; none means all.
	Fields []string
}

// Page is one page of a list of approvals.
type Page struct {
	Approvals []Approval `json:"approvals"`
	Next      string     `json:"next,omitempty"` // for Filter.After; empty at the end
}

// Switch pauses calls. Scope is "" for everything, "server" or "server/tool".
type Switch struct {
	Scope  string    `json:"scope"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Now    bool      `json:"now,omitempty"` // calls in flight were ended
}

// AlertRanUnasked is the kind of alert that lists what a run changed without
// approval. All other kinds report a problem.
const AlertRanUnasked = "ran_unasked"

// Alert is something that a human must see.
type Alert struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"` // policy_widened, diverged, ran_unasked, …
	Text    string    `json:"text"`
	Detail  string    `json:"detail,omitempty"`
	Subject string    `json:"subject,omitempty"` // an approval
	Count   int       `json:"count,omitempty"`   // number of changes, if it combines several
	Status  string    `json:"status"`            // raised, acknowledged, resolved
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"`
	EndedAt time.Time `json:"endedAt,omitzero"`
}

// EventKind says what an event is about.
type EventKind string

// The kinds of event.
const (
	EventApproval EventKind = "approval"
	EventSession  EventKind = "session"
	EventSwitch   EventKind = "switch"
	EventAlert    EventKind = "alert"
	// EventResync says that events were missed: reread what is shown. It is
	// the first event of every watch, and is sent when the daemon restarted or
	// the watcher was too slow.
	EventResync EventKind = "resync"
	// EventLost says that the connection is lost and the client is
	// reconnecting. The client makes this event, not the daemon.
	EventLost EventKind = "lost"
)

// Event is one committed change.
type Event struct {
	ID         string    `json:"id,omitempty"` // where to resume; opaque
	Kind       EventKind `json:"kind"`
	ApprovalID string    `json:"approvalId,omitempty"`
	Status     string    `json:"status,omitempty"` // of the approval after this change
	RunID      string    `json:"runId,omitempty"`
	SessionID  string    `json:"sessionId,omitempty"`
	Scope      string    `json:"scope,omitempty"`
	AlertID    string    `json:"alertId,omitempty"`
	At         time.Time `json:"at,omitzero"`
	// Approval is the approval as it is when the event is sent, which may be
	// after this change; compare versions.
	Approval *Approval `json:"approval,omitempty"`
	Error    string    `json:"error,omitempty"` // of EventLost
}
