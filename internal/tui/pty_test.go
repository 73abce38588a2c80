//go:build linux || darwin

package tui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
	"github.com/creack/pty"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/safetext/hostile"
)

// tty is a console on a pseudo-terminal of its own.
type tty struct {
	t     testing.TB
	far   *os.File // the terminal's side
	near  *os.File // the program's side
	state *term.State
	stop  context.CancelFunc
	done  chan error

	mu   sync.Mutex
	got  []byte
	cut  error         // why nothing more is read
	more chan struct{} // has a token after each read
}

func open(t testing.TB, f API, w, h int, options ...deskOption) *tty {
	t.Helper()
	far, near, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(far, &pty.Winsize{Rows: uint16(h), Cols: uint16(w)}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &tty{t: t, far: far, near: near, stop: stop, done: make(chan error, 1), more: make(chan struct{}, 1)}
	if s.state, err = term.GetState(near.Fd()); err != nil {
		t.Fatal(err)
	}
	go func() { // ends when the terminal is closed
		b := make([]byte, 64<<10)
		for {
			n, err := far.Read(b)
			if err != nil {
				s.mu.Lock()
				s.cut = err
				s.mu.Unlock()
				return
			}
			s.mu.Lock()
			s.got = append(s.got, b[:n]...)
			s.mu.Unlock()
			select {
			case s.more <- struct{}{}:
			default:
			}
		}
	}()
	go func() { // ends with the console
		cfg := Config{API: f, In: near, Out: near, Profile: colorprofile.TrueColor, Environ: []string{"TERM=xterm-256color"}}
		for _, o := range options {
			o(&cfg)
		}
		s.done <- Run(ctx, cfg)
	}()
	t.Cleanup(func() {
		stop()
		far.Close()
		near.Close()
	})
	return s
}

// bytes returns all that was written since an offset.
func (s *tty) bytes(from int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.got[from:])
}

func (s *tty) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.got)
}

// until waits for a text in what is written from an offset on.
func (s *tty) until(from int, text string) {
	s.t.Helper()
	late := time.After(20 * time.Second)
	for !bytes.Contains(s.bytes(from), []byte(text)) {
		select {
		case <-s.more:
		case <-late:
			got := s.bytes(from)
			s.t.Fatalf("%q was never written; the end is %q; %s", text, got[max(0, len(got)-500):], s.standing())
		}
	}
}

// standing tells of a console that does not do what it should.
func (s *tty) standing() string {
	s.mu.Lock()
	cut := s.cut
	s.mu.Unlock()
	if cut != nil {
		return fmt.Sprintf("its terminal cannot be read: %v", cut)
	}
	select {
	case err := <-s.done:
		return fmt.Sprintf("it ended with %v", err)
	default:
	}
	buf := make([]byte, 1<<20)
	return fmt.Sprintf("it is here:\n%s", buf[:runtime.Stack(buf, true)])
}

