package upstream

import (
	"os"
	"strconv"
	"syscall"
)

// watchdog ends an upstream's group when the daemon dies without being able to
// (SIGKILL, a crash). Linux kills the child itself then (PR_SET_PDEATHSIG),
// but not what the child has started: launchers such as npx run the server as
// a grandchild. Most servers end when their standard input does; the watchdog
// is for those that do not, or hang.
//
// It is a shell that reads a pipe on which nothing ever comes. Its end is the
// daemon's end, and then the group is killed. It is in a session of its own
// with an empty environment. What remains is a process that leaves the group
// on purpose; and the watchdog itself can be killed by the same user.
type watchdog struct {
	proc *os.Process
	pipe *os.File
}

const (
	watchShell  = "/bin/sh"
	watchScript = `read -r _; kill -s KILL -- "-$1"`
)

// watch starts a watchdog for a group; nil where there is no shell for it.
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

// release ends the watchdog before the group's number may be given out again:
// it is killed before its pipe is closed, and has ended on return.
func (d *watchdog) release() {
	if d == nil {
		return
	}
	// Both fail only where it has ended already.
	_ = d.proc.Kill()
	_, _ = d.proc.Wait()
	d.pipe.Close()
}
