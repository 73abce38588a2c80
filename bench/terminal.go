package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
)

// terminal is a program on a pseudo-terminal of its own. One goroutine uses it.
type terminal struct {
	cmd   *exec.Cmd
	far   *os.File
	began time.Time

	mu   sync.Mutex
	got  []byte
	more chan struct{} // has a token after each read
}

// screenSize is that of a usual wide window.
var screenSize = &pty.Winsize{Rows: 45, Cols: 140}

// onTerminal starts a program. began is taken before the process exists.
func onTerminal(env []string, command ...string) (*terminal, error) {
	t := &terminal{cmd: exec.Command(command[0], command[1:]...), more: make(chan struct{}, 1)}
	t.cmd.Env = append(env[:len(env):len(env)], "TERM=xterm-256color", "COLORTERM=truecolor", "LANG=C.UTF-8")
	t.began = time.Now()
	var err error
	if t.far, err = pty.StartWithSize(t.cmd, screenSize); err != nil {
		return nil, err
	}
	go func() { // ends when the program has left the terminal
		b := make([]byte, 64<<10)
		for {
			n, err := t.far.Read(b)
			t.mu.Lock()
			t.got = append(t.got, b[:n]...)
			t.mu.Unlock()
			select {
			case t.more <- struct{}{}:
			default:
			}
			if err != nil {
				close(t.more)
				return
			}
		}
	}()
	return t, nil
}

func (t *terminal) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.got)
}

// until waits for a text among what was written from an offset on.
func (t *terminal) until(from int, text string) error {
	late := time.After(30 * time.Second)
	for {
		t.mu.Lock()
		found := bytes.Contains(t.got[from:], []byte(text))
		end := string(t.got[max(0, len(t.got)-300):])
		t.mu.Unlock()
		if found {
			return nil
		}
		select {
		case _, ok := <-t.more:
			if !ok {
				return fmt.Errorf("the program ended before it wrote %q, with %q", text, end)
			}
		case <-late:
			return fmt.Errorf("%q was never written; the end is %q", text, end)
		}
	}
}

// grown waits until something more than from bytes was written.
func (t *terminal) grown(from int) error {
	late := time.After(30 * time.Second)
	for t.size() <= from {
		select {
		case _, ok := <-t.more:
			if !ok {
				return errors.New("the program ended")
			}
		case <-late:
			return errors.New("nothing is written")
		}
	}
	return nil
}

// quiet waits until nothing was written for a while.
func (t *terminal) quiet() {
	for {
		select {
		case _, ok := <-t.more:
			if !ok {
				return
			}
		case <-time.After(60 * time.Millisecond):
			return
		}
	}
}

// close ends the program and waits for it.
func (t *terminal) close() {
	_ = t.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	_ = t.cmd.Wait()
	_ = t.far.Close()
}
