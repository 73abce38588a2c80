package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// lander is one attempt at a landing.
type lander struct {
	*Landing
	roots  map[string]int // descriptors of the trees
	staged map[uint64]spot
	steps  []*node
	kept   map[Name]int64
	at     int64
	hook   func(at string) // of tests, between two system calls that matter
}

// spot is a name in an open folder.
type spot struct {
	dir  int
	name string
}

func (l *Landing) open() (*lander, error) {
	steps, err := l.steps()
	if err != nil {
		return nil, err
	}
	ld := &lander{Landing: l, steps: steps, roots: map[string]int{}, staged: map[uint64]spot{}, kept: map[Name]int64{}, hook: landingHook}
	for _, n := range steps {
		if _, ok := ld.roots[n.tree]; ok {
			continue
		}
		fd, err := unix.Open(n.tree, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			ld.close()
			return nil, &os.PathError{Op: "open", Path: n.tree, Err: err}
		}
		ld.roots[n.tree] = fd
	}
	return ld, nil
}

// landingHook is called, in tests, with the name of each step before it is made.
var landingHook = func(string) {}

func (l *lander) close() {
	for _, fd := range l.roots {
		unix.Close(fd)
	}
	for _, s := range l.staged {
		unix.Close(s.dir)
	}
}

// Land carries the changes out, all or none, and returns where in Kept the
// contents begin that were taken away. A [MovedError] means that nothing
// changed. ctx ends it only before the first change.
func (l *Landing) Land(ctx context.Context) (kept map[Name]int64, err error) {
	ld, err := l.open()
	if err != nil {
		return nil, err
	}
	defer ld.close()
	for _, n := range ld.steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := ld.check(n); err != nil {
			return nil, err
		}
	}
	if l.Kept != nil {
		if err := l.Kept.Sync(); err != nil {
			return nil, fmt.Errorf("keeping what is taken away: %w", err)
		}
	}
	if l.Begins != nil {
		if err := l.Begins(ld.kept); err != nil {
			return nil, err
		}
	}
	for _, n := range ld.steps {
		err := ctx.Err()
		if err == nil {
			err = ld.stage(n)
		}
		if err != nil {
			return nil, errors.Join(err, ld.clear())
		}
	}
	if err := ld.swapAll(ld.steps); err != nil {
		return nil, err
	}
	if err := ld.sync(); err != nil {
		return nil, err
	}
	return ld.kept, ld.clear()
}

// Progress compares every path with its states before and after.
func (l *Landing) Progress() (Progress, error) {
	ld, err := l.open()
	if err != nil {
		return Elsewhere, err
	}
	defer ld.close()
	before, after := 0, 0
	for _, n := range ld.steps {
		isBefore, isAfter := ld.look(n)
		if isBefore {
			before++
		}
		if isAfter {
			after++
		}
		if !isBefore && !isAfter {
			return Elsewhere, nil
		}
	}
	switch {
	case after == len(ld.steps):
		return Landed, nil
	case before == len(ld.steps):
		return NotBegun, nil
	}
	return Partly, nil
}

// Moved lists the paths that are not as they were before the run, in full.
func (l *Landing) Moved() []string {
	ld, err := l.open()
	if err != nil {
		return nil
	}
	defer ld.close()
	var out []string
	for _, n := range ld.steps {
		if isBefore, _ := ld.look(n); !isBefore {
			out = append(out, path.Join(n.tree, n.path))
		}
	}
	return out
}

