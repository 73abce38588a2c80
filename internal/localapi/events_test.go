package localapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/store"
)

// sse is one stream, parsed by the test itself.
type sse struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func (r *rig) stream(lastID string) *sse {
	r.t.Helper()
	conn, err := net.Dial("unix", r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	head := "GET /v1/events HTTP/1.1\r\nHost: mcpguard\r\n"
	if lastID != "" {
		head += "Last-Event-ID: " + lastID + "\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		r.t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		r.t.Fatalf("the stream begins with %d %v", res.StatusCode, res.Header)
	}
	return &sse{t: r.t, conn: conn, r: bufio.NewReader(res.Body)}
}

// next returns the next block: its ID and data, or a comment.
func (s *sse) next() (id, data, comment string) {
	s.t.Helper()
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			s.t.Fatalf("reading the stream: %v", err)
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "":
			return id, data, comment
		case strings.HasPrefix(line, ": "):
			comment = line[2:]
		case strings.HasPrefix(line, "id: "):
			id = line[4:]
		case strings.HasPrefix(line, "data: "):
			data = line[6:]
		}
	}
}

func TestEventsBeginWithAResyncAndResume(t *testing.T) {
	r := newRig(t, nil)
	s := r.session()
	one := r.stream("")
	id, data, _ := one.next()
	if !strings.Contains(data, `"kind":"resync"`) || id == "" {
		t.Fatalf("the stream begins with %q %q", id, data)
	}
	a := r.pending(s, "one")
	first, data, _ := one.next()
	if !strings.Contains(data, string(a.ID)) || !strings.Contains(data, `"status":"pending"`) || !strings.Contains(data, `"summary":"edit a.txt`) {
		t.Fatalf("the approval is told as %q", data)
	}
	one.conn.Close()
	b := r.pending(s, "two") // while no stream is open

	two := r.stream(first)
	if _, _, comment := two.next(); comment != "resumed" {
		t.Fatalf("got the comment %q", comment)
	}
	for range 10 { // the call of b may be reported first
		if _, data, _ := two.next(); strings.Contains(data, string(b.ID)) {
			break
		} else if strings.Contains(data, "resync") {
			t.Fatal("a stream that can go on begins anew")
		}
	}
	for _, unknown := range []string{"x", "0123456789abcdef-1", first + "9", strings.Replace(first, "-", "-18446744073709551", 1), "-", "-1"} {
		if _, data, _ := r.stream(unknown).next(); !strings.Contains(data, "resync") {
			t.Errorf("after %q the stream begins with %q", unknown, data)
		}
	}
}

// TestNothingOldFollowsAResync: the reader reads what the store had when the
// stream began, so those changes are not sent again, however late the feed is.
func TestNothingOldFollowsAResync(t *testing.T) {
	late := make(chan struct{})
	r := newRig(t, func(r *rig, a *API) {
		watch := a.feed.watch
		a.feed.watch = func() Watcher { return lateWatcher{watch(), late} }
	})
	s := r.session()
	old := r.pending(s, "one")
	stream := r.stream("")
	if _, data, _ := stream.next(); !strings.Contains(data, "resync") {
		t.Fatalf("the stream begins with %q", data)
	}
	close(late)
	fresh := r.pending(s, "two")
	if _, data, _ := stream.next(); !strings.Contains(data, string(fresh.ID)) {
		t.Errorf("got %s, want %s and nothing of %s", data, fresh.ID, old.ID)
	}
}

// lateWatcher returns no change until late is closed.
type lateWatcher struct {
	Watcher
	late chan struct{}
}

func (w lateWatcher) Next(ctx context.Context) (store.Change, error) {
	<-w.late
	return w.Watcher.Next(ctx)
}

func TestEventsCarryHeartbeatsAndEveryKind(t *testing.T) {
	r := newRig(t, func(_ *rig, a *API) { a.beat = 5 * time.Millisecond })
	s := r.stream("")
	s.next()
	if _, _, comment := s.next(); comment != "beat" {
		t.Errorf("got the comment %q, want a heartbeat", comment)
	}
	r.session()
	must(r.c.SetSwitch(ctx, "files", "looking into it"))(t)
	if err := r.store.RaiseAlert(ctx, store.Alert{Kind: "diverged", Text: "x"}); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{`"kind":"session"`: true, `"kind":"switch"`: true, `"kind":"alert"`: true}
	for len(want) > 0 {
		_, data, _ := s.next()
		for k := range want {
			if strings.Contains(data, k) {
				delete(want, k)
			}
		}
	}
}

