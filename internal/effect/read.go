package effect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Limits on what is read for one preview.
const (
	// MaxText is the largest file whose content is compared, in bytes.
	MaxText = 16 << 20
	// MaxHash bounds what is hashed for a move or delete, in bytes: a file, or all
	// files in a folder together.
	MaxHash = 1 << 30
	// MaxTree is the largest number of entries in a folder that may be moved.
	MaxTree = 10_000
)

// Kinds of state.
const (
	stateFile = "file"
	stateDir  = "dir"
	stateLink = "symlink"
)

// errGone says that a file is missing or was replaced during the read.
var errGone = errors.New("it changed while it was looked at")

// parent opens the folder that holds the path and follows no link: the path was
// resolved, so a link found now was put there since. The caller closes the
// descriptor.
func (p resolvedPath) parent() (int, error) {
	fd, err := openDirAt(unix.AT_FDCWD, p.root)
	if err != nil {
		return -1, fmt.Errorf("opening the workspace folder: %v", err) // not %w: a missing workspace must not look like a missing file
	}
	for _, name := range p.names[:max(0, len(p.names)-1)] {
		next, err := openDirAt(fd, name)
		unix.Close(fd)
		if err != nil {
			return -1, err
		}
		fd = next
	}
	return fd, nil
}

// look returns the current status of the path. A missing file is unix.ENOENT.
func (p resolvedPath) look() (stat, error) {
	fd, err := p.parent()
	if err != nil {
		return stat{}, err
	}
	defer unix.Close(fd)
	if len(p.names) == 0 {
		return statOf(fd)
	}
	return statAt(fd, p.names[len(p.names)-1])
}

// open opens the regular file at the path. It never blocks and never opens anything
// else.
func (p resolvedPath) open() (*os.File, stat, error) {
	dir, err := p.parent()
	if err != nil {
		return nil, stat{}, err
	}
	defer unix.Close(dir)
	if len(p.names) == 0 {
		return nil, stat{}, unix.EISDIR
	}
	return openFileAt(dir, p.names[len(p.names)-1])
}

func openFileAt(dir int, name string) (*os.File, stat, error) {
	st, err := statAt(dir, name)
	if err != nil {
		return nil, stat{}, err
	}
	if !st.isRegular() {
		return nil, stat{}, errGone
	}
	var fd int
	err = retry(func() (err error) {
		fd, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		return err
	})
	if err != nil {
		return nil, stat{}, err
	}
	f := os.NewFile(uintptr(fd), "file")
	now, err := statOf(fd)
	if err == nil && (!now.isRegular() || now.dev != st.dev || now.ino != st.ino) {
		err = errGone
	}
	if err != nil {
		f.Close()
		return nil, stat{}, err
	}
	return f, now, nil
}

// read returns the content of a regular file of at most limit bytes.
func (p resolvedPath) read(limit int64) ([]byte, stat, error) {
	f, st, err := p.open()
	if err != nil {
		return nil, stat{}, p.unreadable(err)
	}
	defer f.Close()
	if st.size > limit {
		return nil, stat{}, refusePlan("use a smaller file", "%q has %d bytes; at most %d are compared", p.rel(), st.size, limit)
	}
	buf := bytes.NewBuffer(make([]byte, 0, st.size+512))
	if _, err := io.Copy(buf, io.LimitReader(f, limit+1)); err != nil {
		return nil, stat{}, p.unreadable(err)
	}
	if err := unchanged(f, st); err != nil || int64(buf.Len()) != st.size {
		return nil, stat{}, p.unreadable(errGone)
	}
	return buf.Bytes(), st, nil
}

// unchanged checks that an open file is the same as when st was taken.
func unchanged(f *os.File, st stat) error {
	now, err := statOf(int(f.Fd()))
	if err == nil && !now.same(st) {
		err = errGone
	}
	return err
}

// unreadable turns an error into a refusal without the system's text, which may
// name other paths.
func (p resolvedPath) unreadable(err error) error {
	var r *Refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, unix.ENOENT):
		return refusePlan(listFirst, "%q is not there", p.rel())
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return refusePlan("ask the developer to make it readable", "%q may not be read", p.rel())
	case errors.Is(err, unix.EISDIR):
		return refusePlan(listFirst, "%q is a folder", p.rel())
	case errors.Is(err, errGone), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return refusePath(readAgain, "%q changed while it was looked at", p.rel())
	}
	return refusePlan(readAgain, "%q cannot be read", p.rel())
}

// hashFile returns the digest of an open file of at most limit bytes.
func hashFile(ctx context.Context, f *os.File, st stat, limit int64) (digest.Digest, error) {
	if st.size > limit {
		return digest.Digest{}, refusePlan("do it without the guard", "a file has %d bytes; at most %d are hashed", st.size, limit)
	}
	h := sha256.New()
	buf := make([]byte, 1<<18)
	var total int64
	for {
		if err := ctx.Err(); err != nil {
			return digest.Digest{}, err
		}
		n, err := f.Read(buf)
		h.Write(buf[:n])
		if total += int64(n); total > limit {
			return digest.Digest{}, errGone
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return digest.Digest{}, err
		}
	}
	if err := unchanged(f, st); err != nil || total != st.size {
		return digest.Digest{}, errGone
	}
	var d digest.Digest
	h.Sum(d[:0])
	return d, nil
}

