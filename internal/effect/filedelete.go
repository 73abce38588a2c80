package effect

import (
	"context"
	"fmt"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/document"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// FileDelete deletes a file or an empty folder.
const FileDelete = "file.delete"

type fileDelete struct{ onFiles }

func (fileDelete) about() About {
	return About{Name: FileDelete, params: []param{{name: "path", want: expr.String}, dryRun}, paths: []string{"path"}}
}

func (fileDelete) resolve(ctx context.Context, b *Binding, in Input) (resolved, error) {
	return b.files(ctx, in, naming{paths: []string{"path"}, slash: true, follow: followsToMove})
}

// plan previews a delete: the file's content goes to /dev/null.
func (fileDelete) plan(ctx context.Context, _ *Binding, _ Input, at resolved) (guard.Preview, error) {
	p := at.places[0]
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
		shown, e := document.DecodeText(data)
		if e.Wide() {
			out.SideEffects = append(out.SideEffects, guard.SideEffect{Text: "the text is shown decoded: it is " + string(e)})
		}
		text, r := diff.Unified(diff.File{Path: p.rel(), Data: shown, Exists: true, Mode: now.perm()}, diff.File{Path: p.rel()}, diff.Options{})
		out.Change.Text, out.Change.Added, out.Change.Removed = string(text), r.Added, r.Removed
		out.Summary += counts(r)
		if r.Binary {
			out.Hazards = append(out.Hazards, guard.Hazard{Kind: HazardBinary, Text: "the file is binary; its content is not shown"})
		}
		if now.readOnly() {
			out.Hazards = append(out.Hazards, hazard(HazardReadOnly, "the file is read-only (%04o); it is deleted all the same", now.perm()))
		}
		if now.nlink > 1 {
			out.Hazards = append(out.Hazards, guard.Hazard{Kind: HazardHardLink, Text: "the file has other names; they keep the content"})
		}
	}
	e.Diff = digest.Sum([]byte(out.Change.Text))
	out.Effects = []guard.Effect{e}
	out.SideEffects = append(out.SideEffects, notReversible)
	addSideEffects(&out, p)
	return out, nil
}

func (fileDelete) work(ctx context.Context, _ *Binding, _ Input, at resolved) (Work, error) {
	before, err := checkDelete(ctx, at.places[0])
	return Work{Op: Remove, Before: before}, err
}

// checkDelete returns the state of what would be deleted: a file or an empty
// folder.
func checkDelete(ctx context.Context, p resolvedPath) (guard.State, error) {
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

// checkStands refuses missing files, and links if an unknown server could act on
// either the link or its target.
func checkStands(p resolvedPath) error {
	if !p.exists {
		return refusePlan(listFirst, "%q is not there", p.rel())
	}
	if p.stat.isLink() {
		return refusePlan("name the file that it leads to", "%q is a symbolic link", p.rel())
	}
	return nil
}
