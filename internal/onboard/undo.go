package onboard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
	"github.com/mcpguard/mcpguard/internal/redact"
)

// UndoRequest selects the import to revert.
type UndoRequest struct {
	Paths ipc.Paths
	// File is a client's file that the import changed; empty means the newest
	// import.
	File string
	// KeepChanges restores only the entries of a file that has changed since,
	// and keeps its other changes.
	KeepChanges bool
	Now         time.Time
}

// Undone is the result of an undo.
type Undone struct {
	Restored []string // files restored byte for byte
	Entries  []string // files in which only the entries were restored
	Kept     []string // sentences about what was kept, and why
}

// ChangedError says that a client's file has changed since the import.
type ChangedError struct {
	Path string
	Diff []byte // unified, from what the import wrote to the present file; without secrets
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s was changed since the import, so it is not put back as a whole; nothing was changed", e.Path)
}

// ErrNoImport means that there is no import to revert.
var ErrNoImport = errors.New("there is no import to take back")

// Undo reverts an import. It restores the client's files byte for byte, and
// the guard's own files as far as they have not changed since.
func Undo(ctx context.Context, r UndoRequest) (*Undone, error) {
	release, err := r.Paths.LockConfig(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	rec, err := findRecord(r)
	if err != nil {
		return nil, err
	}
	type change struct {
		file FileRecord
		data []byte
		kind *[]string
	}
	out := &Undone{}
	var todo []change
	for _, f := range rec.Clients {
		before, err := rec.copyOf(f, ".before", f.Before)
		if err != nil {
			return nil, err
		}
		now, err := os.ReadFile(f.Path)
		if err != nil {
			return nil, fmt.Errorf("putting %s back: %w", f.Path, err)
		}
		switch {
		case sum(now) == f.Before:
			out.Kept = append(out.Kept, f.Path+" is what it was already")
		case sum(now) == f.After:
			todo = append(todo, change{f, before, &out.Restored})
		case r.KeepChanges:
			data, notes, err := rec.putEntries(f, before, now)
			if err != nil {
				return nil, err
			}
			out.Kept = append(out.Kept, notes...)
			todo = append(todo, change{f, data, &out.Entries})
		default:
			after, err := rec.copyOf(f, ".after", f.After)
			if err != nil {
				return nil, err
			}
			return nil, &ChangedError{Path: f.Path, Diff: withoutSecrets(f.Path, after, now)}
		}
	}
	for _, c := range todo {
		if err := restoreFile(c.file, c.data); err != nil {
			return nil, fmt.Errorf("putting %s back: %w", c.file.Path, err)
		}
		*c.kind = append(*c.kind, c.file.Path)
	}
	if err := rec.undoGuard(out); err != nil {
		return nil, err
	}
	rec.Undone = r.Now.UTC()
	return out, rec.save()
}

// restoreFile writes a client's file, under Claude Code's lock if it is Claude
// Code's.
func restoreFile(f FileRecord, data []byte) error {
	if filepath.Base(f.Named) == ".claude.json" {
		lock, err := lockClaude(f.Named, lockPatience)
		if err != nil {
			return err
		}
		defer os.Remove(lock)
	}
	return replaceFile(f.Path, data, f.Mode)
}

// findRecord returns the newest import that has not been reverted.
func findRecord(r UndoRequest) (*Record, error) {
	list, err := os.ReadDir(importsFolder(r.Paths))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for imports: %w", err)
	}
	want := r.File
	if real, err := filepath.EvalSymlinks(want); err == nil && want != "" {
		want = real
	}
	for _, e := range slices.Backward(list) {
		rec := &Record{dir: filepath.Join(importsFolder(r.Paths), e.Name())}
		data, err := os.ReadFile(filepath.Join(rec.dir, "record.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it ended before it changed anything
		}
		if err == nil {
			err = jsonvalue.DecodeStrict(data, rec)
		}
		if err == nil && rec.Version != 1 {
			err = fmt.Errorf("it has version %d; this program reads version 1", rec.Version)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the record of the import in %s: %w", rec.dir, err)
		}
		if rec.Undone.IsZero() && (want == "" || slices.ContainsFunc(rec.Clients, func(f FileRecord) bool { return f.Path == want })) {
			return rec, nil
		}
	}
	if want != "" {
		return nil, fmt.Errorf("taking back what was done to %s: %w", r.File, ErrNoImport)
	}
	return nil, ErrNoImport
}

// copyOf reads a stored copy and checks its hash.
func (r *Record) copyOf(f FileRecord, ending, want string) ([]byte, error) {
	path := filepath.Join(r.dir, f.Copy+ending)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the original of %s: %w", f.Path, err)
	}
	if sum(data) != want {
		// fail closed: restore only exactly what was there
		return nil, fmt.Errorf("%s, the original of %s, was changed; nothing was put back", path, f.Path)
	}
	return data, nil
}

