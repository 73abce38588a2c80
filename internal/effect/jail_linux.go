package effect

import (
	"errors"

	"golang.org/x/sys/unix"
)

// searchFlags open a folder to walk through it, without permission to list it.
const searchFlags = unix.O_PATH

// kernelFiles reports whether an open folder belongs to a kernel file system. There
// a link's text does not say where it leads, and reads and writes have side
// effects.
func kernelFiles(fd int) bool {
	var fs unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fd, &fs) }); err != nil {
		return !errors.Is(err, unix.ENOSYS)
	}
	switch int64(fs.Type) {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC,
		unix.SECURITYFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC,
		unix.BPF_FS_MAGIC, unix.DEVPTS_SUPER_MAGIC, unix.PSTOREFS_MAGIC, unix.EFIVARFS_MAGIC:
		return true
	}
	return false
}
