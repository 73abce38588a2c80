package sandbox

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Descriptors of the process that becomes the command.
const (
	fdOrder  = 3 // execOrder, as JSON, to its end
	fdNotify = 4 // tells the number of the seccomp listener
	fdGo     = 5 // one byte: the listener is taken
)

// execOrder is what the process that becomes the command is told.
type execOrder struct {
	Root      string
	Dir       string
	Argv, Env []string
	Umask     int
	Limits    Limits
	Filter    filterSpec
	Wall      wall
}

// becomeCommand enters the new root, gives up every right and executes the
// command. It returns only to report a failure.
func becomeCommand() error {
	runtime.LockOSThread() // namespaces, rights and the filter are of this thread; execve makes it the process
	var o execOrder
	in := os.NewFile(fdOrder, "order")
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	in.Close()
	if err := enterRoot(o.Root); err != nil {
		return fmt.Errorf("entering the new root: %w", err)
	}
	if err := unix.Chdir(o.Dir); err != nil {
		return fmt.Errorf("entering %s: %w", o.Dir, err)
	}
	path, lookErr := lookPath(o.Argv[0], o.Env)
	if err := setLimits(o.Limits); err != nil {
		return fmt.Errorf("setting limits: %w", err)
	}
	unix.Umask(cmp.Or(o.Umask, 0o022))
	rules, err := o.Wall.ruleset("/", LandlockABI())
	if err != nil {
		return fmt.Errorf("making the rules of Landlock: %w", err)
	}
	if err := dropRights(); err != nil {
		return fmt.Errorf("giving up rights: %w", err)
	}
	if err := enclose(rules); err != nil {
		return fmt.Errorf("enclosing the command: %w", err)
	}
	listener, err := installFilter(o.Filter)
	if err != nil {
		return fmt.Errorf("installing the filter: %w", err)
	}
	// Nothing from here on may need a call that the filter hands over before the
	// listener is taken.
	number := [4]byte{byte(listener), byte(listener >> 8), byte(listener >> 16), byte(listener >> 24)}
	if n, err := unix.Write(fdNotify, number[:]); err != nil || n != len(number) {
		return errors.New("telling the listener")
	}
	var ok [1]byte
	if n, err := unix.Read(fdGo, ok[:]); err != nil || n != 1 {
		return errors.New("the listener was not taken")
	}
	if lookErr != nil {
		// As a shell would say it: the command is not there.
		msg := o.Argv[0] + ": command not found\n"
		_, _ = unix.Write(2, []byte(msg))
		os.Exit(127)
	}
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("closing descriptors: %w", err)
	}
	if err := setSignals(sigDefault); err != nil {
		return fmt.Errorf("setting signals back: %w", err)
	}
	err = unix.Exec(path, o.Argv, o.Env)
	_, _ = unix.Write(2, []byte(o.Argv[0]+": "+err.Error()+"\n"))
	os.Exit(126)
	return nil
}

// enterRoot makes root the root of this thread, in a mount namespace of its own
// in which the old one is not there any more.
func enterRoot(root string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Chdir("/")
}

func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, kv := range env {
		list, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			if dir == "" {
				dir = "."
			}
			path := filepath.Join(dir, name)
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", os.ErrNotExist
}

func setLimits(l Limits) error {
	cpu := uint64(l.CPU.Seconds()) + 1
	// The first process counts them and ends the run, which says so. Here the command
	// would only fail, so this limit is for what is faster than to be counted.
	processes := 2*uint64(l.Processes) + 64
	for what, n := range map[int]uint64{unix.RLIMIT_CPU: cpu, unix.RLIMIT_NPROC: processes, unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: uint64(l.Written)} {
		if err := unix.Setrlimit(what, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
	}
	return nil
}

// dropRights gives up every capability, for good.
func dropRights() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	// As root within the namespace, execve would give back what the bounding set
	// still holds; it holds nothing now.
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if _, _, e := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&none[0])), 0); e != 0 {
		return e
	}
	return nil
}
