package workspace

import (
	"context"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// session is the client of a Conn, in the form that the protocol library
// requires. It is safe for concurrent use.
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

// take returns the pending notifications for the client.
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

// NotificationChannel receives notifications for the client.
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

// GetClientInfo returns the client's name and version, as it states them.
func (s *session) GetClientInfo() mcp.Implementation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info
}

// SetClientInfo records the client's name and version.
func (s *session) SetClientInfo(info mcp.Implementation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info = info
}

// GetClientCapabilities returns the client's capabilities.
func (s *session) GetClientCapabilities() mcp.ClientCapabilities {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.caps
}

// SetClientCapabilities records the client's capabilities.
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

// SetSubscriptionFilter records the notifications that the client wants.
func (s *session) SetSubscriptionFilter(f mcp.SubscriptionFilter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filter = f
}

// callKey is the context key of the call that a tool's handler serves.
type callKey struct{}

// call is one request as received. The library's view of its arguments has
// lost digits of numbers.
type call struct {
	args     []byte         // the admitted bytes
	approved []guard.Effect // of a call that changes something
	preview  guard.Preview  // the approved preview
	told     bool           // the guard has given an approved preview
}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	if c == nil {
		return &call{args: []byte("{}")}
	}
	return c
}
