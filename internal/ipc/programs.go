package ipc

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// programNames are the guard's programs that serve a client's connection.
var programNames = [...]string{"mcpguard", "mcpguardd"}

// Programs recognises the guard's own programs by the file that a process
// executes: the file of this process, and the programs with the guard's names
// in its folder. A name or path alone proves nothing, since anyone can choose
// it. It is safe for concurrent use.
type Programs struct {
	dir  string   // the folder of this program
	self *os.File // what this process executes, also after it was replaced on disk; nil where it cannot be opened

	mu     sync.Mutex
	hashes map[fileState][sha256.Size]byte
}

// fileState identifies one content of one file.
type fileState struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // nanoseconds
}

// maxHashed bounds the contents whose hash is remembered.
const maxHashed = 64

// OwnPrograms returns the programs of this installation. It lives as long as
// the process.
func OwnPrograms() *Programs {
	p := &Programs{hashes: map[fileState][sha256.Size]byte{}}
	exe, err := os.Executable()
	if err != nil {
		return p // fail closed: no process is recognised
	}
	if f, err := os.Open(executableOf(os.Getpid())); err == nil {
		p.self = f
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	p.dir = filepath.Dir(exe)
	return p
}

// Running reports whether a process executes one of the guard's own programs;
// in doubt it does not. The caller must make sure that the process still runs
// (Peer.Alive), so that its pid does not mean another one.
func (p *Programs) Running(pid int) bool {
	return p.Is(executableOf(pid))
}

// Is reports whether a file is one of the guard's own programs: the same file,
// or one with the same content.
func (p *Programs) Is(path string) bool {
	if path == "" {
		return false
	}
	// Non-blocking, because the file may be a pipe.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false // fail closed: a file that cannot be read is not ours
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	found, err := stateOf(f)
	if err != nil {
		return false
	}
	for _, own := range p.own() {
		defer own.Close()
		state, err := stateOf(own)
		if err != nil {
			continue
		}
		if state.dev == found.dev && state.ino == found.ino || state.size == found.size && p.alike(own, state, f, found) {
			return true
		}
	}
	return false
}

// own opens the current programs.
func (p *Programs) own() []*os.File {
	var out []*os.File
	if p.self != nil {
		if fd, err := unix.FcntlInt(p.self.Fd(), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			out = append(out, os.NewFile(uintptr(fd), p.self.Name()))
		}
	}
	for _, name := range programNames {
		if p.dir == "" {
			break
		}
		if f, err := os.OpenFile(filepath.Join(p.dir, name), os.O_RDONLY|unix.O_NONBLOCK, 0); err == nil {
			out = append(out, f)
		}
	}
	return out
}

// alike reports whether two files have the same content.
func (p *Programs) alike(a *os.File, as fileState, b *os.File, bs fileState) bool {
	x, err := p.hash(a, as)
	if err != nil {
		return false
	}
	y, err := p.hash(b, bs)
	return err == nil && x == y
}

func (p *Programs) hash(f *os.File, s fileState) (sum [sha256.Size]byte, err error) {
	p.mu.Lock()
	sum, known := p.hashes[s]
	p.mu.Unlock()
	if known {
		return sum, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, s.size)); err != nil {
		return sum, err
	}
	if now, err := stateOf(f); err != nil || now != s {
		return sum, fmt.Errorf("%s changed while it was read", f.Name())
	}
	h.Sum(sum[:0])
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.hashes) >= maxHashed {
		clear(p.hashes)
	}
	p.hashes[s] = sum
	return sum, nil
}

// stateOf returns the state of a regular file.
func stateOf(f *os.File) (fileState, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fileState{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fileState{}, fmt.Errorf("%s is no regular file", f.Name())
	}
	return fileState{dev: uint64(st.Dev), ino: st.Ino, size: st.Size, mtime: mtimeOf(&st), ctime: ctimeOf(&st)}, nil
}