// putEntries restores the original entries in a file that has changed since.
func (r *Record) putEntries(f FileRecord, before, now []byte) ([]byte, []string, error) {
	old, err := parseClientFile(f.Path, before)
	if err != nil {
		return nil, nil, err
	}
	cur, err := parseClientFile(f.Path, now)
	if err != nil {
		return nil, nil, err
	}
	var notes []string
	var edits []jsonrpc.Edit
	for _, id := range r.Entries {
		if id.Path != f.Path {
			continue
		}
		was, is := old.entry(id), cur.entry(id)
		if was == nil || is == nil {
			notes = append(notes, fmt.Sprintf("%s is not in %s any more", id.Name, f.Path))
			continue
		}
		if server, ok := is.guarded(); !ok || server != id.Server {
			notes = append(notes, fmt.Sprintf("%s in %s is not what the import left, and stays as it is", id.Name, f.Path))
			continue
		}
		edits = append(edits, jsonrpc.Edit{Span: is.value, With: was.value.Of(old.json())})
	}
	data, err := cur.with(edits)
	return data, notes, err
}

func (f *ClientFile) entry(id EntryID) *Entry {
	for _, e := range f.Entries {
		// The scope follows from the project: a file that lost its projects would
		// be read as another client's.
		if e.Name == id.Name && e.Project == id.Project {
			return e
		}
	}
	return nil
}

// undoGuard reverts the import's changes to the guard's own files, as far as
// they have not changed since. A secret's file is removed with the
// configuration that names it.
func (r *Record) undoGuard(out *Undone) error {
	whole := true
	for _, f := range r.Guard {
		now, err := os.ReadFile(f.Path)
		if errors.Is(err, fs.ErrNotExist) && !f.Existed {
			continue
		}
		if err != nil {
			return fmt.Errorf("putting %s back: %w", f.Path, err)
		}
		if was := sum(now); !(f.Existed && was == f.Before) && (f.After == "" || was != f.After) {
			whole = false
			out.Kept = append(out.Kept, fmt.Sprintf("%s was changed since and stays as it is; what is there about %s can be removed by hand", f.Path, strings.Join(r.Servers, ", ")))
		}
	}
	if !whole {
		return nil
	}
	for _, f := range r.Guard {
		if !f.Existed {
			if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("putting %s back: %w", f.Path, err)
			}
			continue
		}
		before, err := r.copyOf(f, ".before", f.Before)
		if err != nil {
			return err
		}
		if err := replaceFile(f.Path, before, f.Mode); err != nil {
			return fmt.Errorf("putting %s back: %w", f.Path, err)
		}
		out.Restored = append(out.Restored, f.Path)
	}
	for _, path := range r.Secrets {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a secret's file: %w", err)
		}
		_ = os.Remove(filepath.Dir(path)) // where it was the last one
	}
	return nil
}

// withoutSecrets is the difference of two JSON files, for people. Where the
// secrets in them cannot be told from the rest it says so instead.
func withoutSecrets(path string, before, after []byte) []byte {
	r := redact.New(redact.Config{MaxScan: maxClientFile})
	a, _ := r.Text(before)
	b, _ := r.Text(after)
	if bytes.Equal(a, b) {
		return []byte("the files differ in a secret alone, which is not shown\n")
	}
	text, _ := diff.Unified(
		diff.File{Path: path, Data: a, Mode: 0o600, Exists: true},
		diff.File{Path: path, Data: b, Mode: 0o600, Exists: true}, diff.Options{})
	return text
}
