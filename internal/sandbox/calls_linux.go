package sandbox

import "golang.org/x/sys/unix"

// frequent calls are allowed first, so that they cost the least.
var frequent = []int{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_FSTAT, unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_BRK,
	unix.SYS_LSEEK, unix.SYS_FUTEX, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK,
	unix.SYS_GETDENTS64, unix.SYS_EPOLL_PWAIT, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_MADVISE,
}

// refused calls end with EPERM and a want of their name: they lead out of a
// sandbox, or reach parts of the kernel that no command of a build needs.
var refused = map[int]string{
	unix.SYS_UNSHARE: "unshare", unix.SYS_SETNS: "setns", unix.SYS_MOUNT: "mount", unix.SYS_UMOUNT2: "umount",
	unix.SYS_PIVOT_ROOT: "pivot_root", unix.SYS_CHROOT: "chroot", unix.SYS_OPEN_TREE: "open_tree", unix.SYS_MOVE_MOUNT: "move_mount",
	unix.SYS_FSOPEN: "fsopen", unix.SYS_FSPICK: "fspick", unix.SYS_FSCONFIG: "fsconfig", unix.SYS_FSMOUNT: "fsmount",
	unix.SYS_MOUNT_SETATTR: "mount_setattr", unix.SYS_BPF: "bpf", unix.SYS_PERF_EVENT_OPEN: "perf_event_open",
	unix.SYS_USERFAULTFD: "userfaultfd", unix.SYS_IO_URING_SETUP: "io_uring_setup", unix.SYS_IO_URING_ENTER: "io_uring_enter",
	unix.SYS_IO_URING_REGISTER: "io_uring_register", unix.SYS_KEYCTL: "keyctl", unix.SYS_ADD_KEY: "add_key",
	unix.SYS_REQUEST_KEY: "request_key", unix.SYS_OPEN_BY_HANDLE_AT: "open_by_handle_at", unix.SYS_INIT_MODULE: "init_module",
	unix.SYS_FINIT_MODULE: "finit_module", unix.SYS_DELETE_MODULE: "delete_module", unix.SYS_KEXEC_LOAD: "kexec_load",
	unix.SYS_REBOOT: "reboot", unix.SYS_SWAPON: "swapon", unix.SYS_SWAPOFF: "swapoff", unix.SYS_ACCT: "acct",
	unix.SYS_SETTIMEOFDAY: "settimeofday", unix.SYS_CLOCK_SETTIME: "clock_settime", unix.SYS_ADJTIMEX: "adjtimex",
	unix.SYS_SETHOSTNAME: "sethostname", unix.SYS_SETDOMAINNAME: "setdomainname", unix.SYS_SYSLOG: "syslog",
	unix.SYS_QUOTACTL: "quotactl", unix.SYS_LOOKUP_DCOOKIE: "lookup_dcookie", unix.SYS_VHANGUP: "vhangup",
	unix.SYS_FANOTIFY_INIT: "fanotify_init", unix.SYS_PIDFD_GETFD: "pidfd_getfd",
	unix.SYS_SECCOMP: "", // see the supervisor: a filter of one's own is allowed, a listener is not
}

// watched calls are looked at by the supervisor, whatever their arguments.
var watched = map[int]string{
	unix.SYS_CONNECT: "connect", unix.SYS_SENDTO: "sendto", unix.SYS_SENDMSG: "sendmsg", unix.SYS_SENDMMSG: "sendmmsg",
	unix.SYS_KILL: "kill", unix.SYS_RT_SIGQUEUEINFO: "rt_sigqueueinfo", unix.SYS_RT_TGSIGQUEUEINFO: "rt_tgsigqueueinfo", unix.SYS_PIDFD_OPEN: "pidfd_open",
	unix.SYS_SOCKET: "socket", unix.SYS_SOCKETPAIR: "socketpair", unix.SYS_BIND: "bind",
}

// pathCall says how a call names a path: the arguments of the folder it is
// relative to (-1 for the working folder) and of the text.
type pathCall struct {
	dir, path   int  // path -1: the call names an open file, dir, and no path
	dir2, path2 int  // of a second path; path2 0 for none
	flags       int  // argument of the flags of open; 0 for none
	write       bool // it changes what the path names, or its folder
	rename      bool
	link        bool
	self        bool // it is about the link itself
	empty       int  // argument of flags that may say that the path is empty; 0 for none
	makes       bool // it makes a folder, and fails where there is something
	status      bool // it only asks for the status of what the path names
}

// pathCalls are those that exist on every architecture; see calls_*.go for the
// older ones.
var pathCalls = func() map[int]pathCall {
	m := map[int]pathCall{
		unix.SYS_OPENAT:     {dir: 0, path: 1, flags: 2},
		unix.SYS_OPENAT2:    {dir: 0, path: 1, write: true},
		unix.SYS_EXECVE:     {dir: -1, path: 0},
		unix.SYS_EXECVEAT:   {dir: 0, path: 1},
		unix.SYS_CHDIR:      {dir: -1, path: 0},
		unix.SYS_FACCESSAT:  {dir: 0, path: 1, status: true},
		unix.SYS_FACCESSAT2: {dir: 0, path: 1, status: true},
		unix.SYS_STATX:      {dir: 0, path: 1, empty: 2, self: true, status: true},
		unix.SYS_READLINKAT: {dir: 0, path: 1, self: true},
		unix.SYS_STATFS:     {dir: -1, path: 0},
		unix.SYS_MKDIRAT:    {dir: 0, path: 1, write: true, self: true, makes: true},
		unix.SYS_MKNODAT:    {dir: 0, path: 1, write: true, self: true},
		unix.SYS_UNLINKAT:   {dir: 0, path: 1, write: true, self: true},
		unix.SYS_SYMLINKAT:  {dir: 1, path: 2, write: true, self: true},
		unix.SYS_RENAMEAT2:  {dir: 0, path: 1, dir2: 2, path2: 3, write: true, rename: true, self: true},
		unix.SYS_LINKAT:     {dir: 0, path: 1, dir2: 2, path2: 3, write: true, link: true, self: true},
		unix.SYS_FCHMODAT:   {dir: 0, path: 1, write: true},
		unix.SYS_FCHOWNAT:   {dir: 0, path: 1, write: true},
		unix.SYS_TRUNCATE:   {dir: -1, path: 0, write: true},
		unix.SYS_UTIMENSAT:  {dir: 0, path: 1, write: true},
		unix.SYS_SETXATTR:   {dir: -1, path: 0, write: true},
		unix.SYS_LSETXATTR:  {dir: -1, path: 0, write: true, self: true},

		unix.SYS_REMOVEXATTR:   {dir: -1, path: 0, write: true},
		unix.SYS_LREMOVEXATTR:  {dir: -1, path: 0, write: true, self: true},
		unix.SYS_FCHMODAT2:     {dir: 0, path: 1, write: true},
		unix.SYS_SETXATTRAT:    {dir: 0, path: 1, write: true},
		unix.SYS_REMOVEXATTRAT: {dir: 0, path: 1, write: true},
		unix.SYS_FILE_SETATTR:  {dir: 0, path: 1, write: true},
		unix.SYS_FCHMOD:        {dir: 0, path: -1, write: true},
		unix.SYS_FCHOWN:        {dir: 0, path: -1, write: true},
		unix.SYS_FSETXATTR:     {dir: 0, path: -1, write: true},
		unix.SYS_FREMOVEXATTR:  {dir: 0, path: -1, write: true},
	}
	for n, c := range olderPathCalls {
		m[n] = c
	}
	return m
}()
