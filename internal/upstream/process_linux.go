package upstream

import (
	"errors"
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
