package audit

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Type names what happened. The zero value is invalid.
type Type string

// The types of event.
const (
	ToolCallRequested     Type = "tool_call_requested"
	ToolCallAuthorized    Type = "tool_call_authorized"
	ToolCallDenied        Type = "tool_call_denied"
	ToolCallCompleted     Type = "tool_call_completed"  // exactly one for each call
	ToolCallReconciled    Type = "tool_call_reconciled" // an unknown outcome, found out later by read-back or by a human
	ApprovalRequested     Type = "approval_requested"
	ApprovalDecided       Type = "approval_decided"
	ApprovalEnded         Type = "approval_ended" // expired, lapsed, stale, cancelled: without a decision that counts
	SessionOpened         Type = "session_opened"
	SessionClosed         Type = "session_closed"
	PolicyLoaded          Type = "policy_loaded"
	ToolDefinitionChanged Type = "tool_definition_changed"
	SwitchChanged         Type = "switch_changed"
	AlertRaised           Type = "alert_raised"
	AlertAcknowledged     Type = "alert_acknowledged"
	AlertResolved         Type = "alert_resolved"
	DaemonStarted         Type = "daemon_started"
	DaemonStopped         Type = "daemon_stopped"
)

// Types lists every type of event.
var Types = [...]Type{
	ToolCallRequested, ToolCallAuthorized, ToolCallDenied, ToolCallCompleted, ToolCallReconciled,
	ApprovalRequested, ApprovalDecided, ApprovalEnded, SessionOpened, SessionClosed, PolicyLoaded,
	ToolDefinitionChanged, SwitchChanged, AlertRaised, AlertAcknowledged, AlertResolved,
	DaemonStarted, DaemonStopped,
}

// Valid reports whether t is one of the named types.
func (t Type) Valid() bool {
	for _, v := range Types {
		if v == t {
			return true
		}
	}
	return false
}

// Status says how a call ended. Other events carry the status of what they are
// about, for example of an approval, or none.
type Status string

// The statuses of a completed call.
const (
	StatusOK        Status = "ok"
	StatusError     Status = "error"
	StatusDenied    Status = "denied"
	StatusExpired   Status = "expired"
	StatusCancelled Status = "cancelled"
	StatusBlocked   Status = "blocked_pending_approval"
	StatusUnknown   Status = "unknown"
)

// Valid reports whether s may stand in a tool_call_completed.
func (s Status) Valid() bool {
	switch s {
	case StatusOK, StatusError, StatusDenied, StatusExpired, StatusCancelled, StatusBlocked, StatusUnknown:
		return true
	}
	return false
}

// Actor says on whose behalf something was done.
type Actor struct {
	UserID      string `json:"user_id"`      // numeric user id
	WorkspaceID string `json:"workspace_id"` // the profile, or the client's folder
}

// Origin says which process did it, as the daemon saw it.
type Origin struct {
	Client     string `json:"client"`
	Version    string `json:"version"`
	PID        int    `json:"pid"`
	Executable string `json:"executable"`
	Folder     string `json:"folder"`
}

// Tool names the tool, the version that its server states, and the definition
// in force.
type Tool struct {
	Server           string        `json:"server"`
	Name             string        `json:"name"`
	Version          string        `json:"version"`
	DefinitionSHA256 digest.Digest `json:"definition_sha256"`
}

// Payload is what went in or came out: the digest of the bytes, and a redacted
// preview of them, which may be empty.
type Payload struct {
	SHA256   digest.Digest `json:"sha256"`
	Redacted string        `json:"redacted"`
}

// Gates says what stood in the way of a call.
type Gates struct {
	RequiresApproval bool             `json:"requires_approval"`
	ApprovalID       guard.ApprovalID `json:"approval_id"`
}

// Receipt is one thing that a call is known to have touched.
type Receipt struct {
	Kind string `json:"kind"` // "file", "record", "message", "commit" or "other"
	ID   string `json:"id"`
}

