package upstream

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pidfd opens a process, so that the test can wait for its end without
// polling.
func pidfd(t *testing.T, pid int) int {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("process %d: %v", pid, err)
	}
	t.Cleanup(func() {
		unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		unix.Close(fd)
	})
	return fd
}

func ends(t *testing.T, fd int, what string) {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 15000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			t.Errorf("%s lives on (%v)", what, err)
		}
		return
	}
}

// children lists this process's children.
func children(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil {
			out = append(out, strings.Fields(string(b))...)
		}
	}
	return out
}

func TestNoOrphanAfterStop(t *testing.T) {
	p := startTest(t, spec("family"))
	d := nextDescription(t, p)
	leader, child := pidfd(t, d.PID), pidfd(t, d.Child)
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	ends(t, leader, "the upstream")
	ends(t, child, "its child")
	if left := children(t); len(left) > 0 {
		t.Errorf("children left: %v", left)
	}
}

func TestNoOrphanAfterACrash(t *testing.T) {
	p := startTest(t, spec("family"))
	d := nextDescription(t, p)
	leader, child := pidfd(t, d.PID), pidfd(t, d.Child)
	if err := unix.PidfdSendSignal(leader, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Next(); err == nil {
		t.Error("no error from a crashed upstream")
	}
	ends(t, leader, "the upstream")
	ends(t, child, "its child")
}

// TestNoOrphanAfterTheDaemonIsKilled: the upstream and its child ignore SIGTERM
// and the end of their input.
func TestNoOrphanAfterTheDaemonIsKilled(t *testing.T) {
	cmd := exec.Command(os.Args[0], helperArg, "supervisor")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var d description
	if err := json.Unmarshal(line, &d); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	leader, child := pidfd(t, d.PID), pidfd(t, d.Child)
	dogs := watchdogs(t, d.PID)
	if len(dogs) != 1 {
		t.Fatalf("watchdogs of %d: %v", d.PID, dogs)
	}
	dog := pidfd(t, dogs[0])
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ends(t, leader, "the upstream")
	ends(t, child, "its child")
	ends(t, dog, "the watchdog")
	cmd.Wait()
}

// watchdogs finds the watchdogs of a group by their command line.
func watchdogs(t *testing.T, group int) []int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, dir := range dirs {
		b, err := os.ReadFile(dir + "/cmdline")
		args := strings.Split(string(b), "\x00")
		if err == nil && args[0] == "mcpguard-watchdog" && len(args) > 4 && args[4] == strconv.Itoa(group) {
			pid, err := strconv.Atoi(filepath.Base(dir))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, pid)
		}
	}
	return out
}

// TestWatchdogHoldsNothing: the watchdog has no environment, and no descriptors
// but its pipe and /dev/null.
func TestWatchdogHoldsNothing(t *testing.T) {
	t.Setenv("SECRET", "x")
	for fd := 3; fd < 10; fd++ { // left open by whatever started the tests
		unix.CloseOnExec(fd)
	}
	p := startTest(t, spec("deaf"))
	if _, err := p.Next(); err != nil { // its watchdog runs by then
		t.Fatal(err)
	}
	dogs := watchdogs(t, p.Ref().PID)
	if len(dogs) != 1 {
		t.Fatalf("watchdogs: %v", dogs)
	}
	dir := "/proc/" + strconv.Itoa(dogs[0])
	env, err := os.ReadFile(dir + "/environ")
	if err != nil || strings.Contains(string(env), "SECRET") {
		t.Errorf("environment %q, %v", env, err)
	}
	fds, err := os.ReadDir(dir + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, err := os.Readlink(dir + "/fd/" + fd.Name())
		if err != nil || strings.Contains(filepath.Base(to), ".so") {
			continue // closed since; the loader maps libraries while the shell starts
		}
		if n, _ := strconv.Atoi(fd.Name()); n > 2 && n < 10 { // a shell may keep its own above
			t.Errorf("descriptor %s is %s", fd.Name(), to)
		}
	}
}

// TestEscapedChildDoesNotHoldTheEnd: Stop does not wait for a process that left
// the group and keeps the pipes open.
func TestEscapedChildDoesNotHoldTheEnd(t *testing.T) {
	p := startTest(t, spec("escape"))
	d := nextDescription(t, p)
	escaped := pidfd(t, d.Child) // ended by the test itself
	done := make(chan error, 1)
	go func() { // ends with Next
		_, err := p.Next()
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("an escaped process holds the end of the session")
	}
	if err := unix.PidfdSendSignal(escaped, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	ends(t, escaped, "the escaped process")
}

// TestWhatLeftTheGroupEndsWithTheServer: a server that ignores signals ends
// with its session, and so does the process that it started in a session of its
// own.
func TestWhatLeftTheGroupEndsWithTheServer(t *testing.T) {
	s := spec("launcher")
	s.StopGrace = 50 * time.Millisecond
	p := startTest(t, s)
	d := nextDescription(t, p)
	server, helper := pidfd(t, d.PID), pidfd(t, d.Child)
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	ends(t, server, "the server")
	ends(t, helper, "the process that left its group")
}
