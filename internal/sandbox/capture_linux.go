package sandbox

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// capture compares the trees after a run with the real folders, and copies what
// was written into the pack, hashing the bytes on their way.
type capture struct {
	*mounter
	started time.Time
	pack    *os.File
	report  func(report)

	found int    // changes so far
	paths []byte // of the changes, in full, each ended by a zero, where a probe wants them

	out *bufio.Writer
	at  int64
	buf []byte
	sum hash.Hash
	now *tree
}

func (c *capture) all() error {
	c.out = bufio.NewWriterSize(c.pack, 1<<20)
	c.buf = make([]byte, 256<<10)
	c.sum = sha256.New()
	for i := range c.trees {
		c.now = &c.trees[i]
		if err := c.folder("", true, false); err != nil {
			return err
		}
	}
	return c.out.Flush()
}

func (c *capture) lower(rel string) string { return filepath.Join(c.now.real, rel) }
func (c *capture) shown(rel string) string { return filepath.Join(c.now.path, rel) }
func (c *capture) after(rel string) string { return filepath.Join(c.now.data, rel) }

// folder compares a folder of the upper layer with the real one. had says that
// the real one is a folder too; shut, that what lies in it does not shine
// through any more.
func (c *capture) folder(rel string, had, shut bool) error {
	now, err := list(c.after(rel))
	if err != nil {
		return err
	}
	var was []string
	if had && (shut || c.now.copied) {
		if was, err = list(c.lower(rel)); err != nil {
			return err
		}
	}
	for _, name := range merge(was, now) {
		at := filepath.Join(rel, name)
		if c.isOther(at) {
			continue
		}
		_, there := slices.BinarySearch(now, name)
		if err := c.entry(at, there, had); err != nil {
			return err
		}
	}
	return nil
}

// isOther reports whether a path belongs to another tree or to a scratch folder,
// or is masked: what stands there is a mount point.
func (c *capture) isOther(rel string) bool {
	at := c.shown(rel)
	for _, t := range c.trees {
		if t.path == at && t.path != c.now.path {
			return true
		}
	}
	for _, s := range c.order.Spec.Scratch {
		if s.Path == at {
			return true
		}
	}
	return slices.Contains(c.order.Spec.Visible, at) || slices.Contains(c.order.Spec.Closed, at) || at == c.order.Spec.State
}

func (c *capture) entry(rel string, there, had bool) error {
	var before, after unix.Stat_t
	if had {
		switch err := unix.Lstat(c.lower(rel), &before); {
		case errors.Is(err, unix.ENOENT):
			had = false
		case err != nil:
			return &os.PathError{Op: "lstat", Path: c.lower(rel), Err: err}
		}
	}
	if there {
		if err := unix.Lstat(c.after(rel), &after); err != nil {
			return &os.PathError{Op: "lstat", Path: c.after(rel), Err: err}
		}
		there = c.now.copied || !isWhiteout(&after)
	}
	if had && !time.Unix(before.Ctim.Unix()).Before(c.started) {
		c.report(report{Moved: []byte(c.shown(rel))})
	}
	if there && after.Mode&unix.S_IFMT == unix.S_IFREG && after.Nlink > 1 {
		c.report(report{Name: &nameReport{after.Ino, []byte(c.now.real), []byte(rel)}})
	}
	isDir := func(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }
	switch {
	case !there && !had:
		return nil
	case !there:
		return c.deleted(rel, &before)
	case !had:
		if err := c.emit(rel, OpAdd, nil, &after); err != nil {
			return err
		}
		if isDir(&after) {
			return c.folder(rel, false, true)
		}
		return nil
	case before.Mode&unix.S_IFMT != after.Mode&unix.S_IFMT:
		if err := c.deleted(rel, &before); err != nil {
			return err
		}
		if err := c.emit(rel, OpAdd, nil, &after); err != nil {
			return err
		}
		if isDir(&after) {
			return c.folder(rel, false, true)
		}
		return nil
	}
	if err := c.compare(rel, &before, &after); err != nil {
		return err
	}
	if isDir(&after) {
		return c.folder(rel, true, isOpaque(c.after(rel)))
	}
	return nil
}

// isWhiteout reports whether an entry of an upper layer says that there is none.
func isWhiteout(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 }

func isOpaque(path string) bool {
	var v [1]byte
	n, err := unix.Lgetxattr(path, "user.overlay.opaque", v[:])
	return err == nil && n == 1 && v[0] == 'y'
}

// deleted reports a path and, of a folder, all that was in it, the inner ones
// first.
func (c *capture) deleted(rel string, before *unix.Stat_t) error {
	if before.Mode&unix.S_IFMT == unix.S_IFDIR {
		names, err := list(c.lower(rel))
		if err != nil {
			return err
		}
		for _, name := range names {
			at := filepath.Join(rel, name)
			var st unix.Stat_t
			if err := unix.Lstat(c.lower(at), &st); err != nil {
				return &os.PathError{Op: "lstat", Path: c.lower(at), Err: err}
			}
			if err := c.deleted(at, &st); err != nil {
				return err
			}
		}
	}
	return c.emit(rel, OpDelete, before, nil)
}

