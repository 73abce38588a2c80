package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/clock"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

const (
	sigTerm = syscall.SIGTERM
	sigKill = syscall.SIGKILL
)

// pipes are the three standard streams: the child's ends and ours.
type pipes struct {
	child [3]*os.File
	ours  [3]*os.File
}

func newPipes() (*pipes, error) {
	p := &pipes{}
	for i := range p.child {
		r, w, err := os.Pipe()
		if err != nil {
			p.close()
			return nil, fmt.Errorf("making a pipe: %w", err)
		}
		if i == 0 {
			p.child[i], p.ours[i] = r, w
		} else {
			p.child[i], p.ours[i] = w, r
		}
	}
	return p, nil
}

func (p *pipes) closeChild() {
	for _, f := range p.child {
		if f != nil {
			f.Close()
		}
	}
}

func (p *pipes) close() {
	p.closeChild()
	for _, f := range p.ours {
		if f != nil {
			f.Close()
		}
	}
}

// launched is the result of the goroutine that started the child.
type launched struct {
	proc *os.Process
	err  error
}

func start(ctx context.Context, spec Spec) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path, err := spec.Path()
	if err != nil {
		return nil, err
	}
	fds, err := newPipes()
	if err != nil {
		return nil, err
	}
	p := &Process{
		spec:   spec,
		stdout: fds.ours[1],
		frames: jsonrpc.NewReader(&drain{fds.ours[1]}, jsonrpc.Limits{MaxFrame: spec.MaxFrame}),
		stderr: &ring{},
		done:   make(chan struct{}),
	}
	result := make(chan launched)
	// Owned by p; ends with the child, whose life it is: see live.
	go p.live(path, fds, result)
	r := <-result
	if r.err != nil {
		fds.close()
		return nil, r.err
	}
	return p, nil
}

// live starts the child and stays with it until it is reaped. To the kernel,
// this thread is the child's parent, and the child is killed when the thread
// ends (PR_SET_PDEATHSIG, prctl(2)). So the thread must not end before the
// child while the process runs, and no other goroutine may run on it.
func (p *Process) live(path string, fds *pipes, result chan<- launched) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	proc, err := os.StartProcess(path, append([]string{p.spec.Command}, p.spec.Args...), &os.ProcAttr{
		Dir: p.spec.Dir,
		// Not nil, which would mean this process's environment.
		Env:   append(make([]string, 0, len(p.spec.Env)), p.spec.Env...),
		Files: fds.child[:],
		Sys:   childAttr(),
	})
	if err != nil {
		result <- launched{err: err}
		return
	}
	fds.closeChild()
	p.pid = proc.Pid
	p.ref = reference(proc.Pid)
	dog := watch(proc.Pid)
	p.in = newQueue(fds.ours[0], p.spec.WriteTimeout, p.end)
	read := make(chan struct{})
	// Owned by p; ends with the child's standard error, at the latest
	// drainTime after the child.
	go func() {
		defer close(read)
		defer fds.ours[2].Close()
		readLines(fds.ours[2], p.keep)
	}()
	result <- launched{proc: proc}

	if err := awaitExit(proc.Pid); err != nil {
		p.end(fmt.Errorf("it cannot be watched: %w", err))
	}
	// Not reaped yet: until then the group's number cannot mean another group.
	p.mu.Lock()
	p.signal(sigKill) // whatever is left of the group
	for _, r := range p.left {
		killLeft(r)
	}
	dog.release()
	p.state, err = proc.Wait()
	if err != nil && p.cause == nil {
		p.cause = fmt.Errorf("waiting for it failed: %w", err)
	}
	p.reaped = true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()

	p.in.abort()
	soon := time.Now().Add(drainTime)
	p.stdout.SetReadDeadline(soon)
	fds.ours[2].SetReadDeadline(soon)
	<-p.in.flushed
	<-read
	close(p.done)
}

// drain reads a pipe. After its deadline, which is set when the child has
// ended, it still returns what is in the pipe, and then the end.
type drain struct{ f *os.File }

func (d *drain) Read(b []byte) (int, error) {
	n, err := d.f.Read(b)
	if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	d.f.SetReadDeadline(time.Time{})
	defer d.f.SetReadDeadline(time.Unix(1, 0))
	raw, err := d.f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var rerr error
	if err := raw.Read(func(fd uintptr) bool { n, rerr = unix.Read(int(fd), b); return true }); err != nil {
		return 0, err
	}
	if rerr != nil || n <= 0 {
		return 0, io.EOF
	}
	return n, nil
}

// keep stores one line of standard error.
func (p *Process) keep(line []byte) {
	line = p.spec.Redact(line)
	p.stderr.add(line)
	if p.spec.OnStderr != nil {
		p.spec.OnStderr(line)
	}
}

// signal sends sig to the whole group. The caller holds mu: a group is
// signalled only while its leader is not reaped, so that its number cannot
// mean another group.
func (p *Process) signal(sig os.Signal) {
	if p.reaped || p.pid <= 1 {
		return
	}
	if s, ok := sig.(syscall.Signal); ok {
		// ESRCH: the group is already gone.
		_ = unix.Kill(-p.pid, s)
	}
}

// family records processes that descend from this one and have left its group,
// such as the client of a container; they are ended with it. It looks for them
// while the process runs, since they cannot be found afterwards. The caller
// holds mu.
func (p *Process) family() {
	if p.reaped || p.pid <= 1 {
		return
	}
	for _, r := range leftGroup(p.pid) {
		if !slices.Contains(p.left, r) {
			p.left = append(p.left, r)
		}
	}
}

// reference identifies a child that is not reaped.
func reference(pid int) guard.UpstreamRef {
	ref := guard.UpstreamRef{PID: pid, BootID: clock.System().Now().BootID}
	// If it cannot be read it is zero, and Gone then never returns true.
	ref.StartTime, _ = ipc.StartTime(pid)
	return ref
}

// Gone reports whether an upstream of an earlier daemon has provably ended
// together with its group. It fails closed: if in doubt, the upstream is not
// gone.
func Gone(ref guard.UpstreamRef) bool {
	boot := clock.System().Now().BootID
	if boot != "" && ref.BootID != "" && boot != ref.BootID {
		return true
	}
	if boot == "" || ref.BootID == "" || ref.PID <= 1 || ref.StartTime == 0 {
		return false // fail closed: the pid alone proves nothing
	}
	if ipc.Running(ref.PID, ref.StartTime) {
		return false
	}
	switch start, err := ipc.StartTime(ref.PID); {
	case err == nil && start != ref.StartTime:
		return true // a pid is not given out again while a group of that number exists
	case err != nil && !errors.Is(err, ipc.ErrGone):
		return false // fail closed
	}
	// The leader has ended, reaped or not; its children may still run.
	return errors.Is(unix.Kill(-ref.PID, 0), unix.ESRCH) || onlyZombies(ref.PID)
}
