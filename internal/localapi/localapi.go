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

// Store is what the API reads and what it changes besides decisions. A
// *store.Store is one; tests put hostile texts and delays before it.
type Store interface {
	// Approval returns one in full; the error is store.ErrNotFound where there
	// is none.
	Approval(id guard.ApprovalID) (guard.Approval, error)
	Approvals(f store.Filter) ([]guard.Approval, error)
	Count(f store.Filter) (int, error)
	// Reconcile settles an execution whose outcome is unknown.
	Reconcile(ctx context.Context, call guard.CallID, r guard.Receipt) (guard.Approval, error)
	// Seq is the number of the last change; what is read afterwards has it.
	Seq() uint64

	Switches() []guard.Switch
	SetSwitch(ctx context.Context, s guard.Switch) error
	ClearSwitch(ctx context.Context, scope string, by guard.Approver) error

	Alerts(all bool) ([]store.Alert, error)
	AcknowledgeAlert(ctx context.Context, id guard.EventID, by guard.Approver) (store.Alert, error)

	// Events reads the audit log.
	Events(f store.EventFilter) ([]store.Record, error)
	// Verify recomputes the whole log. Damage is in the report.
	Verify(ctx context.Context) (audit.Report, error)
	Checkpoint() ([]byte, error)
	Verifier() string
	ProveConsistency(size, older int64) (tlog.TreeProof, error)
}

// Decider takes decisions; *approval.Desk is one.
type Decider interface {
	Decide(ctx context.Context, id guard.ApprovalID, s guard.Signoff) (guard.Approval, error)
	// Rivals returns the open approvals that change a file or record which another
	// one changes too, each with one of the others.
	Rivals() map[guard.ApprovalID]guard.ApprovalID
}

// Watcher is one view of the stream of changes; *store.Watcher is one.
type Watcher interface {
	// Next waits for the next change, and fails when ctx ends or the store is
	// closed.
	Next(ctx context.Context) (store.Change, error)
	Close()
}

// Live tells what only the running daemon knows. The answers are the caller's
// to change.
type Live interface {
	// Sessions returns what is served now; the API fills in Pending.
	Sessions() []client.Session
	Servers() []client.Server
	// Commands returns what runs in a sandbox now, the oldest first; StopCommand
	// ends one and reports whether it was there.
	Commands() []client.RunningCommand
	StopCommand(id guard.CallID) bool
	// Status returns the daemon's word about itself; the API fills in Protocol,
	// Sessions, Pending, Alerts and Unsigned.
	Status() client.Status
	// Undo proposes the inverse of an executed change, and returns the approval
	// that waits for it. An *effect.Refusal says why it cannot be taken back.
	Undo(ctx context.Context, id guard.ApprovalID, by guard.Approver) (guard.ApprovalID, error)
}

// Clock reads both clocks.
type Clock interface{ Now() guard.Now }

// Config is what the API needs. All fields but Log and UserName are required.
type Config struct {
	Store Store
	Desk  Decider
	Watch func() Watcher
	Live  Live
	Clock Clock
	// Version is the daemon's, for the handshake.
	Version string
	// Unsigned returns where a decision without a signature may come from:
	// "terminal", "any" or "never". Another word counts as "never".
	Unsigned func() string
	// Approvers takes a human's word on a configuration that lets more decide than
	// Unsigned; nil where nothing can wait. A *client.Problem is answered as it is.
	Approvers func(ctx context.Context, w client.ApproversDecision, by guard.Approver) error
	// Clients returns the client processes and their wrappers; neither they nor
	// what they started may decide.
	Clients func() []ipc.ClientRef
	// UserName returns the name of a numeric user id, or "".
	UserName func(uid int) string
	Log      *slog.Logger
}

// API serves the control API; Serve is called once.
type API struct {
	cfg     Config
	log     *slog.Logger
	handler http.Handler
	feed    *feed
	// mayDecide is ipc.CheckApprover; tests put another in its place.
	mayDecide func(p *ipc.Peer, clients []ipc.ClientRef, requireTerminal bool) error
	beat      time.Duration
	streams   atomic.Int64 // open now
}

// New returns an API. Nothing runs before Serve is called.
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

// Bounds of a connection.
const (
	// headerTimeout is also how long a connection may say nothing at first;
	// `mcpguardd stop` holds one while the daemon ends.
	headerTimeout = time.Minute
	readTimeout   = headerTimeout + 10*time.Second
	idleTimeout   = 2 * time.Minute
	writeTimeout  = 30 * time.Second // of one answer, or of one event
	maxHeader     = 32 << 10
)

// Serve answers the connections of l until ctx ends, then lets requests under
// way finish, for at most grace. It closes l. The error is nil after an
// orderly end.
func (a *API) Serve(ctx context.Context, l net.Listener, grace time.Duration) error {
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	a.feed.open()
	var feed sync.WaitGroup
	feed.Go(func() { a.feed.run(work) }) // ends with work
	defer feed.Wait()
	defer end()

	// Streams would outlive any grace: they end when ctx does.
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
	_ = l.Close() // whoever connects from now on would be kept waiting
	peers.hangUp()
	stop, cancel := context.WithTimeout(work, grace)
	defer cancel()
	err := srv.Shutdown(stop)
	if err != nil {
		err = srv.Close() // whoever is still at it has had its time
	}
	if e := <-served; !errors.Is(e, http.ErrServerClosed) && !errors.Is(e, net.ErrClosed) {
		err = errors.Join(err, e)
	}
	return err
}

type streamsKey struct{}
