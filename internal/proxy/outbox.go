package proxy

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// outbox takes a session's frames to its client, in order, by a goroutine of
// its own: nobody who has something to record or to unlock waits for a client
// that does not read. One that reads nothing for a while is given up.
type outbox struct {
	to       io.Writer
	patience time.Duration // of one write
	stalled  func()        // called once the patience is over; it makes the write fail
	done     chan struct{} // closed when nothing will be written any more

	mu      sync.Mutex
	work    sync.Cond // there is something to write, or no more to come
	room    sync.Cond // there is room again
	unsent  []byte    // whole frames, each with its newline
	closing bool      // what comes from now on is dropped
	err     error     // of the write that failed
}

// Bounds of an outbox.
const (
	maxUnsent   = 8 << 20   // bytes that wait for the client before whoever sends more waits too
	writeAtOnce = 256 << 10 // bytes of one write, where a frame is not longer
)

// newOutbox starts an outbox. It ends with close, or when a write fails.
func newOutbox(to io.Writer, patience time.Duration, stalled func()) *outbox {
	o := &outbox{to: to, patience: patience, stalled: stalled, done: make(chan struct{})}
	o.work.L, o.room.L = &o.mu, &o.mu
	go o.run() // ends once close was called and all is written, or with a failing write
	return o
}

// put hands a frame over; the caller keeps its bytes. It waits only while more
// than maxUnsent bytes do, which a client that does not read ends by being
// given up. It reports whether the frame will be written, if the client reads.
func (o *outbox) put(frame []byte) (taken bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.unsent) > maxUnsent && !o.closing && o.err == nil {
		o.room.Wait()
	}
	if o.closing || o.err != nil {
		return false // there is no client any more
	}
	o.unsent = append(append(o.unsent, frame...), '\n')
	o.work.Signal()
	return true
}

// close takes no more frames. done says when those that wait are written.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closing = true
	o.work.Signal()
	o.room.Broadcast()
}

// failure is why nothing can be written, nil if all could.
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

// cutFrames returns how many bytes go in one write: whole frames, as many as
// fit.
func cutFrames(b []byte) int {
	if len(b) <= writeAtOnce {
		return len(b)
	}
	if i := bytes.LastIndexByte(b[:writeAtOnce], '\n'); i >= 0 {
		return i + 1
	}
	return writeAtOnce + bytes.IndexByte(b[writeAtOnce:], '\n') + 1
}
