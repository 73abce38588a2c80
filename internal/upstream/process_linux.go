package upstream

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
)

// childAttr puts the child into a session of its own: it leads its own group,
// and has no terminal on which it could ask, read keys, or approve.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit returns when the child has ended, without reaping it.
func awaitExit(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// onlyZombies reports whether all processes of a group have ended without
// being reaped. This can last for ever if the first process of a container
// does not reap.
func onlyZombies(group int) bool {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return false // fail closed
	}
	for _, d := range dirs {
		if _, err := strconv.Atoi(d.Name()); err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + d.Name() + "/stat")
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		// The format is "pid (name) state ppid pgrp …"; the name may hold any
		// bytes.
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if err != nil || len(f) < 3 {
			return false // fail closed
		}
		if string(f[2]) == strconv.Itoa(group) && !bytes.Contains([]byte("ZX"), f[0]) {
			return false
		}
	}
	return true
}

// procStat is part of what /proc reports about a process.
type procStat struct{ parent, group int }

// leftGroup returns the descendants of a group's leader that are not in the
// group.
func leftGroup(group int) []guard.UpstreamRef {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	all := map[int]procStat{}
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + d.Name() + "/stat")
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if err != nil || len(f) < 3 {
			continue // it has ended meanwhile
		}
		parent, _ := strconv.Atoi(string(f[1]))
		of, _ := strconv.Atoi(string(f[2]))
		all[pid] = procStat{parent, of}
	}
	var out []guard.UpstreamRef
	for pid, st := range all {
		if st.group == group {
			continue
		}
		at := pid
		for steps := 0; at > 1 && at != group && steps < len(all); steps++ {
			at = all[at].parent
		}
		if at == group {
			out = append(out, reference(pid))
		}
	}
	return out
}

// killLeft kills one process, but not another one that has its number by now.
func killLeft(r guard.UpstreamRef) {
	fd, err := unix.PidfdOpen(r.PID, 0)
	if err != nil {
		return // it has ended, or cannot be told from another process
	}
	defer unix.Close(fd)
	if start, err := ipc.StartTime(r.PID); err != nil || r.StartTime == 0 || start != r.StartTime {
		return
	}
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // if it has just ended, there is nothing to kill
}
