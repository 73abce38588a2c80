package ipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoDaemon is wrapped by Dial if no process listens on the socket.
var ErrNoDaemon = errors.New("the guard daemon is not running")

// ErrInUse is wrapped by Listen when another process answers on the socket.
var ErrInUse = errors.New("another process answers on this socket")

// maxSocketPath is the longest path that the system takes for a socket, in
// bytes; the kernel's field keeps one more for the terminating zero.
const maxSocketPath = len(unix.RawSockaddrUnix{}.Path) - 1

// CheckSocketPath reports a path that is too long for a socket, with what to
// do about it.
func CheckSocketPath(path string) error {
	if len(path) <= maxSocketPath {
		return nil
	}
	return fmt.Errorf("the socket path %s has %d bytes, this system takes at most %d: set %s to a shorter folder, for example %s=/tmp/mcpguard-%d, for the daemon and for the clients",
		path, len(path), maxSocketPath, EnvHome, EnvHome, os.Geteuid())
}

// Listen creates a stream socket at path with mode 0600, in a folder made by
// Paths.Prepare. It removes a socket file left by a dead process; if a process
// still answers, the error wraps ErrInUse. The caller must make sure that only
// one process calls Listen for path at a time (the daemon holds the lock of
// its database). Closing the listener removes the file.
func Listen(path string) (*net.UnixListener, error) {
	if err := CheckSocketPath(path); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	// Between bind and chmod the 0700 folder keeps others out.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("listening: %w", err)
	}
	return l, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return errors.New("there is a file of this name that is not a socket; it is not touched")
	}
	c, err := net.DialTimeout("unix", path, 2*time.Second)
	if err == nil {
		c.Close()
		return ErrInUse
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		// fail closed: only a refused connection proves that no process
		// listens.
		return fmt.Errorf("cannot tell whether a process answers: %w", err)
	}
	return os.Remove(path)
}

// Dial connects to the socket at path until ctx ends. It refuses a listener of
// another user. The error wraps ErrNoDaemon if no process listens.
func Dial(ctx context.Context, path string) (*net.UnixConn, error) {
	if err := CheckSocketPath(path); err != nil {
		return nil, err
	}
	c, err := dial(ctx, path)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("%w (nobody listens on %s)", ErrNoDaemon, path)
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to the guard daemon: %w", err)
	}
	uid, _, err := peerCred(c)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("connecting to the guard daemon: %w", err)
	}
	if uid != os.Geteuid() {
		c.Close()
		// fail closed: whoever listens there would see the session.
		return nil, fmt.Errorf("user %d listens on %s, not user %d who runs this", uid, filepath.Clean(path), os.Geteuid())
	}
	return c, nil
}

// dial connects, and retries while the listener's queue is full, which the
// kernel reports at once instead of waiting.
func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout) // a hanging daemon accepts only as many as its queue holds
	defer cancel()
	for {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			return c.(*net.UnixConn), nil
		}
		if !errors.Is(err, unix.EAGAIN) {
			return nil, err
		}
		t := time.NewTimer(2 * time.Millisecond)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, err
		case <-t.C:
		}
	}
}
