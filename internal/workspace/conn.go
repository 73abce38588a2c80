package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/mcpguard/mcpguard/internal/clock"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// Config says what a server serves.
type Config struct {
	Roots   []string // workspace folders, absolute; relative paths are taken from the first
	Version string   // of the program, shown to clients
	// Commands runs and lands commands. If nil, no command runs.
	Commands Commands
	// Own is set in the guard's own sessions, which have a tool that agents do
	// not have.
	Own bool
	Log *slog.Logger // nil for none
}

// Bounds of one session.
const (
	maxInFlight  = 64
	writeTimeout = 30 * time.Second
)

// ErrStopped is returned by Write once the server has been stopped.
var ErrStopped = errors.New("the built-in server has been stopped")

// Conn is the built-in server of one session, an upstream in this process.
// Only one goroutine may call Next; the other methods are safe for concurrent
// use.
type Conn struct {
	roots    []string
	commands Commands // may be nil
	own      bool
	log      *slog.Logger
	mcp      *server.MCPServer
	client   *session
	ref      guard.UpstreamRef

	ctx    context.Context // of every call; ends with Stop
	cancel context.CancelFunc
	slots  chan struct{} // one per request in flight
	out    chan []byte   // closed when no more frames can follow
	done   chan struct{}
	stop   sync.Once

	mu      sync.Mutex
	stopped bool
	calls   map[jsonrpc.ID]context.CancelFunc // requests in flight, registered before they start
	expect  map[jsonrpc.ID]guard.Preview      // approved previews of requests that have not arrived yet
	running sync.WaitGroup
}

// Open makes a server. It starts nothing: goroutines run only during requests.
func Open(c Config) (*Conn, error) {
	if len(c.Roots) == 0 {
		return nil, errors.New("opening the built-in server: no workspace folder is given")
	}
	for _, r := range c.Roots {
		if !filepath.IsAbs(r) {
			return nil, fmt.Errorf("opening the built-in server: %q is not an absolute path", r)
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	conn := &Conn{
		roots: c.Roots, commands: c.Commands, own: c.Own, log: c.Log, ref: self(),
		slots: make(chan struct{}, maxInFlight), out: make(chan []byte, maxInFlight), done: make(chan struct{}),
		calls: map[jsonrpc.ID]context.CancelFunc{}, expect: map[jsonrpc.ID]guard.Preview{},
	}
	conn.ctx, conn.cancel = context.WithCancel(context.Background())
	if err := conn.build(c.Version); err != nil {
		conn.cancel()
		return nil, fmt.Errorf("opening the built-in server: %w", err)
	}
	return conn, nil
}

// self identifies the daemon process, which the server runs in.
func self() guard.UpstreamRef {
	pid := os.Getpid()
	ref := guard.UpstreamRef{PID: pid, BootID: clock.System().Now().BootID}
	ref.StartTime, _ = ipc.StartTime(pid) // on failure zero: the process then never counts as gone
	return ref
}

// Ref identifies the process that the server runs in.
func (c *Conn) Ref() guard.UpstreamRef { return c.ref }

// Done is closed when the server has been stopped and no call is running.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Expect sets the approved preview for the request with this id. Call it
// before the request is written: the request then changes only these targets,
// and only if each is still in its expected state. A change without an
// approved preview is refused. Each preview is used once.
func (c *Conn) Expect(id jsonrpc.ID, approved guard.Preview) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		c.expect[id] = approved
	}
}

// Unreported implements upstream.Conn. The server always knows how its calls
// end.
func (c *Conn) Unreported(jsonrpc.ID) bool { return false }

// Next returns the next frame, io.EOF after Stop.
func (c *Conn) Next() ([]byte, error) {
	frame, ok := <-c.out
	if !ok {
		return nil, io.EOF
	}
	return frame, nil
}

// Stop cancels running calls, waits for them until ctx ends, and closes the
// server. A write that has begun is finished first.
func (c *Conn) Stop(ctx context.Context) error {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.cancel()
	c.stop.Do(func() {
		// Owned by the Conn; ends when the last request has.
		go func() {
			c.running.Wait()
			close(c.out)
			close(c.done)
		}()
	})
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stopping the built-in server: %w", ctx.Err())
	}
}

