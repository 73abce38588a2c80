package sandbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// copier makes a full copy of a folder: types, modes, times, links, hard links
// and extended attributes. What it cannot read it leaves out and closes.
type copier struct {
	left  int64
	skip  []string             // folders that have their own place, or are the sandbox's
	links map[[2]uint64]string // the first copy of a file with several names
}

func (c *copier) tree(from, to string) error {
	c.links = map[[2]uint64]string{}
	type folder struct {
		path string
		st   unix.Stat_t
	}
	var folders []folder
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return fs.SkipDir
			}
			return err
		}
		if path != from && slices.Contains(c.skip, path) {
			return fs.SkipDir
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		at := filepath.Join(to, rel)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			if rel != "." {
				if err := os.Mkdir(at, 0o700); err != nil {
					return err
				}
			}
			folders = append(folders, folder{at, st})
			return copyXattrs(path, at)
		}
		return c.entry(path, at, &st)
	})
	if err != nil {
		return err
	}
	for i := len(folders) - 1; i >= 0; i-- { // the inner ones first: making entries changes times
		if err := finish(folders[i].path, &folders[i].st); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) entry(path, at string, st *unix.Stat_t) error {
	id := [2]uint64{uint64(st.Dev), st.Ino}
	if st.Nlink > 1 {
		if first, ok := c.links[id]; ok {
			return os.Link(first, at)
		}
		c.links[id] = at
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if c.left -= st.Size; c.left < 0 {
			return &missing{fmt.Errorf("copying %s: %w", path, ErrTooLarge), tooLarge}
		}
		if err := copyFile(path, at); err != nil {
			return err
		}
		if err := copyXattrs(path, at); err != nil {
			return err
		}
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		if err := os.Symlink(target, at); err != nil {
			return err
		}
	case unix.S_IFIFO:
		if err := unix.Mkfifo(at, 0o600); err != nil {
			return err
		}
	default: // sockets and devices are of the machine
		return nil
	}
	return finish(at, st)
}

// tooLarge marks, between the processes, that a copy was over its limit.
const tooLarge = "the folders are too large for a full copy"

// finish gives a copy the mode and times of its original.
func finish(at string, st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(at, st.Mode&0o7777); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, at, []unix.Timespec{st.Mtim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

func copyXattrs(from, to string) error {
	attrs, err := xattrsOf(from)
	if err != nil {
		return err
	}
	for name, value := range attrs {
		if err := unix.Lsetxattr(to, name, value, 0); err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOTSUP) {
			return err
		}
	}
	return nil
}

// coarseNow is the time as file systems write it: never after the time that a
// later change gets.
func coarseNow() time.Time {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts) != nil {
		return time.Now().Add(-10 * time.Millisecond)
	}
	return time.Unix(ts.Unix())
}
