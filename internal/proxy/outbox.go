package proxy

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// outbox writes a session's frames to its client, in order, from a goroutine
// of its own. No one who must record or unlock something waits for a client
// that does not read; such a client is dropped after a while.
type outbox struct {
	to       io.Writer
	patience time.Duration // of one write
	stalled  func()        // called once when a write exceeds patience; it makes the write fail
	done     chan struct{} // closed when nothing more will be written

	mu      sync.Mutex
	work    sync.Cond // there is something to write, or the outbox is closing
	room    sync.Cond // there is room again
	unsent  []byte    // whole frames, each with its newline
	closing bool      // frames from now on are dropped
	err     error     // of the write that failed
}

// Limits of an outbox.
const (
	maxUnsent   = 8 << 20   // queued bytes at which senders wait
	writeAtOnce = 256 << 10 // bytes of one write, unless a single frame is longer
)

// newOutbox starts an outbox. It ends with close, or when a write fails.
func newOutbox(to io.Writer, patience time.Duration, stalled func()) *outbox {
	o := &outbox{to: to, patience: patience, stalled: stalled, done: make(chan struct{})}
	o.work.L, o.room.L = &o.mu, &o.mu
	go o.run() // ends once close was called and all is written, or with a failing write
	return o
}

// put queues a frame; the caller keeps its bytes. It blocks only while more
// than maxUnsent bytes are queued, and a client that does not read is dropped,
// which ends the wait. It reports whether the frame will be written, if the
// client reads.
func (o *outbox) put(frame []byte) (taken bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.unsent) > maxUnsent && !o.closing && o.err == nil {
		o.room.Wait()
	}
	if o.closing || o.err != nil {
		return false // the client is gone
	}
	o.unsent = append(append(o.unsent, frame...), '\n')
	o.work.Signal()
	return true
}

// close accepts no more frames. done is closed when the queued ones are
// written.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closing = true
	o.work.Signal()
	o.room.Broadcast()
}

// failure returns why writing failed, or nil.
func (o *outbox) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func (o *outbox) run() {
	defer close(o.done)
	timer := time.AfterFunc(o.patience, o.stalled)
	timer.Stop()
	defer timer.Stop()
	var frames []byte
	for {
		o.mu.Lock()
		for len(o.unsent) == 0 && !o.closing {
			o.work.Wait()
		}
		if cap(frames) > keptLine {
			frames = nil
		}
		frames, o.unsent = o.unsent, frames[:0]
		o.room.Broadcast()
		o.mu.Unlock()
		if len(frames) == 0 {
			return
		}
		for rest := frames; len(rest) > 0; {
			n := cutFrames(rest)
			timer.Reset(o.patience)
			_, err := o.to.Write(rest[:n])
			timer.Stop()
			if err != nil {
				o.fail(err)
				return
			}
			rest = rest[n:]
		}
	}
}

func (o *outbox) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err, o.unsent = err, nil
	o.room.Broadcast()
}

// cutFrames returns the length of the whole frames that fit into one write.
func cutFrames(b []byte) int {
	if len(b) <= writeAtOnce {
		return len(b)
	}
	if i := bytes.LastIndexByte(b[:writeAtOnce], '\n'); i >= 0 {
		return i + 1
	}
	return writeAtOnce + bytes.IndexByte(b[writeAtOnce:], '\n') + 1
}