// Write takes one frame. Requests run in goroutines of their own; notifications
// are handled before Write returns. The frame must not change afterwards.
func (c *Conn) Write(frame []byte) error {
	msg, err := jsonrpc.Admit(frame, jsonrpc.Limits{})
	if err != nil {
		var r *jsonrpc.Refusal
		if errors.As(err, &r) && r.Kind == jsonrpc.Request && !r.ID.IsZero() {
			return c.refuse(r)
		}
		return fmt.Errorf("reading a frame: %w", err)
	}
	switch msg.Kind {
	case jsonrpc.Request:
		return c.begin(msg)
	case jsonrpc.Notification:
		c.notified(msg)
	}
	return nil // a response, but this server sends no requests
}

// refuse answers a request that was not admitted.
func (c *Conn) refuse(r *jsonrpc.Refusal) error {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return ErrStopped
	}
	c.running.Add(1)
	c.mu.Unlock()
	defer c.running.Done()
	return c.answer(failure(r.ID, r.Reason.Code(), r.Error()))
}

// notified handles a notification.
func (c *Conn) notified(msg jsonrpc.Message) {
	if msg.Method == "notifications/cancelled" {
		if s, ok := msg.Param("requestId"); ok {
			if id, ok := jsonrpc.IDFrom(msg.Raw, s); ok {
				c.mu.Lock()
				cancel := c.calls[id]
				c.mu.Unlock()
				if cancel != nil {
					cancel()
				}
			}
		}
		return
	}
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("a notification failed", "method", msg.Method, "panic", r)
		}
	}()
	c.mcp.HandleMessage(c.mcp.WithContext(c.ctx, c.client), msg.Raw)
}

// begin starts a request. The request is registered before it runs, so that no
// cancellation arrives too early.
func (c *Conn) begin(msg jsonrpc.Message) error {
	timer := time.NewTimer(writeTimeout)
	defer timer.Stop()
	select {
	case c.slots <- struct{}{}:
	case <-timer.C:
		return errors.New("too many calls are running")
	case <-c.ctx.Done():
		return ErrStopped
	}
	ctx, cancel := context.WithCancel(c.ctx)
	c.mu.Lock()
	if c.stopped || c.calls[msg.ID] != nil {
		stopped := c.stopped
		c.mu.Unlock()
		cancel()
		<-c.slots
		if stopped {
			return ErrStopped
		}
		return fmt.Errorf("a request with the id %s is running already", msg.ID)
	}
	c.calls[msg.ID] = cancel
	expected, told := c.expect[msg.ID]
	run := &call{args: []byte("{}"), approved: expected.Effects, told: told, preview: expected}
	delete(c.expect, msg.ID)
	c.running.Add(1)
	c.mu.Unlock()
	if s, ok := msg.Param("arguments"); ok {
		run.args = msg.Raw[s.Start:s.End]
	}
	// Owned by the Conn: Stop waits for it. It ends with its request, which
	// checks its context before it writes and reads only bounded amounts.
	go func() {
		defer c.running.Done()
		defer func() { <-c.slots }()
		frames := c.handle(context.WithValue(ctx, callKey{}, run), msg)
		c.mu.Lock()
		delete(c.calls, msg.ID)
		c.mu.Unlock()
		cancel()
		for _, f := range frames {
			if c.answer(f) != nil {
				return
			}
		}
	}()
	return nil
}

// handle runs a request and returns the frames of its response: notifications
// first, then the response itself.
func (c *Conn) handle(ctx context.Context, msg jsonrpc.Message) (frames [][]byte) {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("a request failed", "method", msg.Method, "panic", r)
			frames = [][]byte{failure(msg.ID, mcp.INTERNAL_ERROR, "the built-in server failed on this request")}
		}
	}()
	response := c.mcp.HandleMessage(c.mcp.WithContext(ctx, c.client), slim(msg))
	for _, n := range c.client.take() {
		if f, err := json.Marshal(n); err == nil {
			frames = append(frames, f)
		}
	}
	f, err := json.Marshal(response)
	if err != nil || response == nil {
		return append(frames, failure(msg.ID, mcp.INTERNAL_ERROR, "the answer could not be written"))
	}
	return append(frames, f)
}

// answer passes a frame to Next.
func (c *Conn) answer(frame []byte) error {
	select {
	case c.out <- frame:
		return nil
	case <-c.ctx.Done():
	}
	// Stopped: deliver what still fits, and wait for no one.
	select {
	case c.out <- frame:
		return nil
	default:
		return ErrStopped
	}
}

// failure is a JSON-RPC error response.
func failure(id jsonrpc.ID, code int, text string) []byte {
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%s}}`, id.Raw(), code, jsonrpc.QuoteString(text))
}
