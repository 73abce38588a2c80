package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mounter builds the root of the command. Everything happens in the mount
// namespace of the first process, which keeps seeing the real machine: the real
// folders stay what changes are compared with.
type mounter struct {
	order  *order
	watch  *watcher
	want   func(Want)
	closed *closedFS // nil on a machine without it
	upper  string    // where upper layers and copies are
	memory bool      // upper is in memory
	stores []string  // on disk, of scratch folders
	trees  []tree    // in the order of Spec.Trees and Spec.Stored
}

// tree is a folder that the command may change.
type tree struct {
	path string // as the command names it
	real string // as the machine names it
	data string // the upper layer, or the copy
	// copied is set where data is a copy.
	copied bool
}

// inside returns the path of something in the new root, for this process.
func (m *mounter) inside(path string) string { return filepath.Join(m.order.Root, path) }

func (m *mounter) build() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return &missing{fmt.Errorf("making mounts private: %w", err), "this system lets an ordinary user make a user namespace, but gives it no rights there (as Ubuntu 24.04 does by AppArmor)"}
	}
	// The machine's /proc counts processes by the machine's numbers; this one by
	// the numbers that the filter tells.
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return &missing{fmt.Errorf("mounting /proc: %w", err), "parts of /proc are hidden here, as container engines do; run the daemon outside of the container"}
	}
	if err := m.root(); err != nil {
		return fmt.Errorf("mounting the new root: %w", err)
	}
	if err := m.layers(); err != nil {
		return err
	}
	if err := m.system(); err != nil {
		return err
	}
	if err := m.mounts(); err != nil {
		return err
	}
	if err := m.masks(); err != nil {
		return err
	}
	if err := m.resolvConf(); err != nil {
		return err
	}
	if m.closed != nil {
		return nil // it lets nothing be changed
	}
	if err := unix.Mount("", m.order.Root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("closing the new root: %w", err)
	}
	return nil
}

