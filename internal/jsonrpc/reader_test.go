package jsonrpc

import (
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// frames reads everything, with an entry "!<size> <id>" for oversized frames.
func frames(t *testing.T, r io.Reader, maxFrame int) ([]string, error) {
	t.Helper()
	rd := NewReader(r, Limits{MaxFrame: maxFrame})
	var out []string
	for {
		b, err := rd.Next()
		var fe *FrameError
		switch {
		case errors.As(err, &fe):
			var ref *Refusal
			if !errors.As(err, &ref) || ref.Reason != TooLarge {
				t.Errorf("oversized frame: %v", err)
			}
			out = append(out, "!"+fe.Refusal.Detail+" "+fe.Refusal.ID.String())
		case err != nil:
			return out, err
		default:
			out = append(out, string(b))
		}
	}
}

func TestReader(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for _, tc := range []struct {
		name, in string
		max      int
		want     []string
	}{
		{"empty", "", 0, nil},
		{"two", "a\nb\n", 0, []string{"a", "b"}},
		{"blank lines", "\n\r\n  \t\na\n\n", 0, []string{"a"}},
		{"carriage return", "a\r\nb\r\r\n", 0, []string{"a", "b\r"}},
		{"no newline at the end", "a\nb", 0, []string{"a", "b"}},
		{"longer than the buffer", long + "\nb\n" + long, 0, []string{long, "b", long}},
		{"at the limit", "12345\n12345\r\n12345", 5, []string{"12345", "12345", "12345"}},
		{"over the limit", "123456\nb\n123456\r\n123456", 5, []string{"!6 bytes null", "b", "!7 bytes null", "!6 bytes null"}},
		{"far over", `{"method":"a","p":"` + long + `","id":7}` + "\nb\n" + long, 50, []string{"!100028 bytes 7", "b", "!100000 bytes null"}},
	} {
		for _, one := range []bool{false, true} {
			var r io.Reader = strings.NewReader(tc.in)
			if one {
				r = iotest.OneByteReader(r)
			}
			got, err := frames(t, r, tc.max)
			if !errors.Is(err, io.EOF) {
				t.Errorf("%s: ends with %v", tc.name, err)
			}
			if strings.Join(got, "|") != strings.Join(tc.want, "|") {
				t.Errorf("%s: got %.200q, want %.200q", tc.name, got, tc.want)
			}
		}
	}
}

func TestReaderKeepsTheStreamsError(t *testing.T) {
	boom := errors.New("boom")
	for _, limit := range []int{3, 0} {
		_, err := frames(t, io.MultiReader(strings.NewReader("a\nhalf a frame"), iotest.ErrReader(boom)), limit)
		if !errors.Is(err, boom) {
			t.Errorf("limit %d: got %v, want the stream's error", limit, err)
		}
	}
}

func TestReaderGivesFreshSlices(t *testing.T) {
	rd := NewReader(strings.NewReader("aaa\nbbb\n"), Limits{})
	a, _ := rd.Next()
	if _, err := rd.Next(); err != nil || string(a) != "aaa" {
		t.Errorf("the first frame became %q, %v", a, err)
	}
}

// endless yields one frame that never ends until n bytes were read.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	if e.n <= 0 {
		return 0, io.EOF
	}
	for i := range p {
		p[i] = 'x'
	}
	e.n -= len(p)
	return len(p), nil
}

func TestReaderDoesNotHoldOversizedFrames(t *testing.T) {
	const limit = 1 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := NewReader(&endless{64 << 20}, Limits{MaxFrame: limit}).Next()
	runtime.ReadMemStats(&after)
	var fe *FrameError
	if !errors.As(err, &fe) || fe.Size < 64<<20 {
		t.Fatalf("got %v", err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 4*limit {
		t.Errorf("%d bytes allocated for a frame over the limit of %d", got, limit)
	}
}

// cutStream fails once where a deadline would.
type cutStream struct {
	parts []string
	err   error
}

func (c *cutStream) Read(p []byte) (int, error) {
	if len(c.parts) == 0 {
		return 0, c.err
	}
	n := copy(p, c.parts[0])
	if c.parts[0] = c.parts[0][n:]; c.parts[0] == "" {
		c.parts = c.parts[1:]
	}
	return n, nil
}

// TestRestIsWhatWasNotReturned: whoever reads on after an interruption loses no
// byte and sees none twice.
func TestRestIsWhatWasNotReturned(t *testing.T) {
	long := strings.Repeat("y", 3*readBuffer)
	for _, c := range []struct {
		parts  []string
		frames int
		rest   string
		whole  bool
	}{
		{[]string{"a\nb\nc"}, 1, "b\nc", true},
		{[]string{"a\nb\nc"}, 2, "c", true},
		{[]string{"a\n", "bc"}, 2, "bc", true},
		{[]string{"a\n" + long}, 2, long, true},
		{[]string{"a\n"}, 1, "", true},
		{[]string{strings.Repeat("z", 5<<20)}, 1, "", false}, // over the limit: its beginning is gone
	} {
		r := NewReader(&cutStream{c.parts, os.ErrDeadlineExceeded}, Limits{MaxFrame: 4 << 20})
		for range c.frames {
			r.Next()
		}
		if rest, whole := r.Rest(); whole != c.whole || string(rest) != c.rest {
			t.Errorf("%.20q after %d: %.20q, %v", c.parts, c.frames, rest, whole)
		}
	}
}
