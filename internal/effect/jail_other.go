//go:build !linux

package effect

import "golang.org/x/sys/unix"

// searchFlags open a folder for walking through it.
const searchFlags = unix.O_RDONLY

// kernelFiles reports whether an open folder shows the kernel rather than
// files. No such file system is known here.
func kernelFiles(int) bool { return false }
