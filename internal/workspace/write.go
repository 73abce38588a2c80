package workspace

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// errMoved says that a target is not in the state that the change was computed
// for.
var errMoved = errors.New("the target changed meanwhile; nothing was written. Read it again and send a call that fits what is there now")

var errUnwritten = errors.New("the call was cancelled before anything was written")

// outcome is the structured result of a change.
type outcome struct {
	Path    string `json:"path"`
	Changed bool   `json:"changed"`
	Size    *int64 `json:"size,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
}

// change runs a tool that changes something.
func (c *Conn) change(ctx context.Context, b *effect.Binding, name string, call *call) (*mcp.CallToolResult, error) {
	args, err := expr.DecodeArgs(call.args)
	if err != nil {
		return nil, err
	}
	in := effect.Input{Roots: c.roots, Vars: &expr.Vars{Args: args, Tool: name}}
	in.Call.Tool, in.Call.Args = name, call.args
	w, err := b.Work(ctx, in)
	if ctx.Err() != nil {
		return nil, errUnwritten
	}
	if err != nil {
		return nil, err
	}
	if err := asApproved(ctx, call.approved, w); err != nil {
		return nil, err
	}
	// This is the last chance to cancel: a write that has begun is finished.
	if ctx.Err() != nil {
		return nil, errUnwritten
	}
	out := outcome{Path: w.Target.Path, Changed: true}
	var text string
	switch w.Op {
	case effect.Rename:
		err, text = move(w), fmt.Sprintf("moved %s to %s", w.Target.Path, w.Dest.Path)
		out.Path = w.Dest.Path
	case effect.Remove:
		err, text = remove(w), "deleted "+w.Target.Path
	case effect.MakeFolders:
		out.Changed = len(w.Folders) > 0
		err, text = makeFolders(w.Folders), "created folder "+w.Target.Path
		if !out.Changed {
			text = "folder " + w.Target.Path + " is there already"
		}
	case effect.WriteContent:
		sum := digest.Sum(w.Content)
		size := int64(len(w.Content))
		out.Size, out.SHA256 = &size, strings.TrimPrefix(sum.String(), "sha256:")
		out.Changed = !w.Before.Exists || w.Before.SHA256 != sum || w.Before.Mode != w.Mode
		text = fmt.Sprintf("%s holds this content already", w.Target.Path)
		if out.Changed {
			err, text = replace(w), fmt.Sprintf("wrote %s (%d bytes)", w.Target.Path, size)
		}
	default:
		return nil, errors.New("the built-in server does not know this operation") // fail closed
	}
	if err != nil {
		return nil, err
	}
	return mcp.NewToolResultStructured(out, text), nil
}

// errNotApproved says that a change came without an approved preview. The
// guard always gives one; any other caller can change nothing.
var errNotApproved = errors.New("the call came without the state that was approved, so nothing was written; changes go through the guard")

// asApproved compares the approved effects of a request with the state that
// its change was computed from.
func asApproved(ctx context.Context, approved []guard.Effect, w effect.Work) error {
	if len(approved) == 0 {
		return errNotApproved // fail closed: without a precondition nothing is written
	}
	last := approved[len(approved)-1]
	if last.Resource.Key != w.Target.Key {
		return errMoved
	}
	if w.Op == effect.MakeFolders {
		return foldersAsApproved(ctx, approved, w)
	}
	switch {
	case len(approved) != 1, last.Before != w.Before:
		return errMoved
	case w.Op == effect.Rename && (last.Dest == nil || *last.Dest != w.Dest):
		return errMoved
	case w.Op == effect.WriteContent && last.After.SHA256 != digest.Sum(w.Content):
		return errMoved
	}
	return nil
}

func foldersAsApproved(ctx context.Context, approved []guard.Effect, w effect.Work) error {
	missing := 0
	for _, e := range approved {
		now, err := effect.State(ctx, e.Resource, true)
		if err != nil || !effect.Matches(now, e.Before) {
			return errMoved
		}
		if !now.Exists {
			missing++
		}
	}
	if missing != len(w.Folders) {
		return errMoved
	}
	return nil
}

// folder is the open folder of a target.
type folder struct {
	root *os.Root
	dir  *os.File
}

func (f folder) fd() int { return int(f.dir.Fd()) }

func (f folder) close() {
	f.dir.Close()
	f.root.Close()
}

// openFolder opens the folder that holds a target, one path component at a
// time. A link on the way was put there after the target was resolved, and is
// an error.
func openFolder(t guard.Target) (folder, string, error) {
	root, err := os.OpenRoot(t.Root)
	if err != nil {
		return folder{}, "", errors.New("the workspace folder cannot be opened")
	}
	names := strings.Split(t.Path, "/")
	for _, name := range names[:len(names)-1] {
		next, err := enter(root, name)
		root.Close()
		if err != nil {
			return folder{}, "", err
		}
		root = next
	}
	dir, err := root.Open(".")
	if err != nil {
		root.Close()
		return folder{}, "", errMoved
	}
	return folder{root, dir}, names[len(names)-1], nil
}

func enter(root *os.Root, name string) (*os.Root, error) {
	seen, err := root.Lstat(name)
	if err != nil || !seen.IsDir() {
		return nil, errMoved
	}
	next, err := root.OpenRoot(name)
	if err != nil {
		return nil, errMoved
	}
	if now, err := next.Stat("."); err != nil || !os.SameFile(seen, now) {
		next.Close()
		return nil, errMoved
	}
	return next, nil
}

// replace replaces the target by the content of w, if the target is still in
// state w.Before.
func replace(w effect.Work) (err error) {
	f, name, err := openFolder(w.Target)
	if err != nil {
		return err
	}
	defer f.close()
	temp, err := f.writeTemp(w.Content, w.Mode)
	if err != nil {
		return fmt.Errorf("writing %q: %s", w.Target.Path, plain(err))
	}
	defer func() {
		if err != nil {
			_ = f.root.Remove(temp) // already gone if the rename succeeded
		}
	}()
	if !w.Before.Exists {
		err = f.create(temp, name)
	} else {
		err = f.swap(temp, name, w.Before)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return errMoved
	case err != nil && !errors.Is(err, errMoved):
		return fmt.Errorf("writing %q: %s", w.Target.Path, plain(err))
	case err != nil:
		return err
	}
	return f.sync()
}

// writeTemp writes a new file beside the target, synced, with its final mode.
func (f folder) writeTemp(content []byte, mode uint32) (name string, err error) {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", err
	}
	name = ".mcpguard-" + hex.EncodeToString(id[:]) + ".tmp"
	t, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = t.Write(content)
	if err == nil {
		err = t.Chmod(fileMode(mode))
	}
	if err == nil {
		err = t.Sync()
	}
	if err = errors.Join(err, t.Close()); err != nil {
		_ = f.root.Remove(name)
		return "", err
	}
	return name, nil
}

// fileMode turns Unix permission bits into Go's.
func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= flag
		}
	}
	return m
}

// create renames the temporary file to its final name, unless that name
// exists.
func (f folder) create(temp, name string) error {
	err := rename(f.fd(), temp, f.fd(), name, renameExcl)
	if !unsupported(err) {
		return err
	}
	if err := f.root.Link(temp, name); err != nil {
		return err
	}
	return f.root.Remove(temp)
}

// swap exchanges the temporary file with the target and removes the old file.
// The exchange is one step, so that the displaced file can be compared with
// the expected one, and put back.
func (f folder) swap(temp, name string, before guard.State) error {
	seen, err := f.look(name, before)
	if err != nil {
		return err
	}
	return f.exchange(temp, name, seen, before)
}

func (f folder) exchange(temp, name string, seen fs.FileInfo, before guard.State) error {
	err := rename(f.fd(), temp, f.fd(), name, renameSwap)
	if unsupported(err) {
		return f.root.Rename(temp, name)
	}
	if err != nil {
		return err
	}
	if now, err := f.look(temp, before); err != nil || !unchanged(seen, now) {
		if err := rename(f.fd(), temp, f.fd(), name, renameSwap); err != nil {
			return fmt.Errorf("putting back what another program wrote: %s", plain(err))
		}
		return errMoved
	}
	return f.root.Remove(temp)
}

// look checks that a file is in the given state and returns its identity.
func (f folder) look(name string, before guard.State) (fs.FileInfo, error) {
	seen, err := f.root.Lstat(name)
	if err != nil || !seen.Mode().IsRegular() || seen.Size() != before.Size {
		return nil, errMoved
	}
	file, err := f.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, errMoved
	}
	defer file.Close()
	opened, err := file.Stat()
	if err != nil || !unchanged(seen, opened) {
		return nil, errMoved
	}
	sum, err := sumOf(file, before.Size)
	if err != nil || sum != before.SHA256 || permOf(opened) != before.Mode {
		return nil, errMoved
	}
	if again, err := file.Stat(); err != nil || !unchanged(opened, again) {
		return nil, errMoved
	}
	return opened, nil
}

func sumOf(r io.Reader, size int64) (digest.Digest, error) {
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(r, size+1))
	if err == nil && n != size {
		err = errMoved
	}
	var d digest.Digest
	h.Sum(d[:0])
	return d, err
}

// unchanged reports whether two looks saw the same file with the same content.
func unchanged(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

// permOf returns the Unix permission bits.
func permOf(info fs.FileInfo) uint32 {
	m := uint32(info.Mode().Perm())
	for bit, flag := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if info.Mode()&flag != 0 {
			m |= bit
		}
	}
	return m
}

func (f folder) sync() error {
	if err := f.dir.Sync(); err != nil {
		return fmt.Errorf("the change is made, but the folder could not be synced: %s", plain(err))
	}
	return nil
}

// move renames, and never over an existing name.
func move(w effect.Work) error {
	from, src, err := openFolder(w.Target)
	if err != nil {
		return err
	}
	defer from.close()
	to, dst, err := openFolder(w.Dest)
	if err != nil {
		return err
	}
	defer to.close()
	if w.Before.Kind == "file" {
		if _, err := from.look(src, w.Before); err != nil {
			return err
		}
	}
	err = rename(from.fd(), src, to.fd(), dst, renameExcl)
	if unsupported(err) {
		if _, err := to.root.Lstat(dst); !errors.Is(err, fs.ErrNotExist) {
			return errMoved
		}
		err = unix.Renameat(from.fd(), src, to.fd(), dst)
	}
	switch {
	case errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrNotExist):
		return errMoved
	case err != nil:
		return fmt.Errorf("moving %q: %s", w.Target.Path, plain(err))
	}
	return errors.Join(from.sync(), to.sync())
}

// remove deletes a file or an empty folder. A file is first moved aside, so
// that what is deleted is certainly what was checked.
func remove(w effect.Work) error {
	f, name, err := openFolder(w.Target)
	if err != nil {
		return err
	}
	defer f.close()
	if w.Before.Kind != "file" {
		info, err := f.root.Lstat(name)
		if err != nil || !info.IsDir() {
			return errMoved
		}
		if err := f.root.Remove(name); err != nil {
			return errMoved // something was added to it
		}
		return f.sync()
	}
	seen, err := f.look(name, w.Before)
	if err != nil {
		return err
	}
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	aside := ".mcpguard-" + hex.EncodeToString(id[:]) + ".tmp"
	err = rename(f.fd(), name, f.fd(), aside, renameExcl)
	if unsupported(err) {
		aside, err = name, nil
	}
	if err != nil {
		return errMoved
	}
	if now, err := f.look(aside, w.Before); err != nil || !unchanged(seen, now) {
		if aside != name {
			if err := rename(f.fd(), aside, f.fd(), name, renameExcl); err != nil {
				return fmt.Errorf("putting back what another program wrote: %s", plain(err))
			}
		}
		return errMoved
	}
	if err := f.root.Remove(aside); err != nil {
		return fmt.Errorf("deleting %q: %s", w.Target.Path, plain(err))
	}
	return f.sync()
}

// makeFolders creates folders, outermost first.
func makeFolders(list []guard.Target) error {
	for _, t := range list {
		f, name, err := openFolder(t)
		if err != nil {
			return err
		}
		err = f.root.Mkdir(name, effect.NewFolderMode)
		if err == nil {
			err = f.root.Chmod(name, effect.NewFolderMode) // regardless of the umask
		}
		if err == nil {
			err = f.sync()
		}
		f.close()
		if errors.Is(err, fs.ErrExist) {
			return errMoved
		}
		if err != nil {
			return fmt.Errorf("creating folder %q: %s", t.Path, plain(err))
		}
	}
	return nil
}

// unsupported reports whether err means that this file system cannot rename
// with flags.
func unsupported(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP)
}

// plain is a system error without the names in it.
func plain(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return "the file system refused it"
}
