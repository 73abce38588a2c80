package upstream

import (
	"os"
	"strconv"
	"syscall"
)

// watchdog ends an upstream's group if the daemon dies without doing so
// (SIGKILL, a crash). Linux then kills the child itself (PR_SET_PDEATHSIG),
// but not the child's own children: launchers such as npx run the server as a
// grandchild. Most servers end with their standard input; the watchdog is for
// those that do not, or hang.
//
// It is a shell that reads a pipe to which nothing is written. The pipe ends
// with the daemon, and then the shell kills the group. It runs in a session of
// its own with an empty environment. It does not reach a process that leaves
// the group on purpose, and the same user can kill the watchdog itself.
type watchdog struct {
	proc *os.Process
	pipe *os.File
}

const (
	watchShell  = "/bin/sh"
	watchScript = `read -r _; kill -s KILL -- "-$1"`
)

// watch starts a watchdog for a group. It returns nil if there is no shell for
// it.
func watch(group int) *watchdog {
	r, w, err := os.Pipe()
	if err != nil {
		return nil
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		w.Close()
		return nil
	}
	defer null.Close()
	proc, err := os.StartProcess(watchShell, []string{"mcpguard-watchdog", "-c", watchScript, "mcpguard-watchdog", strconv.Itoa(group)}, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{},
		Files: []*os.File{r, null, null},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		w.Close()
		return nil
	}
	return &watchdog{proc: proc, pipe: w}
}

// release ends the watchdog before the group's number may be reused: it is
// killed before its pipe is closed, and has ended on return.
func (d *watchdog) release() {
	if d == nil {
		return
	}
	// Both fail only if it has already ended.
	_ = d.proc.Kill()
	_, _ = d.proc.Wait()
	d.pipe.Close()
}