// Finish completes a landing that was interrupted, and removes what it left in
// the folders. Where it had not begun nothing is changed.
func (l *Landing) Finish() (Progress, error) {
	ld, err := l.open()
	if err != nil {
		return Elsewhere, err
	}
	defer ld.close()
	if err := ld.restore(); err != nil {
		return Elsewhere, err
	}
	p, err := l.Progress()
	if err != nil || p == Elsewhere {
		return p, err
	}
	if p == Partly {
		var left []*node
		for _, n := range ld.steps {
			if _, isAfter := ld.look(n); !isAfter {
				left = append(left, n)
				err := ld.unstage(n) // the target is as before: what stands there is ours, and maybe not whole
				if err == nil {
					err = ld.stage(n)
				}
				if err != nil {
					return Partly, errors.Join(err, ld.clear())
				}
			}
		}
		if err := ld.swapAll(left); err != nil {
			return Partly, err
		}
		p = Landed
	}
	if err := ld.sync(); err != nil {
		return p, err
	}
	return p, ld.clear()
}

// restore puts back what an interrupted landing had exchanged for its own
// without a look at it: another program's change must not be lost.
func (l *lander) restore() error {
	for _, n := range l.steps {
		if n.inPlace() || n.touch {
			continue
		}
		at, err := l.parent(n)
		if err != nil {
			continue // the folder is not there: neither is a name of ours in it
		}
		tmp := spot{at.dir, l.temp(n)}
		if !exists(tmp) || l.same(tmp, n, true) == nil || l.same(tmp, n, false) == nil {
			unix.Close(at.dir)
			continue
		}
		if l.same(at, n, false) == nil || !exists(at) && n.after == nil {
			flags := uint(unix.RENAME_EXCHANGE)
			if !exists(at) {
				flags = unix.RENAME_NOREPLACE
			}
			err = unix.Renameat2(tmp.dir, tmp.name, at.dir, at.name, flags)
		}
		unix.Close(at.dir)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrHalfway, path.Join(n.tree, n.path), err)
		}
	}
	return nil
}

func (l *lander) look(n *node) (isBefore, isAfter bool) {
	at, err := l.parent(n)
	if err != nil {
		return n.before == nil, n.after == nil
	}
	defer unix.Close(at.dir)
	return l.same(at, n, true) == nil, l.same(at, n, false) == nil
}

func (l *lander) temp(n *node) string { return ".mcpguard-" + l.ID + "-" + strconv.Itoa(n.index) }

