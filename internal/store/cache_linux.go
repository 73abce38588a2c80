package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropCache makes the kernel drop its clean cached pages of a file, so that
// later reads come from the disk: after a failed write the cache may hold data
// that never reached it. This is best effort; errors are ignored.
func dropCache(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	_ = f.Sync()
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
