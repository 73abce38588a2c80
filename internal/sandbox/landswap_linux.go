package sandbox

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// stage makes what a step puts in place, under a name of its own beside it.
func (l *lander) stage(n *node) error {
	if n.after == nil || n.inPlace() || n.touch {
		return nil
	}
	at, err := l.parent(n)
	if err != nil {
		return err
	}
	defer unix.Close(at.dir)
	l.hook("stage")
	return l.make(spot{at.dir, l.temp(n)}, n)
}

func (l *lander) make(at spot, n *node) error {
	e := n.after
	switch e.Type {
	case 'f':
		return l.makeFile(at, n)
	case 'l':
		if err := unix.Symlinkat(e.Target, at.dir, at.name); err != nil {
			return &os.PathError{Op: "symlink", Path: path.Join(n.tree, n.path), Err: err}
		}
		return nil
	}
	if err := unix.Mkdirat(at.dir, at.name, 0o700); err != nil {
		return &os.PathError{Op: "mkdir", Path: path.Join(n.tree, n.path), Err: err}
	}
	dir, err := openDir(at)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(dir), at.name)
	defer f.Close()
	for _, k := range n.kids {
		if k.after == nil {
			continue
		}
		if err := l.make(spot{dir, path.Base(k.path)}, k); err != nil {
			return err
		}
	}
	return setAttributes(f, e)
}

func (l *lander) makeFile(at spot, n *node) error {
	e := n.after
	if e.Inode != 0 {
		if linked, err := l.link(at, n); linked || err != nil {
			return err
		}
	}
	fd, err := unix.Openat(at.dir, at.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "create", Path: path.Join(n.tree, n.path), Err: err}
	}
	f := os.NewFile(uintptr(fd), at.name)
	defer f.Close()
	h := sha256.New()
	size, err := io.Copy(f, io.TeeReader(io.NewSectionReader(l.Contents, e.At, e.Size), h))
	if err != nil {
		return fmt.Errorf("writing %s: %w", path.Join(n.tree, n.path), err)
	}
	if size != e.Size || sumText(h.Sum(nil)) != e.Sum {
		// fail closed: it is not what was shown
		return fmt.Errorf("the recorded content of %s is not what was recorded", path.Join(n.tree, n.path))
	}
	return setAttributes(f, e)
}

// link gives a file that has several names one of its names more, where another
// of them is there already.
func (l *lander) link(at spot, n *node) (bool, error) {
	if first, ok := l.staged[n.after.Inode]; ok {
		return true, unix.Linkat(first.dir, first.name, at.dir, at.name, 0)
	}
	changed := map[Name]bool{}
	for _, c := range l.Changes {
		changed[Name{c.Tree, c.Path}] = true
	}
	for _, other := range l.Names[n.after.Inode] {
		if changed[other] || other.Tree != n.tree {
			continue
		}
		from, err := l.parent(&node{tree: other.Tree, path: other.Path})
		if err != nil {
			return false, err
		}
		defer unix.Close(from.dir)
		if err := l.same(from, &node{tree: other.Tree, path: other.Path, after: n.after}, false); err != nil {
			return false, err
		}
		if err := unix.Linkat(from.dir, from.name, at.dir, at.name, 0); err != nil {
			return false, pathErr("link", n, err)
		}
		// Another file may have been put there just before.
		return true, l.same(at, &node{tree: n.tree, path: n.path, after: n.after}, false)
	}
	dir, err := unix.Dup(at.dir)
	if err != nil {
		return false, err
	}
	unix.CloseOnExec(dir)
	l.staged[n.after.Inode] = spot{dir, at.name}
	return false, nil
}

// setAttributes gives an open file or folder everything but its content.
func setAttributes(f *os.File, e *Entry) error {
	fd := int(f.Fd())
	have, err := xattrsOf(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return err
	}
	for name := range have {
		if _, ok := e.Xattrs[name]; !ok {
			if err := unix.Fremovexattr(fd, name); err != nil {
				return fmt.Errorf("removing the attribute %s of %s: %w", name, f.Name(), err)
			}
		}
	}
	for name, value := range e.Xattrs {
		if err := unix.Fsetxattr(fd, name, []byte(value), 0); err != nil {
			return fmt.Errorf("setting the attribute %s of %s: %w", name, f.Name(), err)
		}
	}
	if err := unix.Fchmod(fd, e.Mode); err != nil {
		return err
	}
	return setTime(fd, e)
}

func setTime(fd int, e *Entry) error {
	ts := unix.NsecToTimespec(e.MTime)
	return unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), []unix.Timespec{ts, ts}, 0)
}

// swapAll makes the steps, and takes back those that were made when one fails.
func (l *lander) swapAll(steps []*node) error {
	for i, n := range steps {
		err := l.swap(n)
		if err == nil {
			continue
		}
		for j := i - 1; j >= 0; j-- {
			if back := l.swapBack(steps[j]); back != nil {
				return fmt.Errorf("%w: %s: %w", ErrHalfway, path.Join(steps[j].tree, steps[j].path), errors.Join(err, back))
			}
		}
		return errors.Join(err, l.clear())
	}
	return nil
}