// Event is one record of the log. Every key is present in every record; what
// does not apply is empty, and a digest that does not apply is null.
type Event struct {
	Version       int             `json:"version"` // of the record; 0 is the current one, and 1 is not written out
	Event         Type            `json:"event"`
	EventID       guard.EventID   `json:"event_id"`
	Timestamp     time.Time       `json:"timestamp"` // kept in UTC to the millisecond
	CorrelationID string          `json:"correlation_id"`
	CallID        guard.CallID    `json:"call_id"` // of this daemon; the correlation id is a client's word and may repeat
	RunID         guard.RunID     `json:"run_id"`
	SessionID     guard.SessionID `json:"session_id"`
	TenantID      string          `json:"tenant_id"`
	Environment   string          `json:"environment"`
	Workflow      string          `json:"workflow"`
	Actor         Actor           `json:"actor"`
	Origin        Origin          `json:"origin"`
	Tool          Tool            `json:"tool"`
	ArgsSHA256    digest.Digest   `json:"args_sha256"` // of the canonical arguments
	Input         Payload         `json:"input"`
	Output        Payload         `json:"output"`
	Gates         Gates           `json:"gates"`
	Verdict       string          `json:"verdict"` // "", "deny", "ask", "allow"
	Rule          guard.Rule      `json:"rule"`
	Risk          string          `json:"risk"` // "", "safe", "caution", "high"
	Reason        string          `json:"reason"`
	DiffSHA256    digest.Digest   `json:"diff_sha256"` // of the text that the reviewer reads
	Status        Status          `json:"status"`
	DurationMS    int64           `json:"duration_ms"`
	Receipts      []Receipt       `json:"receipts"`
	PromptSHA256  digest.Digest   `json:"prompt_sha256"`
}

// Bounds of what one event may hold, in bytes. Longer text is cut at a rune and
// marked; digests cover the whole.
const (
	maxName     = 1 << 10
	maxText     = 64 << 10
	maxReceipts = 1 << 10
)

// Normalize returns the event as it will be recorded: of the current version
// where it has none, a time in UTC to the millisecond, valid UTF-8, texts within
// their bounds. It is idempotent.
func (e Event) Normalize() Event {
	if e.Version == 0 {
		e.Version = Version
	}
	e.Timestamp = e.Timestamp.UTC().Truncate(time.Millisecond)
	for _, s := range []*string{
		(*string)(&e.EventID), &e.CorrelationID, (*string)(&e.CallID), (*string)(&e.RunID), (*string)(&e.SessionID),
		&e.TenantID, &e.Environment, &e.Workflow, &e.Actor.UserID, &e.Actor.WorkspaceID,
		&e.Origin.Client, &e.Origin.Version, &e.Tool.Server, &e.Tool.Name, &e.Tool.Version,
		(*string)(&e.Gates.ApprovalID), (*string)(&e.Rule), &e.Risk,
	} {
		*s = clip(*s, maxName)
	}
	for _, s := range []*string{&e.Origin.Executable, &e.Origin.Folder, &e.Input.Redacted, &e.Output.Redacted, &e.Reason} {
		*s = clip(*s, maxText)
	}
	if len(e.Receipts) > 0 {
		n := min(len(e.Receipts), maxReceipts)
		list := make([]Receipt, n)
		for i, r := range e.Receipts[:n] {
			list[i] = Receipt{Kind: clip(r.Kind, maxName), ID: clip(r.ID, maxText)}
		}
		e.Receipts = list
	}
	return e
}

// clip bounds s and makes it valid UTF-8. A cut text ends in a mark that says
// how long it was; a text that is already marked fits and stays as it is.
func clip(s string, limit int) string {
	if len(s) <= limit && utf8.ValidString(s) {
		return s
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	mark := fmt.Sprintf("…[%d bytes]", len(s))
	cut := limit - len(mark)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}

// check says what keeps a normalised event out of the log.
func (e Event) check() error {
	switch {
	case e.Version < 1 || e.Version > Version:
		return fmt.Errorf("the version %d of the record is not known", e.Version)
	case !e.Event.Valid():
		return fmt.Errorf("unknown event type %q", e.Event)
	case e.EventID == "":
		return errors.New("the event has no id")
	case e.Timestamp.IsZero():
		return errors.New("the event has no timestamp")
	case e.Timestamp.Year() < 1 || e.Timestamp.Year() > 9999:
		return fmt.Errorf("the year %d does not fit the format of a timestamp", e.Timestamp.Year())
	case e.Event == ToolCallCompleted && !e.Status.Valid():
		return fmt.Errorf("%q is not a status of a completed call", e.Status)
	case len(e.Status) > 64 || !utf8.ValidString(string(e.Status)):
		return errors.New("the status is no word")
	case e.Verdict != "" && e.Verdict != guard.Allow.String() && e.Verdict != guard.Ask.String() && e.Verdict != guard.Deny.String():
		return fmt.Errorf("unknown verdict %q", e.Verdict)
	case e.DurationMS < -maxInt || e.DurationMS > maxInt || int64(e.Origin.PID) < -maxInt || int64(e.Origin.PID) > maxInt:
		return errors.New("a number is outside the range that canonical JSON can carry")
	}
	return nil
}

// maxInt is the largest integer that survives RFC 8785: 2^53.
const maxInt = 1 << 53
