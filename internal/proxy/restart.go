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

// A session outlives an orderly restart of the daemon: this file has how the
// proxy leaves one to the next daemon, and how it goes on with one.

var errLeaving = errors.New("the guard daemon is ending")

// reopenTimeout bounds the handshake with the new upstream of a kept session.
const reopenTimeout = time.Minute

// opening is what the client has said to open the session. session.who guards it.
type opening struct {
	request     []byte // initialize, as the client sent it
	initialized []byte // the notification that follows its answer
	answered    bool   // the client has the answer to request
	protocol    string // that was agreed on in it
}

// handover is the end of the client's reader, for the next daemon.
type handover struct {
	clean  bool // it stopped between two reads, with nothing lost
	unread []byte
}

// stopForNext stops the client's reader, which then has read whole frames or keeps
// what it has of one.
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
	case <-moment.C: // it waits for room towards a client that does not read: not to be kept
	}
}

// stopReading notes how the client's reader ended; err is nil where it only saw
// that the session is left.
func (s *session) stopReading(r *jsonrpc.Reader, err error) {
	if !s.leaving.Load() || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	s.rest.unread, s.rest.clean = r.Rest()
}

// clientStream is what the client sends, after what an earlier daemon had read.
func (s *session) clientStream() io.Reader {
	if s.cfg.Kept == nil || len(s.cfg.Kept.Unread) == 0 {
		return s.cfg.Client
	}
	return io.MultiReader(bytes.NewReader(s.cfg.Kept.Unread), s.cfg.Client)
}

// beforeLeave is ctx until the session is left.
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

// opens keeps what opened the session.
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

// agreed keeps the version that the server has agreed to. One that has answered
// with an error has opened nothing.
func (s *session) agreed(m *jsonrpc.Message) {
	s.who.Lock()
	defer s.who.Unlock()
	if !m.Error.IsZero() {
		s.opening = opening{}
		return
	}
	s.opening.answered, s.opening.protocol = true, textAt(m.Raw, m.Result, "protocolVersion")
}

// handback is the session for the next daemon; false where it cannot go on. All
// of the session has ended by now.
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
	whole := s.opening.answered
	s.update(func(in *inflight) {
		open := in.unsaid
		for _, r := range in.client {
			if !r.answered {
				open = append(open, r)
			}
		}
		for _, r := range open {
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

// reopen repeats the handshake of a kept session to the new upstream, whose
// answer the client has had, and tells the client that lists may be others now.
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
			// fail closed: nothing else opens a session, and all else is admitted singly
			return fmt.Errorf("a kept handshake has %q", m.Method)
		}
		s.opens(&m)
	}
	s.agreed(&capabilities)
	s.listChanged()
	for _, list := range []string{"prompts", "resources"} {
		at, ok := jsonrpc.Lookup(capabilities.Raw, capabilities.Result, "capabilities", list, "listChanged")
		if yes, _ := jsonrpc.Bool(capabilities.Raw, at); ok && yes {
			s.toClient(jsonrpc.Notify("notifications/"+list+"/list_changed", nil))
		}
	}
	return nil
}

// reinitialize sends the client's initialize with an id of the guard's own.
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
