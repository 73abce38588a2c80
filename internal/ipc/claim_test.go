package ipc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// claim is a daemon that holds a folder.
func claim(args []string) error {
	held, err := Paths{Config: args[0], State: args[0]}.Claim(context.Background())
	if err != nil {
		return err
	}
	defer held.Close()
	fmt.Println("held")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// TestDaemonIsFoundByItsLock: without sockets and database the daemon is still
// found, and no second one starts.
func TestDaemonIsFoundByItsLock(t *testing.T) {
	dir := t.TempDir()
	p := Paths{Config: dir, State: dir}
	if _, err := p.FindDaemon(t.Context()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("nobody holds it: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("a look made %v, %v", entries, err)
	}
	cmd := helper(t, "claim", dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
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
	found, err := p.FindDaemon(t.Context())
	if err != nil || found.PID != cmd.Process.Pid || !found.Unreachable {
		t.Errorf("found %+v, %v", found, err)
	}
	agents := bind(t, p.AgentSocket()) // it works
	var held *HeldError
	if _, err := p.Claim(t.Context()); !errors.As(err, &held) || held.PID != cmd.Process.Pid || held.Folder != dir {
		t.Errorf("a second one: %v", err)
	}
	agents.Close()
	s := bind(t, filepath.Join(dir, "approver.sock"))
	defer s.Close()
	if found, err := p.FindDaemon(t.Context()); err != nil || found.PID != cmd.Process.Pid || found.Unreachable {
		t.Errorf("with a socket: %+v, %v", found, err)
	}
	// It ends, which the next one waits for.
	asked := 0
	next, err := p.claim(t.Context(), time.Millisecond, func() bool {
		asked++
		in.Close()
		return true
	})
	if err != nil || asked == 0 {
		t.Fatalf("the next one: %v, asked %d times", err, asked)
	}
	next.Close()
	cmd.Wait()
	if found, err := p.FindDaemon(t.Context()); err != nil || found.PID != os.Getpid() {
		t.Errorf("after its end the listener is left: %+v, %v", found, err)
	}
	again, err := p.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// TestMissingFoldersAreReportedAndNotCreated.
func TestMissingFoldersAreReportedAndNotCreated(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mistyped")
	p := Paths{Config: dir, State: dir}
	if p.Exist() || !errors.Is(p.Missing(), ErrNoDaemon) {
		t.Errorf("%v, %v", p.Exist(), p.Missing())
	}
	if _, err := p.FindDaemon(t.Context()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("got %v", err)
	}
	if p.Exist() {
		t.Error("a look made the folder")
	}
}
