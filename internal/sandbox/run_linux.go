package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// afterTime is how long the first process may take, beyond the command's own
// time, to end what is left and to capture the changes.
const afterTime = time.Minute

// mountCaps are what the first process needs within its own user namespace: to
// mount, to read and restore whatever the command leaves, to bring up loopback,
// and to look into the processes that it watches. The command has none of them.
var mountCaps = []uintptr{
	unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_FSETID,
	unix.CAP_CHOWN, unix.CAP_MKNOD, unix.CAP_SETFCAP, unix.CAP_SETPCAP, unix.CAP_NET_ADMIN, unix.CAP_NET_BIND_SERVICE,
	unix.CAP_SYS_PTRACE, unix.CAP_KILL, unix.CAP_SYS_RESOURCE,
}

// Exec runs the command of s once and returns what it did. It returns when
// nothing of the run is left, also when ctx ends. The error is of the sandbox,
// never of the command; ErrUnavailable and ErrTooLarge can be told apart.
func Exec(ctx context.Context, s Spec) (*Run, error) {
	limits := s.Limits.OrDefault()
	if len(s.Argv) == 0 || len(s.Trees) == 0 || s.State == "" || s.Program == "" {
		return nil, errors.New("sandbox: the specification is not complete")
	}
	dir, err := os.MkdirTemp(s.State, runPrefix)
	if err != nil {
		return nil, fmt.Errorf("making a folder for the run: %w", err)
	}
	defer removeAll(dir)
	content, err := tempFile(s.State)
	if err != nil {
		return nil, fmt.Errorf("making a file for what changes: %w", err)
	}
	run := &Run{contents: content}
	l := launch{order: order{Spec: s, Root: filepath.Join(dir, "root"), Upper: filepath.Join(dir, "upper"), Limits: limits}, run: run}
	for _, name := range []string{l.order.Root, l.order.Upper} {
		if err := os.Mkdir(name, 0o700); err != nil {
			run.Close()
			return nil, fmt.Errorf("making a folder for the run: %w", err)
		}
	}
	if err := l.start(ctx); err != nil {
		run.Close()
		return nil, err
	}
	return run, nil
}

// launch is one start of the first process.
type launch struct {
	order  order
	run    *Run
	done   bool
	failed error
}

func (l *launch) start(ctx context.Context) error {
	limits := l.order.Limits
	ctx, cancel := context.WithTimeout(ctx, limits.Time+afterTime)
	defer cancel()
	var pipes pipeSet
	defer pipes.close()
	specR, specW := pipes.new()
	statusR, statusW := pipes.new()
	outR, outW := pipes.newStream()
	errR, errW := pipes.newStream()
	if pipes.err != nil {
		return fmt.Errorf("making pipes: %w", pipes.err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	cmd := &exec.Cmd{
		Path: l.order.Spec.Program, Args: []string{l.order.Spec.Program, InitArg}, Env: []string{}, Dir: "/",
		Stdin: null, Stdout: outW, Stderr: errW, ExtraFiles: []*os.File{specR, statusW, l.run.contents},
		SysProcAttr: &syscall.SysProcAttr{
			Setsid:      true,
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}},
			AmbientCaps: mountCaps,
		},
	}
	if err := cmd.Start(); err != nil {
		return unavailable(err)
	}
	specR.Close()
	statusW.Close()
	outW.Close()
	errW.Close()
	// The first process reads its order and then waits for the pipe's end: when
	// this process dies, so does everything inside.
	line, err := json.Marshal(l.order)
	if err == nil {
		_, err = specW.Write(append(line, '\n'))
	}
	if err != nil {
		cmd.Process.Kill()
	}
	ended := make(chan struct{})
	go func() { // ends with the context or the process, whichever is first
		select {
		case <-ctx.Done():
			cmd.Process.Kill()
		case <-ended:
		}
	}()
	output := make(chan struct{})
	go func() { // ends when nothing holds the pipes any more, which Kill makes sure of
		defer close(output)
		l.read(outR, errR)
	}()
	l.follow(statusR)
	waitErr := cmd.Wait()
	close(ended)
	<-output
	switch {
	case l.failed != nil:
		return l.failed
	case !l.done && ctx.Err() != nil:
		// Nothing is known of what it changed.
		l.run.Stopped = "cancelled"
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			l.run.Stopped = "time"
		}
		return nil
	case !l.done:
		return fmt.Errorf("the sandbox's first process ended early: %v", waitErr)
	}
	return nil
}

