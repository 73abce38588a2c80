package effect

import (
	"context"
	"fmt"
	"strings"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// DirCreate makes a folder and any missing parents.
const DirCreate = "dir.create"

type dirCreate struct{}

func (dirCreate) about() About {
	return About{Name: DirCreate, params: []param{{name: "path", want: expr.String}, dryRun}, paths: []string{"path"}}
}

func (dirCreate) resolve(ctx context.Context, b *Binding, in Input) (resolved, error) {
	return b.files(ctx, in, naming{paths: []string{"path"}, whole: true, slash: true, follow: followsAlways})
}

// plan previews a new folder and its missing parents.
func (dirCreate) plan(_ context.Context, b *Binding, _ Input, at resolved) (guard.Preview, error) {
	p := at.places[0]
	out := guard.Preview{Change: guard.Change{Type: guard.ChangeUnified}}
	if p.exists {
		if err := checkFolder(p); err != nil {
			return guard.Preview{}, err
		}
		st := guard.State{Exists: true, Kind: stateDir, Mode: p.stat.perm(), Computed: true}
		out.Effects = []guard.Effect{{Kind: DirCreate, Resource: p.target(true), Before: st, After: st, Diff: digest.Sum(nil)}}
		out.Summary = "no change: folder " + p.shown() + " is there"
		return out, nil
	}
	mode := uint32(0)
	if b.dialect == DialectWorkspace {
		mode = NewFolderMode
	}
	var text strings.Builder
	for _, part := range p.missingFolders() {
		line := "new folder " + part.shown() + "\n"
		text.WriteString(line)
		out.Effects = append(out.Effects, guard.Effect{
			Kind: DirCreate, Resource: part.target(true),
			Before: guard.State{Computed: true},
			After:  guard.State{Exists: true, Kind: stateDir, Mode: mode, Computed: true},
			Diff:   digest.Sum([]byte(line)),
		})
	}
	out.Change.Text = text.String()
	out.Summary = "create folder " + p.shown()
	if p.missing > 1 {
		out.Summary += fmt.Sprintf(" (%d new folders)", p.missing)
	}
	return out, nil
}

func checkFolder(p resolvedPath) error {
	if p.exists && !p.stat.isDir() {
		return refusePlan("use another name", "%q is there and is not a folder", p.rel())
	}
	return nil
}

// missingFolders lists p and its parents that do not exist, from the top down.
func (p resolvedPath) missingFolders() []resolvedPath {
	var out []resolvedPath
	for n := len(p.names) - p.missing + 1; n <= len(p.names); n++ {
		out = append(out, resolvedPath{root: p.root, names: p.names[:n]})
	}
	return out
}

func (dirCreate) work(_ context.Context, _ *Binding, _ Input, at resolved) (Work, error) {
	w := Work{Op: MakeFolders}
	for _, f := range at.places[0].missingFolders() {
		w.Folders = append(w.Folders, f.target(true))
	}
	return w, checkFolder(at.places[0])
}

// verify checks the folder alone, not its content, which others may add.
func (dirCreate) verify(ctx context.Context, _ Reader, e guard.Effect) reading {
	return verifyFile(ctx, e, true)
}

// inverse deletes the deepest of the created folders; its parents stay.
func (dirCreate) inverse(ctx context.Context, a guard.Approval) (Inverse, error) {
	var note string
	if deepest, n := foldersMade(a.Preview.Effects); n > 1 {
		a.Preview.Effects = []guard.Effect{deepest}
		note = fmt.Sprintf("%s above it, made by the same call, stay", plural(n-1, "folder", "folders"))
	}
	out, err := inverseFile(ctx, a, true)
	if out.Note == "" {
		out.Note = note
	}
	return out, err
}

// foldersMade returns the deepest folder that one call created, and how many it
// created; zero if the call did anything else. effects are ordered from the top
// down.
func foldersMade(effects []guard.Effect) (deepest guard.Effect, n int) {
	for _, e := range effects {
		if e.Kind != DirCreate || e.Before.Exists {
			return guard.Effect{}, 0
		}
		deepest = e
	}
	return deepest, len(effects)
}
