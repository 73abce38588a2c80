package mcpguardd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/mcpguard/mcpguard/internal/config"
	"github.com/mcpguard/mcpguard/internal/daemon"
	"github.com/mcpguard/mcpguard/internal/hook"
	"github.com/mcpguard/mcpguard/internal/ipc"
	"github.com/mcpguard/mcpguard/internal/policy"
)

// guardChange is the change to the guard's configuration for the client's own
// tools.
type guardChange struct {
	path          string
	before, after []byte // before is nil if there is none yet
	note          string // what else the developer has to do, if anything
}

// guardFor plans a section for the client's own tools, and that clients in
// this folder are served. Hooks of the user scope apply in every folder; which
// folders are served remains the developer's choice.
func guardFor(everywhere bool) (g guardChange, err error) {
	p, err := paths()
	if err != nil {
		return g, err
	}
	folder, err := here()
	if err != nil {
		return g, err
	}
	g.path = p.ConfigFile()
	if g.before, err = readSettings(g.path); err != nil {
		return g, err
	}
	g.after = g.before
	if len(g.before) == 0 {
		g.after = []byte("version: 1\nroots: [" + strconv.Quote(folder) + "]\n")
	} else if err := g.serve(p, folder, everywhere); err != nil {
		return g, err
	}
	c, err := config.Parse(g.path, g.after)
	if err != nil {
		return g, err
	}
	if c.Native == nil {
		g.after = append(bytes.Clone(g.after), ending(g.after)...)
		g.after = append(g.after, "native:\n  preset: claude-native\n"...)
	}
	if _, err := config.Parse(g.path, g.after); err != nil {
		return g, fmt.Errorf("adding the section 'native': %w", err)
	}
	if everywhere {
		g.note = "these hooks hold in every folder, and the guard serves the folders under `roots` in " + g.path + " alone: elsewhere every tool is refused"
	}
	return g, nil
}

// serve adds the folder to a configuration that does not serve it.
func (g *guardChange) serve(p ipc.Paths, folder string, everywhere bool) error {
	set, err := daemon.ReadPolicy(p)
	if err != nil {
		return err
	}
	if _, served := set.ProfileFor(folder); served || everywhere {
		return nil
	}
	e, err := config.NewEditor(g.path, g.before)
	if err != nil {
		return err
	}
	added, err := e.AddRoot(folder)
	switch {
	case err != nil:
		return err
	case added:
		g.after = e.Bytes()
	default:
		g.note = "no profile in " + g.path + " has this folder under `roots`, so every tool is refused here until one does"
	}
	return nil
}

// shared reports whether a file would be committed to a git repository. It is
// only advice: if git does not answer, there is none.
func shared(ctx context.Context, path string) bool {
	dir := filepath.Dir(path)
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir) // it will be created
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := exec.CommandContext(ctx, "git", "-c", "core.fsmonitor=false", "-C", dir, "check-ignore", "-q", path).Run()
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == 1 // 128: no repository
}

// hooks reports whether the client's own tools ask the guard in this folder.
func (d *diagnosis) hooks(set *policy.Set) {
	exe, err := clientProgram()
	if set == nil || set.Config().Native == nil || err != nil {
		return
	}
	any := false
	for _, scope := range []string{"local", "project", "user"} {
		f := settingsFlags{scope: scope}
		path, err := f.path()
		if err != nil {
			d.bad("%v", err)
			continue
		}
		raw, err := readSettings(path)
		if err != nil {
			d.bad("%v", err)
			continue
		}
		switch found, err := hook.Installed(raw); {
		case err != nil:
			d.note("%s: whether it has the hooks cannot be told: %v", path, err)
			any = true
		case found && !hook.Current(raw, exe):
			d.weak("%s has hooks that this program would write otherwise; run `mcpguardd hooks install --scope %s`", path, scope)
			any = true
		case found:
			d.ok("%s has the hooks: Claude Code's own tools ask in this folder", path)
			any = true
		}
	}
	if !any {
		d.note("no settings that hold in this folder have the hooks, so Claude Code's own tools do not ask here; run `mcpguardd hooks install`")
	}
}
