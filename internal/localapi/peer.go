package localapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// identity is the process at the other end of a connection.
type identity struct {
	peer *ipc.Peer
	err  error // why it is not known
}

type identityKey struct{}

// peers holds the process at the other end of each open connection.
type peers struct {
	mu   sync.Mutex
	open map[net.Conn]*connection
}

type connection struct {
	peer  *ipc.Peer // nil if it is not known
	quiet bool      // no request has come yet
}

// identify is http.Server.ConnContext.
func (p *peers) identify(ctx context.Context, c net.Conn) context.Context {
	id := identity{err: errors.New("the connection is not a unix socket")}
	if u, ok := c.(*net.UnixConn); ok {
		id.peer, id.err = ipc.PeerOf(u)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = map[net.Conn]*connection{}
	}
	p.open[c] = &connection{peer: id.peer, quiet: true}
	return context.WithValue(ctx, identityKey{}, id)
}

// state is http.Server.ConnState.
func (p *peers) state(c net.Conn, s http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.open[c]
	switch {
	case h == nil:
	case s == http.StateActive:
		h.quiet = false
	case s == http.StateClosed:
		delete(p.open, c)
		h.close()
	}
}

func (h *connection) close() {
	if h.peer != nil {
		_ = h.peer.Close() // only releases a descriptor
	}
}

// hangUp closes the connections that have sent no request. The server's own
// shutdown would wait for them.
func (p *peers) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c, h := range p.open {
		if h.quiet {
			_ = c.Close()
		}
	}
}

func (p *peers) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c, h := range p.open {
		h.close()
		delete(p.open, c)
	}
}

// reader returns the peer of a request if it may read.
func reader(r *http.Request) (*ipc.Peer, error) {
	id, ok := r.Context().Value(identityKey{}).(identity)
	if !ok || id.err != nil || id.peer == nil {
		// fail closed: a peer that cannot be identified sees nothing.
		err := id.err
		if err == nil {
			err = errors.New("the connection has no peer")
		}
		return nil, &client.Problem{
			Status: http.StatusForbidden, Code: client.CodePeer, Title: "Peer not identified",
			Detail: fmt.Sprintf("the calling process could not be identified: %v", err),
			Remedy: "run the program in the same container and namespaces as the daemon",
		}
	}
	if own := os.Geteuid(); id.peer.UID != own {
		return nil, &client.Problem{
			Status: http.StatusForbidden, Code: client.CodeOtherUser, Title: "Another user",
			Detail: fmt.Sprintf("user %d may not ask the daemon of user %d", id.peer.UID, own),
			Remedy: "run approve as the user who runs the daemon",
		}
	}
	return id.peer, nil
}

// Values of approvers.unsigned.
const (
	unsignedTerminal = "terminal"
	unsignedAny      = "any"
)

// approver returns the sender of a request if it may decide without a
// signature.
func (a *API) approver(r *http.Request) (guard.Approver, error) {
	peer, err := reader(r)
	if err != nil {
		return guard.Approver{}, err
	}
	setting := a.cfg.Unsigned()
	switch setting {
	case unsignedTerminal:
		err = a.mayDecide(peer, a.cfg.Clients(), true)
	case unsignedAny:
		err = a.mayDecide(peer, nil, false)
	default:
		// fail closed: "never" and every unknown value.
		err = &client.Problem{
			Status: http.StatusForbidden, Code: client.CodeSignature, Title: "Signature required",
			Detail: "decisions without a signature are not accepted",
			Remedy: "the configuration asks for signed decisions; to accept unsigned ones from a terminal, set `approvers: {unsigned: terminal}`",
		}
	}
	if err != nil {
		p := a.problem(err)
		p.Setting = "approvers.unsigned: " + setting
		a.log.Warn("a decision was refused", "rule", p.Code, "pid", peer.PID, "setting", setting)
		return guard.Approver{}, p
	}
	by := guard.Approver{User: strconv.Itoa(peer.UID), Name: a.cfg.UserName(peer.UID), PID: peer.PID}
	// The program is a label for the record; permission to decide does not
	// depend on it.
	if proc, err := ipc.Inspect(peer.PID); err == nil && proc.StartTime == peer.StartTime {
		by.Executable, by.Terminal = proc.Executable, proc.TTY
	}
	return by, nil
}
