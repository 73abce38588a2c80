package effect

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/safetext"
)

// Limits of a path on Linux.
const (
	maxPath  = 4095 // bytes
	maxName  = 255  // bytes of one component
	maxLinks = 40   // symbolic links followed in one walk
)

// jail is the set of workspace folders, with links resolved. It is immutable.
type jail struct {
	folders []folder
}

// folder is one workspace folder, as given and with links resolved.
type folder struct {
	given, real string
}

// newJail resolves the workspace folders. A missing folder is dropped, so
// everything below it counts as outside.
func newJail(roots []string) (*jail, error) {
	j := &jail{}
	for _, r := range roots {
		if !filepath.IsAbs(r) {
			return nil, fmt.Errorf("resolving the workspace: %q is not an absolute path", r)
		}
		given := filepath.Clean(r)
		real, err := filepath.EvalSymlinks(given)
		if err != nil {
			continue
		}
		j.folders = append(j.folders, folder{given: given, real: real})
	}
	if len(j.folders) == 0 {
		// fail closed: without a workspace every path is outside
		return nil, refusePath("open the workspace folder again", "no workspace folder is there")
	}
	return j, nil
}

// within returns the path of p below dir as components; both are clean.
func within(p, dir string) ([]string, bool) {
	if p == dir {
		return nil, true
	}
	rest, ok := strings.CutPrefix(p, strings.TrimSuffix(dir, "/")+"/")
	if !ok {
		return nil, false
	}
	return strings.Split(rest, "/"), true
}

// locate finds the innermost workspace folder that contains the clean absolute path
// p, by comparing text only.
func (j *jail) locate(p string) (at int, rest []string, ok bool) {
	best := -1
	for i, f := range j.folders {
		for _, dir := range []string{f.given, f.real} {
			if names, in := within(p, dir); in && len(dir) > best {
				best, at, rest, ok = len(dir), i, names, true
			}
		}
	}
	return at, rest, ok
}

// resolvedPath is a path inside the workspace with every link resolved, and the
// status of the file there when it was resolved.
type resolvedPath struct {
	root    string   // the workspace folder, resolved
	names   []string // components below root; empty for root itself
	exists  bool
	stat    stat
	missing int  // trailing components that do not exist
	linked  bool // a link was followed on the way
}

func (p resolvedPath) abs() string { return filepath.Join(append([]string{p.root}, p.names...)...) }

// rel returns the workspace-relative path with forward slashes.
func (p resolvedPath) rel() string {
	if len(p.names) == 0 {
		return "."
	}
	return strings.Join(p.names, "/")
}

// shown returns the relative path on one line, for text that people read. A name
// with a line break or another control character is quoted, as is one with leading,
// trailing or repeated blanks, which nobody would see. A name that could be
// mistaken for another is escaped.
func (p resolvedPath) shown() string {
	name := p.rel()
	switch {
	case !safetext.ReadableName(name):
		return strconv.QuoteToASCII(name)
	case strings.Join(strings.Fields(name), " ") != name:
		return strconv.Quote(name)
	}
	return name
}

func oneLine(name string) string {
	if utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl) && !strings.ContainsAny(name, "\u2028\u2029") {
		return name
	}
	return strconv.QuoteToASCII(name)
}

// stat is the part of a file's status that this package uses.
type stat struct {
	dev, ino uint64
	mode     uint32
	nlink    uint64
	uid      uint32
	size     int64
	mtime    unix.Timespec
	ctime    unix.Timespec
}

func (s stat) isDir() bool     { return s.mode&unix.S_IFMT == unix.S_IFDIR }
func (s stat) isRegular() bool { return s.mode&unix.S_IFMT == unix.S_IFREG }
func (s stat) isLink() bool    { return s.mode&unix.S_IFMT == unix.S_IFLNK }
func (s stat) perm() uint32    { return s.mode & 0o7777 }
func (s stat) readOnly() bool  { return s.perm()&0o200 == 0 }

// same reports whether two calls saw the same file with unchanged content.
func (s stat) same(t stat) bool {
	return s.dev == t.dev && s.ino == t.ino && s.size == t.size && s.mtime == t.mtime && s.ctime == t.ctime && s.mode == t.mode
}

