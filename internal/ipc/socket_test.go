package ipc

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestListenIsPrivateAndLeavesNothing(t *testing.T) {
	l, path := listen(t)
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestListenTakesOverOnlyWhatIsDead(t *testing.T) {
	l, path := listen(t)
	if _, err := Listen(path); !errors.Is(err, ErrInUse) {
		t.Errorf("a living socket: %v", err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	again, err := Listen(path)
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	again.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "x" {
		t.Errorf("the file is now %q, %v", b, err)
	}
}

func TestSocketPathTooLong(t *testing.T) {
	fits := "/" + strings.Repeat("x", maxSocketPath-1)
	if err := CheckSocketPath(fits); err != nil {
		t.Error(err)
	}
	long := fits + "y"
	_, lerr := Listen(long)
	_, derr := Dial(t.Context(), long)
	for _, err := range []error{lerr, derr} {
		if err == nil || !strings.Contains(err.Error(), "MCPGUARD_HOME") {
			t.Errorf("got %v", err)
		}
	}
}

func TestDialWithoutDaemon(t *testing.T) {
	path := socketPath(t)
	if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("a dead socket: %v", err)
	}
}

func TestLock(t *testing.T) {
	path := socketPath(t)
	f, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	late := make(chan error, 1)
	go func() { _, err := Lock(ctx, path); late <- err }() // ends with cancel
	cancel()
	if err := <-late; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	next := make(chan error, 1)
	go func() { // ends when f is closed
		g, err := Lock(t.Context(), path)
		if err == nil {
			err = g.Close()
		}
		next <- err
	}()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-next:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the lock is not passed on")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(t.Context(), path); err == nil {
		t.Error("locked through a link")
	}
}
