package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// Config says where a runner keeps what it makes.
type Config struct {
	Program string   // the executable that becomes the first process of a sandbox
	State   string   // a folder of the runner's own, mode 0700
	Hidden  []string // paths that no command may see: the guard's state and configuration
	// Obeyed reports whether a tool runs or obeys a file at a path by itself; the
	// path is relative to its folder. Nil stands for no such path.
	Obeyed func(path string) bool
	// Startup reports whether an agent or a shell obeys a file at a path each time
	// that it starts; the path is relative to its folder. Nil stands for no such path.
	Startup func(path string) bool
	// Secret reports whether a path holds keys or credentials, as the policy for
	// reads has it; the path is absolute. Such a path is closed. It answers the same
	// for the same path at all times.
	Secret func(path string) bool
	Log    *slog.Logger
}

// atOnce is how many commands run in sandboxes at one time.
const atOnce = 2

// MaxRounds is how often a command is run again because something it touched
// changed meanwhile.
const MaxRounds = 3

// Runner runs commands and keeps what came out until it is landed or forgotten.
// It is safe for concurrent use.
type Runner struct {
	cfg  Config
	runs string
	free chan struct{}

	secrets secretFinder

	mu      sync.Mutex
	records map[guard.CallID]*Record
	running map[guard.CallID]*Running
}

// MovingError says that a command was run again and again, and that each time
// something else had changed what it touches.
type MovingError struct {
	Paths []string // what was other than before the last run, in full
	Runs  int
}

// Error says what moved.
func (e *MovingError) Error() string {
	return fmt.Sprintf("it was run %d times, and each time something else changed what it touches%s; let that come to rest and ask again", e.Runs, listed(e.Paths))
}

// listed names the first of some paths.
func listed(paths []string) string {
	const most = 3
	if len(paths) == 0 {
		return ""
	}
	var names []string
	for _, p := range paths[:min(len(paths), most)] {
		names = append(names, quoted(valid(p)))
	}
	if len(paths) > most {
		names = append(names, fmt.Sprintf("%d more", len(paths)-most))
	}
	return ": " + strings.Join(names, ", ")
}

// Running is a command that runs in a sandbox now.
type Running struct {
	Call    guard.CallID
	Command Command
	Since   time.Time
	cancel  context.CancelFunc
}

// New returns a runner. What earlier processes left in the state folder, and is
// not kept for an approval, is removed.
func New(cfg Config) (*Runner, error) {
	r := &Runner{cfg: cfg, runs: filepath.Join(cfg.State, "running"), free: make(chan struct{}, atOnce), records: map[guard.CallID]*Record{}, running: map[guard.CallID]*Running{}}
	if r.cfg.Log == nil {
		r.cfg.Log = slog.New(slog.DiscardHandler)
	}
	for _, dir := range []string{cfg.State, r.runs, filepath.Join(cfg.State, "scratch"), filepath.Join(cfg.State, "kept")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the folder for commands: %w", err)
		}
	}
	if err := sandbox.Clean(r.runs); err != nil {
		return nil, fmt.Errorf("removing what runs have left: %w", err)
	}
	return r, nil
}

// Preview runs a command where it can do no harm and returns the record of it. A
// second call for the same call returns the same record as long as everything
// that it touched is as it was before the run, and runs it again otherwise.
//
// The error is of the sandbox: sandbox.ErrUnavailable and sandbox.ErrTooLarge
// can be told apart; the command is then to be shown by its text.
func (r *Runner) Preview(ctx context.Context, c Command) (*Record, error) {
	r.mu.Lock()
	old := r.records[c.Call]
	r.mu.Unlock()
	if old != nil {
		p, err := old.landing().Progress()
		if err == nil && (p == sandbox.NotBegun || len(old.landing().Changes) == 0) {
			return old, nil
		}
		if old.Rounds >= MaxRounds {
			return nil, &MovingError{Paths: old.landing().Moved(), Runs: old.Rounds + 1}
		}
	}
	rec, err := r.run(ctx, c)
	if err != nil {
		return nil, err
	}
	if old != nil {
		rec.Rounds = old.Rounds + 1
		old.forget()
	}
	r.mu.Lock()
	r.records[c.Call] = rec
	r.mu.Unlock()
	return rec, nil
}

