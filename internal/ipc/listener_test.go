package ipc

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func bind(t *testing.T, path string) *Socket {
	t.Helper()
	s, err := Bind(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// answered checks that a connection to path reaches s.
func answered(t *testing.T, s *Socket, path string) {
	t.Helper()
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for { // skip earlier probes that only checked for an answer
		got, err := s.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		n, err := got.Read(make([]byte, 1))
		got.Close()
		if n == 1 {
			return
		}
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
}

func TestSocketComesBack(t *testing.T) {
	path := socketPath(t)
	s := bind(t, path)
	answered(t, s, path)
	if made, err := s.Restore(); made || err != nil {
		t.Errorf("nothing was wrong: %v, %v", made, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if made, err := s.Restore(); !made || err != nil {
		t.Fatalf("not made anew: %v, %v", made, err)
	}
	answered(t, s, path)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
	if _, err := s.AcceptUnix(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	if made, err := s.Restore(); made || err != nil {
		t.Errorf("comes back after the end: %v, %v", made, err)
	}
}

// TestSocketOfAnotherStays: a daemon does not remove a file that it does not
// own, and does not replace it while someone answers there.
func TestSocketOfAnotherStays(t *testing.T) {
	path := socketPath(t)
	s := bind(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other := bind(t, path)
	if made, err := s.Restore(); made || !errors.Is(err, ErrInUse) {
		t.Errorf("another listens: %v, %v", made, err)
	}
	s.Close()
	answered(t, other, path)
}

// TestSocketsMoveWithTheirFolder: the daemon that created the sockets removes them
// in the moved folder, and leaves those that another daemon created at the old
// path.
func TestSocketsMoveWithTheirFolder(t *testing.T) {
	base, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	old, moved := filepath.Join(base, "a"), filepath.Join(base, "b")
	if err := os.Mkdir(old, 0o700); err != nil {
		t.Fatal(err)
	}
	s := bind(t, filepath.Join(old, "s"))
	if err := os.Rename(old, moved); err != nil {
		t.Fatal(err)
	}
	if made, err := s.Restore(); made || err != nil {
		t.Errorf("moved: %v, %v", made, err)
	}
	answered(t, s, filepath.Join(moved, "s"))
	if err := os.Mkdir(old, 0o700); err != nil {
		t.Fatal(err)
	}
	other := bind(t, filepath.Join(old, "s"))
	s.Close()
	answered(t, other, filepath.Join(old, "s"))
	if _, err := os.Lstat(filepath.Join(moved, "s")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its own file is left behind: %v", err)
	}
}

func TestSocketOfARemovedFolder(t *testing.T) {
	path := socketPath(t)
	s := bind(t, path)
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if made, err := s.Restore(); made || !errors.Is(err, ErrFolderGone) {
		t.Errorf("got %v, %v", made, err)
	}
}
