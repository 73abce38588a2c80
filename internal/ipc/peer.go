package ipc

import (
	"fmt"
	"net"
	"os"
)

// Peer is the process at the other end of a connection. If the system has
// pidfds, Peer holds one, so that its pid cannot come to mean another process.
// Close it.
type Peer struct {
	UID       int
	PID       int
	StartTime uint64
	pidfd     *os.File // nil where the system has none
}

// PeerOf returns the process that connected (or, on the connecting side, that
// listens). It fails closed if the process cannot be identified: it has ended,
// is in a namespace that this one cannot see, or its pid was reused.
func PeerOf(c *net.UnixConn) (*Peer, error) {
	p, err := peerOf(c)
	if err != nil {
		return nil, fmt.Errorf("identifying the peer: %w", err)
	}
	return p, nil
}

// Ref returns the peer's identity.
func (p *Peer) Ref() ClientRef { return ClientRef{PID: p.PID, StartTime: p.StartTime} }

// Alive reports whether the process still runs.
func (p *Peer) Alive() bool {
	if p.pidfd != nil {
		running := false
		err := control(p.pidfd, func(fd int) error { running = pidfdAlive(fd); return nil })
		return err == nil && running
	}
	start, err := StartTime(p.PID)
	return err == nil && start == p.StartTime
}

// Close releases the pidfd.
func (p *Peer) Close() error {
	if p.pidfd == nil {
		return nil
	}
	return p.pidfd.Close()
}
