package ipc

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

func peerCred(c *net.UnixConn) (uid, pid int, err error) {
	err = control(c, func(fd int) error { uid, pid, err = peerCredFD(fd); return err })
	return uid, pid, err
}

func peerCredFD(fd int) (uid, pid int, err error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, 0, os.NewSyscallError("LOCAL_PEERCRED", err)
	}
	if pid, err = unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID); err != nil {
		return 0, 0, os.NewSyscallError("LOCAL_PEERPID", err)
	}
	return int(cred.Uid), pid, nil
}

// peerOf has no pidfd to hold: a pid that is reused between the connection and
// this look is noticed only if the user differs. Capabilities says so.
func peerOf(c *net.UnixConn) (*Peer, error) {
	uid, pid, err := peerCred(c)
	if err != nil {
		return nil, err
	}
	return identify(uid, pid)
}

func identify(uid, pid int) (*Peer, error) {
	if pid <= 0 {
		// fail closed: a peer without a pid could be anyone.
		return nil, errors.New("the system does not tell its process")
	}
	p, err := readStat(pid)
	if err != nil {
		return nil, err
	}
	if p.UID != uid {
		return nil, fmt.Errorf("process %d belongs to user %d, the connection to user %d: %w", pid, p.UID, uid, ErrGone)
	}
	return &Peer{UID: uid, PID: pid, StartTime: p.StartTime}, nil
}

func pidfdAlive(int) bool { return false } // never reached: there is no pidfd

// Running reports whether the process with this pid and start time still runs.
// In doubt it does.
func Running(pid int, start uint64) bool {
	found, err := StartTime(pid)
	return !errors.Is(err, ErrGone) && (err != nil || found == start)
}

// SocketPeer returns the process that made the other end of a socket, if fd is
// a unix socket and that process still runs. Close the result.
func SocketPeer(fd int) (*Peer, error) {
	uid, pid, err := peerCredFD(fd)
	if err != nil {
		return nil, err
	}
	p, err := identify(uid, pid)
	if err != nil {
		return nil, fmt.Errorf("identifying the process behind a socket: %w", err)
	}
	return p, nil
}
