package effect

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// fileMode is a complete sample kind: it changes the permission bits of a file. In
// the program it would be this file and one row of the table.
type fileMode struct{ onFiles }

func (fileMode) about() About {
	return About{
		Name:   "file.mode",
		params: []param{{name: "path", want: expr.String}, {name: "mode", want: expr.String}, dryRun}, paths: []string{"path"},
	}
}

func (fileMode) resolve(ctx context.Context, b *Binding, in Input) (resolved, error) {
	return b.files(ctx, in, naming{paths: []string{"path"}, follow: followsAlways})
}

func (fileMode) plan(ctx context.Context, b *Binding, in Input, at resolved) (guard.Preview, error) {
	p := at.places[0]
	text, err := b.text(in, "mode")
	if err != nil {
		return guard.Preview{}, err
	}
	mode, err := strconv.ParseUint(text, 8, 12)
	if err != nil {
		return guard.Preview{}, refusePlan("give the mode in octal digits", "%.20q is no mode", text)
	}
	before, _, err := p.state(ctx, false)
	if err != nil {
		return guard.Preview{}, err
	}
	after := before
	after.Mode = uint32(mode)
	change, _ := diff.Unified(
		diff.File{Path: p.rel(), Exists: true, Mode: before.Mode}, diff.File{Path: p.rel(), Exists: true, Mode: after.Mode}, diff.Options{})
	return guard.Preview{
		Effects: []guard.Effect{{Kind: "file.mode", Resource: p.target(true), Before: before, After: after, Diff: digest.Sum(change)}},
		Change:  guard.Change{Type: guard.ChangeUnified, Text: string(change)},
		Summary: "change the mode of " + p.shown(),
	}, nil
}

// TestKindIsOneFileAndOneLine: a kind in the table is known everywhere, with its
// parameters, path rules, plan and verification.
func TestKindIsOneFileAndOneLine(t *testing.T) {
	before := kinds
	kinds = append(slices.Clone(kinds), fileMode{})
	t.Cleanup(func() { kinds = before })

	root := workspace(t)
	path := write(t, root, "run.sh", "exit 0\n")
	b := compile(t, spec("file.mode", DialectGeneric))
	p := mustPlan(t, b, input(t, m{"path": "run.sh", "mode": "755"}, root))
	if p.Change.Text != "diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n" || p.Summary != "change the mode of run.sh" {
		t.Errorf("planned %q, %q", p.Summary, p.Change.Text)
	}
	_, err := plan(t, b, input(t, m{"path": "run.sh", "mode": "rwx"}, root))
	refused(t, err, guard.RulePreviewFailed)
	_, err = plan(t, b, input(t, m{"path": "../run.sh", "mode": "755"}, root))
	refused(t, err, guard.RulePath)
	if p := mustPlan(t, b, input(t, m{"path": "run.sh", "mode": "755", "dryRun": true}, root)); len(p.Effects) != 0 {
		t.Errorf("a trial run has the effects %+v", p.Effects)
	}
	if f := Verify(context.Background(), nil, p.Effects); f.Result != guard.Untouched {
		t.Errorf("before the call: %+v", f)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if f := Verify(context.Background(), nil, p.Effects); f.Result != guard.Verified {
		t.Errorf("after the call: %+v", f)
	}
	if err := os.WriteFile(filepath.Join(root, "run.sh"), []byte("exit 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if f := Verify(context.Background(), nil, p.Effects); f.Result != guard.Diverged {
		t.Errorf("after another change: %+v", f)
	}
	about, ok := Lookup("file.mode")
	if required, optional := Params("file.mode"); !ok || !slices.Contains(Kinds(), "file.mode") || !slices.Equal(required, []string{"path", "mode"}) ||
		!slices.Equal(optional, []string{"dry_run"}) || !about.NamesTargets(map[string]string{"path": "args.path"}) {
		t.Errorf("known as %+v with %v, %v", about, required, optional)
	}
}

// TestUnknownKindIsNeitherVerifiedNorUndone: an effect stored by another version
// is neither verified nor undone.
func TestUnknownKindIsNeitherVerifiedNorUndone(t *testing.T) {
	root := workspace(t)
	write(t, root, "f", "x")
	p := mustPlan(t, compile(t, spec(FileWrite, DialectWorkspace)), input(t, m{"path": "f", "content": "x"}, root))
	p.Effects[0].Kind = "file.later"
	if f := Verify(context.Background(), nil, p.Effects); f.Result != guard.Unverifiable || f.Detail != `this version does not know the effect "file.later"` {
		t.Errorf("read back: %+v", f)
	}
	_, err := InverseOf(context.Background(), guard.Approval{Status: guard.Executed, Args: []byte("{}"), Preview: p})
	refused(t, err, guard.RulePreviewFailed)
}

// TestKindsAreComplete: each kind has a unique name and refers only to its own
// parameters.
func TestKindsAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range kinds {
		a := k.about()
		if seen[a.Name] || a.Name == "" {
			t.Errorf("the name %q stands twice or is empty", a.Name)
		}
		seen[a.Name] = true
		required, optional := Params(a.Name)
		for _, p := range append(slices.Clone(a.paths), a.Record) {
			if p != "" && !slices.Contains(required, p) && !slices.Contains(optional, p) {
				t.Errorf("%s names %q, which is none of its parameters", a.Name, p)
			}
		}
	}
}
