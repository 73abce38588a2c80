package sandbox

import (
	"bytes"
	"errors"
	"runtime"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notif mirrors struct seccomp_notif.
type notif struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// notifResp mirrors struct seccomp_notif_resp.
type notifResp struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

const (
	ioctlRecv    = 0xc0502100
	ioctlSend    = 0xc0182101
	ioctlIDValid = 0x40082102
	ioctlFlags   = 0x40082104
	syncWakeUp   = 1
	respContinue = 1
)

// supervisor answers the calls that the filter hands over. It runs in the first
// process, beside the command, and sees the command's files below its root.
type supervisor struct {
	listener int
	root     string // of the command, as this process sees it
	rootFD   int
	places   places
	copies   []string
	uid, gid uint32
	want     func(Want)
	retry    func(string)

	pending sync.WaitGroup // connections that are under way
	mu      sync.Mutex
	refused map[uint16]string // loopback ports that nobody listened on, as they were named
	open    map[uint16]bool   // loopback ports that answered
	known   map[string]bool   // names of the machine's programs that are not closed; of serve alone
	owned   map[string]bool   // folders of the trees that are the command's own; of serve alone
}

// serve answers until no process with the filter is left, each call in a
// goroutine of its own: a connection can take its time.
func (s *supervisor) serve() {
	runtime.LockOSThread() // the caller and this thread take turns on one processor
	// Since Linux 6.6; it only saves time.
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(s.listener), ioctlFlags, syncWakeUp)
	for {
		var n notif
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(s.listener), ioctlRecv, uintptr(unsafe.Pointer(&n)))
		switch {
		case e == unix.EINTR:
			continue
		case e == unix.ENOENT: // the caller is gone
			if s.over() {
				return
			}
			continue
		case e != 0:
			return
		}
		if n.nr == unix.SYS_CONNECT && n.arch == auditArch {
			go s.answer(n) // ends when the connection is there or refused
			continue
		}
		s.answer(n)
	}
}

// over reports whether the filter has no process any more.
func (s *supervisor) over() bool {
	fds := []unix.PollFd{{Fd: int32(s.listener), Events: unix.POLLIN}}
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&unix.POLLHUP != 0
}

func (s *supervisor) answer(n notif) {
	r := notifResp{id: n.id}
	switch errno, goOn := s.decide(&n); {
	case goOn:
		r.flags = respContinue
	default:
		r.err = -int32(errno)
	}
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(s.listener), ioctlSend, uintptr(unsafe.Pointer(&r)))
}

// alive reports whether the call is still waiting, so that what was read from
// its process is of that process.
func (s *supervisor) alive(n *notif) bool {
	id := n.id
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(s.listener), ioctlIDValid, uintptr(unsafe.Pointer(&id)))
	return e == 0
}

// decide returns the error that ends a call, 0 for one that was made here, or
// goOn to let it go on by itself.
func (s *supervisor) decide(n *notif) (errno unix.Errno, goOn bool) {
	if n.arch != auditArch || n.nr >= 0x40000000 {
		s.want(Want{WantKernel, "a program of another architecture"})
		return unix.ENOSYS, false
	}
	nr := int(n.nr)
	switch nr {
	case unix.SYS_CONNECT:
		return s.connect(n)
	case unix.SYS_SENDTO:
		if n.args[3]&unix.MSG_FASTOPEN != 0 {
			return unix.EOPNOTSUPP, false // a connection that connect would not see
		}
		if n.args[4] == 0 {
			return 0, true
		}
		return s.send(n, n.args[4], n.args[5])
	case unix.SYS_SENDMSG, unix.SYS_SENDMMSG:
		if flags := n.args[2+b2i(nr == unix.SYS_SENDMMSG)]; flags&unix.MSG_FASTOPEN != 0 {
			return unix.EOPNOTSUPP, false
		}
		return s.sendmsg(n, n.args[1]) // of several messages the first tells; the others cannot reach farther
	case unix.SYS_KILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO, unix.SYS_TGKILL, unix.SYS_TKILL, unix.SYS_PIDFD_OPEN:
		return s.kill(n)
	case unix.SYS_PRLIMIT64:
		s.want(Want{WantSignal, "the limits of process 1"})
		return unix.EPERM, false
	case unix.SYS_SOCKET, unix.SYS_SOCKETPAIR:
		return s.socket(n)
	case unix.SYS_BIND:
		return s.bind(n)
	case unix.SYS_CLONE:
		s.want(Want{WantKernel, "clone with new namespaces"})
		return unix.EPERM, false
	case unix.SYS_SECCOMP:
		// fail closed: a listener of its own would answer before this one.
		if n.args[0] == unix.SECCOMP_SET_MODE_FILTER && n.args[1]&newListener != 0 {
			s.want(Want{WantKernel, "seccomp with a listener"})
			return unix.EPERM, false
		}
		return 0, true
	}
	if name, ok := refused[nr]; ok {
		s.want(Want{WantKernel, name})
		return unix.EPERM, false
	}
	if c, ok := pathCalls[nr]; ok {
		return s.paths(n, c)
	}
	// fail closed: the filter hands over nothing else.
	s.want(Want{WantKernel, "call " + strconv.Itoa(nr)})
	return unix.EPERM, false
}

// memory reads from the process that waits.
func (s *supervisor) memory(n *notif, at, size uint64) ([]byte, bool) {
	buf := make([]byte, size)
	local := []unix.Iovec{{Base: &buf[0], Len: size}}
	remote := []unix.RemoteIovec{{Base: uintptr(at), Len: int(size)}}
	got, err := unix.ProcessVMReadv(int(n.pid), local, remote, 0)
	if err != nil || got <= 0 {
		return nil, false
	}
	return buf[:got], s.alive(n)
}

// text reads a text that ends with NUL.
func (s *supervisor) text(n *notif, at uint64) (string, bool) {
	var out []byte
	for len(out) < unix.PathMax {
		// Up to the page's end: what lies behind may not be there.
		size := min(4096-at%4096, uint64(unix.PathMax-len(out)))
		b, ok := s.memory(n, at, size)
		if !ok {
			return "", false
		}
		if i := bytes.IndexByte(b, 0); i >= 0 {
			return string(append(out, b[:i]...)), true
		}
		out = append(out, b...)
		at += uint64(len(b))
	}
	return "", false
}

// kill notes signals to processes that are not inside.
func (s *supervisor) kill(n *notif) (unix.Errno, bool) {
	pid := int(int32(n.args[0]))
	if pid == 0 || pid == -1 {
		return 0, true
	}
	if pid == 1 {
		// fail closed: it is the process that answers here, and stands for the machine's first.
		if int(n.nr) != unix.SYS_KILL || n.args[1] != 0 {
			s.want(Want{WantSignal, "process 1"})
		}
		return unix.EPERM, false
	}
	if errors.Is(unix.Kill(pid, 0), unix.ESRCH) && (n.args[1] != 0 || int(n.nr) == unix.SYS_PIDFD_OPEN) {
		what := "process " + strconv.Itoa(pid)
		if pid < 0 {
			what = "process group " + strconv.Itoa(-pid)
		}
		s.want(Want{WantSignal, what})
	}
	return 0, true
}
