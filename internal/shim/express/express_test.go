package express

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"go.uber.org/goleak"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

const notDone = 42 // exit code of the helper where Run leaves the session alone

// TestMain makes this test binary a shim: "stdio SERVER".
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "stdio" {
		time.AfterFunc(time.Minute, func() { os.Exit(99) })
		code, done := Run(os.Args[2], "0.1")
		if !done {
			io.Copy(os.Stdout, os.Stdin) // to show that nothing was read
			code = notDone
		}
		os.Exit(code)
	}
	if len(os.Args) > 2 && os.Args[1] == "hook" {
		time.AfterFunc(time.Minute, func() { os.Exit(99) })
		kind, seconds, ok := hook(os.Args[2:])
		code, done := 0, false
		if ok {
			code, done = Ask(kind, seconds, "0.1")
		}
		if !done {
			code = notDone
		}
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

func TestSameProtocol(t *testing.T) {
	if protocol != ipc.Protocol {
		t.Errorf("protocol %d, package ipc has %d", protocol, ipc.Protocol)
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		args []string
		name string
		ok   bool
	}{
		{[]string{"files"}, "files", true},
		{[]string{"--no-autostart", "files"}, "files", true},
		{[]string{"files", "--no-autostart"}, "files", true},
		{[]string{"--no-autostart"}, "", false},
		{[]string{"--help"}, "", false},
		{[]string{"files", "more"}, "", false},
		{[]string{"files", "-h"}, "", false},
		{[]string{""}, "", false},
	} {
		if name, ok := server(c.args); ok != c.ok || ok && name != c.name {
			t.Errorf("%q: %q, %v", c.args, name, ok)
		}
	}
}

// TestSamePath: where this package knows the socket, package ipc says the same.
func TestSamePath(t *testing.T) {
	values := []string{"", "/h", "/h/", "//h", "/h/./x", "/h/../x", "/h/.x", "/h/..x", "/h/...", "/h/.", "/", "rel", ".", "/a b/ü"}
	known := 0
	for _, home := range values {
		for _, state := range values {
			for _, guard := range values {
				env := map[string]string{"HOME": home, "XDG_STATE_HOME": state, "MCPGUARD_HOME": guard, "XDG_CONFIG_HOME": "/c"}
				for k, v := range env {
					t.Setenv(k, v)
				}
				got, ok := socketPath(func(k string) (string, bool) { v, ok := env[k]; return v, ok })
				if !ok {
					continue
				}
				known++
				p, err := ipc.DefaultPaths()
				if err != nil || p.AgentSocket() != got {
					t.Errorf("%v: %q, package ipc has %q, %v", env, got, p.AgentSocket(), err)
				}
			}
		}
	}
	if known == 0 {
		t.Error("no path is known")
	}
}

func TestSameHello(t *testing.T) {
	for _, v := range []string{"plain", "ü\"\\\n\t\x01</script>\u2028", "\xff\xfe", ""} {
		t.Setenv("CLAUDE_CODE_SESSION_ID", v)
		t.Setenv("CLAUDE_PROJECT_DIR", "/p"+v)
		if v == "" {
			os.Unsetenv("CLAUDE_CODE_SESSION_ID")
		}
		want := ipc.NewHello("s"+v, "1"+v)
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		line := hello("s"+v, "1"+v, func(k string) (string, bool) { return os.LookupEnv(k) })
		var got, again ipc.Hello
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatal(err)
		}
		x, _ := json.Marshal(got)
		y, _ := json.Marshal(again)
		if !bytes.Equal(x, y) || bytes.Count(line, []byte("\n")) != 1 {
			t.Errorf("got %s, want %s", x, y)
		}
	}
}

// FuzzParse: what the daemon writes is read as package ipc would read it;
// anything else does not panic.
func FuzzParse(f *testing.F) {
	f.Add(1, true, "0.1", "one", "two", `{"end":true}`)
	f.Add(0, false, "\n\"\\<>&", "\u2028\x00", "ü😀", `{"notices":["\u00e9\/"],"x":[}`)
	f.Fuzz(func(t *testing.T, protocol int, ok bool, version, n1, n2, raw string) {
		parse([]byte(raw))
		if protocol < 0 || protocol > 1e9-1 {
			protocol = 7
		}
		w := ipc.Welcome{Protocol: protocol, OK: ok, Version: version, Error: n1, Notices: []string{n1, n2}}
		b, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		got, good := parse(b)
		if !good || got.protocol != protocol || got.ok != ok || !slices.Equal(got.notices, []string{plain(n1), plain(n2)}) {
			t.Errorf("%s: %+v, %v", b, got, good)
		}
	})
}

// plain is what becomes of a string on the way: JSON has U+FFFD for bytes that
// are no UTF-8, and the short escapes are for people.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("\b\f\n\r\t", r) {
			return ' '
		}
		return r
	}, string([]rune(s)))
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{
		"", "{", "}", "[]", "null", `{"ok":true}x`, `{"ok":true,}`, `{"ok":1.5}`, `{"ok":-1}`, `{"ok":null}`, `{"ok":{}}`, `{"ok" true}`,
		`{"protocol":01}`, `{"protocol":99999999999}`, `{"notices":[1]}`, `{"notices":["a"`, `{"notice":"a`, `{"notice":"\x"}`, `{"notice":"\u12"}`, `{,}`, `{ok:true}`,
	} {
		if w, ok := parse([]byte(s)); ok {
			t.Errorf("%s: %+v", s, w)
		}
	}
}

