package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemon serves h on the socket at path.
func daemon(t *testing.T, path string, h http.HandlerFunc) {
	t.Helper()
	l, err := ipc.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }() // ends with the test
	t.Cleanup(func() { srv.Close(); <-done })
}

func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "approver.sock")
}

func newClient(t *testing.T, path string) *Client {
	c := New(path)
	c.Version = "1.2.3"
	t.Cleanup(c.Close)
	return c
}

func speaks(w http.ResponseWriter) { w.Header().Set(HeaderProtocol, fmt.Sprint(Protocol)) }

// TestKindsOfFailure checks which kind of error each failure gives.
func TestKindsOfFailure(t *testing.T) {
	kinds := []error{ErrUnreachable, ErrVersion, ErrNotFound, ErrRefused, ErrRequest, ErrServer}
	problem := func(status int, code string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			speaks(w)
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"code":%q,"detail":"a sentence","status":999}`, code)
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   error
		says   string
	}{
		"nobody listens":    {nil, ErrUnreachable, "not running"},
		"not found":         {problem(404, CodeNotFound), ErrNotFound, "a sentence"},
		"not permitted":     {problem(403, CodeSignature), ErrRefused, "a sentence"},
		"digest differs":    {problem(409, CodeDigest), ErrRefused, "a sentence"},
		"ambiguous":         {problem(409, CodeAmbiguous), ErrRequest, "a sentence"},
		"bad request":       {problem(400, CodeBadRequest), ErrRequest, "a sentence"},
		"refused version":   {problem(400, CodeVersion), ErrVersion, "a sentence"},
		"indeterminate":     {problem(503, CodeIndeterminate), ErrServer, "a sentence"},
		"error without why": {func(w http.ResponseWriter, _ *http.Request) { speaks(w); w.WriteHeader(500) }, ErrServer, "500"},
		"redirect":          {func(w http.ResponseWriter, r *http.Request) { speaks(w); http.Redirect(w, r, "/x", http.StatusFound) }, ErrServer, "302"},
		"not JSON":          {func(w http.ResponseWriter, _ *http.Request) { speaks(w); io.WriteString(w, "<html>") }, ErrServer, "answer"},
		"other version": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(HeaderProtocol, "7")
			w.Header().Set(HeaderVersion, "9.9")
		}, ErrVersion, "mcpguardd stop"},
		"something else": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }, ErrVersion, "control API"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Close()
		}, ErrUnreachable, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			path := socket(t)
			if c.answer != nil {
				daemon(t, path, c.answer)
			}
			_, err := newClient(t, path).Status(context.Background())
			for _, k := range kinds {
				if errors.Is(err, k) != (k == c.want) {
					t.Errorf("%v: is %v: %v", err, k, errors.Is(err, k))
				}
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want a word of %q", err, c.says)
			}
		})
	}
}

func TestCancelledIsTheContextsError(t *testing.T) {
	path := socket(t)
	ctx, cancel := context.WithCancel(context.Background())
	daemon(t, path, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	if _, err := newClient(t, path).Status(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

func TestRequestsCarryVersionAndHost(t *testing.T) {
	path := socket(t)
	var got *http.Request
	daemon(t, path, func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.Background())
		speaks(w)
		io.WriteString(w, "{}")
	})
	if _, err := newClient(t, path).Decide(context.Background(), "appr_x/../y", DecisionRequest{Decision: Allow}); err != nil {
		t.Fatal(err)
	}
	if got.Host != Host || got.Header.Get(HeaderProtocol) != "1" || got.Header.Get("Content-Type") != "application/json" || got.UserAgent() != "mcpguard/1.2.3" {
		t.Errorf("the request was %v %v", got.Host, got.Header)
	}
	if got.URL.EscapedPath() != "/v1/approvals/appr_x%2F..%2Fy/decision" {
		t.Errorf("the path was %s", got.URL.EscapedPath())
	}
}

func TestAutostart(t *testing.T) {
	path := socket(t)
	c := newClient(t, path)
	starts := 0
	c.Autostart = func(context.Context) error {
		starts++
		if starts == 1 {
			return errors.New("no mcpguardd")
		}
		daemon(t, path, func(w http.ResponseWriter, _ *http.Request) { speaks(w); io.WriteString(w, "{}") })
		return nil
	}
	if _, err := c.Status(context.Background()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "no mcpguardd") {
		t.Errorf("a start that fails gives %v", err)
	}
	for range 2 {
		if _, err := c.Status(context.Background()); err != nil || starts != 2 {
			t.Errorf("%v after %d starts", err, starts)
		}
	}
}

// stream writes blocks and keeps the connection open until the test ends.
func stream(w http.ResponseWriter, blocks ...string) {
	speaks(w)
	w.Header().Set("Content-Type", "text/event-stream")
	for _, b := range blocks {
		io.WriteString(w, b+"\n\n")
	}
	_ = http.NewResponseController(w).Flush()
}

// TestWatchReconnects breaks the connection in every possible way and expects
// the watch to resume where it was.
func TestWatchReconnects(t *testing.T) {
	path := socket(t)
	var connects atomic.Int32
	daemon(t, path, func(w http.ResponseWriter, r *http.Request) {
		last := r.Header.Get("Last-Event-ID")
		switch n := connects.Add(1); n {
		case 1:
			stream(w, "id: a-1\ndata: {\"kind\":\"resync\"}", ": beat", "id: a-2\ndata: {\"kind\":\"session\",\"sessionId\":\"s\"}")
		case 2: // silent
			if last != "a-2" {
				t.Errorf("comes back behind %q", last)
			}
			stream(w, ": resumed")
			<-r.Context().Done()
		case 3: // half an event is dropped
			stream(w)
			io.WriteString(w, "id: a-3\ndata: {\"kind\":\"session\"}\n")
		case 4: // not JSON: read again
			if last != "a-2" {
				t.Errorf("comes back behind %q after half an event", last)
			}
			stream(w, "id: a-3\ndata: {")
		case 5:
			speaks(w)
			w.WriteHeader(503)
		case 6: // too long
			stream(w)
			io.WriteString(w, "data: "+strings.Repeat("x", maxEvent+1)+"\n\n")
		default:
			stream(w, "id: a-4\ndata: {\"kind\":\"alert\"}\ndata:")
			<-r.Context().Done()
		}
	})
	c := newClient(t, path)
	c.backoff = func(int) time.Duration { return time.Millisecond }
	c.silence = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var got []string
	for e, err := range c.Watch(ctx) {
		if err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		if e.Kind != EventLost {
			got = append(got, e.ID+" "+string(e.Kind))
		} else if e.Error == "" {
			t.Error("a loss without its reason")
		}
		if e.Kind == EventAlert {
			break
		}
	}
	if want := "[a-1 resync a-2 session a-3 resync a-4 alert]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestWatchEnds expects the watch to end on permanent errors and on
// cancellation.
func TestWatchEnds(t *testing.T) {
	path := socket(t)
	daemon(t, path, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(HeaderProtocol, "7") })
	n := 0
	for _, err := range newClient(t, path).Watch(context.Background()) {
		if n++; !errors.Is(err, ErrVersion) {
			t.Errorf("got %v", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := newClient(t, socket(t)) // nobody listens
	c.Autostart = func(context.Context) error { t.Error("a watch starts the daemon"); return nil }
	for e, err := range c.Watch(ctx) {
		if n++; err == nil && e.Kind == EventLost {
			cancel()
		} else if !errors.Is(err, context.Canceled) {
			t.Errorf("got %+v, %v", e, err)
		}
	}
	if n != 3 {
		t.Errorf("%d steps, want 3", n)
	}
}

// TestDialsThroughIPC shows by an error of package ipc that the client dials
// through it, and so checks who listens.
func TestDialsThroughIPC(t *testing.T) {
	c := newClient(t, "/"+strings.Repeat("x", 300))
	if _, err := c.Status(context.Background()); err == nil || !strings.Contains(err.Error(), ipc.EnvHome) {
		t.Errorf("a path that is too long gives %v", err)
	}
}

func TestDiffBytes(t *testing.T) {
	for _, s := range []string{"", "plain\n", "\xff\xfe", "ü\x00"} {
		if got := string(NewDiff("unified", s).Bytes()); got != s {
			t.Errorf("got %q, want %q", got, s)
		}
	}
}

// TestSilentDaemon: the client gives up on a daemon that accepts a request and
// sends nothing, or stops in the middle of a response, and says what to do. It
// does not give up on one that keeps sending.
func TestSilentDaemon(t *testing.T) {
	const patience = time.Second // enough for a busy machine
	path := socket(t)
	release := make(chan struct{})
	daemon(t, path, func(w http.ResponseWriter, r *http.Request) {
		speaks(w)
		flush := func(text string) {
			io.WriteString(w, text)
			w.(http.Flusher).Flush()
		}
		switch r.URL.Path {
		case "/v1/sessions":
			flush(`{"sessions":`)
		case "/v1/servers":
			flush(`{"servers":`)
			for range 5 {
				select {
				case <-time.After(patience / 4):
				case <-r.Context().Done():
				}
				flush(" ")
			}
			flush("[]}")
			return
		}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	c := newClient(t, path)
	c.patience = patience
	var header, body, change, goesOn error
	var calls sync.WaitGroup
	calls.Go(func() { _, header = c.Status(t.Context()) })
	calls.Go(func() { _, body = c.Sessions(t.Context()) })
	calls.Go(func() { _, change = c.SetSwitch(t.Context(), "all", "x") })
	calls.Go(func() { _, goesOn = c.Servers(t.Context()) })
	calls.Wait()
	for what, err := range map[string]error{"header": header, "body": body, "change": change} {
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), fmt.Sprintf("(process %d) does not answer", os.Getpid())) || !strings.Contains(err.Error(), "mcpguardd stop --force") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if goesOn != nil {
		t.Errorf("an answer that goes on: %v", goesOn)
	}
}
