package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

var _ Conn = (*Process)(nil)

func getsid() (int, error) { return unix.Getsid(0) }

// TestPromise8_EnvironmentIsExactlyTheGivenOne: nothing of the daemon's own
// environment reaches an upstream, even if the given one is empty.
func TestPromise8_EnvironmentIsExactlyTheGivenOne(t *testing.T) {
	t.Setenv("ANTHROPIC_API_KEY", "sk-secret")
	for _, env := range [][]string{nil, {}, {"B=2", "A=1", "EMPTY="}} {
		s := spec("describe")
		s.Env = env
		d := nextDescription(t, startTest(t, s))
		if !slices.Equal(d.Env, env) && len(d.Env)+len(env) > 0 {
			t.Errorf("got %q, want %q", d.Env, env)
		}
	}
}

func TestChildHasItsOwnGroupAndNoTerminal(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := spec("describe")
	s.Dir, s.Args = dir, append(s.Args, "a b", "")
	p := startTest(t, s)
	d := nextDescription(t, p)
	if d.Group != d.PID || d.Session != d.PID || d.PID != p.Ref().PID {
		t.Errorf("process %d (ref %d) has group %d and session %d", d.PID, p.Ref().PID, d.Group, d.Session)
	}
	if d.Dir != dir || !slices.Equal(d.Args[1:], s.Args) {
		t.Errorf("folder %q, args %q", d.Dir, d.Args)
	}
	if ref := p.Ref(); ref.StartTime == 0 || ref.BootID == "" {
		t.Errorf("incomplete reference %+v", ref)
	}
}

func TestFramesGoBothWays(t *testing.T) {
	p := startTest(t, spec("echo"))
	big := `{"big":"` + strings.Repeat("x", 3<<20) + `"}`
	for _, want := range []string{`{"a":1}`, `{"b":"é"}`, big, `{"c":3}`} {
		if err := p.Write([]byte(want)); err != nil {
			t.Fatal(err)
		}
		got, err := p.Next()
		if err != nil || string(got) != want {
			t.Fatalf("got %d bytes, %v; want %d", len(got), err, len(want))
		}
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after Stop: %v, want EOF", err)
	}
	if err := p.ExitError(); err != nil {
		t.Errorf("an orderly end is %v", err)
	}
	if err := p.Write([]byte("{}")); !errors.Is(err, errClosed) {
		t.Errorf("writing after Stop: %v", err)
	}
}