// compare reports a path of one type before and after, if it differs.
func (c *capture) compare(rel string, before, after *unix.Stat_t) error {
	if c.now.copied && time.Unix(after.Ctim.Unix()).Before(c.started) {
		return nil // nothing touched the copy since it was made
	}
	old, err := c.state(c.lower(rel), before, false)
	if err != nil {
		return err
	}
	mark := c.at
	new, err := c.state(c.after(rel), after, true)
	if err != nil {
		return err
	}
	op := OpModify
	if same(old, new) {
		if err := c.forget(mark); err != nil {
			return err
		}
		if before.Mtim == after.Mtim || old.Type == 'd' {
			// The time of a folder says that something in it changed, and that is
			// reported itself.
			return c.splitLink(rel, before)
		}
		op = OpTouch
	}
	c.send(rel, op, old, new)
	return nil
}

// splitLink notes a file with several names of which one was copied up: the
// overlay shows two files where there is one.
func (c *capture) splitLink(rel string, before *unix.Stat_t) error {
	if !c.now.copied && before.Nlink > 1 && before.Mode&unix.S_IFMT == unix.S_IFREG {
		c.report(report{Retry: "a file with several names was opened for writing: " + c.shown(rel)})
	}
	return nil
}

func same(a, b *entryReport) bool {
	return a.Type == b.Type && a.Mode == b.Mode && a.Size == b.Size && a.Sum == b.Sum && bytes.Equal(a.Target, b.Target) &&
		maps.EqualFunc(a.Xattrs, b.Xattrs, bytes.Equal)
}

func (c *capture) emit(rel string, op Op, before, after *unix.Stat_t) (err error) {
	var old, new *entryReport
	if before != nil {
		if old, err = c.state(c.lower(rel), before, false); err != nil {
			return err
		}
	}
	if after != nil {
		if new, err = c.state(c.after(rel), after, true); err != nil {
			return err
		}
	}
	c.send(rel, op, old, new)
	return nil
}

func (c *capture) send(rel string, op Op, before, after *entryReport) {
	c.found++
	if len(c.order.Spec.Probe) > 0 {
		c.paths = append(append(c.paths, c.lower(rel)...), 0)
	}
	c.report(report{Change: &changeReport{Tree: []byte(c.now.real), Path: []byte(rel), Op: op, Before: before, After: after}})
}

// forget takes back what was put into the pack since mark.
func (c *capture) forget(mark int64) error {
	if c.at == mark {
		return nil
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	if err := c.pack.Truncate(mark); err != nil {
		return err
	}
	c.at = mark
	_, err := c.pack.Seek(mark, io.SeekStart)
	return err
}

var typeOf = map[uint32]byte{unix.S_IFREG: 'f', unix.S_IFDIR: 'd', unix.S_IFLNK: 'l', unix.S_IFIFO: 'p', unix.S_IFSOCK: 's', unix.S_IFCHR: 'c', unix.S_IFBLK: 'b'}

// state reads what stands at a path; keep puts a file's content into the pack.
func (c *capture) state(path string, st *unix.Stat_t, keep bool) (*entryReport, error) {
	e := &entryReport{Type: typeOf[st.Mode&unix.S_IFMT], Mode: st.Mode & 0o7777, MTime: st.Mtim.Nano(), Links: int(st.Nlink)}
	var err error
	switch e.Type {
	case 'f':
		e.At = c.at
		if keep && st.Nlink > 1 {
			e.Inode = st.Ino
		}
		if e.Size, e.Sum, err = c.content(path, keep); err != nil {
			return nil, err
		}
	case 'l':
		target, err := os.Readlink(path)
		if err != nil {
			return nil, err
		}
		e.Target, e.Mode = []byte(target), 0o777
	}
	if e.Type == 'f' || e.Type == 'd' {
		if e.Xattrs, err = xattrsOf(path); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// content hashes a file, and copies it with keep.
func (c *capture) content(path string, keep bool) (size int64, sum string, err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	c.sum.Reset()
	for {
		n, err := f.Read(c.buf)
		if keep && c.at+int64(n) > c.order.Limits.Written {
			return 0, "", errFull // of holes a file may have far more than blocks
		}
		c.sum.Write(c.buf[:n])
		if keep && n > 0 {
			if _, err := c.out.Write(c.buf[:n]); err != nil {
				return 0, "", fmt.Errorf("keeping %s: %w", path, err)
			}
			c.at += int64(n)
		}
		size += int64(n)
		if errors.Is(err, io.EOF) {
			return size, sumText(c.sum.Sum(nil)), nil
		}
		if err != nil {
			return 0, "", err
		}
	}
}

// errFull says that the files hold more than a run may write.
var errFull = errors.New("more is written than a run may write")

// xattrsOf returns the extended attributes that belong to a file, without those
// that an overlay keeps for itself.
func xattrsOf(path string) (map[string][]byte, error) {
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	if errors.Is(err, unix.ERANGE) {
		buf = make([]byte, 64<<10)
		n, err = unix.Llistxattr(path, buf)
	}
	if errors.Is(err, unix.ENOTSUP) || n == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: path, Err: err}
	}
	out := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if strings.HasPrefix(name, "user.overlay.") || name == "security.selinux" || name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		size, err := unix.Lgetxattr(path, name, value)
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "getxattr", Path: path, Err: err}
		}
		out[name] = value[:size:size]
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// list returns the names in a folder in byte order.
func list(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.SortFunc(names, cmp.Compare[string])
	return names, err
}

// merge returns the names of both lists in byte order, each once.
func merge(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}
