package ipc

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

func peerCred(c *net.UnixConn) (uid, pid int, err error) {
	err = control(c, func(fd int) error {
		cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			return os.NewSyscallError("SO_PEERCRED", err)
		}
		uid, pid = int(cred.Uid), int(cred.Pid)
		return nil
	})
	return uid, pid, err
}

func peerOf(c *net.UnixConn) (*Peer, error) {
	uid, pid, err := peerCred(c)
	if err != nil {
		return nil, err
	}
	var p *Peer
	err = control(c, func(fd int) error {
		p, err = openPeer(fd, pid)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.UID = uid
	return p, nil
}

// openPeer identifies the process with the given pid that made the other end of
// the socket fd.
func openPeer(fd, pid int) (*Peer, error) {
	if pid <= 0 {
		// fail closed: a peer without a pid here could be anyone.
		return nil, errors.New("its process is outside this process's namespace")
	}
	now := bootTicks()
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	switch {
	case err == nil:
		unix.CloseOnExec(pidfd)
	case errors.Is(err, unix.ENOPROTOOPT), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		// Before Linux 6.5. EINVAL and ESRCH are also how newer kernels say
		// that the process is gone; pidfd_open finds that out again.
		if pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
			return nil, os.NewSyscallError("pidfd_open", err)
		}
	default:
		return nil, os.NewSyscallError("SO_PEERPIDFD", err)
	}
	p := &Peer{PID: pid, pidfd: os.NewFile(uintptr(pidfd), "pidfd")}
	if p.StartTime, err = StartTime(pid); err != nil {
		p.Close()
		return nil, err
	}
	// Alive after the start time was read: the pid meant this process then.
	// Younger than this look at the connection: the pid was reused before
	// pidfd_open, which the kernel's own pidfd would have shown.
	if !p.Alive() || p.StartTime > now {
		p.Close()
		return nil, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	return p, nil
}

// pidfdAlive reports whether the process has not ended: a pidfd is readable
// from then on (pidfd_open(2)).
func pidfdAlive(fd int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n == 0
	}
}

// Running reports whether the process with this pid and start time still runs.
// A process that has ended but was not reaped does not; if the first process
// of a container reaps none, that lasts for ever. In doubt it runs.
func Running(pid int, start uint64) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return false
	}
	if err == nil {
		defer unix.Close(fd)
	}
	// The pid means the same process until here, as long as pidfdAlive says so.
	found, serr := StartTime(pid)
	if errors.Is(serr, ErrGone) || serr == nil && found != start {
		return false
	}
	return err != nil || pidfdAlive(fd)
}

// ticksPerSecond is USER_HZ, which is 100 on every architecture that Go runs on.
const ticksPerSecond = 100

// bootTicks returns the time since boot in the unit of Proc.StartTime, rounded
// up.
func bootTicks() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // fail closed: every process is younger
	}
	return uint64(ts.Nano()/int64(time.Second/ticksPerSecond)) + 1
}

// SocketPeer returns the process that made the other end of a socket, if fd is
// a unix socket and that process still runs: for a socket pair the process
// that called socketpair(2). Close the result.
func SocketPeer(fd int) (*Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, os.NewSyscallError("SO_PEERCRED", err)
	}
	p, err := openPeer(fd, int(cred.Pid))
	if err != nil {
		return nil, fmt.Errorf("identifying the process behind a socket: %w", err)
	}
	p.UID = int(cred.Uid)
	return p, nil
}