func (r *Runner) run(ctx context.Context, c Command) (*Record, error) {
	select {
	case r.free <- struct{}{}:
		defer func() { <-r.free }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	r.running[c.Call] = &Running{Call: c.Call, Command: c, Since: time.Now(), cancel: cancel}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.running, c.Call)
		r.mu.Unlock()
	}()
	spec, err := r.spec(c)
	if err != nil {
		return nil, err
	}
	if err := prepareStores(spec); err != nil {
		return nil, fmt.Errorf("making the folders for caches and temporary files: %w", err)
	}
	spec.Probe, spec.ProbeEnv = gitProbe(c.Folder, nil), safeEnv
	var copying []string // why a copy is needed
	for round := 0; ; round++ {
		run, err := sandbox.Exec(ctx, spec)
		if errors.Is(err, sandbox.ErrTooLarge) {
			return nil, fmt.Errorf("layers over the folders cannot show what it does%s; and %w", listed(copying), err)
		}
		if err != nil {
			return nil, err
		}
		switch {
		case len(run.Retry) > 0 && spec.Copies == nil:
			// Nothing has landed, so to run it again costs time alone.
			spec.Copies, copying = append(slices.Clone(c.Roots), temporaryPath), run.Retry
			run.Close()
			continue
		case len(run.Moved) > 0 && round < MaxRounds && ctx.Err() == nil:
			run.Close()
			continue
		}
		rec, err := r.keep(ctx, c, spec, run)
		if err != nil {
			run.Close()
			return nil, err
		}
		return rec, nil
	}
}

// Outcome is what a command printed and how it ended.
type Outcome struct {
	Exit, Signal   int
	Stdout, Stderr string
	Text           string          // both in order
	Output         []sandbox.Chunk // the same with its streams; nil for a command that ran for real
	Truncated      bool
	Changes        int // paths that were landed
}

func (r *Record) outcome() Outcome {
	return Outcome{Exit: r.Exit, Signal: r.Signal, Stdout: r.Stream(false), Stderr: r.Stream(true), Text: r.Text(), Output: r.Output, Truncated: r.Truncated, Changes: len(r.Changes)}
}

// Outcome returns what the run of a record printed and how it ended, and
// carries nothing out.
func (r *Runner) Outcome(id string) (Outcome, error) {
	rec, err := r.find(id)
	if err != nil {
		return Outcome{}, err
	}
	return rec.outcome(), nil
}