// parent opens the folder of a path, one real folder below the other: a link in
// the place of one ends the landing.
func (l *lander) parent(n *node) (spot, error) {
	dir, name := path.Split(n.path)
	if n.path == "" {
		dir, name = "", "."
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(l.roots[n.tree], path.Clean("./"+dir), &how)
	if err != nil {
		return spot{}, &MovedError{path.Join(n.tree, dir), "the folder is not there, or a link stands in its place"}
	}
	return spot{fd, name}, nil
}

// check compares a path with its state before, and keeps what is taken away.
func (l *lander) check(n *node) error {
	at, err := l.parent(n)
	if err != nil {
		return err
	}
	defer unix.Close(at.dir)
	if err := l.landable(n); err != nil {
		return err
	}
	if err := l.same(at, n, true); err != nil {
		return err
	}
	if l.Kept == nil || n.touch {
		return nil
	}
	return l.keep(at, n)
}

// landable refuses what only means something to the process that made it.
func (l *lander) landable(n *node) error {
	if n.after != nil && !slices.Contains([]byte("fdl"), n.after.Type) {
		return fmt.Errorf("%s is a pipe, a socket or a device, which cannot be landed", path.Join(n.tree, n.path))
	}
	for _, k := range n.kids {
		if err := l.landable(k); err != nil {
			return err
		}
	}
	return nil
}

// keep copies the contents that are about to be replaced or removed.
func (l *lander) keep(at spot, n *node) error {
	if n.before != nil && n.before.Type == 'f' {
		f, err := openFile(at, n.before.Type)
		if err != nil {
			return err
		}
		defer f.Close()
		size, err := io.Copy(io.NewOffsetWriter(l.Kept, l.at), f)
		if err != nil {
			return fmt.Errorf("keeping %s: %w", n.path, err)
		}
		l.kept[Name{n.tree, n.path}] = l.at
		l.at += size
	}
	if n.before == nil || n.before.Type != 'd' || n.inPlace() {
		return nil
	}
	dir, err := openDir(at)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	for _, k := range n.kids {
		if k.before == nil {
			continue
		}
		if err := l.keep(spot{dir, path.Base(k.path)}, k); err != nil {
			return err
		}
	}
	return nil
}

func exists(at spot) bool {
	var st unix.Stat_t
	return unix.Fstatat(at.dir, at.name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

func openDir(at spot) (int, error) {
	return unix.Openat(at.dir, at.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

func openFile(at spot, kind byte) (*os.File, error) {
	flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	if kind == 'd' {
		flags |= unix.O_DIRECTORY
	}
	fd, err := unix.Openat(at.dir, at.name, flags, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: at.name, Err: err}
	}
	return os.NewFile(uintptr(fd), at.name), nil
}

// same compares what stands at a spot with the state before a change, or, with
// was unset, after it. Of a folder that is added or removed as a whole it
// compares all that is in it, too.
func (l *lander) same(at spot, n *node, was bool) error {
	want := n.after
	if was {
		want = n.before
	}
	moved := func(what string) error { return &MovedError{path.Join(n.tree, n.path), what} }
	var st unix.Stat_t
	err := unix.Fstatat(at.dir, at.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT) && want == nil:
		return nil
	case errors.Is(err, unix.ENOENT):
		return moved("it is not there any more")
	case err != nil:
		return pathErr("lstat", n, err)
	case want == nil:
		return moved("it is there now")
	case typeOf[st.Mode&unix.S_IFMT] != want.Type:
		return moved("it is of another type")
	case want.Type == 'l':
		target := make([]byte, unix.PathMax)
		size, err := unix.Readlinkat(at.dir, at.name, target)
		if err != nil || string(target[:size]) != want.Target {
			return moved("the link leads elsewhere")
		}
		return nil
	case st.Mode&0o7777 != want.Mode:
		return moved("its mode is different")
	case want.Type != 'f' && want.Type != 'd':
		return nil
	}
	f, err := openFile(at, want.Type)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := sameXattrs(f, want); err != nil {
		return moved(err.Error())
	}
	if want.Type == 'f' {
		same, err := l.sameContent(f, st.Size, want)
		if err == nil && !same {
			err = moved("its content is different")
		}
		return err
	}
	if n.inPlace() {
		return nil
	}
	return l.sameKids(f, n, was)
}

// maxAlike bounds the files that Alike is asked about.
const maxAlike = 64 << 20

func (l *lander) sameContent(f *os.File, size int64, want *Entry) (bool, error) {
	if size == want.Size {
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return false, err
		}
		if sumText(h.Sum(nil)) == want.Sum {
			return true, nil
		}
	}
	if l.Alike == nil || size > maxAlike {
		return false, nil
	}
	now := make([]byte, size)
	if _, err := f.ReadAt(now, 0); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return l.Alike(want.Sum, now), nil
}

// sameKids compares the entries of a folder that is added or removed whole.
func (l *lander) sameKids(f *os.File, n *node, was bool) error {
	var want []*node
	for _, k := range n.kids {
		if was && k.before != nil || !was && k.after != nil {
			want = append(want, k)
		}
	}
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	if len(names) != len(want) {
		return &MovedError{path.Join(n.tree, n.path), "there are other files in it"}
	}
	for _, k := range want {
		if err := l.same(spot{int(f.Fd()), path.Base(k.path)}, k, was); err != nil {
			return err
		}
	}
	return nil
}

func sameXattrs(f *os.File, want *Entry) error {
	have, err := xattrsOf("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil {
		return err
	}
	if len(have) != len(want.Xattrs) {
		return errors.New("its extended attributes are different")
	}
	for k, v := range have {
		if w, ok := want.Xattrs[k]; !ok || !bytes.Equal(v, []byte(w)) {
			return errors.New("its extended attributes are different")
		}
	}
	return nil
}
