package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mcpguard/mcpguard/internal/strictjson"
)

// Handover is a session handed over by a shim. Close ends it.
type Handover struct {
	Hello Hello
	Peer  *Peer // the shim; closed by Close
	Shim  Proc
	// In and Out are the client's ends. Deadlines and Close work on them.
	// Close closes them. Nothing has been read from In.
	In, Out *os.File
	// Kept is the session that the shim has kept from an earlier daemon; nil
	// for a new one. Everything in it is claimed by the client.
	Kept *Handback
	// Client is the process that owns the session: the one at the other end of
	// the shim's standard input if that is a socket pair, else the shim's
	// parent, or the shim itself if it has lost its parent.
	Client Proc
	// Wrappers are the processes from the shim (included) up to the client
	// (excluded). They count as clients.
	Wrappers []Proc
	// Ancestors are the ancestors of the client, parent first.
	Ancestors []Proc

	conn *net.UnixConn
	done chan struct{}

	mu       sync.Mutex
	welcomed bool
	returned bool // the shim keeps the session
	closed   bool
}

// Accept receives a hello on a connection to the agent socket, until ctx ends
// or for ten seconds, and asks the kernel who sent it. The daemon must then
// answer with Handover.Welcome. On an error the caller closes conn; a shim
// whose descriptors did not arrive has then been told. On success the handover
// owns conn.
func Accept(ctx context.Context, conn *net.UnixConn) (*Handover, error) {
	unbound := withTimeout(ctx, conn, helloTimeout)
	defer unbound()
	peer, err := PeerOf(conn)
	if err != nil {
		return nil, fmt.Errorf("accepting a session: %w", err)
	}
	h := &Handover{Peer: peer, conn: conn, done: make(chan struct{})}
	if err := h.receive(ctx); err != nil {
		peer.Close()
		closeFiles(h.files())
		return nil, fmt.Errorf("accepting a session: %w", err)
	}
	if err := h.locate(); err != nil {
		peer.Close()
		closeFiles(h.files())
		return nil, fmt.Errorf("accepting a session of process %d: %w", peer.PID, err)
	}
	return h, nil
}

func (h *Handover) files() []*os.File {
	var out []*os.File
	for _, f := range []*os.File{h.In, h.Out} {
		if f != nil {
			out = append(out, f)
		}
	}
	return out
}

// receive reads the hello and the two descriptors that come with its first
// byte.
func (h *Handover) receive(ctx context.Context) error {
	if own := os.Geteuid(); h.Peer.UID != own {
		// fail closed: sessions are for the daemon's own user.
		return fmt.Errorf("user %d may not use the guard of user %d", h.Peer.UID, own)
	}
	buf := make([]byte, maxHello+1)
	n, files, err := RecvFiles(h.conn, buf)
	if errors.Is(err, ErrNotPassed) {
		h.send(Welcome{Protocol: Protocol, NotPassed: true})
	}
	if err != nil {
		return explain(ctx, err)
	}
	if n == 0 {
		closeFiles(files)
		return io.EOF // a probe that only checks whether the daemon runs
	}
	if len(files) != 2 {
		closeFiles(files)
		if len(files) < 2 {
			h.send(Welcome{Protocol: Protocol, NotPassed: true})
		}
		return fmt.Errorf("%d descriptors came with the hello, not 2: %w", len(files), ErrNotPassed)
	}
	h.In, h.Out = files[0], files[1]
	line, rest, err := readLine(h.conn, buf[:n])
	if err != nil {
		return explain(ctx, err)
	}
	if err := strictjson.DecodeKnown(line, &h.Hello); err != nil {
		return fmt.Errorf("reading the hello: %w", err)
	}
	if err := h.receiveKept(rest); err != nil {
		return explain(ctx, err)
	}
	return nil
}

