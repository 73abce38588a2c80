package sandbox

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attackArg makes the test's program one of the attackers: it runs inside.
const attackArg = "attack"

// escaped is printed by an attacker that got what it wanted.
const escaped = "ESCAPED"

func got(what string) { fmt.Println(escaped, what) }

// call reports a system call that should have failed.
func call(name string, number uintptr, args ...uintptr) {
	var a [6]uintptr
	copy(a[:], args)
	r, _, e := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	if e == 0 {
		got(fmt.Sprintf("%s returned %d", name, r))
		return
	}
	fmt.Println(name, e)
}

func text(s string) uintptr {
	b, _ := unix.BytePtrFromString(s)
	return uintptr(unsafe.Pointer(b))
}

func buffer(n int) uintptr { return uintptr(unsafe.Pointer(&make([]byte, n)[0])) }

// forbidden are system calls by the name of the attack; each has to fail, and to be
// a want.
var forbidden = map[string]func(){
	"unshare":          func() { call("unshare", unix.SYS_UNSHARE, unix.CLONE_NEWNS) },
	"unshare-user":     func() { call("unshare", unix.SYS_UNSHARE, unix.CLONE_NEWUSER) },
	"setns-of-init":    setnsOfInit,
	"clone-newuser":    func() { call("clone", unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD)) },
	"mount-tmpfs":      func() { call("mount", unix.SYS_MOUNT, text("x"), text("/dev/shm"), text("tmpfs")) },
	"remount-visible":  func() { call("mount", unix.SYS_MOUNT, 0, text(os.Getenv("VISIBLE")), 0, unix.MS_REMOUNT|unix.MS_BIND) },
	"bind-over-mask":   func() { call("mount", unix.SYS_MOUNT, text("/usr"), text(os.Getenv("MASK")), 0, unix.MS_BIND) },
	"umount-mask":      func() { call("umount", unix.SYS_UMOUNT2, text(os.Getenv("MASK")), unix.MNT_DETACH) },
	"umount-root":      func() { call("umount", unix.SYS_UMOUNT2, text("/"), unix.MNT_DETACH) },
	"umount-workspace": func() { call("umount", unix.SYS_UMOUNT2, text(os.Getenv("WS")), unix.MNT_DETACH) },
	"pivot-root":       func() { call("pivot_root", unix.SYS_PIVOT_ROOT, text("."), text(".")) },
	"chroot":           func() { call("chroot", unix.SYS_CHROOT, text("/usr")) },
	"open-tree":        func() { call("open_tree", unix.SYS_OPEN_TREE, atCWD, text(os.Getenv("WS")), 1) },
	"move-mount": func() {
		call("move_mount", unix.SYS_MOVE_MOUNT, atCWD, text(os.Getenv("MASK")), atCWD, text("/run"), 0)
	},
	"fsopen":            func() { call("fsopen", unix.SYS_FSOPEN, text("tmpfs"), 0) },
	"fspick":            func() { call("fspick", unix.SYS_FSPICK, atCWD, text(os.Getenv("VISIBLE")), 0) },
	"mount-setattr":     mountSetattr,
	"bpf":               func() { call("bpf", unix.SYS_BPF, 0, buffer(128), 128) },
	"perf":              func() { call("perf_event_open", unix.SYS_PERF_EVENT_OPEN, buffer(128), 0, 1<<64-1, 1<<64-1, 0) },
	"userfaultfd":       func() { call("userfaultfd", unix.SYS_USERFAULTFD, 1) },
	"io-uring":          func() { call("io_uring_setup", unix.SYS_IO_URING_SETUP, 8, buffer(256)) },
	"keyctl":            func() { call("keyctl", unix.SYS_KEYCTL, 0, 1<<64-3, 1) },
	"add-key":           func() { call("add_key", unix.SYS_ADD_KEY, text("user"), text("x"), buffer(4), 4, 1<<64-4) },
	"request-key":       func() { call("request_key", unix.SYS_REQUEST_KEY, text("user"), text("x"), 0, 1<<64-4) },
	"open-by-handle":    func() { call("open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, atCWD, handleOf("/usr"), 0) },
	"init-module":       func() { call("init_module", unix.SYS_INIT_MODULE, buffer(16), 16, text("")) },
	"kexec":             func() { call("kexec_load", unix.SYS_KEXEC_LOAD, 0, 0, 0, 0) },
	"reboot":            func() { call("reboot", unix.SYS_REBOOT, 0xfee1dead, 672274793, 0, 0) }, // CAD off: nothing ends if it goes through
	"swapon":            func() { call("swapon", unix.SYS_SWAPON, text("/dev/null"), 0) },
	"acct":              func() { call("acct", unix.SYS_ACCT, 0) },
	"set-time":          func() { call("settimeofday", unix.SYS_SETTIMEOFDAY, 0, buffer(8)) },
	"set-hostname":      func() { call("sethostname", unix.SYS_SETHOSTNAME, text("x"), 1) },
	"kernel-log":        func() { call("syslog", unix.SYS_SYSLOG, 10, 0, 0) },
	"fanotify":          func() { call("fanotify_init", unix.SYS_FANOTIFY_INIT, 0x200, 0) },
	"pidfd-getfd":       func() { call("pidfd_getfd", unix.SYS_PIDFD_GETFD, pidfd(os.Getppid()), 3, 0) },
	"own-listener":      ownListener,
	"another-abi":       func() { call("x32 getpid", unix.SYS_GETPID|0x40000000) },
	"packet-socket":     func() { call("socket", unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW, 0x300) },
	"raw-socket":        func() { call("socket", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) },
	"ping-socket":       func() { call("socket", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP) },
	"vsock":             func() { call("socket", unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM, 0) },
	"kernel-crypto":     func() { call("socket", unix.SYS_SOCKET, unix.AF_ALG, unix.SOCK_SEQPACKET, 0) },
	"netlink-audit":     func() { call("socket", unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT) },
	"netlink-events":    func() { call("socket", unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT) },
	"unix-datagrams":    func() { call("socket", unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_DGRAM, 0) },
	"unix-raw":          func() { call("socket", unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_RAW, 0) },
	"unix-pair-to-path": func() { call("socketpair", unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_DGRAM, 0, buffer(8)) },
	"kill-init":         func() { call("kill", unix.SYS_KILL, 1, uintptr(unix.SIGKILL)) },
	"thread-kill-init":  func() { call("tgkill", unix.SYS_TGKILL, 1, 1, uintptr(unix.SIGQUIT)) },
	"queue-to-init":     func() { call("rt_sigqueueinfo", unix.SYS_RT_SIGQUEUEINFO, 1, uintptr(unix.SIGTERM), buffer(128)) },
	"pidfd-of-init":     func() { call("pidfd_open", unix.SYS_PIDFD_OPEN, 1, 0) },
	"limits-of-init":    limitsOfInit,
	"kill-outside":      func() { call("kill", unix.SYS_KILL, hostPID(), uintptr(unix.SIGKILL)) },
	"pidfd-outside":     func() { call("pidfd_open", unix.SYS_PIDFD_OPEN, hostPID(), 0) },
	"fchmod-of-visible": func() {
		open(filepath.Join(os.Getenv("VISIBLE"), "pub"), func(fd uintptr) { call("fchmod", unix.SYS_FCHMOD, fd, 0o777) })
	},
	"fchmod-of-device": func() { open("/dev/full", func(fd uintptr) { call("fchmod", unix.SYS_FCHMOD, fd, 0o755) }) },
	"chmod-of-device":  func() { call("chmod", unix.SYS_FCHMODAT, atCWD, text("/dev/full"), 0o755) },
	"chmod2-of-visible": func() {
		call("fchmodat2", unix.SYS_FCHMODAT2, atCWD, text(filepath.Join(os.Getenv("VISIBLE"), "pub")), 0o777, 0)
	},
	"xattr-of-visible": func() {
		open(filepath.Join(os.Getenv("VISIBLE"), "pub"), func(fd uintptr) { call("fsetxattr", unix.SYS_FSETXATTR, fd, text("user.x"), buffer(1), 1, 0) })
	},
	"kernel-switches": func() { write("/proc/sys/vm/swappiness", "61") },
	"core-pattern":    func() { write("/proc/sys/kernel/core_pattern", "core") }, // what it may well be
	"sysrq":           func() { write("/proc/sysrq-trigger", "h") },              // prints a help text
	"write-in-etc":    func() { write("/etc/mcpguard-was-here", "x") },
	"write-visible":   func() { write(filepath.Join(os.Getenv("VISIBLE"), "pub"), "x") },
	"bind-outside":    bindOutside,
}

// attempts are attacks of several steps; what they must not reach is checked from
// outside. Whether they show a want is told where they are listed.
var attempts = map[string]func(){
	"clone3":            func() { call("clone3", unix.SYS_CLONE3, buffer(88), 88) },
	"ptrace-init":       func() { call("ptrace", unix.SYS_PTRACE, unix.PTRACE_SEIZE, 1, 0, 0) },
	"ptrace-attach":     func() { call("ptrace", unix.SYS_PTRACE, unix.PTRACE_ATTACH, 1, 0, 0) },
	"read-init-memory":  func() { initMemory(unix.SYS_PROCESS_VM_READV) },
	"write-init-memory": func() { initMemory(unix.SYS_PROCESS_VM_WRITEV) },
	"init-mem-file":     func() { reach("/proc/1/mem") },
	"init-root":         func() { reach("/proc/1/root/proc") },
	"init-cwd":          func() { reach("/proc/1/cwd") },
	"init-fds":          func() { reach("/proc/1/fd/4") },
	"init-environment":  func() { reach("/proc/1/environ") },
	"init-maps":         func() { reach("/proc/1/map_files") },
	"kernel-memory":     kernelMemory,
	"terminal-input":    terminalInput,
	"signal-by-owner":   signalByOwner,
	"connect-race":      connectRace,
	"path-race":         pathRace,
	"descriptors":       descriptors,
	"gain-rights":       gainRights,
	"device-node":       deviceNode,
	"forged-layer":      forgedLayer,
	"socket-by-fd":      socketByFD,
	"stale-folder":      staleFolder,
	"late-writer":       lateWriter,
}

var attackers = func() map[string]func() {
	all := map[string]func(){}
	for _, list := range []map[string]func(){forbidden, attempts} {
		for name, do := range list {
			all[name] = do
		}
	}
	return all
}()

const atCWD = ^uintptr(99) // AT_FDCWD

func hostPID() uintptr {
	pid, _ := strconv.Atoi(os.Getenv("HOSTPID"))
	return uintptr(pid)
}

func pidfd(pid int) uintptr {
	fd, _ := unix.PidfdOpen(pid, 0)
	return uintptr(fd)
}

func open(path string, do func(fd uintptr)) {
	f, err := os.Open(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	do(f.Fd())
}

func write(path, text string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		fmt.Println(err)
		return
	}
	got("wrote " + path)
}

// reach opens a path that should not be opened.
func reach(path string) {
	f, err := os.Open(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	var b [1]byte
	if n, err := f.Read(b[:]); n == 0 && err != nil {
		if _, err := f.Readdirnames(1); err != nil {
			fmt.Println(err)
			return
		}
	}
	got("read " + path)
}

func setnsOfInit() {
	fd, err := unix.Open("/proc/1/ns/mnt", unix.O_RDONLY, 0)
	if err != nil {
		fd = 0
	}
	call("setns", unix.SYS_SETNS, uintptr(fd), 0)
}

func mountSetattr() {
	attr := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}
	call("mount_setattr", unix.SYS_MOUNT_SETATTR, atCWD, text(os.Getenv("VISIBLE")), 0, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
}

func handleOf(path string) uintptr {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
	if err != nil {
		return buffer(128)
	}
	b := make([]byte, 8+h.Size())
	binary.NativeEndian.PutUint32(b, uint32(h.Size()))
	binary.NativeEndian.PutUint32(b[4:], uint32(h.Type()))
	copy(b[8:], h.Bytes())
	return uintptr(unsafe.Pointer(&b[0]))
}

func ownListener() {
	allow := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: retAllow}}
	prog := unix.SockFprog{Len: 1, Filter: &allow[0]}
	call("seccomp", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, newListener, uintptr(unsafe.Pointer(&prog)))
}

