package ipc

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Capabilities probes what this system offers.
func Capabilities() []Capability {
	return []Capability{peerCapability(), ancestryCapability(), ptraceCapability(), tiocstiCapability()}
}

func peerCapability() Capability {
	c := Capability{Name: "peer_identity"}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		c.Note = "peers cannot be identified: " + err.Error()
		return c
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	pidfd, err := unix.GetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if err == nil {
		unix.Close(pidfd)
		c.OK = true
		c.Note = "the kernel hands out a pidfd for each peer (SO_PEERPIDFD): a pid cannot come to mean another process"
		return c
	}
	if fd, err := unix.PidfdOpen(os.Getpid(), 0); err == nil {
		unix.Close(fd)
		c.Note = "peers are identified by pid and start time; between connect and accept a pid could be reused (Linux 6.5 closes this)"
		return c
	}
	c.Note = "this kernel has no pidfds; connections to the guard will be refused"
	return c
}

func ancestryCapability() Capability {
	c := Capability{Name: "ancestry"}
	if _, err := Ancestry(os.Getpid()); err != nil {
		c.Note = "the ancestors of processes cannot be seen, so that unsigned decisions will be refused: " + err.Error()
		return c
	}
	c.OK, c.Note = true, "the ancestors of a process can be seen"
	return c
}

// ptraceCapability reads Yama's setting: 0 lets any process of one user attach
// to the others, and so to a terminal that approves.
func ptraceCapability() Capability {
	c := Capability{Name: "ptrace"}
	switch v, err := readSetting("/proc/sys/kernel/yama/ptrace_scope"); {
	case errors.Is(err, os.ErrNotExist):
		c.Note = "any process of this user can attach to the user's other processes, such as a shell that approves (no Yama in this kernel)"
	case err != nil:
		c.Note = "it cannot be told whether processes of this user can attach to each other: " + err.Error()
	case v == "0":
		c.Note = "any process of this user can attach to the user's other processes, such as a shell that approves (set kernel.yama.ptrace_scope to 1)"
	default:
		c.OK, c.Note = true, "processes of this user cannot attach to processes that they did not start (kernel.yama.ptrace_scope is "+v+")"
	}
	return c
}

// tiocstiCapability reads whether processes may type into a terminal that they
// share (TIOCSTI), which Linux 6.2 made a setting.
func tiocstiCapability() Capability {
	c := Capability{Name: "terminal_injection"}
	if v, err := readSetting("/proc/sys/dev/tty/legacy_tiocsti"); err == nil && v == "0" {
		c.OK, c.Note = true, "processes cannot type into a terminal that they share (dev.tty.legacy_tiocsti is 0)"
		return c
	}
	c.Note = "a process can type into a terminal that it shares (set dev.tty.legacy_tiocsti to 0)"
	return c
}

func readSetting(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}
