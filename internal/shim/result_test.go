package shim

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mcpguard/mcpguard/internal/ipc"
)

// asResult runs this test binary as a line that shows a token.
func asResult() int {
	paths, err := ipc.DefaultPaths()
	if err != nil {
		panic(err)
	}
	return Result(background, HookConfig{Paths: paths, Version: "0.1", In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Autostart: func(context.Context) error { return ipc.ErrNoDaemon }}, os.Args[2])
}

// line is such a process.
type line struct {
	t           *testing.T
	cmd         *exec.Cmd
	out, errors bytes.Buffer
}

func startLine(t *testing.T, p ipc.Paths, token string) *line {
	t.Helper()
	l := &line{t: t, cmd: exec.Command(os.Args[0], "result", token)}
	l.cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), p.Environ()...)
	l.cmd.Stdout, l.cmd.Stderr = &l.out, &l.errors
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if l.cmd.ProcessState == nil {
			l.cmd.Process.Kill()
			l.cmd.Wait()
		}
	})
	return l
}

func (l *line) ends(code int, stdout, stderr string) {
	l.t.Helper()
	timer := time.AfterFunc(soon, func() { l.cmd.Process.Kill() })
	defer timer.Stop()
	l.cmd.Wait()
	if got := l.cmd.ProcessState.ExitCode(); got != code || l.out.String() != stdout || !strings.Contains(l.errors.String(), stderr) {
		l.t.Errorf("exit code %d, want %d; %.200q, want %.200q; standard error %.300q, want %q", got, code, l.out.String(), stdout, l.errors.String(), stderr)
	}
}

// serveLine takes the token of one line.
func (d *daemon) serveLine(token string) (*ipc.Handover, *bufio.Reader) {
	d.t.Helper()
	h := d.welcome()
	in := bufio.NewReader(h.In)
	if got, err := in.ReadString('\n'); err != nil || got != token+"\n" || h.Hello.Server != ipc.HookResult {
		d.t.Errorf("%q, %v, as %q", got, err, h.Hello.Server)
	}
	return h, in
}

func (d *daemon) answerLine(h *ipc.Handover, text string) {
	d.t.Helper()
	if _, err := io.WriteString(h.Out, text); err != nil {
		d.t.Error(err)
	}
}

// TestALineEndsAsItsCommandDid prints what was recorded, however much it is, and
// says so to the daemon.
func TestALineEndsAsItsCommandDid(t *testing.T) {
	much := strings.Repeat("many words ", 1<<17)
	for _, c := range []struct {
		answer         string
		code           int
		stdout, stderr string
	}{
		{`{"exit_code":0,"output":[{"text":"` + much + `"}]}`, 0, much, ""},
		{`{"exit_code":3,"output":[{"text":"a"},{"text":"wrong","stderr":true},{"text":"b"}]}`, 3, "ab", "wrong"},
		{`{"signal":9,"exit_code":0}`, 137, "", ""},
		{`{"exit_code":0,"output":[{"text":"a"}],"truncated":true}`, 0, "a", "its output was cut"},
		{`{"refused":"mcpguard: not today"}`, exitNoOutcome, "", "mcpguard: not today"},
	} {
		d := newDaemon(t)
		l := startLine(t, d.paths, "TOKEN")
		h, in := d.serveLine("TOKEN")
		d.answerLine(h, c.answer+"\n")
		if said, err := in.ReadString('\n'); err != nil || said != ipc.ResultPrinted+"\n" {
			t.Errorf("it said %q, %v", said, err)
		}
		h.Close()
		l.ends(c.code, c.stdout, c.stderr)
	}
}

// TestALineKeepsTheOrderOfItsStreams: whoever gives both one file reads what a
// terminal would show.
func TestALineKeepsTheOrderOfItsStreams(t *testing.T) {
	d := newDaemon(t)
	l := &line{t: t, cmd: exec.Command(os.Args[0], "result", "TOKEN")}
	l.cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), d.paths.Environ()...)
	l.cmd.Stdout, l.cmd.Stderr = &l.out, &l.out
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h, _ := d.serveLine("TOKEN")
	d.answerLine(h, `{"exit_code":0,"output":[{"text":"1","stderr":true},{"text":"2"},{"text":"3","stderr":true},{"text":"4"}]}`+"\n")
	h.Close()
	l.ends(0, "1234", "")
}

// TestALineAsksTheNextDaemon: one that goes away before it has answered leaves
// nothing printed, and half an answer is none.
func TestALineAsksTheNextDaemon(t *testing.T) {
	d := newDaemon(t)
	l := startLine(t, d.paths, "TOKEN")
	h, _ := d.serveLine("TOKEN")
	d.answerLine(h, `{"exit_code":0,"output":[{"text":"half`)
	h.Close()
	h, _ = d.serveLine("TOKEN")
	d.answerLine(h, `{"exit_code":4,"output":[{"text":"whole"}]}`+"\n")
	h.Close()
	l.ends(4, "whole", "")
}

// TestALineWithoutADaemonSaysWhatIsKnown: one that nobody has heard has done
// nothing; of another that is not known.
func TestALineWithoutADaemonSaysWhatIsKnown(t *testing.T) {
	d := newDaemon(t)
	l := startLine(t, d.paths, "TOKEN")
	h, _ := d.serveLine("TOKEN")
	d.l.Close()
	h.Close()
	l.ends(exitNoOutcome, "", "read the files before you go on")
	startLine(t, d.paths, "TOKEN").ends(exitNoOutcome, "", "this line has done nothing")
}

// TestAKilledLineHasNotPrinted: the daemon is not told that it has.
func TestAKilledLineHasNotPrinted(t *testing.T) {
	d := newDaemon(t)
	l := startLine(t, d.paths, "TOKEN")
	h, in := d.serveLine("TOKEN")
	l.cmd.Process.Kill()
	l.cmd.Wait()
	if said, err := in.ReadString('\n'); err != io.EOF || said != "" {
		t.Errorf("it said %q, %v", said, err)
	}
	ended(t, h)
}
