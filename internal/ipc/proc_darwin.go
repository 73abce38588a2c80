package ipc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls and sizes of proc_info(2), from sys/proc_info.h.
const (
	procInfoPID        = 2    // PROC_INFO_CALL_PIDINFO
	procPIDVnodePath   = 9    // PROC_PIDVNODEPATHINFO
	procPIDPath        = 11   // PROC_PIDPATHINFO
	maxPath            = 1024 // MAXPATHLEN
	vnodePathInfoBytes = 2 * (vnodeInfoBytes + maxPath)
	vnodeInfoBytes     = 152 // struct vnode_info, before the path of the folder
)

// Inspect returns what the kernel says about a process. The error wraps
// ErrGone when there is none.
func Inspect(pid int) (Proc, error) {
	p, err := inspectOnce(pid)
	if err != nil {
		return Proc{}, err
	}
	// A pid that was reused in between would have mixed two processes.
	if again, err := readStat(pid); err != nil || again.StartTime != p.StartTime {
		return Proc{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	return p, nil
}

// inspectOnce is Inspect for callers that look again by themselves.
func inspectOnce(pid int) (Proc, error) {
	p, err := readStat(pid)
	if err != nil {
		return Proc{}, err
	}
	// What follows is for people: where it cannot be read it stays empty.
	p.Executable = cString(procInfo(pid, procPIDPath, 4*maxPath))
	if info := procInfo(pid, procPIDVnodePath, vnodePathInfoBytes); len(info) >= vnodeInfoBytes+maxPath {
		p.Cwd = cString(info[vnodeInfoBytes : vnodeInfoBytes+maxPath])
	}
	p.Cmdline = commandLine(pid)
	return p, nil
}

// StartTime returns when a process started, in microseconds since 1970. The
// error wraps ErrGone when there is no such process.
func StartTime(pid int) (uint64, error) {
	p, err := readStat(pid)
	return p.StartTime, err
}

// statusStopped is SSTOP of sys/proc.h.
const statusStopped = 4

func readStat(pid int) (Proc, error) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(k.Proc.P_pid) != pid {
		// The call answers with nothing where there is no process.
		return Proc{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	p := Proc{
		PID:       pid,
		PPID:      int(k.Eproc.Ppid),
		UID:       int(k.Eproc.Ucred.Uid),
		StartTime: uint64(k.Proc.P_starttime.Sec)*1e6 + uint64(k.Proc.P_starttime.Usec),
		TTY:       ttyName(k.Eproc.Tdev),
		Stopped:   k.Proc.P_stat == statusStopped,
	}
	if p.Session, err = unix.Getsid(pid); err != nil {
		p.Session = 0 // unknown: counts as a session whose leader is away
	}
	return p, nil
}

// ttyName names a terminal by its device number; -1 is none (NODEV).
func ttyName(dev int32) string {
	if dev == -1 {
		return ""
	}
	major, minor := uint32(dev)>>24, uint32(dev)&0xffffff
	if major == 16 { // pseudo terminals
		return fmt.Sprintf("ttys%03d", minor)
	}
	return fmt.Sprintf("tty(%d,%d)", major, minor)
}

func procInfo(pid, flavor, size int) []byte {
	buf := make([]byte, size)
	n, _, errno := unix.Syscall6(unix.SYS_PROC_INFO, procInfoPID, uintptr(pid), uintptr(flavor), 0,
		uintptr(unsafe.Pointer(&buf[0])), uintptr(size))
	if errno != 0 || int(n) <= 0 || int(n) > size {
		return nil
	}
	if flavor == procPIDPath {
		return buf // the path ends with a zero byte; n may or may not count it
	}
	return buf[:n]
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// commandLine reads kern.procargs2: the number of arguments, the path, zero
// bytes, then the arguments.
func commandLine(pid int) []string {
	b, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil || len(b) < 4 {
		return nil
	}
	argc := int(binary.LittleEndian.Uint32(b))
	rest := b[4:]
	i := bytes.IndexByte(rest, 0)
	if i < 0 || argc <= 0 {
		return nil
	}
	args := strings.Split(strings.TrimLeft(string(rest[i:]), "\x00"), "\x00")
	return args[:min(argc, len(args))]
}

// Environ returns the environment that a process was started with; nil, since
// this system does not show it.
func Environ(int) map[string]string { return nil }
