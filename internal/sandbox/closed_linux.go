package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// closedFS is the file system that stands where nothing is to be seen: the root
// of the command, and what is closed below its trees. The kernel asks it about
// every name there, and so it knows what the command wanted, at no cost for all
// else. Folders and links are as they are, since they are on the way to other
// things; a file, and a look into a folder, is answered with "permission denied"
// and noted; what is not there either is not there. It is FUSE, spoken by this
// process.
type closedFS struct {
	fd     int
	places places
	want   func(Want)

	paths map[uint64]string // of nodes that the kernel knows
	nodes map[string]uint64
	next  uint64
	mu    sync.Mutex
	masks []string // closed folders, each shown as /.closed/N
}

// maskFolder holds, in the file system, the folders that stand for closed ones.
const maskFolder = "/.closed"

// mask makes room for a closed folder and returns where it is. It is called
// before the command starts, and by one goroutine.
func (f *closedFS) mask(path string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.masks = append(f.masks, path)
	return fmt.Sprintf("%s/%d", maskFolder, len(f.masks)-1)
}

// openClosedFS opens the device; ok is false on a machine that does not let us.
func openClosedFS(p places, want func(Want)) (fs *closedFS, ok bool) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false
	}
	return &closedFS{fd: fd, places: p, want: want, paths: map[uint64]string{1: "/"}, nodes: map[string]uint64{"/": 1}, next: 2}, true
}

// mount puts the file system in place and serves it. The server ends with the
// process, or when the last mount of it is gone.
func (f *closedFS) mount(at string) error {
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d", f.fd, os.Getuid(), os.Getgid())
	if err := unix.Mount("closed", at, "fuse", unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		return err
	}
	// The Go runtime waits for files through one of its own, which it opens at the
	// first need and looks at on any thread. The server's table has to have it: where
	// it is missing, such a look ends the process.
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	if err := errors.Join(r.Close(), w.Close()); err != nil {
		return err
	}
	ready := make(chan error)
	go f.serve(ready)
	if err := <-ready; err != nil {
		return err
	}
	return unix.Close(f.fd) // the server's thread has it alone
}

// Operations of FUSE that are answered with more than an error.
const (
	opLookup      = 1
	opForget      = 2
	opGetattr     = 3
	opSetattr     = 4
	opReadlink    = 5
	opSymlink     = 6
	opMknod       = 8
	opMkdir       = 9
	opUnlink      = 10
	opRmdir       = 11
	opRename      = 12
	opLink        = 13
	opOpen        = 14
	opStatfs      = 17
	opSetxattr    = 21
	opInit        = 26
	opOpendir     = 27
	opCreate      = 35
	opInterrupt   = 36
	opDestroy     = 38
	opBatchForget = 42
	opRename2     = 45
)

// fuseIn is the head of a request, fuseOut that of an answer.
type fuseIn struct {
	size, op         uint32
	unique, node     uint64
	uid, gid, pid, _ uint32
}

type fuseOut struct {
	size   uint32
	errno  int32
	unique uint64
}

// fuseAttr is what is told of a node. Fields that stay zero have no name.
type fuseAttr struct {
	ino, size, _        uint64 // and its blocks
	atime, mtime, ctime uint64
	_, _, _             uint32 // and their nanoseconds
	mode, nlink         uint32
	uid, gid, _         uint32 // and its device
	blksize, _          uint32
}

type fuseEntry struct {
	node, _               uint64 // and its generation
	entryValid, attrValid uint64
	_, _                  uint32 // and their nanoseconds
	attr                  fuseAttr
}

type fuseAttrOut struct {
	valid uint64
	_, _  uint32 // its nanoseconds
	attr  fuseAttr
}

type fuseInit struct {
	major, minor, _, _ uint32 // and how far to read ahead, and flags
	_, _               uint16 // calls in the background
	maxWrite, timeGran uint32
	_                  [9]uint32
}

// forEver is how long the kernel may remember an answer, in seconds: the command
// does not live as long.
const forEver = 1 << 20

// serve answers on a thread that has the device in a table of files of its own.
// When the process is killed, another thread may wait for an answer, and does so
// until the device is closed: it must not be that thread which holds it open.
func (f *closedFS) serve(ready chan<- error) {
	runtime.LockOSThread() // for good: the thread ends with the server
	if unix.Gettid() == unix.Getpid() {
		// The table of this thread is what /proc/self/fd shows to all others.
		defer runtime.UnlockOSThread()
		other := make(chan error)
		go f.serve(other) // on another thread, as this one is held
		ready <- <-other
		return
	}
	err := unix.Unshare(unix.CLONE_FILES)
	ready <- err
	if err != nil {
		return
	}
	buf := make([]byte, 1<<17+4096)
	for {
		n, err := unix.Read(f.fd, buf)
		switch err {
		case nil:
		case unix.EINTR, unix.EAGAIN, unix.ENOENT:
			continue
		default: // ENODEV: unmounted
			return
		}
		if n < int(unsafe.Sizeof(fuseIn{})) {
			return
		}
		in := (*fuseIn)(unsafe.Pointer(&buf[0]))
		body, errno := f.answer(in, buf[unsafe.Sizeof(fuseIn{}):n])
		if in.op == opForget || in.op == opBatchForget || in.op == opInterrupt {
			continue // nobody waits for an answer
		}
		out := fuseOut{errno: -int32(errno), unique: in.unique}
		out.size = uint32(int(unsafe.Sizeof(out)) + len(body))
		head := unsafe.Slice((*byte)(unsafe.Pointer(&out)), unsafe.Sizeof(out))
		if _, err := unix.Write(f.fd, append(bytes.Clone(head), body...)); err != nil && err != unix.ENOENT {
			return
		}
		if in.op == opDestroy {
			return
		}
	}
}

