package commands

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// Record is what came of one command. Its changes and contents lie in files of
// their own beside the database, so that they outlive the daemon.
type Record struct {
	ID      string // names its files and what a landing leaves for a moment
	Call    guard.CallID
	Argv    []string
	Folder  string
	Roots   []string
	Started time.Time
	Took    time.Duration
	Copied  bool // it ran in a full copy
	Rounds  int  // how often it was run again since it was first shown

	Exit, Signal int
	Output       []sandbox.Chunk
	Truncated    bool
	Stopped      string
	Left         []string
	Wanted       []sandbox.Want
	Retry        []string
	Moved        []string

	Changes []sandbox.Change
	// Own are changes of the run's own folder for temporary files. They land with the
	// others and count for nothing.
	Own     []sandbox.Change `json:",omitempty"`
	Special []string         `json:",omitempty"` // pipes, sockets and devices, which are not landed
	Names   map[uint64][]sandbox.Name
	Git     *GitChange `json:",omitempty"`
	// Indexes are, by the hash of an index of git, the hash of what it says.
	Indexes map[string]string `json:",omitempty"`
	// Landed is set once the changes are real; Kept is then where the contents
	// begin that they replaced.
	Landed bool          `json:",omitempty"`
	Kept   []KeptContent `json:",omitempty"`

	dir      string
	contents *os.File
	obeyed   func(path string) bool // see Config
	startup  func(path string) bool // likewise
}

// KeptContent is where the content begins that a landing took away.
type KeptContent struct {
	Name sandbox.Name
	At   int64
}

// Whole reports whether the run tells all that the command would do.
func (r *Record) Whole() bool {
	return len(r.Wanted) == 0 && r.Stopped == "" && !r.Truncated && len(r.Left) == 0 && len(r.Retry) == 0 && len(r.Moved) == 0
}

// Unchanged reports whether the run proves that the command changes nothing.
func (r *Record) Unchanged() bool { return r.Whole() && len(r.Changes) == 0 }

// OnlyTimes reports whether nothing but times of files would change.
func (r *Record) OnlyTimes() bool {
	return len(r.Changes) > 0 && !slices.ContainsFunc(r.Changes, func(c sandbox.Change) bool { return c.Op != sandbox.OpTouch })
}

// Text is the output of both streams in order, as an agent gets it.
func (r *Record) Text() string {
	var out strings.Builder
	for _, c := range r.Output {
		out.Write(c.Data)
	}
	return out.String()
}

// Stream is the output of one stream.
func (r *Record) Stream(stderr bool) string {
	var out strings.Builder
	for _, c := range r.Output {
		if c.Stderr == stderr {
			out.Write(c.Data)
		}
	}
	return out.String()
}

