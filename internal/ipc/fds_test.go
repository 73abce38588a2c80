package ipc

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

func TestFilesArriveUsable(t *testing.T) {
	client, server := pair(t)
	// Blocking, as a client would give it to the shim.
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	r, w := os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	defer w.Close()
	if err := sendFiles(client, []byte("hello\n"), r); err != nil {
		t.Fatal(err)
	}
	r.Close()
	buf := make([]byte, 100)
	n, files, err := RecvFiles(server, buf)
	if err != nil || string(buf[:n]) != "hello\n" || len(files) != 1 {
		t.Fatalf("%q, %d files, %v", buf[:n], len(files), err)
	}
	got := files[0]
	if err := control(got, func(fd int) error {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if flags&unix.FD_CLOEXEC == 0 {
			t.Error("inherited by children")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	// A reader that waits is freed by a deadline and by Close.
	if err := got.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := got.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
	got.SetReadDeadline(time.Time{})
	if _, err := w.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if n, err := got.Read(buf); n != 1 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	read := make(chan error, 1)
	go func() { _, err := got.Read(make([]byte, 1)); read <- err }() // ends with Close
	if err := got.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-read:
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a reader is stuck")
	}
}

func TestOnlyPipesAndSocketsArePassable(t *testing.T) {
	r, w := pipe(t)
	client, _ := pair(t)
	sock, err := client.File()
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	ptmx, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer ptmx.Close()
	defer tty.Close()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, c := range map[string]struct {
		f    *os.File
		want bool
	}{
		"pipe": {r, true}, "pipe's other end": {w, true}, "socket": {sock, true},
		"terminal": {tty, false}, "file": {file, false}, "/dev/null": {null, false},
	} {
		if got := PassableFile(c.f); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	r.Close()
	if PassableFile(r) {
		t.Error("a closed file is passable")
	}
}

func TestUninvitedFilesBelongToTheReceiver(t *testing.T) {
	client, server := pair(t)
	r, w := pipe(t)
	if err := sendFiles(client, []byte("x"), w, w, w); err != nil {
		t.Fatal(err)
	}
	w.Close()
	_, files, err := RecvFiles(server, make([]byte, 10))
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	closeFiles(files)
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("not all closed: %v", err)
	}
	if err := sendFiles(client, nil, r); err == nil {
		t.Error("sent without a byte")
	}
}
