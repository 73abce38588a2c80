package ipc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// onTerminal starts a command as the leader of a new session with a terminal
// of its own, as a terminal emulator does.
func onTerminal(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	ptmx, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		ptmx.Close()
	})
}

// TestPromise6_WhoMayDecide connects real processes of every kind. The test is
// their parent and plays their terminal emulator.
func TestPromise6_WhoMayDecide(t *testing.T) {
	bin := os.Args[0]
	for name, c := range map[string]struct {
		start func(t *testing.T, path string) *os.Process // of the client, if any
		want  ApproverRule
	}{
		"on a terminal": {func(t *testing.T, path string) *os.Process {
			onTerminal(t, helper(t, "connect", path))
			return nil
		}, ""},
		"from a shell on a terminal": {func(t *testing.T, path string) *os.Process {
			onTerminal(t, exec.Command("/bin/sh", "-c", `"$@"; exit`, "sh", bin, helperArg, "connect", path))
			return nil
		}, ""},
		"started by a client on a terminal": {func(t *testing.T, path string) *os.Process {
			cmd := exec.Command("/bin/sh", "-c", `"$@"; exit`, "sh", bin, helperArg, "connect", path)
			onTerminal(t, cmd)
			return cmd.Process
		}, RuleDescends},
		"through another terminal of the client": {func(t *testing.T, path string) *os.Process {
			script, err := exec.LookPath("script")
			if err != nil {
				if os.Getenv("CI") != "" {
					t.Fatal(err)
				}
				t.Skip("script(1) is not installed")
			}
			cmd := exec.Command("/bin/sh", "-c", `"$1" -qec "$2" /dev/null; exit`, "sh", script, bin+" "+helperArg+" connect "+path)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); cmd.Wait() })
			return cmd.Process
		}, RuleDescends},
		"without a terminal": {func(t *testing.T, path string) *os.Process {
			cmd := helper(t, "connect", path)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			return nil
		}, RuleNoTerminal},
		"orphaned on a terminal": {func(t *testing.T, path string) *os.Process {
			// The shell in the middle ends; the one that leads the session stays.
			onTerminal(t, exec.Command("/bin/sh", "-c", `("$@" & ) ; read -r _`, "sh", bin, helperArg, "connect", path))
			return nil
		}, RuleOrphaned},
	} {
		t.Run(name, func(t *testing.T) {
			l, path := listen(t)
			client := c.start(t, path)
			conn := accept(t, l)
			peer, err := PeerOf(conn)
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			if c.want == RuleOrphaned {
				awaitOrphan(t, peer.PID)
			}
			var clients []ClientRef
			if client != nil {
				p, err := Inspect(client.Pid)
				if err != nil {
					t.Fatal(err)
				}
				clients = append(clients, p.Ref())
			}
			err = checkApprover(peer, clients, true, -1)
			got := ApproverRule("")
			var r *ApproverRefusal
			if errors.As(err, &r) {
				got = r.Rule
			}
			if got != c.want {
				chain, _ := Ancestry(peer.PID)
				t.Errorf("%v, want %q; ancestors %+v", err, c.want, chain)
			}
			// Whatever its terminal: it is this process's child, as an upstream
			// would be.
			if c.want == "" {
				if err := CheckApprover(peer, nil, true); !errors.As(err, &r) || r.Rule != RuleUpstream {
					t.Errorf("a process of the daemon's own: %v", err)
				}
			}
		})
	}
}

// awaitOrphan waits until the shell in the middle has ended.
func awaitOrphan(t *testing.T, pid int) {
	t.Helper()
	chain, err := Ancestry(pid)
	if err != nil {
		t.Fatal(err)
	}
	parent := chain[1]
	if parent.Session != chain[0].Session {
		return // taken in already
	}
	fd, err := unix.PidfdOpen(parent.PID, 0)
	if err != nil {
		return // it has ended since
	}
	defer unix.Close(fd)
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20000); n == 0 {
		t.Fatalf("process %d stays (%v)", parent.PID, err)
	}
}

// TestNondumpable: another process of the user cannot read the memory of one
// that hardened itself. Root can, so that the kernel's flag is looked at too.
func TestNondumpable(t *testing.T) {
	cmd := helper(t, "harden")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if got := firstLine(t, out); got != "ready" {
		t.Fatalf("got %q", got)
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d/mem", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 {
		t.Errorf("its memory belongs to user %d", uid)
	}
	// It is still recognised, with its own user id.
	p, err := Inspect(cmd.Process.Pid)
	if err != nil || p.UID != os.Geteuid() {
		t.Errorf("got %+v, %v", p, err)
	}
	in.Close()
	io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestParseStat(t *testing.T) {
	tail := " S 5 6 7 34817 9 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 2"
	for _, comm := range []string{"x", "", "a b", "a) S 1 1 1 1", ")))", "(", "\n) R 9", "tmux: server"} {
		p, err := parseStat([]byte("42 (" + comm + ")" + tail))
		if err != nil || p.PID != 42 || p.PPID != 5 || p.Session != 7 || p.TTY != "pts/1" || p.StartTime != 12345 {
			t.Errorf("%q: %+v, %v", comm, p, err)
		}
	}
	for _, bad := range []string{"", "42", "42 (x", "42 (x)", "x (x)" + tail, "42 (x) S 5 6", "42 (x)" + strings.Replace(tail, "12345", "-1", 1), ") 42 ("} {
		if p, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, p)
		}
	}
}

func TestTTYName(t *testing.T) {
	for dev, want := range map[uint32]string{
		0: "", 136 << 8: "pts/0", 136<<8 | 7: "pts/7", 136<<8 | 0x00100000: "pts/256", 4<<8 | 1: "tty1", 4<<8 | 64: "ttyS0", 229 << 8: "tty(229,0)",
	} {
		if got := ttyName(dev); got != want {
			t.Errorf("%#x: %q, want %q", dev, got, want)
		}
	}
}

// FuzzParseStat: whatever name a process gives itself, the fields are the
// kernel's.
func FuzzParseStat(f *testing.F) {
	for _, s := range []string{"sh", "a) R 1 1 1", "", "(sd-pam)", "x\n0 (y) S 1"} {
		f.Add(s, 10, uint64(99))
	}
	f.Fuzz(func(t *testing.T, comm string, ppid int, start uint64) {
		line := fmt.Sprintf("42 (%s) S %d 6 7 0 9 0 1 2 3 4 5 6 7 8 20 0 1 0 %d 1 2\n", comm, ppid, start)
		p, err := parseStat([]byte(line))
		if err != nil || p.PID != 42 || p.PPID != ppid || p.StartTime != start || p.TTY != "" {
			t.Errorf("%q: %+v, %v", line, p, err)
		}
		parseStat([]byte(comm)) // does not panic
	})
}
