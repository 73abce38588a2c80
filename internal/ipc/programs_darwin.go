package ipc

import "golang.org/x/sys/unix"

// executableOf names the file that a process was started from; "" where the
// system does not tell. Another file may stand there by now, which is then
// what is looked at.
func executableOf(pid int) string {
	p, err := Inspect(pid)
	if err != nil {
		return ""
	}
	return p.Executable
}

func mtimeOf(st *unix.Stat_t) int64 { return st.Mtim.Nano() }
func ctimeOf(st *unix.Stat_t) int64 { return st.Ctim.Nano() }
