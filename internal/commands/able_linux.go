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
