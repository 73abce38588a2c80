package proxy

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/mcpguard/mcpguard/internal/approval"
	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/policy"
	"github.com/mcpguard/mcpguard/internal/redact"
	"github.com/mcpguard/mcpguard/internal/store"
	"github.com/mcpguard/mcpguard/internal/upstream"
)

// Recorder stores audit events.
type Recorder interface {
	// Record returns once the events are durable.
	Record(ctx context.Context, events ...audit.Event) error
	// RecordAsync makes the events durable within 50 ms. It drops none.
	RecordAsync(events ...audit.Event)
}

// Calls counts calls and closes each of them exactly once.
type Calls interface {
	OpenCall(ctx context.Context, c store.Call, events ...audit.Event) error
	OpenCallAsync(c store.Call, events ...audit.Event) error
	CloseCall(ctx context.Context, id guard.CallID, completed audit.Event) error
	CloseCallAsync(id guard.CallID, completed audit.Event)
	CallsInRun(tenant string, run guard.RunID, server, tool string) int
}

// Executions stores intents and receipts.
type Executions interface {
	Begin(ctx context.Context, in guard.Intent, events ...audit.Event) error
	BeginPost(ctx context.Context, in guard.Intent, a guard.Approval, events ...audit.Event) error
	Finish(ctx context.Context, r guard.Receipt, completed audit.Event) (guard.Approval, error)
	Reconcile(ctx context.Context, id guard.CallID, r guard.Receipt) (guard.Approval, error)
}

// Warden reports what switches stop, and takes alerts.
type Warden interface {
	Switches() []guard.Switch
	RaiseAlert(ctx context.Context, a store.Alert) error
}

// Store is the durable state of a session; *store.Store implements it.
type Store interface {
	Recorder
	Calls
	Executions
	Warden
	Memory
}

// Redactor removes secrets from what goes back to the model. It is safe for
// concurrent use.
type Redactor interface {
	// JSON returns one JSON value without secrets. It returns value itself if
	// there are none, and an error if it cannot search all of it.
	JSON(value []byte) ([]byte, []redact.Finding, error)
}

// Clock reads the wall clock and the time since boot.
type Clock interface{ Now() guard.Now }

// Config configures one session. All fields are required unless they say
// otherwise.
type Config struct {
	Session guard.Session      // as opened by the daemon
	Client  io.ReadWriteCloser // received from the shim; Serve closes it

	// Upstream starts the server; Serve calls it once and stops what it returns.
	Upstream func(ctx context.Context) (upstream.Conn, error)
	// Policy returns the set in force, which may change at any time.
	Policy func() *policy.Set

	Store     Store
	Approvals *approval.Approvals
	Locks     *Locks // shared by all sessions
	Meter     *Meter // shared by all sessions
	Redactor  Redactor
	Clock     Clock

	// Roots are the workspace folders as absolute paths. File effects must
	// stay within them, and they are the guard's answer to roots/list.
	Roots []string
	// Commands runs commands in a sandbox. Nil if the session's server runs no
	// commands whose changes could be landed.
	Commands effect.Commands
	// ServerRoots are the folders that the upstream itself was given, if
	// known. Home is its home folder. Both may be empty.
	ServerRoots []string
	Home        string

	// Undoes is the approval that the session's call undoes, for a session of
	// the developer's own; empty for all others.
	Undoes guard.ApprovalID
	// Note is shown to the reviewer of each change in the session, beside the
	// preview; may be empty.
	Note string

	// Spill is a folder on disk for the bytes of long calls that wait; empty
	// keeps them in memory.
	Spill string

	Limits jsonrpc.Limits // zero means the defaults
	Grace  time.Duration  // for executions at the end of the session; zero means 10 s
	Log    *slog.Logger   // names the session; may be nil

	// Context returns the context of a call on the client's side. It is called
	// for calls that carry the client's tool-use ID (their correlation ID),
	// once the tool and the canonical arguments are known. May be nil.
	Context func(guard.ToolCall) guard.Context

	// NeedsPerson reports whether a human must decide on the client's request
	// with this ID even if the policy allows it, because the client would ask
	// its user. May be nil.
	NeedsPerson func(id jsonrpc.ID, p guard.Preview) bool

	// Collect blocks until the client asks for the changes of a command that
	// has run in a sandbox and may be carried out. It returns at once if the
	// client does not need to ask. An error is a sentence that says why the
	// client will not ask. May be nil.
	Collect func(context.Context, Collected) error

	// Notice shows one line to the developer, on the shim's standard error.
	// May be nil.
	Notice func(line string)
	// Identified is called with the client's own name and version once they
	// are known. May be nil.
	Identified func(client, version string)
	// ServerInfo is called with the server's own name and version each time
	// the server sends them. May be nil.
	ServerInfo func(name, version string)
	// Waiting is called with the server's tools that wait for acceptance,
	// sorted by name, each time they change. It must not block. May be nil.
	Waiting func([]Waiting)
	// Changed receives a value when the policy or the switches change. The
	// client is then told if it would see another list of tools, and what a
	// switch stops at once is ended. May be nil.
	Changed <-chan struct{}

	// Leave is closed when this daemon stops and another may continue the
	// session. Serve then stops reading between two frames, finishes what it
	// has begun, and passes the session to Left before it returns, unless it
	// cannot be continued. Client must have the method SetReadDeadline. Both
	// may be nil.
	Leave <-chan struct{}
	Left  func(ipc.Handback)
	// Kept is a session that an earlier daemon has left. Its handshake is
	// repeated to the upstream, and its unread bytes are read before those of
	// Client. May be nil.
	Kept *ipc.Handback
}

