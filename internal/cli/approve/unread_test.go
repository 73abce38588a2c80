//go:build linux

package approve

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/guard"
)

// program starts approve as a process of its own.
func (r *rig) program(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), envProgram+"=approve", "MCPGUARD_HOME="+r.paths.State, "TERM=xterm-256color")
	return c
}

// ends waits for the end of a program.
func ends(t *testing.T, c *exec.Cmd, what string) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- c.Wait() }() // ends with the program
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		_ = c.Process.Kill()
		<-done
		t.Errorf("%s: it does not end", what)
	}
}

// TestConsoleEndsWhenTerminalIsNotRead sends each terminating signal to a
// console whose terminal takes no more output.
func TestConsoleEndsWhenTerminalIsNotRead(t *testing.T) {
	r := newRig(t)
	s := r.session()
	for n := range 3 {
		r.pending(s, n)
	}
	t.Run("all", func(t *testing.T) { consolesEnd(t, r) }) // the rig stays until each has ended
}

func consolesEnd(t *testing.T, r *rig) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		for _, args := range [][]string{nil, {"--plain"}} {
			t.Run(strings.Join(append([]string{sig.String()}, args...), " "), func(t *testing.T) {
				t.Parallel() // it mostly waits
				far, near, err := pty.Open()
				if err != nil {
					t.Fatal(err)
				}
				defer far.Close()
				defer near.Close()
				if err := pty.Setsize(far, &pty.Winsize{Rows: 50, Cols: 200}); err != nil {
					t.Fatal(err)
				}
				was, err := term.GetState(near.Fd())
				if err != nil {
					t.Fatal(err)
				}
				c := r.program(args...)
				c.Stdin, c.Stdout, c.Stderr = near, near, near
				c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				var got []byte
				b := make([]byte, 4096)
				for !bytes.Contains(got, []byte("main.go")) {
					n, err := far.Read(b)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, b[:n]...)
				}
				// From here on the terminal is not read. Each of these keys
				// makes the console write, until the terminal is full and
				// takes no keys either.
				keys := strings.Repeat("?jk", 100)
				if args != nil {
					keys = strings.Repeat("list\n", 100)
				}
				fd := int(far.Fd())
				if err := unix.SetNonblock(fd, true); err != nil {
					t.Fatal(err)
				}
				for full := time.After(1500 * time.Millisecond); full != nil; { // nothing tells that a terminal is full
					_, _ = unix.Write(fd, []byte(keys)) // what it does not take now it takes later
					select {
					case <-full:
						full = nil
					default:
						runtime.Gosched()
					}
				}
				if err := c.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				ends(t, c, sig.String())
				now, err := term.GetState(near.Fd())
				if err != nil {
					t.Fatal(err)
				}
				if now.Termios.Lflag != was.Termios.Lflag || now.Termios.Oflag != was.Termios.Oflag {
					t.Errorf("the terminal's modes are %+v, were %+v", now.Termios, was.Termios)
				}
			})
		}
	}
}

// TestCommandsEndWhenOutputIsNotRead ends a command whose output is not read.
func TestCommandsEndWhenOutputIsNotRead(t *testing.T) {
	r := newRig(t)
	long := r.pending(r.session(), 0, func(a *guard.Approval) {
		a.Preview.Change.Text = "@@ -0,0 +1,40000 @@\n" + strings.Repeat("+a line of many\n", 40_000)
	})
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := r.program("show", string(long.ID))
	c.Stdout = in
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	const least = 4096 // what a pipe holds at least
	for held, late := 0, time.Now().Add(20*time.Second); held < least; {
		if held, err = unix.IoctlGetInt(int(out.Fd()), unix.TIOCINQ); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(late) {
			t.Fatal("nothing is written")
		}
		runtime.Gosched()
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ends(t, c, "show")
}
