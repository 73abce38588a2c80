package ipc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/strictjson"
)

// Protocol is the version of the hello. Both ends must have the same; builds
// with different version strings and the same Protocol work together. In every
// version a line of the hello is one JSON object with "protocol" and
// "version", so that different versions can at least name each other.
const Protocol = 1

// Names used in place of a server's: by a hook with a question or a report,
// and by a substitute line that presents a token. No server can have such a
// name.
const (
	HookPre    = "hook:pre"
	HookPost   = "hook:post"
	HookResult = "hook:result"
)

// ResultPrinted is the line with which a substitute line says that it has
// printed the outcome that it got.
const ResultPrinted = "printed"

const (
	maxHello     = 64 << 10 // bytes of one line
	helloTimeout = 10 * time.Second
	sendTimeout  = time.Second // for messages of the daemon after the welcome
)

// Hello is the first message of a shim: one line of JSON, with the session's
// input and output as descriptors. Everything in it is a claim.
type Hello struct {
	Protocol int    `json:"protocol"`
	Version  string `json:"version"`
	Server   string `json:"server"`
	// As is the client's name for the server, where its entry says so (--as).
	As  string            `json:"as,omitempty"`
	Cwd string            `json:"cwd"`
	Env map[string]string `json:"env,omitempty"` // the client's session id and project folder
	// Copied means that the descriptors are pipes of the shim, which copies.
	Copied bool `json:"copied,omitempty"`
	// Keeps means that the shim can keep the session while no daemon runs.
	// Kept is the length of a session that it has kept; those bytes follow the
	// line of the hello.
	Keeps bool `json:"keeps,omitempty"`
	Kept  int  `json:"kept,omitempty"`
}

// helloEnv names the variables that a shim passes on. They are labels.
var helloEnv = [...]string{"CLAUDE_CODE_SESSION_ID", "CLAUDE_PROJECT_DIR"}

// NewHello returns the hello of this process for a server.
func NewHello(server, version string) Hello {
	h := Hello{Protocol: Protocol, Version: version, Server: server}
	h.Cwd, _ = os.Getwd() // a label: the daemon asks the kernel
	for _, name := range helloEnv {
		if v, ok := os.LookupEnv(name); ok {
			if h.Env == nil {
				h.Env = map[string]string{}
			}
			h.Env[name] = v
		}
	}
	return h
}

// Welcome is the daemon's answer.
type Welcome struct {
	Protocol int    `json:"protocol"` // set by Handover.Welcome
	OK       bool   `json:"ok"`
	Version  string `json:"version"`
	// Error is a sentence for the person and for the client, with what to do.
	Error string `json:"error,omitempty"`
	// Notices are lines for the shim's standard error.
	Notices []string `json:"notices,omitempty"`
	// NotPassed means that the descriptors did not arrive and the shim must
	// copy.
	NotPassed bool `json:"not_passed,omitempty"`

	rest []byte // read together with the welcome: the start of later messages
}

// message is a message of the daemon after its welcome, one line each.
type message struct {
	Notice   string    `json:"notice,omitempty"`
	End      bool      `json:"end,omitempty"`
	Handback *Handback `json:"handback,omitempty"`
}

// Offer sends the hello and the session's descriptors, and waits for the
// daemon's answer until ctx ends or for ten seconds. The caller keeps its
// descriptors. A refusal is a Welcome that is not OK, with a sentence in
// Error. An error wraps ErrNotPassed if the system did not pass the
// descriptors.
func Offer(ctx context.Context, conn *net.UnixConn, h Hello, in, out *os.File) (Welcome, error) {
	return OfferKept(ctx, conn, h, nil, in, out)
}