// root mounts what the command has for a root: the file system that notes what is
// wanted, or, on a machine without it, an empty one; every look at a path is then
// handed over by the filter, which costs more.
func (m *mounter) root() error {
	if fs, ok := openClosedFS(placesOf(m.order.Spec), m.want); ok {
		if err := fs.mount(m.order.Root); err == nil {
			m.closed = fs
			return nil
		}
		unix.Close(fs.fd)
	}
	return unix.Mount("root", m.order.Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=64m")
}

// layers chooses where upper layers are: in memory where there is enough and it
// can hold what an upper layer needs, which is many times faster, else on disk.
func (m *mounter) layers() error {
	m.upper = m.order.Upper
	var fs unix.Statfs_t
	needed := unix.Statfs(m.upper, &fs) == nil && fs.Type == unix.OVERLAYFS_SUPER_MAGIC
	size := layerSize(availableMemory(), m.order.Limits.Written, needed)
	if size > 0 {
		data := "mode=700,size=" + strconv.FormatInt(size, 10)
		if err := unix.Mount("upper", m.upper, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
			return fmt.Errorf("mounting the upper layers: %w", err)
		}
		if err := unix.Setxattr(m.upper, "user.overlay.probe", []byte("y"), 0); err == nil {
			_ = unix.Removexattr(m.upper, "user.overlay.probe")
			m.memory = true
			return nil
		}
		if err := unix.Unmount(m.upper, 0); err != nil { // before Linux 6.6
			return fmt.Errorf("unmounting the upper layers: %w", err)
		}
	}
	if needed {
		return &missing{errors.New("the state folder " + m.order.Spec.State + " lies on an overlay file system, which can hold no layer of another"),
			"keep it elsewhere, or what commands change must fit into memory, which takes Linux 6.6"}
	}
	return nil
}

// leastLayer is the memory below which an upper layer is of no use.
const leastLayer = 16 << 20

// layerSize is how large an upper layer in memory is to be, 0 for none. One that is
// there of need takes half of the memory that is free, if that is less than a run
// may write.
func layerSize(free, written int64, need bool) int64 {
	switch {
	case free/2 > written:
		return written
	case need && free/2 > leastLayer:
		return free / 2
	}
	return 0
}

func availableMemory() int64 {
	info, _ := os.ReadFile("/proc/meminfo")
	return kilobytes(info, "MemAvailable:")
}

// devices are those of the machine that the command gets.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// kernelSecrets tell, in /proc, of keys and memory of the whole machine.
var kernelSecrets = []string{"/proc/keys", "/proc/kcore", "/proc/kpagecount", "/proc/kpageflags", "/proc/kpagecgroup", "/proc/vmallocinfo"}

// system makes what every program expects of a machine.
func (m *mounter) system() error {
	for _, dir := range own {
		if err := os.MkdirAll(m.inside(dir), 0o755); err != nil {
			return err
		}
	}
	const flags = unix.MS_NOSUID | unix.MS_NOEXEC
	for _, t := range []struct{ kind, path, data string }{
		{"proc", "/proc", ""}, {"tmpfs", "/run", "mode=755,size=64m"}, {"tmpfs", "/dev", "mode=755,size=1m"},
		{"devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=620"}, {"tmpfs", "/dev/shm", "mode=1777,size=512m"},
	} {
		if err := os.MkdirAll(m.inside(t.path), 0o755); err != nil {
			return err
		}
		more := uintptr(unix.MS_NODEV)
		if t.kind == "devpts" {
			more = 0
		}
		if err := unix.Mount(t.kind, m.inside(t.path), t.kind, flags|more, t.data); err != nil {
			return fmt.Errorf("mounting %s: %w", t.path, err)
		}
	}
	// As root the command owns the kernel's switches in /proc and the devices, with
	// no capability at all: nothing of them may be changed.
	if err := setFlags(m.inside("/proc"), unix.MOUNT_ATTR_RDONLY, false); err != nil {
		return fmt.Errorf("closing /proc: %w", err)
	}
	for _, name := range devices {
		at := m.inside("/dev/" + name)
		if err := os.WriteFile(at, nil, 0o600); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, at, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting /dev/%s: %w", name, err)
		}
		if err := setFlags(at, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, false); err != nil {
			return fmt.Errorf("closing /dev/%s: %w", name, err)
		}
	}
	for _, name := range kernelSecrets {
		if _, err := os.Lstat(m.inside(name)); err != nil {
			continue
		}
		if err := unix.Mount(m.inside("/dev/null"), m.inside(name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("closing %s: %w", name, err)
		}
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"} {
		if err := os.Symlink(target, m.inside("/dev/"+name)); err != nil {
			return err
		}
	}
	return nil
}

// mounts puts trees, visible paths and scratch folders in place, the outer ones
// first.
func (m *mounter) mounts() error {
	type step struct {
		path string
		do   func(at string) error
	}
	var steps []step
	for i, path := range m.order.Spec.Trees {
		m.trees = append(m.trees, tree{path: path, real: path})
		steps = append(steps, step{path, func(at string) error { return m.tree(i, at) }})
	}
	for _, t := range m.order.Spec.Stored {
		i := len(m.trees)
		m.trees = append(m.trees, tree{path: t.Path, real: t.Store})
		steps = append(steps, step{t.Path, func(at string) error { return m.tree(i, at) }})
	}
	for _, path := range m.order.Spec.Visible {
		steps = append(steps, step{path, func(at string) error { return m.visible(path, at) }})
	}
	for _, c := range m.order.Spec.Scratch {
		steps = append(steps, step{c.Path, func(at string) error { return m.scratch(c, at) }})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(len(a.path), len(b.path)) })
	for _, s := range steps {
		if err := s.do(m.inside(s.path)); err != nil {
			return fmt.Errorf("mounting %s: %w", s.path, err)
		}
	}
	return nil
}

