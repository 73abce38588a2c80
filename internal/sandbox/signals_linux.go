package sandbox

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Dispositions of a signal.
const (
	sigDefault = 0
	sigIgnore  = 1
)

// kernelAction mirrors the kernel's struct sigaction.
type kernelAction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// ignoreSignals makes this process deaf. As the first one of its namespace it gets
// from inside only what it has a handler for; the Go runtime has one for each, and
// ends the process by most.
func ignoreSignals() error { return setSignals(sigIgnore) }

// setSignals sets the disposition of all signals but those that the Go runtime
// needs to go on: SIGCHLD, and SIGURG by which it interrupts its own threads.
func setSignals(to uintptr) error {
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		switch sig {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGCHLD, unix.SIGURG:
			continue
		}
		act := kernelAction{handler: to}
		if _, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&act)), 0, unsafe.Sizeof(act.mask), 0, 0); e != 0 {
			return e
		}
	}
	return nil
}