// follow reads the reports of the first process to their end.
func (l *launch) follow(status io.Reader) {
	dec := json.NewDecoder(status)
	seen := map[Want]bool{}
	for {
		var r report
		if err := dec.Decode(&r); err != nil {
			return
		}
		switch {
		case r.Error != "":
			l.failed = fmt.Errorf("the sandbox failed: %s", r.Error)
			switch r.Missing {
			case "":
			case tooLarge:
				l.failed = ErrTooLarge
			default:
				l.failed = fmt.Errorf("%w: %s: %s", ErrUnavailable, r.Error, r.Missing)
			}
		case r.Started != nil:
			l.run.Started = *r.Started
		case r.Want != nil && !seen[*r.Want] && len(seen) < maxWants:
			seen[*r.Want] = true
			l.run.Wanted = append(l.run.Wanted, *r.Want)
		case r.Retry != "" && len(l.run.Retry) < maxWants:
			l.run.Retry = append(l.run.Retry, r.Retry)
		case r.Change != nil:
			l.run.Changes = append(l.run.Changes, r.Change.change())
		case r.Name != nil:
			if l.run.Names == nil {
				l.run.Names = map[uint64][]Name{}
			}
			l.run.Names[r.Name.Inode] = append(l.run.Names[r.Name.Inode], Name{string(r.Name.Tree), string(r.Name.Path)})
		case r.Moved != nil:
			l.run.Moved = append(l.run.Moved, string(r.Moved))
		case r.Probe != nil:
			l.run.Probe = r.Probe
		case r.Done != nil:
			l.done = true
			l.run.Exit, l.run.Signal, l.run.Stopped, l.run.Left, l.run.Ended = r.Done.Exit, r.Done.Signal, r.Done.Stopped, r.Done.Left, r.Done.Ended
		}
	}
}

// maxWants bounds what a run remembers of what was wanted.
const maxWants = 200

// read takes both streams in as they come, in one goroutine so that the order
// in which they were written is kept as far as the system tells it.
func (l *launch) read(stdout, stderr *os.File) {
	left := l.order.Limits.Output
	fds := []unix.PollFd{{Fd: int32(stdout.Fd()), Events: unix.POLLIN}, {Fd: int32(stderr.Fd()), Events: unix.POLLIN}}
	buf := make([]byte, 64<<10)
	last := 1
	for open := 2; open > 0; {
		if _, err := unix.Poll(fds, -1); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return
		}
		// Where both have something, they take turns: that is right for a program that
		// writes to both in turn, and a guess for others.
		for _, i := range []int{1 - last, last} {
			if fds[i].Revents == 0 {
				continue
			}
			last = i
			n, err := unix.Read(int(fds[i].Fd), buf)
			if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
				continue
			}
			if err != nil || n == 0 {
				fds[i].Fd = -1
				open--
				continue
			}
			keep := min(int64(n), left)
			if keep < int64(n) {
				l.run.Truncated = true
			}
			left -= keep
			l.keep(i == 1, buf[:keep])
		}
	}
}

func (l *launch) keep(stderr bool, data []byte) {
	if len(data) == 0 {
		return
	}
	if n := len(l.run.Output); n > 0 && l.run.Output[n-1].Stderr == stderr {
		l.run.Output[n-1].Data = append(l.run.Output[n-1].Data, data...)
		return
	}
	l.run.Output = append(l.run.Output, Chunk{Stderr: stderr, Data: bytes.Clone(data)})
}

// pipeSet makes pipes and closes whatever of them is still open.
type pipeSet struct {
	files []*os.File
	err   error
}

func (p *pipeSet) new() (r, w *os.File) {
	r, w, err := os.Pipe()
	if err != nil {
		p.err = err
		return nil, nil
	}
	p.files = append(p.files, r, w)
	return r, w
}

// streamWrites is how many writes a stream holds until they are read. Fewer would
// tell more of the order in which two streams were written, but a program that
// writes line by line would wait for the reader at each.
const streamWrites = 4

// newStream makes a pipe that keeps writes apart and holds few of them. How writes
// to two pipes stood to each other is not told by the kernel; this way no write is
// taken for being more than streamWrites away from its place. Where the kernel makes
// no such pipe, it is an ordinary one.
func (p *pipeSet) newStream() (r, w *os.File) {
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC|unix.O_DIRECT); err != nil {
		return p.new()
	}
	_, _ = unix.FcntlInt(uintptr(fd[0]), unix.F_SETPIPE_SZ, streamWrites*os.Getpagesize())
	r, w = os.NewFile(uintptr(fd[0]), "output"), os.NewFile(uintptr(fd[1]), "output")
	p.files = append(p.files, r, w)
	return r, w
}

func (p *pipeSet) close() {
	for _, f := range p.files {
		f.Close()
	}
}

// tempFile opens a file that has no name.
func tempFile(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), "what changed"), nil
	}
	f, err := os.CreateTemp(dir, runPrefix)
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// runPrefix begins the names of what runs leave in the state folder.
const runPrefix = "run-"

// Clean removes from a state folder what runs left that did not end properly.
// No run may be under way in it.
func Clean(state string) error {
	entries, err := os.ReadDir(state)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), runPrefix) {
			removeAll(filepath.Join(state, e.Name()))
		}
	}
	return nil
}

// Remove removes a folder that commands wrote, whatever modes they gave to what
// is in it.
func Remove(dir string) error {
	removeAll(dir)
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s could not be removed", dir)
	}
	return nil
}

// removeAll removes a run's folder, in which overlayfs leaves a folder of mode
// 000 and the command may have left others.
func removeAll(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		if err != nil && d != nil && d.IsDir() {
			return nil
		}
		return nil
	})
	os.RemoveAll(dir)
}

// unavailable explains why the first process could not be started.
func unavailable(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return fmt.Errorf("%w: user namespaces are switched off or used up; set user.max_user_namespaces with sysctl", ErrUnavailable)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: this system does not let an ordinary user make user namespaces (%v)", ErrUnavailable, err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: the kernel lacks namespaces that are needed", ErrUnavailable)
	}
	return fmt.Errorf("starting the sandbox: %w", err)
}
