package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// wire is a client that speaks newline-delimited JSON-RPC itself and keeps what
// comes back byte for byte.
type wire struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	// respond answers the server's own requests; nil refuses them.
	respond func(method string, params []byte) any
	// term ends the process with a signal: servers of the official SDK live on
	// after their input has ended, as long as a timer of theirs does.
	term   bool
	ended  chan struct{} // closed when the server has closed its output
	stderr lockedBuffer

	mu      sync.Mutex
	next    int
	waiting map[string]chan []byte // by the raw id
	frames  []string               // all that came, in order
	changed chan struct{}          // closed and replaced with each frame
}

// lockedBuffer is a buffer that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// wire starts a client of a guarded server, a shell that works in the
// workspace: the guard takes the client's folder from the process.
func (g *guard) wire(server string) *wire {
	return newWire(g.t, g.work, g.environ(), "/bin/sh", "-c", `"$0" stdio "$1"; exit $?`, program("mcpguard"), server)
}

// bare starts the same server without the guard, with exactly the environment
// that the guard gives it.
func (g *guard) bare(command ...string) *wire {
	env := []string{"HOME=" + filepath.Dir(g.home)}
	for _, name := range []string{"LANG", "PATH", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	w := newWire(g.t, g.work, env, command...)
	w.term = true
	return w
}

func newWire(t testing.TB, dir string, env []string, command ...string) *wire {
	t.Helper()
	w := &wire{t: t, ended: make(chan struct{}), waiting: map[string]chan []byte{}, changed: make(chan struct{}), next: 1}
	w.cmd = exec.Command(command[0], command[1:]...)
	w.cmd.Dir, w.cmd.Env, w.cmd.Stderr = dir, env, &w.stderr
	w.cmd.WaitDelay = 10 * time.Second
	in, err := w.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.in = in
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go w.read(out) // ends with the server's output
	t.Cleanup(w.close)
	return w
}

func (w *wire) read(out io.Reader) {
	defer close(w.ended)
	r := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := r.ReadString('\n')
		if line != "" {
			w.take(strings.TrimSuffix(line, "\n"))
		}
		if err != nil {
			return
		}
	}
}

func (w *wire) take(frame string) {
	var m struct {
		ID     json.RawMessage
		Method string
		Params json.RawMessage
	}
	bad := json.Unmarshal([]byte(frame), &m) != nil
	w.mu.Lock()
	w.frames = append(w.frames, frame)
	close(w.changed)
	w.changed = make(chan struct{})
	answer := w.waiting[string(m.ID)]
	if m.Method == "" {
		delete(w.waiting, string(m.ID))
	}
	w.mu.Unlock()
	switch {
	case bad:
		w.t.Errorf("a frame that is no JSON: %q", frame)
	case m.Method == "" && answer != nil:
		answer <- []byte(frame)
	case m.Method != "" && m.ID != nil:
		w.send(w.answer(m.ID, m.Method, m.Params))
	}
}

func (w *wire) answer(id json.RawMessage, method string, params json.RawMessage) string {
	if w.respond != nil {
		if result := w.respond(method, params); result != nil {
			return `{"jsonrpc":"2.0","id":` + string(id) + `,"result":` + string(mustJSON(result)) + `}`
		}
	}
	return `{"jsonrpc":"2.0","id":` + string(id) + `,"error":{"code":-32601,"message":"not here"}}`
}

// send writes one frame. A server that is gone shows in what is not answered.
func (w *wire) send(frame string) { _, _ = io.WriteString(w.in, frame+"\n") }

// begin sends a request, which carries id, and returns where its answer comes.
func (w *wire) begin(id, frame string) <-chan []byte {
	answer := make(chan []byte, 1)
	w.mu.Lock()
	w.waiting[id] = answer
	w.mu.Unlock()
	w.send(frame)
	return answer
}

// await returns what comes, and fails the test where nothing does.
func (w *wire) await(what string, answer <-chan []byte) reply {
	w.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case frame := <-answer:
		return w.reply(frame)
	case <-w.ended:
		select {
		case frame := <-answer: // it came last
			return w.reply(frame)
		default:
		}
		w.t.Fatalf("the server ended before it answered %s; standard error:\n%s", what, w.stderr.String())
	case <-timer.C:
		w.t.Fatalf("%s was not answered within %s; standard error:\n%s", what, patience, w.stderr.String())
	}
	return reply{}
}