func limitsOfInit() {
	none := unix.Rlimit{Cur: 3, Max: 3}
	call("prlimit", unix.SYS_PRLIMIT64, 1, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&none)), 0)
}

func bindOutside() {
	l, err := net.Listen("unix", filepath.Join(os.Getenv("OUTSIDE"), "mine.sock"))
	if err != nil {
		fmt.Println(err)
		return
	}
	l.Close()
	got("a socket outside")
}

func initMemory(number uintptr) {
	var b [8]byte
	local := unix.Iovec{Base: &b[0], Len: 8}
	for _, at := range []uint64{0x400000, 0xc000000000} {
		remote := [2]uint64{at, 8}
		call("memory of init", number, 1, uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
	}
}

func kernelMemory() {
	for _, p := range []string{"/proc/kcore", "/proc/kmsg", "/proc/keys", "/proc/kpageflags", "/dev/mem", "/dev/kmsg", "/dev/port", "/dev/fuse", "/dev/sda", "/dev/vda", "/sys/kernel/debug/x"} {
		f, err := os.Open(p)
		if err != nil {
			continue
		}
		if n, _ := f.Read(make([]byte, 16)); n > 0 {
			got(p)
		}
		f.Close()
	}
}

func terminalInput() {
	for _, fd := range []uintptr{0, 1, 2} {
		call("TIOCSTI", unix.SYS_IOCTL, fd, unix.TIOCSTI, text("x"))
		call("TIOCSTI with high bits", unix.SYS_IOCTL, fd, unix.TIOCSTI|1<<32, text("x"))
		call("TIOCSCTTY", unix.SYS_IOCTL, fd, unix.TIOCSCTTY, 1)
	}
	if f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		f.Close()
		got("the terminal")
	}
}

