package ipc

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// firstInherited is the first descriptor behind standard input, output and error.
const firstInherited = 3

// CloseInherited closes every descriptor that this process was started with, but
// for the three and the one of SignalReady, which it keeps from other processes.
// They belong to whoever started it, often a client: open here they would keep
// that one's pipes and sockets from ending, and reach every server that is
// started. A daemon calls it before it opens or starts anything.
func CloseInherited() {
	ready := -1
	if fd, err := strconv.Atoi(os.Getenv(EnvReady)); err == nil && fd >= firstInherited && isPipe(fd) {
		ready = fd
		unix.CloseOnExec(fd)
	}
	eachInherited(func(fd int) {
		if fd != ready {
			_ = unix.Close(fd) // nothing else can be done about it
		}
	})
}

// KeepInherited keeps every descriptor that this process was started with, but
// for the three, from the processes that it starts.
func KeepInherited() { eachInherited(unix.CloseOnExec) }

// eachInherited calls f with every descriptor that stays open in a program that
// this one starts. Whatever the Go runtime opens does not: what does was there
// before.
func eachInherited(f func(fd int)) {
	for _, fd := range openDescriptors() {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			f(fd)
		}
	}
}

// openDescriptors returns the descriptors behind the three that may be open.
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
	// A system that does not list them: as many as there can be.
	limit := unix.Rlimit{Cur: maxUnlisted}
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	for fd := firstInherited; fd < int(min(limit.Cur, maxUnlisted)); fd++ {
		out = append(out, fd)
	}
	return out
}

// maxUnlisted bounds the descriptors that are tried where the system lists none.
const maxUnlisted = 1 << 16
