package shim

import (
	"syscall"
	"testing"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// describe notes nothing here: the descriptors of a process are not files.
func describe(ipc.Paths) {}

// endProcess ends a process that is not a child.
func endProcess(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}
