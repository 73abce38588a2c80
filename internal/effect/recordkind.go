package effect

import (
	"context"
	"errors"
	"slices"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/document"
	"github.com/mcpguard/mcpguard/internal/expr"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Kinds that change one JSON record: a document, or a part of one, that another
// tool of the server returns or that a file holds.
const (
	JSONReplace = "json.replace"
	JSONMerge   = "json.merge" // RFC 7396
	JSONPatch   = "json.patch" // RFC 6902
)

// recordKind is a kind that changes a record. Kinds differ in how they apply the
// call's value.
type recordKind struct {
	name    string
	param   string // that yields the value
	creates bool   // may create a missing record
	named   bool   // the value names the changes rather than the whole record
	// become returns the record after applying v, and the paths that v names.
	become func(before, v jsonvalue.Value) (after jsonvalue.Value, named []touch, err error)
	// undo returns the value that undoes a change, and the record that results from
	// it. now is the current record and normal its normal form.
	undo func(now, normal, before jsonvalue.Value) (v, result jsonvalue.Value, err error)
}

var jsonReplace = recordKind{
	name: JSONReplace, param: "value", creates: true,
	become: func(_, v jsonvalue.Value) (jsonvalue.Value, []touch, error) { return v, nil, nil },
	undo:   func(_, _, before jsonvalue.Value) (v, result jsonvalue.Value, err error) { return before, before, nil },
}

var jsonMerge = recordKind{
	name: JSONMerge, param: "merge", creates: true, named: true, become: mergeRecord,
	undo: func(now, normal, before jsonvalue.Value) (v, result jsonvalue.Value, err error) {
		v = inverseMerge(normal, before)
		return v, jsonvalue.MergePatch(now, v), nil
	},
}

var jsonPatch = recordKind{name: JSONPatch, param: "patch", named: true, become: patchRecord, undo: undoPatch}

func mergeRecord(before, v jsonvalue.Value) (after jsonvalue.Value, named []touch, err error) {
	if v.Type() != jsonvalue.TypeObject {
		return after, nil, refusePlan("give the fields that change as an object", "the merge patch is %v, which would replace the whole record", v.Type())
	}
	return jsonvalue.MergePatch(before, v), []touch{{"", v}}, nil
}

func patchRecord(before, v jsonvalue.Value) (after jsonvalue.Value, named []touch, err error) {
	p, err := jsonvalue.PatchOf(v)
	if err != nil {
		return after, nil, refusePlan("send a JSON Patch as RFC 6902 defines it", "the patch is not valid: %v", err)
	}
	if len(p) > document.MaxOps {
		return after, nil, refusePlan("send fewer operations", "the patch has %d operations; at most %d are taken", len(p), document.MaxOps)
	}
	if after, err = p.Apply(before); err != nil {
		return after, nil, refuseRecordPatch(err)
	}
	return after, namedBy(p), nil
}

func undoPatch(now, normal, before jsonvalue.Value) (v, result jsonvalue.Value, err error) {
	p, _, _ := jsonvalue.Compare(normal, before)
	// Not every server accepts tests; the guard reads the record itself before the
	// call.
	p = slices.DeleteFunc(p, func(op jsonvalue.Op) bool { return op.Op == jsonvalue.OpTest })
	raw, err := p.MarshalJSON()
	if err != nil {
		return v, result, err
	}
	if v, err = jsonvalue.Decode(raw); err != nil {
		return v, result, err
	}
	if result, err = p.Apply(now); err != nil {
		return v, result, errOtherForm
	}
	return v, result, nil
}

// errOtherForm says that a patch of the normal form does not fit the server's form.
var errOtherForm = errors.New("the record has another form at the server than the one that is compared")

func (k recordKind) about() About {
	return About{Name: k.name, Record: k.param, Creates: k.creates, params: []param{{name: k.param, want: expr.Dyn}, dryRun}}
}

// resolve names the record by the tool and arguments that read it, or by the file
// that holds it.
func (recordKind) resolve(ctx context.Context, b *Binding, in Input) (resolved, error) {
	if b.record.spec.Tool == "" {
		return b.files(ctx, in, naming{paths: []string{"path"}, follow: followsAlways})
	}
	ref, err := b.recordRef(in)
	if err != nil {
		return resolved{}, err
	}
	args := string(ref.Args)
	if len(args) > maxRecordKey {
		args = digest.Sum(ref.Args).String()
	}
	path := ref.Tool + ":" + args
	return resolved{targets: []guard.Target{{Kind: TargetRecord, Key: in.Call.Session.Server + ":" + path, Path: path, Write: true}}}, nil
}

func (k recordKind) plan(ctx context.Context, b *Binding, in Input, to resolved) (guard.Preview, error) {
	ref, err := b.recordRef(in)
	if err != nil {
		return guard.Preview{}, err
	}
	var at *resolvedPath
	if ref.Tool == "" {
		if at, err = recordFile(to.places[0]); err != nil {
			return guard.Preview{}, err
		}
	}
	before, err := readRecord(ctx, in.Reader, *ref, at)
	if err != nil {
		return guard.Preview{}, err
	}
	if !before.Present() && !b.record.spec.Create {
		return guard.Preview{}, refusePlan(readRecordFirst, "there is no such record")
	}
	v, err := b.recordValue(in, before)
	if err != nil {
		return guard.Preview{}, err
	}
	after, named, err := k.become(before, v)
	if err != nil {
		return guard.Preview{}, err
	}
	if err := b.record.serverMade(before, after, k.named); err != nil {
		return guard.Preview{}, err
	}
	return b.presentRecord(to.targets[0], ref, before, after, named)
}

// inverse refuses: the undo of a record is a call of its own server, computed by
// RecordBefore and InverseArgs.
func (recordKind) inverse(_ context.Context, a guard.Approval) (Inverse, error) {
	e, err := undoable(a)
	if err != nil {
		return Inverse{}, err
	}
	return Inverse{}, noInverse(e)
}
