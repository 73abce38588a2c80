package sandbox

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Main plays the part that the arguments of a re-executed program name, and
// returns its exit code. handled is false where they name none; the program then
// goes on as it would. It must be called before anything else is started.
func Main(args []string) (code int, handled bool) {
	if len(args) < 2 {
		return 0, false
	}
	switch args[1] {
	case InitArg:
		return beFirst(), true
	case execArg:
		err := becomeCommand()
		fmt.Fprintln(os.NewFile(fdNotify, "failure"), "!"+err.Error())
		return 125, true
	}
	return 0, false
}

// first is the first process inside: it mounts, starts the command, answers the
// filter, reaps, ends what is left, and reports what changed.
type first struct {
	order order

	mu     sync.Mutex
	status *bufio.Writer

	rootFD int
	layers *mounter
	main   int // pid of the command
}

// missing is an error that comes from what the machine does not have.
type missing struct {
	err    error
	remedy string
}

func (m *missing) Error() string { return m.err.Error() }
func (m *missing) Unwrap() error { return m.err }

func beFirst() int {
	f := &first{status: bufio.NewWriter(os.NewFile(fdStatus, "status"))}
	in := bufio.NewReader(os.NewFile(fdSpec, "order"))
	if err := json.NewDecoder(in).Decode(&f.order); err != nil {
		return 1
	}
	if err := ignoreSignals(); err != nil {
		return 1
	}
	// fail closed: nothing inside may look into this process.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return 1
	}
	go func() { // ends with the process: its parent holds the other end as long as it lives
		_, _ = io.Copy(io.Discard, in)
		os.Exit(1)
	}()
	if err := f.run(); err != nil {
		r := report{Error: err.Error()}
		var m *missing
		if errors.As(err, &m) {
			r.Missing = m.remedy
		}
		f.report(r)
		f.flush()
		return 1
	}
	return 0
}

func (f *first) report(r report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	line, err := json.Marshal(r)
	if err != nil {
		os.Exit(1) // fail closed: a run without all of its reports is none
	}
	if _, err := f.status.Write(append(line, '\n')); err != nil {
		os.Exit(1)
	}
}

func (f *first) flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status.Flush() != nil {
		os.Exit(1)
	}
}

func (f *first) run() error {
	watch, err := newWatcher()
	if err != nil {
		return fmt.Errorf("watching what is opened: %w", err)
	}
	m := &mounter{order: &f.order, watch: watch, want: f.want}
	f.layers = m
	if err := m.build(); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bringing up loopback: %w", err)
	}
	if err := f.resolver(); err != nil {
		return fmt.Errorf("starting the resolver: %w", err)
	}
	if err := watch.add(m.inside("/proc"), func() { f.want(Want{WantProcess, "the list of processes"}) }); err != nil {
		return fmt.Errorf("watching /proc: %w", err)
	}
	if f.rootFD, err = unix.Open(f.order.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	super := f.supervisor(f.want, f.retry)
	started := coarseNow()
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = f.start(super, f.order.Spec.Argv, f.order.Spec.Env, [3]int{null, 1, 2})
	unix.Close(null)
	if err != nil {
		return err
	}
	// The pipes of the output are the command's alone from here on.
	for _, fd := range []int{1, 2} {
		if err := unix.Dup3(fdStatus, fd, unix.O_CLOEXEC); err != nil {
			return err
		}
	}
	f.report(report{Started: &started})
	done := f.wait(started, f.order.Limits)
	super.finish()
	watch.drain()
	c := &capture{mounter: m, started: started, pack: os.NewFile(fdPack, "pack"), report: f.report}
	err = c.all()
	if errors.Is(err, errFull) {
		done.Stopped, err = "written", nil
	}
	if err != nil {
		return fmt.Errorf("reading what changed: %w", err)
	}
	if len(f.order.Spec.Probe) > 0 && c.found > 0 && done.Stopped == "" {
		if err := f.probe(c.paths); err != nil {
			return fmt.Errorf("looking at what the command left: %w", err)
		}
	}
	f.report(report{Done: &done})
	f.flush()
	return nil
}

func (f *first) want(w Want) { f.report(report{Want: &w}) }

func (f *first) retry(why string) { f.report(report{Retry: why}) }

func (f *first) supervisor(want func(Want), retry func(string)) *supervisor {
	return &supervisor{root: f.order.Root, rootFD: f.rootFD, places: placesOf(f.order.Spec), copies: f.order.Spec.Copies,
		uid: uint32(os.Getuid()), gid: uint32(os.Getgid()), want: want, retry: retry,
		refused: map[uint16]string{}, open: map[uint16]bool{}, known: map[string]bool{}, owned: map[string]bool{}}
}

// probeTime is how long a probe may take.
const probeTime = 5 * time.Second