// TestConcurrentWritesStayWhole: frames of many writers, small and larger than
// the pipe, arrive whole and exactly once.
func TestConcurrentWritesStayWhole(t *testing.T) {
	p := startTest(t, spec("echo"))
	const writers, each = 8, 40
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				frame := fmt.Sprintf(`{"id":"%d-%d","pad":%q}`, w, i, strings.Repeat("x", i%7*9000))
				if err := p.Write([]byte(frame)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := map[string]bool{}
	for range writers * each {
		frame, err := p.Next()
		if err != nil {
			t.Fatal(err)
		}
		m := string(frame[:bytes.IndexByte(frame, ',')])
		if seen[m] || frame[len(frame)-1] != '}' {
			t.Fatalf("%.40q twice or cut", frame)
		}
		seen[m] = true
	}
	wg.Wait()
}

func TestStartFailuresSayWhy(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("no program"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Spec)
		want   string
	}{
		"no command":     {func(s *Spec) { s.Command = "" }, "no command"},
		"missing file":   {func(s *Spec) { s.Command = dir + "/nothing" }, "no such file"},
		"not executable": {func(s *Spec) { s.Command = plain }, "not an executable file"},
		"a folder":       {func(s *Spec) { s.Command = dir }, "not an executable file"},
		"no program":     {func(s *Spec) { s.Command = junk }, "exec format error"},
		"no PATH":        {func(s *Spec) { s.Command = "sh" }, "no PATH"},
		"not in PATH":    {func(s *Spec) { s.Command, s.Env = "plain", []string{"PATH=" + dir + ":/nowhere"} }, `no command "plain" in the server's PATH`},
		"relative PATH":  {func(s *Spec) { s.Command, s.Env, s.Dir = "junk", []string{"PATH=.:"}, dir }, "no command"},
		"relative dir":   {func(s *Spec) { s.Dir = "." }, "not an absolute path"},
		"missing dir":    {func(s *Spec) { s.Dir = dir + "/nothing" }, "folder cannot be used"},
	} {
		s := spec("echo")
		c.change(&s)
		p, err := Start(t.Context(), s)
		if err == nil {
			p.Stop(t.Context())
			t.Errorf("%s: started", name)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `server "test"`) {
			t.Errorf("%s: %q does not say %q", name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, spec("echo")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestLooksUpTheCommandInItsOwnPath(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(os.Args[0], filepath.Join(dir, "server")); err != nil {
		t.Fatal(err)
	}
	s := spec("echo")
	s.Command, s.Env = "server", []string{"PATH=/nowhere:" + dir}
	p := startTest(t, s)
	if err := p.Write([]byte("{}")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Next(); err != nil {
		t.Fatal(err)
	}
}

func TestRefusesToStartWithoutRedaction(t *testing.T) {
	s := spec("echo")
	s.Redact = nil
	if p, err := Start(t.Context(), s); err == nil || p != nil || !strings.Contains(err.Error(), "secrets") {
		t.Errorf("started: %v", err)
	}
}

func TestImmediateExitReportsItsStderr(t *testing.T) {
	var got []string
	s := spec("fail")
	s.Redact = func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("database"), []byte("***")) }
	s.OnStderr = func(b []byte) { got = append(got, string(b)) }
	p := startTest(t, s)
	_, err := p.Next()
	var exit *ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("got %v", err)
	}
	want := []string{"reading settings", "no such \x1b[31m***"}
	if exit.Code != 3 || exit.Started || !slices.Equal(exit.Stderr, want) || !slices.Equal(got, want) || !slices.Equal(p.Stderr(), want) {
		t.Errorf("got %+v; callback %q", exit, got)
	}
	for _, part := range []string{`server "test" exited with status 3 before its first message`, `"reading settings", "no such \x1b[31m***"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not contain %q", err, part)
		}
	}
	if err := p.Write([]byte("{}")); !errors.As(err, &exit) {
		t.Errorf("writing to a dead upstream: %v", err)
	}
}

func TestGarbageIsReportedAndTheSessionGoesOn(t *testing.T) {
	p := startTest(t, spec("chatty"))
	_, err := p.Next()
	var g *GarbageError
	if !errors.As(err, &g) || string(g.Line) != "Server listening…" || strings.Contains(err.Error(), "…") {
		t.Fatalf("got %v", err)
	}
	// Admission decides on a batch.
	if frame, err := p.Next(); err != nil || string(frame) != " [1]" {
		t.Fatalf("got %q, %v", frame, err)
	}
	// A byte order mark is not part of the message after it.
	if frame, err := p.Next(); err != nil || string(frame) != "{}" {
		t.Fatalf("got %q, %v", frame, err)
	}
	if err := p.Write([]byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	if frame, err := p.Next(); err != nil || string(frame) != `{"a":1}` {
		t.Fatalf("got %q, %v", frame, err)
	}
}

// TestMessageOverSeveralLinesIsOneError: its lines are not text that the server
// prints, and what it does not complete does not hide the messages after it.
func TestMessageOverSeveralLinesIsOneError(t *testing.T) {
	p := startTest(t, spec("spread"))
	_, err := p.Next()
	var lines *LinesError
	if !errors.As(err, &lines) || len(lines.Refusals) != 1 || lines.Refusals[0].ID.String() != "3" || lines.Refusals[0].Kind != jsonrpc.Response || lines.Size < 2*garbageBurst {
		t.Fatalf("got %v", err)
	}
	garbage := func(size int) {
		t.Helper()
		_, err := p.Next()
		if g := (*GarbageError)(nil); !errors.As(err, &g) || g.Size != size {
			t.Fatalf("got %v, want %d bytes that are no message", err, size)
		}
	}
	message := func(want string) {
		t.Helper()
		if frame, err := p.Next(); err != nil || string(frame) != want {
			t.Fatalf("got %q, %v", frame, err)
		}
	}
	garbage(len("[\n"))
	message(`{"jsonrpc":"2.0","method":"notifications/a"}`)
	garbage(len("{\n\"a\": [\n"))
	garbage(len("what it \"was"))
	garbage(len("about"))
	garbage(len("{\n"))
	message(`{"jsonrpc":"2.0","id":1,"result":{},"result":{}}`)
	if err := p.Write([]byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	message(`{"a":1}`)
}

func TestTooMuchGarbageEndsIt(t *testing.T) {
	p := startTest(t, spec("flood"))
	for n := 0; ; n++ {
		_, err := p.Next()
		var g *GarbageError
		if errors.As(err, &g) {
			if n > 100*garbageBurst {
				t.Fatalf("%d lines of garbage and no end", n)
			}
			continue
		}
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Cause == nil || n < garbageBurst {
			t.Fatalf("after %d lines: %v", n, err)
		}
		return
	}
}

func TestBucketRefillsAfterABurst(t *testing.T) {
	var b bucket
	now := time.Unix(1000, 0)
	for i := range garbageBurst {
		if !b.take(now) {
			t.Fatalf("empty after %d", i)
		}
	}
	if b.take(now) {
		t.Fatal("not empty after the burst")
	}
	if now = now.Add(time.Second); !b.take(now) {
		t.Fatal("not refilled after a second")
	}
}

func TestFrameOverTheLimitIsReported(t *testing.T) {
	s := spec("echo")
	s.MaxFrame = 1000
	p := startTest(t, s)
	for _, frame := range []string{`{"id":1,"result":"` + strings.Repeat("x", 2000) + `"}`, `{"a":1}`} {
		if err := p.Write([]byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := p.Next()
	var f *jsonrpc.FrameError
	if !errors.As(err, &f) {
		t.Fatalf("got %v", err)
	}
	if frame, err := p.Next(); err != nil || string(frame) != `{"a":1}` {
		t.Fatalf("got %q, %v", frame, err)
	}
}

func TestStderrKeepsTheLastLinesCut(t *testing.T) {
	p := startTest(t, spec("errors"))
	if err := p.Write([]byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Next(); err != nil { // it echoes once it has printed everything
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines := p.Stderr()
	if len(lines) != ringLines || !strings.HasPrefix(lines[0], "line 300 ") || !strings.HasPrefix(lines[199], "line 499 ") {
		t.Fatalf("%d lines from %.20q to %.20q", len(lines), lines[0], lines[len(lines)-1])
	}
	for _, l := range lines {
		if len(l) > ringWidth || strings.HasSuffix(l, "\r") {
			t.Errorf("%.20q has %d bytes", l, len(l))
		}
	}
}

// TestUpstreamThatDoesNotReadBlocksNoWriter: writes return at once while there
// is room and later ones within the timeout, and the upstream is ended.
func TestUpstreamThatDoesNotReadBlocksNoWriter(t *testing.T) {
	s := spec("deaf")
	s.WriteTimeout = 300 * time.Millisecond
	p := startTest(t, s)
	if _, err := p.Next(); err != nil {
		t.Fatal(err)
	}
	frame := []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	begin := time.Now()
	var err error
	for range 64 {
		if err = p.Write(frame); err != nil {
			break
		}
	}
	if err == nil {
		t.Fatal("64 MiB went into an upstream that reads nothing")
	}
	until(t, p.Done(), "the end of a deaf upstream")
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
	if exit := p.ExitError(); exit == nil || !strings.Contains(exit.Error(), "did not read its input") {
		t.Errorf("ended with %v", exit)
	}
}

func TestStartTimeoutBeginsWithTheFirstWrite(t *testing.T) {
	s := spec("mute")
	s.StartTimeout = 100 * time.Millisecond
	p := startTest(t, s)
	if err := p.Write([]byte("{}")); err != nil {
		t.Fatal(err)
	}
	_, err := p.Next()
	if err == nil || !strings.Contains(err.Error(), "did not answer within 100ms") {
		t.Errorf("got %v", err)
	}
}

func TestClosedOutputEndsIt(t *testing.T) {
	p := startTest(t, spec("closer"))
	if _, err := p.Next(); err == nil || !strings.Contains(err.Error(), "closed its standard output") {
		t.Errorf("got %v", err)
	}
}

// TestStderrAtExitIsKept: what an upstream wrote before it ended is read,
// however late the reader is.
func TestStderrAtExitIsKept(t *testing.T) {
	p := startTest(t, spec("lastword"))
	if err := p.Write([]byte("{}")); err != nil {
		t.Fatal(err)
	}
	until(t, p.Done(), "the end")
	// As if the reader came after the time for draining.
	p.stdout.SetReadDeadline(time.Unix(1, 0))
	for i := range 50 {
		frame, err := p.Next()
		if err != nil || !bytes.HasPrefix(frame, fmt.Appendf(nil, `{"n":%d,`, i)) {
			t.Fatalf("frame %d is %.20q, %v", i, frame, err)
		}
	}
	var exit *ExitError
	if _, err := p.Next(); !errors.As(err, &exit) || exit.Code != 7 || !exit.Started {
		t.Errorf("got %v", err)
	}
}

func TestStopEndsEveryKindOfUpstream(t *testing.T) {
	for _, mode := range []string{"echo", "mute", "stubborn"} {
		p := startTest(t, spec(mode))
		var wg sync.WaitGroup
		for range 3 { // at once, and again
			wg.Go(func() {
				if err := p.Stop(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		until(t, p.Done(), mode)
		if err := p.ExitError(); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestStopGoesToKillWhenItsContextEnds(t *testing.T) {
	s := spec("stubborn")
	s.StopGrace = time.Hour
	p := startTest(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, p.Done(), "the end")
}

func TestCrashIsReported(t *testing.T) {
	p := startTest(t, spec("echo"))
	if err := p.Write([]byte("{}")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Next(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.Ref().PID, syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	_, err := p.Next()
	var exit *ExitError
	if !errors.As(err, &exit) || !exit.Started {
		t.Errorf("got %v", err)
	}
}

func TestGoneNeedsProof(t *testing.T) {
	p := startTest(t, spec("mute"))
	ref := p.Ref()
	older, other := ref, ref
	older.StartTime--
	other.BootID = "another boot"
	for name, c := range map[string]struct {
		ref  guard.UpstreamRef
		want bool
	}{
		"running":       {ref, false},
		"another start": {older, true},
		"another boot":  {other, true},
		"nothing known": {guard.UpstreamRef{}, false},
		"no start time": {guard.UpstreamRef{PID: ref.PID, BootID: ref.BootID}, false},
		"no boot id":    {guard.UpstreamRef{PID: ref.PID, StartTime: ref.StartTime}, false},
	} {
		if got := Gone(c.ref); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !Gone(ref) {
		t.Error("not gone after its end")
	}
}

func TestSelfIsNotGone(t *testing.T) {
	self, err := ipc.Self()
	if err != nil {
		t.Fatal(err)
	}
	ref := reference(self.PID)
	if ref.StartTime != self.StartTime || Gone(ref) {
		t.Errorf("%+v is gone", ref)
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	p := startTest(b, spec("echo"))
	frame := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":"a"}}}`)
	for b.Loop() {
		if err := p.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := p.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		p, err := Start(b.Context(), spec("echo"))
		if err != nil {
			b.Fatal(err)
		}
		if err := p.Stop(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