// start runs the helper against a listener with what is in first on its input.
func start(t testing.TB, first string) (l *net.UnixListener, in, out *os.File, cmd *exec.Cmd, stderr *bytes.Buffer) {
	t.Helper()
	dir, err := os.MkdirTemp("", "express")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err = ipc.Listen(filepath.Join(dir, "agent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	l.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { l.Close() })
	in, out, cmd, stderr = shim(t, dir, first)
	return l, in, out, cmd, stderr
}

func shim(t testing.TB, dir, first string) (in, out *os.File, cmd *exec.Cmd, stderr *bytes.Buffer) {
	t.Helper()
	r1, w1, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r2, w2, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w1.WriteString(first); err != nil {
		t.Fatal(err)
	}
	stderr = &bytes.Buffer{}
	cmd = exec.Command(os.Args[0], "stdio", "files")
	cmd.Env = append(os.Environ(), "MCPGUARD_HOME="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r1, w2, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r1.Close()
	w2.Close()
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
		w1.Close()
		r2.Close()
	})
	return w1, r2, cmd, stderr
}

func accept(t testing.TB, l *net.UnixListener) *ipc.Handover {
	t.Helper()
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	h, err := ipc.Accept(t.Context(), c)
	if err != nil {
		c.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func exits(t testing.TB, cmd *exec.Cmd, want int) {
	t.Helper()
	timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("exit code %d, want %d", got, want)
	}
}

func TestSession(t *testing.T) {
	l, in, out, cmd, stderr := start(t, "first\n")
	h := accept(t, l)
	if h.Hello.Server != "files" || h.Hello.Version != "0.1" || h.Hello.Copied || h.Client.PID != os.Getpid() {
		t.Errorf("hello %+v of client %d", h.Hello, h.Client.PID)
	}
	if err := h.Welcome(ipc.Welcome{OK: true, Version: "0.2", Notices: []string{"one"}}); err != nil {
		t.Fatal(err)
	}
	if err := h.Notice("two"); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if _, err := io.Copy(h.Out, h.In); err != nil {
		t.Fatal(err)
	}
	h.Close()
	if b, err := io.ReadAll(out); err != nil || string(b) != "first\n" {
		t.Errorf("got %q, %v", b, err)
	}
	exits(t, cmd, exitDone)
	if got := stderr.String(); got != "mcpguardd: one\nmcpguardd: two\n" {
		t.Errorf("standard error %q", got)
	}
}

func TestSignalEndsTheSession(t *testing.T) {
	l, _, out, cmd, _ := start(t, "")
	h := accept(t, l)
	if err := h.Welcome(ipc.Welcome{OK: true}); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-h.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the session goes on")
	}
	h.Close()
	if b, err := io.ReadAll(out); err != nil || len(b) > 0 {
		t.Errorf("got %q, %v", b, err)
	}
	cmd.Wait()
}

func TestLostDaemonIsSaid(t *testing.T) {
	l, _, _, cmd, stderr := start(t, "")
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	take(t, c)
	reply(t, c, `{"protocol":1,"ok":true}`)
	exits(t, cmd, exitLost)
	if got := stderr.String(); got != "mcpguardd: "+lost+"\n" {
		t.Errorf("standard error %q", got)
	}
}

// take receives a hello and closes what came with it.
func take(t testing.TB, c *net.UnixConn) {
	t.Helper()
	_, files, err := ipc.RecvFiles(c, make([]byte, maxLine))
	if err != nil || len(files) != 2 {
		t.Fatalf("%d descriptors, %v", len(files), err)
	}
	for _, f := range files {
		f.Close()
	}
}

func reply(t testing.TB, c *net.UnixConn, line string) {
	t.Helper()
	if _, err := c.Write([]byte(line + "\n")); err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestTheRestIsLeftAlone: whatever the daemon says but yes, the ordinary way
// finds the client's bytes unread and both descriptors in place.
func TestTheRestIsLeftAlone(t *testing.T) {
	left := func(t *testing.T, in, out *os.File, cmd *exec.Cmd, stderr *bytes.Buffer) {
		t.Helper()
		in.Close()
		if b, err := io.ReadAll(out); err != nil || string(b) != "first\n" {
			t.Errorf("got %q, %v", b, err)
		}
		exits(t, cmd, notDone)
		if stderr.Len() > 0 {
			t.Errorf("standard error %q", stderr)
		}
	}
	for _, line := range []string{
		`{"protocol":1,"ok":false,"error":"no such server"}`,
		`{"protocol":2,"ok":true}`,
		`{"protocol":1,"ok":false,"not_passed":true}`,
		`{"protocol":1}`,
		`HTTP/1.1 200 OK`,
	} {
		l, in, out, cmd, stderr := start(t, "first\n")
		c, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		take(t, c)
		reply(t, c, line)
		left(t, in, out, cmd, stderr)
	}
	in, out, cmd, stderr := shim(t, t.TempDir(), "first\n") // nobody listens
	left(t, in, out, cmd, stderr)
	in, out, cmd, stderr = shim(t, "/"+strings.Repeat("x", 200), "first\n")
	left(t, in, out, cmd, stderr)
}

func TestTerminalsAreLeftAlone(t *testing.T) {
	ptmx, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer ptmx.Close()
	defer tty.Close()
	if passable(int(tty.Fd())) {
		t.Error("a terminal would be handed over")
	}
}

// BenchmarkFirstByte measures from the start of the process to the client's
// first byte at the daemon. The process is this test binary.
func BenchmarkFirstByte(b *testing.B) {
	for b.Loop() {
		l, _, _, cmd, _ := start(b, "x\n")
		h := accept(b, l)
		if err := h.Welcome(ipc.Welcome{OK: true}); err != nil {
			b.Fatal(err)
		}
		if _, err := h.In.Read(make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		h.Close()
		exits(b, cmd, exitDone)
		b.StartTimer()
	}
}
