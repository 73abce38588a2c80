//go:build linux

package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/creack/pty"

	"github.com/mcpguard/mcpguard/internal/client"
	"github.com/mcpguard/mcpguard/internal/demo"
)

// desk is a reviewer's terminal with a guard that has one pending write.
type desk struct {
	t     *testing.T
	home  string
	env   []string
	cmd   *exec.Cmd
	far   *os.File // the terminal's side
	near  *os.File // kept open, to look at its modes
	modes *term.State

	mu   sync.Mutex
	got  []byte
	more chan struct{} // has a token after each read
	gone chan struct{} // closed once the program has ended
}

// guarded starts a guard and an agent with a pending write.
func guarded(t *testing.T) (home string, env []string) {
	t.Helper()
	home, err := os.MkdirTemp("", "mg")
	if err != nil {
		t.Fatal(err)
	}
	env = []string{"MCPGUARD_HOME=" + home, "HOME=" + home, "PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"), "TERM=xterm-256color", "LANG=C.UTF-8"}
	run := func(args ...string) {
		cmd := exec.Command(filepath.Join(bin, "mcpguardd"), args...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	ws, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	run("add", "files", "--builtin", "workspace", "--workspace", ws)
	config := fmt.Sprintf("version: 1\nroots: [%q]\napprovers: {unsigned: any}\nhold: {default: wait}\nservers:\n  files: {builtin: workspace, preset: workspace, workspaces: [%q]}\n", here, ws)
	if err := os.WriteFile(filepath.Join(home, "config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd := exec.Command(filepath.Join(bin, "mcpguardd"), "stop", "--force")
		cmd.Env = env
		_ = cmd.Run() // it may have been stopped by the test
		os.RemoveAll(home)
	})
	shim := exec.Command(filepath.Join(bin, "mcpguard"), "stdio", "files")
	shim.Env = env
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	shim.Stdin, shim.Stdout = inR, outW
	if err := shim.Start(); err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	agent := demo.NewAgent(outR, inW)
	t.Cleanup(func() {
		inW.Close()
		outR.Close()
		_ = shim.Wait() // its end is the session's
	})
	if err := agent.Initialize(ctx, "story-agent"); err != nil {
		t.Fatal(err)
	}
	go agent.Call(context.Background(), "write_file", map[string]string{"path": "plan.txt", "content": "a careful plan\n"}) // ends with the session
	api := client.New(filepath.Join(home, "approver.sock"))
	defer api.Close()
	for _, err := range api.Watch(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if n, err := api.Count(ctx, client.Filter{Status: []string{client.Pending}}); err == nil && n == 1 {
			return home, env
		}
	}
	t.Fatal("nothing waits")
	return
}

// sit runs a program on a terminal of its own.
func sit(t *testing.T, command ...string) *desk {
	t.Helper()
	home, env := guarded(t)
	far, near, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, home: home, env: env, far: far, near: near, more: make(chan struct{}, 1), gone: make(chan struct{})}
	d.resize(80, 24)
	if d.modes, err = term.GetState(near.Fd()); err != nil {
		t.Fatal(err)
	}
	if len(command) == 0 {
		command = []string{filepath.Join(bin, "approve")}
	}
	d.cmd = exec.Command(command[0], command[1:]...)
	d.cmd.Env, d.cmd.Stdin, d.cmd.Stdout, d.cmd.Stderr = env, near, near, near
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = d.cmd.Wait(); close(d.gone) }() // ends with the program
	go func() {                                     // ends when the terminal is closed
		b := make([]byte, 64<<10)
		for {
			n, err := far.Read(b)
			d.mu.Lock()
			d.got = append(d.got, b[:n]...)
			d.mu.Unlock()
			select {
			case d.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill() // it has ended, mostly
		<-d.gone
		near.Close()
		far.Close()
	})
	return d
}

func (d *desk) resize(w, h int) {
	if err := pty.Setsize(d.far, &pty.Winsize{Rows: uint16(h), Cols: uint16(w)}); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) size() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.got)
}

// until waits for a text in what is written from an offset on, and returns where
// it ends.
func (d *desk) until(from int, text string) int {
	d.t.Helper()
	late := time.After(patience)
	for {
		d.mu.Lock()
		i := bytes.Index(d.got[from:], []byte(text))
		end := string(d.got[max(0, len(d.got)-400):])
		d.mu.Unlock()
		if i >= 0 {
			return from + i + len(text)
		}
		select {
		case <-d.more:
		case <-late:
			d.t.Fatalf("%q was never written; the end is %q", text, end)
		}
	}
}

func (d *desk) types(keys string) {
	d.t.Helper()
	if _, err := d.far.WriteString(keys); err != nil {
		d.t.Fatal(err)
	}
}

