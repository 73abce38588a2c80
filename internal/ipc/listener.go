package ipc

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrFolderGone is wrapped when the guard's folder was removed while the daemon
// runs.
var ErrFolderGone = errors.New("the guard's folder was removed")

// Socket is a daemon's listener that can restore its file after it was
// removed. It only removes its own file, even if its folder was moved and
// another daemon has created sockets at the old path. It is safe for
// concurrent use.
type Socket struct {
	path   string
	folder *os.File // the folder of the file, even after it was moved

	accepted chan accepted
	closed   chan struct{}
	end      sync.Once
	readers  sync.WaitGroup

	mu   sync.Mutex
	l    *net.UnixListener
	file inode
}

type accepted struct {
	conn *net.UnixConn
	err  error
}

// inode identifies a file.
type inode struct{ dev, ino uint64 }

// Bind listens as Listen does. Close ends it.
func Bind(path string) (*Socket, error) {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	s := &Socket{path: path, folder: folder, accepted: make(chan accepted), closed: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.listen(); err != nil {
		folder.Close()
		return nil, err
	}
	return s, nil
}

// listen creates the file and accepts connections; mu is held.
func (s *Socket) listen() error {
	l, err := Listen(s.path)
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false) // the file at its path could be another's
	file, err := s.find()
	if err != nil {
		l.Close()
		return fmt.Errorf("listening on %s: %w", s.path, err)
	}
	s.l, s.file = l, file
	s.readers.Go(func() { s.take(l) }) // ends when l is closed, or s
	return nil
}

// find returns which file is at the path of the socket.
func (s *Socket) find() (inode, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(s.folder.Fd()), filepath.Base(s.path), &st, unix.AT_SYMLINK_NOFOLLOW)
	return inode{uint64(st.Dev), st.Ino}, err
}

func (s *Socket) take(l *net.UnixListener) {
	for {
		c, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		select {
		case s.accepted <- accepted{c, err}:
		case <-s.closed:
			if c != nil {
				c.Close()
			}
			return
		}
	}
}

// AcceptUnix returns the next connection; after Close the error wraps
// net.ErrClosed. After another error it can be called again, a little later.
func (s *Socket) AcceptUnix() (*net.UnixConn, error) {
	select {
	case a := <-s.accepted:
		return a.conn, a.err
	case <-s.closed:
		return nil, fmt.Errorf("accepting on %s: %w", s.path, net.ErrClosed)
	}
}

// Accept implements net.Listener.
func (s *Socket) Accept() (net.Conn, error) {
	c, err := s.AcceptUnix()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Addr implements net.Listener.
func (s *Socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// Restore recreates the file if it was removed, and reports whether it did.
// Connections are not affected. If the folder was moved, its sockets moved
// with it and still work. The error wraps ErrFolderGone if the folder was
// removed.
func (s *Socket) Restore() (made bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return false, nil
	default:
	}
	if found, err := s.find(); err == nil && found == s.file {
		return false, nil
	}
	var own, there unix.Stat_t
	if err := unix.Fstat(int(s.folder.Fd()), &own); err != nil || own.Nlink == 0 {
		return false, fmt.Errorf("%w: %s", ErrFolderGone, filepath.Dir(s.path))
	}
	if err := unix.Stat(filepath.Dir(s.path), &there); err != nil || there.Dev != own.Dev || there.Ino != own.Ino {
		return false, fmt.Errorf("the guard's folder is not at %s any more, and its socket %s was removed", filepath.Dir(s.path), filepath.Base(s.path))
	}
	old := s.l
	if err := s.listen(); err != nil {
		return false, err
	}
	old.Close()
	return true, nil
}

// Close stops listening and removes the file, if it is the one that was
// created.
func (s *Socket) Close() error {
	s.end.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(s.closed)
		s.l.Close()
		s.readers.Wait()
		if found, err := s.find(); err == nil && found == s.file {
			_ = unix.Unlinkat(int(s.folder.Fd()), filepath.Base(s.path), 0) // left behind it is taken over by the next daemon
		}
		s.folder.Close()
	})
	return nil
}

// RestoreEvery restores missing files of sockets at this interval until done
// is closed. It calls tell for each that was restored or could not be.
func RestoreEvery(every time.Duration, done <-chan struct{}, sockets []*Socket, tell func(path string, err error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	failed := map[*Socket]string{}
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		for _, s := range sockets {
			made, err := s.Restore()
			text := fmt.Sprint(err)
			if made || err != nil && failed[s] != text {
				tell(s.path, err)
			}
			failed[s] = text
		}
	}
}
