package upstream

import (
	"bufio"
	"errors"
	"io"
	"sync"
)

const (
	ringLines = 200
	ringWidth = 4 << 10 // bytes of a line that are kept
)

// ring keeps the last lines of standard error. The zero value is empty.
type ring struct {
	mu   sync.Mutex
	buf  []string
	next int
}

func (r *ring) add(line []byte) {
	s := string(line)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.buf) < ringLines {
		r.buf = append(r.buf, s)
		return
	}
	r.buf[r.next] = s
	r.next = (r.next + 1) % ringLines
}

func (r *ring) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(append(make([]string, 0, len(r.buf)), r.buf[r.next:]...), r.buf[:r.next]...)
}

// readLines passes on each line, without its line end and cut to ringWidth
// bytes, until the stream ends.
func readLines(src io.Reader, line func([]byte)) {
	r := bufio.NewReaderSize(src, ringWidth)
	for {
		b, err := r.ReadSlice('\n')
		cut := errors.Is(err, bufio.ErrBufferFull)
		for n := len(b); n > 0 && (b[n-1] == '\n' || b[n-1] == '\r'); n = len(b) {
			b = b[:n-1]
		}
		if len(b) > 0 {
			line(b)
		}
		for cut { // the rest of a long line is dropped
			_, err = r.ReadSlice('\n')
			cut = errors.Is(err, bufio.ErrBufferFull)
		}
		if err != nil {
			return
		}
	}
}