// scratch shows a folder for caches: what the machine has there already, below a
// layer that only sandboxes write, or that layer alone. A store that another run
// uses at the moment is left to it; what this one writes is then gone with it.
func (m *mounter) scratch(c Scratch, at string) error {
	if err := mountPoint(at, true); err != nil {
		return err
	}
	store := c.Store
	lock, err := unix.Open(store, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB) != nil { // held until this process ends
		store = filepath.Join(m.upper, "scratch-"+filepath.Base(c.Store))
	}
	if store == c.Store {
		m.stores = append(m.stores, store)
	}
	data, work := filepath.Join(store, "data"), filepath.Join(store, "work")
	for _, d := range []string{data, work} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	if st, err := os.Stat(c.Path); err == nil && st.IsDir() {
		options := "userxattr,lowerdir=" + overlayPath(c.Path) + ",upperdir=" + overlayPath(data) + ",workdir=" + overlayPath(work)
		if unix.Mount("overlay", at, "overlay", unix.MS_NOSUID|unix.MS_NODEV, options) == nil {
			return nil
		}
		// A cache is empty rather than in the way of the command.
	}
	if err := unix.Mount(data, at, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return setFlags(at, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, false)
}

func setFlags(at string, set uint64, recursive bool) error {
	flags := uint(0)
	if recursive {
		flags = unix.AT_RECURSIVE
	}
	return unix.MountSetattr(unix.AT_FDCWD, at, flags, &unix.MountAttr{Attr_set: set})
}

// visible shows a file, folder or link of the machine, read-only.
func (m *mounter) visible(path, at string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode()&fs.ModeSymlink != 0 && m.closed != nil {
		return nil // the root shows it by itself
	}
	if st.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		err = os.Symlink(target, at)
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	if err := mountPoint(at, st.IsDir()); err != nil {
		return err
	}
	if err := unix.Mount(path, at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return setFlags(at, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, true)
}

// mountPoint makes sure that there is something to mount on.
func mountPoint(at string, dir bool) error {
	if _, err := os.Lstat(at); err == nil {
		return nil
	}
	if dir {
		return os.MkdirAll(at, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	return os.WriteFile(at, nil, 0o600)
}

// tree lays a writable layer over a folder, or a copy in its place.
func (m *mounter) tree(i int, at string) error {
	t := &m.trees[i]
	st, err := os.Stat(t.real)
	if err != nil {
		return err
	}
	dir := filepath.Join(m.upper, strconv.Itoa(i))
	t.data = filepath.Join(dir, "data")
	work := filepath.Join(dir, "work")
	for _, d := range []string{dir, t.data, work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if err := mountPoint(at, true); err != nil {
		return err
	}
	if t.copied = slices.Contains(m.order.Spec.Copies, t.path); t.copied {
		c := copier{left: m.order.Limits.Copied, skip: slices.Concat(m.order.Spec.Trees, []string{m.order.Spec.State})}
		if err := c.tree(t.real, t.data); err != nil {
			return err
		}
		return unix.Mount(t.data, at, "", unix.MS_BIND, "")
	}
	if err := unix.Chmod(t.data, unixMode(st.Mode())); err != nil {
		return err
	}
	data := "userxattr,lowerdir=" + overlayPath(t.real) + ",upperdir=" + overlayPath(t.data) + ",workdir=" + overlayPath(work)
	if err := unix.Mount("overlay", at, "overlay", unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		if within(m.upper, t.real) && !m.memory {
			return &missing{fmt.Errorf("laying an overlay over %s: %w", t.path, err), "the state folder " + m.order.Spec.State + " lies in that folder; keep it elsewhere"}
		}
		return &missing{fmt.Errorf("laying an overlay over %s: %w", t.path, err), "overlays without root need Linux 5.11 or newer, and a state folder that is not itself on an overlay"}
	}
	return nil
}

// overlayPath escapes what separates options.
func overlayPath(p string) string {
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`).Replace(p)
}

func unixMode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		mode |= unix.S_ISUID
	}
	if m&fs.ModeSetgid != 0 {
		mode |= unix.S_ISGID
	}
	if m&fs.ModeSticky != 0 {
		mode |= unix.S_ISVTX
	}
	return mode
}

// masks puts something empty in the place of closed paths, which looks like them
// from outside: what lists a folder sees nothing odd, what opens them is noticed.
func (m *mounter) masks() error {
	for i, path := range m.order.Spec.Closed {
		at := m.inside(path)
		var st unix.Stat_t
		if unix.Lstat(at, &st) != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK {
			continue // not there; and a link leads where another rule holds
		}
		mask := filepath.Join(m.upper, "closed-"+strconv.Itoa(i))
		if m.closed != nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			mask = m.inside(m.closed.mask(path))
		} else if err := makeMask(mask, &st); err != nil {
			return fmt.Errorf("closing %s: %w", path, err)
		}
		if m.closed != nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if err := m.watch.add(mask, func() { m.want(Want{WantPath, path}) }); err != nil {
				return fmt.Errorf("watching %s: %w", path, err)
			}
		}
		if err := unix.Mount(mask, at, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("closing %s: %w", path, err)
		}
		if err := setFlags(at, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, false); err != nil {
			return fmt.Errorf("closing %s: %w", path, err)
		}
	}
	return nil
}

func makeMask(at string, like *unix.Stat_t) error {
	if like.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := os.Mkdir(at, 0); err != nil {
			return err
		}
		return finish(at, like)
	}
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(like.Size); err != nil && !errors.Is(err, unix.EFBIG) {
		return err
	}
	return finish(at, like)
}

// resolvConf lets programs ask the resolver of the run.
func (m *mounter) resolvConf() error {
	text := filepath.Join(m.upper, "resolv.conf")
	if err := os.WriteFile(text, []byte(resolvConf), 0o644); err != nil {
		return err
	}
	at := "/etc/resolv.conf"
	if target, err := os.Readlink(m.inside(at)); err == nil {
		if !filepath.IsAbs(target) {
			target = filepath.Join("/etc", target)
		}
		at = filepath.Clean(target)
		if within(at, "/run") {
			if err := os.MkdirAll(filepath.Dir(m.inside(at)), 0o755); err != nil {
				return err
			}
			return os.WriteFile(m.inside(at), []byte(resolvConf), 0o644)
		}
	}
	if _, err := os.Lstat(m.inside(at)); err != nil {
		return nil // no file, no resolver: the library asks 127.0.0.1
	}
	return unix.Mount(text, m.inside(at), "", unix.MS_BIND|unix.MS_RDONLY, "")
}
