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

// A killed program cannot restore the terminal. A second process of it
// therefore waits, in a session of its own, for the first one to end without
// having said that it is finished. It is started well after the first frame,
// so it does not slow down the start.

// EnvWatchdog tells a process of this program that it is the watchdog.
const EnvWatchdog = "MCPGUARD_TERMINAL_WATCHDOG"

// watchdogAfter is how long a console runs before the watchdog starts.
const watchdogAfter = time.Second

// finished is sent by a console that has restored the terminal itself.
const finished = 'f'

// watchdog is the second process, as seen from the first.
type watchdog struct {
	cmd *exec.Cmd
	in  *os.File
}

// watch starts the second process. before is the terminal's original state.
// The console runs even if the watchdog cannot start.
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
	// Send both states before the process starts, because the console may be
	// killed at any moment after that. They fit into the pipe's buffer.
	for _, s := range []*term.State{before, now} {
		if err := binary.Write(w, binary.NativeEndian, s.Termios); err != nil {
			w.Close()
			return nil, err
		}
	}
	cmd := exec.Command(self)
	cmd.Env = []string{EnvWatchdog + "=1"}
	cmd.Stdin, cmd.ExtraFiles = r, []*os.File{tty}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // keeps the terminal's signals away from it
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, err
	}
	return &watchdog{cmd, w}, nil
}

// stop tells the second process that the terminal has been restored.
func (d *watchdog) stop() {
	_, _ = d.in.Write([]byte{finished}) // it may have been killed
	_ = d.in.Close()
	_ = d.cmd.Wait()
}

// restore is what the console writes when it leaves a terminal: it ends the
// keyboard and mouse modes and the alternate screen.
const restore = "\x1b[?2026l" + ansi.ResetModifyOtherKeys + ansi.ResetModeFocusEvent + ansi.ResetModeBracketedPaste + ansi.ResetModeMouseButtonEvent +
	ansi.ResetModeMouseExtSgr + "\x1b[<u" + ansi.ResetStyle + ansi.ResetModeAltScreenSaveCursor + ansi.SetModeTextCursorEnable

// Watchdog is the main function of the second process: it waits on standard
// input for the console's end. Its terminal is descriptor 3.
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
	// The shell that started the console may already control the terminal
	// again; its modes must then stay.
	if now, err := term.GetState(tty.Fd()); err == nil && now.Termios == raw {
		now.Termios = before
		if err := term.SetState(tty.Fd(), now); err != nil {
			return err
		}
	}
	_, err := tty.WriteString(restore)
	return err
}

// canSuspend reports whether a shell would take over: the first program of a
// session, as in a tmux popup, cannot be suspended.
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
