package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// Requests of the client that stay in force until it takes them back: they are
// repeated to the new process of the server after a restart of the daemon.

// Bounds of what is kept for the next daemon.
const (
	maxStanding      = 256
	maxStandingBytes = 512 << 10
)

// lasting is what stays in force. It is guarded by session.who.
type lasting struct {
	level []byte // the last logging/setLevel that the server accepted
	subs  []subscription
	bytes int // of subs
	left  int // subscriptions over the bounds
}

type subscription struct {
	uri   string
	frame []byte
}

// standing returns the frame of a request that stays in force, or takes one
// back; nil for all others.
func standing(m *jsonrpc.Message) []byte {
	switch m.Method {
	case "logging/setLevel", "resources/subscribe", "resources/unsubscribe":
		return m.Raw
	}
	return nil
}

// stands keeps a request that the server has accepted, or forgets the one that
// it takes back.
func (s *session) stands(r *request) {
	if r.standing == nil {
		return
	}
	m, err := jsonrpc.Admit(r.standing, s.cfg.Limits)
	if err != nil {
		return // it was admitted when it came
	}
	s.who.Lock()
	defer s.who.Unlock()
	l := &s.lasting
	if r.method == "logging/setLevel" {
		if len(m.Raw) <= maxStandingBytes {
			l.level = m.Raw
		}
		return
	}
	at, _ := m.Param("uri")
	uri, ok := jsonrpc.String(m.Raw, at)
	if !ok {
		return
	}
	kept := l.forget(uri)
	if r.method != "resources/subscribe" {
		if !kept && l.left > 0 {
			l.left--
		}
		return
	}
	if len(l.subs) >= maxStanding || l.bytes+len(m.Raw) > maxStandingBytes {
		l.left++
		return
	}
	l.subs = append(l.subs, subscription{uri, m.Raw})
	l.bytes += len(m.Raw)
}

func (l *lasting) forget(uri string) (kept bool) {
	for i, sub := range l.subs {
		if sub.uri == uri {
			l.bytes -= len(sub.frame)
			l.subs = slices.Delete(l.subs, i, i+1)
			return true
		}
	}
	return false
}

func (l *lasting) frames() [][]byte {
	var out [][]byte
	if l.level != nil {
		out = append(out, l.level)
	}
	for _, sub := range l.subs {
		out = append(out, sub.frame)
	}
	return out
}

// repeatStanding sends what stays in force to the new process of the server, as
// requests that are admitted and recorded like those of the client, and waits
// for the answers. What is refused now is said to the developer; the session
// goes on.
func (s *session) repeatStanding(ctx context.Context) error {
	for _, frame := range s.cfg.Kept.Standing {
		m, err := jsonrpc.Admit(frame, s.cfg.Limits)
		if err != nil {
			return fmt.Errorf("a kept request cannot be read: %w", err)
		}
		if m.Kind != jsonrpc.Request || m.Method != "logging/setLevel" && m.Method != "resources/subscribe" {
			// fail closed: nothing else is repeated for the client
			return fmt.Errorf("a kept request has %q", m.Method)
		}
		id := jsonrpc.StringID("mcpguard-" + rand.Text())
		if m, err = jsonrpc.Admit(jsonrpc.ReplaceSpans(m.Raw, []jsonrpc.Edit{{Span: m.IDSpan, With: id.Raw()}}), s.cfg.Limits); err != nil {
			return fmt.Errorf("a kept request cannot be repeated: %w", err)
		}
		answered := make(chan []byte, 1)
		s.clientRequest(m, answered)
		if why := s.repeatedAnswer(ctx, answered); errors.Is(why, errLeaving) || s.ctx.Err() != nil {
			return why
		} else if why != nil {
			what := "the log level"
			if at, ok := m.Param("uri"); ok {
				what = "the subscription to " + string(bytes.TrimSpace(at.Of(m.Raw)))
			}
			s.notice("%s could not be repeated to the new process of the server %q: %v; the client has to ask again", what, s.cfg.Session.Server, why)
		}
	}
	return nil
}

// repeatedAnswer waits for the answer to a repeated request. The error says why
// it was not accepted.
func (s *session) repeatedAnswer(ctx context.Context, answered <-chan []byte) error {
	select {
	case frame := <-answered:
		m, err := jsonrpc.Admit(frame, s.cfg.Limits)
		if err != nil {
			return errors.New("the answer cannot be read")
		}
		if !m.Error.IsZero() {
			return fmt.Errorf("%s", textAt(m.Raw, m.Error, "message"))
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}
