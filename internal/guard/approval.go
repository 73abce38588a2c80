package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/safetext"
)

// Status is the state of an approval. The zero value is invalid.
type Status string

// The statuses.
const (
	Pending   Status = "pending"
	Approved  Status = "approved"
	Executing Status = "executing"
	Executed  Status = "executed"
	Failed    Status = "failed"  // the upstream reported an error
	Unknown   Status = "unknown" // no receipt; never retried
	Stale     Status = "stale"   // target, tool or policy changed before execution
	Lapsed    Status = "lapsed"  // approved, not used in time
	Denied    Status = "denied"
	Expired   Status = "expired"
	Cancelled Status = "cancelled"
)

// Statuses lists every status in the order of an approval's life.
var Statuses = [...]Status{Pending, Approved, Executing, Executed, Failed, Unknown, Stale, Lapsed, Denied, Expired, Cancelled}

var transitions = map[Status][]Status{
	Pending:   {Approved, Denied, Expired, Cancelled, Stale},
	Approved:  {Executing, Stale, Lapsed, Cancelled},
	Executing: {Executed, Failed, Unknown},
	Unknown:   {Executed, Failed},
}

// Valid reports whether s is one of the named statuses.
func (s Status) Valid() bool {
	for _, v := range Statuses {
		if v == s {
			return true
		}
	}
	return false
}

// Final reports whether no status can follow s. Unknown is not final: a
// read-back or a human may still resolve it.
func (s Status) Final() bool { return s.Valid() && len(transitions[s]) == 0 }

// Open reports whether a call may still join an approval in this status.
func (s Status) Open() bool { return s == Pending || s == Approved }

// ErrTransition is wrapped by every refused status change.
var ErrTransition = errors.New("not a legal transition")

// CheckTransition returns nil if an approval may go directly from one status
// to the other.
func CheckTransition(from, to Status) error {
	for _, t := range transitions[from] {
		if t == to {
			return nil
		}
	}
	return fmt.Errorf("%s → %s: %w", from, to, ErrTransition)
}

// TimeBox bounds the life of an approval: TTL to decide, UseWithin to execute
// after approval.
type TimeBox struct {
	TTL       time.Duration `json:"ttl"`
	UseWithin time.Duration `json:"use_within"`
}

// DefaultTimeBox returns the time box of a tier: 15 minutes to decide up to
// T1, 5 minutes above, and 2 minutes to use.
func DefaultTimeBox(t Tier) TimeBox {
	if t == T0Read || t == T1ReversibleWrite {
		return TimeBox{TTL: 15 * time.Minute, UseWithin: 2 * time.Minute}
	}
	return TimeBox{TTL: 5 * time.Minute, UseWithin: 2 * time.Minute}
}

// MaxStaleRounds is how often one call may go stale before it is denied.
const MaxStaleRounds = 3