// raw sends a request frame with the given raw id and returns the answer.
func (w *wire) raw(id, frame string) reply {
	w.t.Helper()
	return w.await(frame, w.begin(id, frame))
}

// start sends a request under a fresh id; request waits for its answer, too.
func (w *wire) start(method string, params any) (id string, answer <-chan []byte) {
	w.mu.Lock()
	id = strconv.Itoa(w.next)
	w.next++
	w.mu.Unlock()
	frame := `{"jsonrpc":"2.0","id":` + id + `,"method":` + strconv.Quote(method)
	if params != nil {
		frame += `,"params":` + string(mustJSON(params))
	}
	return id, w.begin(id, frame+"}")
}

func (w *wire) request(method string, params any) reply {
	w.t.Helper()
	_, answer := w.start(method, params)
	return w.await(method, answer)
}

// call calls a tool; startCall does not wait for the answer.
func (w *wire) call(tool string, args any) reply {
	w.t.Helper()
	return w.request("tools/call", map[string]any{"name": tool, "arguments": args})
}

func (w *wire) startCall(tool string, args any) (id string, answer <-chan []byte) {
	return w.start("tools/call", map[string]any{"name": tool, "arguments": args})
}

func (w *wire) notify(method string, params any) {
	w.send(string(mustJSON(map[string]any{"jsonrpc": "2.0", "method": method, "params": params})))
}

// initialize opens a session of the legacy era under a client's name.
func (w *wire) initialize(name string, capabilities any) reply {
	w.t.Helper()
	if capabilities == nil {
		capabilities = map[string]any{}
	}
	r := w.request("initialize", map[string]any{
		"protocolVersion": "2025-11-25", "capabilities": capabilities,
		"clientInfo": map[string]any{"name": name, "version": "1.0.0"},
	})
	if r.Error != nil {
		w.t.Fatalf("initialize: %s", r.raw)
	}
	w.notify("notifications/initialized", map[string]any{})
	return r
}

// frame waits until a frame has come that holds all the words.
func (w *wire) frame(words ...string) string {
	w.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for seen := 0; ; {
		w.mu.Lock()
		frames, changed := w.frames, w.changed
		w.mu.Unlock()
	next:
		for ; seen < len(frames); seen++ {
			for _, word := range words {
				if !strings.Contains(frames[seen], word) {
					continue next
				}
			}
			return frames[seen]
		}
		select {
		case <-changed:
		case <-timer.C:
			w.t.Fatalf("no frame with %q came within %s", words, patience)
		}
	}
}

// all returns every frame that came so far.
func (w *wire) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.frames...)
}

// close ends the session as a client does and waits for the process.
func (w *wire) close() {
	if w.cmd.ProcessState != nil {
		return
	}
	_ = w.in.Close()
	if w.term {
		_ = w.cmd.Process.Signal(syscall.SIGTERM)
	}
	err := w.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Errorf("ending a client: %v", err)
	}
	<-w.ended
}

// reply is one answer.
type reply struct {
	raw    string
	Result *struct {
		Content []struct {
			Type, Text string
		}
		IsError    bool
		ResultType string
		Tools      []struct{ Name string }
	}
	Error *struct {
		Code    int
		Message string
	}
}

func (w *wire) reply(frame []byte) reply {
	w.t.Helper()
	r := reply{raw: string(frame)}
	if err := json.Unmarshal(frame, &r); err != nil {
		w.t.Fatalf("an answer that cannot be read: %v\n%s", err, frame)
	}
	return r
}

// text returns the text of a result.
func (r reply) text() string {
	var b strings.Builder
	if r.Result != nil {
		for _, c := range r.Result.Content {
			b.WriteString(c.Text)
		}
	}
	return b.String()
}

// word is the guard's own answer.
type word struct {
	Status, Rule, Reason, Repair, Next string
	ApprovalID                         string `json:"approvalId"`
	ExpiresAt                          string `json:"expiresAt"`
}

// word reads the guard's own answer; it is empty where the server's came.
func (r reply) word() (w word) {
	if r.Result != nil && r.Result.IsError {
		_ = json.Unmarshal([]byte(r.text()), &w) // another text has no status
	}
	return w
}

// ok reports whether a tool has done what it was asked to.
func (r reply) ok() bool { return r.Result != nil && !r.Result.IsError }

func (r reply) names() []string {
	var out []string
	if r.Result != nil {
		for _, t := range r.Result.Tools {
			out = append(out, t.Name)
		}
	}
	return out
}
