package effect

import (
	"context"
	"fmt"
	"strings"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// planDelete is the preview of a delete: a file's content goes to /dev/null.
func (b *Binding) planDelete(ctx context.Context, p place) (guard.Preview, error) {
	st, err := checkDelete(ctx, p)
	if err != nil {
		return guard.Preview{}, err
	}
	e := guard.Effect{Kind: FileDelete, Resource: p.target(true), Before: st, After: guard.State{Computed: true}}
	out := guard.Preview{Change: guard.Change{Type: guard.ChangeUnified}, Summary: "delete " + p.shown()}
	switch {
	case st.Kind == stateDir:
		out.Change.Text = "delete empty folder " + p.shown() + "\n"
		out.Summary = "delete empty folder " + p.shown()
	case st.Size > MaxText:
		out.Change.Text = fmt.Sprintf("delete %s\nbefore: %d bytes, %s\n", p.shown(), st.Size, st.SHA256)
		out.Hazards = append(out.Hazards, guard.Hazard{Kind: HazardLarge, Text: fmt.Sprintf("the file has %d bytes; its content is not shown", st.Size)})
	default:
		data, now, err := p.read(MaxText)
		if err != nil {
			return guard.Preview{}, err
		}
		if digest.Sum(data) != st.SHA256 {
			return guard.Preview{}, p.unreadable(errGone)
		}
		text, r := diff.Unified(diff.File{Path: p.rel(), Data: data, Exists: true, Mode: now.perm()}, diff.File{Path: p.rel()}, diff.Options{})
		out.Change.Text, out.Change.Added, out.Change.Removed = string(text), r.Added, r.Removed
		out.Summary += counts(r)
		if r.Binary {
			out.Hazards = append(out.Hazards, guard.Hazard{Kind: HazardBinary, Text: "the file is binary; its content is not shown"})
		}
		if now.nlink > 1 {
			out.Hazards = append(out.Hazards, guard.Hazard{Kind: HazardHardLink, Text: "the file has other names; they keep the content"})
		}
	}
	e.Diff = digest.Sum([]byte(out.Change.Text))
	out.Effects = []guard.Effect{e}
	return out, nil
}

// checkDelete returns what would be deleted: a file or an empty folder.
func checkDelete(ctx context.Context, p place) (guard.State, error) {
	if err := checkStands(p); err != nil {
		return guard.State{}, err
	}
	st, listing, err := p.state(ctx, false)
	if err != nil {
		return guard.State{}, err
	}
	if st.Kind == stateDir && len(listing) > 0 {
		// fail closed: a whole tree is never deleted by one call
		return guard.State{}, refusePlan("delete what is in it first", "the folder %q is not empty", p.rel())
	}
	return st, nil
}

// checkStands refuses what is not there, and links where a server of unknown
// habits could mean the link or what it leads to.
func checkStands(p place) error {
	if !p.exists {
		return refusePlan(listFirst, "%q is not there", p.rel())
	}
	if p.stat.isLink() {
		return refusePlan("name the file that it leads to", "%q is a symbolic link", p.rel())
	}
	return nil
}

// planFolder is the preview of a folder and of those above it that are missing.
func (b *Binding) planFolder(p place) (guard.Preview, error) {
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

func checkFolder(p place) error {
	if p.exists && !p.stat.isDir() {
		return refusePlan("use another name", "%q is there and is not a folder", p.rel())
	}
	return nil
}

// missingFolders lists the folders on the way to p, and p, that are not there.
func (p place) missingFolders() []place {
	var out []place
	for n := len(p.names) - p.missing + 1; n <= len(p.names); n++ {
		out = append(out, place{root: p.root, names: p.names[:n]})
	}
	return out
}