// Approval is one write that needs approval, and its history. Values are
// copies; only the store changes them.
type Approval struct {
	ID        ApprovalID `json:"id"`
	Status    Status     `json:"status"`
	Tenant    string     `json:"tenant"`
	RunID     RunID      `json:"run_id"`
	SessionID SessionID  `json:"session_id"` // of the newest call that joined
	CallID    CallID     `json:"call_id"`    // the newest call that joined
	// HeldBy is the call that still waits for this approval; empty once that
	// call has been answered early. An approval with a waiting call ends with
	// the call's session.
	HeldBy        CallID        `json:"held_by,omitempty"`
	CorrelationID string        `json:"correlation_id"`
	Environment   string        `json:"environment"`
	Workflow      string        `json:"workflow"`
	Server        string        `json:"server"`
	Tool          string        `json:"tool"`
	ServerVersion string        `json:"server_version,omitempty"` // as the server states it, unverified
	Tier          Tier          `json:"tier"`
	Sensitive     bool          `json:"sensitive,omitempty"`
	Definition    digest.Digest `json:"definition"`
	PolicyHash    string        `json:"policy_hash"`
	Digest        digest.Digest `json:"digest"`
	ArgsRaw       digest.Digest `json:"args_raw"`
	Args          []byte        `json:"args"` // canonical arguments, unredacted
	Preview       Preview       `json:"preview"`
	Rule          Rule          `json:"rule"` // why it was asked
	RequestedBy   Origin        `json:"requested_by"`
	Context       Context       `json:"context,omitzero"`
	Claim         string        `json:"claim,omitempty"` // the agent's stated reason, unverified
	RequestedAt   time.Time     `json:"requested_at"`
	Box           TimeBox       `json:"box"`
	Expires       Deadline      `json:"expires"`               // to decide
	UseBy         Deadline      `json:"use_by,omitzero"`       // to execute, set by the decision
	Round         int           `json:"round"`                 // 0, then one more after each stale round
	Replaces      ApprovalID    `json:"replaces,omitempty"`    // the stale approval before this one
	ReplacedBy    ApprovalID    `json:"replaced_by,omitempty"` // the fresh approval after this one
	Post          bool          `json:"post,omitempty"`        // ran without approval, shown afterwards
	Undoes        ApprovalID    `json:"undoes,omitempty"`      // the approval whose change this one reverts
	Signoffs      []Signoff     `json:"signoffs,omitempty"`
	Receipt       *Receipt      `json:"receipt,omitempty"`
	Why           string        `json:"why,omitempty"` // why it ended, a sentence
	UpdatedAt     time.Time     `json:"updated_at"`
	EndedAt       time.Time     `json:"ended_at,omitzero"`
	Version       uint64        `json:"version"` // grows with each change
}

// Target names the first resource that the approval would change, for display
// on one line. It falls back to the tool, and is the tool for a command.
func (a Approval) Target() string {
	for _, e := range a.Preview.Effects {
		if e.Kind == string(ChangeExec) {
			return a.Tool // the first of many paths tells nothing of a command; its summary does
		}
		if e.Resource.Path != "" {
			return e.Resource.Path
		}
	}
	return a.Tool
}

// Signoff is one approver's decision on one digest.
type Signoff struct {
	Approve bool          `json:"approve"`
	Digest  digest.Digest `json:"digest"` // the digest that the reviewer saw
	Reason  string        `json:"reason"`
	By      Approver      `json:"by"`
	At      time.Time     `json:"at"`
}

// Approver says who decided, as the daemon saw the peer.
type Approver struct {
	User       string `json:"user"` // numeric user id
	Name       string `json:"name,omitempty"`
	PID        int    `json:"pid"`
	Executable string `json:"executable,omitempty"`
	Terminal   string `json:"terminal,omitempty"`
	Key        string `json:"key,omitempty"` // fingerprint, if the decision is signed
}

// Bounds of a reason, in characters after trimming.
const (
	MinReason = 3
	MaxReason = 500
)

// CheckReason returns the trimmed reason, or an error that says what is wrong.
// Invisible characters do not count towards the minimum length.
func CheckReason(s string) (string, error) {
	s = strings.TrimSpace(s)
	if !utf8.ValidString(s) {
		return "", errors.New("the reason is not valid UTF-8")
	}
	inked := strings.TrimFunc(s, func(r rune) bool { return !safetext.Seen(r) })
	least := 0
	for _, r := range inked {
		if r == ' ' || safetext.Seen(r) {
			least++
		}
	}
	switch n := utf8.RuneCountInString(s); {
	case n < MinReason, n <= MaxReason && least < MinReason:
		return "", fmt.Errorf("a reason of at least %d visible characters is required", MinReason)
	case n > MaxReason:
		return "", fmt.Errorf("the reason has %d characters; at most %d are kept", n, MaxReason)
	}
	return s, nil
}

// Outcome says how an execution ended.
type Outcome string

// The outcomes of an execution.
const (
	OutcomeOK         Outcome = "ok"
	OutcomeError      Outcome = "error"      // the upstream answered with an error
	OutcomeUnknown    Outcome = "unknown"    // timeout, dead upstream, crash
	OutcomeIncomplete Outcome = "incomplete" // input_required: asks for more
)

// ReadBack is the result of reading the target after execution.
type ReadBack string

