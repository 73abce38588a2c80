//go:build linux || darwin

package tui

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
	"golang.org/x/sys/unix"
)

// A program that is killed cannot put the terminal back. So a second process of
// it waits, in a session of its own, for the first one to end without having
// said so. It is started once the first frame has long been painted: a start is
// not slower for it.

// EnvWatchdog tells a process of this program that it is the one which waits.
const EnvWatchdog = "MCPGUARD_TERMINAL_WATCHDOG"

// watchdogAfter is how long a console runs before it is watched.
const watchdogAfter = time.Second

// finished is said by a console that has put the terminal back itself.
const finished = 'f'

// watchdog is the second process, seen from the first.
type watchdog struct {
	cmd *exec.Cmd
	in  *os.File
}

// watch starts the second process. before is how the terminal was. A console
// that cannot be watched runs all the same.
func watch(tty *os.File, before *term.State) (*watchdog, error) {
	now, err := term.GetState(tty.Fd())
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	// Before it starts: the console may be killed at any moment after that. A pipe
	// holds far more than these two.
	for _, s := range []*term.State{before, now} {
		if err := binary.Write(w, binary.NativeEndian, s.Termios); err != nil {
			w.Close()
			return nil, err
		}
	}
	cmd := exec.Command(self)
	cmd.Env = []string{EnvWatchdog + "=1"}
	cmd.Stdin, cmd.ExtraFiles = r, []*os.File{tty}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no signal of the terminal reaches it
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, err
	}
	return &watchdog{cmd, w}, nil
}

// stop tells the second process that the terminal is as it was.
func (d *watchdog) stop() {
	_, _ = d.in.Write([]byte{finished}) // it may have been killed
	_ = d.in.Close()
	_ = d.cmd.Wait()
}

// restore is what the console writes when it leaves a terminal: out of the
// keyboard's, the mouse's and the alternate screen's modes.
const restore = "\x1b[?2026l" + ansi.ResetModifyOtherKeys + ansi.ResetModeFocusEvent + ansi.ResetModeBracketedPaste + ansi.ResetModeMouseButtonEvent +
	ansi.ResetModeMouseExtSgr + "\x1b[<u" + ansi.ResetStyle + ansi.ResetModeAltScreenSaveCursor + ansi.SetModeTextCursorEnable

// Watchdog is the life of the second process: it waits on standard input for
// the console's end. Its terminal is descriptor 3.
func Watchdog() error {
	tty := os.NewFile(3, "terminal")
	if tty == nil {
		return errors.New("there is no terminal to watch")
	}
	var before, raw unix.Termios
	for _, t := range []*unix.Termios{&before, &raw} {
		if err := binary.Read(os.Stdin, binary.NativeEndian, t); err != nil {
			return err
		}
	}
	var word [1]byte
	if n, _ := io.ReadFull(os.Stdin, word[:]); n == 1 && word[0] == finished {
		return nil
	}
	// The shell that started the console may have taken the terminal back by now:
	// then its modes are its own.
	if now, err := term.GetState(tty.Fd()); err == nil && now.Termios == raw {
		now.Termios = before
		if err := term.SetState(tty.Fd(), now); err != nil {
			return err
		}
	}
	_, err := tty.WriteString(restore)
	return err
}

// canSuspend reports whether there is a shell that would take over: a program
// that is the first of its session, as in a popup of tmux, cannot be stopped.
func canSuspend() bool {
	parent := os.Getppid()
	group, err := unix.Getpgid(parent)
	if err != nil {
		return false
	}
	theirs, err := unix.Getsid(parent)
	if err != nil {
		return false
	}
	ours, err := unix.Getsid(0)
	return err == nil && theirs == ours && group != unix.Getpgrp()
}
