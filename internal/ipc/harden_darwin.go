package ipc

import (
	"os"

	"golang.org/x/sys/unix"
)

// Nondumpable keeps debuggers from attaching to this process. A process that
// is signed to debug others may still read its memory.
func Nondumpable() error {
	return os.NewSyscallError("ptrace PT_DENY_ATTACH", unix.PtraceDenyAttach())
}
