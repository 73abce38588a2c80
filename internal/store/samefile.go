package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ErrFilesGone means that the database or the journal is no longer the file
// that was opened.
var ErrFilesGone = errors.New("the database's files are not those that the daemon opened")

// sameFiles checks that the open files still have their names, so that the
// next process to open them finds what was written. Writes to a removed file
// are lost with the process; after a kill a used approval would look unused.
func (s *Store) sameFiles() error {
	s.dbMu.RLock()
	defer s.dbMu.RUnlock()
	if s.db == nil || s.journal == nil {
		return nil // closed or unknown, which is reported elsewhere
	}
	for path, f := range map[string]*os.File{s.path: s.db.f, s.path + journalSuffix: s.journal.f} {
		open, err := f.Stat()
		if err != nil {
			return fmt.Errorf("looking at the open file %s: %w", path, err)
		}
		there, err := os.Lstat(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			// fail closed: an execution begun now would be forgotten after a
			// crash.
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

// putBack restores a database file that was removed while it was open, so that
// stopping loses nothing. It never replaces an existing file, which belongs to
// someone else.
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

// copyBack copies an open file, which may have lost its name, to path. It does
// not replace an existing file.
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