// Collected is a command whose changes the client has to ask for.
type Collected struct {
	ID       jsonrpc.ID // of the client's request
	Call     guard.CallID
	Record   string // of the sandbox's run
	Reviewed bool   // a human has approved it
}

// Waiting is a tool that cannot be called because its definition is not the
// accepted one.
type Waiting struct {
	Tool       string
	SHA256     digest.Digest // of Definition; zero where it cannot be accepted
	Definition []byte        // as listed by the server; nil if it lists the tool twice
	Accepted   []byte        // nil if none was accepted
}

// notBegun returns the session for the next daemon when nothing of it was
// read.
func (c Config) notBegun() ipc.Handback {
	if c.Kept == nil {
		return ipc.Handback{}
	}
	b := *c.Kept
	b.InFlight = nil // they have been answered
	return b
}

// maxFrame returns the largest frame in bytes.
func (c Config) maxFrame() int {
	if c.Limits.MaxFrame > 0 {
		return c.Limits.MaxFrame
	}
	return jsonrpc.DefaultMaxFrame
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Notice == nil {
		c.Notice = func(string) {}
	}
	if c.Context == nil {
		c.Context = func(guard.ToolCall) guard.Context { return guard.Context{} }
	}
	if c.Identified == nil {
		c.Identified = func(string, string) {}
	}
	if c.ServerInfo == nil {
		c.ServerInfo = func(string, string) {}
	}
	if c.Waiting == nil {
		c.Waiting = func([]Waiting) {}
	}
	if c.Left == nil {
		c.Left = func(ipc.Handback) {}
	}
	if c.Grace <= 0 {
		c.Grace = 10 * time.Second
	}
	return c
}

// Limits that are not configurable.
const (
	recordTimeout   = 10 * time.Second // of one durable write
	progressEvery   = 8 * time.Second  // between two progress notifications to a waiting client
	ownListTimeout  = 20 * time.Second // of the guard's own tools/list, all pages
	ownListPages    = 100
	defaultTimeout  = 60 * time.Second // of a call, if the policy sets none
	readGrace       = 2 * time.Second  // for reads at the end of the session
	maxInFlight     = 1024             // unsettled requests of one client
	maxAsked        = 256              // requests of one upstream that the client has not answered
	keptLine        = 1 << 20          // bytes of the buffer to the client that stay allocated
	clientPatience  = time.Minute      // with a client that does not read
	stopTimeout     = 15 * time.Second // for the upstream to end
	finishAgain     = time.Second      // first delay before recording a failed receipt again
	readBackTimeout = 30 * time.Second // of one read-back
)
