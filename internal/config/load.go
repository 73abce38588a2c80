package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Load reads config.yaml and looks up the packages that its servers start. The
// error is an *Error if the file could be read but must not be used.
func Load(path string) (*Config, error) {
	data, err := readOwned(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	c, err := Parse(path, data)
	if err != nil {
		return nil, err
	}
	for _, s := range c.Servers {
		s.Detected, _ = DetectPackage(s)
	}
	return c, nil
}

// maxRead bounds the bytes read from any file; a lock holds many definitions.
const maxRead = 64 << 20

// ReadFile returns the content of a configuration file, under the same rules as
// loading it: see [PermissionError].
func ReadFile(path string) ([]byte, error) { return readOwned(path) }

// readOwned reads a file that only its owner, this user or root, may write. Links
// are followed; their target must meet the same rule. Anything but a regular file
// is refused without blocking.
func readOwned(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &PermissionError{path, "is not a regular file", "put the configuration into a regular file"}
	}
	if err := checkOwner(path, st, true); err != nil {
		return nil, err
	}
	if err := checkFolders(path); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRead+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxRead {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxRead)
	}
	return data, nil
}

// PermissionError says that others could have written a file.
type PermissionError struct {
	Path, Problem, Remedy string
}

func (e *PermissionError) Error() string {
	return fmt.Sprintf("%s %s; %s", e.Path, e.Problem, e.Remedy)
}

// checkOwner refuses a file or folder that others own or may write. In a folder
// with the sticky bit, entries are protected already.
func checkOwner(path string, st fs.FileInfo, group bool) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		// fail closed: without an owner nothing is known
		return &PermissionError{path, "has no owner that can be checked", "use a local file system"}
	}
	if uid := int(sys.Uid); uid != os.Geteuid() && uid != 0 {
		return &PermissionError{path, fmt.Sprintf("belongs to user %d, not to you", uid), fmt.Sprintf("run: chown %d %q", os.Geteuid(), path)}
	}
	mask := fs.FileMode(0o002)
	if group {
		mask = 0o022
	}
	if st.Mode().Perm()&mask != 0 && st.Mode()&fs.ModeSticky == 0 {
		return &PermissionError{path, "can be written by others", fmt.Sprintf("run: chmod go-w %q", path)}
	}
	return nil
}

// checkFolders checks the folders above path, as named and as resolved: anyone who
// may write to one of them could replace the file. The nearest folder must not be
// group-writable either.
func checkFolders(path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	resolved, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return err
	}
	names := []string{resolved}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		names = append(names, filepath.Join(dir, filepath.Base(abs)))
	}
	for _, name := range names {
		nearest := true
		for dir := filepath.Dir(name); ; dir = filepath.Dir(dir) {
			st, err := os.Stat(dir)
			if err != nil {
				return err
			}
			err = checkOwner(dir, st, nearest)
			var owner *PermissionError
			if errors.As(err, &owner) && (nearest || st.Mode().Perm()&0o002 != 0) {
				return err
			}
			nearest = false
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return nil
}
