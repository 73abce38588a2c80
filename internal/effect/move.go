package effect

import (
	"context"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// maxListed is how many entries of a moved folder a preview names.
const maxListed = 200

// planMove is the preview of a rename. Nothing is ever overwritten by one.
func (b *Binding) planMove(ctx context.Context, src, dst place) (guard.Preview, error) {
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
		after.Mode = 0 // a copy and a delete may look different
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
	return out, nil
}

// checkMove refuses every move that a rename would not carry out.
func checkMove(src, dst place) error {
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

// moveListing describes the move of a folder in the words of git, with what it
// holds.
func moveListing(src, dst place, listing []string) string {
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
