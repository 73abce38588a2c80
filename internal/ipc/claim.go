package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// HeldError is the error of Claim if another process holds the folder.
type HeldError struct {
	Folder string
	PID    int // 0 where it is not known
}

// Error names the process that holds the folder.
func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("another guard daemon works in %s", e.Folder)
	}
	return fmt.Sprintf("another guard daemon (process %d) works in %s", e.PID, e.Folder)
}

// How long a starting daemon waits for the previous one: in general, and for
// one that is stopping, which accepts no connections while its sessions record
// how they end.
const (
	claimPatience  = 2 * time.Second
	endingPatience = 15 * time.Second
)

// Claim makes this process the daemon of the state folder. It takes a lock
// that shows its holder and that ends with the process. So a daemon is found
// even if its sockets are gone, and no second one starts if the database was
// removed from under the first. The error is a *HeldError if another process
// holds the lock.
//
// Closing any descriptor of the lock file in this process would release the
// lock, so nothing else here may open it.
func (p Paths) Claim(ctx context.Context) (io.Closer, error) {
	began := time.Now()
	return p.claim(ctx, claimPatience, func() bool {
		_, err := Listener(ctx, p.AgentSocket())
		return errors.Is(err, ErrNoDaemon) && time.Since(began) < endingPatience
	})
}

// claim checks after each patience whether the previous daemon is stopping.
func (p Paths) claim(ctx context.Context, patience time.Duration, ending func() bool) (io.Closer, error) {
	fd, err := unix.Open(p.DaemonLock(), unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: p.DaemonLock(), Err: err}
	}
	f := os.NewFile(uintptr(fd), p.DaemonLock())
	until := time.NewTimer(patience)
	defer until.Stop()
	for {
		lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
		err := unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &lock)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", p.DaemonLock(), err)
		}
		wait := time.NewTimer(20 * time.Millisecond)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			f.Close()
			return nil, ctx.Err()
		case <-until.C:
			wait.Stop()
			if ending() {
				until.Reset(patience)
				continue
			}
			pid := holder(fd)
			f.Close()
			return nil, &HeldError{Folder: p.State, PID: pid}
		}
	}
}

// holder returns the process that holds the lock; 0 if there is none, or it is
// not visible from here.
func holder(fd int) int {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_GETLK, &lock); err != nil || lock.Type == unix.F_UNLCK {
		return 0
	}
	return int(lock.Pid)
}

// FoundDaemon is a running daemon as seen by other processes.
type FoundDaemon struct {
	Proc
	Unreachable bool // no one listens on the approver socket
}

// FindDaemon returns the daemon of these folders: the process that has claimed
// the state folder, or else the one that listens on its socket. It creates
// nothing. The error wraps ErrNoDaemon if there is none.
func (p Paths) FindDaemon(ctx context.Context) (FoundDaemon, error) {
	listens, lerr := Listener(ctx, p.ApproverSocket())
	fd, err := unix.Open(p.DaemonLock(), unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == nil {
		pid := holder(fd)
		unix.Close(fd)
		if pid > 0 {
			if found, err := Inspect(pid); err == nil && found.UID == os.Geteuid() {
				return FoundDaemon{Proc: found, Unreachable: errors.Is(lerr, ErrNoDaemon)}, nil
			}
		}
	}
	if lerr != nil {
		return FoundDaemon{}, lerr
	}
	return FoundDaemon{Proc: listens}, nil
}

// Exist reports whether the guard has been set up or started in these folders.
func (p Paths) Exist() bool {
	for _, dir := range []string{p.Config, p.State} {
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			return true
		}
	}
	return false
}

// Missing is the error of a read-only command if there is no guard. It wraps
// ErrNoDaemon.
func (p Paths) Missing() error {
	where := p.Config
	if p.State != p.Config {
		where += " and " + p.State
	}
	hint := "`mcpguardd add` or `mcpguardd hooks install` sets one up"
	if os.Getenv(EnvHome) != "" {
		hint = "look at " + EnvHome + "; " + hint
	}
	return fmt.Errorf("there is no guard in %s, and none was made: %s (%w)", where, hint, ErrNoDaemon)
}

// DaemonLock is locked by the daemon while it runs.
func (p Paths) DaemonLock() string { return filepath.Join(p.State, "daemon.lock") }
