package sandbox

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

var olderPathCalls = map[int]pathCall{
	unix.SYS_OPEN:       {dir: -1, path: 0, flags: 1},
	unix.SYS_CREAT:      {dir: -1, path: 0, write: true},
	unix.SYS_STAT:       {dir: -1, path: 0, status: true},
	unix.SYS_LSTAT:      {dir: -1, path: 0, self: true, status: true},
	unix.SYS_NEWFSTATAT: {dir: 0, path: 1, empty: 3, self: true, status: true},
	unix.SYS_ACCESS:     {dir: -1, path: 0, status: true},
	unix.SYS_READLINK:   {dir: -1, path: 0, self: true},
	unix.SYS_MKDIR:      {dir: -1, path: 0, write: true, self: true, makes: true},
	unix.SYS_RMDIR:      {dir: -1, path: 0, write: true, self: true},
	unix.SYS_MKNOD:      {dir: -1, path: 0, write: true, self: true},
	unix.SYS_UNLINK:     {dir: -1, path: 0, write: true, self: true},
	unix.SYS_SYMLINK:    {dir: -1, path: 1, write: true, self: true},
	unix.SYS_RENAME:     {dir: -1, path: 0, dir2: -1, path2: 1, write: true, rename: true, self: true},
	unix.SYS_RENAMEAT:   {dir: 0, path: 1, dir2: 2, path2: 3, write: true, rename: true, self: true},
	unix.SYS_LINK:       {dir: -1, path: 0, dir2: -1, path2: 1, write: true, link: true, self: true},
	unix.SYS_CHMOD:      {dir: -1, path: 0, write: true},
	unix.SYS_CHOWN:      {dir: -1, path: 0, write: true},
	unix.SYS_LCHOWN:     {dir: -1, path: 0, write: true, self: true},
	unix.SYS_UTIME:      {dir: -1, path: 0, write: true},
	unix.SYS_UTIMES:     {dir: -1, path: 0, write: true},
	unix.SYS_FUTIMESAT:  {dir: 0, path: 1, write: true},
}
