package express

import (
	"os"
	"syscall"
)

// passable reports whether a descriptor is a pipe or a socket.
func passable(fd int) bool {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return false
	}
	kind := st.Mode & syscall.S_IFMT
	return kind == syscall.S_IFIFO || kind == syscall.S_IFSOCK
}

// dial connects to a listener of this user; waiting for its answer is bounded.
func dial(path string) (int, bool) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, false
	}
	bound := syscall.Timeval{Sec: timeout}
	err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}) // too long a path is an error here
	if err == nil {
		err = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &bound)
	}
	if err == nil {
		err = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &bound)
	}
	var cred *syscall.Ucred
	if err == nil {
		cred, err = syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}
	if err != nil || int(cred.Uid) != syscall.Geteuid() {
		syscall.Close(fd)
		return -1, false // fail closed: whoever listens would see the session
	}
	return fd, true
}

// patient lifts the bound once the session is open: nothing comes then until
// it ends.
func patient(fd int) bool {
	return syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{}) == nil
}

// send writes the hello with descriptors 0 and 1.
func send(fd int, b []byte) bool {
	n, err := syscall.SendmsgN(fd, b, syscall.UnixRights(0, 1), nil, syscall.MSG_NOSIGNAL)
	return err == nil && n == len(b)
}

// letGo puts /dev/null in the place of what was handed over.
func letGo() bool {
	null, err := syscall.Open(os.DevNull, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(null)
	return syscall.Dup3(null, 0, 0) == nil && syscall.Dup3(null, 1, 0) == nil
}

// cwd is a label: the daemon asks the kernel.
func cwd() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	return dir
}

// bounded bounds the wait for the daemon's next word.
func bounded(fd int, seconds int64) bool {
	return syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: seconds}) == nil
}
