package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// bridge serves streamable HTTP, which is all that the suite speaks, and hands
// each message to a server on standard input and output as it came. A session of
// the versions that have sessions is a process of its own; the messages of
// version 2026-07-28, which has none, go to one.
type bridge struct {
	command func() *exec.Cmd

	mu       sync.Mutex
	sessions map[string]*session // by their id; "" is the one without
	next     int
}

const sessionHeader = "Mcp-Session-Id"

func newBridge(t *testing.T, command func() *exec.Cmd) *httptest.Server {
	b := &bridge{command: command, sessions: map[string]*session{}}
	s := httptest.NewServer(b)
	t.Cleanup(func() {
		b.mu.Lock()
		open := b.sessions
		b.sessions = map[string]*session{}
		b.mu.Unlock()
		for _, s := range open {
			s.end()
			if t.Failed() && s.stderr.Len() > 0 {
				t.Logf("%s: %s", s.cmd.Path, s.stderr.String())
			}
		}
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// message is what the bridge looks at in a message.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Meta          map[string]json.RawMessage `json:"_meta"`
		ProgressToken json.RawMessage            `json:"progressToken"`
		RequestID     json.RawMessage            `json:"requestId"`
	} `json:"params"`
	Error *struct {
		Code int `json:"code"`
	} `json:"error"`
}

func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil || host != "127.0.0.1" && host != "localhost" || r.Header.Get("Origin") != "" && !strings.Contains(r.Header.Get("Origin"), "//"+r.Host) {
		http.Error(w, "this server is for this machine alone", http.StatusForbidden)
		return
	}
	switch r.Method {
	case http.MethodPost:
		b.post(w, r)
	case http.MethodGet:
		if s := b.session(w, r); s != nil {
			s.listen(w, r)
		}
	case http.MethodDelete:
		if s := b.session(w, r); s != nil {
			b.mu.Lock()
			delete(b.sessions, r.Header.Get(sessionHeader))
			b.mu.Unlock()
			s.end()
		}
	default:
		http.Error(w, "GET, POST or DELETE", http.StatusMethodNotAllowed)
	}
}

// versionMember tells a message of version 2026-07-28, which each says itself.
const versionMember = "io.modelcontextprotocol/protocolVersion"

