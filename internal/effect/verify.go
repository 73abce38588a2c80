package effect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Found is the result of reading back the targets of effects.
type Found struct {
	Result guard.ReadBack
	After  []guard.State // one per effect; for a move, at its destination
	Detail string        // explains every result except a plain Verified
	// Difference is the patch from the prediction to what was found, if a record
	// differs and the prediction is still known.
	Difference json.RawMessage
}

// maxNotes bounds the sentences that explain a result.
const maxNotes = 3

// Verify reads the targets of effects back and compares them with what was
// predicted. It needs nothing but the effects, so it serves after a crash too;
// records that a tool reads are unverifiable without a reader.
//
// All as predicted is Verified, all as before is Untouched; one effect that
// cannot be read back makes the whole Unverifiable, unless another is neither
// as before nor as predicted: that, like a mixture, is Diverged.
func Verify(ctx context.Context, reader Reader, effects []guard.Effect) Found {
	if len(effects) == 0 {
		return Found{Result: guard.Unverifiable, Detail: "the call has no effect that could be read back"}
	}
	f := Found{After: make([]guard.State, len(effects))}
	seen := map[guard.ReadBack]int{}
	var notes []string
	for i, e := range effects {
		r := verifyOne(ctx, reader, e)
		f.After[i] = r.state
		seen[r.result]++
		if r.note != "" && !slices.Contains(notes, r.note) {
			notes = append(notes, r.note)
		}
		if r.difference != nil {
			f.Difference = r.difference
		}
	}
	if len(notes) > maxNotes {
		notes = append(notes[:maxNotes], fmt.Sprintf("and %d more", len(notes)-maxNotes))
	}
	f.Detail = strings.Join(notes, "; ")
	switch {
	case seen[guard.Diverged] > 0:
		f.Result = guard.Diverged
	case seen[guard.Unverifiable] > 0:
		f.Result = guard.Unverifiable
	case seen[guard.Untouched] == len(effects):
		f.Result = guard.Untouched
	case seen[guard.Verified] == len(effects):
		f.Result = guard.Verified
	default:
		f.Result, f.Detail = guard.Diverged, "only part of the change is there: "+f.Detail
	}
	return f
}

func verifyOne(ctx context.Context, reader Reader, e guard.Effect) reading {
	k, ok := kindNamed(e.Kind)
	if !ok {
		// fail closed: it was kept by another version of the guard
		return reading{result: guard.Unverifiable, note: fmt.Sprintf("this version does not know the effect %q", e.Kind)}
	}
	return k.verify(ctx, reader, e)
}

// onFiles is embedded by kinds that change one file.
type onFiles struct{}

func (onFiles) verify(ctx context.Context, _ Reader, e guard.Effect) reading {
	return verifyFile(ctx, e, false)
}

func (onFiles) inverse(ctx context.Context, a guard.Approval) (Inverse, error) {
	return inverseFile(ctx, a, false)
}

// verifyFile reads back a file or folder. If shallow is set, a folder is only
// checked to exist.
func verifyFile(ctx context.Context, e guard.Effect, shallow bool) reading {
	if !e.After.Computed || e.Resource.Kind != TargetFile {
		return notComputed()
	}
	at, err := resolvedPathOf(e.Resource)
	if err != nil {
		return reading{result: guard.Unverifiable, note: err.Error()}
	}
	now, _, err := at.state(ctx, shallow)
	if err != nil {
		return cannotRead(err)
	}
	switch {
	case matches(now, e.After):
		return reading{result: guard.Verified, state: now}
	case matches(now, e.Before):
		return reading{result: guard.Untouched, state: now, note: fmt.Sprintf("%q is as it was before", at.rel())}
	}
	return reading{result: guard.Diverged, state: now, note: difference(at.rel(), now, e.After)}
}

// cannotRead returns the reading for a target that cannot be read. A target that is
// no longer a file has diverged.
func cannotRead(err error) reading {
	var r *Refusal
	if errors.As(err, &r) && r.Rule == guard.RulePath {
		return reading{result: guard.Diverged, note: r.Reason}
	}
	return reading{result: guard.Unverifiable, note: err.Error()}
}

// resolvedPathOf returns the path of a recorded target. It resolves nothing: a link
// that is in the way by now is not followed.
func resolvedPathOf(t guard.Target) (resolvedPath, error) {
	p := resolvedPath{root: t.Root}
	if t.Path != "." {
		p.names = strings.Split(t.Path, "/")
	}
	if !path.IsAbs(t.Root) || p.abs() != t.Key || slices.ContainsFunc(p.names, func(s string) bool { return s == "" || s == "." || s == ".." }) {
		// fail closed: a record that contradicts itself names no file
		return resolvedPath{}, errors.New("the recorded target names no file")
	}
	return p, nil
}

// matches compares a state with a prediction; what was not predicted may be
// anything.
func matches(now, want guard.State) bool {
	if now.Exists != want.Exists {
		return false
	}
	if !want.Exists {
		return true
	}
	return now.Kind == want.Kind && (want.Mode == 0 || now.Mode == want.Mode) &&
		(want.Kind == stateDir && want.SHA256.IsZero() || now.SHA256 == want.SHA256 && now.Size == want.Size)
}

// difference describes in one sentence how a target differs from what was approved.
func difference(name string, now, want guard.State) string {
	switch {
	case !now.Exists:
		return fmt.Sprintf("%q is not there", name)
	case !want.Exists:
		return fmt.Sprintf("%q is still there, with other content than before", name)
	case now.Kind != want.Kind:
		return fmt.Sprintf("%q is a %s instead of a %s", name, now.Kind, want.Kind)
	case now.SHA256 == want.SHA256:
		return fmt.Sprintf("%q has the approved content, but mode %04o instead of %04o", name, now.Mode, want.Mode)
	}
	return fmt.Sprintf("%q holds neither what was approved nor what was there before (%d bytes, %s; approved were %d bytes, %s)",
		name, now.Size, short(now.SHA256), want.Size, short(want.SHA256))
}

func short(d digest.Digest) string { return d.String()[:len("sha256:")+12] }
