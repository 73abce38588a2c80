package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// session is a handover within this process: the client's ends of two pipes,
// and what the daemon got.
type session struct {
	conn    *net.UnixConn
	in, out *os.File // the client's ends
	shim    [2]*os.File
	offered chan offered
	h       *Handover
}

type offered struct {
	w   Welcome
	err error
}

func open(t *testing.T, hello Hello) *session {
	t.Helper()
	s := &session{offered: make(chan offered, 1)}
	client, server := pair(t)
	s.conn = client
	s.shim[0], s.in = pipe(t)
	s.out, s.shim[1] = pipe(t)
	// Ends with the daemon's answer, or when the test closes the connection.
	go func() {
		w, err := Offer(context.Background(), client, hello, s.shim[0], s.shim[1])
		s.offered <- offered{w, err}
	}()
	h, err := Accept(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	s.h = h
	return s
}

func (s *session) answer(t *testing.T) offered {
	t.Helper()
	select {
	case o := <-s.offered:
		return o
	case <-time.After(20 * time.Second):
		t.Fatal("no answer to the offer")
		panic("unreachable")
	}
}

func TestHandover(t *testing.T) {
	t.Setenv("CLAUDE_CODE_SESSION_ID", "abc")
	t.Setenv("CLAUDE_PROJECT_DIR", "/p")
	t.Setenv("ANTHROPIC_API_KEY", "secret")
	s := open(t, NewHello("files", "0.1"))
	cwd, _ := os.Getwd()
	hello := s.h.Hello
	if hello.Server != "files" || hello.Version != "0.1" || hello.Cwd != cwd || hello.Copied {
		t.Errorf("got %+v", hello)
	}
	if len(hello.Env) != 2 || hello.Env["CLAUDE_CODE_SESSION_ID"] != "abc" || hello.Env["CLAUDE_PROJECT_DIR"] != "/p" {
		t.Errorf("environment %v", hello.Env)
	}
	if err := s.h.Welcome(Welcome{OK: true, Version: "0.2", Notices: []string{"one"}}); err != nil {
		t.Fatal(err)
	}
	o := s.answer(t)
	if o.err != nil || !o.w.OK || o.w.Version != "0.2" || !slices.Equal(o.w.Notices, []string{"one"}) {
		t.Fatalf("got %+v", o)
	}
	s.shim[0].Close()
	s.shim[1].Close()
	if _, err := s.in.WriteString("to daemon"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, err := s.h.In.Read(buf); err != nil || string(buf[:n]) != "to daemon" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
	if _, err := s.h.Out.WriteString("to client"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.out.Read(buf); err != nil || string(buf[:n]) != "to client" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
	if err := s.h.Notice("two"); err != nil {
		t.Fatal(err)
	}
	if err := s.h.Close(); err != nil {
		t.Fatal(err)
	}
	var notices []string
	if !o.w.Await(s.conn, func(l string) { notices = append(notices, l) }) {
		t.Error("the end is not told from a loss")
	}
	if !slices.Equal(notices, []string{"two"}) {
		t.Errorf("notices %q", notices)
	}
	if _, err := s.out.Read(buf); !errors.Is(err, io.EOF) {
		t.Errorf("the client does not see the end: %v", err)
	}
	if err := s.h.Notice("late"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a notice after the end: %v", err)
	}
	if err := s.h.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func TestShimsEndEndsTheSession(t *testing.T) {
	s := open(t, NewHello("files", "1"))
	if err := s.h.Welcome(Welcome{OK: true}); err != nil {
		t.Fatal(err)
	}
	s.answer(t)
	select {
	case <-s.h.Done():
		t.Fatal("done at once")
	default:
	}
	s.conn.Close()
	select {
	case <-s.h.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("not done")
	}
}

// TestMessageRightAfterTheWelcome arrive with it in one read.
func TestMessageRightAfterTheWelcome(t *testing.T) {
	client, server := pair(t)
	r, w := pipe(t)
	go func() { // ends with the writes
		_, files, err := RecvFiles(server, make([]byte, maxHello))
		if err == nil {
			closeFiles(files)
		}
		server.Write([]byte(`{"ok":true,"protocol":1,"version":"1"}` + "\n" + `{"notice":"one"}` + "\n" + `{"end":true}` + "\n"))
		server.Close()
	}()
	got, err := Offer(t.Context(), client, NewHello("files", "1"), r, w)
	if err != nil || !got.OK {
		t.Fatalf("got %+v, %v", got, err)
	}
	var notices []string
	if !got.Await(client, func(l string) { notices = append(notices, l) }) || !slices.Equal(notices, []string{"one"}) {
		t.Errorf("notices %q, or no end", notices)
	}
}

// TestDaemonThatHangsUpFirstIsHeard: it said why before it read the hello.
func TestDaemonThatHangsUpFirstIsHeard(t *testing.T) {
	client, server := pair(t)
	r, w := pipe(t)
	server.Write([]byte(`{"protocol":1,"error":"too many sessions"}` + "\n"))
	server.Close()
	got, err := Offer(t.Context(), client, NewHello("files", "1"), r, w)
	if err != nil || got.OK || got.Error != "too many sessions" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestLostDaemonIsNotAnEnd(t *testing.T) {
	client, server := pair(t)
	server.Close()
	if (Welcome{}).Await(client, func(string) {}) {
		t.Error("a lost daemon is taken for an end")
	}
}

func TestRefusalReachesTheShim(t *testing.T) {
	s := open(t, NewHello("nothing", "1"))
	if err := s.h.Welcome(Welcome{Version: "1", Error: "there is no server \"nothing\""}); err != nil {
		t.Fatal(err)
	}
	if o := s.answer(t); o.err != nil || o.w.OK || o.w.Error != "there is no server \"nothing\"" {
		t.Errorf("got %+v", o)
	}
	if err := s.h.Welcome(Welcome{OK: true}); err != nil {
		t.Logf("a second answer may fail: %v", err)
	}
}

// TestProtocolsMustMatch: whichever side notices, there is no session, and the
// sentence says what to do.
func TestProtocolsMustMatch(t *testing.T) {
	hello := NewHello("files", "0.1")
	hello.Protocol++
	s := open(t, hello)
	if err := s.h.Welcome(Welcome{OK: true, Version: "0.2"}); err == nil || s.h.welcomed {
		t.Errorf("welcomed: %v", err)
	}
	const want = "mcpguardd 0.2 is running, this is 0.1: run `mcpguardd stop` and start again"
	if o := s.answer(t); o.err != nil || o.w.OK || o.w.Error != want {
		t.Errorf("got %+v", o)
	}
	// A daemon that does not check.
	client, server := pair(t)
	r, w := pipe(t)
	go func() { // ends with the test's connection
		_, files, err := RecvFiles(server, make([]byte, maxHello))
		if err == nil {
			closeFiles(files)
			server.Write([]byte(`{"ok":true,"protocol":7,"version":"9"}` + "\n"))
		}
	}()
	got, err := Offer(t.Context(), client, NewHello("files", "0.1"), r, w)
	if err != nil || got.OK || !strings.Contains(got.Error, "mcpguardd 9 is running") {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestOfferIsBounded(t *testing.T) {
	client, server := pair(t)
	r, w := pipe(t)
	ctx, cancel := context.WithCancel(t.Context())
	read := make(chan struct{})
	go func() { // ends with the hello
		defer close(read)
		_, files, err := RecvFiles(server, make([]byte, maxHello))
		if err == nil {
			closeFiles(files)
		}
		cancel()
	}()
	if _, err := Offer(ctx, client, NewHello("files", "1"), r, w); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-read
	client, server = pair(t)
	server.Close()
	if _, err := Offer(t.Context(), client, NewHello("files", "1"), r, w); err == nil {
		t.Error("no error from a daemon that hangs up")
	}
}

func TestAcceptRefusesWhatIsNoHello(t *testing.T) {
	for name, send := range map[string]func(c *net.UnixConn, f *os.File) error{
		"nothing":         func(c *net.UnixConn, f *os.File) error { return nil },
		"no descriptors":  func(c *net.UnixConn, f *os.File) error { _, err := c.Write([]byte("{}\n")); return err },
		"one descriptor":  func(c *net.UnixConn, f *os.File) error { return sendFiles(c, []byte("{}\n"), f) },
		"three":           func(c *net.UnixConn, f *os.File) error { return sendFiles(c, []byte("{}\n"), f, f, f) },
		"no JSON":         func(c *net.UnixConn, f *os.File) error { return sendFiles(c, []byte("GET /\n"), f, f) },
		"no line":         func(c *net.UnixConn, f *os.File) error { return sendFiles(c, []byte("{"), f, f) },
		"an endless line": func(c *net.UnixConn, f *os.File) error { return sendFiles(c, make([]byte, 2*maxHello), f, f) },
	} {
		client, server := pair(t)
		r, w := pipe(t)
		sent := make(chan error, 1)
		go func() { // ends with the write, at the latest when server closes
			err := send(client, w)
			w.Close()
			client.CloseWrite()
			sent <- err
		}()
		h, err := Accept(t.Context(), server)
		if err == nil {
			h.Close()
			t.Errorf("%s: accepted %+v", name, h.Hello)
		}
		server.Close()
		<-sent
		// Nothing that came along stays open.
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMissingDescriptorsAreReported: the shim must know, so that it copies
// instead.
func TestMissingDescriptorsAreReported(t *testing.T) {
	client, server := pair(t)
	if _, err := client.Write([]byte("{}\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := Accept(t.Context(), server); !errors.Is(err, ErrNotPassed) {
		t.Errorf("got %v", err)
	}
	line, _, err := readLine(client, nil)
	var w Welcome
	if err != nil || json.Unmarshal(line, &w) != nil || !w.NotPassed || w.OK {
		t.Errorf("got %s, %v", line, err)
	}
}

// TestClientIsWhoHoldsTheOtherEnd starts shims as clients do.
func TestClientIsWhoHoldsTheOtherEnd(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sockets  bool
		args     []string
		wrappers int
		wrapped  bool // the wrapper is the client: it is what can be told
	}{
		"socket pair":          {true, []string{"offer"}, 1, false},
		"socket pair, wrapped": {true, []string{"wrap", "offer"}, 2, false},
		"pipes":                {false, []string{"offer"}, 1, false},
		"pipes, wrapped":       {false, []string{"wrap", "offer"}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			l, path := listen(t)
			cmd := helper(t, append(c.args, path)...)
			theirs, ours := ends(t, c.sockets)
			cmd.Stdin, cmd.Stdout = theirs, theirs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			theirs.Close()
			h, err := Accept(t.Context(), accept(t, l))
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			want := self.PID
			if c.wrapped {
				want = cmd.Process.Pid
			}
			if h.Client.PID != want || len(h.Wrappers) != c.wrappers || h.Wrappers[0].PID != h.Shim.PID || h.Peer.PID != h.Shim.PID {
				t.Errorf("client %d, want %d; wrappers %v; shim %d", h.Client.PID, want, pids(h.Wrappers), h.Shim.PID)
			}
			if got := h.Clients(); len(got) != c.wrappers+1 || got[0] != h.Client.Ref() {
				t.Errorf("clients %v", got)
			}
			if len(h.Ancestors) == 0 || h.Ancestors[0].PID != h.Client.PPID {
				t.Errorf("ancestors %v of %d", pids(h.Ancestors), h.Client.PPID)
			}
			if !c.wrapped && (h.Client.StartTime != self.StartTime || h.Client.Cwd != self.Cwd) {
				t.Errorf("got %+v, want %+v", h.Client, self)
			}
			if err := h.Welcome(Welcome{OK: true}); err != nil {
				t.Fatal(err)
			}
			h.Close()
			ours.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			cmd.Process = nil
		})
	}
}

// TestLentSocketMakesBothClients: the socket's maker is no ancestor of the
// shim. Who started the shim must not get away by that.
func TestLentSocketMakesBothClients(t *testing.T) {
	l, path := listen(t)
	lender := helper(t, "lend", path)
	if err := lender.Start(); err != nil {
		t.Fatal(err)
	}
	lent := accept(t, l)
	_, files, err := RecvFiles(lent, make([]byte, 1))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	cmd := helper(t, "offer", path)
	cmd.Stdin, cmd.Stdout = files[0], files[0]
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h, err := Accept(t.Context(), accept(t, l))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if h.Client.PID != lender.Process.Pid || !slices.Equal(pids(h.Wrappers), []int{cmd.Process.Pid, os.Getpid()}) {
		t.Errorf("client %d (lender %d), wrappers %v", h.Client.PID, lender.Process.Pid, pids(h.Wrappers))
	}
	// Once the lender has ended, the shim's parent is the client.
	lent.Close()
	if err := lender.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := h.locate(); err != nil || h.Client.PID != os.Getpid() {
		t.Errorf("client %d, %v", h.Client.PID, err)
	}
}

func pids(chain []Proc) []int {
	var out []int
	for _, p := range chain {
		out = append(out, p.PID)
	}
	return out
}

// ends returns a descriptor for a shim and the client's end of it.
func ends(t *testing.T, sockets bool) (theirs, ours *os.File) {
	t.Helper()
	if !sockets {
		return pipe(t)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	theirs, ours = os.NewFile(uintptr(fds[0]), "theirs"), os.NewFile(uintptr(fds[1]), "ours")
	t.Cleanup(func() { theirs.Close(); ours.Close() })
	return theirs, ours
}

// TestOrphanedShimIsItsOwnClient: if the process that takes orphans in counted
// as the client, everything would be one.
func TestOrphanedShimIsItsOwnClient(t *testing.T) {
	l, path := listen(t)
	r, w := pipe(t)
	cmd := exec.Command("/bin/sh", "-c", `"$@" <&3 3<&- &`, "sh", os.Args[0], helperArg, "offer", path)
	cmd.ExtraFiles = []*os.File{r}
	cmd.Stdout = w
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	h, err := Accept(t.Context(), accept(t, l))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if adopter := h.Shim.PPID; adopter != 1 {
		t.Logf("orphans go to process %d here", adopter)
		if p, err := Inspect(adopter); err == nil && !adopts(p) {
			t.Skipf("this system's adopter of orphans, %s, is not one that can be known", p.Executable)
		}
	}
	if h.Client.PID != h.Shim.PID || len(h.Wrappers) != 0 {
		t.Errorf("client %+v, wrappers %v", h.Client, pids(h.Wrappers))
	}
	if err := h.Welcome(Welcome{OK: true}); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkHandover(b *testing.B) {
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := Listen(dir + "/s")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for b.Loop() {
		client, err := Dial(b.Context(), dir+"/s")
		if err != nil {
			b.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { // ends with the answer
			_, err := Offer(context.Background(), client, NewHello("s", "1"), r, w)
			done <- err
		}()
		c, err := l.AcceptUnix()
		if err != nil {
			b.Fatal(err)
		}
		h, err := Accept(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		if err := h.Welcome(Welcome{OK: true}); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		client.Close()
		h.Close()
	}
}
