package ipc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Lock takes the lock of the file at path, which it makes if need be, and
// waits for it as long as ctx lasts. The lock ends with Close of the file or
// with the process. It keeps processes apart, and descriptors within one.
func Lock(ctx context.Context, path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	err = flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	got := make(chan error, 1)
	// Ends when the holder lets go, after ctx as well; whoever takes such a
	// lock holds it for a bounded time.
	go func() { got <- flock(fd, unix.LOCK_EX) }()
	select {
	case err := <-got:
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		return f, nil
	case <-ctx.Done():
		// Closes the file once the goroutine above has ended; ends with it.
		go func() { <-got; f.Close() }()
		return nil, fmt.Errorf("waiting for %s: %w", path, ctx.Err())
	}
}

// editPatience is how long an edit of the configuration waits for another.
const editPatience = 10 * time.Second

// LockConfig keeps other programs of the guard from editing its files of
// configuration, recorded environment included, until release is called. It is
// held from reading them to writing them, and while nobody is asked anything.
// Waiting for another edit is bounded. An editor that a human uses does not
// know of this lock.
func (p Paths) LockConfig(ctx context.Context) (release func(), err error) {
	return p.lockConfig(ctx, editPatience)
}

func (p Paths) lockConfig(ctx context.Context, patience time.Duration) (release func(), err error) {
	if err := p.Prepare(); err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	f, err := Lock(wait, p.EditLock())
	switch {
	case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("another mcpguardd is changing the configuration (it has held %s for more than %s); nothing was changed here, try again once it is done", p.EditLock(), patience)
	case err != nil:
		return nil, fmt.Errorf("changing the configuration: %w", err)
	}
	return func() { f.Close() }, nil
}

func flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
