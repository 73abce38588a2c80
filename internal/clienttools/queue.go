package clienttools

import (
	"io"
	"sync"
)

// queue passes frames from many writers to one reader. It has no limit of its
// own; the number of open questions bounds it.
type queue struct {
	mu     sync.Mutex
	frames [][]byte
	closed bool
	wake   chan struct{} // holds one
	rest   []byte        // of the reader
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// put adds a frame; after close it is dropped.
func (q *queue) put(frame []byte) {
	q.mu.Lock()
	if !q.closed {
		q.frames = append(q.frames, frame)
	}
	q.mu.Unlock()
	q.signal()
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// next waits for a frame; io.EOF after close, once all were taken.
func (q *queue) next() ([]byte, error) {
	for {
		q.mu.Lock()
		if len(q.frames) > 0 {
			f := q.frames[0]
			q.frames = q.frames[1:]
			q.mu.Unlock()
			return f, nil
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			q.signal() // for whoever asks again
			return nil, io.EOF
		}
		<-q.wake
	}
}

// Read is next for a byte reader.
func (q *queue) Read(p []byte) (int, error) {
	if len(q.rest) == 0 {
		f, err := q.next()
		if err != nil {
			return 0, err
		}
		q.rest = f
	}
	n := copy(p, q.rest)
	q.rest = q.rest[n:]
	return n, nil
}
