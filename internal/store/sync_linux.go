package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes the content of a file durable whose size and place on the disk
// do not change.
func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
