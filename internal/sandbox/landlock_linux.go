package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A wall is a second limit of the command's process beside its mounts: what
// Landlock allows it, wherever it may find a way to. Whatever lies outside of its
// root can neither be read nor changed, and nothing can be changed but in the
// folders where a run may write. Within these it takes nothing away that the
// mounts allow.
type wall struct {
	Write []string // folders in which the command may do anything
	Run   []string // files and folders from which it may run programs
}

// wallOf is the wall of a run.
func wallOf(s Spec) wall {
	w := wall{Write: slices.Concat(s.Trees, []string{"/dev", "/run"}), Run: slices.Clone(s.Visible)}
	for _, c := range slices.Concat(s.Stored, s.Scratch) {
		w.Write = append(w.Write, c.Path)
	}
	// A look at a closed path would count as the command's.
	p := placesOf(s)
	w.Write, w.Run = slices.DeleteFunc(w.Write, p.isClosed), slices.DeleteFunc(w.Run, p.isClosed)
	return w
}

// firstABI is the first version of Landlock that can be used: before it, no file
// could be moved from one folder to another.
const firstABI = 2

// Access to files by the version of Landlock that brought it.
const (
	accessRead = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	// Devices are not among what can be made: overlays do not take them, and nobody lands them.
	accessMake = unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	accessDevices = unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
	accessWrite   = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_REFER | accessMake
)

// rulesetFor is what a ruleset handles where the kernel offers version abi, and
// what is allowed where everything is.
//
// TCP is not handled: its rules know ports and no addresses, and the loopback of a
// run is its own. The namespace is the limit there.
func rulesetFor(abi int) (attr unix.LandlockRulesetAttr, write uint64) {
	write = accessRead | accessWrite | unix.LANDLOCK_ACCESS_FS_EXECUTE
	if abi >= 3 {
		write |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 5 {
		write |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	attr.Handled_access_fs = write | accessDevices
	if abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return attr, write
}

// LandlockABI returns the version of Landlock that commands are limited by, 0
// where the kernel offers none that can be used.
func LandlockABI() int {
	n, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 || int(n) < firstABI { // not built in, or switched off when the machine was started
		return 0
	}
	return int(n)
}

// ruleset makes the rules of the wall for a root; -1 without Landlock. It needs to
// reach all that the wall names.
func (w wall) ruleset(root string, abi int) (int, error) {
	if abi == 0 {
		return -1, nil
	}
	attr, write := rulesetFor(abi)
	n, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if e != 0 {
		return -1, fmt.Errorf("landlock_create_ruleset: %w", e)
	}
	set := int(n)
	// What is closed is to be asked for: only so is it known that it was wanted.
	err := allow(set, root, accessRead)
	for _, at := range w.Run {
		err = errors.Join(err, allow(set, filepath.Join(root, at), unix.LANDLOCK_ACCESS_FS_EXECUTE))
	}
	for _, at := range w.Write {
		err = errors.Join(err, allow(set, filepath.Join(root, at), write))
	}
	if err != nil {
		unix.Close(set)
		return -1, err
	}
	return set, nil
}

// allow adds a rule for what is at a path and below it; what is not there needs
// none.
func allow(set int, at string, access uint64) error {
	fd, err := unix.Open(at, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("a rule for %s: %w", at, err)
	}
	defer unix.Close(fd)
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	if _, _, e := unix.RawSyscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(set), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); e != 0 {
		return fmt.Errorf("a rule for %s: %w", at, e)
	}
	return nil
}

// enclose puts this thread behind a ruleset, for good, and what it executes. The
// libraries for this do it to all threads, which the process that becomes the
// command does not need.
func enclose(set int) error {
	if set < 0 {
		return nil
	}
	defer unix.Close(set)
	if _, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(set), 0, 0); e != 0 {
		return fmt.Errorf("landlock_restrict_self: %w", e)
	}
	return nil
}
