package ipc

import (
	"errors"
	"fmt"
	"os"
)

// Proc is a process as the kernel describes it. A process can choose its
// command line and folder; it cannot forge the other fields.
type Proc struct {
	PID       int
	PPID      int    // 0 where the parent is outside the namespace
	Session   int    // process id of the session's leader
	StartTime uint64 // in the kernel's own unit: ticks since boot, on darwin µs since 1970
	UID       int    // effective
	Stopped   bool   // by a signal or a debugger, until continued
	// Executable and Cwd are empty where the system does not tell.
	Executable string
	Cwd        string
	TTY        string // the controlling terminal such as "pts/3"; empty for none
	Cmdline    []string
}

// Ref returns the process's identity.
func (p Proc) Ref() ClientRef { return ClientRef{PID: p.PID, StartTime: p.StartTime} }

// ErrGone is wrapped if a process does not exist (any more).
var ErrGone = errors.New("no such process")

// errChanged means that a chain of parents changed while it was read.
var errChanged = errors.New("the processes changed while they were looked at")

const (
	ancestryTries = 16
	maxAncestors  = 1024 // of one process; a longer chain is an error
)

// Ancestry returns the process and its ancestors, itself first, up to the
// first process of its namespace. Each parent was seen alive between two
// matching reads of its child, so that a reused pid cannot slip in. A chain
// that keeps changing, or whose end cannot be seen, is an error.
func Ancestry(pid int) ([]Proc, error) {
	var err error
	for range ancestryTries {
		var chain []Proc
		chain, err = ancestry(pid, inspectOnce, readStat)
		if !errors.Is(err, errChanged) {
			return chain, err
		}
	}
	return nil, fmt.Errorf("looking at the ancestors of process %d: %w", pid, err)
}

// ancestry makes one attempt. inspect reads everything about a process, stat
// only what identifies it. Each process is read again after its parent was,
// except the very first, whose pid is never reused.
func ancestry(pid int, inspect, stat func(int) (Proc, error)) ([]Proc, error) {
	p, err := inspect(pid)
	if err != nil {
		return nil, fmt.Errorf("looking at process %d: %w", pid, err)
	}
	chain := []Proc{p}
	for p.PPID > 0 {
		if len(chain) == maxAncestors {
			return nil, fmt.Errorf("process %d has more than %d ancestors", pid, maxAncestors)
		}
		parent, perr := inspect(p.PPID)
		again, err := stat(p.PID)
		if err != nil {
			if p.PID == pid {
				return nil, fmt.Errorf("looking at process %d: %w", pid, err)
			}
			return nil, errChanged
		}
		if again.StartTime != p.StartTime || again.PPID != p.PPID {
			return nil, errChanged
		}
		if perr != nil {
			return nil, fmt.Errorf("looking at process %d, the parent of %d: %w", p.PPID, p.PID, perr)
		}
		if parent.StartTime > p.StartTime {
			return nil, errChanged // a parent is older than its child
		}
		chain = append(chain, parent)
		p = parent
	}
	return chain, nil
}

// findProc returns the index in chain of the process with this ref, or -1.
func findProc(chain []Proc, ref ClientRef) int {
	for i, p := range chain {
		if p.PID == ref.PID && p.StartTime == ref.StartTime {
			return i
		}
	}
	return -1
}

// Self returns this process.
func Self() (Proc, error) { return Inspect(os.Getpid()) }
