package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// An upstream may print this many lines that are not messages at once, and
// this many a second without end. Many servers log to standard output; one
// that prints nothing else is broken.
const (
	garbageBurst  = 200
	garbagePerSec = 20
)

// drainTime is how long output may still arrive after the process has ended.
// Its own output is already in the pipe; only a process that left the group
// could keep the pipe open.
const drainTime = 2 * time.Second

// byteOrderMark is what some runtimes write before their first text, or before
// each. It is not part of the message.
var byteOrderMark = []byte("\ufeff")

// GarbageError reports a line of the upstream that is not a message. The next
// call of Next continues.
type GarbageError struct {
	Line []byte // its first bytes
	Size int    // of the whole line
}

// Error quotes the beginning of the line in ASCII.
func (e *GarbageError) Error() string {
	return fmt.Sprintf("a line of %d bytes on standard output that is no message: %+q", e.Size, e.Line)
}

// LinesError reports a message or batch that the upstream wrote over several
// lines, which the transport forbids. The next call of Next continues.
type LinesError struct {
	Size int
	// Refusals tell the messages in it, for whoever waits for them.
	Refusals []*jsonrpc.Refusal
}

// Error says how long it is.
func (e *LinesError) Error() string {
	return fmt.Sprintf("a message of %d bytes on standard output that takes several lines", e.Size)
}

const garbageKept = 200 // bytes of a line

// Next returns the next frame from the upstream's standard output. A
// *jsonrpc.FrameError (a frame over the limit), a *GarbageError or a *LinesError
// is about what was read, and Next can be called again. At the end it returns the *ExitError, or
// io.EOF if Stop ended the upstream. It must be called from one goroutine.
func (p *Process) Next() ([]byte, error) {
	for {
		in := p.held
		if p.held = nil; in == nil {
			in = &input{}
			in.frame, in.err = p.frames.Next()
			in.frame = bytes.TrimPrefix(in.frame, byteOrderMark)
		}
		begun := p.lines.Len()
		if in.err == nil && p.continues(in.frame) {
			whole, ok := p.lines.Add(in.frame, p.maxFrame())
			switch {
			case whole != nil && !p.trash.take(time.Now()):
				return nil, p.tooMuch()
			case whole != nil:
				return nil, &LinesError{Size: len(whole), Refusals: jsonrpc.Refused(whole, jsonrpc.SeveralLines)}
			case ok:
				continue
			}
		}
		p.lines.Reset()
		if begun == 0 {
			return p.line(in.frame, in.err)
		}
		// What had begun like a message was none.
		p.held = in
		if !p.trash.take(time.Now()) {
			return nil, p.tooMuch()
		}
		return nil, &GarbageError{Size: begun}
	}
}

// input is what was read of the upstream at once.
type input struct {
	frame []byte
	err   error
}

// continues reports whether a line may be part of a message over several lines.
func (p *Process) continues(line []byte) bool {
	if !p.lines.Open() {
		// A line that ends like a message is one, or is refused as one.
		end := bytes.TrimRight(line, " \t\r")
		return isMessage(line) && end[len(end)-1] != '}' && end[len(end)-1] != ']'
	}
	if !isMessage(line) {
		return true
	}
	_, err := jsonrpc.Admit(line, jsonrpc.Limits{MaxFrame: p.maxFrame()})
	var refused *jsonrpc.Refusal
	if !errors.As(err, &refused) {
		return err != nil
	}
	return refused.Kind == 0 || refused.Reason == jsonrpc.Syntax
}

func (p *Process) maxFrame() int {
	if p.spec.MaxFrame > 0 {
		return p.spec.MaxFrame
	}
	return jsonrpc.DefaultMaxFrame
}

func (p *Process) tooMuch() error {
	p.end(errors.New("it prints too much on its standard output that is no message"))
	return p.ended()
}

// line interprets one line.
func (p *Process) line(frame []byte, err error) ([]byte, error) {
	var oversized *jsonrpc.FrameError
	switch {
	case err == nil && isMessage(frame):
		if !p.started.Load() {
			p.firstFrame()
		}
		return frame, nil
	case err == nil:
		g := &GarbageError{Line: frame[:min(len(frame), garbageKept)], Size: len(frame)}
		if !p.trash.take(time.Now()) {
			return nil, p.tooMuch()
		}
		return nil, g
	case errors.As(err, &oversized):
		if !p.trash.take(time.Now()) {
			p.end(errors.New("it sends too many messages over the size limit"))
			return nil, p.ended()
		}
		return nil, err
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
		p.end(fmt.Errorf("its standard output cannot be read: %w", err))
	}
	return nil, p.ended()
}

// ended waits for the end of a process whose output has ended, and returns the
// reason. A process that closes its standard output but runs on is ended: it
// is no longer a server.
func (p *Process) ended() error {
	p.stdout.Close()
	t := time.AfterFunc(p.spec.StopGrace, func() { p.end(errors.New("it closed its standard output")) })
	defer t.Stop()
	<-p.done
	if err := p.ExitError(); err != nil {
		return err
	}
	return io.EOF
}

// isMessage reports whether a line may be a message. Admission decides whether
// it is one; a line that begins like a batch is refused there.
func isMessage(frame []byte) bool {
	for _, c := range frame {
		switch c {
		case ' ', '\t':
			continue
		case '{', '[':
			return true
		}
		return false
	}
	return false
}

// bucket limits garbage: garbageBurst lines at once, refilled by
// garbagePerSec. The zero value is full. It must be used from one goroutine.
type bucket struct {
	used float64
	at   time.Time
}

func (b *bucket) take(now time.Time) bool {
	if !b.at.IsZero() {
		b.used = max(0, b.used-now.Sub(b.at).Seconds()*garbagePerSec)
	}
	b.at = now
	b.used++
	return b.used <= garbageBurst
}
