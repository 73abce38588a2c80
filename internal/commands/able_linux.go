package commands

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// onOverlay reports whether a folder, or the first one above it that exists, lies
// on an overlay.
func onOverlay(path string) bool {
	var st unix.Statfs_t
	for unix.Statfs(path, &st) != nil {
		if path == "/" || path == "." {
			return false
		}
		path = filepath.Dir(path)
	}
	return st.Type == unix.OVERLAYFS_SUPER_MAGIC
}

// openFUSE says why the device of FUSE cannot be opened.
func openFUSE() error {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// isLocal reports whether a folder lies on a file system of this machine's own, as
// far as they are known: over a network, times are those of a while ago.
func isLocal(path string) bool {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return false
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC,
		0x2fc12fc1 /* ZFS */, 0xca451a4e /* bcachefs */ :
		return true
	}
	return false
}