// raw returns the bytes of a structure.
func raw[T any](v *T) []byte {
	return bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)))
}

func (f *closedFS) answer(in *fuseIn, body []byte) ([]byte, unix.Errno) {
	at, known := f.paths[in.node]
	if !known && in.op != opInit && in.op != opForget && in.op != opBatchForget && in.op != opInterrupt && in.op != opDestroy {
		return nil, unix.ESTALE
	}
	name := func(skip int) string {
		if len(body) < skip {
			return ""
		}
		text, _, _ := bytes.Cut(body[skip:], []byte{0})
		return string(text)
	}
	switch in.op {
	case opInit:
		reply := fuseInit{major: 7, minor: 31, maxWrite: 4096, timeGran: 1}
		if len(body) >= 8 {
			reply.minor = min(reply.minor, binary.NativeEndian.Uint32(body[4:]))
		}
		return raw(&reply), 0
	case opLookup:
		return f.lookup(at, name(0))
	case opGetattr:
		return raw(&fuseAttrOut{valid: forEver, attr: f.attr(at, in.node)}), 0
	case opReadlink:
		target, err := os.Readlink(f.real(at))
		if err != nil {
			return nil, unix.EINVAL
		}
		return []byte(target), 0
	case opStatfs:
		return make([]byte, 80), 0
	case opOpendir, opOpen:
		f.want(Want{WantPath, f.real(at)})
		return nil, unix.EACCES
	case opSetattr, opSetxattr:
		f.want(Want{WantWrite, f.real(at)})
		return nil, unix.EROFS
	case opMkdir, opMknod, opUnlink, opRmdir, opSymlink, opRename, opRename2, opLink, opCreate:
		skip := map[uint32]int{opMkdir: 8, opMknod: 16, opCreate: 16, opRename: 8, opRename2: 16, opLink: 8}[in.op]
		f.want(Want{WantWrite, f.real(path.Join(at, name(skip)))})
		return nil, unix.EROFS
	}
	return nil, unix.ENOSYS
}

// real is the path that a path of the file system stands for.
func (f *closedFS) real(at string) string {
	rest, ok := strings.CutPrefix(at, maskFolder+"/")
	if !ok {
		return at
	}
	number, below, _ := strings.Cut(rest, "/")
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, m := range f.masks {
		if fmt.Sprint(i) == number {
			return path.Join(m, below)
		}
	}
	return at
}

// lookup answers what a name leads to: on to something that is to be seen, or to
// nothing.
func (f *closedFS) lookup(dir, name string) ([]byte, unix.Errno) {
	at := path.Join(dir, name)
	real := f.real(at)
	var st unix.Stat_t
	err := unix.Lstat(real, &st)
	kind := st.Mode & unix.S_IFMT
	switch {
	case at == maskFolder, f.places.leads(at): // leads to something that is to be seen
	case f.places.quiet(real), err != nil:
		return raw(&fuseEntry{entryValid: forEver}), 0 // not there, and it need not be asked again
	case kind != unix.S_IFDIR && kind != unix.S_IFLNK:
		f.want(Want{WantPath, real})
		return nil, unix.EACCES
	}
	id, ok := f.nodes[at]
	if !ok {
		id = f.next
		f.next++
		f.nodes[at], f.paths[id] = id, at
	}
	return raw(&fuseEntry{node: id, entryValid: forEver, attrValid: forEver, attr: f.attr(at, id)}), 0
}

// attr tells of a node what its real counterpart tells, or that it is a folder.
func (f *closedFS) attr(at string, id uint64) fuseAttr {
	a := fuseAttr{ino: id, mode: unix.S_IFDIR | 0o755, nlink: 2, uid: uint32(os.Getuid()), gid: uint32(os.Getgid()), blksize: 4096}
	var st unix.Stat_t
	if unix.Lstat(f.real(at), &st) == nil {
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			a.mode = unix.S_IFDIR | 0o755
		case unix.S_IFLNK:
			a.mode, a.size = unix.S_IFLNK|0o777, uint64(st.Size)
		default:
			a.mode = unix.S_IFREG | 0o644
		}
		a.mtime, a.ctime, a.atime = uint64(st.Mtim.Sec), uint64(st.Ctim.Sec), uint64(st.Mtim.Sec)
	}
	return a
}
