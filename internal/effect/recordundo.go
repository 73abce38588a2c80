package effect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

const byHand = "take it back by hand"

// undoable returns the single effect of a change that ran and whose content is
// kept. A *Refusal says why there is none.
func undoable(a guard.Approval) (guard.Effect, error) {
	switch {
	case a.Status != guard.Executed:
		return guard.Effect{}, refusePlan(byHand, "it did not run, or what became of it is not known: it is %s", a.Status)
	case len(a.Args) == 0:
		return guard.Effect{}, refusePlan(byHand, "the content of the change is no longer kept")
	case len(a.Preview.Effects) != 1:
		return guard.Effect{}, refusePlan(byHand, "it cannot be undone from here: it has %d effects", len(a.Preview.Effects))
	}
	return a.Preview.Effects[0], nil
}

// ChangesRecord reports whether a change is to a record, whose undo is a call of
// its own server.
func ChangesRecord(a guard.Approval) bool {
	return len(a.Preview.Effects) == 1 && a.Preview.Effects[0].Record != nil
}

// RecordBefore returns the record before an approved change, in the form that is
// compared and absent if there was none, and the current record in the server's
// form. The old record is computed from the current one and the stored patch. A
// *Refusal says why that is impossible: the record has changed since, or its
// content is no longer kept.
func RecordBefore(ctx context.Context, reader Reader, a guard.Approval) (before, now jsonvalue.Value, err error) {
	none := jsonvalue.Value{}
	e, err := undoable(a)
	if err != nil {
		return none, none, err
	}
	if e.Record == nil || !e.After.Computed || !e.Before.Computed {
		return none, none, refusePlan(byHand, "what %s did cannot be undone from here", e.Kind)
	}
	if now, err = recordNow(ctx, reader, e); err != nil {
		return none, none, err
	}
	normal, _, err := recordShape(e).Normal(now)
	if err != nil {
		return none, none, refusePlan(byHand, "%s", cannotReadRecord(recordName(e), err))
	}
	switch state, _ := stateOfRecord(noNull(normal)); {
	case matches(state, e.After):
	case matches(state, e.Before):
		return none, none, refusePlan("there is nothing to take back", "%s is as it was before already", recordName(e))
	default:
		return none, none, refusePlan(byHand, "it has moved on since: %s is not as this change left it", recordName(e))
	}
	if !e.Before.Exists {
		return none, now, nil
	}
	if !normal.Present() {
		normal = jsonvalue.Null() // how a patch says that a record is gone
	}
	p, err := jsonvalue.ParsePatch(a.Preview.Change.Patch)
	if err == nil {
		p, err = p.Invert()
	}
	if err == nil {
		before, err = p.Apply(normal)
	}
	if err == nil { // restored elements are at the end
		before, _, err = recordShape(e).Normal(before)
	}
	if err != nil {
		return none, none, refusePlan(byHand, "the old values are not on record: %v", err)
	}
	if digest.Sum(before.Encode()) != e.Before.SHA256 {
		// fail closed: what would be written is not what was there
		return none, none, refusePlan(byHand, "the old record cannot be made again from what is on record")
	}
	return before, now, nil
}

func recordShape(e guard.Effect) jsonvalue.Shape {
	return jsonvalue.Shape{Ignore: e.Record.Ignore, Keys: e.Record.Keys}
}

// recordNow reads the record of an effect again.
func recordNow(ctx context.Context, reader Reader, e guard.Effect) (jsonvalue.Value, error) {
	var at *resolvedPath
	if e.Record.Tool == "" {
		p, err := resolvedPathOf(e.Resource)
		if err != nil {
			return jsonvalue.Value{}, err
		}
		if _, err := p.look(); err == nil {
			p.exists = true
		}
		at = &p
	}
	return readRecord(ctx, reader, *e.Record, at)
}

// InverseArgs returns the arguments with which the changing tool undoes its own
// change, if its effect passes on one argument unchanged; the other arguments stay.
// before and now come from RecordBefore. A *Refusal says why there are none.
func (b *Binding) InverseArgs(a guard.Approval, before, now jsonvalue.Value) (json.RawMessage, error) {
	noWay := func(format string, args ...any) (json.RawMessage, error) {
		return nil, refusePlan("take it back by hand, or name the way back as `undo` of the tool", "the tool has no way back that is known: "+format, args...)
	}
	e, err := undoable(a)
	if err != nil {
		return nil, err
	}
	if b == nil || e.Record == nil || b.about.Name != e.Kind {
		return noWay("its effect is another one now")
	}
	kind, ok := b.kind.(recordKind)
	if !ok {
		return noWay("its effect is another one now")
	}
	arg, plain := b.params[kind.param].PlainArg()
	switch {
	case !plain:
		return noWay("what it writes is computed from its arguments")
	case !before.Present():
		return noWay("it made a record that was not there")
	}
	shape := recordShape(e)
	normal, _, err := shape.Normal(now)
	if err != nil {
		return nil, err
	}
	v, result, err := kind.undo(now, normal, before)
	switch {
	case errors.Is(err, errOtherForm):
		return noWay("%v", err)
	case err != nil:
		return nil, err
	}
	if result, _, err = shape.Normal(result); err != nil || !result.Equal(before) {
		// fail closed: it would become something else than it was
		return noWay("it cannot express the old values")
	}
	return withArg(a.Args, arg, v)
}

// inverseMerge returns the merge patch from after to before, as far as one exists:
// no merge patch can set a null.
func inverseMerge(after, before jsonvalue.Value) jsonvalue.Value {
	if after.Type() != jsonvalue.TypeObject || before.Type() != jsonvalue.TypeObject {
		return before
	}
	var out []jsonvalue.Member
	for name, v := range before.Members() {
		if is := after.Member(name); !is.Equal(v) {
			out = append(out, jsonvalue.Member{Name: name, Value: inverseMerge(is, v)})
		}
	}
	for name := range after.Members() {
		if !before.Member(name).Present() {
			out = append(out, jsonvalue.Member{Name: name, Value: jsonvalue.Null()})
		}
	}
	v, err := jsonvalue.Object(out...)
	if err != nil {
		return before // the result is compared anyway
	}
	return v
}

// withArg returns args with one argument replaced.
func withArg(args json.RawMessage, name string, v jsonvalue.Value) (json.RawMessage, error) {
	old, err := jsonvalue.Decode(args)
	if err != nil {
		return nil, fmt.Errorf("reading the arguments of a change: %w", err)
	}
	if !old.Member(name).Present() {
		return nil, errors.New("the call has no such argument")
	}
	var out []jsonvalue.Member
	for n, is := range old.Members() {
		if n == name {
			is = v
		}
		out = append(out, jsonvalue.Member{Name: n, Value: is})
	}
	doc, err := jsonvalue.Object(out...)
	if err != nil {
		return nil, err
	}
	return doc.Encode(), nil
}
