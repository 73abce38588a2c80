package store

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Clock returns the time on both clocks. It must be safe for concurrent use.
type Clock interface{ Now() guard.Now }

// Options are the settings of a store. Path and Clock are required.
type Options struct {
	// Path is the database file. Beside it, with other suffixes, stand its
	// journal, the key that signs checkpoints, and the last checkpoint.
	Path  string
	Clock Clock
	Log   *slog.Logger // default: none
	// CreateNew lets Open create a database. If the head shows that there was
	// one before, a missing file is an error all the same.
	CreateNew bool
	// LockTimeout is how long Open waits for another process to release the
	// file; default 1 s.
	LockTimeout time.Duration
	// WriteTimeout is how long a durable write may take before its caller is
	// told that the outcome is indeterminate; default 30 s.
	WriteTimeout time.Duration
	// Hook is for tests. The committing goroutine calls it at the named
	// points; an error stands for a failure at that point.
	Hook func(Point) error
}

// Point names a point where a test may make the store fail or die.
type Point string

// The points.
const (
	PointBeforeCommit Point = "before_commit" // the operations ran, nothing is written
	PointAfterCommit  Point = "after_commit"  // all is durable, no one has been told yet
	PointBeforeFlush  Point = "before_flush"  // the journal is about to be taken into the database
	PointAfterFlush   Point = "after_flush"   // it was, and the journal begins again
	PointRecover      Point = "recover"       // before the state is read again from disk
	PointBeforeHead   Point = "before_head"   // before the head file is replaced
)

// The errors that callers branch on.
var (
	ErrNotFound      = errors.New("no such record")
	ErrClosed        = errors.New("the call is completed already")
	ErrNotOpen       = errors.New("the call is not open")
	ErrLimit         = errors.New("the limit of calls per run is reached")
	ErrDigest        = errors.New("the digest is not that of the approval")
	ErrSuperseded    = errors.New("continued by a later call")
	ErrOtherRun      = errors.New("the approval belongs to another run")
	ErrStopped       = errors.New("a switch stops this tool")
	ErrNeedsApproval = errors.New("this tier does not run without an approval")
	ErrIntentOpen    = errors.New("the call has an intent without a receipt")
	ErrShut          = errors.New("the store is closed")
	// ErrIndeterminate means that a write failed and may or may not have
	// happened. Nothing executes until the state has been read again.
	ErrIndeterminate = errors.New("the state of the store is not known until it is read again from disk")
	// ErrNotRecorded means that a write failed and certainly did not happen.
	ErrNotRecorded = errors.New("the write failed and nothing was recorded")
	// ErrMissing means that an expected database does not exist, or is empty,
	// truncated or not a database of this program.
	ErrMissing = errors.New("the database is missing or damaged")
	// ErrSchema means that the file is of a later version of the program.
	ErrSchema = errors.New("the database was written by a later version")
)

// StateError says that the state of an approval does not allow a transition.
type StateError struct {
	ID     guard.ApprovalID
	Status guard.Status // that it has
	Why    string       // why it ended, if it has
}

// Error implements error.
func (e *StateError) Error() string {
	if e.Why != "" {
		return fmt.Sprintf("approval %s is %s: %s", e.ID, e.Status, e.Why)
	}
	return fmt.Sprintf("approval %s is %s", e.ID, e.Status)
}

// DuplicateError says that the run already has an open approval for the same
// tool and digest. The call should join that one.
type DuplicateError struct{ ID guard.ApprovalID }

// Error implements error.
func (e *DuplicateError) Error() string {
	return fmt.Sprintf("approval %s is open for the same call", e.ID)
}

// RunKey identifies a client process across restarts of the daemon.
type RunKey struct {
	BootID    string
	PID       int
	StartTime uint64
}

// Call is a tool call that has come in.
type Call struct {
	ID            guard.CallID    `json:"id"`
	SessionID     guard.SessionID `json:"session_id"`
	RunID         guard.RunID     `json:"run_id"`
	Tenant        string          `json:"tenant"`
	Server        string          `json:"server"`
	Tool          string          `json:"tool"`
	CorrelationID string          `json:"correlation_id"`
	// Limit is how many calls of this tool its run may make; 0 is no limit.
	Limit int `json:"limit,omitempty"`
	// Continues means that the call joins the approval of an identical call
	// that was already counted.
	Continues bool `json:"continues,omitempty"`
}

