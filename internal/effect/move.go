package effect

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// maxListed is how many entries of a moved folder a preview lists.
const maxListed = 200

// FileMove renames a file or folder.
const FileMove = "file.move"

type fileMove struct{}

func (fileMove) about() About {
	return About{
		Name:   FileMove,
		params: []param{{name: "source", want: expr.String}, {name: "destination", want: expr.String}, dryRun},
		paths:  []string{"source", "destination"},
	}
}

func (fileMove) resolve(ctx context.Context, b *Binding, in Input) (resolved, error) {
	return b.files(ctx, in, naming{paths: []string{"source", "destination"}, slash: true, follow: followsToMove})
}

// plan previews a rename. A rename never overwrites anything.
func (fileMove) plan(ctx context.Context, b *Binding, _ Input, at resolved) (guard.Preview, error) {
	src, dst := at.places[0], at.places[1]
	if err := checkMove(src, dst); err != nil {
		return guard.Preview{}, err
	}
	before, listing, err := src.state(ctx, false)
	if err != nil {
		return guard.Preview{}, err
	}
	dest := dst.target(true)
	after := before
	if b.dialect == DialectGeneric {
		after.Mode = 0 // a copy followed by a delete may change the mode
	}
	e := guard.Effect{Kind: FileMove, Resource: src.target(true), Dest: &dest, Before: before, After: after}
	out := guard.Preview{
		Change:  guard.Change{Type: guard.ChangeUnified},
		Summary: "move " + src.shown() + " → " + dst.shown(),
	}
	if before.Kind == stateDir {
		out.Change.Text = moveListing(src, dst, listing)
		out.Summary += fmt.Sprintf(" (folder, %d entries)", len(listing))
	} else {
		text, _ := diff.Unified(
			diff.File{Path: src.rel(), Exists: true, Mode: before.Mode},
			diff.File{Path: dst.rel(), Exists: true, Mode: before.Mode}, diff.Options{})
		out.Change.Text = string(text)
		if before.Mode&0o111 != 0 {
			out.Hazards = append(out.Hazards, guard.Hazard{Kind: HazardExecutable, Text: "the file is executable"})
		}
	}
	if src.linked {
		out.Hazards = append(out.Hazards, guard.Hazard{Kind: HazardDangling, Text: "the file itself is moved; the link that leads to it stays behind"})
	}
	e.Diff = digest.Sum([]byte(out.Change.Text))
	out.Effects = []guard.Effect{e}
	addSideEffects(&out, src)
	return out, nil
}

func (fileMove) work(ctx context.Context, _ *Binding, _ Input, at resolved) (w Work, err error) {
	src, dst := at.places[0], at.places[1]
	if err := checkMove(src, dst); err != nil {
		return Work{}, err
	}
	w = Work{Op: Rename, Dest: dst.target(true)}
	w.Before, _, err = src.state(ctx, false)
	return w, err
}

// verify checks both ends. The returned state is that of the destination.
func (fileMove) verify(ctx context.Context, _ Reader, e guard.Effect) reading {
	if !e.After.Computed || e.Resource.Kind != TargetFile {
		return notComputed()
	}
	src, err := resolvedPathOf(e.Resource)
	if err != nil {
		return reading{result: guard.Unverifiable, note: err.Error()}
	}
	if e.Dest == nil {
		return reading{result: guard.Unverifiable, note: "the move has no destination on record"}
	}
	dst, err := resolvedPathOf(*e.Dest)
	if err != nil {
		return reading{result: guard.Unverifiable, note: err.Error()}
	}
	from, _, err := src.state(ctx, false)
	if err != nil {
		return cannotRead(err)
	}
	to, _, err := dst.state(ctx, false)
	if err != nil {
		return cannotRead(err)
	}
	diverged := func(format string, args ...any) reading {
		return reading{result: guard.Diverged, state: to, note: fmt.Sprintf(format, args...)}
	}
	switch {
	case !from.Exists && matches(to, e.After):
		return reading{result: guard.Verified, state: to}
	case !to.Exists && matches(from, e.Before):
		return reading{result: guard.Untouched, state: to, note: fmt.Sprintf("%q is where it was before", src.rel())}
	case !to.Exists:
		return diverged("%q is not there", dst.rel())
	case from.Exists:
		return diverged("%q is still there, and so is %q", src.rel(), dst.rel())
	}
	return diverged("%s", difference(dst.rel(), to, e.After))
}

func (k fileMove) inverse(ctx context.Context, a guard.Approval) (Inverse, error) {
	e, err := undoableFile(a)
	if err != nil {
		return Inverse{}, err
	}
	if e.Dest == nil {
		return Inverse{}, refusePlan(byHand, "the move has no destination on record")
	}
	if r := k.verify(ctx, nil, e); r.result != guard.Verified {
		return Inverse{}, refusePlan(byHand, "it has moved on since: %s", r.note)
	}
	out := Inverse{Roots: slices.Compact([]string{e.Resource.Root, e.Dest.Root})}
	return out.call("move_file", map[string]string{"source": e.Dest.Key, "destination": e.Resource.Key})
}

// checkMove refuses every move that a rename could not do.
func checkMove(src, dst resolvedPath) error {
	if err := checkStands(src); err != nil {
		return err
	}
	switch {
	case dst.exists:
		return refusePlan("use another name, or delete it first", "%q is there already", dst.rel())
	case dst.missing > 1:
		return refusePlan("create the folder first", "the folder %q is not there", path.Dir(dst.rel()))
	}
	if _, inside := within(dst.abs(), src.abs()); inside {
		return refusePlan("use another destination", "a folder cannot be moved into itself")
	}
	dir, err := dst.parent()
	if err != nil {
		return dst.unreadable(err)
	}
	defer unix.Close(dir)
	st, err := statOf(dir)
	if err != nil {
		return dst.unreadable(err)
	}
	if st.dev != src.stat.dev {
		return refusePlan("write the new file and delete the old one", "source and destination are on different file systems")
	}
	return nil
}

// moveListing describes the move of a folder in git's format, with its entries.
func moveListing(src, dst resolvedPath, listing []string) string {
	var w strings.Builder
	fmt.Fprintf(&w, "rename from %s/\nrename to %s/\n%d entries move with it\n", src.shown(), dst.shown(), len(listing))
	for i, name := range listing {
		if i == maxListed {
			fmt.Fprintf(&w, "… and %d more\n", len(listing)-i)
			break
		}
		fmt.Fprintf(&w, "  %s\n", oneLine(name))
	}
	return w.String()
}
