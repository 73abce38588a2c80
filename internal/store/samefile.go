package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ErrFilesGone means that database or journal are not the files any more that
// were opened.
var ErrFilesGone = errors.New("the database's files are not those that the daemon opened")

// sameFiles says whether the files that are written to can be found under their
// names by whoever opens them next. What is written to a file that was taken
// away is lost with the process, and after a kill an approval that was used
// would look unused.
func (s *Store) sameFiles() error {
	s.dbMu.RLock()
	defer s.dbMu.RUnlock()
	if s.db == nil || s.journal == nil {
		return nil // closed, or not known: that is said elsewhere
	}
	for path, f := range map[string]*os.File{s.path: s.db.f, s.path + journalSuffix: s.journal.f} {
		open, err := f.Stat()
		if err != nil {
			return fmt.Errorf("looking at the open file %s: %w", path, err)
		}
		there, err := os.Lstat(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			// fail closed: what is executed now would not be known after a crash.
			return fmt.Errorf("%w: %s was removed or moved; nothing executes. %s", ErrFilesGone, path, filesWayOut)
		case err != nil:
			return fmt.Errorf("%w: %s: %w; nothing executes. %s", ErrFilesGone, path, err, filesWayOut)
		case !os.SameFile(open, there):
			return fmt.Errorf("%w: another file stands at %s; nothing executes. %s", ErrFilesGone, path, filesWayOut)
		}
	}
	return nil
}

const filesWayOut = "Put it back if you have moved it, else run `mcpguardd stop` and let the daemon start again"

// putBack writes the database to its place where it was taken away while it was
// open, so that stopping loses nothing. A file that stands there is another's.
func (s *Store) putBack() error {
	if s.db == nil || s.stuck {
		return nil
	}
	if _, err := os.Lstat(s.path); !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	// Nothing writes any more, so the bytes are those of the last commit.
	if err := copyBack(s.db.f, s.path); err != nil {
		return fmt.Errorf("%s was removed while the daemon ran, and could not be put back: %w", s.path, err)
	}
	s.log.Warn("the database had been removed; it was put back", "path", s.path)
	return syncDir(filepath.Dir(s.path))
}

// copyBack makes a file of what another has, which may have lost its name. One
// that stands there is not replaced.
func copyBack(from *os.File, path string) error {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	to, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+newSuffix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(to.Name())
	_, err = io.Copy(to, io.NewSectionReader(from, 0, info.Size()))
	if err == nil {
		err = to.Sync()
	}
	if err := errors.Join(err, to.Close()); err != nil {
		return err
	}
	return os.Link(to.Name(), path)
}
