package ipc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Lock locks the file at path, which it creates if needed, and waits until ctx
// ends. The lock ends with Close of the file or with the process. It excludes
// other processes, and other descriptors in this one.
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
	// Ends when the holder releases the lock, possibly after ctx; locks are
	// held for a bounded time.
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

// LockConfig keeps other guard programs from editing the configuration files,
// including the recorded environment, until release is called. Hold it from
// reading to writing them, but not while asking a person. The wait for another
// edit is bounded. A human's editor does not respect this lock.
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