// asBefore looks at the modes of the terminal.
func (d *desk) asBefore() {
	d.t.Helper()
	now, err := term.GetState(d.near.Fd())
	if err != nil {
		d.t.Fatal(err)
	}
	if !reflect.DeepEqual(now, d.modes) {
		d.t.Errorf("the terminal's modes are %+v, were %+v", now, d.modes)
	}
}

func (d *desk) ends() {
	d.t.Helper()
	select {
	case <-d.gone:
	case <-time.After(patience):
		d.t.Fatal("the console does not end")
	}
}

const (
	leaves = "\x1b[?1049l" // the alternate screen
	shows  = "\x1b[?25h"   // the cursor
)

func TestConsoleLeavesTheTerminalAsItWas(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			d := sit(t)
			d.until(0, "a careful plan")
			if err := d.cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			d.ends()
			d.until(0, leaves)
			d.until(0, shows)
			d.asBefore()
		})
	}
	t.Run("killed", func(t *testing.T) {
		d := sit(t)
		d.until(0, "a careful plan")
		watcher := childOf(t, d.cmd.Process.Pid)
		if err := d.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		d.ends()
		d.until(0, leaves)
		d.until(0, shows)
		for late := time.After(patience); syscall.Kill(watcher, 0) == nil; {
			select {
			case <-late:
				t.Fatal("the process that watched does not end")
			default:
			}
		}
		d.asBefore()
	})
	t.Run("left", func(t *testing.T) {
		d := sit(t)
		d.until(0, "a careful plan")
		watcher := childOf(t, d.cmd.Process.Pid)
		d.types("q")
		d.ends()
		d.until(0, leaves)
		d.asBefore()
		if err := syscall.Kill(watcher, 0); err == nil {
			t.Error("the process that watched is still there")
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if n := bytes.Count(d.got, []byte(leaves)); n != 1 {
			t.Errorf("the alternate screen was left %d times", n)
		}
	})
}

// childOf waits until a process has started another one.
func childOf(t *testing.T, pid int) int {
	t.Helper()
	for late := time.After(patience); ; {
		all, err := filepath.Glob("/proc/[0-9]*/stat")
		if err != nil || len(all) == 0 {
			t.Fatalf("processes cannot be listed: %v", err)
		}
		for _, name := range all {
			b, err := os.ReadFile(name)
			if err != nil {
				continue // it has ended
			}
			var child, parent int
			var state string
			rest := string(b[bytes.LastIndexByte(b, ')')+1:])
			if _, err := fmt.Sscan(rest, &state, &parent); err != nil || parent != pid {
				continue
			}
			if _, err := fmt.Sscan(strings.Split(name, "/")[2], &child); err == nil {
				return child
			}
		}
		select {
		case <-late:
			t.Fatalf("process %d starts no other", pid)
		case <-time.After(20 * time.Millisecond): // between two looks at the list
		}
	}
}

// TestConsoleSuspendsAndResumes suspends the console as a shell does, and
// resumes it.
func TestConsoleSuspendsAndResumes(t *testing.T) {
	d := sit(t, "/bin/sh", "-c", "set -m; approve; echo STOP''PED; fg >/dev/null; echo END''ED")
	d.until(0, "a careful plan")
	from := d.size()
	d.types("\x1a")
	from = d.until(from, "STOPPED")
	d.until(0, leaves)
	d.until(from, "a careful plan") // painted again
	d.types("q")
	d.until(from, "ENDED")
	d.ends()
	d.asBefore()
}

// TestConsoleWithoutAShell runs the console first in its session, as in a tmux
// popup: it must not suspend, because nothing could resume it.
func TestConsoleWithoutAShell(t *testing.T) {
	d := sit(t)
	d.until(0, "a careful plan")
	from := d.size()
	d.types("\x1a")
	d.until(from, "there is no shell")
	d.types("q")
	d.ends()
	d.asBefore()
}

// TestConsoleThroughManySizes changes the window faster than it is painted.
func TestConsoleThroughManySizes(t *testing.T) {
	d := sit(t)
	d.until(0, "a careful plan")
	for i := range 300 {
		d.resize(1+i*7%190, 1+i*5%60)
	}
	d.resize(100, 30)
	from := d.size()
	d.types("?")
	d.until(from, "approve_marked") // the help shows names from 68 columns on
	d.types("q")
	d.ends()
	d.asBefore()
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

// TestConsoleFollowsTheDaemon stops the daemon under a console and starts it
// again.
func TestConsoleFollowsTheDaemon(t *testing.T) {
	d := sit(t)
	d.until(0, "a careful plan")
	run := func(name string, args ...string) {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Env = d.env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	for range 2 {
		from := d.size()
		run("mcpguardd", "stop", "--force")
		stopped := time.Now()
		from = d.until(from, "no daemon")
		said := time.Since(stopped)
		run("approve", "--list") // starts it
		started := time.Now()
		d.until(from, "live")
		t.Logf("said after %v, true again after %v", said, time.Since(started))
	}
	d.types("q")
	d.ends()
	d.asBefore()
}