// keep puts a run into files that stay.
func (r *Runner) keep(ctx context.Context, c Command, spec sandbox.Spec, run *sandbox.Run) (*Record, error) {
	var own []sandbox.Change
	run.Changes, own = apart(spec, run.Changes)
	own = ownTmp(own)
	if run.Stopped == "" && temporaryFull(spec, own) {
		run.Stopped = "written"
	}
	rec := &Record{
		Call: c.Call, Argv: c.Argv, Folder: c.Folder, Roots: c.Roots, Started: run.Started, Took: run.Ended.Sub(run.Started), Copied: spec.Copies != nil,
		Exit: run.Exit, Signal: run.Signal, Output: run.Output, Truncated: run.Truncated, Stopped: run.Stopped, Left: run.Left,
		Wanted: run.Wanted, Retry: run.Retry, Moved: run.Moved, Changes: ownTmp(run.Changes), Own: own, Special: special(run.Changes), Names: run.Names,
		dir: filepath.Join(r.cfg.State, "kept"), obeyed: r.cfg.Obeyed, startup: r.cfg.Startup,
	}
	if len(rec.Changes) > 0 {
		rec.Git = r.gitChange(ctx, c, spec, run)
		rec.Changes = withoutRefreshes(rec.Changes, rec.Git)
	}
	rec.ID = rec.newID()
	if len(rec.Changes)+len(rec.Own) == 0 {
		return rec, run.Close()
	}
	f, err := os.OpenFile(rec.file(".data"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keeping what a command changed: %w", err)
	}
	rec.contents = f
	if _, err = io.Copy(f, io.NewSectionReader(run.Contents(), 0, 1<<62)); err == nil {
		err = f.Sync()
	}
	rec.indexes()
	if err == nil {
		err = rec.save()
	}
	if err != nil {
		rec.forget()
		return nil, fmt.Errorf("keeping what a command changed: %w", err)
	}
	return rec, run.Close()
}

// withoutRefreshes leaves out an index of git that names the same entries as
// before: to look at the status writes it anew.
func withoutRefreshes(changes []sandbox.Change, g *GitChange) []sandbox.Change {
	return slices.DeleteFunc(changes, func(c sandbox.Change) bool {
		isIndex := path.Base(c.Path) == "index" && inGit(c.Path)
		return isIndex && (c.Op == sandbox.OpTouch || c.Op == sandbox.OpModify && !g.Unread && len(g.Index) == 0 && c.Path == g.IndexPath)
	})
}

// ownTmp leaves out what a command leaves in the folder for temporary files that
// is nobody else's: sockets, and folders that were only touched.
func ownTmp(changes []sandbox.Change) []sandbox.Change {
	out := changes[:0:0]
	for _, c := range changes {
		if c.Op == sandbox.OpTouch && (c.Before == nil || c.Before.Type == 'd') {
			continue
		}
		if c.After != nil && !strings.ContainsRune("fdl", rune(c.After.Type)) {
			continue // pipes, sockets and devices mean something only to the processes that made them
		}
		out = append(out, c)
	}
	return out
}

// special lists the pipes, sockets and devices that a run leaves.
func special(changes []sandbox.Change) []string {
	var out []string
	for _, c := range changes {
		if c.After != nil && !strings.ContainsRune("fdl", rune(c.After.Type)) {
			out = append(out, filepath.Join(c.Tree, c.Path))
		}
	}
	return out
}

func newID() string {
	var b [10]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// newID returns a name for r that says what r would change: an approval holds it,
// and a record that was edited since does not go by it any more.
func (r *Record) newID() string { return newID() + r.sum() }

// sum is a hash over what a landing of r does and what is said of it.
func (r *Record) sum() string {
	text, err := json.Marshal(struct {
		Changes, Own []sandbox.Change
		Names        map[uint64][]sandbox.Name
		Argv, Roots  []string
		Folder       string
		Exit, Signal int
		Whole        bool
	}{r.Changes, r.Own, r.Names, r.Argv, r.Roots, r.Folder, r.Exit, r.Signal, r.Whole()})
	if err != nil {
		return "" // fail closed: no record has this name
	}
	h := sha256.Sum256(text)
	return hex.EncodeToString(h[:16])
}

func (r *Record) file(suffix string) string { return filepath.Join(r.dir, r.ID+suffix) }

// save writes the record so that a later process finds it whole or not at all.
func (r *Record) save() error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp := r.file(".tmp")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errorsFirst(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, r.file(".json")); err != nil {
		return err
	}
	d, err := os.Open(r.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func errorsFirst(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Record) forget() {
	if r.contents != nil {
		r.contents.Close()
		r.contents = nil
	}
	if r.dir == "" || r.ID == "" {
		return
	}
	for _, suffix := range []string{".tmp", ".json", ".data", ".before"} {
		os.Remove(r.file(suffix))
	}
}

func (r *Record) landing() *sandbox.Landing {
	return &sandbox.Landing{ID: r.ID, Changes: slices.Concat(r.Changes, existing(r.Own)), Names: r.Names, Contents: r.contents, Alike: r.alike}
}

// load reads the record of an earlier process.
func (r *Runner) load(id string) (*Record, error) {
	dir := filepath.Join(r.cfg.State, "kept")
	data, err := os.ReadFile(filepath.Join(dir, id+".json"))
	if err != nil {
		return nil, err
	}
	rec := &Record{}
	if err := json.Unmarshal(data, rec); err != nil {
		return nil, fmt.Errorf("reading the record %s: %w", id, err)
	}
	if rec.ID != id {
		return nil, fmt.Errorf("the record %s names itself %s", id, rec.ID)
	}
	if sum := rec.sum(); sum == "" || !strings.HasSuffix(id, sum) {
		return nil, fmt.Errorf("the record %s was changed after it was made", id) // fail closed
	}
	rec.dir, rec.obeyed, rec.startup = dir, r.cfg.Obeyed, r.cfg.Startup
	if rec.contents, err = os.OpenFile(rec.file(".data"), os.O_RDONLY, 0); err != nil {
		return nil, err
	}
	return rec, nil
}
