package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// A session outlives an orderly restart of the daemon: this file leaves a
// session to the next daemon and continues one.

var errLeaving = errors.New("the guard daemon is ending")

// reopenTimeout limits the handshake with the new upstream of a kept session.
const reopenTimeout = time.Minute

// opening is what the client sent to open the session. It is guarded by
// session.who.
type opening struct {
	request     []byte // initialize, as the client sent it
	initialized []byte // the notification that follows its answer
	answered    bool   // the client has the answer to request
	protocol    string // the version agreed on in it
}

// handover is where the client's reader stopped, for the next daemon.
type handover struct {
	clean  bool // it stopped between two reads and lost nothing
	unread []byte
}

// stopForNext stops the client's reader. The reader has then read whole
// frames, or keeps what it has of one.
func (s *session) stopForNext(stopped <-chan struct{}) {
	s.leaving.Store(true)
	c, ok := s.cfg.Client.(interface{ SetReadDeadline(time.Time) error })
	if !ok || c.SetReadDeadline(time.Unix(1, 0)) != nil {
		return
	}
	moment := time.NewTimer(readGrace)
	defer moment.Stop()
	select {
	case <-stopped:
	case <-moment.C: // it waits for a client that does not read: the session cannot be kept
	}
}

// stopReading records how the client's reader ended. err is nil if it stopped
// only because the session is left.
func (s *session) stopReading(r *jsonrpc.Reader, err error) {
	if !s.leaving.Load() || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	s.rest.unread, s.rest.clean = r.Rest()
}

// clientStream returns the unread bytes of an earlier daemon followed by what
// the client sends.
func (s *session) clientStream() io.Reader {
	if s.cfg.Kept == nil || len(s.cfg.Kept.Unread) == 0 {
		return s.cfg.Client
	}
	return io.MultiReader(bytes.NewReader(s.cfg.Kept.Unread), s.cfg.Client)
}

// beforeLeave returns ctx, cancelled as soon as the session is left.
func (s *session) beforeLeave(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if s.cfg.Leave != nil {
		go func() { // ends with ctx
			select {
			case <-s.cfg.Leave:
				cancel(errLeaving)
			case <-ctx.Done():
			}
		}()
	}
	return ctx, func() { cancel(nil) }
}

// opens keeps a message that opens the session.
func (s *session) opens(m *jsonrpc.Message) {
	s.who.Lock()
	defer s.who.Unlock()
	switch m.Method {
	case "initialize":
		s.opening = opening{request: m.Raw}
	case "notifications/initialized":
		s.opening.initialized = m.Raw
	}
}

// agreed keeps the protocol version that the server has agreed to. A server
// that answered with an error has opened nothing.
func (s *session) agreed(m *jsonrpc.Message) {
	s.who.Lock()
	defer s.who.Unlock()
	if !m.Error.IsZero() {
		s.opening = opening{}
		return
	}
	s.opening.answered, s.opening.protocol = true, textAt(m.Raw, m.Result, "protocolVersion")
}

// handback returns the session for the next daemon, or false if it cannot be
// continued. All of the session has ended by now.
func (s *session) handback() (ipc.Handback, bool) {
	if s.cfg.Kept != nil && !s.reopened {
		return s.cfg.notBegun(), true // nothing was read of the client
	}
	if !s.rest.clean || s.out.failure() != nil {
		return ipc.Handback{}, false
	}
	b := ipc.Handback{Unread: s.rest.unread}
	s.who.Lock()
	defer s.who.Unlock()
	b.Standing = s.lasting.frames()
	if n := s.lasting.left; n > 0 {
		s.notice("%d subscriptions are more than can be kept for the next daemon; the client has to subscribe again", n)
	}
	whole := s.opening.answered
	s.update(func(in *inflight) {
		open := in.unsaid
		for _, r := range in.client {
			if !r.answered {
				open = append(open, r)
			}
		}
		for _, r := range open {
			if r.repeated != nil {
				continue // the client did not ask
			}
			if r.method == "initialize" && !whole {
				continue // the next daemon reads it again
			}
			b.InFlight = append(b.InFlight, rawID(r.id))
		}
	})
	switch {
	case s.opening.request == nil:
	case !whole:
		b.Unread = append(append(bytes.Clone(s.opening.request), '\n'), b.Unread...)
	default:
		b.Handshake, b.Protocol = [][]byte{s.opening.request}, s.opening.protocol
		if s.opening.initialized != nil {
			b.Handshake = append(b.Handshake, s.opening.initialized)
		}
	}
	return b, true
}

// reopen repeats the handshake of a kept session to the new upstream and drops
// the answer, since the client already has one. It tells the client that lists
// may have changed.
func (s *session) reopen(ctx context.Context) error {
	if s.cfg.Kept == nil || len(s.cfg.Kept.Handshake) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reopenTimeout)
	defer cancel()
	ctx, release := s.beforeLeave(ctx)
	defer release()
	capabilities := jsonrpc.Message{}
	for i, frame := range s.cfg.Kept.Handshake {
		m, err := jsonrpc.Admit(frame, s.cfg.Limits)
		if err != nil {
			return fmt.Errorf("the kept handshake cannot be read: %w", err)
		}
		switch {
		case i == 0 && m.Kind == jsonrpc.Request && m.Method == "initialize":
			if capabilities, err = s.reinitialize(ctx, m); err != nil {
				return err
			}
		case i == 1 && m.Kind == jsonrpc.Notification && m.Method == "notifications/initialized":
			if err := s.toUpstream(m.Raw); err != nil {
				return err
			}
		default:
			// fail closed: nothing else opens a session; every other message
			// is admitted on its own
			return fmt.Errorf("a kept handshake has %q", m.Method)
		}
		s.opens(&m)
	}
	s.agreed(&capabilities)
	if err := s.repeatStanding(ctx); err != nil {
		return err
	}
	s.listChanged()
	for _, list := range []string{"prompts", "resources"} {
		at, ok := jsonrpc.Lookup(capabilities.Raw, capabilities.Result, "capabilities", list, "listChanged")
		if yes, _ := jsonrpc.Bool(capabilities.Raw, at); ok && yes {
			s.toClient(jsonrpc.Notify("notifications/"+list+"/list_changed", nil))
		}
	}
	return nil
}

// leaves reports whether the daemon leaves its sessions to the next one.
func (s *session) leaves() bool {
	select {
	case <-s.cfg.Leave:
		return true
	default:
		return false
	}
}

// reinitialize sends the client's initialize with an ID of the guard's own.
func (s *session) reinitialize(ctx context.Context, m jsonrpc.Message) (jsonrpc.Message, error) {
	s.identify(&m)
	if d := s.method(true, m.Method); d.Verdict != guard.Allow {
		return m, errors.New(d.Reason)
	}
	own, why := s.ownRoots(m)
	if why != "" {
		return m, errors.New(why)
	}
	id := jsonrpc.StringID("mcpguard-" + rand.Text())
	answer, err := s.askWith(ctx, id, m.Method, jsonrpc.ReplaceSpans(own.Raw, []jsonrpc.Edit{{Span: own.IDSpan, With: id.Raw()}}))
	if err != nil {
		return m, err
	}
	if got := textAt(answer.Raw, answer.Result, "protocolVersion"); got != s.cfg.Kept.Protocol {
		return m, fmt.Errorf("the server speaks version %q of the protocol now, and the client was told %q", got, s.cfg.Kept.Protocol)
	}
	s.serverInfo(&answer)
	return answer, nil
}
