package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Bounds of a watch.
const (
	// maxSilence is how long a connection may carry nothing. The daemon sends
	// something every 15 s.
	maxSilence = 45 * time.Second
	maxEvent   = 4 << 20 // bytes of one event
)

// defaultBackoff grows from 100 ms to 5 s, with up to a quarter of jitter so
// that many watchers do not reconnect at once.
func defaultBackoff(attempt int) time.Duration {
	d := min(100*time.Millisecond<<min(attempt, 10), 5*time.Second)
	return d + rand.N(d/4+1)
}

// Watch returns the committed changes as they happen. The first event is an
// EventResync: a reader that loads its list after that event misses nothing.
// When the connection is lost, an EventLost follows and the watch reconnects
// by itself; it then either continues where it was or sends another
// EventResync.
//
// The sequence ends after its only error: the context's, or a permanent one
// (ErrVersion, ErrRefused). Breaking out of the loop also ends it. A watch
// never starts a daemon: a stopped one stays stopped.
func (c *Client) Watch(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		quiet := *c
		quiet.Autostart = nil
		w := watch{client: &quiet, yield: yield}
		backoff := c.backoff
		if backoff == nil {
			backoff = defaultBackoff
		}
		for attempt := 0; ; attempt++ {
			err := w.connect(ctx)
			if w.stopped {
				return
			}
			if ctx.Err() != nil {
				yield(Event{}, fmt.Errorf("watching the daemon: %w", context.Cause(ctx)))
				return
			}
			if errors.Is(err, ErrVersion) || errors.Is(err, ErrRefused) || errors.Is(err, ErrRequest) {
				yield(Event{}, err)
				return
			}
			if w.heard {
				attempt, w.heard = 0, false
			}
			if !w.lost {
				w.lost = true
				if !yield(Event{Kind: EventLost, Error: err.Error(), At: time.Now()}, nil) {
					return
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(backoff(attempt)):
			}
		}
	}
}

// watch is the state of one sequence. Only connect changes it.
type watch struct {
	client  *Client
	yield   func(Event, error) bool
	last    string // id of the last event
	heard   bool   // this connection has delivered something
	lost    bool   // the reader was sent an EventLost
	stopped bool   // the reader wants no more
}

var errSilent = errors.New("the daemon has been silent for too long")

// connect reads one connection until it ends.
func (w *watch) connect(ctx context.Context) error {
	silence := w.client.silence
	if silence == 0 {
		silence = maxSilence
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alarm := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer alarm.Stop()
	header := http.Header{"Accept": {"text/event-stream"}}
	if w.last != "" {
		header.Set("Last-Event-ID", w.last)
	}
	res, err := w.client.do(ctx, request{method: http.MethodGet, path: "/v1/events", header: header})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	err = w.read(res.Body, func() { alarm.Reset(silence) })
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// read parses the stream (WHATWG server-sent events, of which the daemon uses
// id, data and comments) and passes on each event.
func (w *watch) read(body io.Reader, heard func()) error {
	r := bufio.NewReaderSize(body, 64<<10)
	var id string
	var data strings.Builder
	for {
		line, err := readLine(r)
		if err != nil {
			return err
		}
		heard()
		w.heard = true
		switch {
		case line == "":
			if data.Len() > 0 && !w.dispatch(id, data.String()) {
				return nil
			}
			data.Reset()
		case strings.HasPrefix(line, ":"):
		default:
			field, value, _ := strings.Cut(line, ":")
			value = strings.TrimPrefix(value, " ")
			switch field {
			case "id":
				id = value
			case "data":
				if data.Len()+len(value) > maxEvent {
					return fmt.Errorf("an event has more than %d bytes", maxEvent)
				}
				data.WriteString(value)
			}
		}
	}
}

// dispatch passes on one event and reports whether to continue.
func (w *watch) dispatch(id, data string) bool {
	var e Event
	if err := jsonvalue.DecodeKnown([]byte(data), &e); err != nil {
		// An unreadable change counts as a missed one.
		e = Event{Kind: EventResync}
	}
	e.ID = id
	w.last, w.lost = id, false
	if !w.yield(e, nil) {
		w.stopped = true
		return false
	}
	return true
}

func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, prefix, err := r.ReadLine()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the daemon closed the connection")
			}
			return "", err
		}
		line = append(line, part...)
		if len(line) > maxEvent {
			return "", fmt.Errorf("an event has more than %d bytes", maxEvent)
		}
		if !prefix {
			return string(line), nil
		}
	}
}
