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

// Recorder keeps audit events.
type Recorder interface {
	// Record returns once the events are durable.
	Record(ctx context.Context, events ...audit.Event) error
	// RecordAsync makes them durable within 50 ms and drops none.
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

// Executions keeps intents and receipts.
type Executions interface {
	Begin(ctx context.Context, in guard.Intent, events ...audit.Event) error
	BeginPost(ctx context.Context, in guard.Intent, a guard.Approval, events ...audit.Event) error
	Finish(ctx context.Context, r guard.Receipt, completed audit.Event) (guard.Approval, error)
	Reconcile(ctx context.Context, id guard.CallID, r guard.Receipt) (guard.Approval, error)
}

// Warden says what is stopped, and takes alerts.
type Warden interface {
	Switches() []guard.Switch
	RaiseAlert(ctx context.Context, a store.Alert) error
}

// Store is what a session keeps durably; *store.Store is one.
type Store interface {
	Recorder
	Calls
	Executions
	Warden
	Memory
}

// Redactor takes secrets out of what goes back to the model. It is safe for
// concurrent use.
type Redactor interface {
	// JSON returns value, one JSON value, without secrets: value itself where
	// there are none, an error where it cannot tell.
	JSON(value []byte) ([]byte, []redact.Finding, error)
}

// Clock reads both clocks.
type Clock interface{ Now() guard.Now }

// Config is one session. All fields are required unless they say otherwise.
type Config struct {
	Session guard.Session      // as the daemon has opened it
	Client  io.ReadWriteCloser // what the shim handed over; Serve closes it

	// Upstream starts the server; Serve calls it once and stops what it returns.
	Upstream func(ctx context.Context) (upstream.Conn, error)
	// Policy returns the set in force; it may change at any time.
	Policy func() *policy.Set

	Store    Store
	Desk     *approval.Approvals
	Locks    *Locks // shared by all sessions
	Meter    *Meter // shared by all sessions
	Redactor Redactor
	Clock    Clock

	// Roots are the workspace folders, absolute: what file effects are held to,
	// and the guard's answer to roots/list.
	Roots []string
	// Commands runs commands where they can do no harm; nil where the session's
	// server runs none of which the changes could be landed.
	Commands effect.Commands
	// ServerRoots are the folders that the upstream itself was given, where they
	// are known; Home is its home folder. Both may be empty.
	ServerRoots []string
	Home        string

	// Undoes is the approval whose change the session's call takes back, for a
	// session of the developer's own; else empty.
	Undoes guard.ApprovalID
	// Note is said to the reviewer of each change in the session, beside what is
	// computed; may be empty.
	Note string

	// Spill is a folder on a disk for the bytes of long calls that wait; empty
	// keeps them in memory.
	Spill string

	Limits jsonrpc.Limits // zero: the defaults
	Grace  time.Duration  // for executions at the end of the session; zero: 10 s
	Log    *slog.Logger   // names the session; may be nil

	// Context says what a call belongs to on the client's side. It is asked of
	// calls that bear a tool-use id of the client's, their correlation id, once
	// their tool and canonical arguments are known. May be nil.
	Context func(guard.ToolCall) guard.Context

	// NeedsPerson reports whether a human has to decide about the client's request
	// with this id, even where the policy would let it through: its client asks
	// what it would ask its user. May be nil.
	NeedsPerson func(id jsonrpc.ID, p guard.Preview) bool

	// Collect waits, once a command that has run in a sandbox may happen, until its
	// client asks for that; it returns at once where the client does not. reviewed says that a human has let it through. An error is a sentence why it
	// will not be asked for. May be nil.
	Collect func(ctx context.Context, id jsonrpc.ID, reviewed bool) error

	// Notice shows one line to the developer, on the shim's standard error. May
	// be nil.
	Notice func(line string)
	// Identified is told the client's own name and version once they are known.
	// May be nil.
	Identified func(client, version string)
	// ServerInfo is told what the server says that it is, whenever it does. May be
	// nil.
	ServerInfo func(name, version string)
	// Waiting is told which of the server's tools wait for acceptance, sorted by
	// name, whenever that changed. It must not wait for anything. May be nil.
	Waiting func([]Waiting)
	// Changed gets a value whenever another policy is in force, or other switches
	// are set. The client is then told where it would see another list of tools,
	// and what a switch ends at once is ended. May be nil.
	Changed <-chan struct{}

	// Leave is closed when this daemon ends and another may go on with the session.
	// Serve then stops reading between two frames, finishes what it has begun, and
	// gives the session to Left before it returns, unless it cannot go on. Client
	// needs the method SetReadDeadline. Both may be nil.
	Leave <-chan struct{}
	Left  func(ipc.Handback)
	// Kept is a session that an earlier daemon has left: its handshake is repeated
	// to the upstream, and what was unread comes before what the client sends. May
	// be nil.
	Kept *ipc.Handback
}

// Waiting is a tool that is not callable because its definition is not the
// accepted one.
type Waiting struct {
	Tool       string
	SHA256     digest.Digest // of Definition; zero where it cannot be accepted
	Definition []byte        // as the server lists it; nil where it does so twice
	Accepted   []byte        // nil where none was
}

// notBegun is the session for the next daemon where nothing was read of it.
func (c Config) notBegun() ipc.Handback {
	if c.Kept == nil {
		return ipc.Handback{}
	}
	b := *c.Kept
	b.InFlight = nil // they have their answer
	return b
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

// Bounds that no configuration changes.
const (
	recordTimeout   = 10 * time.Second // of one durable write
	progressEvery   = 8 * time.Second  // between two words to a client that waits
	ownListTimeout  = 20 * time.Second // of the guard's own tools/list, all pages
	ownListPages    = 100
	defaultTimeout  = 60 * time.Second // of a call, where the policy names none
	readGrace       = 2 * time.Second  // for reads at the end of the session
	maxInFlight     = 1024             // requests of one client that are not settled
	maxAsked        = 256              // requests of one upstream that the client has not answered
	keptLine        = 1 << 20          // bytes of the buffer towards the client that stay allocated
	clientPatience  = time.Minute      // with a client that reads nothing of what it is sent
	stopTimeout     = 15 * time.Second // for the upstream to be gone
	finishAgain     = time.Second      // until a receipt that could not be recorded is tried again, at first
	readBackTimeout = 30 * time.Second // of one read-back
)
