package sandbox

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

var olderPathCalls = map[int]pathCall{
	unix.SYS_NEWFSTATAT: {dir: 0, path: 1, empty: 3, self: true, status: true},
	unix.SYS_RENAMEAT:   {dir: 0, path: 1, dir2: 2, path2: 3, write: true, rename: true, self: true},
}
