package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// connect makes the connection here, with the caller's socket and the address
// that was looked at, so that the caller cannot exchange it meanwhile.
func (s *supervisor) connect(n *notif) (unix.Errno, bool) {
	if n.args[2] < 2 || n.args[2] > 128 {
		return unix.EINVAL, false
	}
	raw, ok := s.memory(n, n.args[1], n.args[2])
	if !ok || len(raw) < 2 {
		return unix.EFAULT, false
	}
	if binary.NativeEndian.Uint16(raw) == unix.AF_UNIX {
		return s.connectUnix(n, raw)
	}
	fd, errno := s.borrow(n)
	if errno != 0 {
		return errno, false
	}
	defer unix.Close(fd)
	_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&raw[0])), uintptr(len(raw)))
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); e == 0 && (err != nil || kind == unix.SOCK_DGRAM) {
		// It always succeeds, and says nothing of who listens.
		if at, ok := addrPort(raw); ok && at.Addr().IsLoopback() {
			s.datagram(at)
		}
		return 0, false
	}
	if e == unix.EINPROGRESS {
		s.underWay(fd, raw)
		return e, false
	}
	s.reached(raw, e)
	return e, false
}

// underWay follows a connection that its caller does not wait for, by a look at
// its state, which takes nothing away from the caller.
func (s *supervisor) underWay(fd int, raw []byte) {
	own, err := unix.Dup(fd)
	if err != nil {
		s.reached(raw, unix.ECONNREFUSED) // fail closed
		return
	}
	s.pending.Go(func() { // ends after half a second at the latest
		defer unix.Close(own)
		for range 100 {
			info, err := unix.GetsockoptTCPInfo(own, unix.IPPROTO_TCP, unix.TCP_INFO)
			if err != nil || info.State == unix.BPF_TCP_CLOSE {
				break
			}
			if info.State == unix.BPF_TCP_ESTABLISHED || info.State == unix.BPF_TCP_CLOSE_WAIT {
				s.reached(raw, 0)
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		s.reached(raw, unix.ECONNREFUSED)
	})
}

// borrow duplicates the socket of a call into this process.
func (s *supervisor) borrow(n *notif) (int, unix.Errno) {
	pidfd, err := unix.PidfdOpen(tgidOf(int(n.pid)), 0)
	if err != nil {
		return -1, unix.ESRCH
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, int(n.args[0]), 0)
	if err != nil {
		return -1, unix.EBADF
	}
	if !s.alive(n) {
		unix.Close(fd)
		return -1, unix.EINTR
	}
	return fd, 0
}

// tgidOf returns the process of a thread.
func tgidOf(tid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/status")
	if err != nil {
		return tid
	}
	if _, rest, ok := bytes.Cut(b, []byte("\nTgid:")); ok {
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		if pid, err := strconv.Atoi(string(bytes.TrimSpace(line))); err == nil {
			return pid
		}
	}
	return tid
}

// reached notes what became of a connection to an address.
func (s *supervisor) reached(raw []byte, e unix.Errno) {
	at, ok := addrPort(raw)
	if !ok {
		return // no address: a datagram socket that is disconnected, or another family
	}
	if e == 0 || e == unix.EALREADY || e == unix.EISCONN {
		if at.Addr().IsLoopback() {
			s.mu.Lock()
			s.open[at.Port()] = true
			s.mu.Unlock()
		}
		return
	}
	if at.Addr().IsLoopback() || at.Addr().IsUnspecified() {
		if e == unix.ECONNREFUSED {
			s.mu.Lock()
			s.refused[at.Port()] = at.String()
			s.mu.Unlock()
		}
		return
	}
	s.want(Want{WantNetwork, at.String()})
}

// finish reports loopback ports on which nobody ever listened inside: the
// command may have meant a server of the machine's. A port that answered later
// was the command's own.
func (s *supervisor) finish() {
	s.pending.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for port, name := range s.refused {
		if !s.open[port] {
			s.want(Want{WantNetwork, name})
		}
	}
}

func addrPort(raw []byte) (netip.AddrPort, bool) {
	switch {
	case len(raw) >= 8 && binary.NativeEndian.Uint16(raw) == unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[4:8])), binary.BigEndian.Uint16(raw[2:])), true
	case len(raw) >= 24 && binary.NativeEndian.Uint16(raw) == unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(raw[8:24])).Unmap(), binary.BigEndian.Uint16(raw[2:])), true
	}
	return netip.AddrPort{}, false
}

// connectUnix lets a connection to a socket of the command's own go on. The
// real machine's sockets are behind closed paths or below overlays, where no
// connection reaches them; asking for one is a want.
func (s *supervisor) connectUnix(n *notif, raw []byte) (unix.Errno, bool) {
	name := raw[2:]
	if len(name) == 0 || name[0] == 0 {
		// Abstract: of this network namespace alone. It is made here like any other,
		// or the caller could put a path there after this look.
		return s.connectRaw(n, raw), false
	}
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	at, ok := s.locate(n, -1, string(name), false)
	if !ok {
		return unix.EACCES, false
	}
	switch {
	case s.places.quiet(at):
		return unix.ENOENT, false
	case s.places.isClosed(at), s.wasThere(at):
		s.want(Want{WantSocket, at})
		return unix.ECONNREFUSED, false
	}
	return s.connectAt(n, at), false
}

// connectAt connects the socket of a call to the one at a path that was looked
// at, so that no other can be put in its place.
func (s *supervisor) connectAt(n *notif, at string) unix.Errno {
	node, err := unix.Openat2(s.rootFD, at, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return unix.ENOENT
	}
	defer unix.Close(node)
	fd, errno := s.borrow(n)
	if errno != 0 {
		return errno
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(node)})
	if err != nil && !errors.As(err, &errno) {
		return unix.EACCES // fail closed
	}
	return errno
}

// wasThere reports whether a path exists on the real machine.
func (s *supervisor) wasThere(at string) bool {
	var st unix.Stat_t
	return unix.Lstat(at, &st) == nil
}

func (s *supervisor) send(n *notif, addr, size uint64) (unix.Errno, bool) {
	if size < 2 || size > 128 {
		return unix.EINVAL, false
	}
	raw, ok := s.memory(n, addr, size)
	if !ok || len(raw) < 2 {
		return unix.EFAULT, false
	}
	// There is no way out of this network namespace, and no unix socket that sends
	// to a path: the call may go on, whatever its caller puts there after this look.
	switch at, ok := addrPort(raw); {
	case !ok:
	case at.Addr().IsLoopback():
		s.datagram(at)
	default:
		s.want(Want{WantNetwork, at.String()})
	}
	return 0, true
}

func (s *supervisor) sendmsg(n *notif, at uint64) (unix.Errno, bool) {
	hdr, ok := s.memory(n, at, 16)
	if !ok || len(hdr) < 16 {
		return unix.EFAULT, false
	}
	name, size := binary.NativeEndian.Uint64(hdr), uint64(binary.NativeEndian.Uint32(hdr[8:]))
	if name == 0 || size == 0 {
		return 0, true
	}
	return s.send(n, name, size)
}
