package localapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mcpguard/mcpguard/internal/audit"
	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/store"
)

// Store is what the API reads, and what it changes apart from decisions.
// *store.Store implements it; tests add hostile texts and delays.
type Store interface {
	// Approval returns one approval in full, or store.ErrNotFound.
	Approval(id guard.ApprovalID) (guard.Approval, error)
	Approvals(f store.Filter) ([]guard.Approval, error)
	Count(f store.Filter) (int, error)
	// Reconcile settles an execution whose outcome is unknown.
	Reconcile(ctx context.Context, call guard.CallID, r guard.Receipt) (guard.Approval, error)
	// Seq returns the number of the last change. Later reads include that
	// change.
	Seq() uint64

	Switches() []guard.Switch
	SetSwitch(ctx context.Context, s guard.Switch) error
	ClearSwitch(ctx context.Context, scope string, by guard.Approver) error

	Alerts(all bool) ([]store.Alert, error)
	AcknowledgeAlert(ctx context.Context, id guard.EventID, by guard.Approver) (store.Alert, error)

	// Events reads the audit log.
	Events(f store.EventFilter) ([]store.Record, error)
	// Verify recomputes the whole log. The report describes any damage.
	Verify(ctx context.Context) (audit.Report, error)
	Checkpoint() ([]byte, error)
	Verifier() string
	ProveConsistency(size, older int64) (tlog.TreeProof, error)
}

// Decider decides on approvals; *approval.Approvals implements it.
type Decider interface {
	Decide(ctx context.Context, id guard.ApprovalID, s guard.Signoff) (guard.Approval, error)
	// Rivals maps each open approval that changes the same file or record as
	// another open one to one of those others.
	Rivals() map[guard.ApprovalID]guard.ApprovalID
}

// Watcher reads the stream of changes; *store.Watcher implements it.
type Watcher interface {
	// Next waits for the next change. It returns an error when ctx ends or the
	// store is closed.
	Next(ctx context.Context) (store.Change, error)
	Close()
}

// Live reports what only the running daemon knows. The caller may modify the
// results.
type Live interface {
	// Sessions returns the sessions served now; the API fills in Pending.
	Sessions() []client.Session
	Servers() []client.Server
	// Commands returns the commands that run in a sandbox now, oldest first.
	// StopCommand ends one and reports whether it was running.
	Commands() []client.RunningCommand
	StopCommand(id guard.CallID) bool
	// Status returns the daemon's status; the API fills in Protocol, Sessions,
	// Pending, Alerts and Unsigned.
	Status() client.Status
	// Undo proposes the inverse of an executed change and returns the approval
	// that waits for it. An *effect.Refusal says why the change cannot be
	// undone.
	Undo(ctx context.Context, id guard.ApprovalID, by guard.Approver) (guard.ApprovalID, error)
}

// Clock reads the wall clock and the time since boot.
type Clock interface{ Now() guard.Now }

// Config configures an API. All fields but Log and UserName are required.
type Config struct {
	Store     Store
	Approvals Decider
	Watch     func() Watcher
	Live      Live
	Clock     Clock
	// Version is the daemon's version, for the handshake.
	Version string
	// Unsigned returns where a decision without a signature may come from:
	// "terminal", "any" or "never". Any other value counts as "never".
	Unsigned func() string
	// Approvers takes a human's decision on a configuration that lets more
	// people decide than Unsigned does. Nil if none can be waiting. A
	// *client.Problem is sent as it is.
	Approvers func(ctx context.Context, w client.ApproversDecision, by guard.Approver) error
	// Clients returns the client processes and their wrappers. Neither they
	// nor processes that they started may decide.
	Clients func() []ipc.ClientRef
	// UserName returns the name of a numeric user ID, or "".
	UserName func(uid int) string
	Log      *slog.Logger
}

// API serves the control API; Serve is called once.
type API struct {
	cfg     Config
	log     *slog.Logger
	handler http.Handler
	feed    *feed
	// mayDecide is ipc.CheckApprover; tests replace it.
	mayDecide func(p *ipc.Peer, clients []ipc.ClientRef, requireTerminal bool) error
	beat      time.Duration
	streams   atomic.Int64 // open now
}

// New returns an API. Nothing runs until Serve is called.
func New(c Config) *API {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.UserName == nil {
		c.UserName = func(int) string { return "" }
	}
	a := &API{cfg: c, log: c.Log, mayDecide: ipc.CheckApprover, beat: heartbeat}
	a.feed = newFeed(c.Watch, c.Log)
	a.handler = a.gate(a.routes())
	return a
}

// Limits of a connection.
const (
	// headerTimeout is also how long a new connection may stay silent;
	// `mcpguardd stop` keeps one open while the daemon ends.
	headerTimeout = time.Minute
	readTimeout   = headerTimeout + 10*time.Second
	idleTimeout   = 2 * time.Minute
	writeTimeout  = 30 * time.Second // of one answer, or of one event
	maxHeader     = 32 << 10
)

// Serve answers the connections of l until ctx ends, then lets running
// requests finish for at most grace. It closes l. The error is nil after an
// orderly end.
func (a *API) Serve(ctx context.Context, l net.Listener, grace time.Duration) error {
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	a.feed.open()
	var feed sync.WaitGroup
	feed.Go(func() { a.feed.run(work) }) // ends with work
	defer feed.Wait()
	defer end()

	// Streams would outlast any grace, so they end when ctx does.
	streams, endStreams := context.WithCancel(work)
	defer endStreams()
	var peers peers
	srv := &http.Server{
		Handler:           a.handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return context.WithValue(work, streamsKey{}, streams) },
		ConnContext:       peers.identify,
		ConnState:         peers.state,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	defer peers.closeAll()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }() // ends when srv does; waited for below
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	endStreams()
	_ = l.Close() // new connections would only be kept waiting
	peers.hangUp()
	stop, cancel := context.WithTimeout(work, grace)
	defer cancel()
	err := srv.Shutdown(stop)
	if err != nil {
		err = srv.Close() // requests that still run have had their time
	}
	if e := <-served; !errors.Is(e, http.ErrServerClosed) && !errors.Is(e, net.ErrClosed) {
		err = errors.Join(err, e)
	}
	return err
}

type streamsKey struct{}
