package workspace

import (
	"context"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// session is the client of a Conn, as the protocol library wants to see it. It
// is safe for concurrent use.
type session struct {
	notes chan mcp.JSONRPCNotification

	mu     sync.Mutex
	ready  bool
	info   mcp.Implementation
	caps   mcp.ClientCapabilities
	filter mcp.SubscriptionFilter
}

func newSession() *session {
	return &session{notes: make(chan mcp.JSONRPCNotification, 64)}
}

// take returns the notifications that wait for the client.
func (s *session) take() []mcp.JSONRPCNotification {
	var out []mcp.JSONRPCNotification
	for {
		select {
		case n := <-s.notes:
			out = append(out, n)
		default:
			return out
		}
	}
}

// SessionID names the only session of its server.
func (s *session) SessionID() string { return "session" }

// NotificationChannel takes notifications for the client.
func (s *session) NotificationChannel() chan<- mcp.JSONRPCNotification { return s.notes }

// Initialize marks the session as ready for notifications.
func (s *session) Initialize() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = true
}

// Initialized reports whether Initialize was called.
func (s *session) Initialized() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

// GetClientInfo returns what the client calls itself.
func (s *session) GetClientInfo() mcp.Implementation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info
}

// SetClientInfo keeps what the client calls itself.
func (s *session) SetClientInfo(info mcp.Implementation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info = info
}

// GetClientCapabilities returns what the client can do.
func (s *session) GetClientCapabilities() mcp.ClientCapabilities {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.caps
}

// SetClientCapabilities keeps what the client can do.
func (s *session) SetClientCapabilities(caps mcp.ClientCapabilities) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.caps = caps
}

// SubscriptionFilter returns the notifications that the client wants.
func (s *session) SubscriptionFilter() (mcp.SubscriptionFilter, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.filter, !s.filter.IsEmpty()
}

// SetSubscriptionFilter keeps the notifications that the client wants.
func (s *session) SetSubscriptionFilter(f mcp.SubscriptionFilter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filter = f
}

// callKey finds the call that a tool's handler works for.
type callKey struct{}

// call is one request as it came in: the library's view of its arguments has
// lost the digits of numbers.
type call struct {
	args     []byte         // the admitted bytes
	approved []guard.Effect // of a call that changes something
	preview  guard.Preview  // what was approved
	told     bool           // the guard said what was approved
}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	if c == nil {
		return &call{args: []byte("{}")}
	}
	return c
}