// signalByOwner has the kernel send signals to the first process, as the owner of a
// descriptor on which something happens.
func signalByOwner() {
	for sig := uintptr(1); sig < 65; sig++ {
		var p [2]int
		if unix.Pipe2(p[:], unix.O_NONBLOCK) != nil {
			return
		}
		_, _, _ = unix.Syscall(unix.SYS_FCNTL, uintptr(p[0]), unix.F_SETOWN, 1)
		_, _, _ = unix.Syscall(unix.SYS_FCNTL, uintptr(p[0]), 10 /* F_SETSIG */, sig)
		_, _, _ = unix.Syscall(unix.SYS_FCNTL, uintptr(p[0]), unix.F_SETFL, unix.O_ASYNC|unix.O_NONBLOCK)
		_, _ = unix.Write(p[1], []byte("x"))
		unix.Close(p[0])
		unix.Close(p[1])
	}
	fmt.Println("alive")
}

// connectRace exchanges the address of a connect while it is looked at.
func connectRace() {
	host := os.Getenv("VISIBLE") + "/host.sock"
	abstract := append([]byte{1, 0, 0}, "mine"...)
	path := append([]byte{1, 0}, host...)
	buf := make([]byte, 110)
	var stop atomic.Bool
	go func() {
		runtime.LockOSThread()
		for !stop.Load() {
			copy(buf, path)
			copy(buf, abstract)
			runtime.Gosched()
		}
	}()
	for range 300 {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return
		}
		if _, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(path)+1)); e == 0 {
			got("a connection")
		}
		unix.Close(fd)
	}
	stop.Store(true)
}