// Filter selects approvals. The zero value selects all, oldest first.
type Filter struct {
	Tenant string
	Status []guard.Status // none means every status
	Run    guard.RunID
	Server string
	Since  time.Time        // requested at or after
	After  guard.ApprovalID // continues behind this one, in the order asked for
	Limit  int              // 0 means all
	Newest bool             // the newest first
	// Full loads arguments and the texts of the change. Without it they are
	// empty, and listing needs no decompression.
	Full bool
}

// AlertStatus is the state of an alert.
type AlertStatus string

// The statuses of an alert.
const (
	AlertRaised       AlertStatus = "raised"
	AlertAcknowledged AlertStatus = "acknowledged" // a human has seen it
	AlertResolved     AlertStatus = "resolved"     // its cause is gone
)

// Alert is something that a human must see.
type Alert struct {
	ID     guard.EventID `json:"id"` // of its alert_raised event
	Tenant string        `json:"tenant,omitempty"`
	Kind   string        `json:"kind"` // stable identifier, e.g. "policy_widened", "log_rolled_back"
	// Key distinguishes alerts of one kind. While an alert is unresolved,
	// another with the same tenant, kind and key is not raised.
	Key     string           `json:"key,omitempty"`
	Text    string           `json:"text"`             // a sentence
	Detail  string           `json:"detail,omitempty"` // for example a diff
	Subject guard.ApprovalID `json:"subject,omitempty"`
	// Count is how many events the alert stands for, if it collects several;
	// Recent lists the newest of them, newest last.
	Count   int            `json:"count,omitempty"`
	Recent  []AlertItem    `json:"recent,omitempty"`
	Status  AlertStatus    `json:"status"`
	At      time.Time      `json:"at"`
	By      guard.Approver `json:"by,omitzero"` // who acknowledged or resolved it
	EndedAt time.Time      `json:"ended_at,omitzero"`
}

// AlertItem is one of the events that an alert collects.
type AlertItem struct {
	ID   guard.ApprovalID `json:"id"`
	Text string           `json:"text"`
}

// Record is one record of the audit log.
type Record struct {
	Index int64
	Raw   []byte // canonical JSON, as hashed
	Event audit.Event
}

// EventFilter selects records of the audit log, oldest first unless Newest is
// set.
type EventFilter struct {
	From   int64 // the first index looked at; with Newest the last one, 0 meaning the end
	Limit  int   // of records returned; 0 means 1,000
	Newest bool
	Run    guard.RunID      // only of this run
	About  guard.ApprovalID // only about this approval
	Types  []audit.Type     // only of these types
}

// Recovered reports what Startup found and settled.
type Recovered struct {
	Sessions  []guard.SessionID // were open, are closed now
	Calls     []guard.CallID    // were open, are completed now
	Unknown   []guard.Intent    // were executing; their outcome is not known
	Cancelled []guard.ApprovalID
	Ended     []guard.ApprovalID // expired or lapsed meanwhile
}

// Pruned reports what Prune removed.
type Pruned struct {
	Approvals int   // whose contents were dropped
	Blobs     int   // contents
	Bytes     int64 // of them, as stored
	Calls     int   // markers of completed calls
}

// ChangeKind is the subject of a change.
type ChangeKind string

// The kinds of change.
const (
	ChangeApproval ChangeKind = "approval"
	ChangeSession  ChangeKind = "session"
	ChangeSwitch   ChangeKind = "switch"
	ChangeAlert    ChangeKind = "alert"
	// ChangeResync means that changes were dropped because the watcher was too
	// slow: it must read everything again.
	ChangeResync ChangeKind = "resync"
)

// Change is one committed change; read the object by its id. Seq grows by one
// with each change and restarts with the process.
type Change struct {
	Seq        uint64
	Kind       ChangeKind
	Tenant     string
	ApprovalID guard.ApprovalID
	Status     guard.Status // of the approval
	RunID      guard.RunID
	SessionID  guard.SessionID
	Scope      string        // of the switch
	AlertID    guard.EventID // of the alert
	At         time.Time
}
