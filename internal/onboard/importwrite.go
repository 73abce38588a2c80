package onboard

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/jsonrpc"
)

// Record is what one import changed. It is stored with the originals in a
// folder of its own below the guard's state folder.
type Record struct {
	Version int          `json:"version"` // of this format: 1
	ID      string       `json:"id"`
	At      time.Time    `json:"at"`
	Undone  time.Time    `json:"undone,omitzero"`
	Clients []FileRecord `json:"clients"` // files of clients
	Guard   []FileRecord `json:"guard"`   // files of the guard
	Secrets []string     `json:"secrets,omitempty"`
	Entries []EntryID    `json:"entries"`
	Servers []string     `json:"servers"` // that the guard has since

	dir string
}

// FileRecord is one file before and after. Copies of both are beside the
// record, named Copy with the suffixes .before and .after.
type FileRecord struct {
	Path    string      `json:"path"`            // links resolved
	Named   string      `json:"named,omitempty"` // as it was named
	Copy    string      `json:"copy"`
	Existed bool        `json:"existed"`
	Before  string      `json:"before,omitempty"` // SHA-256
	After   string      `json:"after"`
	Mode    fs.FileMode `json:"mode"`
}

// EntryID names an entry of a client's file.
type EntryID struct {
	Path    string `json:"path"`
	Scope   Scope  `json:"scope"`
	Project string `json:"project,omitempty"`
	Name    string `json:"name"`
	Server  string `json:"server"`
}

func (e *Entry) id(server string) EntryID {
	return EntryID{Path: e.File.real, Scope: e.Scope, Project: e.Project, Name: e.Name, Server: server}
}

// ErrNothing is the error of a plan that guards nothing.
var ErrNothing = errors.New("nothing is to be guarded")

