package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// sdkClient is a client made of the official SDK, in a process of its own.
type sdkClient struct {
	t      testing.TB
	cmd    *exec.Cmd
	in     io.WriteCloser
	ended  chan struct{} // closed when the script has closed its output
	stderr lockedBuffer

	mu      sync.Mutex
	next    int
	events  []sdkEvent
	changed chan struct{} // closed and replaced with each event
}

// sdkEvent is one line of the script.
type sdkEvent struct {
	ID       int             `json:"id"`
	Ready    json.RawMessage `json:"ready"`
	Result   json.RawMessage `json:"result"`
	Progress *struct {
		Progress float64 `json:"progress"`
		Message  string  `json:"message"`
	} `json:"progress"`
	Error *struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	} `json:"error"`
	Notification json.RawMessage `json:"notification"`
	Failure      string          `json:"failure"`
	Closed       bool            `json:"closed"`
	raw          string
}

// sdkConfig is what the script is started with.
type sdkConfig struct {
	Name         string            `json:"name"`
	Command      string            `json:"command"`
	Args         []string          `json:"args"`
	Env          map[string]string `json:"env"`
	Capabilities any               `json:"capabilities,omitempty"`
	Answers      map[string]any    `json:"answers,omitempty"`
}

// options are the SDK's own request options; times are in milliseconds. The
// zero value leaves its default of 60 s.
type options struct {
	Timeout                int  `json:"timeout,omitempty"`
	ResetTimeoutOnProgress bool `json:"resetTimeoutOnProgress,omitempty"`
}

// sdk connects an SDK client under a name to a guarded server.
func (g *guard) sdk(name, server string) *sdkClient {
	g.t.Helper()
	return g.sdkWith(sdkConfig{Name: name, Command: program("mcpguard"), Args: []string{"stdio", server}})
}

func (g *guard) sdkWith(c sdkConfig) *sdkClient {
	g.t.Helper()
	node(g.t, sdk)
	if c.Env == nil {
		c.Env = map[string]string{"MCPGUARD_HOME": g.home}
	}
	s := &sdkClient{t: g.t, ended: make(chan struct{}), changed: make(chan struct{}), next: 1}
	s.cmd = exec.Command("node", filepath.Join(folder, "sdk-client.mjs"), string(mustJSON(c)))
	s.cmd.Dir, s.cmd.Env, s.cmd.Stderr, s.cmd.WaitDelay = g.work, g.environ(), &s.stderr, 10*time.Second
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		g.t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	go s.read(out) // ends with the script's output
	g.t.Cleanup(s.close)
	s.event("the session to open", func(e sdkEvent) bool { return e.Ready != nil || e.Error != nil })
	return s
}

func (s *sdkClient) read(out io.Reader) {
	defer close(s.ended)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 32<<20)
	for lines.Scan() {
		e := sdkEvent{raw: lines.Text()}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			s.t.Errorf("a line of the SDK client: %v: %s", err, lines.Text())
			continue
		}
		s.mu.Lock()
		s.events = append(s.events, e)
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
}

// event waits until an event has come, before or from now on, that fits.
func (s *sdkClient) event(what string, fits func(sdkEvent) bool) sdkEvent {
	s.t.Helper()
	timer := time.NewTimer(patience + longHold())
	defer timer.Stop()
	for seen, ended := 0, false; ; {
		s.mu.Lock()
		events, changed := s.events, s.changed
		s.mu.Unlock()
		for ; seen < len(events); seen++ {
			if fits(events[seen]) {
				return events[seen]
			}
		}
		if ended {
			s.t.Fatalf("the SDK client ended while it waited for %s; standard error:\n%s", what, s.stderr.String())
		}
		select {
		case <-changed:
		case <-s.ended:
			ended = true
		case <-timer.C:
			s.t.Fatalf("waited too long for %s; standard error:\n%s", what, s.stderr.String())
		}
	}
}

// send gives the script a command.
func (s *sdkClient) send(v any) {
	s.t.Helper()
	if _, err := s.in.Write(append(mustJSON(v), '\n')); err != nil {
		s.t.Fatalf("the SDK client: %v; standard error:\n%s", err, s.stderr.String())
	}
}

// start sends a request and returns its number; result waits for its end.
func (s *sdkClient) start(method string, params any, o options) int {
	s.t.Helper()
	s.mu.Lock()
	id := s.next
	s.next++
	s.mu.Unlock()
	s.send(map[string]any{"id": id, "method": method, "params": params, "options": o})
	return id
}

func (s *sdkClient) result(id int) sdkEvent {
	s.t.Helper()
	return s.event("an answer", func(e sdkEvent) bool { return e.ID == id && (e.Result != nil || e.Error != nil) })
}

func (s *sdkClient) request(method string, params any) sdkEvent {
	s.t.Helper()
	return s.result(s.start(method, params, options{}))
}

// startCall calls a tool; answer waits for its result.
func (s *sdkClient) startCall(tool string, args any, o options) int {
	s.t.Helper()
	return s.start("tools/call", map[string]any{"name": tool, "arguments": args}, o)
}

func (s *sdkClient) answer(id int) reply {
	s.t.Helper()
	e := s.result(id)
	if e.Error != nil {
		return reply{raw: e.raw, Error: &struct {
			Code    int
			Message string
		}{e.Error.Code, e.Error.Message}}
	}
	r := reply{raw: e.raw}
	if err := json.Unmarshal([]byte(e.raw), &r); err != nil {
		s.t.Fatalf("a result that cannot be read: %v\n%s", err, e.raw)
	}
	return r
}

func (s *sdkClient) call(tool string, args any) reply {
	s.t.Helper()
	return s.answer(s.startCall(tool, args, options{}))
}

// close ends the client in order.
func (s *sdkClient) close() {
	if s.cmd.ProcessState != nil {
		return
	}
	_ = s.in.Close()
	<-s.ended
	err := s.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Errorf("ending the SDK client: %v", err)
	}
}

// kill ends the client as a crash would.
func (s *sdkClient) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = s.cmd.Wait() // the signal is its exit
	<-s.ended
}
