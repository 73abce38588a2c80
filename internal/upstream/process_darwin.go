package upstream

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// childAttr puts the child into a session of its own: it leads its own group,
// and has no terminal on which it could ask, read keys, or approve. This
// system cannot tie a child's life to its parent's; the watchdog does.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true}
}

// awaitExit returns when the child has ended, without reaping it. waitid(2)
// with WNOWAIT returns here for stopped children too, hence kqueue(2).
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

// onlyZombies reports whether nothing of a group runs any more although it
// still exists. Here the first process reaps orphans, so that does not stay so.
func onlyZombies(int) bool { return false }

// leftGroup returns nothing: this system has no list of processes that could be
// read without another program. What leaves its group lives on.
func leftGroup(int) []guard.UpstreamRef { return nil }

func killLeft(guard.UpstreamRef) {}