// pathRace exchanges the name of a file while it is looked at.
func pathRace() {
	mine, closed := append([]byte("a.txt"), 0), append([]byte(os.Getenv("MASK")), 0)
	buf := make([]byte, 4096)
	copy(buf, mine)
	var stop atomic.Bool
	go func() {
		runtime.LockOSThread()
		for !stop.Load() {
			copy(buf, closed)
			copy(buf, mine)
		}
	}()
	for range 300 {
		fd, _, e := unix.Syscall6(unix.SYS_OPENAT, atCWD, uintptr(unsafe.Pointer(&buf[0])), unix.O_RDONLY, 0, 0, 0)
		if e != 0 {
			continue
		}
		out := make([]byte, 100)
		n, _ := unix.Read(int(fd), out)
		if strings.Contains(string(out[:max(n, 0)]), secretWord) {
			got("a closed file")
		}
		unix.Close(int(fd))
	}
	stop.Store(true)
}

// descriptors looks for open files beyond the three that a command has, and forges
// reports into them.
func descriptors() {
	for fd := 3; fd < 256; fd++ {
		at, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil || strings.HasPrefix(at, "anon_inode:[event") {
			continue // of the Go runtime
		}
		if n, err := unix.Write(fd, []byte(`{"Done":{"Exit":0}}`+"\n")); err == nil && n > 0 && !strings.HasPrefix(at, "pipe:") {
			got("a descriptor: " + at)
		}
	}
	fmt.Println(`{"Done":{"Exit":7},"Change":null}`)
	fmt.Fprintln(os.Stderr, `{"Done":{"Exit":7}}`)
	if f, err := os.OpenFile("/proc/1/fd/4", os.O_WRONLY, 0); err == nil {
		fmt.Fprintln(f, `{"Done":{"Exit":7}}`)
		got("the reports")
	}
}

