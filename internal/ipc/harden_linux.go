package ipc

import (
	"os"

	"golang.org/x/sys/unix"
)

// Nondumpable keeps other processes of the same user from attaching to this
// one, reading its memory through /proc, or taking its descriptors, unless
// they are privileged; it also turns core dumps off. Children are not affected:
// exec resets it.
func Nondumpable() error {
	return os.NewSyscallError("prctl PR_SET_DUMPABLE", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}