// OfferKept is Offer for a session that an earlier daemon has given back.
func OfferKept(ctx context.Context, conn *net.UnixConn, h Hello, kept *Handback, in, out *os.File) (Welcome, error) {
	var w Welcome
	var session []byte
	if kept != nil {
		var err error
		if session, err = json.Marshal(kept); err != nil {
			return w, fmt.Errorf("greeting the guard daemon: %w", err)
		}
		h.Kept = len(session)
	}
	line, err := json.Marshal(h)
	if err != nil {
		return w, fmt.Errorf("greeting the guard daemon: %w", err)
	}
	done := withTimeout(ctx, conn, helloTimeout)
	defer done()
	serr := sendFiles(conn, append(line, '\n'), in, out)
	if serr == nil && len(session) > 0 {
		_, serr = conn.Write(session)
	}
	if serr != nil && !errors.Is(serr, unix.EPIPE) {
		return w, fmt.Errorf("greeting the guard daemon: %w", serr)
	}
	// A daemon that hung up may have sent the reason first.
	r := lineReader{c: conn}
	if line, err = r.next(); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
			return w, Unanswered(context.WithoutCancel(ctx), conn.RemoteAddr().String())
		}
		return w, fmt.Errorf("waiting for the guard daemon's welcome: %w", explain(ctx, err))
	}
	if err := strictjson.DecodeKnown(line, &w); err != nil {
		return w, fmt.Errorf("reading the guard daemon's welcome: %w", err)
	}
	w.rest = r.buf
	if w.Protocol != h.Protocol {
		// fail closed: an OK of another protocol may mean something else.
		w.OK, w.Error = false, Mismatch(w.Version, h.Version)
	}
	if !w.OK && w.NotPassed {
		return w, fmt.Errorf("greeting the guard daemon: %w", ErrNotPassed)
	}
	if !w.OK && w.Error == "" {
		w.Error = "the guard daemon refused the session without a reason"
	}
	return w, nil
}

// Mismatch returns the sentence about incompatible binaries.
func Mismatch(daemon, own string) string {
	return fmt.Sprintf("mcpguardd %s is running, this is %s: run `mcpguardd stop` and start again", orUnknown(daemon), orUnknown(own))
}

func orUnknown(version string) string {
	if version == "" {
		return "of an unknown version"
	}
	return version
}

// Await passes the notices of the daemon that sent w to notice until the
// connection ends. ended reports whether the daemon announced the end;
// otherwise it was lost.
func (w Welcome) Await(conn *net.UnixConn, notice func(line string)) (ended bool) {
	ended, _ = w.AwaitKept(conn, notice)
	return ended
}

// AwaitKept is Await for a shim that can keep the session. kept is not nil if
// the daemon gave it back.
func (w Welcome) AwaitKept(conn *net.UnixConn, notice func(line string)) (ended bool, kept *Handback) {
	r := lineReader{c: conn, buf: w.rest, max: maxHandback}
	for {
		line, err := r.next()
		if err != nil {
			return ended, kept
		}
		var said message
		if strictjson.DecodeKnown(line, &said) != nil {
			return ended, kept
		}
		ended = ended || said.End
		if said.Handback != nil {
			kept = said.Handback
		}
		if said.Notice != "" {
			notice(said.Notice)
		}
	}
}

// withTimeout gives conn the deadline of ctx, at most d from now, and ends
// waiting at once when ctx ends. The returned function removes the deadline.
func withTimeout(ctx context.Context, conn *net.UnixConn, d time.Duration) func() {
	deadline := time.Now().Add(d)
	if t, ok := ctx.Deadline(); ok && t.Before(deadline) {
		deadline = t
	}
	conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return func() {
		if stop() {
			conn.SetDeadline(time.Time{})
		}
	}
}

// explain converts the error of a closed or silent connection into what
// happened.
func explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("it does not answer")
	case errors.Is(err, io.EOF):
		return errors.New("it closed the connection")
	}
	return err
}

// lineReader splits a connection into lines of at most max bytes; zero means
// maxHello.
type lineReader struct {
	c   io.Reader
	buf []byte
	max int
}

func (r *lineReader) next() ([]byte, error) {
	limit := r.max
	if limit == 0 {
		limit = maxHello
	}
	from := 0
	for {
		if i := bytes.IndexByte(r.buf[from:], '\n'); i >= 0 {
			line := r.buf[:from+i]
			r.buf = r.buf[from+i+1:]
			return line, nil
		}
		if from = len(r.buf); from > limit {
			return nil, fmt.Errorf("a line of more than %d bytes", limit)
		}
		chunk := make([]byte, 4096)
		n, err := r.c.Read(chunk)
		r.buf = append(r.buf, chunk[:n]...)
		if n == 0 && err != nil {
			return nil, err
		}
	}
}

// readLine reads one line that begins with the bytes in start, and returns the
// bytes after it: what a shim has kept, if its hello says so.
func readLine(c io.Reader, start []byte) (line, rest []byte, err error) {
	r := lineReader{c: c, buf: start}
	line, err = r.next()
	return line, r.buf, err
}
