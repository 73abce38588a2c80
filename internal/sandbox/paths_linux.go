package sandbox

import (
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// paths looks at what a call names. The call itself goes on: what is closed is
// not there for it, whatever it exchanges meanwhile.
func (s *supervisor) paths(n *notif, c pathCall) (unix.Errno, bool) {
	write := c.write
	if c.path < 0 {
		return s.openFile(n, c)
	}
	if c.flags > 0 {
		write = n.args[c.flags]&writeFlags != 0
	}
	if int(n.nr) == unix.SYS_OPENAT2 {
		how, ok := s.memory(n, n.args[2], 8)
		write = !ok || binary.NativeEndian.Uint64(how)&writeFlags != 0
	}
	first := s.path(n, c.dir, c.path, c, write)
	if c.path2 > 0 {
		s.path(n, c.dir2, c.path2, pathCall{self: true}, write)
	}
	if first != "" {
		s.overlayLimits(first, c, write)
	}
	return 0, true
}

// path notes a path that is closed, or is to be changed where nothing may be,
// and returns where it is, "" if that is not known.
func (s *supervisor) path(n *notif, dirArg, pathArg int, c pathCall, write bool) string {
	name, ok := s.text(n, n.args[pathArg])
	if !ok || !write && s.known[name] {
		return ""
	}
	dir := -1
	if dirArg >= 0 {
		if fd := int(int32(n.args[dirArg])); fd != unix.AT_FDCWD {
			dir = fd
		}
	}
	at, ok := s.locate(n, dir, name, c.self)
	if !ok {
		return ""
	}
	if !write && len(s.known) < maxKnown && ofSystem(name) && !s.places.isClosed(at) {
		s.known[name] = true
	}
	switch {
	case s.places.quiet(at):
	case c.makes && !s.places.isClosed(at) && s.inView(at):
	case c.status && s.places.isMask(at): // from outside it looks like what it stands for
	case s.places.isClosed(at):
		if write {
			s.want(Want{WantWrite, at})
		} else if s.wasThere(at) {
			s.want(Want{WantPath, at})
		}
	case write && (!s.places.writable(at) || isDevice(at) && c.flags == 0):
		s.want(Want{WantWrite, at})
	}
	return at
}

// inView reports whether something is at a path as the command sees it. To make a
// folder there fails and changes nothing: mkdir -p tries each folder on the way.
func (s *supervisor) inView(at string) bool {
	var st unix.Stat_t
	return at == "/" || unix.Fstatat(s.rootFD, strings.TrimPrefix(at, "/"), &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// isDevice reports whether a path is a device of the machine: written to it may be,
// changed it may not.
func isDevice(at string) bool {
	name, ok := strings.CutPrefix(at, "/dev/")
	return ok && slices.Contains(devices, name)
}

// openFile notes a change of what an open file is.
func (s *supervisor) openFile(n *notif, c pathCall) (unix.Errno, bool) {
	at, ok := s.locate(n, int(int32(n.args[c.dir])), "", false)
	if !ok || strings.HasPrefix(at, "/memfd:") || strings.HasSuffix(at, " (deleted)") {
		return 0, true // a pipe, or something that has no name
	}
	if !s.places.writable(at) || isDevice(at) {
		s.want(Want{WantWrite, at})
	}
	s.overlayLimits(at, c, true)
	return 0, true
}

// systemFolders hold what belongs to the machine's programs; they are looked at
// most often, and stay as they are while the command runs.
var systemFolders = []string{"/usr/", "/lib/", "/lib64/", "/bin/", "/sbin/", "/etc/"}

func ofSystem(name string) bool {
	return slices.ContainsFunc(systemFolders, func(f string) bool { return strings.HasPrefix(name, f) })
}

// maxKnown bounds the names that are remembered.
const maxKnown = 20_000

// overlayLimits notes what a real folder would allow and an overlay does not.
func (s *supervisor) overlayLimits(at string, c pathCall, write bool) {
	tree, ok := s.places.treeOf(at)
	if !ok || at == tree || slices.Contains(s.copies, tree) {
		return
	}
	if !write {
		return
	}
	for dir := path.Dir(at); dir != tree && strings.HasPrefix(dir, tree); dir = path.Dir(dir) {
		if !s.ownFolder(dir) {
			s.retry("something in a folder of another user or group is changed: " + at)
			return
		}
	}
	var st unix.Stat_t
	if unix.Lstat(s.places.real(at), &st) != nil {
		return // new, so it lies in the upper layer alone
	}
	switch {
	case c.rename && st.Mode&unix.S_IFMT == unix.S_IFDIR:
		s.retry("a folder that was there is renamed: " + at)
	case c.link:
		s.retry("a file that was there gets another name: " + at)
	case st.Nlink > 1 && st.Mode&unix.S_IFMT == unix.S_IFREG:
		s.retry("a file with several names is changed: " + at)
	case st.Uid != s.uid || st.Gid != s.gid:
		s.retry("a file of another user or group is changed: " + at)
	}
}

// ownFolder reports whether a folder can be brought into the upper layer, as each
// one above a change must be. A folder that is not there will be the command's own;
// whose a folder is does not change afterwards.
func (s *supervisor) ownFolder(dir string) bool {
	if s.owned[dir] {
		return true
	}
	var st unix.Stat_t
	if unix.Lstat(s.places.real(dir), &st) != nil {
		return true
	}
	own := st.Uid == s.uid && st.Gid == s.gid
	if own && len(s.owned) < maxKnown {
		s.owned[dir] = true
	}
	return own
}

// locate returns where a name leads in the command's view, with the links on
// the way followed (and the last one, unless self), as far as it exists.
func (s *supervisor) locate(n *notif, dirFD int, name string, self bool) (string, bool) {
	proc := "/proc/" + strconv.Itoa(int(n.pid))
	if !path.IsAbs(name) {
		link := proc + "/cwd"
		if dirFD >= 0 {
			link = proc + "/fd/" + strconv.Itoa(dirFD)
		}
		base, err := os.Readlink(link)
		if err != nil || !path.IsAbs(base) {
			return "", false
		}
		// The link is told as this process would reach it, or, of another mount
		// namespace, from that one's root.
		if rest, ok := strings.CutPrefix(base, s.root); ok && (rest == "" || rest[0] == '/') {
			base = "/" + strings.TrimPrefix(rest, "/")
		}
		name = base + "/" + name
	}
	if at, ok := s.quick(name, self); ok {
		return at, true
	}
	return s.walk(n, name, self)
}

// quick asks the kernel, which knows for whatever exists.
func (s *supervisor) quick(name string, self bool) (string, bool) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	if self {
		how.Flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Openat2(s.rootFD, name, &how)
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	at, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "", false
	}
	rest, ok := strings.CutPrefix(at, s.root)
	if !ok {
		return "", false
	}
	return path.Clean("/" + rest), true
}

// walk follows a name step by step; what does not exist is taken by its name.
func (s *supervisor) walk(n *notif, name string, self bool) (string, bool) {
	at, left := "/", strings.Split(name, "/")
	for links := 0; len(left) > 0; {
		step := left[0]
		left = left[1:]
		switch step {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, step)
		if self && len(left) == 0 {
			return next, true
		}
		target, err := s.readlink(n, next)
		if err != nil {
			at = next
			continue
		}
		if links++; links > 40 {
			return "", false
		}
		if path.IsAbs(target) {
			at = "/"
		}
		left = append(strings.Split(target, "/"), left...)
	}
	return at, true
}

// readlink reads a link as the caller would: the links of /proc to a process's own
// files lead where that process has them.
func (s *supervisor) readlink(n *notif, at string) (string, error) {
	switch at {
	case "/proc/self":
		return strconv.Itoa(tgidOf(int(n.pid))), nil
	case "/proc/thread-self":
		return fmt.Sprintf("%d/task/%d", tgidOf(int(n.pid)), n.pid), nil
	}
	target, err := os.Readlink(filepath.Join(s.root, at))
	if err != nil || !within(at, "/proc") {
		return target, err
	}
	switch rest, ok := strings.CutPrefix(target, s.root); {
	case ok && (rest == "" || rest[0] == '/'):
		return "/" + strings.TrimPrefix(rest, "/"), nil
	case strings.Contains(target, ":["): // a pipe or a socket has no path
		return "", unix.EINVAL
	}
	return target, nil
}