// locate finds the client. A shim is started by the client and can deceive it,
// with a socket made by another process or by losing its parent. That only
// adds itself, and the processes it hides behind, as further clients. It never
// removes the client that it comes from, because that one's other sessions
// count.
func (h *Handover) locate() error {
	chain, err := Ancestry(h.Peer.PID)
	if err != nil {
		return err
	}
	if chain[0].StartTime != h.Peer.StartTime {
		return fmt.Errorf("process %d: %w", h.Peer.PID, ErrGone)
	}
	h.Shim = chain[0]
	// The parent, or the shim itself where it is an orphan.
	at := 0
	if len(chain) > 1 && !adopts(chain[1]) {
		at = 1
	}
	h.Client, h.Wrappers, h.Ancestors = chain[at], chain[:at:at], chain[at+1:]
	ref, err := h.socketPeer()
	if err != nil || ref.PID == h.Shim.PID || ref.StartTime > h.Shim.StartTime {
		// Not a socket pair, or one made by the shim itself, or one whose
		// maker is younger than the shim and so cannot have started it.
		return nil
	}
	if i := findProc(chain, ref); i > 0 {
		if !adopts(chain[i]) {
			h.Client, h.Wrappers, h.Ancestors = chain[i], chain[:i:i], chain[i+1:]
		}
		return nil
	}
	// The socket's maker is no ancestor: it may have started the shim through a
	// helper that has ended. The shim and its parent count as well.
	above, err := Ancestry(ref.PID)
	if err == nil && above[0].StartTime == ref.StartTime && !adopts(above[0]) {
		h.Client, h.Wrappers, h.Ancestors = above[0], chain[:at+1:at+1], above[1:]
	}
	return nil
}

// adopts reports whether a process is one that adopts orphans and starts
// services: the first process, or a user's service manager. Counting it as a
// client would make every process of the user one.
func adopts(p Proc) bool {
	switch filepath.Base(p.Executable) {
	case "systemd", "launchd":
		return true
	}
	return p.PID == 1
}

func (h *Handover) socketPeer() (ClientRef, error) {
	var ref ClientRef
	err := control(h.In, func(fd int) error {
		p, err := SocketPeer(fd)
		if err != nil {
			return err
		}
		ref = p.Ref()
		return p.Close()
	})
	return ref, err
}

// Clients returns the processes that count as this session's client: the
// client and the wrappers.
func (h *Handover) Clients() []ClientRef {
	out := []ClientRef{h.Client.Ref()}
	for _, p := range h.Wrappers {
		out = append(out, p.Ref())
	}
	return out
}

// RunsOneOf reports whether the process that handed the session over runs one
// of the guard's own programs.
func (h *Handover) RunsOneOf(p *Programs) bool {
	return h.Peer != nil && p.Running(h.Peer.PID) && h.Peer.Alive()
}

// Welcome answers the shim. A shim with another protocol is refused whatever w
// says, with a sentence that names both versions, and the error says so. After
// an OK the shim closes its descriptors, and Done can be used.
func (h *Handover) Welcome(w Welcome) error {
	w.Protocol = Protocol
	mismatch := h.Hello.Protocol != Protocol
	if mismatch {
		w.OK, w.Error = false, Mismatch(w.Version, h.Hello.Version)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.welcomed {
		return errors.New("welcoming a shim: the session was answered already")
	}
	if err := h.send(w); err != nil {
		return fmt.Errorf("welcoming a shim: %w", err)
	}
	if mismatch {
		return fmt.Errorf("refused a shim of protocol %d: %s", h.Hello.Protocol, w.Error)
	}
	if w.OK {
		h.welcomed = true
		// Owned by h; ends with the connection, at the latest in Close.
		go h.watch()
	}
	return nil
}

// watch reads until the shim ends; a shim says nothing after its hello.
func (h *Handover) watch() {
	defer close(h.done)
	io.Copy(io.Discard, h.conn)
}

// Done is closed when the shim has ended after an OK, which ends the session.
func (h *Handover) Done() <-chan struct{} { return h.done }

// Notice prints one line on the shim's standard error. A shim that does not
// read within a second misses it.
func (h *Handover) Notice(line string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || !h.welcomed {
		return net.ErrClosed
	}
	return h.send(message{Notice: line})
}

// Close ends the session, unless it was given back: the client sees the end of
// its input and the shim exits. It is safe to call more than once.
func (h *Handover) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	if h.welcomed && !h.returned {
		h.send(message{End: true}) // a shim that is gone does not need it
	}
	h.mu.Unlock()
	err := errors.Join(h.In.Close(), h.Out.Close(), h.conn.Close(), h.Peer.Close())
	if h.welcomed {
		<-h.done
	}
	return err
}

// send writes one line; a deadline keeps a stuck shim from holding the daemon.
func (h *Handover) send(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	_, err = h.conn.Write(append(line, '\n'))
	return err
}
