package shim

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// describe notes what a daemon was started with. It runs before the daemon
// opens anything; the runtime's own descriptors are not pipes or files.
func describe(p ipc.Paths) {
	var b strings.Builder
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		fmt.Fprintln(&b, "env", name)
	}
	for fd := range 64 {
		to, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
		if err == nil && !strings.HasPrefix(to, "anon_inode:") {
			fmt.Fprintln(&b, "fd", fd, to)
		}
	}
	note(p, "self", b.String())
}

// endProcess ends a process that is not a child and waits for it.
func endProcess(t testing.TB, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Error(err)
		return
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		t.Error(err)
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20000); n == 0 {
		t.Errorf("daemon %d does not end (%v)", pid, err)
	}
}
