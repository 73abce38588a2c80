package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
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

// paths looks at what a call names. The call itself goes on: what is closed is
// not there for it, whatever it exchanges meanwhile.
func (s *supervisor) paths(n *notif, c pathCall) (unix.Errno, bool) {
	write := c.write
	if c.path < 0 {
		return s.openFile(n, c)
	}
	if c.flags > 0 {
		write = n.args[c.flags]&writeFlags != 0
	}
	if int(n.nr) == unix.SYS_OPENAT2 {
		how, ok := s.memory(n, n.args[2], 8)
		write = !ok || binary.NativeEndian.Uint64(how)&writeFlags != 0
	}
	first := s.path(n, c.dir, c.path, c, write)
	if c.path2 > 0 {
		s.path(n, c.dir2, c.path2, pathCall{self: true}, write)
	}
	if first != "" {
		s.overlayLimits(first, c, write)
	}
	return 0, true
}

// path notes a path that is closed, or is to be changed where nothing may be,
// and returns where it is, "" if that is not known.
func (s *supervisor) path(n *notif, dirArg, pathArg int, c pathCall, write bool) string {
	name, ok := s.text(n, n.args[pathArg])
	if !ok || !write && s.known[name] {
		return ""
	}
	dir := -1
	if dirArg >= 0 {
		if fd := int(int32(n.args[dirArg])); fd != unix.AT_FDCWD {
			dir = fd
		}
	}
	at, ok := s.locate(n, dir, name, c.self)
	if !ok {
		return ""
	}
	if !write && len(s.known) < maxKnown && ofSystem(name) && !s.places.isClosed(at) {
		s.known[name] = true
	}
	switch {
	case s.places.quiet(at):
	case c.status && s.places.isMask(at): // from outside it looks like what it stands for
	case s.places.isClosed(at):
		if write {
			s.want(Want{WantWrite, at})
		} else if s.wasThere(at) {
			s.want(Want{WantPath, at})
		}
	case write && (!s.places.writable(at) || isDevice(at) && c.flags == 0):
		s.want(Want{WantWrite, at})
	}
	return at
}

// isDevice reports whether a path is a device of the machine: written to it may be,
// changed it may not.
func isDevice(at string) bool {
	name, ok := strings.CutPrefix(at, "/dev/")
	return ok && slices.Contains(devices, name)
}

// openFile notes a change of what an open file is.
func (s *supervisor) openFile(n *notif, c pathCall) (unix.Errno, bool) {
	at, ok := s.locate(n, int(int32(n.args[c.dir])), "", false)
	if !ok || strings.HasPrefix(at, "/memfd:") || strings.HasSuffix(at, " (deleted)") {
		return 0, true // a pipe, or something that has no name
	}
	if !s.places.writable(at) || isDevice(at) {
		s.want(Want{WantWrite, at})
	}
	s.overlayLimits(at, c, true)
	return 0, true
}

// systemFolders hold what belongs to the machine's programs; they are looked at
// most often, and stay as they are while the command runs.
var systemFolders = []string{"/usr/", "/lib/", "/lib64/", "/bin/", "/sbin/", "/etc/"}

func ofSystem(name string) bool {
	return slices.ContainsFunc(systemFolders, func(f string) bool { return strings.HasPrefix(name, f) })
}

// maxKnown bounds the names that are remembered.
const maxKnown = 20_000

// overlayLimits notes what a real folder would allow and an overlay does not.
func (s *supervisor) overlayLimits(at string, c pathCall, write bool) {
	tree, ok := s.places.treeOf(at)
	if !ok || at == tree || slices.Contains(s.copies, tree) {
		return
	}
	var st unix.Stat_t
	if !write || unix.Lstat(at, &st) != nil {
		return // new, so it lies in the upper layer alone
	}
	switch {
	case c.rename && st.Mode&unix.S_IFMT == unix.S_IFDIR:
		s.retry("a folder that was there is renamed: " + at)
	case c.link:
		s.retry("a file that was there gets another name: " + at)
	case st.Nlink > 1 && st.Mode&unix.S_IFMT == unix.S_IFREG:
		s.retry("a file with several names is changed: " + at)
	case st.Uid != s.uid || st.Gid != s.gid:
		s.retry("a file of another user or group is changed: " + at)
	}
}

// locate returns where a name leads in the command's view, with the links on
// the way followed (and the last one, unless self), as far as it exists.
func (s *supervisor) locate(n *notif, dirFD int, name string, self bool) (string, bool) {
	proc := "/proc/" + strconv.Itoa(int(n.pid))
	if !path.IsAbs(name) {
		link := proc + "/cwd"
		if dirFD >= 0 {
			link = proc + "/fd/" + strconv.Itoa(dirFD)
		}
		base, err := os.Readlink(link)
		if err != nil || !path.IsAbs(base) {
			return "", false
		}
		// The link is told as this process would reach it, or, of another mount
		// namespace, from that one's root.
		if rest, ok := strings.CutPrefix(base, s.root); ok && (rest == "" || rest[0] == '/') {
			base = "/" + strings.TrimPrefix(rest, "/")
		}
		name = base + "/" + name
	}
	if at, ok := s.quick(name, self); ok {
		return at, true
	}
	return s.walk(n, name, self)
}

// quick asks the kernel, which knows for whatever exists.
func (s *supervisor) quick(name string, self bool) (string, bool) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	if self {
		how.Flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Openat2(s.rootFD, name, &how)
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	at, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "", false
	}
	rest, ok := strings.CutPrefix(at, s.root)
	if !ok {
		return "", false
	}
	return path.Clean("/" + rest), true
}

// walk follows a name step by step; what does not exist is taken by its name.
func (s *supervisor) walk(n *notif, name string, self bool) (string, bool) {
	at, left := "/", strings.Split(name, "/")
	for links := 0; len(left) > 0; {
		step := left[0]
		left = left[1:]
		switch step {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, step)
		if self && len(left) == 0 {
			return next, true
		}
		target, err := s.readlink(n, next)
		if err != nil {
			at = next
			continue
		}
		if links++; links > 40 {
			return "", false
		}
		if path.IsAbs(target) {
			at = "/"
		}
		left = append(strings.Split(target, "/"), left...)
	}
	return at, true
}

// readlink reads a link as the caller would: the links of /proc to a process's own
// files lead where that process has them.
func (s *supervisor) readlink(n *notif, at string) (string, error) {
	switch at {
	case "/proc/self":
		return strconv.Itoa(tgidOf(int(n.pid))), nil
	case "/proc/thread-self":
		return fmt.Sprintf("%d/task/%d", tgidOf(int(n.pid)), n.pid), nil
	}
	target, err := os.Readlink(filepath.Join(s.root, at))
	if err != nil || !within(at, "/proc") {
		return target, err
	}
	switch rest, ok := strings.CutPrefix(target, s.root); {
	case ok && (rest == "" || rest[0] == '/'):
		return "/" + strings.TrimPrefix(rest, "/"), nil
	case strings.Contains(target, ":["): // a pipe or a socket has no path
		return "", unix.EINVAL
	}
	return target, nil
}
