package effect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/mcpguard/mcpguard/internal/diff"
	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
)

// Inverse is a call of the built-in server that undoes a change.
type Inverse struct {
	Tool  string
	Args  json.RawMessage
	Roots []string // workspace folders that it needs
	Note  string   // what it does not restore, as a sentence; or empty
}

// InverseOf computes the call that undoes an approved change, from the approval
// with its contents and from what is on disk now. A *Refusal says why the change
// cannot be undone: it was not a change to a file, its content is no longer kept,
// or the file has changed since.
func InverseOf(ctx context.Context, a guard.Approval) (Inverse, error) {
	if len(a.Preview.Effects) == 0 {
		_, err := undoable(a)
		return Inverse{}, err
	}
	k, ok := kindNamed(a.Preview.Effects[0].Kind)
	if !ok {
		// fail closed: it was kept by another version of the guard
		return Inverse{}, noInverse(a.Preview.Effects[0])
	}
	return k.inverse(ctx, a)
}

// undoableFile is undoable for a predicted change to a file.
func undoableFile(a guard.Approval) (guard.Effect, error) {
	e, err := undoable(a)
	switch {
	case err != nil:
		return e, err
	case e.Before.Exists && e.Dest == nil && e.Before == e.After:
		return e, refusePlan("there is nothing to take back", "it changed nothing")
	case e.Record != nil || e.Resource.Kind != TargetFile || !e.After.Computed || !e.Before.Computed:
		return e, noInverse(e)
	}
	return e, nil
}

// inverseFile undoes the change to one file or folder. If shallow is set, a folder
// is only checked to exist.
func inverseFile(ctx context.Context, a guard.Approval, shallow bool) (Inverse, error) {
	e, err := undoableFile(a)
	if err != nil {
		return Inverse{}, err
	}
	at, err := resolvedPathOf(e.Resource)
	if err != nil {
		return Inverse{}, err
	}
	now, _, err := at.state(ctx, shallow)
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
	out := Inverse{Roots: []string{e.Resource.Root}}
	switch {
	case !e.Before.Exists && (now.Kind == stateFile || now.Kind == stateDir):
		return out.call("delete_file", map[string]string{"path": e.Resource.Key})
	case e.Before.Kind == stateDir && !now.Exists:
		return out.call("create_directory", map[string]string{"path": e.Resource.Key})
	case e.Before.Kind != stateFile:
		return Inverse{}, noInverse(e)
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

// contentBefore reverts the change in the file's current content. The result is
// exactly the old content, or an error.
func contentBefore(at resolvedPath, now guard.State, e guard.Effect, c guard.Change) ([]byte, error) {
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
