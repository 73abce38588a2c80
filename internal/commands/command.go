package commands

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/sandbox"
)

// Command is what is to be run, and for whom.
type Command struct {
	Call   guard.CallID // by which the run is found again
	Tenant string
	Run    guard.RunID

	Argv   []string // the words; of a line the shell that runs it, "-c" and the line
	Folder string   // where it runs; inside of one of Roots
	Roots  []string // the workspace folders, resolved
	Home   string   // of the client's user
	Env    []string // see Environment
	Umask  int
	// Programs are files outside of the folders that every command sees, by
	// absolute path, that this one may read and run.
	Programs []string
	Settings Settings
}

// spec says what of the machine a command may see.
func (r *Runner) spec(c Command) (sandbox.Spec, error) {
	s := sandbox.Spec{
		Program: r.cfg.Program, Argv: c.Argv, Env: c.Env, Dir: c.Folder, Umask: c.Umask, Limits: c.Settings.Limits,
		State: r.runs, Trees: slices.Clone(c.Roots), Closed: slices.Clone(closedSystem),
	}
	temporary := c.Settings.Temporary
	if temporary == nil {
		temporary = []string{"/tmp", "/var/tmp"}
	}
	for _, tmp := range temporary {
		if there(tmp) && !slices.Contains(s.Trees, tmp) {
			s.Trees = append(s.Trees, tmp)
		}
	}
	for _, p := range slices.Concat(systemFolders, expand(toolChains, c.Home), c.Programs) {
		if there(p) && !slices.Contains(s.Trees, p) && (r.cfg.Secret == nil || !r.cfg.Secret(p)) {
			s.Visible = append(s.Visible, p)
		}
	}
	scratch := c.Settings.Scratch
	if scratch == nil {
		scratch = defaultScratch
	}
	for _, p := range expand(scratch, c.Home) {
		if lies(p, s.Trees) {
			continue // it would not be seen what changes there
		}
		s.Scratch = append(s.Scratch, sandbox.Scratch{Path: p, Store: r.scratch(c, p)})
	}
	s.Closed = append(append(s.Closed, r.cfg.State), r.cfg.Hidden...)
	if r.cfg.Secret != nil {
		for _, tree := range s.Trees {
			if lies(tree, slices.DeleteFunc(slices.Clone(s.Trees), func(t string) bool { return t == tree })) {
				continue // it is looked at with the folder that it lies in
			}
			secrets, err := r.secrets.below(tree, r.cfg.Secret)
			if err != nil {
				return s, err
			}
			for _, p := range secrets {
				if !lies(p, s.Closed) { // to look for it in a closed folder would count as wanted
					s.Closed = append(s.Closed, p)
				}
			}
		}
	}
	store, err := r.temporaryOf(c)
	if err != nil {
		return s, err
	}
	s.Stored = []sandbox.Scratch{{Path: temporaryPath, Store: store}}
	s.Env = append(slices.Clone(s.Env), "TMPDIR="+temporaryPath)
	return s, nil
}

// lies reports whether a path is in one of the folders, or is one.
func lies(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return path == f || strings.HasPrefix(path, strings.TrimSuffix(f, "/")+"/") })
}

// scratch returns the store of a scratch folder: one for each tenant and
// workspace, so that what one leaves is never run by another.
func (r *Runner) scratch(c Command, path string) string {
	h := sha256.New()
	for _, s := range append([]string{c.Tenant, path}, c.Roots...) {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	return filepath.Join(r.cfg.State, "scratch", hex.EncodeToString(h.Sum(nil)[:12]))
}

// prepareStores makes the stores that a run needs.
func prepareStores(s sandbox.Spec) error {
	for _, c := range slices.Concat(s.Scratch, s.Stored) {
		if err := os.MkdirAll(c.Store, 0o700); err != nil {
			return err
		}
	}
	return nil
}
