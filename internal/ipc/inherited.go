package ipc

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// firstInherited is the first descriptor after standard input, output and
// error.
const firstInherited = 3

// CloseInherited closes every descriptor that this process was started with,
// except the standard three and that of SignalReady, which it makes
// close-on-exec. They belong to the process that started it, often a client:
// left open they would keep its pipes and sockets from ending, and every
// started server would inherit them. A daemon calls it before it opens or
// starts anything.
func CloseInherited() {
	ready := -1
	if fd, err := strconv.Atoi(os.Getenv(EnvReady)); err == nil && fd >= firstInherited && isPipe(fd) {
		ready = fd
		unix.CloseOnExec(fd)
	}
	eachInherited(func(fd int) {
		if fd != ready {
			_ = unix.Close(fd) // an error cannot be handled
		}
	})
}

// KeepInherited makes every descriptor that this process was started with,
// except the standard three, close-on-exec.
func KeepInherited() { eachInherited(unix.CloseOnExec) }

// eachInherited calls f with every descriptor that started programs would
// inherit. Descriptors opened by the Go runtime are close-on-exec, so these
// were there before.
func eachInherited(f func(fd int)) {
	for _, fd := range openDescriptors() {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			f(fd)
		}
	}
}

// openDescriptors returns the descriptors beyond the standard three that may
// be open.
func openDescriptors() []int {
	var out []int
	if entries, err := os.ReadDir("/dev/fd"); err == nil {
		for _, e := range entries {
			if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= firstInherited {
				out = append(out, fd)
			}
		}
		return out
	}
	// The system does not list them: try all that are possible.
	limit := unix.Rlimit{Cur: maxUnlisted}
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	for fd := firstInherited; fd < int(min(limit.Cur, maxUnlisted)); fd++ {
		out = append(out, fd)
	}
	return out
}

// maxUnlisted bounds the descriptors that are tried where the system lists none.
const maxUnlisted = 1 << 16
