package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropCache makes the kernel forget the clean pages that it keeps of a file, so
// that what is read next is what the disk has: after a failed write they may
// hold what never arrived there. It is an attempt; no error is worth reporting.
func dropCache(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	_ = f.Sync()
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