// gainRights tries each way to more rights.
func gainRights() {
	call("capset", unix.SYS_CAPSET, uintptr(unsafe.Pointer(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3})), uintptr(unsafe.Pointer(&[2]unix.CapUserData{{Effective: 1 << unix.CAP_SYS_ADMIN, Permitted: 1 << unix.CAP_SYS_ADMIN}})))
	call("ambient", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_SYS_ADMIN)
	call("new privileges", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)
	call("setgroups", unix.SYS_SETGROUPS, 0, 0)
	call("setuid", unix.SYS_SETRESUID, 12345, 12345, 12345)
	if os.WriteFile("/proc/self/uid_map", []byte("0 0 1"), 0) == nil {
		got("a map of users")
	}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if name, value, _ := strings.Cut(line, ":"); strings.HasPrefix(name, "Cap") && strings.Trim(strings.TrimSpace(value), "0") != "" {
			got(strings.TrimSpace(line))
		}
	}
}

func deviceNode() {
	for name, at := range map[string]string{"workspace": "node", "memory": "/dev/shm/node", "run": "/run/node"} {
		if unix.Mknod(at, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 8))) == nil {
			got("a device in " + name)
		}
		if unix.Mknod(at+"b", unix.S_IFBLK|0o666, int(unix.Mkdev(254, 0))) == nil {
			got("a disk in " + name)
		}
	}
}

// forgedLayer makes what an overlay takes for a deletion, or for the end of what
// shines through.
func forgedLayer() {
	for _, name := range []string{"user.overlay.opaque", "user.overlay.whiteout", "user.overlay.redirect", "user.overlay.metacopy", "trusted.overlay.opaque"} {
		if err := unix.Setxattr("sub", name, []byte("y"), 0); err == nil {
			fmt.Println("set", name)
		}
	}
	_ = unix.Unlink("a.txt")
	fmt.Println(unix.Mknod("a.txt", unix.S_IFCHR, 0))
	fmt.Println(unix.Mknod("sub/w", unix.S_IFCHR, 0))
}

// socketByFD names a socket of the machine's through a descriptor.
func socketByFD() {
	fd, err := unix.Open(os.Getenv("VISIBLE")+"/host.sock", unix.O_PATH, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, at := range []string{"/proc/self/fd/%d", "/proc/thread-self/fd/%d", "/dev/fd/%d", "/proc/self/task/../fd/%d"} {
		c, err := net.Dial("unix", fmt.Sprintf(at, fd))
		if err == nil {
			c.Close()
			got("a socket by its descriptor")
		}
	}
}

// staleFolder keeps folders open and goes up from them after they were removed or
// moved.
func staleFolder() {
	_ = os.MkdirAll("deep/er", 0o755)
	fd, err := unix.Open("deep/er", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return
	}
	_ = os.Rename("deep/er", "moved")
	_ = os.RemoveAll("moved")
	for _, up := range []string{"..", "../..", "../../outside/secret", "../../../../../../../../etc/shadow"} {
		if f, err := unix.Openat(fd, up, unix.O_RDONLY, 0); err == nil {
			out := make([]byte, 100)
			n, _ := unix.Read(f, out)
			if n > 0 && strings.Trim(string(out[:n]), "\x00") != "" { // a mask is of the size of what it stands for
				got(up)
			}
		}
	}
}

// lateWriter goes on after its parent has ended, deaf to all that can be ignored.
func lateWriter() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	_, _ = unix.Setsid()
	for i := 0; ; i++ {
		_ = os.WriteFile("late", []byte(strconv.Itoa(i)), 0o644)
		runtime.Gosched()
	}
}
