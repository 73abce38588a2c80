package effect

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Verify reads the targets of effects back and compares them with what was
// predicted. It needs nothing but the effects, so it serves after a crash too.
// The states are what was found, one per effect; of a move, at its destination.
// The sentence explains every result but a plain Verified.
//
// All as predicted is Verified, all as before is Untouched; one effect that
// cannot be read back makes the whole Unverifiable, unless another is neither
// as before nor as predicted: that, like a mixture, is Diverged.
func Verify(ctx context.Context, effects []guard.Effect) (guard.ReadBack, []guard.State, string) {
	f := VerifyWith(ctx, nil, effects)
	return f.Result, f.After, f.Detail
}

// verify is Verify with what verifies a record.
func verify(ctx context.Context, effects []guard.Effect, record func(guard.Effect) (guard.ReadBack, guard.State, string)) (guard.ReadBack, []guard.State, string) {
	if len(effects) == 0 {
		return guard.Unverifiable, nil, "the call has no effect that could be read back"
	}
	states := make([]guard.State, len(effects))
	seen := map[guard.ReadBack]int{}
	var notes []string
	for i, e := range effects {
		one := verifyOne
		if e.Record != nil && e.After.Computed {
			one = func(_ context.Context, e guard.Effect) (guard.ReadBack, guard.State, string) { return record(e) }
		}
		result, state, note := one(ctx, e)
		states[i] = state
		seen[result]++
		if note != "" && !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	const maxNotes = 3
	if len(notes) > maxNotes {
		notes = append(notes[:maxNotes], fmt.Sprintf("and %d more", len(notes)-maxNotes))
	}
	text := strings.Join(notes, "; ")
	switch {
	case seen[guard.Diverged] > 0:
		return guard.Diverged, states, text
	case seen[guard.Unverifiable] > 0:
		return guard.Unverifiable, states, text
	case seen[guard.Untouched] == len(effects):
		return guard.Untouched, states, text
	case seen[guard.Verified] == len(effects):
		return guard.Verified, states, text
	}
	return guard.Diverged, states, "only part of the change is there: " + text
}

func verifyOne(ctx context.Context, e guard.Effect) (guard.ReadBack, guard.State, string) {
	if !e.After.Computed || e.Resource.Kind != TargetFile {
		return guard.Unverifiable, guard.State{}, "an effect that was not computed cannot be read back"
	}
	at, err := placeOf(e.Resource)
	if err != nil {
		return guard.Unverifiable, guard.State{}, err.Error()
	}
	if e.Kind == FileMove {
		return verifyMove(ctx, e, at)
	}
	now, _, err := at.state(ctx, e.Kind == DirCreate)
	if err != nil {
		return cannotRead(err)
	}
	switch {
	case matches(now, e.After):
		return guard.Verified, now, ""
	case matches(now, e.Before):
		return guard.Untouched, now, fmt.Sprintf("%q is as it was before", at.rel())
	}
	return guard.Diverged, now, difference(at.rel(), now, e.After)
}

func verifyMove(ctx context.Context, e guard.Effect, src place) (guard.ReadBack, guard.State, string) {
	if e.Dest == nil {
		return guard.Unverifiable, guard.State{}, "the move has no destination on record"
	}
	dst, err := placeOf(*e.Dest)
	if err != nil {
		return guard.Unverifiable, guard.State{}, err.Error()
	}
	from, _, err := src.state(ctx, false)
	if err != nil {
		return cannotRead(err)
	}
	to, _, err := dst.state(ctx, false)
	if err != nil {
		return cannotRead(err)
	}
	switch {
	case !from.Exists && matches(to, e.After):
		return guard.Verified, to, ""
	case !to.Exists && matches(from, e.Before):
		return guard.Untouched, to, fmt.Sprintf("%q is where it was before", src.rel())
	case !to.Exists:
		return guard.Diverged, to, fmt.Sprintf("%q is not there", dst.rel())
	case from.Exists:
		return guard.Diverged, to, fmt.Sprintf("%q is still there, and so is %q", src.rel(), dst.rel())
	}
	return guard.Diverged, to, difference(dst.rel(), to, e.After)
}

// cannotRead answers for a target that cannot be looked at. A target that was
// replaced by something else than a file has diverged.
func cannotRead(err error) (guard.ReadBack, guard.State, string) {
	var r *Refusal
	if errors.As(err, &r) && r.Rule == guard.RulePath {
		return guard.Diverged, guard.State{}, r.Reason
	}
	return guard.Unverifiable, guard.State{}, err.Error()
}

// placeOf finds a target again by its recorded name. Nothing is resolved: a
// link that stands in the way by now is not followed.
func placeOf(t guard.Target) (place, error) {
	p := place{root: t.Root}
	if t.Path != "." {
		p.names = strings.Split(t.Path, "/")
	}
	if !path.IsAbs(t.Root) || p.abs() != t.Key || slices.ContainsFunc(p.names, func(s string) bool { return s == "" || s == "." || s == ".." }) {
		// fail closed: a record that contradicts itself names no file
		return place{}, errors.New("the recorded target names no file")
	}
	return p, nil
}

// matches compares a state with a prediction; what was not predicted is free.
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

// difference says in one sentence how a target differs from what was approved.
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