// probe runs the second command, in the same root but after the changes were
// captured: nothing that it does counts.
func (f *first) probe(changed []byte) error {
	r, w, err := pipe()
	if err != nil {
		return err
	}
	null, err := unix.Open(os.DevNull, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(null)
	paths, err := inMemory(changed)
	if err != nil {
		return err
	}
	err = f.start(f.supervisor(func(Want) {}, func(string) {}), f.order.Spec.Probe, f.order.Spec.ProbeEnv, [3]int{paths, w, null})
	unix.Close(w)
	unix.Close(paths)
	if err != nil {
		return err
	}
	text := make(chan []byte, 1)
	go func() { // ends with the probe, which wait makes sure of
		from := os.NewFile(uintptr(r), "probe")
		defer from.Close() // so that one that prints more ends by that
		out, _ := io.ReadAll(io.LimitReader(from, MaxProbe+1))
		text <- out
	}()
	limits := f.order.Limits
	limits.Time = probeTime
	done := f.wait(time.Now(), limits)
	out := <-text
	if done.Exit != 0 || done.Signal != 0 || done.Stopped != "" || len(out) > MaxProbe {
		return nil // fail closed: nothing is known, and the report says nothing
	}
	f.report(report{Probe: out})
	return nil
}

// inMemory opens a file that is nowhere, with a content, at its beginning.
func inMemory(content []byte) (int, error) {
	fd, err := unix.MemfdCreate("paths", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	for at := 0; at < len(content) && err == nil; {
		var n int
		n, err = unix.Pwrite(fd, content[at:], int64(at))
		at += n
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// start makes the process that becomes a command, with its standard streams, and
// takes its listener.
func (f *first) start(super *supervisor, argv, env []string, streams [3]int) error {
	orderR, orderW, err := pipe()
	if err != nil {
		return err
	}
	notifyR, notifyW, err := pipe()
	if err != nil {
		return err
	}
	goR, goW, err := pipe()
	if err != nil {
		return err
	}
	f.main, err = syscall.ForkExec("/proc/self/exe", []string{"mcpguard", execArg}, &syscall.ProcAttr{
		Dir: "/", Env: []string{}, Files: []uintptr{uintptr(streams[0]), uintptr(streams[1]), uintptr(streams[2]), uintptr(orderR), uintptr(notifyW), uintptr(goR)},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	for _, fd := range []int{orderR, notifyW, goR} {
		unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("starting the command's process: %w", err)
	}
	s := f.order.Spec
	line, err := json.Marshal(execOrder{Root: f.order.Root, Dir: s.Dir, Argv: argv, Env: env, Umask: s.Umask, Limits: f.order.Limits, Filter: filterSpec{Reads: f.layers.closed == nil}, Wall: wallOf(s)})
	if err != nil {
		return err
	}
	told := os.NewFile(uintptr(orderW), "order")
	_, err = told.Write(line)
	if err = errors.Join(err, told.Close()); err != nil {
		return fmt.Errorf("telling the command's process: %w", err)
	}
	var number [4]byte
	n, err := unix.Read(notifyR, number[:])
	if err != nil || n != len(number) || number[0] == '!' {
		rest, _ := io.ReadAll(os.NewFile(uintptr(notifyR), "failure"))
		return fmt.Errorf("preparing the command's process: %s%s", number[:max(n, 0)], rest)
	}
	pidfd, err := unix.PidfdOpen(f.main, 0)
	if err != nil {
		return fmt.Errorf("taking the filter's listener: %w", err)
	}
	super.listener, err = unix.PidfdGetfd(pidfd, int(number[0])|int(number[1])<<8|int(number[2])<<16|int(number[3])<<24, 0)
	unix.Close(pidfd)
	if err != nil {
		return fmt.Errorf("taking the filter's listener: %w", err)
	}
	go super.serve() // ends when no process with the filter is left
	_, err = unix.Write(goW, []byte{1})
	unix.Close(goW)
	unix.Close(notifyR)
	return err
}

func pipe() (r, w int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, 0, err
	}
	return p[0], p[1], nil
}

// grace is how long what the command started may go on after its end.
const grace = 150 * time.Millisecond

// wait reaps until the command has ended, holds it to its limits, and ends what
// is left of it.
func (f *first) wait(started time.Time, limits Limits) doneReport {
	ended := make(chan unix.WaitStatus, 1)
	alone := make(chan struct{})
	go f.reap(ended, alone) // ends when there is no child left
	var d doneReport
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	usage := newMeter(limits, f.layers, started)
	var status unix.WaitStatus
loop:
	for {
		select {
		case status = <-ended:
			break loop
		case now := <-tick.C:
			if d.Stopped == "" {
				if now.Sub(started) > limits.Time {
					d.Stopped = "time"
				} else {
					d.Stopped = usage.over()
				}
				if d.Stopped != "" {
					_ = unix.Kill(-1, unix.SIGKILL)
				}
			}
		}
	}
	d.Ended = time.Now()
	select {
	case <-alone:
	case <-time.After(grace):
		if d.Left = others(); len(d.Left) == 0 {
			d.Left = []string{"a process without a name"} // fail closed: something lives
		}
		_ = unix.Kill(-1, unix.SIGKILL)
		<-alone
	}
	if d.Stopped == "" && usage.ended() {
		d.Stopped = "written"
	}
	switch {
	case status.Signaled():
		d.Signal = int(status.Signal())
		if d.Signal == int(unix.SIGXCPU) && d.Stopped == "" {
			d.Stopped = "cpu"
		}
		if d.Signal == int(unix.SIGXFSZ) && d.Stopped == "" {
			d.Stopped = "written"
		}
	default:
		d.Exit = status.ExitStatus()
	}
	return d
}

// reap takes in every child that ends; as the first process it inherits them.
func (f *first) reap(ended chan<- unix.WaitStatus, alone chan<- struct{}) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil: // ECHILD
			close(alone)
			return
		case pid == f.main && (status.Exited() || status.Signaled()):
			ended <- status
		}
	}
}
