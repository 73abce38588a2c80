package sandbox

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket lets a command make the sockets that cannot lead out. Their family and
// type are in registers, so that nothing can be exchanged after the look at them.
func (s *supervisor) socket(n *notif) (unix.Errno, bool) {
	family, kind, protocol := int(int32(n.args[0])), int(n.args[1]&0xf), int(int32(n.args[2]))
	switch family {
	case unix.AF_UNIX:
		// fail closed: one for datagrams sends to a path that its message names, which
		// may lie in memory that another thread writes.
		if kind == unix.SOCK_STREAM || kind == unix.SOCK_SEQPACKET {
			return 0, true
		}
		s.want(Want{WantSocket, "a unix socket for datagrams"})
		return unix.EPROTONOSUPPORT, false
	case unix.AF_INET, unix.AF_INET6:
		if (kind == unix.SOCK_STREAM || kind == unix.SOCK_DGRAM) && slices.Contains([]int{0, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_MPTCP}, protocol) {
			return 0, true
		}
		s.want(Want{WantNetwork, "packets of its own making"})
		return unix.EPERM, false
	case unix.AF_NETLINK:
		if protocol == unix.NETLINK_ROUTE {
			return 0, true // the C library asks for its own interfaces
		}
		s.want(Want{WantSocket, "netlink " + strconv.Itoa(protocol)})
		return unix.EPROTONOSUPPORT, false
	}
	s.want(Want{WantSocket, fmt.Sprintf("a socket of family %d", family)})
	return unix.EAFNOSUPPORT, false
}

// bind notes a unix socket that is to be where nothing may be made.
func (s *supervisor) bind(n *notif) (unix.Errno, bool) {
	if n.args[2] < 3 || n.args[2] > 128 {
		return 0, true
	}
	raw, ok := s.memory(n, n.args[1], n.args[2])
	if !ok || len(raw) < 3 || binary.NativeEndian.Uint16(raw) != unix.AF_UNIX || raw[2] == 0 {
		return 0, true
	}
	name, _, _ := strings.Cut(string(raw[2:]), "\x00")
	if at, ok := s.locate(n, -1, name, true); ok && !s.places.writable(at) {
		s.want(Want{WantWrite, at})
	}
	return 0, true
}

// connectRaw connects the socket of a call to the address that was looked at.
func (s *supervisor) connectRaw(n *notif, raw []byte) unix.Errno {
	fd, errno := s.borrow(n)
	if errno != 0 {
		return errno
	}
	defer unix.Close(fd)
	_, _, errno = unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&raw[0])), uintptr(len(raw)))
	return errno
}

// datagram notes a port of the loopback that datagrams go to and on which nobody
// listens. The C library connects such sockets to learn of its own address, so a
// server that answers there later, over TCP too, makes up for it.
func (s *supervisor) datagram(at netip.AddrPort) {
	if at.Port() == 0 || takesDatagrams(at.Port()) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[at.Port()] = at.String()
}

// takesDatagrams reports whether a socket of this network namespace is bound to a
// port.
func takesDatagrams(port uint16) bool {
	suffix := fmt.Sprintf(":%04X", port)
	for _, list := range []string{"/proc/self/net/udp", "/proc/self/net/udp6"} {
		text, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 1 && strings.HasSuffix(f[1], suffix) {
				return true
			}
		}
	}
	return false
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
