package ipc

import "golang.org/x/sys/unix"

// executableOf returns the path of the file that a process was started from;
// "" if unknown. Another file may be there by now; then that one is examined.
func executableOf(pid int) string {
	p, err := Inspect(pid)
	if err != nil {
		return ""
	}
	return p.Executable
}

func mtimeOf(st *unix.Stat_t) int64 { return st.Mtim.Nano() }
func ctimeOf(st *unix.Stat_t) int64 { return st.Ctim.Nano() }