// Land carries out what a record kept, all or nothing, and returns the output of
// its run. A *sandbox.MovedError says that nothing changed because something had
// moved. ctx ends it only before the first change.
func (r *Runner) Land(ctx context.Context, id string) (Outcome, error) {
	rec, err := r.find(id)
	if err != nil {
		return Outcome{}, err
	}
	if !rec.Whole() {
		// fail closed: it does not tell all that the command would do
		return Outcome{}, errors.New("the run of this command is not whole, so nothing of it can be landed")
	}
	l := rec.landing()
	if len(l.Changes) == 0 {
		return rec.outcome(), nil
	}
	if l.Kept, err = os.OpenFile(rec.file(".before"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return Outcome{}, fmt.Errorf("making room for what is taken away: %w", err)
	}
	defer l.Kept.Close()
	l.Begins = func(kept map[sandbox.Name]int64) error {
		rec.Kept = nil
		for at, offset := range kept {
			rec.Kept = append(rec.Kept, KeptContent{at, offset})
		}
		return rec.save() // so that the way back is known after a crash, too
	}
	if _, err := l.Land(ctx); err != nil {
		return Outcome{}, err
	}
	rec.Landed = true
	if err := rec.save(); err != nil {
		// It has landed; only the way back may be lost.
		r.cfg.Log.Error("keeping the way back of a command", "record", rec.ID, "error", err)
	}
	return rec.outcome(), nil
}

// find returns a record of this process or of an earlier one.
func (r *Runner) find(id string) (*Record, error) {
	r.mu.Lock()
	for _, rec := range r.records {
		if rec.ID == id {
			r.mu.Unlock()
			return rec, nil
		}
	}
	r.mu.Unlock()
	return r.load(id)
}

// Resume goes on with a landing that an earlier process may have begun: what it
// left half done is finished, what it had not begun stays so.
func (r *Runner) Resume(id string) error {
	rec, err := r.load(id)
	if err != nil {
		return fmt.Errorf("finding what a command was to change: %w", err)
	}
	defer rec.contents.Close()
	p, err := rec.landing().Finish()
	if err == nil && p == sandbox.Landed {
		rec.Landed = true
		err = rec.save()
	}
	return err
}

// Prune removes what is kept of commands that nobody needs any more: records that
// were not landed and belong to no call of this process, and those of before the
// given time. It is called once recovery has resumed what was begun.
func (r *Runner) Prune(before time.Time) error {
	dir := filepath.Join(r.cfg.State, "kept")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	r.mu.Lock()
	mine := map[string]bool{}
	for _, rec := range r.records {
		mine[rec.ID] = true
	}
	r.mu.Unlock()
	for _, e := range entries {
		id, _, _ := strings.Cut(e.Name(), ".")
		info, err := e.Info()
		if err != nil || mine[id] {
			continue
		}
		if info.ModTime().Before(before) || !r.landed(id) && time.Since(info.ModTime()) > unclaimed {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// unclaimed is how long the files of a record stay that no call of this process
// has: it may be in the making.
const unclaimed = time.Hour

func (r *Runner) landed(id string) bool {
	rec, err := r.load(id)
	if err != nil {
		return false
	}
	rec.contents.Close()
	return rec.Landed
}

// Reverse makes a record of what taking back a landed one would change.
func (r *Runner) Reverse(call guard.CallID, id string) (*Record, error) {
	old, err := r.find(id)
	if err != nil {
		return nil, err
	}
	if !old.Landed {
		return nil, errors.New("it was not landed, so there is nothing to take back")
	}
	r.mu.Lock()
	known := r.records[call]
	r.mu.Unlock()
	if known != nil {
		return known, nil
	}
	kept := map[sandbox.Name]int64{}
	for _, k := range old.Kept {
		kept[k.Name] = k.At
	}
	rec := &Record{
		Call: call, Argv: append([]string{"take back"}, old.Argv[len(old.Argv)-1]), Folder: old.Folder, Roots: old.Roots,
		Changes: sandbox.Reversed(old.Changes, kept), Indexes: old.Indexes, Git: old.Git.reversed(), dir: old.dir, obeyed: r.cfg.Obeyed, startup: r.cfg.Startup,
	}
	rec.ID = rec.newID()
	if err := copyFile(old.file(".before"), rec.file(".data")); err != nil {
		return nil, fmt.Errorf("finding what was taken away: %w", err)
	}
	if rec.contents, err = os.Open(rec.file(".data")); err == nil {
		err = rec.save()
	}
	if err != nil {
		rec.forget()
		return nil, err
	}
	r.mu.Lock()
	r.records[call] = rec
	r.mu.Unlock()
	return rec, nil
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
	_, err = io.Copy(out, in)
	return errorsFirst(err, out.Sync(), out.Close())
}

// refreshTime is how long git may take to look at its index anew.
const refreshTime = 5 * time.Second

// Keep leaves the record of a call that is over to later processes, for its way
// back, and drops it from memory. A record that was not landed is removed.
func (r *Runner) Keep(id guard.CallID) {
	r.mu.Lock()
	rec := r.records[id]
	delete(r.records, id)
	r.mu.Unlock()
	switch {
	case rec == nil:
	case rec.Landed && len(rec.Changes) > 0:
		if rec.Git != nil && rec.Git.IndexPath != "" {
			// Without it tools see changes where there are none, until git looks itself.
			ctx, cancel := context.WithTimeout(context.Background(), refreshTime)
			defer cancel()
			if err := r.refreshIndex(ctx, rec); err != nil {
				r.cfg.Log.Warn("refreshing the index of git", "record", rec.ID, "error", err)
			}
		}
		rec.contents.Close()
	default:
		rec.forget()
	}
}

// List returns the commands that run in a sandbox now, the oldest first.
func (r *Runner) List() []Running {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Running
	for _, c := range r.running {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Running) int { return a.Since.Compare(b.Since) })
	return out
}

// Stop ends a command that runs in a sandbox, and reports whether it did.
func (r *Runner) Stop(id guard.CallID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.running[id]
	if ok {
		c.cancel()
	}
	return ok
}

// Forget drops the record of a call that is over.
func (r *Runner) Forget(id guard.CallID) {
	r.mu.Lock()
	rec := r.records[id]
	delete(r.records, id)
	r.mu.Unlock()
	if rec != nil {
		rec.forget()
	}
}
