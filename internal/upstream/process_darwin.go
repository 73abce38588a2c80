package upstream

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// childAttr puts the child into a session of its own: it leads its own group,
// and has no terminal on which it could ask, read keys, or approve. This
// system cannot tie a child's life to its parent's; the watchdog does that.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true}
}

// awaitExit returns when the child has ended, without reaping it. It uses
// kqueue(2), because here waitid(2) with WNOWAIT returns for stopped children
// too.
func awaitExit(pid int) error {
	kq, err := unix.Kqueue()
	if err != nil {
		return err
	}
	defer unix.Close(kq)
	var ev unix.Kevent_t
	unix.SetKevent(&ev, pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	ev.Fflags = unix.NOTE_EXIT
	got := make([]unix.Kevent_t, 1)
	for {
		_, err := unix.Kevent(kq, []unix.Kevent_t{ev}, got, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ESRCH): // it has ended already
			return nil
		}
		return err
	}
}

// onlyZombies reports whether a group consists only of processes that have
// ended. Here it returns false: the first process reaps orphans, so such a
// group does not last.
func onlyZombies(int) bool { return false }

// leftGroup returns nothing: on this system, listing processes requires
// another program. Processes that leave the group are not ended.
func leftGroup(int) []guard.UpstreamRef { return nil }

func killLeft(guard.UpstreamRef) {}
