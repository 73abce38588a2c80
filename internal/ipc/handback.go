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

// Handback is a session as a daemon that ends in order gives it back to its
// shim, which offers it to the next one. The shim has kept its descriptors.
type Handback struct {
	// Handshake are the client's frames that opened the session: none before it
	// was complete, and none in the era without initialize. Protocol is the version
	// that was agreed on.
	Handshake [][]byte `json:"handshake,omitempty"`
	Protocol  string   `json:"protocol,omitempty"`
	// InFlight are the ids of requests that got no answer, which the shim gives.
	InFlight []json.RawMessage `json:"inFlight,omitempty"`
	// Unread is what was read of the client and not yet looked at.
	Unread []byte `json:"unread,omitempty"`
}

// maxHandback bounds what goes between daemon and shim for one session, in
// bytes: a frame of the greatest size, in its encoding, and what surrounds it.
const maxHandback = 32 << 20

// handbackTimeout bounds the passing of one.
const handbackTimeout = 5 * time.Second

// Return gives the session back: its shim keeps it for the next daemon. Close
// then only ends this daemon's part. Where the shim does not take it the session
// ends as with Close alone.
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

// receiveKept reads the session that a shim has kept, whose length its hello says.
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
