package ipc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const maxRead = 64 << 10 // bytes of a file of /proc

// Inspect returns what /proc says about a process. The error wraps ErrGone
// when there is none, or none that this user may see.
func Inspect(pid int) (Proc, error) {
	p, err := inspectOnce(pid)
	if err != nil {
		return Proc{}, err
	}
	// If the pid was reused in between, p would mix two processes.
	if again, err := readStat(pid); err != nil || again.StartTime != p.StartTime {
		return Proc{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	return p, nil
}

// inspectOnce is Inspect for callers that look again by themselves.
func inspectOnce(pid int) (Proc, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	p, err := readStat(pid)
	if err != nil {
		return Proc{}, err
	}
	if p.UID, err = effectiveUID(dir + "/status"); err != nil {
		return Proc{}, err
	}
	// What follows is for people: where it cannot be read it stays empty.
	p.Executable, _ = os.Readlink(dir + "/exe")
	p.Cwd, _ = os.Readlink(dir + "/cwd")
	p.Cmdline = readCmdline(dir + "/cmdline")
	return p, nil
}

// StartTime returns when a process started, in ticks since boot. The error
// wraps ErrGone when there is no such process.
func StartTime(pid int) (uint64, error) {
	p, err := readStat(pid)
	return p.StartTime, err
}

func readStat(pid int) (Proc, error) {
	b, err := readProc("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return Proc{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	if err != nil {
		return Proc{}, err
	}
	p, err := parseStat(b)
	if err != nil {
		return Proc{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return p, nil
}

// parseStat reads /proc/PID/stat (proc(5)). The second field is the name that
// the process gave itself, in parentheses; it may hold spaces, parentheses and
// newlines, so that only what follows the last parenthesis counts.
func parseStat(b []byte) (Proc, error) {
	bad := fmt.Errorf("unreadable process status %.60q", b)
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return Proc{}, bad
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:open])))
	if err != nil {
		return Proc{}, bad
	}
	fields := strings.Fields(string(b[end+1:]))
	if len(fields) < 20 {
		return Proc{}, bad
	}
	p := Proc{PID: pid, Stopped: fields[0] == "T" || fields[0] == "t"} // the third field of the manual, state
	if p.PPID, err = strconv.Atoi(fields[1]); err != nil {
		return Proc{}, bad
	}
	if p.Session, err = strconv.Atoi(fields[3]); err != nil {
		return Proc{}, bad
	}
	tty, err := strconv.Atoi(fields[4])
	if err != nil {
		return Proc{}, bad
	}
	p.TTY = ttyName(uint32(int32(tty)))
	if p.StartTime, err = strconv.ParseUint(fields[19], 10, 64); err != nil {
		return Proc{}, bad
	}
	return p, nil
}

// ttyName names a terminal by its device number (proc(5), admin-guide/devices).
func ttyName(dev uint32) string {
	major, minor := dev>>8&0xfff, dev&0xff|dev>>12&0xfff00
	switch {
	case dev == 0:
		return ""
	case major >= 136 && major <= 143:
		return fmt.Sprintf("pts/%d", minor+(major-136)<<20)
	case major == 4 && minor < 64:
		return fmt.Sprintf("tty%d", minor)
	case major == 4:
		return fmt.Sprintf("ttyS%d", minor-64)
	}
	return fmt.Sprintf("tty(%d,%d)", major, minor)
}

// effectiveUID reads the second number of the Uid line of /proc/PID/status.
// The owner of the folder would not do: it is root for processes that are not
// dumpable.
func effectiveUID(path string) (int, error) {
	b, err := readProc(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, fmt.Errorf("%s: %w", path, ErrGone)
	}
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("Uid:")); ok {
			if f := bytes.Fields(rest); len(f) >= 2 {
				return strconv.Atoi(string(f[1]))
			}
		}
	}
	return 0, fmt.Errorf("%s has no user id", path)
}

func readCmdline(path string) []string {
	b, err := readProc(path)
	if err != nil || len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}

// readProc reads a file of /proc, cut to maxRead bytes. The size of these
// files is not known in advance, and small reads cost a system call each; this
// delays the first byte of each session.
func readProc(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n := 0
	for {
		got, err := unix.Read(fd, buf[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		n += got
		if got == 0 || n == maxRead {
			return buf[:n], nil
		}
		if n == len(buf) {
			buf = append(buf, make([]byte, min(len(buf), maxRead-len(buf)))...)
		}
	}
}

// Environ returns the environment that a process was started with, as far as
// the system shows it; nil if it does not. It may contain secrets: look up
// single names, and keep nothing else.
func Environ(pid int) map[string]string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for line := range strings.SplitSeq(string(b), "\x00") {
		if name, value, ok := strings.Cut(line, "="); ok {
			out[name] = value
		}
	}
	return out
}
