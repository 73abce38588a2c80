package ipc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/mcpguard/mcpguard/internal/strictjson"
)

// Handback is a session that a stopping daemon gives back to its shim, which
// offers it to the next daemon. The shim has kept its descriptors.
type Handback struct {
	// Handshake holds the client's frames that opened the session. It is empty
	// before the handshake was complete, and in protocol versions without
	// initialize. Protocol is the negotiated version.
	Handshake [][]byte `json:"handshake,omitempty"`
	Protocol  string   `json:"protocol,omitempty"`
	// Standing holds the client's requests that stay in force until it takes them
	// back: subscriptions and the log level. The next daemon repeats them.
	Standing [][]byte `json:"standing,omitempty"`
	// InFlight holds the ids of unanswered requests, which the shim answers.
	InFlight []json.RawMessage `json:"inFlight,omitempty"`
	// Unread is input of the client that was read but not processed.
	Unread []byte `json:"unread,omitempty"`
}

// maxHandback bounds an encoded Handback, in bytes: an encoded frame of the
// maximum size and the rest.
const maxHandback = 32 << 20

// handbackTimeout bounds the passing of one.
const handbackTimeout = 5 * time.Second

// Return gives the session back to its shim, which keeps it for the next
// daemon. Close then only ends this daemon's part. If the shim does not accept
// it, the session ends as with Close alone.
func (h *Handover) Return(b Handback) error {
	if !h.Hello.Keeps {
		return errors.New("returning a session: its shim cannot keep it")
	}
	line, err := json.Marshal(message{Handback: &b})
	if err != nil {
		return fmt.Errorf("returning a session: %w", err)
	}
	if len(line) > maxHandback {
		return fmt.Errorf("returning a session: it has %d bytes under way, at most %d can be kept", len(line), maxHandback)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || !h.welcomed {
		return net.ErrClosed
	}
	if err := h.conn.SetWriteDeadline(time.Now().Add(handbackTimeout)); err != nil {
		return fmt.Errorf("returning a session: %w", err)
	}
	if _, err := h.conn.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("returning a session: %w", err)
	}
	h.returned = true
	return nil
}

// receiveKept reads the session that a shim has kept. Its length is in the
// hello.
func (h *Handover) receiveKept(rest []byte) error {
	n := h.Hello.Kept
	if n == 0 {
		return nil
	}
	if n < 0 || n > maxHandback || len(rest) > n {
		return fmt.Errorf("a kept session of %d bytes", n)
	}
	b := append(make([]byte, 0, n), rest...)
	b = b[:n]
	if _, err := io.ReadFull(h.conn, b[len(rest):]); err != nil {
		return fmt.Errorf("reading a kept session: %w", err)
	}
	h.Kept = &Handback{}
	if err := strictjson.DecodeKnown(b, h.Kept); err != nil {
		return fmt.Errorf("reading a kept session: %w", err)
	}
	return nil
}