func (s *tty) typed(keys string) {
	s.t.Helper()
	if _, err := s.far.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// quiet waits until nothing was written for a while.
func (s *tty) quiet() {
	for {
		select {
		case <-s.more:
		case <-time.After(40 * time.Millisecond):
			return
		}
	}
}

// leave ends the console and looks at what it leaves behind.
func (s *tty) leave(end func()) {
	s.t.Helper()
	if err := s.left(end); err != nil {
		s.t.Fatal(err)
	}
}

// left is like leave and returns what the console ended with.
func (s *tty) left(end func()) (err error) {
	s.t.Helper()
	end()
	select {
	case err = <-s.done:
	case <-time.After(20 * time.Second):
		buf := make([]byte, 1<<20)
		s.t.Fatalf("the console does not end:\n%s", buf[:runtime.Stack(buf, true)])
	}
	s.until(0, ansi.ResetModeAltScreenSaveCursor)
	now, gerr := term.GetState(s.near.Fd())
	if gerr != nil {
		s.t.Fatal(gerr)
	}
	if fmt.Sprint(*now) != fmt.Sprint(*s.state) {
		s.t.Errorf("the terminal is %v, was %v", *now, *s.state)
	}
	return err
}

// harmless returns an error if what was written holds more than text, colours,
// moves of the cursor, modes, the title and questions to the terminal.
func harmless(out []byte) error {
	var state byte
	p := ansi.NewParser()
	for len(out) > 0 {
		seq, _, n, next := ansi.DecodeSequence(out, state, p)
		state = next
		switch {
		case n == 0:
			return fmt.Errorf("cannot be read: %q", out)
		case seq[0] == 0x1b && len(seq) > 1 && seq[1] == '[':
		case seq[0] == 0x1b && len(seq) > 1 && seq[1] == ']':
			body := string(seq[2:])
			if body != "2;\a" && !strings.HasPrefix(body, "2;mcpguard") && !strings.HasPrefix(body, "11;?") && !strings.HasPrefix(body, "0;mcpguard") {
				return fmt.Errorf("an operating system command: %q", seq)
			}
			if i := strings.IndexFunc(strings.TrimRight(body, "\x07\x1b\\"), func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
				return fmt.Errorf("a title with more than plain letters: %q", seq)
			}
		case seq[0] == 0x1b && len(seq) > 1 && seq[1] == 'P': // a question about capabilities
			if !bytes.HasPrefix(seq, []byte("\x1bP+q")) {
				return fmt.Errorf("a device control string: %q", seq)
			}
		case seq[0] == 0x1b:
			if !slices.Contains([]string{"\x1b7", "\x1b8", "\x1bM", "\x1b=", "\x1b>", "\x1bD", "\x1bE"}, string(seq)) {
				return fmt.Errorf("an escape sequence: %q", seq)
			}
		case len(seq) == 1 && strings.ContainsRune("\r\n\b\t", rune(seq[0])):
		default:
			if err := hostile.Check(seq, false); err != nil {
				return err
			}
		}
		out = out[n:]
	}
	return nil
}

// TestPromise7_NothingRawReachesTheTerminal reads a real pseudo-terminal.
func TestPromise7_NothingRawReachesTheTerminal(t *testing.T) {
	for _, c := range hostile.Corpus() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			s := open(t, poisoned(c.Text), 100, 30)
			s.until(0, "waiting")
			for _, k := range []string{"j", "i", "i", "r", "r", "j", "j", "j", "j", "j", "j", "j", "j", "j", "j", "?", "?", "2", "\r", "\r", "\x1b", "\x1b", "3", "4", "5", "6", "7"} {
				from := s.size()
				s.typed(k)
				for late := time.After(60 * time.Millisecond); s.size() == from && late != nil; { // nearly each key changes the frame
					select {
					case <-s.more:
					case <-late:
						late = nil
					}
				}
			}
			s.leave(func() { s.typed("q") })
			if err := harmless(s.bytes(0)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTerminalIsRestored(t *testing.T) {
	t.Run("after a signal", func(t *testing.T) {
		s := open(t, full(), 80, 24)
		s.until(0, "waiting")
		s.leave(s.stop)
	})
	t.Run("after quitting", func(t *testing.T) {
		s := open(t, full(), 80, 24)
		s.until(0, "waiting")
		s.leave(func() { s.typed("q") })
	})
}

// broken is a daemon whose answers make the console fail.
type broken struct {
	*fakeDaemon
	list, watch atomic.Bool
}

func (b *broken) List(ctx context.Context, f client.Filter) (client.Page, error) {
	if b.list.Load() {
		panic("a list \x1b]0;gone\x07 of nothing")
	}
	return b.fakeDaemon.List(ctx, f)
}

func (b *broken) Watch(ctx context.Context) iter.Seq2[client.Event, error] {
	if b.watch.Load() {
		panic("no stream")
	}
	return b.fakeDaemon.Watch(ctx)
}

// TestTerminalIsRestoredAfterPanic makes each part of the console fail.
func TestTerminalIsRestoredAfterPanic(t *testing.T) {
	for name, fail := range map[string]func(*broken, *atomic.Bool){
		"in a command":                 func(b *broken, _ *atomic.Bool) { b.list.Store(true) },
		"in the stream":                func(b *broken, _ *atomic.Bool) { b.watch.Store(true) },
		"while a key or frame is made": func(_ *broken, clock *atomic.Bool) { clock.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			b := &broken{fakeDaemon: full()}
			var clock atomic.Bool
			s := open(t, b, 80, 24, func(c *Config) {
				c.Now = func() time.Time {
					if clock.Load() {
						panic("the clock stands still")
					}
					return time.Now()
				}
			})
			s.until(0, "waiting")
			err := s.left(func() {
				fail(b, &clock)
				s.typed("R") // reads everything again, over a new stream
			})
			var c *crash
			if !errors.As(err, &c) || !strings.Contains(c.at, ".go:") {
				t.Errorf("got %v", err)
			}
			if err := harmless(s.bytes(0)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRealTimeStory approves on a pseudo-terminal in real time.
func TestRealTimeStory(t *testing.T) {
	f := two()
	s := open(t, f, 80, 24)
	s.until(0, "rates[country]")
	// A key pressed again within the time that a held one takes is refused, so
	// each press waits for longer than that.
	s.insist("a", func() bool { return bytes.Contains(s.bytes(0), []byte("APPROVE")) })
	s.typed("looks right")
	s.insist("\r", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.words) > 0
	})
	s.until(0, "approved")
	if f.words[0].Reason != "looks right" || f.words[0].id != sample(1, t1, "", "").ID {
		t.Errorf("got %+v", f.words[0])
	}
	s.leave(func() { s.typed("q") })
}

// insist presses a key until it has done its work.
func (s *tty) insist(key string, done func() bool) {
	s.t.Helper()
	for range 20 {
		s.typed(key)
		for late := time.After(held + 200*time.Millisecond); late != nil; {
			if done() {
				return
			}
			select {
			case <-s.more:
			case <-late:
				late = nil
			}
		}
	}
	s.t.Fatalf("%q does nothing", key)
}

// crowd returns a daemon with n approvals, the first of them with a change of
// so many lines.
func crowd(n, lines int) *fakeDaemon {
	f := newFake()
	f.now = time.Now()
	for i := range n {
		d := sample(i+1, t1, "edit_file", fmt.Sprintf("src/f%05d.go", i))
		d.RunID = fmt.Sprintf("run_01jq0000000000000000000%03d", i%50)
		d.RequestedAt = f.now.Add(-time.Duration(n-i) * time.Millisecond)
		d.ExpiresAt = f.now.Add(time.Hour)
		f.put(d)
	}
	first := *f.items[f.order[0]]
	var b strings.Builder
	fmt.Fprintf(&b, "--- a/big.go\n+++ b/big.go\n@@ -1,%d +1,%d @@\n", lines, lines)
	for i := range lines / 2 {
		fmt.Fprintf(&b, "-\told(line, %d)\n+\tnew(line, %d)\n", i, i)
	}
	first.Diff = client.NewDiff("unified", b.String())
	first.RequestedAt = f.now.Add(-time.Hour)
	f.put(first)
	return f
}

// BenchmarkTerminal measures on a pseudo-terminal: from start to the first
// frame with the change, and from a key to the frame that answers it.
func BenchmarkTerminal(b *testing.B) {
	for _, size := range []struct {
		name     string
		n, lines int
		keys     []string // each of them changes the frame
	}{{"small", 10, 20, []string{"j", "k"}}, {"100000-lines", 10, 100_000, []string{"\x1b[6~"}}, {"10000-items", 10_000, 20, []string{"j"}}} {
		f := crowd(size.n, size.lines)
		b.Run("first-frame/"+size.name, func(b *testing.B) {
			for b.Loop() {
				s := open(b, f, 120, 40)
				s.until(0, "waiting")
				s.until(0, "big.go")
				b.StopTimer()
				s.leave(func() { s.typed("q") })
				b.StartTimer()
			}
		})
		b.Run("key/"+size.name, func(b *testing.B) {
			s := open(b, f, 120, 40)
			s.until(0, "big.go")
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				s.quiet()
				from := s.size()
				at := time.Now()
				s.typed(size.keys[i%len(size.keys)])
				for s.size() == from {
					<-s.more
				}
				took = append(took, time.Since(at))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
			s.leave(func() { s.typed("q") })
		})
	}
}
