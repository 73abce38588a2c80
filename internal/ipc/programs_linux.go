package ipc

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// executableOf returns a path to the file that a process executes. It leads to
// that very file even if it was renamed, replaced or removed.
func executableOf(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/exe" }

func mtimeOf(st *unix.Stat_t) int64 { return st.Mtim.Nano() }
func ctimeOf(st *unix.Stat_t) int64 { return st.Ctim.Nano() }
