package upstream

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxQueued is how many bytes may wait for an upstream to read them. One
// larger frame may wait too.
const maxQueued = 16 << 20

// queue writes frames to a pipe. The caller writes what the pipe takes at
// once; the rest waits here for a goroutine, so that a caller that must also
// read does not block. An upstream that reads nothing for the timeout is
// reported as stuck.
type queue struct {
	f       *os.File
	timeout time.Duration
	stuck   func(error) // called once, from the queue's own goroutine

	mu      sync.Mutex
	pending []byte
	scratch []byte
	err     error         // once set, nothing more is written
	more    chan struct{} // capacity 1: pending is not empty, or the end
	space   chan struct{} // closed and replaced when pending gets shorter
	flushed chan struct{} // closed when the goroutine has ended
}

func newQueue(f *os.File, timeout time.Duration, stuck func(error)) *queue {
	q := &queue{f: f, timeout: timeout, stuck: stuck,
		more: make(chan struct{}, 1), space: make(chan struct{}), flushed: make(chan struct{})}
	// Owned by q; ends after close, or when the pipe fails.
	go q.flush()
	return q
}

// write writes frame and a newline.
func (q *queue) write(frame []byte) error {
	var timer *time.Timer
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.err != nil {
			return q.err
		}
		if len(q.pending) == 0 || len(q.pending)+len(frame) < maxQueued {
			return q.put(frame)
		}
		if timer == nil {
			timer = time.NewTimer(q.timeout)
			defer timer.Stop()
		}
		space := q.space
		q.mu.Unlock()
		late := false
		select {
		case <-space:
		case <-timer.C:
			late = true
		}
		q.mu.Lock()
		if late && q.err == nil {
			return errors.New("too much waits for it to be read")
		}
	}
}

// put writes what the pipe takes now and queues the rest. The lock is held.
func (q *queue) put(frame []byte) error {
	q.scratch = append(append(q.scratch[:0], frame...), '\n')
	rest := q.scratch
	if len(q.pending) == 0 {
		n, err := q.try(rest)
		if err != nil {
			q.fail(err)
			return q.err
		}
		rest = rest[n:]
	}
	if len(rest) > 0 {
		q.pending = append(q.pending, rest...)
		q.wake()
	}
	if cap(q.scratch) > 1<<20 {
		q.scratch = nil
	}
	return nil
}

// try writes without waiting.
func (q *queue) try(b []byte) (int, error) {
	raw, err := q.f.SyscallConn()
	if err != nil {
		return 0, err
	}
	n := 0
	var werr error
	err = raw.Write(func(fd uintptr) bool {
		for {
			n, werr = unix.Write(int(fd), b)
			if !errors.Is(werr, syscall.EINTR) {
				return true
			}
		}
	})
	switch {
	case err != nil:
		return 0, err
	case errors.Is(werr, syscall.EAGAIN):
		return 0, nil
	}
	return max(n, 0), werr
}

func (q *queue) wake() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// fail ends the queue. The lock is held.
func (q *queue) fail(err error) {
	if q.err == nil {
		q.err = err
	}
	q.pending = nil
	q.release()
	q.wake()
}

func (q *queue) release() {
	close(q.space)
	q.space = make(chan struct{})
}

// flush writes the pending bytes to the pipe until the queue ends, then closes
// the pipe.
func (q *queue) flush() {
	defer close(q.flushed)
	defer q.f.Close()
	for range q.more {
		for {
			chunk, end := q.next()
			if end {
				return
			}
			if len(chunk) == 0 {
				break
			}
			n, err := q.f.Write(chunk)
			if !q.wrote(n, err) {
				return
			}
		}
	}
}

// next returns the bytes to write next and sets a new deadline, or reports
// that the queue has ended.
func (q *queue) next() (chunk []byte, end bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending) == 0 {
		return nil, q.err != nil
	}
	q.f.SetWriteDeadline(time.Now().Add(q.timeout))
	return q.pending[:min(len(q.pending), 64<<10)], false
}

// wrote records what flush wrote and reports whether flush goes on.
func (q *queue) wrote(n int, err error) bool {
	q.mu.Lock()
	q.pending = q.pending[min(n, len(q.pending)):]
	if len(q.pending) == 0 {
		q.pending = nil
		q.f.SetWriteDeadline(time.Time{}) // for the next write by a caller
	}
	q.release()
	late := errors.Is(err, os.ErrDeadlineExceeded)
	if err == nil || late && n > 0 && q.err == nil {
		q.mu.Unlock()
		return true
	}
	if late {
		err = fmt.Errorf("it did not read its input for %v", q.timeout)
	}
	told := q.err != nil // it is already being ended
	q.fail(err)
	q.mu.Unlock()
	if !told {
		q.stuck(err)
	}
	return false
}

// close lets the pending bytes reach the pipe and then closes it. Later writes
// fail.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = errClosed
	}
	q.wake()
}

// abort drops the pending bytes and closes the pipe.
func (q *queue) abort() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fail(errClosed)
	q.f.SetWriteDeadline(time.Unix(1, 0)) // makes a write in flush return
}
