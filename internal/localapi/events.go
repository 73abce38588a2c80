package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/store"
)

const (
	// heartbeat is how often a stream sends something, so that each side
	// notices when the other is gone.
	heartbeat = 15 * time.Second
	// maxStreams limits the streams of one daemon; each costs a goroutine and
	// a descriptor.
	maxStreams = 64
	// rivalsLook is how often contested approvals are checked again.
	rivalsLook = time.Second
)

// events is GET /v1/events: server-sent events, from the one after
// Last-Event-ID if that is still known, else beginning with a resync.
func (a *API) events(w http.ResponseWriter, r *http.Request) {
	if err := query(r).err; err != nil {
		writeProblem(w, a.problem(err))
		return
	}
	if n := a.streams.Add(1); n > maxStreams {
		a.streams.Add(-1)
		writeProblem(w, &client.Problem{
			Status: http.StatusServiceUnavailable, Code: client.CodeBusy, Title: "Too many streams",
			Detail: fmt.Sprintf("%d programs follow the daemon's events already", maxStreams), Remedy: "close some of them",
		})
		return
	}
	defer a.streams.Add(-1)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if end, ok := r.Context().Value(streamsKey{}).(context.Context); ok {
		stop := context.AfterFunc(end, cancel)
		defer stop()
	}
	s := stream{api: a, w: w, control: http.NewResponseController(w)}
	// The request has been read; from here on its deadline would end the
	// stream.
	if err := s.control.SetReadDeadline(time.Time{}); err != nil {
		a.log.Warn("a stream ends with its read deadline", "error", err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	seen, ok := a.feed.resume(r.Header.Get("Last-Event-ID"))
	s.seen = seen
	s.follow(ctx, !ok)
}

// stream is one reader of events. It belongs to one goroutine.
type stream struct {
	api     *API
	w       http.ResponseWriter
	control *http.ResponseController
	seen    uint64 // number of the last event sent
	known   uint64 // the store's number of the last change that a resync covers
	// contested are the approvals that had a rival at the last check.
	contested map[guard.ApprovalID]bool
}

// follow sends events until ctx ends, the reader is gone, or the feed ends.
func (s *stream) follow(ctx context.Context, resync bool) {
	beat := time.NewTicker(s.api.beat)
	defer beat.Stop()
	look := time.NewTicker(rivalsLook)
	defer look.Stop()
	s.contested = keys(s.api.rivals())
	if resync && s.resync() != nil {
		return
	}
	if !resync && s.write([]byte(": resumed\n\n")) != nil {
		return
	}
	for {
		changes, lost, last, wait, ended := s.api.feed.after(s.seen)
		if lost {
			s.seen = last
			if s.resync() != nil {
				return
			}
			continue
		}
		for _, c := range changes {
			s.seen++
			if c.Seq <= s.known {
				continue // the store had it before the resync
			}
			if s.send(s.event(c)) != nil {
				return
			}
		}
		if s.rivals() != nil {
			return
		}
		if len(changes) > 0 {
			continue
		}
		var again <-chan time.Time
		if len(s.contested) > 0 { // a rival's end arrives in memory a moment after the store
			again = look.C
		}
		if ended {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-wait:
		case <-again:
		case <-beat.C:
			if s.write([]byte(": beat\n\n")) != nil {
				return
			}
		}
	}
}

// resync tells the reader to read everything again. Changes committed before
// that are not sent afterwards.
func (s *stream) resync() error {
	s.known = s.api.cfg.Store.Seq()
	return s.send(client.Event{Kind: client.EventResync})
}

// event converts a change. For an unknown kind it tells the reader to read
// everything again, which is always correct.
func (s *stream) event(c store.Change) client.Event {
	e := client.Event{At: utc(c.At)}
	switch c.Kind {
	case store.ChangeApproval:
		e.Kind, e.ApprovalID, e.Status = client.EventApproval, string(c.ApprovalID), string(c.Status)
		e.RunID, e.SessionID = string(c.RunID), string(c.SessionID)
		e.Approval = s.row(c.ApprovalID)
	case store.ChangeSession:
		e.Kind, e.SessionID, e.RunID = client.EventSession, string(c.SessionID), string(c.RunID)
	case store.ChangeSwitch:
		e.Kind, e.Scope = client.EventSwitch, c.Scope
	case store.ChangeAlert:
		e.Kind, e.AlertID, e.ApprovalID = client.EventAlert, string(c.AlertID), string(c.ApprovalID)
	default:
		e.Kind = client.EventResync
	}
	return e
}

// send writes one event and flushes it.
func (s *stream) send(e client.Event) error {
	e.ID = s.api.feed.id(s.seen)
	data, err := json.Marshal(e)
	if err != nil {
		return err // the reader reconnects and resumes after the previous event
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "id: %s\ndata: %s\n\n", e.ID, data)
	return s.write(b.Bytes())
}

func (s *stream) write(b []byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.control.Flush()
}