func TestStreamsAreLimited(t *testing.T) {
	r := newRig(t, nil)
	for range maxStreams {
		r.stream("").next()
	}
	res := r.raw(request("GET", "/v1/events", ""))
	if p := problemIn(t, res); p.Code != client.CodeBusy {
		t.Errorf("got %s", p.Code)
	}
}

// scripted is a watcher whose changes come from the test.
type scripted struct{ changes chan store.Change }

func (s scripted) Next(ctx context.Context) (store.Change, error) {
	select {
	case c := <-s.changes:
		return c, nil
	case <-ctx.Done():
		return store.Change{}, ctx.Err()
	}
}
func (s scripted) Close() {}

// TestSlowStreamsAreToldToReadAgain overruns the ring and forwards the store's
// own resync.
func TestSlowStreamsAreToldToReadAgain(t *testing.T) {
	f := newFeed(nil, nil)
	f.add(store.Change{Kind: store.ChangeSession})
	seen, ok := f.resume(f.id(1))
	if !ok || seen != 1 {
		t.Fatalf("resume gives %d, %v", seen, ok)
	}
	for range kept {
		f.add(store.Change{Kind: store.ChangeSession})
	}
	if got, lost, last, _, _ := f.after(seen); lost || len(got) != kept || last != kept+1 {
		t.Errorf("the last %d that are kept: %d, lost %v", kept, len(got), lost)
	}
	if _, ok := f.resume(f.id(1)); !ok {
		t.Error("a stream that just fits cannot go on")
	}
	f.add(store.Change{Kind: store.ChangeSession})
	if _, lost, last, _, _ := f.after(seen); !lost || last != kept+2 {
		t.Errorf("an overrun is not told: lost %v, last %d", lost, last)
	}
	if _, ok := f.resume(f.id(1)); ok {
		t.Error("a stream that missed something goes on")
	}

	w := scripted{make(chan store.Change)}
	r := newRig(t, func(_ *rig, a *API) { a.feed = newFeed(func() Watcher { return w }, a.log) })
	s := r.stream("")
	s.next()
	w.changes <- store.Change{Seq: r.store.Seq() + 1, Kind: store.ChangeResync}
	if _, data, _ := s.next(); !strings.Contains(data, `"kind":"resync"`) {
		t.Errorf("the store's resync arrives as %q", data)
	}
	w.changes <- store.Change{Seq: r.store.Seq() + 1, Kind: "something new"}
	if _, data, _ := s.next(); !strings.Contains(data, `"kind":"resync"`) {
		t.Errorf("an unknown kind arrives as %q", data)
	}
}

// TestWatchMissesNothing decides on approvals while the connection is cut and
// the API restarts. A watcher that follows the rules must end in the true
// state.
func TestWatchMissesNothing(t *testing.T) {
	r := newRig(t, nil)
	s := r.session()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	const rounds = 5
	go func() { // ends after its rounds; the watch below waits for the last
		for i := range rounds {
			a := r.pending(s, fmt.Sprint("round ", i))
			if i%2 == 1 {
				r.stop()
				r.serve(nil)
			}
			if _, err := r.desk.Decide(ctx, a.ID, guard.Signoff{Digest: a.Digest, Reason: "not this one"}); err != nil {
				t.Error(err)
			}
		}
	}()
	status := map[string]string{}
	resyncs, losses := 0, 0
	for e, err := range r.c.Watch(ctx) {
		if err != nil {
			t.Fatalf("the watch ended: %v; known: %v", err, status)
		}
		switch e.Kind {
		case client.EventResync:
			resyncs++
			list, err := r.c.ListAll(ctx, client.Filter{})
			if errors.Is(err, client.ErrUnreachable) {
				continue // the next connection begins with a resync
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range list {
				status[v.ID] = v.Status
			}
		case client.EventLost:
			losses++
		case client.EventApproval:
			if e.Approval == nil {
				t.Fatalf("an event without its approval: %+v", e)
			}
			status[e.ApprovalID] = e.Approval.Status
		}
		done := 0
		for _, st := range status {
			if st == client.Denied {
				done++
			}
		}
		if done == rounds {
			break
		}
	}
	if resyncs < 1 {
		t.Error("the watch began without a resync")
	}
	t.Logf("%d resyncs, %d losses", resyncs, losses)
}
