package upstream

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttr puts the child into a session of its own: it leads its own group,
// and has no terminal on which it could ask, read keys, or approve.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit returns when the child has ended, without reaping it.
func awaitExit(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// onlyZombies reports whether nothing of a group runs any more: all that is
// left of it has ended and was not reaped, which can stay so for ever where the
// first process of a container reaps nobody.
func onlyZombies(group int) bool {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return false // fail closed
	}
	for _, d := range dirs {
		if _, err := strconv.Atoi(d.Name()); err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + d.Name() + "/stat")
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		// "pid (name) state ppid pgrp …"; the name may hold anything.
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if err != nil || len(f) < 3 {
			return false // fail closed
		}
		if string(f[2]) == strconv.Itoa(group) && !bytes.Contains([]byte("ZX"), f[0]) {
			return false
		}
	}
	return true
}