func fromStat(st *unix.Stat_t) stat {
	return stat{
		dev: uint64(st.Dev), ino: st.Ino, mode: uint32(st.Mode), nlink: uint64(st.Nlink),
		uid: st.Uid, size: st.Size, mtime: st.Mtim, ctime: st.Ctim,
	}
}

func statAt(dir int, name string) (stat, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return stat{}, err
	}
	return fromStat(&st), nil
}

func statOf(fd int) (stat, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return stat{}, err
	}
	return fromStat(&st), nil
}

func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// openDirAt opens one component as a folder, without following links.
func openDirAt(dir int, name string) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(dir, name, searchFlags|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		return err
	})
	return fd, err
}

// walker resolves one path. fds holds an open folder per walked component, starting
// with the workspace folder; close closes them all.
type walker struct {
	jail   *jail
	at     int // folder of the jail
	fds    []int
	names  []string
	dev    uint64
	links  int
	below  int  // leading pending components that came from a link's text
	equal  bool // refuse names that differ from an existing entry only in Unicode form
	follow bool // follow a link in the last component
}

func (w *walker) close() {
	for _, fd := range w.fds {
		unix.Close(fd)
	}
	w.fds = nil
}

func (w *walker) dir() int { return w.fds[len(w.fds)-1] }

// start starts the walk in a workspace folder.
func (w *walker) start(at int) error {
	w.close()
	w.at, w.names = at, nil
	fd, err := openDirAt(unix.AT_FDCWD, w.jail.folders[at].real)
	if err != nil {
		return refusePath("open the workspace folder again", "the workspace folder cannot be opened")
	}
	w.fds = append(w.fds, fd)
	st, err := statOf(fd)
	if err != nil {
		return fmt.Errorf("looking at the workspace folder: %w", err)
	}
	w.dev = st.dev
	return w.checkMount(fd)
}

func (w *walker) checkMount(fd int) error {
	if kernelFiles(fd) {
		// fail closed: links below /proc lead where their text does not say
		return refusePath(useInside, "the path lies in a file system of the kernel")
	}
	return nil
}

// resolve walks the components below a workspace folder.
func (j *jail) resolve(at int, names []string, equal, follow bool) (resolvedPath, error) {
	w := &walker{jail: j, equal: equal, follow: follow}
	defer w.close()
	if err := w.start(at); err != nil {
		return resolvedPath{}, err
	}
	st, err := statOf(w.dir())
	if err != nil {
		return resolvedPath{}, fmt.Errorf("looking at the workspace folder: %w", err)
	}
	p := resolvedPath{exists: true, stat: st}
	pending := slices.Clone(names)
	for len(pending) > 0 {
		name := pending[0]
		pending = pending[1:]
		linked := w.below > 0
		w.below = max(0, w.below-1)
		switch name {
		case "", ".":
			continue
		case "..": // only from the text of a link
			if len(w.names) == 0 {
				return resolvedPath{}, errOutside()
			}
			unix.Close(w.dir())
			w.fds, w.names = w.fds[:len(w.fds)-1], w.names[:len(w.names)-1]
			if p.stat, err = statOf(w.dir()); err != nil {
				return resolvedPath{}, fmt.Errorf("looking at a folder: %w", err)
			}
			continue
		}
		next, done, err := w.step(&p, name, pending, linked)
		if err != nil {
			return resolvedPath{}, err
		}
		pending = next
		if done {
			break
		}
	}
	return w.finish(p), nil
}

// finish rewrites the path relative to the innermost workspace folder.
func (w *walker) finish(p resolvedPath) resolvedPath {
	p.linked = w.links > 0
	p.root, p.names = w.jail.folders[w.at].real, w.names
	for _, f := range w.jail.folders {
		if names, ok := within(p.abs(), f.real); ok && len(f.real) > len(p.root) {
			p.root, p.names = f.real, names
		}
	}
	return p
}

