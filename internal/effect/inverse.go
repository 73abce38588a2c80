package effect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Inverse is a call of the built-in server that takes a change back.
type Inverse struct {
	Tool  string
	Args  json.RawMessage
	Roots []string // workspace folders that it needs
	Note  string   // what it does not bring back, a sentence; or empty
}

// InverseOf computes the call that takes back what an approval did, from the
// approval with its contents and from what is on disk now. A *Refusal says why
// it cannot be taken back: it was none of a file, its content is no longer kept,
// or the file has moved on.
func InverseOf(ctx context.Context, a guard.Approval) (Inverse, error) {
	var note string
	if deepest, n := foldersMade(a.Preview.Effects); n > 1 {
		a.Preview.Effects = []guard.Effect{deepest}
		note = fmt.Sprintf("%s above it, made by the same call, stay", plural(n-1, "folder", "folders"))
	}
	e, err := undoable(a)
	if err != nil {
		return Inverse{}, err
	}
	switch {
	case e.Before.Exists && e.Dest == nil && e.Before == e.After:
		return Inverse{}, refusePlan("there is nothing to take back", "it changed nothing")
	case e.Record != nil || e.Resource.Kind != TargetFile || !e.After.Computed || !e.Before.Computed:
		return Inverse{}, refusePlan(byHand, "what %s did cannot be undone from here", e.Kind)
	case e.Kind == FileMove:
		return inverseMove(ctx, e)
	}
	at, err := placeOf(e.Resource)
	if err != nil {
		return Inverse{}, err
	}
	now, _, err := at.state(ctx, e.Kind == DirCreate)
	if err != nil {
		return Inverse{}, err
	}
	switch {
	case matches(now, e.After):
	case matches(now, e.Before):
		return Inverse{}, refusePlan("there is nothing to take back", "%q is as it was before already", at.rel())
	default:
		return Inverse{}, refusePlan(byHand, "it has moved on since: %s", difference(at.rel(), now, e.After))
	}
	out := Inverse{Roots: []string{e.Resource.Root}, Note: note}
	switch {
	case !e.Before.Exists && (now.Kind == stateFile || now.Kind == stateDir):
		return out.call("delete_file", map[string]string{"path": e.Resource.Key})
	case e.Before.Kind == stateDir && !now.Exists:
		return out.call("create_directory", map[string]string{"path": e.Resource.Key})
	case e.Before.Kind != stateFile:
		return Inverse{}, refusePlan(byHand, "what %s did cannot be undone from here", e.Kind)
	}
	before, err := contentBefore(at, now, e, a.Preview.Change)
	if err != nil {
		return Inverse{}, err
	}
	if m := e.Before.Mode; !now.Exists && m != 0 && m != NewFileMode {
		out.Note = fmt.Sprintf("the file had the mode %04o; made again, it has that of a new one", m)
	}
	return out.call("write_file", map[string]string{"path": e.Resource.Key, "content": string(before)})
}

// foldersMade returns the deepest of the folders that one call made, and how many
// it made; none where it did anything else. They come from the top down.
func foldersMade(effects []guard.Effect) (deepest guard.Effect, n int) {
	for _, e := range effects {
		if e.Kind != DirCreate || e.Before.Exists {
			return guard.Effect{}, 0
		}
		deepest = e
	}
	return deepest, len(effects)
}

func inverseMove(ctx context.Context, e guard.Effect) (Inverse, error) {
	if e.Dest == nil {
		return Inverse{}, refusePlan(byHand, "the move has no destination on record")
	}
	src, err := placeOf(e.Resource)
	if err != nil {
		return Inverse{}, err
	}
	if result, _, note := verifyMove(ctx, e, src); result != guard.Verified {
		return Inverse{}, refusePlan(byHand, "it has moved on since: %s", note)
	}
	out := Inverse{Roots: slices.Compact([]string{e.Resource.Root, e.Dest.Root})}
	return out.call("move_file", map[string]string{"source": e.Dest.Key, "destination": e.Resource.Key})
}

// contentBefore takes the change of a file off its content now. The result is
// the content before to the last bit, or none at all.
func contentBefore(at place, now guard.State, e guard.Effect, c guard.Change) ([]byte, error) {
	var after []byte
	if now.Exists {
		var err error
		if after, _, err = at.read(MaxText); err != nil {
			return nil, err
		}
	}
	before, err := diff.Reverse(after, []byte(c.Text))
	switch {
	case errors.Is(err, diff.ErrNoReverse):
		return nil, refusePlan(byHand, "the old content is not on record: %v", err)
	case err != nil:
		return nil, err
	case digest.Sum(before) != e.Before.SHA256:
		// fail closed: what would be written is not what was there
		return nil, refusePlan(byHand, "the old content cannot be made again from what is on record")
	case !utf8.Valid(before):
		return nil, refusePlan(byHand, "the old content of %q is not valid UTF-8 and cannot be written from here", at.rel())
	}
	return before, nil
}

func (i Inverse) call(tool string, args map[string]string) (Inverse, error) {
	raw, err := json.Marshal(args)
	if err != nil {
		return Inverse{}, fmt.Errorf("writing the call that undoes a change: %w", err)
	}
	i.Tool, i.Args = tool, raw
	return i, nil
}