// refuse answers what the transport has to: a message at odds with its headers.
func refuse(w http.ResponseWriter, m message, code int, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%q}}`, m.ID, code, why)
}

// session finds the session of a request, or answers that there is none.
func (b *bridge) session(w http.ResponseWriter, r *http.Request) *session {
	id := r.Header.Get(sessionHeader)
	b.mu.Lock()
	s := b.sessions[id]
	b.mu.Unlock()
	switch {
	case id == "":
		http.Error(w, "no session", http.StatusBadRequest)
		return nil
	case s == nil:
		http.Error(w, "no such session", http.StatusNotFound)
	}
	return s
}

func (b *bridge) post(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var m message
	var line bytes.Buffer
	if err != nil || json.Unmarshal(body, &m) != nil || json.Compact(&line, body) != nil {
		http.Error(w, "no message", http.StatusBadRequest)
		return
	}
	line.WriteByte('\n')
	version, modern := m.Params.Meta[versionMember]
	header := r.Header.Get("Mcp-Protocol-Version")
	switch said, _ := strconv.Unquote(string(version)); {
	case modern && header != "" && said != header:
		refuse(w, m, -32020, "the version in the header is not the one in the message")
		return
	case !modern && header >= "2026-07-28" && m.ID != nil:
		refuse(w, m, -32602, "the message does not say its version")
		return
	}
	var s *session
	switch {
	case modern, m.Method == "initialize", header >= "2026-07-28":
		if s, err = b.open(w, m.Method == "initialize" && !modern); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		modern = m.Method != "initialize" || modern
	default:
		if s = b.session(w, r); s == nil {
			return
		}
	}
	if m.Method == "" || m.ID == nil {
		s.write(line.Bytes())
		w.WriteHeader(http.StatusAccepted)
		return
	}
	s.request(w, r, m, line.Bytes(), modern)
}

// open returns a new session, or the one of those that need none.
func (b *bridge) open(w http.ResponseWriter, fresh bool) (*session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := ""
	if fresh {
		b.next++
		id = "session-" + strconv.Itoa(b.next)
		w.Header().Set(sessionHeader, id)
	} else if s := b.sessions[""]; s != nil {
		return s, nil
	}
	s, err := startSession(b.command())
	if err == nil {
		b.sessions[id] = s
	}
	return s, err
}

// session is one process, and the streams on which its messages go out.
type session struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer
	read   chan struct{} // closed when the process has said its last

	mu      sync.Mutex
	waiting []*stream // of requests, the latest last
	quiet   *stream   // of what belongs to no request
	held    [][]byte  // messages for which there was no stream
}

// stream is an answer under way.
type stream struct {
	id, progress string
	messages     chan []byte
}

const streamRoom = 1024 // messages; a scenario has some ten

func startSession(cmd *exec.Cmd) (*session, error) {
	s := &session{cmd: cmd, read: make(chan struct{})}
	cmd.Stderr = &s.stderr
	var err error
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process
		defer s.over()
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			s.route(bytes.TrimSpace(line))
		}
	}()
	return s, nil
}

func (s *session) write(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.stdin.Write(line) // an end is seen on the other side
}

// end closes the process's input and waits for it.
func (s *session) end() {
	_ = s.stdin.Close()
	select {
	case <-s.read:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.read
	}
	_ = s.cmd.Wait()
}

// over ends the streams of a process that has said its last.
func (s *session) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.waiting {
		close(w.messages)
	}
	s.waiting = nil
	close(s.read)
}

// route puts a message of the server on the stream where it belongs: a response
// and what names a request on the request's, progress by its token, what tells of
// a change on the one that listens, anything else on that of the latest request.
func (s *session) route(line []byte) {
	var m message
	if json.Unmarshal(line, &m) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	subscription := string(m.Params.Meta["io.modelcontextprotocol/subscriptionId"])
	for i, w := range s.waiting {
		switch {
		case m.Method == "" && w.id == string(m.ID):
			w.messages <- line
			close(w.messages)
			s.waiting = append(s.waiting[:i:i], s.waiting[i+1:]...)
			return
		case m.Method != "" && (subscription == w.id || m.Params.ProgressToken != nil && w.progress == string(m.Params.ProgressToken)):
			w.messages <- line
			return
		}
	}
	to := s.quiet
	change := strings.HasSuffix(m.Method, "/list_changed") || m.Method == "notifications/resources/updated"
	if n := len(s.waiting); n > 0 && (!change || to == nil) {
		to = s.waiting[n-1]
	}
	if to == nil {
		s.held = append(s.held, line)
		return
	}
	to.messages <- line
}

// request sends a request and streams what comes until its response.
func (s *session) request(w http.ResponseWriter, r *http.Request, m message, line []byte, modern bool) {
	st := &stream{id: string(m.ID), progress: string(m.Params.Meta["progressToken"]), messages: make(chan []byte, streamRoom)}
	s.mu.Lock()
	select {
	case <-s.read:
		close(st.messages)
	default:
		s.waiting = append(s.waiting, st)
	}
	s.mu.Unlock()
	s.write(line)
	first := true
	for {
		select {
		case text, open := <-st.messages:
			if !open {
				return
			}
			var out message
			if err := json.Unmarshal(text, &out); err == nil && first && out.Method == "" {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(statusOf(out, modern))
				_, _ = w.Write(text) // the suite notices
				return
			}
			if first {
				w.Header().Set("Content-Type", "text/event-stream")
				first = false
			}
			event(w, text)
		case <-r.Context().Done():
			s.gone(st, modern)
			return
		}
	}
}

// statusOf is the status that goes with an answer: version 2026-07-28 gives some
// errors one of their own.
func statusOf(m message, modern bool) int {
	if m.Error == nil || !modern {
		return http.StatusOK
	}
	switch m.Error.Code {
	case -32601:
		return http.StatusNotFound
	case -32600, -32602, -32020, -32021, -32022:
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// gone forgets a request whose client has hung up; without sessions that
// cancels it.
func (s *session) gone(st *stream, modern bool) {
	s.mu.Lock()
	for i, w := range s.waiting {
		if w == st {
			s.waiting = append(s.waiting[:i:i], s.waiting[i+1:]...)
			break
		}
	}
	s.mu.Unlock()
	if modern {
		s.write(fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s}}`+"\n", st.id))
	}
}

// listen streams what belongs to no request.
func (s *session) listen(w http.ResponseWriter, r *http.Request) {
	st := &stream{messages: make(chan []byte, streamRoom)}
	s.mu.Lock()
	s.quiet = st
	held := s.held
	s.held = nil
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	http.NewResponseController(w).Flush()
	for _, text := range held {
		event(w, text)
	}
	for {
		select {
		case text := <-st.messages:
			event(w, text)
		case <-s.read:
			return
		case <-r.Context().Done():
			s.mu.Lock()
			if s.quiet == st {
				s.quiet = nil
			}
			s.mu.Unlock()
			return
		}
	}
}

func event(w http.ResponseWriter, text []byte) {
	fmt.Fprintf(w, "event: message\ndata: %s\n\n", text)
	_ = http.NewResponseController(w).Flush() // the suite notices
}

// deadline bounds a run of the suite.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