// Write puts the guard in front of every entry of the plan that can be
// guarded: it first stores the originals, then adds the servers to the guard,
// and changes the client's files last. If a file has changed since the plan
// was made, it refuses everything.
func (im *Import) Write(ctx context.Context) (*Record, error) {
	paths := im.Request.Paths
	if !slices.ContainsFunc(im.Items, (*Item).Guarded) {
		return nil, ErrNothing
	}
	done, err := paths.LockConfig(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	release, err := im.lock()
	if err != nil {
		return nil, err
	}
	defer release()
	rec, after, err := im.record()
	if err != nil {
		return nil, err
	}
	secrets := map[string]string{}
	var plans []Plan
	for _, it := range im.Items {
		if !it.Guarded() || it.Same != "" {
			continue
		}
		for _, h := range it.Env {
			if h.Secret {
				path := secretFile(paths.State, it.Server, h.Name)
				secrets[path], rec.Secrets = h.value, append(rec.Secrets, path)
			}
		}
		plans, rec.Servers = append(plans, it.Plan), append(rec.Servers, it.Server)
	}
	if err := rec.save(); err != nil { // from here on it can be undone
		return nil, err
	}
	if err := im.prepare(plans, secrets); err != nil {
		rec.forget()
		return nil, err
	}
	if err := rec.noteGuard(); err != nil {
		return nil, err
	}
	for i, f := range rec.Clients {
		if err := replaceFile(f.Path, after[i], f.Mode); err != nil {
			return nil, fmt.Errorf("changing the client's configuration failed halfway; `mcpguardd import --undo` puts everything back: %w", err)
		}
	}
	return rec, nil
}

// prepare adds the servers to the guard; no client uses them yet.
func (im *Import) prepare(plans []Plan, secrets map[string]string) error {
	for path, value := range secrets {
		if err := writeSecret(path, value); err != nil {
			return err
		}
	}
	if len(plans) == 0 && len(im.Request.Roots) == 0 {
		return nil
	}
	return apply(im.Request.Paths, plans, im.Request.Roots)
}

// forget removes what an import left that has changed no client's file.
func (r *Record) forget() {
	for _, path := range r.Secrets {
		_ = os.Remove(path)
		_ = os.Remove(filepath.Dir(path)) // where it was the last one
	}
	_ = os.RemoveAll(r.dir) // leftovers do no harm
}

// lock takes the locks of the client's files, and checks that they have not
// changed since the plan was made.
func (im *Import) lock() (release func(), err error) {
	var held []string
	release = func() {
		for _, path := range held {
			_ = os.Remove(path) // Claude Code takes one that is left over after ten seconds
		}
	}
	for _, f := range im.Files {
		if filepath.Base(f.Path) == ".claude.json" {
			lock, err := lockClaude(f.Path, cmp.Or(im.Request.patience, lockPatience))
			if err != nil {
				release()
				return nil, err
			}
			held = append(held, lock)
		}
		now, err := os.ReadFile(f.real)
		if err == nil && !bytes.Equal(now, f.data) {
			err = fmt.Errorf("%s was changed while the plan was made; run it again", f.Path)
		}
		if err != nil {
			release()
			return nil, err
		}
	}
	return release, nil
}

// Bounds of Claude Code's own lock of its configuration, a folder beside it.
const (
	lockStale    = 10 * time.Second
	lockPatience = 5 * time.Second
)

// lockClaude takes the lock under which Claude Code writes its configuration.
func lockClaude(path string, patience time.Duration) (string, error) {
	lock := path + ".lock"
	deadline := time.Now().Add(patience)
	for {
		err := os.Mkdir(lock, 0o700)
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("locking %s: %w", path, err)
		}
		if st, err := os.Stat(lock); err == nil && time.Since(st.ModTime()) > lockStale {
			_ = os.Remove(lock) // left over; the next turn tells
			continue
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("another program, most likely Claude Code, is writing %s right now; try again", path)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// record begins the record, with the originals and with what the client's files
// will be, in that order.
func (im *Import) record() (*Record, [][]byte, error) {
	id := im.Request.Now.UTC().Format("20060102T150405.000")
	rec := &Record{Version: 1, ID: id, At: im.Request.Now.UTC(), dir: filepath.Join(importsFolder(im.Request.Paths), id)}
	if err := os.MkdirAll(filepath.Dir(rec.dir), 0o700); err != nil {
		return nil, nil, fmt.Errorf("keeping the originals: %w", err)
	}
	if err := os.Mkdir(rec.dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("keeping the originals: %w", err)
	}
	var after [][]byte
	for _, f := range im.Files {
		var edits []jsonrpc.Edit
		for _, it := range im.Items {
			if it.Entry.File != f || !it.Guarded() {
				continue
			}
			more, err := it.Entry.edits(im.program(it.Entry), it.Server, im.Request.GuardHome)
			if err != nil {
				return nil, nil, err
			}
			edits = append(edits, more...)
			rec.Entries = append(rec.Entries, it.Entry.id(it.Server))
		}
		if len(edits) == 0 {
			continue
		}
		data, err := f.with(edits)
		if err != nil {
			return nil, nil, err
		}
		fr := FileRecord{Path: f.real, Named: f.Path, Copy: "client-" + strconv.Itoa(len(rec.Clients)), Existed: true, Before: sum(f.data), After: sum(data), Mode: f.mode}
		if err := rec.keep(fr, f.data, data); err != nil {
			return nil, nil, err
		}
		rec.Clients, after = append(rec.Clients, fr), append(after, data)
	}
	p := im.Request.Paths
	for i, path := range []string{p.ConfigFile(), p.ToolsLock(), p.EnvironmentFile()} {
		fr := FileRecord{Path: path, Copy: "guard-" + strconv.Itoa(i), Mode: 0o600}
		data, err := os.ReadFile(path)
		switch {
		case err == nil:
			fr.Existed, fr.Before = true, sum(data)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, nil, fmt.Errorf("keeping the originals: %w", err)
		}
		if err := rec.keep(fr, data, nil); err != nil {
			return nil, nil, err
		}
		rec.Guard = append(rec.Guard, fr)
	}
	return rec, after, nil
}

// program returns how an entry names this program: in a shared file only by
// its name, if that is found.
func (im *Import) program(e *Entry) string {
	if e.Scope == Project {
		name := filepath.Base(im.Request.Program)
		if path, err := exec.LookPath(name); err == nil && sameFile(path, im.Request.Program) {
			return name
		}
	}
	return im.Request.Program
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// noteGuard records what the guard's files are now.
func (r *Record) noteGuard() error {
	for i := range r.Guard {
		data, err := os.ReadFile(r.Guard[i].Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // nothing was to be said there
		}
		if err != nil {
			return fmt.Errorf("recording what was written: %w", err)
		}
		r.Guard[i].After = sum(data)
	}
	return r.save()
}

// keep stores copies of a file beside the record.
func (r *Record) keep(f FileRecord, before, after []byte) error {
	for ending, data := range map[string][]byte{".before": before, ".after": after} {
		if data == nil {
			continue
		}
		if err := replaceFile(filepath.Join(r.dir, f.Copy+ending), data, 0o600); err != nil {
			return fmt.Errorf("keeping the originals: %w", err)
		}
	}
	return nil
}

// Folder is where the originals are kept.
func (r *Record) Folder() string { return r.dir }

func (r *Record) save() error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("recording the import: %w", err)
	}
	if err := replaceFile(filepath.Join(r.dir, "record.json"), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("recording the import: %w", err)
	}
	return nil
}

func importsFolder(p ipc.Paths) string { return filepath.Join(p.State, "imports") }

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

// writeSecret writes a secret's file, which only its owner may read.
func writeSecret(path, value string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("writing a secret: %w", err)
	}
	if err := replaceFile(path, []byte(value), 0o600); err != nil {
		return fmt.Errorf("writing a secret: %w", err)
	}
	return nil
}

// replaceFile writes a whole file in one step, durable on return.
func replaceFile(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".mcpguard-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // already gone after the rename
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
