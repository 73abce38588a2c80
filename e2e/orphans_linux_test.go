package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// adoptOrphans makes this process the parent of every process below it whose
// own parent has ended, so that none can be left behind unseen.
func adoptOrphans() error {
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// process is one line of /proc.
type process struct {
	pid, ppid int
	state     string
	command   string
}

func (p process) String() string { return fmt.Sprintf("%d (child of %d) %s", p.pid, p.ppid, p.command) }

// processes lists what runs now, by process id.
func processes() map[int]process {
	all := map[int]process{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return all
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has just ended
		}
		s := string(stat)
		after := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
		ppid, _ := strconv.Atoi(after[1])
		cmdline, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		all[pid] = process{pid, ppid, after[0], strings.ReplaceAll(strings.TrimRight(string(cmdline), "\x00"), "\x00", " ")}
	}
	return all
}

// below returns the running processes that descend from pid.
func below(pid int) []process {
	all := processes()
	var out []process
	for _, p := range all {
		for up := p; ; {
			parent, ok := all[up.ppid]
			if up.ppid == pid {
				if p.state != "Z" {
					out = append(out, p)
				}
				break
			}
			if !ok || parent.pid <= 1 {
				break
			}
			up = parent
		}
	}
	return out
}

// orphans returns the processes that the tests have left behind: those below
// this one that do not end by themselves within seconds. It reaps the others.
func orphans() []process {
	deadline := time.Now().Add(15 * time.Second)
	for {
		for {
			if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != nil || pid <= 0 {
				break
			}
		}
		left := below(os.Getpid())
		if len(left) == 0 || !gone(left[0].pid, time.Until(deadline)) {
			return left
		}
	}
}

// gone waits until a process has ended.
func gone(pid int, limit time.Duration) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err == unix.ESRCH
	}
	defer unix.Close(fd)
	deadline := time.Now().Add(limit)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, max(0, int(time.Until(deadline).Milliseconds())))
		if err != unix.EINTR {
			return err == nil && n > 0
		}
	}
}
