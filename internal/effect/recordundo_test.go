package effect

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// changed plans a change to a record and returns it as one that ran, with the
// server in the state after it.
func changed(t *testing.T, s Spec, before string, change any, after string) (guard.Approval, *Binding, *shelf) {
	t.Helper()
	b := compile(t, s)
	server := &shelf{doc: `{"contact":` + before + `}`}
	in := input(t, m{"id": "c1", "change": change})
	in.Reader = server
	p, err := plan(t, b, in)
	if err != nil {
		t.Fatalf("%s: %v", before, err)
	}
	server.doc = `{"contact":` + after + `}`
	return guard.Approval{Status: guard.Executed, Args: in.Call.ArgsCanonical, Preview: p}, b, server
}

// wayBack returns the call that undoes a change, or why there is none.
func wayBack(a guard.Approval, b *Binding, r Reader) (string, error) {
	before, now, err := RecordBefore(context.Background(), r, a)
	if err != nil {
		return "", err
	}
	args, err := b.InverseArgs(a, before, now)
	return string(args), err
}

func TestRecordUndo(t *testing.T) {
	shape := func(r *RecordSpec) {
		r.Shape = jsonvalue.Shape{Ignore: []string{"/at"}, Keys: map[string]string{"/items": "id"}}
	}
	for name, c := range map[string]struct {
		kind          string
		spec          func(*RecordSpec)
		before, after string
		change        any
		want          string // the argument, or a part of the reason
	}{
		"merge": {JSONMerge, nil, `{"stage":"lead","email":"a@x","n":{"x":1,"y":2}}`, `{"stage":"lost","n":{"x":3,"y":2},"new":1}`,
			m{"stage": "lost", "email": nil, "n": m{"x": 3}, "new": 1}, `{"email":"a@x","n":{"x":1},"stage":"lead","new":null}`},
		"a null that no merge leaves": {JSONMerge, nil, `{"a":{"b":null}}`, `{"a":1}`, m{"a": 1}, "cannot express the old values"},
		"a null beside the change":    {JSONMerge, nil, `{"a":null,"b":1}`, `{"a":null,"b":2}`, m{"b": 2}, `{"b":1}`},
		"replace":                     {JSONReplace, shape, `{"a":1,"at":5}`, `{"b":2,"at":6}`, m{"b": 2}, `{"a":1}`},
		"replace in a keyed list":     {JSONReplace, shape, `{"items":[{"id":2},{"id":1}]}`, `{"items":[{"id":3}]}`, m{"items": []any{m{"id": 3}}}, `{"items":[{"id":1},{"id":2}]}`},
		"patch": {JSONPatch, nil, `{"a":[1,2],"b":1}`, `{"a":[1,3,2]}`, []any{m{"op": "add", "path": "/a/1", "value": 3}, m{"op": "remove", "path": "/b"}},
			`[{"op":"remove","path":"/a/1"},{"op":"add","path":"/b","value":1}]`},
		"made":             {JSONReplace, func(r *RecordSpec) { r.Create = true }, `null`, `{"a":1}`, m{"a": 1}, "made a record that was not there"},
		"removed":          {JSONReplace, nil, `{"a":1}`, `null`, nil, `{"a":1}`},
		"moved on":         {JSONMerge, nil, `{"a":1}`, `{"a":3}`, m{"a": 2}, "moved on"},
		"back already":     {JSONMerge, nil, `{"a":1}`, `{"a":1}`, m{"a": 2}, "as it was before already"},
		"gone":             {JSONMerge, nil, `{"a":1}`, `null`, m{"a": 2}, "moved on"},
		"only the servers": {JSONMerge, shape, `{"a":1,"at":1}`, `{"a":2,"at":9}`, m{"a": 2}, `{"a":1}`},
	} {
		a, b, server := changed(t, recordSpecOf(c.kind, c.spec), c.before, c.change, c.after)
		got, err := wayBack(a, b, server)
		var r *Refusal
		switch {
		case err == nil && got != `{"change":`+c.want+`,"id":"c1"}`:
			t.Errorf("%s: %s, want %s", name, got, c.want)
		case err != nil && (!errors.As(err, &r) || !strings.Contains(r.Reason, c.want) || r.Repair == ""):
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestRecordUndoRefusals(t *testing.T) {
	spec := recordSpecOf(JSONMerge, nil)
	of := func(change func(*guard.Approval, *shelf) *Binding) error {
		a, b, server := changed(t, spec, `{"a":1}`, m{"a": 2}, `{"a":2}`)
		if other := change(&a, server); other != nil {
			b = other
		}
		_, err := wayBack(a, b, server)
		return err
	}
	for name, c := range map[string]struct {
		change func(*guard.Approval, *shelf) *Binding
		want   string
	}{
		"not run":  {func(a *guard.Approval, _ *shelf) *Binding { a.Status = guard.Denied; return nil }, "did not run"},
		"not kept": {func(a *guard.Approval, _ *shelf) *Binding { a.Args = nil; return nil }, "no longer kept"},
		"no patch": {func(a *guard.Approval, _ *shelf) *Binding { a.Preview.Change.Patch = nil; return nil }, "not on record"},
		"another patch": {func(a *guard.Approval, _ *shelf) *Binding {
			a.Preview.Change.Patch = []byte(`[{"op":"test","path":"/a","value":9},{"op":"replace","path":"/a","value":2}]`)
			return nil
		}, "cannot be made again"},
		"half a patch": {func(a *guard.Approval, _ *shelf) *Binding {
			a.Preview.Change.Patch = []byte(`[{"op":"replace","path":"/a","value":2}]`)
			return nil
		}, "not on record"},
		"the server gone": {func(_ *guard.Approval, s *shelf) *Binding {
			s.err = refusePlan("wait", "the server has ended")
			return nil
		}, "the server has ended"},
		"another effect": {func(*guard.Approval, *shelf) *Binding { return compile(t, recordSpecOf(JSONReplace, nil)) }, "another one now"},
		"no effect":      {func(*guard.Approval, *shelf) *Binding { return compile(t, Spec{Kind: Opaque}) }, "another one now"},
		"a computed one": {func(*guard.Approval, *shelf) *Binding {
			s := recordSpecOf(JSONMerge, nil)
			s.Params["merge"] = "{'a': args.change.a}"
			return compile(t, s)
		}, "computed from its arguments"},
	} {
		var r *Refusal
		if err := of(c.change); !errors.As(err, &r) || !strings.Contains(r.Reason, c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, err := (*Binding)(nil).InverseArgs(guard.Approval{}, jsonvalue.Value{}, jsonvalue.Value{}); err == nil {
		t.Error("a tool that is gone takes something back")
	}
	// A record in a file is not undone as if it were the file.
	a, _, _ := changed(t, spec, `{"a":1}`, m{"a": 2}, `{"a":2}`)
	if _, err := InverseOf(context.Background(), a); err == nil || !ChangesRecord(a) {
		t.Errorf("a record as a file: %v", err)
	}
}

// TestRecordInAFileIsUndone: a document that the policy declares as a record is
// read from its file, and undone by the tool that wrote it.
func TestRecordInAFileIsUndone(t *testing.T) {
	root := workspace(t)
	at := write(t, root, "settings.json", `{"theme":"dark","size":1.0}`)
	s := recordSpecOf(JSONMerge, func(r *RecordSpec) { r.Tool, r.Args, r.At, r.File = "", nil, "", "args.path" })
	b := compile(t, s)
	in := input(t, m{"path": at, "change": m{"theme": nil, "size": 2}}, root)
	p := mustPlan(t, b, in)
	a := guard.Approval{Status: guard.Executed, Args: in.Call.ArgsCanonical, Preview: p}
	if !ChangesRecord(a) {
		t.Fatalf("%+v", p.Effects)
	}
	write(t, root, "settings.json", "{\n  \"size\": 2\n}\n") // in another layout
	got, err := wayBack(a, b, nil)
	if want := `{"change":{"size":1,"theme":"dark"},"path":"` + at + `"}`; err != nil || got != want {
		t.Errorf("%s %v, want %s", got, err, want)
	}
	write(t, root, "settings.json", `{"size":3}`)
	if _, err := wayBack(a, b, nil); err == nil || !strings.Contains(err.Error(), "moved on") {
		t.Errorf("moved on: %v", err)
	}
}
