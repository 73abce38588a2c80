package jsonrpc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// readBuffer is the size of a Reader's buffer in bytes. A session has two
// readers; frames above it cost a second copy.
const readBuffer = 32 << 10

// Reader cuts a stream into frames, which end with a newline. It is for one
// goroutine.
type Reader struct {
	r    *bufio.Reader
	max  int
	part []byte // of a frame that a failing stream cut off
	lost bool   // part of an oversized frame was dropped
}

// NewReader returns a Reader of r, which it does not close. Only l.MaxFrame
// counts.
func NewReader(r io.Reader, l Limits) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, readBuffer), max: l.withDefaults().MaxFrame}
}

// Next returns the next frame without its newline and without a carriage return
// before that. The slice is fresh and the caller's. Blank lines are skipped. A
// last frame without newline is returned before io.EOF.
//
// A frame over the limit is consumed without being held and reported as a
// *[FrameError], after which Next goes on. Any other error is the stream's, and
// final.
func (r *Reader) Next() ([]byte, error) {
	for {
		line, err := r.line()
		if err != nil {
			return nil, err
		}
		if len(line) > 0 && line[len(line)-1] == '\r' {
			line = line[:len(line)-1]
		}
		if len(line) > r.max { // one byte over, which was not a carriage return
			return nil, tooLarge(line)
		}
		if !blank(line) {
			return line, nil
		}
	}
}

// Rest returns what was read of the stream and not returned by Next: after an
// error that was not the stream's end, such as a deadline, whoever reads on
// begins with it. It reports false where part of a frame is lost.
func (r *Reader) Rest() ([]byte, bool) {
	if r.lost {
		return nil, false
	}
	buffered, err := r.r.Peek(r.r.Buffered())
	if err != nil {
		return nil, false
	}
	return append(append([]byte{}, r.part...), buffered...), true
}

func tooLarge(line []byte) *FrameError {
	var sn sniffer
	sn.write(line)
	return oversized(&sn, int64(len(line)))
}

func oversized(sn *sniffer, size int64) *FrameError {
	id, kind := sn.verdict()
	return &FrameError{
		Refusal: Refusal{Reason: TooLarge, ID: id, Kind: kind, Detail: fmt.Sprintf("%d bytes", size)},
		Size:    size,
	}
}

// line returns the next line without its newline, at most max+1 bytes (the
// carriage return may be the one too many).
func (r *Reader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := r.r.ReadSlice('\n')
		ended := err == nil
		if ended {
			part = part[:len(part)-1]
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if !errors.Is(err, io.EOF) {
				r.part = append(line, part...)
				return nil, fmt.Errorf("reading a frame: %w", err)
			}
			if len(line)+len(part) == 0 {
				return nil, io.EOF
			}
			ended = true
		}
		if len(line)+len(part) > r.max+1 {
			r.lost = true // until it has ended
			err := r.discard(line, part, ended)
			r.lost = !errors.As(err, new(*FrameError))
			return nil, err
		}
		line = appendBounded(line, part, ended, r.max+1)
		if ended {
			return line, nil
		}
	}
}

// appendBounded appends part, growing by doubling but never beyond limit, and
// to the exact size when the line ends at once.
func appendBounded(line, part []byte, last bool, limit int) []byte {
	need := len(line) + len(part)
	if need > cap(line) {
		size := need
		if !last {
			size = max(need, min(2*need, limit))
		}
		line = append(make([]byte, 0, size), line...)
	}
	return append(line, part...)
}

// discard consumes the rest of a line that is too long and describes it.
func (r *Reader) discard(line, part []byte, ended bool) error {
	var sn sniffer
	sn.write(line)
	sn.write(part)
	size := int64(len(line) + len(part))
	for !ended {
		part, err := r.r.ReadSlice('\n')
		size += int64(len(part))
		switch {
		case err == nil:
			size--
			ended = true
		case errors.Is(err, io.EOF):
			ended = true
		case !errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("reading past an oversized frame: %w", err)
		}
		sn.write(part)
	}
	return oversized(&sn, size)
}

func blank(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}