// state returns the hashed state of the path: a file by its content, a link by its
// text, and a folder by everything in it unless shallow is set. A missing file has
// a computed state that does not exist. listing is set for folders.
func (p resolvedPath) state(ctx context.Context, shallow bool) (s guard.State, listing []string, err error) {
	st, err := p.look()
	if errors.Is(err, unix.ENOENT) {
		return guard.State{Computed: true}, nil, nil
	}
	if err != nil {
		return guard.State{}, nil, p.unreadable(err)
	}
	s = guard.State{Exists: true, Mode: st.perm(), Computed: true}
	switch {
	case st.isRegular():
		f, st, err := p.open()
		if err != nil {
			return guard.State{}, nil, p.unreadable(err)
		}
		defer f.Close()
		s.Kind, s.Size, s.Mode = stateFile, st.size, st.perm()
		if s.SHA256, err = hashFile(ctx, f, st, MaxHash); err != nil {
			return guard.State{}, nil, p.unreadable(err)
		}
	case st.isDir() && shallow:
		s.Kind = stateDir
	case st.isDir():
		t, err := p.tree(ctx)
		if err != nil {
			return guard.State{}, nil, p.unreadable(err)
		}
		s.Kind, s.Size, s.SHA256, listing = stateDir, t.bytes, t.hash.Digest(), t.listing
	case st.isLink():
		s.Kind, s.Size = stateLink, st.size
		text, err := p.linkText()
		if err != nil {
			return guard.State{}, nil, p.unreadable(err)
		}
		s.SHA256 = digest.Sum([]byte(text))
	default:
		// fail closed: a device, pipe or socket has no content to compare
		return guard.State{}, nil, refusePath("use an ordinary file", "%q is not an ordinary file", p.rel())
	}
	return s, listing, nil
}

func (p resolvedPath) linkText() (string, error) {
	dir, err := p.parent()
	if err != nil {
		return "", err
	}
	defer unix.Close(dir)
	return readlinkAt(dir, p.names[len(p.names)-1])
}

func readlinkAt(dir int, name string) (string, error) {
	buf := make([]byte, maxPath+1)
	n, err := unix.Readlinkat(dir, name, buf)
	return string(buf[:max(0, n)]), err
}

// treeDomain separates folder hashes from all others.
const treeDomain = "mcpguard/tree/v1"

// tree hashes a folder's content in name order.
type tree struct {
	hash    *digest.Hasher
	listing []string // paths below the folder; a folder's ends in "/"
	entries int
	bytes   int64
}

func (p resolvedPath) tree(ctx context.Context) (*tree, error) {
	parent, err := p.parent()
	if err != nil {
		return nil, err
	}
	defer unix.Close(parent)
	name := "."
	if len(p.names) > 0 {
		name = p.names[len(p.names)-1]
	}
	t := &tree{hash: digest.NewHasher(treeDomain)}
	return t, t.folder(ctx, parent, name, "", 0)
}

// folder adds one folder, named relative to the open folder parent.
func (t *tree) folder(ctx context.Context, parent int, name, prefix string, depth int) error {
	if depth > 100 {
		return refusePlan("move a smaller folder", "the folder is nested more than 100 deep")
	}
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(fd), "folder")
	defer dir.Close()
	names, err := dir.Readdirnames(MaxTree + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if t.entries += len(names); t.entries > MaxTree {
		return refusePlan("move a smaller folder", "the folder holds more than %d entries", MaxTree)
	}
	slices.Sort(names)
	for _, n := range names {
		if err := t.entry(ctx, fd, n, prefix, depth); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) entry(ctx context.Context, dir int, name, prefix string, depth int) error {
	st, err := statAt(dir, name)
	if err != nil {
		return err
	}
	t.hash.Field("name", []byte(prefix+name)).Field("mode", fmt.Appendf(nil, "%o", st.mode))
	switch {
	case st.isDir():
		t.listing = append(t.listing, prefix+name+"/")
		return t.folder(ctx, dir, name, prefix+name+"/", depth+1)
	case st.isLink():
		text, err := readlinkAt(dir, name)
		if err != nil {
			return err
		}
		t.hash.Field("link", []byte(text))
	case st.isRegular():
		if t.bytes += st.size; t.bytes > MaxHash {
			return refusePlan("move a smaller folder", "the folder holds more than %d bytes", MaxHash)
		}
		f, st, err := openFileAt(dir, name)
		if err != nil {
			return err
		}
		defer f.Close()
		d, err := hashFile(ctx, f, st, MaxHash)
		if err != nil {
			return err
		}
		t.hash.Field("content", d[:])
	default:
		t.hash.Field("special", nil)
	}
	t.listing = append(t.listing, prefix+strings.TrimSuffix(name, "/"))
	return nil
}