// The results of a read-back.
const (
	Verified     ReadBack = "verified"     // the target is as predicted
	Diverged     ReadBack = "diverged"     // the target is neither as predicted nor as before
	Untouched    ReadBack = "untouched"    // the target is as it was before
	Unverifiable ReadBack = "unverifiable" // the target cannot be read back
)

// Intent is the durable record that a call is about to run.
type Intent struct {
	CallID     CallID        `json:"call_id"`
	ApprovalID ApprovalID    `json:"approval_id,omitempty"` // empty where policy allowed
	SessionID  SessionID     `json:"session_id"`
	RunID      RunID         `json:"run_id"`
	Tenant     string        `json:"tenant"`
	Server     string        `json:"server"`
	Tool       string        `json:"tool"`
	Tier       Tier          `json:"tier"`
	Digest     digest.Digest `json:"digest"`
	ArgsRaw    digest.Digest `json:"args_raw"`
	ArgsSum    digest.Digest `json:"args_sum,omitzero"` // of the canonical arguments; identifies identical calls
	Effects    []Effect      `json:"effects"`
	Record     string        `json:"record,omitempty"` // the captured run of a command, which is landed
	// Touches lists the hosts, recipients and tables of the call, so that
	// later calls know which are new to their tenant.
	Touches []string  `json:"touches,omitempty"`
	At      time.Time `json:"at"`
	// Upstream identifies the process that runs the call, so that a later
	// daemon can tell whether it is still alive.
	Upstream UpstreamRef `json:"upstream"`
	// Unknown is set when no receipt can arrive any more; the target stays
	// locked.
	Unknown bool `json:"unknown,omitempty"`
}

// UpstreamRef identifies one upstream process.
type UpstreamRef struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time"`
	BootID    string `json:"boot_id"`
}

// Receipt is the outcome of an execution.
type Receipt struct {
	CallID   CallID   `json:"call_id"`
	Outcome  Outcome  `json:"outcome"`
	ReadBack ReadBack `json:"read_back"`
	Detail   string   `json:"detail,omitempty"` // a sentence
	After    []State  `json:"after,omitempty"`  // per effect, as read back
	// Difference turns the predicted values into the observed ones, as a JSON
	// Patch (RFC 6902) that tests the predicted values. Set only for a record
	// that diverged.
	Difference json.RawMessage `json:"difference,omitempty"`
	// Touched is what the server reports as touched.
	Touched    []Touched     `json:"touched,omitempty"`
	Result     digest.Digest `json:"result"` // of the upstream's result
	ResultSize int           `json:"result_size"`
	Reconciled bool          `json:"reconciled,omitempty"` // determined by a later read-back
	StartedAt  time.Time     `json:"started_at"`
	EndedAt    time.Time     `json:"ended_at"`
}

// Touched is one thing that a result reports as touched, under the server's
// own name for it.
type Touched struct {
	Kind string `json:"kind"` // record, message, file, commit or other
	ID   string `json:"id"`
}

// Status returns the approval status that follows from the receipt.
func (r Receipt) Status() Status {
	switch r.Outcome {
	case OutcomeOK:
		return Executed
	case OutcomeError:
		return Failed
	}
	return Unknown
}

// Switch pauses calls. Scope is "" for everything, "server" or "server/tool".
type Switch struct {
	Scope  string    `json:"scope"`
	Reason string    `json:"reason"`
	By     Approver  `json:"by"`
	At     time.Time `json:"at"`
	// Now also ends calls in flight; a call that has begun to change files
	// finishes.
	Now bool `json:"now,omitempty"`
}

// Stops reports whether the switch applies to a tool of a server.
func (s Switch) Stops(server, tool string) bool {
	return s.Scope == "" || s.Scope == server || s.Scope == server+"/"+tool
}

// Pin is an accepted tool definition.
type Pin struct {
	Server     string        `json:"server"`
	Tool       string        `json:"tool"`
	SHA256     digest.Digest `json:"sha256"` // of the canonical definition
	Definition []byte        `json:"definition"`
	AcceptedAt time.Time     `json:"accepted_at"`
	AcceptedBy string        `json:"accepted_by"`
}
