package shim

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// startedDaemons returns the pids of the daemons started in p and ends them
// when the test ends.
func startedDaemons(t testing.TB, p ipc.Paths) []int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(p.State, "starts"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, f := range strings.Fields(string(b)) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, pid)
	}
	return out
}

// endDaemons ends what startedDaemons finds, and waits for it: a connection
// that was open to the daemon is cut.
func endDaemons(t testing.TB, p ipc.Paths) {
	t.Helper()
	for _, pid := range startedDaemons(t, p) {
		endProcess(t, pid)
	}
}

func run(t testing.TB, p ipc.Paths, env ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "start")
	cmd.Env = append(append(os.Environ(), p.Environ()...), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return strings.TrimSpace(out.String()), err
}

// TestTenAtOnceStartOneDaemon, in processes of their own.
func TestTenAtOnceStartOneDaemon(t *testing.T) {
	p := home(t)
	t.Cleanup(func() { endDaemons(t, p) })
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if out, err := run(t, p); err != nil || out != "started" {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
	wg.Wait()
	if got := startedDaemons(t, p); len(got) != 1 {
		t.Errorf("%d daemons were started", len(got))
	}
}

// TestTenShimsAtOnce go all the way to an answer.
func TestTenShimsAtOnce(t *testing.T) {
	p := home(t)
	t.Cleanup(func() { endDaemons(t, p) })
	var wg sync.WaitGroup
	for i := range 10 {
		c := onPipes(t, p, fmt.Sprintf("hello %d\n", i), "files", flagAutostart)
		wg.Go(func() {
			if got := c.line(); got != fmt.Sprintf("hello %d", i) {
				t.Errorf("got %q", got)
			}
			c.in.Close()
			c.eof()
			c.exit(exitDone)
		})
	}
	wg.Wait()
	if got := startedDaemons(t, p); len(got) != 1 {
		t.Errorf("%d daemons were started", len(got))
	}
}

// TestLostDaemonIsReported: the daemon is killed during a session.
func TestLostDaemonIsReported(t *testing.T) {
	for _, flag := range []string{flagAutostart, flagCopy} {
		p := home(t)
		c := onPipes(t, p, "hello\n", "files", flagAutostart, flag)
		c.line()
		endDaemons(t, p)
		c.eof()
		c.exit(exitFailed)
		if got := c.stderr.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "the guard daemon has gone") {
			t.Errorf("standard error %q", got)
		}
	}
}

// TestFailureToStartIsToldVerbatim to whoever asked for the daemon.
func TestFailureToStartIsToldVerbatim(t *testing.T) {
	const why = "config.yaml:3:7: unknown key \"sever\"; did you mean \"servers\"?"
	p := home(t)
	if err := os.WriteFile(filepath.Join(p.State, "fail"), []byte(why), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, p)
	if err == nil || !strings.HasSuffix(out, why) {
		t.Errorf("%q, %v", out, err)
	}
	c := onPipes(t, p, initialize+"\n", "files", flagAutostart)
	if got := c.line(); !strings.Contains(got, `did you mean \"servers\"?`) {
		t.Errorf("got %s", got)
	}
	c.in.Close()
	c.exit(exitFailed)
	if !strings.Contains(c.stderr.String(), why) {
		t.Errorf("standard error %q", c.stderr.String())
	}
}

func TestDaemonThatDiesIsQuoted(t *testing.T) {
	p := home(t)
	if err := os.WriteFile(filepath.Join(p.State, "die"), []byte("one\npanic: \x1b[2Jtwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.Log(), []byte("an older line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, p)
	if err == nil || !strings.Contains(out, `"panic: \x1b[2Jtwo"`) || !strings.Contains(out, p.Log()) {
		t.Errorf("%q, %v", out, err)
	}
	info, err := os.Stat(p.Log())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestNoProgramToStart(t *testing.T) {
	p := home(t)
	begin := time.Now()
	err := StartDaemon(t.Context(), p, filepath.Join(p.State, "nothing"))
	if err == nil || time.Since(begin) > startTimeout/2 {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

// TestPromise8_DaemonInheritsNothing: neither the client's secrets nor its
// terminal, folder, descriptors or process group.
func TestPromise8_DaemonInheritsNothing(t *testing.T) {
	p := home(t)
	t.Cleanup(func() { endDaemons(t, p) })
	out, err := run(t, p, "ANTHROPIC_API_KEY=secret", "LC_ALL=C", "TZ=UTC", "CLAUDECODE=1", "LD_PRELOAD=")
	if err != nil {
		t.Fatal(out, err)
	}
	pids := startedDaemons(t, p)
	if len(pids) != 1 {
		t.Fatalf("daemons %v", pids)
	}
	proc, err := ipc.Inspect(pids[0])
	if err != nil {
		t.Fatal(err)
	}
	if proc.Cwd != "/" || proc.TTY != "" || proc.Session == mySession(t) || proc.PPID == os.Getpid() {
		t.Errorf("got %+v", proc)
	}
	b, err := os.ReadFile(filepath.Join(p.State, "self"))
	if err != nil {
		t.Fatal(err)
	}
	var env, fds []string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "env "); ok {
			env = append(env, name)
		} else {
			fds = append(fds, line)
		}
	}
	allowed := map[string]bool{"HOME": true, "PATH": true, "USER": true, "LOGNAME": true, "SHELL": true, "LANG": true, "TZ": true,
		"TMPDIR": true, "LC_ALL": true, ipc.EnvHome: true, ipc.EnvReady: true, "PWD": true, "OLDPWD": true, "_": true, "SHLVL": true}
	for _, name := range env {
		if !allowed[name] && !strings.HasPrefix(name, "LC_") {
			t.Errorf("environment has %s", name)
		}
	}
	if len(env) == 0 || len(fds) == 0 {
		t.Errorf("described as %q", b)
	}
	for _, fd := range fds {
		n, to, _ := strings.Cut(strings.TrimPrefix(fd, "fd "), " ")
		// The runtime keeps its cgroup's limits open, some shells /dev/null.
		ok := to == os.DevNull || n == "2" && to == p.Log() || n == "3" && strings.HasPrefix(to, "pipe:") || strings.HasPrefix(to, "/sys/fs/cgroup/")
		if !ok {
			t.Errorf("descriptor %s is %s", n, to)
		}
	}
}

func mySession(t testing.TB) int {
	t.Helper()
	self, err := ipc.Self()
	if err != nil {
		t.Fatal(err)
	}
	return self.Session
}
