package ipc

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNotPassed is wrapped if the system did not pass descriptors.
var ErrNotPassed = errors.New("the system did not pass the descriptors on")

// maxFiles bounds how many descriptors one message may carry.
const maxFiles = 8

// control runs f on the descriptor of c, which c keeps.
func control(c syscall.Conn, f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := raw.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return err
	}
	return ferr
}

// sendFiles writes data, at least one byte, and passes the descriptors of
// files with its first byte (SCM_RIGHTS). The caller keeps its own
// descriptors.
func sendFiles(c *net.UnixConn, data []byte, files ...*os.File) error {
	if len(data) == 0 || len(files) > maxFiles {
		return fmt.Errorf("sending %d descriptors with %d bytes: %w", len(files), len(data), unix.EINVAL)
	}
	fds := make([]int, 0, len(files))
	for _, f := range files {
		// Control and not Fd: the latter would make the descriptor blocking.
		if err := control(f, func(fd int) error { fds = append(fds, fd); return nil }); err != nil {
			return fmt.Errorf("sending descriptors: %w", err)
		}
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	n, _, err := c.WriteMsgUnix(data, rights, nil)
	if err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("%w: %w", ErrNotPassed, err)
		}
		return fmt.Errorf("sending descriptors: %w", err)
	}
	if n < len(data) {
		if _, err := c.Write(data[n:]); err != nil {
			return fmt.Errorf("sending descriptors: %w", err)
		}
	}
	return nil
}

// RecvFiles reads what sendFiles wrote, at most len(buf) bytes of it, and the
// descriptors passed with it. They are close-on-exec. Pipes and sockets are
// made non-blocking, so that deadlines and Close work on them; this also
// affects whoever shares their open file description. They belong to the
// caller, even if it expected none.
func RecvFiles(c *net.UnixConn, buf []byte) (int, []*os.File, error) {
	oob := make([]byte, unix.CmsgSpace(maxFiles*4))
	n, oobn, flags, _, err := c.ReadMsgUnix(buf, oob)
	fds, perr := parseRights(oob[:oobn])
	files := make([]*os.File, 0, len(fds))
	for _, fd := range fds {
		files = append(files, adopt(fd))
	}
	if err == nil {
		err = perr
	}
	if err == nil && flags&unix.MSG_CTRUNC != 0 {
		err = ErrNotPassed
	}
	if err != nil {
		closeFiles(files)
		return n, nil, fmt.Errorf("receiving descriptors: %w", err)
	}
	return n, files, nil
}

func parseRights(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var fds []int
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if errors.Is(err, unix.EINVAL) {
			continue // another kind of control message
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

// adopt wraps a received descriptor in a File. Without O_NONBLOCK set before
// os.NewFile a reader would hold a thread that neither Close nor a deadline
// can free.
func adopt(fd int) *os.File {
	if passable(fd) {
		// A failure leaves the descriptor blocking, which still works.
		_ = unix.SetNonblock(fd, true)
	}
	return os.NewFile(uintptr(fd), "received")
}

// passable reports whether a session may be handed over on a descriptor: a
// pipe or a socket. Terminals and files are not passed: a terminal belongs to
// its process group, and a file has no end.
func passable(fd int) bool {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false
	}
	kind := st.Mode & unix.S_IFMT
	return kind == unix.S_IFIFO || kind == unix.S_IFSOCK
}

// PassableFile is passable for a File.
func PassableFile(f *os.File) bool {
	ok := false
	err := control(f, func(fd int) error { ok = passable(fd); return nil })
	return err == nil && ok
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
