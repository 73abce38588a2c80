package commands

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// temporaryPath is where a command sees the folder for temporary files of its run,
// which its TMPDIR names. What is left there one command finds that another of the
// same run has left, nobody else does, and it is never real.
const temporaryPath = "/run/mcpguard/tmp"

// temporaryOf returns the store behind the folder for temporary files: one for each
// run. A command of no run has one to itself.
func (r *Runner) temporaryOf(c Command) (string, error) {
	name := string(c.Run)
	if name == "" {
		name = string(c.Call)
	}
	if name == "" || strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") {
		return "", fmt.Errorf("%q names no run", name) // fail closed: it could lead to another one's
	}
	return filepath.Join(r.cfg.State, temporaryFolder, name), nil
}

const temporaryFolder = "temporary"

// apart splits off the changes of stored folders, which are shown to nobody.
func apart(spec sandbox.Spec, changes []sandbox.Change) (shown, own []sandbox.Change) {
	stores := map[string]bool{}
	for _, s := range spec.Stored {
		stores[s.Store] = true
	}
	for _, c := range changes {
		if stores[c.Tree] {
			own = append(own, c)
		} else {
			shown = append(shown, c)
		}
	}
	return shown, own
}

// temporaryFull reports whether the folders for temporary files would hold more
// than a command may write. Without it they would grow with each command, as what
// changes them alone asks nobody.
func temporaryFull(spec sandbox.Spec, own []sandbox.Change) bool {
	if len(own) == 0 {
		return false
	}
	left := spec.Limits.OrDefault().Written
	const entry = 1 << 10 // what a name costs at least
	for _, c := range own {
		for e, sign := range map[*sandbox.Entry]int64{c.Before: 1, c.After: -1} {
			if e != nil {
				left += sign * (e.Size + entry)
			}
		}
	}
	for _, s := range spec.Stored {
		err := filepath.WalkDir(s.Store, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Mode().IsRegular() {
				left -= info.Size()
			}
			left -= entry
			return err
		})
		if err != nil {
			return true // fail closed: it is not known how much there is
		}
	}
	return left < 0
}

// existing leaves out the changes of stored folders that are gone: their run is
// over, and nobody looks for them.
func existing(own []sandbox.Change) []sandbox.Change {
	var out []sandbox.Change
	for _, c := range own {
		if there(c.Tree) {
			out = append(out, c)
		}
	}
	return out
}

// EndRuns removes the folders for temporary files of runs that are over. alive
// reports of a run whether it is not.
func (r *Runner) EndRuns(alive func(guard.RunID) bool) error {
	dir := filepath.Join(r.cfg.State, temporaryFolder)
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	var failed error
	for _, e := range entries {
		if !r.isUsed(e.Name()) && !alive(guard.RunID(e.Name())) {
			failed = errors.Join(failed, sandbox.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return failed
}

// isUsed reports whether a command runs that has a folder for temporary files.
func (r *Runner) isUsed(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.running {
		if string(c.Command.Run) == name || string(c.Command.Call) == name {
			return true
		}
	}
	return false
}