// swap makes one step, and looks at what came out in its place.
func (l *lander) swap(n *node) error {
	at, err := l.parent(n)
	if err != nil {
		return err
	}
	defer unix.Close(at.dir)
	l.hook("swap")
	if n.inPlace() || n.touch {
		return l.change(at, n, true)
	}
	tmp := spot{at.dir, l.temp(n)}
	switch {
	case n.before == nil:
		err := unix.Renameat2(tmp.dir, tmp.name, at.dir, at.name, unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EEXIST) {
			return &MovedError{path.Join(n.tree, n.path), "it is there now"}
		}
		return pathErr("rename", n, err)
	case n.after == nil:
		if err := unix.Renameat2(at.dir, at.name, tmp.dir, tmp.name, unix.RENAME_NOREPLACE); err != nil {
			return pathErr("rename", n, err)
		}
		l.hook("out")
		if err := l.same(tmp, n, true); err != nil {
			return l.putBack(err, n, unix.Renameat2(tmp.dir, tmp.name, at.dir, at.name, unix.RENAME_NOREPLACE))
		}
		return nil
	}
	if err := unix.Renameat2(tmp.dir, tmp.name, at.dir, at.name, unix.RENAME_EXCHANGE); err != nil {
		return pathErr("exchange", n, err)
	}
	l.hook("out")
	if err := l.same(tmp, n, true); err != nil {
		return l.putBack(err, n, unix.Renameat2(tmp.dir, tmp.name, at.dir, at.name, unix.RENAME_EXCHANGE))
	}
	return nil
}

func pathErr(op string, n *node, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path.Join(n.tree, n.path), Err: err}
}

func (l *lander) putBack(why error, n *node, err error) error {
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrHalfway, path.Join(n.tree, n.path), errors.Join(why, err))
	}
	return why
}

// swapBack takes one step back, as long as what it put in place is still there.
func (l *lander) swapBack(n *node) error {
	at, err := l.parent(n)
	if err != nil {
		return err
	}
	defer unix.Close(at.dir)
	if n.inPlace() || n.touch {
		return l.change(at, n, false)
	}
	tmp := spot{at.dir, l.temp(n)}
	switch {
	case n.before == nil:
		if err := unix.Renameat2(at.dir, at.name, tmp.dir, tmp.name, unix.RENAME_NOREPLACE); err != nil {
			return err
		}
		if err := l.same(tmp, n, false); err != nil {
			return errors.Join(err, unix.Renameat2(tmp.dir, tmp.name, at.dir, at.name, unix.RENAME_NOREPLACE))
		}
		return nil
	case n.after == nil:
		return unix.Renameat2(tmp.dir, tmp.name, at.dir, at.name, unix.RENAME_NOREPLACE)
	}
	if err := unix.Renameat2(tmp.dir, tmp.name, at.dir, at.name, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	if err := l.same(tmp, n, false); err != nil {
		return errors.Join(err, unix.Renameat2(tmp.dir, tmp.name, at.dir, at.name, unix.RENAME_EXCHANGE))
	}
	return nil
}

// change gives a folder, or a file of which only the time differs, its other
// attributes; forth or back.
func (l *lander) change(at spot, n *node, forth bool) error {
	from, to := n.before, n.after
	if !forth {
		from, to = to, from
	}
	if err := l.same(at, n, forth); err != nil {
		return err
	}
	f, err := openFile(at, from.Type)
	if err != nil {
		return err
	}
	defer f.Close()
	if n.touch {
		return setTime(int(f.Fd()), to)
	}
	return setAttributes(f, to)
}

// sync makes what was landed durable.
func (l *lander) sync() error {
	l.hook("sync")
	for tree := range l.roots {
		fd, err := unix.Open(tree, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: tree, Err: err}
		}
		err = unix.Syncfs(fd)
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("making the changes in %s durable: %w", tree, err)
		}
	}
	return nil
}

// clear removes the temporary names: what was taken away, and what was staged
// and not put in place.
func (l *lander) clear() error {
	var errs []error
	for _, n := range l.steps {
		errs = append(errs, l.unstage(n))
	}
	return errors.Join(errs...)
}

// unstage removes the temporary name of one step.
func (l *lander) unstage(n *node) error {
	if n.inPlace() || n.touch {
		return nil
	}
	at, err := l.parent(n)
	if err != nil {
		return nil // no folder, no name in it
	}
	defer unix.Close(at.dir)
	// What is being removed is a part of what it was. It has a name of its own, or,
	// after a crash, it would look like another program's change and be put back.
	gone := spot{at.dir, l.temp(n) + "-gone"}
	if err := remove(gone); err != nil {
		return err
	}
	err = unix.Renameat2(at.dir, l.temp(n), gone.dir, gone.name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return pathErr("rename", n, err)
	}
	l.hook("clear")
	return remove(gone)
}

// remove removes a name and all that is below it, following nothing.
func remove(at spot) error {
	l := unix.Unlinkat(at.dir, at.name, 0)
	if l == nil || errors.Is(l, unix.ENOENT) {
		return nil
	}
	_ = unix.Fchmodat(at.dir, at.name, 0o700, 0)
	dir, err := openDir(at)
	if err != nil {
		return &os.PathError{Op: "remove", Path: at.name, Err: l}
	}
	f := os.NewFile(uintptr(dir), at.name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := remove(spot{dir, name}); err != nil {
			return err
		}
	}
	return unix.Unlinkat(at.dir, at.name, unix.AT_REMOVEDIR)
}
