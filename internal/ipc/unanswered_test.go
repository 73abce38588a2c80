package ipc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// listenOnly listens and takes nothing off its queue.
func listenOnly(args []string) error {
	l, err := Listen(args[0])
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Println("listening")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// TestStoppedDaemonIsNamed: the error names the stopped process and how to
// continue it.
func TestStoppedDaemonIsNamed(t *testing.T) {
	path := socketPath(t)
	if err := Unanswered(t.Context(), path); !strings.Contains(err.Error(), "mcpguardd doctor") {
		t.Errorf("nobody listens: %v", err)
	}
	cmd := helper(t, "listen", path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if err := Unanswered(t.Context(), path); !strings.Contains(err.Error(), fmt.Sprintf("(process %d) does not answer", pid)) {
		t.Errorf("it runs: %v", err)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for { // the signal takes a moment
		p, err := Listener(until, path)
		if err != nil {
			t.Fatal(err)
		}
		if p.Stopped {
			break
		}
	}
	if err := Unanswered(t.Context(), path); !strings.Contains(err.Error(), fmt.Sprintf("kill -CONT %d", pid)) {
		t.Errorf("it is suspended: %v", err)
	}
	r, w := pipe(t)
	conn, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer end()
	if _, err := Offer(ctx, conn, NewHello("files", "1"), r, w); !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "kill -CONT") {
		t.Errorf("its welcome: %v", err)
	}
}
