//go:build !linux

package effect

import "golang.org/x/sys/unix"

// searchFlags open a folder to walk through it.
const searchFlags = unix.O_RDONLY

// kernelFiles reports whether an open folder belongs to a kernel file system. None
// is known on this system.
func kernelFiles(int) bool { return false }