// step walks one component and returns the remaining ones. linked says that the
// component came from a link's text.
func (w *walker) step(p *resolvedPath, name string, pending []string, linked bool) (rest []string, done bool, err error) {
	if len(name) > maxName {
		return nil, false, refusePath("use a shorter name", "a name in the path has more than %d bytes", maxName)
	}
	st, err := statAt(w.dir(), name)
	if errors.Is(err, fs.ErrNotExist) {
		if linked {
			return nil, false, refusePath(listFirst, "%q is part of a link to something that is not there", w.shown(name))
		}
		return nil, true, w.stepMissing(p, name, pending)
	}
	if err != nil {
		return nil, false, w.trouble(name, err)
	}
	if err := w.checkSpelling(name, st); err != nil {
		return nil, false, err
	}
	last := !slices.ContainsFunc(pending, func(s string) bool { return s != "" && s != "." })
	switch {
	case st.isLink() && (!last || w.follow):
		rest, err := w.followLink(name, pending)
		return rest, false, err
	case st.isDir():
		fd, err := openDirAt(w.dir(), name)
		if err != nil {
			return nil, false, w.trouble(name, err)
		}
		w.fds, w.names = append(w.fds, fd), append(w.names, name)
		// The folder may have been replaced since its status was read.
		if st, err = statOf(fd); err != nil {
			return nil, false, w.trouble(name, err)
		}
		if st.dev != w.dev {
			if err := w.checkMount(fd); err != nil {
				return nil, false, err
			}
			w.dev = st.dev
		}
		p.stat = st
		return pending, false, nil
	case !last:
		return nil, false, refusePath(listFirst, "%q is not a folder", w.shown(name))
	case st.isRegular(), st.isLink():
		w.names = append(w.names, name)
		p.stat = st
		return nil, true, nil
	}
	// fail closed: opening a device, pipe or socket can block or act
	return nil, false, refusePath("use an ordinary file", "%q is not an ordinary file", w.shown(name))
}

func (w *walker) stepMissing(p *resolvedPath, name string, pending []string) error {
	tail := []string{name}
	for _, s := range pending {
		if len(s) > maxName {
			return refusePath("use a shorter name", "a name in the path has more than %d bytes", maxName)
		}
		tail = append(tail, s)
	}
	if w.equal {
		if err := w.checkEquivalent(name); err != nil {
			return err
		}
	}
	p.exists, p.stat, p.missing = false, stat{}, len(tail)
	w.names = append(w.names, tail...)
	return nil
}

// followLink reads a link in the current folder and returns the components to walk
// instead.
func (w *walker) followLink(name string, pending []string) ([]string, error) {
	if w.links++; w.links > maxLinks {
		return nil, refusePath(useInside, "%q leads through too many links, or in a circle", w.shown(name))
	}
	buf := make([]byte, maxPath+1)
	n, err := unix.Readlinkat(w.dir(), name, buf)
	if err != nil {
		return nil, w.trouble(name, err)
	}
	if n > maxPath {
		return nil, refusePath(useInside, "the link %q is too long", w.shown(name))
	}
	text := string(buf[:n])
	parts := strings.Split(text, "/")
	if !strings.HasPrefix(text, "/") {
		w.below += len(parts)
		return append(parts, pending...), nil
	}
	at, rest, ok := w.jail.locateRaw(parts)
	if !ok {
		return nil, errOutside()
	}
	if err := w.start(at); err != nil {
		return nil, err
	}
	w.below += len(rest)
	return append(slices.Clone(rest), pending...), nil
}

// locateRaw is locate for the components of a link's text, where a ".." after the
// folder's own part must still be walked.
func (j *jail) locateRaw(parts []string) (at int, rest []string, ok bool) {
	parts = slices.DeleteFunc(slices.Clone(parts), func(s string) bool { return s == "" || s == "." })
	best := -1
	for i, f := range j.folders {
		for _, dir := range []string{f.given, f.real} {
			own := strings.FieldsFunc(dir, func(r rune) bool { return r == '/' })
			if len(own) > best && len(parts) >= len(own) && slices.Equal(parts[:len(own)], own) {
				best, at, rest, ok = len(own), i, parts[len(own):], true
			}
		}
	}
	return at, rest, ok
}

// shown is the workspace-relative path of a component of the current folder.
func (w *walker) shown(name string) string {
	return strings.Join(append(slices.Clone(w.names), name), "/")
}

// trouble turns a system error on a path inside the workspace into a sentence. The
// system's own text may name other paths, so it is left out.
func (w *walker) trouble(name string, err error) error {
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return refusePath("ask the developer to make it accessible", "%q may not be read", w.shown(name))
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return refusePath(readAgain, "%q changed while it was looked at", w.shown(name))
	case errors.Is(err, unix.ENAMETOOLONG):
		return refusePath("use a shorter name", "a name in the path is too long")
	}
	return refusePath(listFirst, "%q cannot be looked at", w.shown(name))
}
